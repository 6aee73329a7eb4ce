"""How agents are, and what went wrong at them: what the portal's software reads from its bridge.

    Health          {"status": "ok", "health": HealthInfo}              the bridge, and under `peers` all that it sees
    Diagnostics     {"status": "ok", "report": DiagnosticsReport}       one agent, in detail

These documents are only read, so what is not known in them is dropped, and what is missing is an error: every release
since 0.32 writes all of it. Times are RFC 3339 and come in UTC. Everything raises GrammarError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from openportal.errors import GrammarError
from openportal.grammar.dates import Timestamp
from openportal.grammar.quantities import U64_MAX

HEALTHY: Final = "ok"
LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")

AgentType = Literal[
    "Portal", "Provider", "Platform", "Instance", "Bridge", "Account", "Filesystem", "Scheduler", "Virtual"
]


def _moment(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a time such as 2024-01-15T10:30:00Z")
    return Timestamp.parse(value).to_datetime()


Count = Annotated[int, Field(ge=0, le=U64_MAX)]
Moment = Annotated[datetime, BeforeValidator(_moment)]


class Document(BaseModel):
    """The base of all: frozen, nothing converted, what is not known dropped."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From a JSON document. Raises GrammarError, which names the field."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _refusal(cls.__name__, error) from error

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """From the object of a JSON document. Raises GrammarError, which names the field."""
        try:
            return cls.model_validate(wire)
        except ValidationError as error:
            raise _refusal(cls.__name__, error) from error


def _refusal(what: str, error: ValidationError) -> GrammarError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return GrammarError(f"{what}: {'.'.join(map(str, first['loc']))}: {first['msg']}")


# Health.


class HealthInfo(Document):
    """One agent, and the neighbours that it asked. Counts of open jobs are of now, `total_*` since its start."""

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
    peers: Mapping[str, HealthInfo] = {}

    def keys(self) -> tuple[str, ...]:
        """The names of its neighbours."""
        return tuple(sorted(self.peers))

    def __getitem__(self, name: str) -> HealthInfo:
        return self.peers[name]


class Health(Document):
    """What a bridge answers to the question how it is; without `health` it could not say."""

    status: str
    health: HealthInfo | None = None

    @property
    def is_healthy(self) -> bool:
        return self.status == HEALTHY

    @property
    def detail(self) -> HealthInfo | None:
        return self.health

    def keys(self) -> tuple[str, ...]:
        return () if self.health is None else self.health.keys()

    def __getitem__(self, name: str) -> HealthInfo:
        if self.health is None:
            raise KeyError(name)
        return self.health[name]


# Diagnostics.


class FailedJobEntry(Document):
    """An instruction that failed, how often, and when."""

    destination: str
    instruction: str
    error_message: str
    count: Count
    first_seen: Moment
    last_seen: Moment


class SlowJobEntry(Document):
    """A job that took long."""

    destination: str
    instruction: str
    duration_ms: float
    completed_at: Moment


class ExpiredJobEntry(Document):
    """An instruction whose time ran out, and how often."""

    destination: str
    instruction: str
    created_at: Moment
    expired_at: Moment
    count: Count


class RunningJobEntry(Document):
    """An instruction that runs now."""

    destination: str
    instruction: str
    started_at: Moment
    count: Count
    running_for_seconds: int


class LogEntry(Document):
    """A line of the agent's log."""

    timestamp: Moment
    level: str
    target: str
    message: str


class NotificationStatistics(Document):
    """Notifications since the start of the agent."""

    total_received: Count = 0
    total_sent: Count = 0
    total_failed: Count = 0


class DiagnosticsReport(Document):
    """One agent in detail."""

    agent_name: str
    generated_at: Moment
    failed_jobs: Sequence[FailedJobEntry]
    slowest_jobs: Sequence[SlowJobEntry]
    expired_jobs: Sequence[ExpiredJobEntry]
    running_jobs: Sequence[RunningJobEntry]
    warnings: Sequence[str]
    recent_logs: Sequence[LogEntry] = ()
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


class Diagnostics(Document):
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


def to_wire(document: Document) -> dict[str, Any]:
    """As it stands in a JSON document."""
    return document.model_dump(mode="json")
