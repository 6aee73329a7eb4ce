"""What went wrong at an agent lately: the DiagnosticsReport that it gives when it is asked for one.

Everything here is bounded: MAX_ROWS of each kind, of which the ones seen longest ago (or, of the slow ones, the
fastest) give way. The same job failing again and again is one row with a count. It is kept in memory only.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from openportal.grammar.health import (
    DiagnosticsReport,
    ExpiredJobEntry,
    FailedJobEntry,
    LogEntry,
    NotificationStatistics,
    RunningJobEntry,
    SlowJobEntry,
)
from openportal.templemeads.agent import Agent
from openportal.templemeads.core import Core
from openportal.templemeads.health import Json, Totals, is_running, link_states, moment, outcome_of
from openportal.templemeads.job import Job
from openportal.templemeads.logs import Recent, recent

MAX_ROWS = 100
MAX_INSTRUCTION_CHARACTERS = 300
MAX_MESSAGE_CHARACTERS = 500
REPORT_LEVELS = {"warning": "WARN", "error": "ERROR", "critical": "ERROR"}

Row = TypeVar("Row")


def checked(report: Any) -> Json | None:
    """What a neighbour reports, as it is; None if its readers would refuse it."""
    try:
        msgspec.convert(report, DiagnosticsReport)
    except (msgspec.ValidationError, RecursionError):
        return None
    assert isinstance(report, dict)
    return report


class Table(Generic[Row]):
    """At most MAX_ROWS rows by key; the one touched longest ago gives way."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Hashable, Row] = OrderedDict()

    def get(self, key: Hashable) -> Row | None:
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
        return row

    def put(self, key: Hashable, row: Row) -> None:
        self._rows[key] = row
        if len(self._rows) > MAX_ROWS:
            self._rows.popitem(last=False)

    def rows(self) -> list[Row]:
        """The row touched last comes first."""
        return list(reversed(self._rows.values()))


@dataclass(slots=True, order=True)
class _Timed:
    """A place among the slowest; the order of arrival decides between equals."""

    seconds: float
    order: int
    at: float
    command: str


class Memory:
    """What is remembered of the jobs that ended."""

    def __init__(self) -> None:
        self._failed: Table[FailedJobEntry] = Table()
        self._expired: Table[ExpiredJobEntry] = Table()
        self._slowest: list[_Timed] = []
        self._order = 0

    def ended(self, job: Job, seconds: float | None, now: float) -> None:
        """Remember what is worth it; `seconds` is None if the job took no time that we know of."""
        match outcome_of(job):
            case "failed":
                self._fail(job, now)
            case "expired":
                self._expire(job, now)
        if seconds is not None and (len(self._slowest) < MAX_ROWS or seconds > self._slowest[0].seconds):
            self._order += 1
            timed = _Timed(seconds, self._order, now, job.command[: 2 * MAX_INSTRUCTION_CHARACTERS])
            push = heapq.heappush if len(self._slowest) < MAX_ROWS else heapq.heapreplace
            push(self._slowest, timed)

    def _fail(self, job: Job, now: float) -> None:
        message = (job.result or "")[:MAX_MESSAGE_CHARACTERS]
        destination, instruction = parts(job.command)
        key = (destination, instruction, message)
        seen = self._failed.get(key)
        count, first = (0, moment(now)) if seen is None else (seen.count, seen.first_seen)
        self._failed.put(key, FailedJobEntry(*key, count + 1, first, moment(now)))

    def _expire(self, job: Job, now: float) -> None:
        key = parts(job.command)
        seen = self._expired.get(key)
        count = 0 if seen is None else seen.count
        self._expired.put(key, ExpiredJobEntry(*key, moment(job.created), moment(now), count + 1))

    def failed(self) -> list[FailedJobEntry]:
        return self._failed.rows()

    def expired(self) -> list[ExpiredJobEntry]:
        return self._expired.rows()

    def slowest(self) -> list[SlowJobEntry]:
        """The slowest comes first."""
        return [
            SlowJobEntry(*parts(timed.command), int(timed.seconds * 1000), moment(timed.at))
            for timed in sorted(self._slowest, reverse=True)
        ]


def parts(command: str) -> tuple[str, str]:
    """Destination and instruction, at most as long as a report shows them."""
    destination, _, instruction = command.partition(" ")
    return shortened(destination), shortened(instruction)


def shortened(text: str) -> str:
    return text if len(text) <= MAX_INSTRUCTION_CHARACTERS else f"{text[: MAX_INSTRUCTION_CHARACTERS - 1]}…"


def running(core: Core, now: float) -> list[RunningJobEntry]:
    """What is being worked on, here or by those it was passed on to; the oldest first."""
    rows: dict[tuple[str, str], tuple[int, int]] = {}
    for board, entry in core.open_jobs():
        passed_on = entry.relay is not None or (not entry.inbound and board.linked)
        same_as_inbound = not entry.inbound and entry.via is not None and entry.step is None
        if same_as_inbound or not (passed_on or is_running(core, board, entry)):
            continue
        key = parts(entry.job.command)
        created, count = rows.get(key, (entry.job.created, 0))
        rows[key] = (min(created, entry.job.created), count + 1)
    oldest = heapq.nsmallest(MAX_ROWS, rows.items(), key=lambda item: item[1][0])
    return [
        RunningJobEntry(*key, moment(created), count, max(0, int(now - created))) for key, (created, count) in oldest
    ]


def warnings(agent: Agent, totals: Totals) -> list[str]:
    """What an operator should look at now, in sentences."""
    found = [f"there is no link to {peer}" for peer, state in link_states(agent).items() if state == "down"]
    ledger = agent.ledger
    if ledger.failed:
        found.insert(0, "the ledger could not commit: this agent has to be started again")
    if ledger.low_space:
        found.insert(0, "the disk of the ledger is nearly full: make room")
    if agent.core.draining:
        found.append(f"no new jobs are taken: {agent.core.draining}")
    parked = sum(1 for active in agent.core.active.values() if active.parked)
    if parked:
        found.append(f"{parked} jobs wait for an agent that has not connected yet")
    if totals.quarantined:
        found.append(f"{totals.quarantined} jobs were given up because they took this agent down: see failed_jobs")
    return found[:MAX_ROWS]


def log_entries(lines: Iterable[Recent]) -> list[LogEntry]:
    """As reports have them: levels in their words, by which readers choose."""
    return [
        LogEntry(moment(line.at), REPORT_LEVELS.get(line.level, line.level.upper()), line.target, line.message)
        for line in lines
    ]


def report(agent: Agent, memory: Memory, totals: Totals, notifications: Counter[str]) -> Json:
    """The report of this agent, as it travels."""
    now = agent.clock()
    made = DiagnosticsReport(
        agent_name=agent.name,
        generated_at=moment(now),
        failed_jobs=tuple(memory.failed()),
        slowest_jobs=tuple(memory.slowest()),
        expired_jobs=tuple(memory.expired()),
        running_jobs=tuple(running(agent.core, now)),
        warnings=tuple(warnings(agent, totals)),
        recent_logs=tuple(log_entries(recent(agent.name))),
        notification_statistics=NotificationStatistics(
            notifications["received"], notifications["sent"], notifications["failed"]
        ),
    )
    return made.to_wire()
