"""Run within the test's machine: the plain settings, so the look-ups of the C library. Prints what was answered."""

from __future__ import annotations

import asyncio
import json
import sys

from openportal.agents.account.local import LocalAccounts
from openportal.errors import JobError
from tests.agents.runs import MemoryRun, answer


async def main(texts: list[str]) -> None:
    leaf = LocalAccounts({})
    for text in texts:
        run = MemoryRun()
        try:
            result = await answer(leaf, text, run)
        except JobError as error:
            result = f"{type(error).__name__}: {error}"
        print(json.dumps([result, [action for action, _ in run.effects]]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
