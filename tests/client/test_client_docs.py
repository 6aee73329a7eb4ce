"""Every example of docs/client.md runs, in its order, against a bridge of ours."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from openportal.client import default
from openportal.client.aio import CALLS_MAX
from openportal.client.client import WAIT_MAX_SECONDS
from openportal.client.errors import CLASSES
from tests.bridge.support import KEY, serving
from tests.client.test_corpus import DIFFERENT_LINES, LINES

PAGE = Path(__file__).parent.parent.parent / "docs" / "client.md"
TEXT = PAGE.read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def run_all(examples: list[str]) -> int:
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, PAGE.name, "exec"), names)
    return len(examples)


def write_config(folder: Path, url: str) -> None:
    (folder / "bridge-client.toml").write_text(f'url = "{url}"\n[key]\ndata = "{KEY.hex()}"\n')


async def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(default.DEFAULT, "client", default.DEFAULT.client)
    async with serving() as bridge:
        write_config(tmp_path, bridge.url)
        for verb in ("get_project", "remove_project"):
            bridge.agent.put(f"brics.bridge.c1 {verb} p.alloc")
        assert await asyncio.to_thread(run_all, EXAMPLES) == 8
        answered = [job["result_type"] for job in bridge.agent.to_software.values()]
        assert answered == ["ProjectDetails", "Error"]
        default.DEFAULT.client.close()


def test_what_the_page_says_in_numbers() -> None:
    assert f"{len(LINES):,}" in TEXT and DIFFERENT_LINES == 10
    assert f"at most {WAIT_MAX_SECONDS:g}" in TEXT and f"{CALLS_MAX} at a time" in TEXT
    assert all(f"`{name}`" in TEXT for name in CLASSES)
