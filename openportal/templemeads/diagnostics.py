"""What went wrong at an agent lately: the DiagnosticsReport that it gives when it is asked for one.

Everything here is bounded: MAX_ROWS of each kind, of which the ones seen longest ago (or, of the slow ones, the
fastest) give way. The same job failing again and again is one row with a count. It is kept in memory only.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from openportal.templemeads.agent import Agent
from openportal.templemeads.core import Core
from openportal.templemeads.health import Json, Totals, is_running, link_states, moment, outcome_of
from openportal.templemeads.job import Job
from openportal.templemeads.logs import Recent, recent

MAX_ROWS = 100
MAX_INSTRUCTION_CHARACTERS = 300
MAX_MESSAGE_CHARACTERS = 500

Count = Annotated[int, msgspec.Meta(ge=0)]
Row = TypeVar("Row")


class Failed(msgspec.Struct):
    """Jobs that failed in the same way."""

    destination: str
    instruction: str
    error_message: str
    count: Count
    first_seen: str
    last_seen: str


class Slow(msgspec.Struct):
    """One of the slowest jobs since the start."""

    destination: str
    instruction: str
    duration_ms: Annotated[float, msgspec.Meta(ge=0)]
    completed_at: str


class Lapsed(msgspec.Struct):
    """Jobs that expired; the times are those of the last."""

    destination: str
    instruction: str
    created_at: str
    expired_at: str
    count: Count


class Running(msgspec.Struct):
    """Jobs that are being worked on now; the times are those of the oldest."""

    destination: str
    instruction: str
    started_at: str
    count: Count
    running_for_seconds: int


class LogEntry(msgspec.Struct):
    """A warning or an error of the logs."""

    timestamp: str
    level: str
    target: str
    message: str


class NotificationStatistics(msgspec.Struct):
    """Notifications since the start; `total_failed` were refused, or had nowhere to go."""

    total_received: Count = 0
    total_sent: Count = 0
    total_failed: Count = 0


class DiagnosticsReport(msgspec.Struct):
    """The fields that every reader needs, the last two excepted. Times are RFC 3339."""

    agent_name: str
    generated_at: str
    failed_jobs: list[Failed]
    slowest_jobs: list[Slow]
    expired_jobs: list[Lapsed]
    running_jobs: list[Running]
    warnings: list[str]
    recent_logs: list[LogEntry] = []
    notification_statistics: NotificationStatistics = msgspec.field(default_factory=NotificationStatistics)


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
        self._failed: Table[Failed] = Table()
        self._expired: Table[Lapsed] = Table()
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
        row = self._failed.get((destination, instruction, message))
        if row is None:
            row = Failed(destination, instruction, message, 0, moment(now), "")
            self._failed.put((destination, instruction, message), row)
        row.count += 1
        row.last_seen = moment(now)

    def _expire(self, job: Job, now: float) -> None:
        key = parts(job.command)
        row = self._expired.get(key) or Lapsed(*key, "", "", 0)
        self._expired.put(key, row)
        row.count += 1
        row.created_at, row.expired_at = moment(job.created), moment(now)

    def failed(self) -> list[Failed]:
        return self._failed.rows()

    def expired(self) -> list[Lapsed]:
        return self._expired.rows()

    def slowest(self) -> list[Slow]:
        """The slowest comes first."""
        return [
            Slow(*parts(timed.command), int(timed.seconds * 1000), moment(timed.at))
            for timed in sorted(self._slowest, reverse=True)
        ]


def parts(command: str) -> tuple[str, str]:
    """Destination and instruction, at most as long as a report shows them."""
    destination, _, instruction = command.partition(" ")
    return shortened(destination), shortened(instruction)


def shortened(text: str) -> str:
    return text if len(text) <= MAX_INSTRUCTION_CHARACTERS else f"{text[: MAX_INSTRUCTION_CHARACTERS - 1]}…"


def running(core: Core, now: float) -> list[Running]:
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
    return [Running(*key, moment(created), count, max(0, int(now - created))) for key, (created, count) in oldest]


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
    return [LogEntry(moment(line.at), line.level, line.target, line.message) for line in lines]


def report(agent: Agent, memory: Memory, totals: Totals, notifications: NotificationStatistics) -> Json:
    """The report of this agent, as it travels."""
    now = agent.clock()
    made = DiagnosticsReport(
        agent_name=agent.name,
        generated_at=moment(now),
        failed_jobs=memory.failed(),
        slowest_jobs=memory.slowest(),
        expired_jobs=memory.expired(),
        running_jobs=running(agent.core, now),
        warnings=warnings(agent, totals),
        recent_logs=log_entries(recent(agent.name)),
        notification_statistics=notifications,
    )
    told: Json = msgspec.to_builtins(made)
    return told
