"""The words of a call of sacct.

Its answer is asked for as text with named columns rather than as JSON: a twentieth of the size, and 22.05 has no
names of reservations in its JSON. Times go in as `uts` and seconds and come out as seconds (SLURM_TIME_FORMAT), so
neither the zone of its machine nor an hour that comes twice matters. The variable is set by `env` beside sacct
itself, because a prefix such as `docker exec` or `ssh` would not hand it on.

    --duplicates    every attempt of a job that was requeued, not the last one only
    --allocations   jobs without their steps
    --noconvert     amounts as they are counted, not rounded to a larger unit
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from openportal.agents.scheduler.slurm.records import TEXT_COLUMNS, TEXT_COLUMNS_LATER
from openportal.agents.scheduler.slurm.transport import JobQuery

PROGRAM: Final = "sacct"
TIME_FORMAT: Final = ("env", "SLURM_TIME_FORMAT=%s")
LIST_COLUMNS: Final = ("--helpformat",)


def with_times(command: Sequence[str]) -> tuple[str, ...]:
    """The command of the setting `sacct`, which may have a prefix and options of its own, giving times in seconds."""
    places = [index for index, word in enumerate(command) if PurePath(word).name == PROGRAM]
    at = places[-1] if places else 0
    return (*command[:at], *TIME_FORMAT, *command[at:])


def columns(offered: str) -> tuple[str, ...]:
    """The columns to ask for, of those that `sacct --helpformat` lists."""
    names = set(offered.split())
    return (*TEXT_COLUMNS, *(name for name in TEXT_COLUMNS_LATER if name in names))


def arguments(query: JobQuery, wanted: Sequence[str]) -> tuple[str, ...]:
    """What follows the command. An empty argument would be refused, so what is not asked for is left out."""
    narrowing = (("accounts", query.account), ("partition", query.partition))
    return (
        "--parsable2", "--noconvert", "--allocations", "--allusers", "--duplicates", f"--format={','.join(wanted)}",
        f"--starttime=uts{query.window.start}", f"--endtime=uts{query.window.end}", f"--cluster={query.cluster}",
        *(f"--{option}={value}" for option, value in narrowing if value),
    )  # fmt: skip
