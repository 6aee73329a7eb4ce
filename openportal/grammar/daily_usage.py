"""What a project used on one day, by the names that users have on the machine.

A day has many fields, and most are empty: its class lists them as they are written, each with its family (see
`tallies`). Times are whole seconds. Usage that nobody is known for is that of `unknown`. Three kinds of names tell of
jobs that had to run again: `requeue_*` is what the site bears, `charged_requeue_*` what the project bears, and
`reservation_*` what ran in reservations. Expansion is turnaround over run time, kept in thousandths.

Values are frozen: what would change a day returns another. Everything raises GrammarError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Self, TypedDict, get_args

import msgspec

from openportal.errors import GrammarError
from openportal.grammar.quantities import U64_MAX, Usage
from openportal.grammar.tallies import (
    NOTHING,
    Counts,
    NestedUsage,
    OtherCounts,
    OtherUsage,
    Total,
    UserCounts,
    UserUsage,
    add_counts,
    add_nested,
    families_of,
    total_of,
    total_of_nested,
)

UNKNOWN_USER: Final = "unknown"

DayDocument = Mapping[str, Any]
"""The JSON object of a day as `DAY_DOCUMENT` decodes it: the fields that are there."""


class DailyProjectUsageReport(msgspec.Struct, frozen=True):
    """One day of a project. Maps are by local user unless they say otherwise; their usages are seconds."""

    reports: UserUsage = NOTHING
    components: NestedUsage = NOTHING
    user_job_counts: UserCounts = NOTHING
    user_wait_seconds: UserCounts = NOTHING
    num_jobs: Total = 0
    total_wait_seconds: Total = 0
    user_expansion_milli: UserCounts = NOTHING
    total_expansion_milli: Total = 0
    user_runtime_seconds: UserCounts = NOTHING
    total_runtime_seconds: Total = 0
    user_expansion_jobs: UserCounts = NOTHING
    num_expansion_jobs: Total = 0
    user_allocated_cpus: UserCounts = NOTHING
    total_allocated_cpus: Total = 0
    user_allocated_gpus: UserCounts = NOTHING
    total_allocated_gpus: Total = 0
    requeue_reports: UserUsage = NOTHING
    requeue_components: NestedUsage = NOTHING
    user_requeue_events: UserCounts = NOTHING
    num_requeue_events: Total = 0
    user_requeue_wait_seconds: UserCounts = NOTHING
    requeue_wait_seconds: Total = 0
    requeue_states: OtherCounts = NOTHING
    requeue_state_usage: OtherUsage = NOTHING
    charged_requeue_reports: UserUsage = NOTHING
    charged_requeue_components: NestedUsage = NOTHING
    user_charged_requeue_events: UserCounts = NOTHING
    num_charged_requeue_events: Total = 0
    user_charged_requeue_wait_seconds: UserCounts = NOTHING
    charged_requeue_wait_seconds: Total = 0
    charged_requeue_states: OtherCounts = NOTHING
    charged_requeue_state_usage: OtherUsage = NOTHING
    reservation_reports: NestedUsage = NOTHING
    reservation_requeue_usage: NestedUsage = NOTHING
    reservation_jobs: OtherCounts = NOTHING
    is_complete: bool = False

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """From the JSON object, of which nothing is required. Raises GrammarError, which names the field."""
        try:
            return cls.of_document(msgspec.convert(wire, DAY_DOCUMENT))
        except msgspec.ValidationError as error:
            raise GrammarError(str(error)) from error

    @classmethod
    def of_document(cls, document: DayDocument) -> Self:
        """From the JSON object as it was decoded. Raises GrammarError, which names the field."""
        values = {}
        name = ""
        try:
            for name, found in document.items():
                values[name] = _READERS[name](found)
        except GrammarError as error:
            raise GrammarError(f"{name}: {error}") from error
        return cls(**values)

    def to_wire(self) -> dict[str, Any]:
        """Without what is empty, except for what releases before 0.93 need."""
        values = ((name, family, getattr(self, name)) for name, family in _FAMILIES.items())
        wire = {name: family.write(value) for name, family, value in values if value or name == "reports"}
        return {**wire, "is_complete": self.is_complete}

    def __add__(self, other: DailyProjectUsageReport) -> DailyProjectUsageReport:
        """The sum, which is not complete until somebody says so."""
        added = {
            name: family.add(getattr(self, name), theirs)
            for name, family in _FAMILIES.items()
            if (theirs := getattr(other, name))
        }
        return msgspec.structs.replace(self, **added, is_complete=False)

    def __mul__(self, factor: float) -> DailyProjectUsageReport:
        """With every usage scaled; what is counted stays."""
        return self._changed("scale", lambda seconds: seconds * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> DailyProjectUsageReport:
        """With every usage divided; over nothing it is nothing."""
        return self._changed("scale", lambda seconds: seconds / divisor if divisor else 0.0)

    def renamed(self, names: Mapping[str, str]) -> DailyProjectUsageReport:
        """With other names of local users; what comes to have the same name is added."""
        return self._changed("rename", names)

    def _changed(self, how: str, by: object) -> DailyProjectUsageReport:
        return msgspec.structs.replace(
            self, **{name: getattr(family, how)(getattr(self, name), by) for name, family in _FAMILIES.items()}
        )

    def add_usage(self, user: str, usage: Usage) -> DailyProjectUsageReport:
        return msgspec.structs.replace(self, reports=add_counts(self.reports, {user: usage.seconds}))

    def add_component_usage(self, component: str, user: str, usage: Usage) -> DailyProjectUsageReport:
        return msgspec.structs.replace(self, components=add_nested(self.components, {component: {user: usage.seconds}}))

    def set_complete(self) -> DailyProjectUsageReport:
        return msgspec.structs.replace(self, is_complete=True)

    def get_component(self, component: str) -> DailyProjectUsageReport:
        """With the usage of one component in place of all; what is known by state or reservation only is left out."""
        kept = (*get_args(Total), *get_args(UserCounts), *get_args(UserUsage))
        dropped: dict[str, Any] = {name: {} for name, family in _FAMILIES.items() if family not in kept}
        return msgspec.structs.replace(
            self,
            reports=self.components.get(component, {}),
            requeue_reports=self.requeue_components.get(component, {}),
            charged_requeue_reports=self.charged_requeue_components.get(component, {}),
            **dropped,
        )

    def of_user(self, user: str) -> DailyProjectUsageReport:
        """What is known of one local user, as a day of its own: its totals and averages are those of the user."""
        return DailyProjectUsageReport(
            reports=_only(self.reports, user),
            num_jobs=self.user_job_counts.get(user, 0),
            total_wait_seconds=self.user_wait_seconds.get(user, 0),
            total_expansion_milli=self.user_expansion_milli.get(user, 0),
            total_runtime_seconds=self.user_runtime_seconds.get(user, 0),
            num_expansion_jobs=self.user_expansion_jobs.get(user, 0),
            total_allocated_cpus=self.user_allocated_cpus.get(user, 0),
            total_allocated_gpus=self.user_allocated_gpus.get(user, 0),
            requeue_reports=_only(self.requeue_reports, user),
            num_requeue_events=self.user_requeue_events.get(user, 0),
            requeue_wait_seconds=self.user_requeue_wait_seconds.get(user, 0),
        )

    @property
    def total_usage(self) -> Usage:
        return total_of(self.reports)

    @property
    def has_usage(self) -> bool:
        """Whether anything was used, be it for a job that had to run again."""
        return bool(self.total_usage.seconds) or self.has_requeues

    @property
    def total_requeue_usage(self) -> Usage:
        return total_of(self.requeue_reports)

    @property
    def total_reservation_usage(self) -> Usage:
        return total_of_nested(self.reservation_reports)

    @property
    def total_usage_including_requeues(self) -> Usage:
        return self.total_usage + self.total_requeue_usage

    @property
    def usage_outside_reservations(self) -> Usage:
        return self.total_usage_including_requeues - self.total_reservation_usage

    @property
    def average_wait_seconds(self) -> int:
        return self.total_wait_seconds // self.num_jobs if self.num_jobs else 0

    @property
    def average_requeue_wait_seconds(self) -> int:
        return self.requeue_wait_seconds // self.num_requeue_events if self.num_requeue_events else 0

    @property
    def average_wait_seconds_including_requeues(self) -> int:
        waited = min(U64_MAX, self.total_wait_seconds + self.requeue_wait_seconds)
        return waited // self.num_jobs if self.num_jobs else 0

    @property
    def expansion_jobs(self) -> int:
        """The jobs that run times are of. Reports that do not tell them apart mean all jobs."""
        told = self.total_runtime_seconds or self.total_expansion_milli
        return self.num_expansion_jobs or (self.num_jobs if told else 0)

    @property
    def average_runtime_seconds(self) -> int:
        return self.total_runtime_seconds // self.expansion_jobs if self.expansion_jobs else 0

    @property
    def average_expansion_factor(self) -> float:
        return _ratio(self.total_expansion_milli, self.expansion_jobs * 1000)

    @property
    def aggregate_expansion_factor(self) -> float:
        turnaround = min(U64_MAX, self.total_wait_seconds + self.total_runtime_seconds)
        return _ratio(turnaround, self.total_runtime_seconds)

    @property
    def average_cpus_per_job(self) -> float:
        return _ratio(self.total_allocated_cpus, self.num_jobs)

    @property
    def average_gpus_per_job(self) -> float:
        return _ratio(self.total_allocated_gpus, self.num_jobs)

    @property
    def requeue_state_summary(self) -> tuple[tuple[str, int, Usage], ...]:
        """By state: how often it made a job run again, and what that discarded; the costliest first."""
        return _by_state(self.requeue_states, self.requeue_state_usage)

    @property
    def charged_requeue_state_summary(self) -> tuple[tuple[str, int, Usage], ...]:
        """The same of what the project bears."""
        return _by_state(self.charged_requeue_states, self.charged_requeue_state_usage)

    @property
    def has_requeues(self) -> bool:
        """Whether jobs had to run again at the expense of the site."""
        return bool(self.num_requeue_events or self.total_requeue_usage.seconds)

    @property
    def has_charged_requeues(self) -> bool:
        """Whether jobs had to run again at the expense of the project."""
        return bool(self.num_charged_requeue_events or total_of(self.charged_requeue_reports).seconds)

    @property
    def has_reservations(self) -> bool:
        return bool(self.reservation_reports or self.reservation_jobs)

    @property
    def reservations(self) -> tuple[str, ...]:
        return tuple(sorted(self.reservation_reports.keys() | self.reservation_jobs.keys()))

    @property
    def reservation_summary(self) -> tuple[tuple[str, int, Usage, Usage], ...]:
        """By reservation: its jobs, what they used, and what of it was discarded; the busiest first."""
        rows = (
            (
                name,
                self.reservation_jobs.get(name, 0),
                total_of(self.reservation_reports.get(name, {})),
                total_of(self.reservation_requeue_usage.get(name, {})),
            )
            for name in self.reservations
        )
        return tuple(sorted(rows, key=lambda row: (-row[2].seconds, row[0])))

    @property
    def is_consistent(self) -> bool:
        """Whether the totals are those of the maps that they go with, and no part is more than its whole.

        Times are rounded for each user, so a part may be more than its whole by a second for each of its users.
        """
        charged = total_of(self.charged_requeue_reports)
        jobs = ((self.user_job_counts, self.num_jobs), (self.user_wait_seconds, self.total_wait_seconds))
        has_jobs = self.user_job_counts or self.user_wait_seconds  # if one is told of users, the other must be, too
        pairs = (
            (self.user_requeue_events, self.num_requeue_events),
            (self.user_requeue_wait_seconds, self.requeue_wait_seconds),
            (self.requeue_states, self.num_requeue_events),
            (self.requeue_state_usage, self.total_requeue_usage.seconds),
            (self.user_charged_requeue_events, self.num_charged_requeue_events),
            (self.user_charged_requeue_wait_seconds, self.charged_requeue_wait_seconds),
            (self.charged_requeue_states, self.num_charged_requeue_events),
            (self.charged_requeue_state_usage, charged.seconds),
        )
        return (
            all(total_of(counts).seconds == total for counts, total in jobs if has_jobs)
            and all(total_of(counts).seconds == total for counts, total in pairs if counts)
            and all(used <= self.reports.get(user, 0) + 1 for user, used in self.charged_requeue_reports.items())
            and self._has_consistent_reservations()
        )

    def _has_consistent_reservations(self) -> bool:
        used = self.reservation_reports
        users = {user for by_user in used.values() for user in by_user}
        whole = self.total_usage_including_requeues.seconds + len(users)
        return self.total_reservation_usage.seconds <= whole and all(
            seconds <= used.get(reservation, {}).get(user, 0)
            for reservation, by_user in self.reservation_requeue_usage.items()
            for user, seconds in by_user.items()
        )

    def in_hours(self) -> str:
        """The text of this day with every time in hours."""
        return self._text(Usage.in_hours)

    def __str__(self) -> str:
        return self._text(str)

    def lines(self, show: Callable[[Usage], str], names: Mapping[str, str] | None = None) -> list[str]:
        """What everybody used, one line each; `names` are those of local users where they are known elsewhere."""
        lines = []
        for user, seconds in sorted(self.reports.items()):
            line = f"{user if names is None else names.get(user, f'{user} - unknown')}: {show(Usage(seconds))}"
            if jobs := self.user_job_counts.get(user, 0):
                wait = show(Usage(self.user_wait_seconds.get(user, 0) // jobs))
                line += f" | {jobs} {'job' if jobs == 1 else 'jobs'} | Average wait: {wait}"
            lines.append(line)
        return lines

    def totals(self, show: Callable[[Usage], str]) -> list[str]:
        """What is known of the jobs and of those that had to run again, one line each."""
        lines = []
        if self.num_jobs:
            wait = f" | Average wait: {show(Usage(self.average_wait_seconds))}" if self.total_wait_seconds else ""
            lines.append(f"Number of jobs: {self.num_jobs}{wait}")
            mean, overall = self.average_expansion_factor, self.aggregate_expansion_factor
            if overall:
                lines.append(f"Expansion factor: {mean:.2f} mean per job, {overall:.2f} overall")
            if self.total_allocated_cpus:
                cpus, gpus = self.average_cpus_per_job, self.average_gpus_per_job
                lines.append(f"Mean job size: {cpus:.1f} cores, {gpus:.1f} gpus")
        if self.has_requeues:
            events = f"{self.num_requeue_events} {'event' if self.num_requeue_events == 1 else 'events'}"
            wait = show(Usage(self.average_requeue_wait_seconds))
            lines.append(f"Requeued: {events} | {show(self.total_requeue_usage)} | Average requeue wait: {wait}")
        return lines

    def _text(self, show: Callable[[Usage], str]) -> str:
        total = f"Total: {show(self.total_usage)}{'' if self.is_complete else ' - incomplete'}"
        return "\n".join([*self.lines(show), *self.totals(show), total, ""])


def _only(counts: Counts, user: str) -> Counts:
    return {user: counts[user]} if user in counts else {}


def _by_state(events: Counts, used: Counts) -> tuple[tuple[str, int, Usage], ...]:
    rows = ((state, events.get(state, 0), used.get(state, 0)) for state in events.keys() | used.keys())
    return tuple((state, count, Usage(lost)) for state, count, lost in sorted(rows, key=lambda row: (-row[2], row[0])))


def _ratio(amount: float, count: int) -> float:
    return float(amount) / float(count) if count else 0.0


_FAMILIES: Final = families_of(DailyProjectUsageReport)
_READERS: Final = {name: family.read for name, family in _FAMILIES.items()} | {"is_complete": bool}
DAY_DOCUMENT: Final[Any] = TypedDict(
    "DAY_DOCUMENT",
    {**{name: family.kind for name, family in _FAMILIES.items()}, "is_complete": bool},  # type: ignore[misc]
    total=False,
)
