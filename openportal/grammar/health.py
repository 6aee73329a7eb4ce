"""How agents are, and what went wrong at them: what agents tell each other and the portal's software.

    Health          {"status": "ok", "health": HealthInfo}              the bridge, and under `peers` all that it sees
    Diagnostics     {"status": "ok", "report": DiagnosticsReport}       one agent, in detail

Whoever reads one refuses it if a field is missing or of another type, for every release since 0.32 writes all of them;
what is not known is dropped. Times are RFC 3339 with a zone. Everything raises GrammarError.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, cast

import msgspec

from openportal.errors import GrammarError

HEALTHY: Final = "ok"
LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")

AgentType = Literal[
    "Portal", "Provider", "Platform", "Instance", "Bridge", "Account", "Filesystem", "Scheduler", "Virtual"
]
Count = Annotated[int, msgspec.Meta(ge=0)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Document(msgspec.Struct, frozen=True):
    """The base of all: frozen, nothing converted, what is not known dropped."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From a JSON document. Raises GrammarError, which names the field."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (ValueError, RecursionError) as error:
            raise GrammarError(f"{cls.__name__}: {error}") from error

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """From the value of a JSON document. Raises GrammarError, which names the field."""
        try:
            return msgspec.convert(wire, cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise GrammarError(f"{cls.__name__}: {error}") from error

    def to_wire(self) -> dict[str, Any]:
        """The value of the JSON document."""
        return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(self)))


# Health.


class AgentHealth(Document, frozen=True, kw_only=True):
    """One agent. Counts of open jobs are of now, `total_*` since its start."""

    name: str
    agent_type: AgentType
    connected: bool
    active_jobs: Count
    pending_jobs: Count
    running_jobs: Count
    completed_jobs: Count
    duplicate_jobs: Count
    successful_jobs: Count
    expired_jobs: Count
    errored_jobs: Count
    inflight_jobs: Count
    queued_jobs: Count
    worker_count: Count
    memory_bytes: Count
    cpu_percent: float
    system_memory_total: Count
    system_cpus: Count
    job_time_min_ms: float
    job_time_max_ms: float
    job_time_mean_ms: float
    job_time_median_ms: float
    job_time_count: Count
    total_completed: Count
    total_failed: Count
    total_expired: Count
    total_slow: Count
    start_time: Moment
    current_time: Moment
    uptime_seconds: Count
    engine: str
    version: str
    last_updated: Moment


class HealthInfo(AgentHealth, frozen=True, kw_only=True):
    """One agent, and the neighbours that it asked."""

    peers: dict[str, HealthInfo] = {}

    def keys(self) -> tuple[str, ...]:
        """The names of its neighbours."""
        return tuple(sorted(self.peers))

    def __getitem__(self, name: str) -> HealthInfo:
        return self.peers[name]


class Health(Document, frozen=True):
    """What a bridge answers to the question how it is; without `health` it could not say."""

    status: str
    health: HealthInfo | None = None

    @property
    def is_healthy(self) -> bool:
        return self.status == HEALTHY

    @property
    def detail(self) -> HealthInfo | None:
        return self.health


# Diagnostics.


class FailedJobEntry(Document, frozen=True):
    """An instruction that failed, how often, and when."""

    destination: str
    instruction: str
    error_message: str
    count: Count
    first_seen: Moment
    last_seen: Moment


class SlowJobEntry(Document, frozen=True):
    """A job that took long."""

    destination: str
    instruction: str
    duration_ms: float
    completed_at: Moment


class ExpiredJobEntry(Document, frozen=True):
    """An instruction whose time ran out, and how often."""

    destination: str
    instruction: str
    created_at: Moment
    expired_at: Moment
    count: Count


class RunningJobEntry(Document, frozen=True):
    """An instruction that runs now."""

    destination: str
    instruction: str
    started_at: Moment
    count: Count
    running_for_seconds: int


class LogEntry(Document, frozen=True):
    """A line of the agent's log."""

    timestamp: Moment
    level: str
    target: str
    message: str


class NotificationStatistics(Document, frozen=True):
    """Notifications since the start of the agent."""

    total_received: Count = 0
    total_sent: Count = 0
    total_failed: Count = 0


class DiagnosticsReport(Document, frozen=True):
    """One agent in detail."""

    agent_name: str
    generated_at: Moment
    failed_jobs: tuple[FailedJobEntry, ...]
    slowest_jobs: tuple[SlowJobEntry, ...]
    expired_jobs: tuple[ExpiredJobEntry, ...]
    running_jobs: tuple[RunningJobEntry, ...]
    warnings: tuple[str, ...]
    recent_logs: tuple[LogEntry, ...] = ()
    notification_statistics: NotificationStatistics = NotificationStatistics()

    def logs(self, max: int = 0, level: str | None = None, search: str | None = None) -> tuple[LogEntry, ...]:
        """The log, oldest first: at most the last `max` lines (0 is all) that hold a text, in any case.

        `level` is one, such as `info`, or that and all above it, such as `warn+`.
        """
        levels = _levels(level)
        wanted = (search or "").lower()
        found = [
            entry
            for entry in self.recent_logs
            if (levels is None or entry.level.upper() in levels) and wanted in entry.message.lower()
        ]
        return tuple(found[-max:] if max else found)


def _levels(level: str | None) -> frozenset[str] | None:
    if level is None:
        return None
    first = level.upper().removesuffix("+")
    if level.endswith("+") and first in LEVELS:
        return frozenset(LEVELS[LEVELS.index(first) :])
    return frozenset({first})


class Diagnostics(Document, frozen=True):
    """What a bridge answers to the question what went wrong; without `report` it could not say."""

    status: str
    report: DiagnosticsReport | None = None

    @property
    def is_healthy(self) -> bool:
        return self.status == HEALTHY

    @property
    def detail(self) -> DiagnosticsReport | None:
        return self.report

    def logs(self, max: int = 0, level: str | None = None, search: str | None = None) -> tuple[LogEntry, ...]:
        return () if self.report is None else self.report.logs(max, level, search)
