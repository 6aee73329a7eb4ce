"""The example does what its docstring says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "echo.py"


def test_echo_example() -> None:
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    heard = [line for line in lines if line.startswith("caller: heard")]
    assert heard == ["caller: heard 'HELLO'", "caller: heard 'IS ANYBODY THERE?'", "caller: heard 'GOODBYE'"]
    assert "echo:   caller@default is connected" in lines
    assert lines[-1].startswith("echo:   caller@default has gone")


def test_the_docstring_shows_the_command() -> None:
    assert "python examples/echo.py" in EXAMPLE.read_text()
