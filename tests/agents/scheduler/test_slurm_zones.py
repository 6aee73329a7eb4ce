"""Which zone a site's days are of."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from openportal.agents.scheduler.slurm.zones import site_zone
from openportal.errors import ConfigError

ZONEINFO = Path("/usr/share/zoneinfo")
SUMMER, WINTER = datetime(2026, 7, 1), datetime(2026, 1, 1)


def hours(zone: object, when: datetime) -> float:
    offset = when.replace(tzinfo=zone).utcoffset()  # type: ignore[arg-type]
    assert offset is not None
    return offset.total_seconds() / 3600


def test_the_setting_comes_first(tmp_path: Path) -> None:
    zone = site_zone("Europe/London", {"TZ": "Asia/Tokyo"}, tmp_path / "none")
    assert (hours(zone, SUMMER), hours(zone, WINTER)) == (1, 0)


@pytest.mark.parametrize("name", ["Asia/Tokyo", ":Asia/Tokyo"])
def test_then_the_variable(name: str, tmp_path: Path) -> None:
    assert hours(site_zone("", {"TZ": name}, tmp_path / "none"), SUMMER) == 9


def test_then_the_machine_with_its_rules(tmp_path: Path) -> None:
    localtime = tmp_path / "localtime"
    localtime.write_bytes((ZONEINFO / "Europe/Berlin").read_bytes())
    zone = site_zone("", {}, localtime)
    assert (hours(zone, SUMMER), hours(zone, WINTER)) == (2, 1)


def test_then_utc(tmp_path: Path) -> None:
    assert hours(site_zone("", {}, tmp_path / "none"), SUMMER) == 0


@pytest.mark.parametrize(
    ("setting", "variable", "where"), [("Mars/Olympus", "", "time-zone is 'Mars"), ("", "../etc", "TZ is")]
)
def test_a_name_that_is_not_known_is_refused(setting: str, variable: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=where):
        site_zone(setting, {"TZ": variable}, tmp_path / "none")
