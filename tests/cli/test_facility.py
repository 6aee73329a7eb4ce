"""The facility of processes: who is started again, and who is told of."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from openportal.cli.facility import Facility
from openportal.client import Client
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


def test_it_is_ready_when_its_bridge_has_a_portal(tmp_path: Path) -> None:
    with Facility(tmp_path) as facility:
        facility.lay_out()
        facility.start(["bridge"])
        with pytest.raises(ConfigError, match="no job could be handed to bridge within 3 s"):
            facility.wait_ready(3)
        facility.start(["brics"])
        facility.wait_ready()
        with Client(facility.client_file) as client:
            assert str(client.get_portal()) == "brics"


def test_a_bridge_that_refuses_the_caller_answers(tmp_path: Path) -> None:
    with Facility(tmp_path) as facility:
        facility.lay_out()
        facility.start(["bridge"])
        text = facility.client_file.read_text()
        (key,) = re.findall(r'data = "(\w+)"', text)
        facility.client_file.write_text(text.replace(key, "0" * 64))
        facility.wait_ready()
