"""The words of a call of sacct.

    directly          sacct --parsable2 --format=…, with SLURM_TIME_FORMAT=%s in its environment
    behind a prefix   sacct --json: `docker exec` or `ssh` hand no variable on, and `sudo` allows a command as it is

Text is a twentieth of the size of JSON, and Slurm makes it several times faster. Times go in as `uts` and seconds and
come out as seconds, so neither the zone of its machine nor an hour that comes twice matters.

    --duplicates    every attempt of a job that was requeued, not the last one only
    --allocations   jobs without their steps
    --noconvert     amounts as they are counted, not rounded to a larger unit
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from openportal.agents.scheduler.slurm.records import TEXT_COLUMNS, TEXT_COLUMNS_LATER
from openportal.agents.scheduler.slurm.transport import JobQuery

ENVIRONMENT: Final[Mapping[str, str]] = {"SLURM_TIME_FORMAT": "%s"}
LIST_COLUMNS: Final = "--helpformat"


def is_direct(command: Sequence[str]) -> bool:
    """Whether the command of the setting `sacct` is sacct itself, so that its environment is ours to make."""
    return len(command) == 1


def columns(offered: str) -> tuple[str, ...]:
    """The columns to ask for, of those that `sacct --helpformat` lists."""
    names = set(offered.split())
    return (*TEXT_COLUMNS, *(name for name in TEXT_COLUMNS_LATER if name in names))


def text_arguments(query: JobQuery, wanted: Sequence[str]) -> tuple[str, ...]:
    """For an answer in text with these columns."""
    return ("--parsable2", f"--format={','.join(wanted)}", *_which(query))


def json_arguments(query: JobQuery) -> tuple[str, ...]:
    """For an answer in JSON."""
    return ("--json", *_which(query))


def _which(query: JobQuery) -> tuple[str, ...]:
    """An empty argument would be refused, so what is not asked for is left out."""
    narrowing = (("accounts", ",".join(query.accounts)), ("partition", query.partition))
    return (
        "--noconvert", "--allocations", "--allusers", "--duplicates", f"--cluster={query.cluster}",
        f"--starttime=uts{query.window.start}", f"--endtime=uts{query.window.end}",
        *(f"--{option}={value}" for option, value in narrowing if value),
    )  # fmt: skip
