"""How the agents are, and what went wrong at them.

    health = openportal.health()                     health["bridge"]["brics"]["aip1"].active_jobs
    found = openportal.diagnostics("brics.aip1")     found.detail.failed_jobs
    openportal.restart("soft", "brics.aip1").is_ok()

Times are in UTC and to the second, durations in milliseconds where the name says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self, final

from openportal.client.arguments import text, told
from openportal.client.wrapper import Read, Wrapper, each, maybe
from openportal.grammar import health as grammar


def _to_the_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _times(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class _Shown(Wrapper[Any]):
    """Shown as what it says, field by field."""

    __slots__ = ()
    _document: ClassVar[type[grammar.Document]]

    @classmethod
    def _from_json(cls, document: str) -> Self:
        return cls._of(told(cls._document.from_json, document))

    def __str__(self) -> str:
        fields = (f"{name}: {getattr(self._value, name)}" for name in type(self._value).__struct_fields__)
        return f"{type(self).__name__}({', '.join(fields)})"


@final
class HealthInfo(_Shown):
    """One agent, and the neighbours that it asked. Counts of open jobs are of now, `total_*` since its start."""

    __slots__ = ()
    _value: grammar.HealthInfo

    name: Read[str] = Read()
    agent_type: Read[str] = Read()
    connected: Read[bool] = Read()
    active_jobs: Read[int] = Read()
    pending_jobs: Read[int] = Read()
    running_jobs: Read[int] = Read()
    completed_jobs: Read[int] = Read()
    duplicate_jobs: Read[int] = Read()
    successful_jobs: Read[int] = Read()
    expired_jobs: Read[int] = Read()
    errored_jobs: Read[int] = Read()
    inflight_jobs: Read[int] = Read()
    queued_jobs: Read[int] = Read()
    worker_count: Read[int] = Read()
    memory_bytes: Read[int] = Read()
    cpu_percent: Read[float] = Read()
    system_memory_total: Read[int] = Read()
    system_cpus: Read[int] = Read()
    job_time_min_ms: Read[float] = Read()
    job_time_max_ms: Read[float] = Read()
    job_time_mean_ms: Read[float] = Read()
    job_time_median_ms: Read[float] = Read()
    job_time_count: Read[int] = Read()
    total_completed: Read[int] = Read()
    total_failed: Read[int] = Read()
    total_expired: Read[int] = Read()
    total_slow: Read[int] = Read()
    start_time: Read[datetime] = Read(_to_the_second)
    current_time: Read[datetime] = Read(_to_the_second)
    uptime_seconds: Read[int] = Read()
    engine: Read[str] = Read()
    version: Read[str] = Read()
    last_updated: Read[datetime] = Read(_to_the_second)

    def peers(self) -> dict[str, HealthInfo]:
        return {name: HealthInfo._of(peer) for name, peer in self._value.peers.items()}

    def keys(self) -> list[str]:
        """The names of its neighbours."""
        return list(self._value.keys())

    @property
    def x(self) -> HealthInfo:
        """The same, as the published client has it."""
        return self

    def __getitem__(self, key: str) -> HealthInfo:
        return _found(self._value.peers, key)

    def __str__(self) -> str:
        """A tree of the agents."""
        here = self._value
        link = "connected" if here.connected else "not connected"
        jobs = f"{here.active_jobs} active, {here.total_failed} failed, {here.total_expired} expired"
        lines = [
            f"{here.name} ({here.agent_type.lower()} {here.version}): {link}, up {here.uptime_seconds} s, jobs {jobs}"
        ]
        below = (str(HealthInfo._of(peer)).split("\n") for _, peer in sorted(here.peers.items()))
        return "\n".join([*lines, *(f"  {line}" for tree in below for line in tree)])


@final
class Health(_Shown):
    """What a bridge answers to the question how it is."""

    __slots__ = ()
    _document = grammar.Health
    _value: grammar.Health

    status: Read[str] = Read()
    detail: Read[HealthInfo | None] = Read(maybe(HealthInfo), name="health")

    def is_healthy(self) -> bool:
        return self._value.is_healthy

    def keys(self) -> list[str]:
        """The name of the bridge, if it could say how it is."""
        return [] if self._value.health is None else [self._value.health.name]

    def __getitem__(self, key: str) -> HealthInfo:
        here = self._value.health
        return _found({} if here is None else {here.name: here}, key)

    def __str__(self) -> str:
        return f"Health(status: {self.status})" + ("" if self.detail is None else f"\n{self.detail}")


def _found(peers: Mapping[str, grammar.HealthInfo], key: str) -> HealthInfo:
    if text(key, "key") not in peers:
        raise OSError(f"there is no agent {key!r} here; there are: {', '.join(sorted(peers)) or 'none'}")
    return HealthInfo._of(peers[key])


@final
class FailedJobEntry(_Shown):
    """An instruction that failed, how often, and when."""

    __slots__ = ()
    destination: Read[str] = Read()
    instruction: Read[str] = Read()
    error_message: Read[str] = Read()
    count: Read[int] = Read()
    first_seen: Read[datetime] = Read(_to_the_second)
    last_seen: Read[datetime] = Read(_to_the_second)

    def __str__(self) -> str:
        how_often = _times(self.count, "occurrence")
        return f'{self.destination} {self.instruction}: "{self.error_message}" ({how_often})'


@final
class SlowJobEntry(_Shown):
    """A job that took long."""

    __slots__ = ()
    destination: Read[str] = Read()
    instruction: Read[str] = Read()
    duration_ms: Read[float] = Read()
    completed_at: Read[datetime] = Read(_to_the_second)

    def __str__(self) -> str:
        when = _said(self.completed_at)
        return f"{self.destination} {self.instruction}: {self.duration_ms:.1f}ms (completed at {when})"


@final
class ExpiredJobEntry(_Shown):
    """An instruction whose time ran out, and how often."""

    __slots__ = ()
    destination: Read[str] = Read()
    instruction: Read[str] = Read()
    created_at: Read[datetime] = Read(_to_the_second)
    expired_at: Read[datetime] = Read(_to_the_second)
    count: Read[int] = Read()

    def __str__(self) -> str:
        what = f"{self.destination} {self.instruction} ({_times(self.count, 'occurrence')})"
        return f"{what} - Created: {_said(self.created_at)}, Expired: {_said(self.expired_at)}"


@final
class RunningJobEntry(_Shown):
    """An instruction that runs now."""

    __slots__ = ()
    destination: Read[str] = Read()
    instruction: Read[str] = Read()
    started_at: Read[datetime] = Read(_to_the_second)
    count: Read[int] = Read()
    running_for_seconds: Read[int] = Read()

    def __str__(self) -> str:
        what = f"{self.destination} {self.instruction} ({_times(self.count, 'instance')})"
        return f"{what} - started at {_said(self.started_at)}, running for {self.running_for_seconds}s"


@final
class LogEntry(_Shown):
    """A line of an agent's log."""

    __slots__ = ()
    timestamp: Read[datetime] = Read(_to_the_second)
    level: Read[str] = Read()
    target: Read[str] = Read()
    message: Read[str] = Read()


@final
class NotificationStatistics(_Shown):
    """Notifications since the start of the agent."""

    __slots__ = ()
    total_received: Read[int] = Read()
    total_sent: Read[int] = Read()
    total_failed: Read[int] = Read()

    def __str__(self) -> str:
        counts = f"received={self.total_received}, sent={self.total_sent}, failed={self.total_failed}"
        return f"NotificationStatistics({counts})"


class _WithLogs(_Shown):
    __slots__ = ()

    def logs(self, max: int = 0, level: str | None = None, search: str | None = None) -> list[LogEntry]:
        """The log, oldest first: at most the last `max` lines (0 is all) that hold `search`, in any case.

        `level` is one, such as `INFO`, or that and all above it, such as `WARN+`.
        """
        return each(LogEntry)(self._value.logs(max, level, search))


@final
class DiagnosticsReport(_WithLogs):
    """One agent in detail."""

    __slots__ = ()
    agent_name: Read[str] = Read()
    generated_at: Read[datetime] = Read(_to_the_second)
    failed_jobs: Read[list[FailedJobEntry]] = Read(each(FailedJobEntry))
    slowest_jobs: Read[list[SlowJobEntry]] = Read(each(SlowJobEntry))
    expired_jobs: Read[list[ExpiredJobEntry]] = Read(each(ExpiredJobEntry))
    running_jobs: Read[list[RunningJobEntry]] = Read(each(RunningJobEntry))
    warnings: Read[list[str]] = Read(list)
    notification_statistics: Read[NotificationStatistics] = Read(NotificationStatistics._of)


@final
class Diagnostics(_WithLogs):
    """What a bridge answers to the question what went wrong at an agent."""

    __slots__ = ()
    _document = grammar.Diagnostics
    status: Read[str] = Read()
    detail: Read[DiagnosticsReport | None] = Read(maybe(DiagnosticsReport), name="report")

    def is_healthy(self) -> bool:
        return bool(self._value.is_healthy)


class RestartAnswer(grammar.Document, frozen=True):
    """The answer of `/restart`. A bridge that failed to pass it on may leave the message out."""

    status: str
    message: str = ""

    @property
    def is_healthy(self) -> bool:
        return self.status == grammar.HEALTHY


@final
class RestartResponse(_Shown):
    """What a bridge answers to the wish that an agent starts again."""

    __slots__ = ()
    _document = RestartAnswer
    status: Read[str] = Read()
    message: Read[str] = Read()

    def is_ok(self) -> bool:
        return bool(self._value.is_healthy)
