"""The example `examples/ping_pong.py`, run as its documentation says."""

from __future__ import annotations

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


def test_ping_pong() -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line for line in lines if " asks " in line] == ANSWERS
    pong = lines[lines.index("The log of pong:") + 1 :]
    assert [words[2] for words in map(str.split, pong) if words[1] == "board:ping@default"] == LOG_OF_PONG
