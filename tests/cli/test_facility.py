"""The facility of processes: who is started again, and who is told of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openportal.cli.facility import Facility
from openportal.errors import ConfigError


def ended(code: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])
    process.wait()
    return process


def test_who_ended_in_good_order_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facility = Facility(tmp_path)
    started: list[list[str]] = []
    monkeypatch.setattr(facility, "start", started.append)
    facility.processes |= {"aip1": ended(0), "shared": ended(1)}
    facility.revive()
    assert started == [["aip1"]]
    assert list(facility.processes) == ["shared"]


def test_who_ended_otherwise_is_told_of_with_its_log(tmp_path: Path) -> None:
    facility = Facility(tmp_path)
    facility.log("shared").write_text("it broke")
    facility.processes["shared"] = ended(1)
    with pytest.raises(ConfigError, match=r"shared ended with code 1:\nit broke"):
        facility.check()
