"""What the logs of a facility tell of a job: the account that an operator gets from `openportal job explain`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from openportal.cli.facility import Facility


def explained(facility: Facility, job: str) -> str:
    """What the command says of a job, by its id or by the user it is about."""
    program = Path(sys.executable).with_name("openportal")
    done = subprocess.run([program, "job", "explain", job, facility.folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
