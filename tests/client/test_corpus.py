"""Every answer of the published client 0.94.0 that is on record, asked of our module: 3,460 lines.

The same verdict, the same output, and the same class of exception; what differs is listed with its reason, and what is
listed must differ. The lines that depend on the day hold for 24 November 2026.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import openportal
from tests.client.asked import ASKED, answer
from tests.client.differences import DIFFERENCES, difference, where

CORPUS = Path(__file__).parent.parent / "vectors" / "client-0.94.0.jsonl"
LINES = [json.loads(line) for line in CORPUS.read_text().splitlines()]
TODAY = datetime.date(2026, 11, 24)
DIFFERENT_LINES = 10


class Then(datetime.date):
    """The day on which the answers were recorded."""

    @classmethod
    def today(cls) -> Then:
        return cls(TODAY.year, TODAY.month, TODAY.day)


@pytest.fixture(autouse=True)
def on_that_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openportal.client.instructions.date", Then)
    monkeypatch.setattr("openportal.client.quantities.date", Then)


def agrees(line: dict[str, Any]) -> bool:
    ours = answer(ASKED[line["type"], line["op"]], openportal, line["input"])
    return None is where(ours, {key: line[key] for key in ("ok", "output", "error", "error_class") if key in line})


def test_every_line_agrees_or_is_meant_to_differ(capsys: pytest.CaptureFixture[str]) -> None:
    found: Counter[str] = Counter()
    wrong = []
    for line in LINES:
        meant = difference(line["type"], line["op"], line["input"])
        if agrees(line) == (meant is None):
            found[meant.why if meant else "agreed"] += 1
        else:
            wrong.append((line["type"], line["op"], line["input"]))
    with capsys.disabled():
        print(f"\n{len(LINES)} lines of the published client: {found['agreed']} agree", end="")
        print(*(f"; {count}: {why}" for why, count in found.items() if why != "agreed"), sep="")
    assert wrong == []
    assert found["agreed"] == len(LINES) - DIFFERENT_LINES
    assert set(found) == {"agreed", *(each.why for each in DIFFERENCES)}
