"""Runs in the environment of the published client: answers questions, one line of JSON each, until there are no more.

{"type": …, "op": …, "input": …}  ->  {"ok": true, "output": …}, or {"ok": false, "error_class": …, "error": …}
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import asked

import openportal


def main() -> None:
    for line in sys.stdin:
        question = json.loads(line)
        ask = asked.ASKED[question["type"], question["op"]]
        print(json.dumps(asked.answer(ask, openportal, question["input"])), flush=True)


main()
