"""The example `examples/ping_pong.py`, run as its documentation says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples" / "ping_pong.py"

ANSWERS = [
    "ping asks pong: is_existing_project demo.brics -> Complete false",
    'ping asks pong: add_project demo.brics -> Complete "demo.brics:pong.demo"',
    "ping asks pong: is_existing_project demo.brics -> Complete true",
    "pong asks ping: is_protected_user alice.demo.brics -> Complete false",
]
# A look is one unit of two events, a change has its intent between its start and its outcome.
LOG_OF_PONG = [
    *("Received", "Ended"),
    *("Received", "Started", "Intended", "Observed", "Ended"),
    *("Received", "Ended"),
    *("Sent", "Ended"),
]
LOG_OF_PING = [*("Sent", "Ended") * 3, *("Received", "Ended")]
WORDS_OF_THE_CHANGE = [
    "ping.pong add_project demo.brics",
    "",
    "add project demo.brics",
    "",
    '"demo.brics:pong.demo"',
]


def board(lines: list[str]) -> list[list[str]]:
    """The columns of a board's events, without the time: stream, event, id, words."""
    return [line.split(maxsplit=4)[1:] for line in lines if " board:" in line]


def test_ping_pong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line for line in lines if " asks " in line] == ANSWERS
    middle = lines.index("The log of pong:")
    ping, pong = board(lines[:middle]), board(lines[middle:])
    assert [(row[0], row[1]) for row in ping] == [("board:pong@default", event) for event in LOG_OF_PING]
    assert [(row[0], row[1]) for row in pong] == [("board:ping@default", event) for event in LOG_OF_PONG]
    assert {row[2] for row in ping} == {row[2] for row in pong}  # the same four jobs, on both boards
    assert ["".join(row[3:]) for row in pong[2:7]] == WORDS_OF_THE_CHANGE
    assert list(tmp_path.iterdir()) == []
