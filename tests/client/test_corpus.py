"""Every answer of the published client 0.94.0 that is on record, asked of our module: 3,460 lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import openportal
from tests.client.asked import ASKED, answer

LINES = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "vectors" / "client-0.94.0.jsonl").read_text().splitlines()
]


def agree(ours: Any, theirs: Any) -> bool:
    """The same; where theirs is a failure, a failure of the same class in words of our own."""
    if isinstance(theirs, dict) and "error_class" in theirs and "error" in theirs:
        return isinstance(ours, dict) and ours.get("error_class") == theirs["error_class"]
    if isinstance(theirs, dict):
        return (
            isinstance(ours, dict) and ours.keys() == theirs.keys() and all(agree(ours[k], theirs[k]) for k in theirs)
        )
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == len(theirs) and all(map(agree, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs


def test_all() -> None:
    bad = []
    for line in LINES:
        theirs = (
            {"ok": True, "output": line["output"]}
            if line["ok"]
            else {"ok": False, "error_class": line["error_class"], "error": line["error"]}
        )
        ours = answer(ASKED[line["type"], line["op"]], openportal, line["input"])
        if not agree(ours, theirs):
            bad.append((line["type"], line["op"], line["input"], theirs, ours))
    for b in bad:
        print(b)
    print(len(bad))
    assert not bad
