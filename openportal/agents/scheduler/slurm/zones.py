"""The time zone whose days a site's reports are of.

The setting `time-zone` names one (`Europe/London`, `UTC`). Without it, it is that of the machine: the variable TZ,
else /etc/localtime, else UTC. An offset that does not change with the seasons would do for no site that has summer
time, so the zone is always one with its rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from openportal.errors import ConfigError

LOCALTIME: Final = Path("/etc/localtime")
UTC: Final = "UTC"


def site_zone(setting: str, environment: Mapping[str, str], localtime: Path = LOCALTIME) -> ZoneInfo:
    """The zone to use. Raises ConfigError for a name that is not known."""
    if setting:
        return _named(setting, "time-zone is")
    if name := environment.get("TZ", "").removeprefix(":"):
        return _named(name, "the variable TZ is")
    if localtime.exists():
        with localtime.open("rb") as file:
            return ZoneInfo.from_file(file, key=str(localtime))
    return ZoneInfo(UTC)


def _named(name: str, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"{where} {name!r}, which this machine does not know: give one such as Europe/London or UTC as time-zone, "
            "and install tzdata if that is missing."
        ) from error
