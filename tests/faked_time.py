"""A clock for agents that a test sets: libfaketime, whose offset is a file that is read at every look at the clock.

Only the time of day is moved. The monotonic clock, by which timers run, stays as it is: as on a machine whose time of
day is set.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


@functools.cache
def library() -> Path:
    """The library; it is installed where it is missing."""
    if not LIBRARY.exists():
        for words in (("update", "-q"), ("install", "-qy", "faketime")):
            subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", *words], check=True)
    assert LIBRARY.exists()
    return LIBRARY


@dataclass(frozen=True)
class FakedTime:
    """One clock; `file` holds by how much it is ahead of this machine's."""

    file: Path

    def set(self, ahead_seconds: float) -> None:
        """From now on the clock is so much ahead, or behind if negative."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{ahead_seconds:+.1f}\n")
        new.replace(self.file)

    def environment(self) -> Mapping[str, str]:
        """What an agent with this clock is started with."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
        }
