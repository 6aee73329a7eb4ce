"""What one accounting record of Slurm says: one attempt of one job.

Three documents say it, and all are read into the same JobRecord:

    sacct --json            22.05 and later
    slurmrestd's jobs       v0.0.38 to v0.0.43, the same objects under the same key
    sacct --parsable2       with SLURM_TIME_FORMAT=%s, columns by their names in the first line

Versions differ in how they write a number (`5`, or `{"set": true, "infinite": false, "number": 5}`), a state
(`"FAILED"`, or `["PENDING", "REQUEUED"]`) and what is not there (null, -2, or no such key). What we do not use may be
anything; what we use must be what it should be. A record that cannot be read does not spoil the others: it is named
in `unreadable`, and whoever sums them up knows that they are not all.

Times are whole seconds since 1970 in UTC; 0 is "not yet" or "not known".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgspec

from openportal.errors import RunError

QUOTED_MAX_CHARACTERS: Final = 200
NO_VALUE: Final = 2**32 - 2
NO_VALUE_64: Final = 2**64 - 2
NOTHING_FOUND: Final = 9003
"""slurmdbd's "nothing found", which some versions call an error."""

TEXT_COLUMNS: Final = (
    "JobIDRaw", "Cluster", "Account", "User", "Partition", "Submit", "Eligible", "Start", "End", "ElapsedRaw", "State",
    "AllocTRES", "Reservation", "ReservationId",
)  # fmt: skip
TEXT_COLUMNS_LATER: Final = ("Restarts", "FailedNode")
"""What 22.05 does not have."""

_MEGABYTES: Final = {"": 1 / 1048576, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1048576.0, "P": 1073741824.0}
_read_memory = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)[nc]?").fullmatch


class JobRecord(msgspec.Struct, frozen=True, gc=False):
    """One attempt. `restarts` is None where the version does not tell; `elapsed` is without suspensions."""

    job_id: int
    user: str
    account: str
    cluster: str
    partition: str
    submitted: int
    eligible: int
    started: int
    ended: int
    elapsed: int
    states: tuple[str, ...]
    cpus: int = 0
    gpus: int = 0
    memory_mb: int = 0
    billing: int = 0
    nodes: int = 0
    restarts: int | None = None
    reservation: str = ""
    failed_node: str = ""

    @property
    def key(self) -> tuple[str, int, int]:
        """What slurmdbd tells records apart by."""
        return self.cluster, self.job_id, self.submitted

    @property
    def has_run(self) -> bool:
        return self.started > 0 and self.elapsed > 0

    @property
    def is_running(self) -> bool:
        return self.started > 0 and not self.ended

    @property
    def wait(self) -> int:
        """Seconds from when it could have started to when it did; none for what has not started."""
        return max(0, self.started - self.eligible) if self.started and self.eligible else 0


@dataclass(frozen=True, slots=True)
class JobRecords:
    """The records of one answer, and what is wrong with those that could not be read."""

    jobs: tuple[JobRecord, ...] = ()
    unreadable: tuple[str, ...] = ()

    @classmethod
    def merge(cls, parts: Iterable[JobRecords]) -> JobRecords:
        """Several answers as one: a record that is in more than one counts once, as the last one has it."""
        found: dict[tuple[str, int, int], JobRecord] = {}
        unreadable: list[str] = []
        for part in parts:
            found.update((job.key, job) for job in part.jobs)
            unreadable += part.unreadable
        return cls(tuple(found.values()), tuple(unreadable))


# --- JSON -------------------------------------------------------------------------------------------------------------


class _Number(msgspec.Struct, frozen=True):
    set: bool = False
    infinite: bool = False
    number: int = 0


_Count = int | _Number | None


class _Tres(msgspec.Struct, frozen=True):
    type: str
    count: _Count = None
    name: str | None = None


class _AllTres(msgspec.Struct, frozen=True):
    allocated: tuple[_Tres, ...] = ()


class _Time(msgspec.Struct, frozen=True):
    submission: _Count
    start: _Count
    end: _Count
    elapsed: _Count
    eligible: _Count = None


class _State(msgspec.Struct, frozen=True):
    current: str | tuple[str, ...]


class _Reservation(msgspec.Struct, frozen=True):
    id: _Count = None
    name: str | int | None = None


_NONE: Final = _Reservation()


class _Job(msgspec.Struct, frozen=True):
    job_id: int
    account: str | None
    time: _Time
    state: _State
    tres: _AllTres
    user: str | None = None
    cluster: str | None = None
    partition: str | None = None
    restart_cnt: _Count = None
    reservation: _Reservation | None = None
    failed_node: str | None = None


class _Problem(msgspec.Struct, frozen=True):
    error: str | None = None
    description: str | None = None
    error_number: int = 0


class _Answer(msgspec.Struct, frozen=True):
    jobs: tuple[_Job, ...]
    errors: tuple[_Problem, ...] | None = ()


class _RawAnswer(msgspec.Struct, frozen=True):
    jobs: tuple[msgspec.Raw, ...]
    errors: tuple[_Problem, ...] | None = ()


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_RAW_ANSWER: Final = msgspec.json.Decoder(_RawAnswer)
_JOB: Final = msgspec.json.Decoder(_Job)


def read_json(document: bytes | str) -> JobRecords:
    """From `sacct --json` or slurmrestd's jobs. Raises RunError if it is no such document, or tells of an error."""
    try:
        answer = _ANSWER.decode(document)
    except msgspec.MsgspecError:
        return _read_one_by_one(document)
    _check(answer.errors)
    return JobRecords(tuple(map(_record, answer.jobs)))


def _read_one_by_one(document: bytes | str) -> JobRecords:
    try:
        answer = _RAW_ANSWER.decode(document)
    except msgspec.MsgspecError as error:
        raise RunError(f"Slurm's accounting answered what is no list of jobs ({error}): {_quoted(document)}") from error
    _check(answer.errors)
    jobs, unreadable = [], []
    for raw in answer.jobs:
        try:
            jobs.append(_record(_JOB.decode(raw)))
        except msgspec.MsgspecError as error:
            unreadable.append(f"{error}: {_quoted(bytes(raw))}")
    return JobRecords(tuple(jobs), tuple(unreadable))


def _check(errors: Sequence[_Problem] | None) -> None:
    told = [problem for problem in errors or () if problem.error_number != NOTHING_FOUND]
    if told:
        sentence = "; ".join(problem.description or problem.error or str(problem.error_number) for problem in told)
        raise RunError(f"Slurm's accounting answered with an error: {sentence}")


def _record(job: _Job) -> JobRecord:
    time = job.time
    current = job.state.current
    reservation = job.reservation or _NONE
    held = _held((tres.type, tres.name or "", _number(tres.count)) for tres in job.tres.allocated)
    return JobRecord(
        job_id=job.job_id,
        user=job.user or "",
        account=job.account or "",
        cluster=job.cluster or "",
        partition=job.partition or "",
        submitted=_time(time.submission),
        eligible=_time(time.eligible),
        started=_time(time.start),
        ended=_time(time.end),
        elapsed=_number(time.elapsed),
        states=(current,) if isinstance(current, str) else current,
        restarts=None if job.restart_cnt is None else _number(job.restart_cnt),
        reservation=_reservation(reservation.name, _number(reservation.id)),
        failed_node=job.failed_node or "",
        **held,
    )


def _reservation(name: str | int | None, number: int) -> str:
    """Its name, or `#` and its number: names of those that were soon deleted are lost, and 22.05's JSON has none."""
    if isinstance(name, str) and name:
        return name
    return f"#{number}" if number else ""


def _number(value: _Count) -> int:
    """A count; what is not set, infinite, or one of Slurm's marks for what it does not know (-2, NO_VAL64) is 0."""
    if isinstance(value, _Number):
        value = value.number if value.set and not value.infinite else 0
    return value if value and 0 < value < NO_VALUE_64 else 0


def _time(value: _Count) -> int:
    """A time; one that never was may be NO_VAL, which as a time would be in the year 2106."""
    found = _number(value)
    return found if found < NO_VALUE else 0


def _held(tres: Iterable[tuple[str, str, int]]) -> dict[str, int]:
    """What was held, from (type, name, count). GPUs may be told as a whole and by model; the whole counts."""
    held = {"cpus": 0, "gpus": 0, "memory_mb": 0, "billing": 0, "nodes": 0}
    models = 0
    for kind, name, count in tres:
        if kind == "gres" and name.startswith("gpu:"):
            models += count
        elif field := _FIELDS.get((kind, name if kind == "gres" else "")):
            held[field] += count
    held["gpus"] = held["gpus"] or models
    return held


_FIELDS: Final = {
    ("cpu", ""): "cpus",
    ("gres", "gpu"): "gpus",
    ("mem", ""): "memory_mb",
    ("billing", ""): "billing",
    ("node", ""): "nodes",
}


# --- text -------------------------------------------------------------------------------------------------------------


def read_text(text: str) -> JobRecords:
    """From `sacct --parsable2` with its header. Raises RunError if a column that is needed is not there."""
    lines = text.splitlines()
    header = lines[0].split("|") if lines else []
    missing = [column for column in TEXT_COLUMNS if column not in header]
    if missing:
        raise RunError(f"sacct's answer has no column {', '.join(missing)}: {_quoted(text)}")
    cells_of = itemgetter(*(header.index(column) for column in TEXT_COLUMNS))
    later = tuple(header.index(column) if column in header else None for column in TEXT_COLUMNS_LATER)
    jobs, unreadable = [], []
    known: dict[str, dict[str, int]] = {}
    for line in lines[1:]:
        cells = line.split("|")
        try:
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} columns and not {len(header)}")
            restarts, failed_node = ("" if index is None else cells[index] for index in later)
            jobs.append(_record_of_cells(cells_of(cells), restarts, failed_node, known))
        except ValueError as error:
            unreadable.append(f"{error}: {_quoted(line)}")
    return JobRecords(tuple(jobs), tuple(unreadable))


def _record_of_cells(
    cells: tuple[str, ...], restarts: str, failed_node: str, known: dict[str, dict[str, int]]
) -> JobRecord:
    """From the cells of TEXT_COLUMNS; `known` is what was read of AllocTRES, as most jobs hold what others do."""
    (
        number, cluster, account, user, partition, submitted, eligible, started, ended, elapsed, state, tres,
        reservation, reservation_number,
    ) = cells  # fmt: skip
    held = known.get(tres)
    if held is None:
        held = known[tres] = _held(_read_tres(tres))
    return JobRecord(
        int(number), user, account, cluster, partition, _whole(submitted), _whole(eligible), _whole(started),
        _whole(ended), _whole(elapsed),
        (state.partition(" ")[0],),  # CANCELLED by 1000
        restarts=int(restarts) if restarts else None,
        reservation=_reservation(reservation, _whole(reservation_number)),
        failed_node="" if failed_node == "None" else failed_node,
        **held,
    )  # fmt: skip


def _whole(text: str) -> int:
    """A number or a time; 0 for one that is not there."""
    if text.isdecimal():
        return int(text)
    if text in ("", "Unknown", "None"):
        return 0
    raise ValueError(f"{text} is no whole number; for times in seconds, sacct runs with SLURM_TIME_FORMAT=%s")


def _read_tres(text: str) -> Iterable[tuple[str, str, int]]:
    """From `cpu=2,gres/gpu=1,mem=512M`."""
    for item in filter(None, text.split(",")):
        name, _, amount = item.partition("=")
        kind, _, model = name.partition("/")
        yield kind, model, _memory(amount) if kind == "mem" else int(amount or "0")


def _memory(text: str) -> int:
    found = _read_memory(text)
    if found is None:
        raise ValueError(f"{text} is no amount of memory")
    return int(float(found[1]) * _MEGABYTES[found[2]])


def _quoted(text: Any) -> str:
    shown = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return shown if len(shown) <= QUOTED_MAX_CHARACTERS else f"{shown[:QUOTED_MAX_CHARACTERS]}…"
