"""What projects used, day by day.

    UsageReport             of a portal      {"portal": "brics", "reports": {"demo.brics": ProjectUsageReport, …}}
    ProjectUsageReport      of a project     {"project": "demo.brics", "reports": {"2024-01-15": Daily…, …},
                                              "users": {"alice.demo.brics": "alice"}}
    DailyProjectUsageReport of one day, by the names that users have on the machine

A day has many fields, and most are empty: its dataclass lists them as they are written, each with the family that says
how it is read, written, added, scaled and renamed. Times are whole seconds. Usage that nobody is known for is that of
`unknown`. Three families of fields tell of jobs that had to run again: `requeue_*` is what the site bears,
`charged_requeue_*` what the project bears, and `reservation_*` what ran in reservations. Expansion is turnaround over
run time, kept in thousandths.

Values are frozen: what would change a report returns another. Sums stop at the largest number that the network carries.
Reports of different projects or portals are never added. Everything raises GrammarError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import reduce
from typing import Any, Final, Self

from pydantic_core import from_json

from openportal.errors import GrammarError
from openportal.grammar.dates import DateRange, parse_date
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from openportal.grammar.quantities import U64_MAX, Usage, is_count, saturate
from openportal.grammar.text import quote

UNKNOWN_USER: Final = "unknown"

Counts = Mapping[str, int]
Nested = Mapping[str, Counts]
Users = Mapping[UserIdentifier, str]


# The families of fields.


@dataclass(frozen=True, slots=True)
class _Family:
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    add: Callable[[Any, Any], Any]
    scale: Callable[[Any, Callable[[float], float]], Any]
    rename: Callable[[Any, Mapping[str, str]], Any]


def _read_count(value: Any) -> int:
    if not is_count(value):
        raise GrammarError(f"must be a whole number from 0 to {U64_MAX}, not {quote(str(value))}")
    return int(value)


def _read_counts(value: Any) -> Counts:
    if type(value) is not dict:
        raise GrammarError(f"must be a JSON object, not {quote(str(value))}")
    numbers = value.values()
    if numbers and not (set(map(type, numbers)) == {int} and min(numbers) >= 0 and max(numbers) <= U64_MAX):
        raise GrammarError(f"must hold whole numbers from 0 to {U64_MAX} only")
    return value


def _read_usages(value: Any) -> Counts:
    try:
        return _read_counts({user: usage["seconds"] for user, usage in value.items()})
    except (AttributeError, TypeError, KeyError) as error:
        raise GrammarError("must hold usages only, such as {'alice': {'seconds': 60}}") from error


def _write_usages(seconds: Counts) -> dict[str, dict[str, int]]:
    return {user: {"seconds": number} for user, number in seconds.items()}


def _add_counts(one: Counts, other: Counts) -> Counts:
    added = dict(one)
    for key, number in other.items():
        added[key] = min(U64_MAX, added.get(key, 0) + number)
    return added


def _scale_counts(counts: Counts, scale: Callable[[float], float]) -> Counts:
    return {key: saturate(scale(float(number))) for key, number in counts.items()}


def _rename_counts(counts: Counts, names: Mapping[str, str]) -> Counts:
    return reduce(_add_counts, ({names.get(key, key): number} for key, number in counts.items()), {})


def _each(change: Callable[..., Any]) -> Callable[..., Any]:
    return lambda nested, *rest: {key: change(counts, *rest) for key, counts in nested.items()}


def _read_nested(value: Any) -> Nested:
    if type(value) is not dict:
        raise GrammarError(f"must be a JSON object, not {quote(str(value))}")
    return {key: _read_usages(counts) for key, counts in value.items()}


def _add_nested(one: Nested, other: Nested) -> Nested:
    return {**one, **{key: _add_counts(one.get(key, {}), counts) for key, counts in other.items()}}


def _kept(value: Any, _: Any = None) -> Any:
    return value


_TOTAL: Final = {"family": _Family(_read_count, _kept, lambda one, other: min(U64_MAX, one + other), _kept, _kept)}
_USER_COUNTS: Final = {"family": _Family(_read_counts, _kept, _add_counts, _kept, _rename_counts)}
_OTHER_COUNTS: Final = {"family": _Family(_read_counts, _kept, _add_counts, _kept, _kept)}
_USER_USAGE: Final = {"family": _Family(_read_usages, _write_usages, _add_counts, _scale_counts, _rename_counts)}
_OTHER_USAGE: Final = {"family": _Family(_read_usages, _write_usages, _add_counts, _scale_counts, _kept)}
_NESTED_USAGE: Final = {
    "family": _Family(_read_nested, _each(_write_usages), _add_nested, _each(_scale_counts), _each(_rename_counts))
}


# One day.


@dataclass(frozen=True, slots=True)
class DailyProjectUsageReport:
    """One day of a project. Maps are by local user unless they say otherwise; their usages are seconds."""

    reports: Counts = field(default_factory=dict, metadata=_USER_USAGE)
    components: Nested = field(default_factory=dict, metadata=_NESTED_USAGE)
    user_job_counts: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    user_wait_seconds: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    num_jobs: int = field(default=0, metadata=_TOTAL)
    total_wait_seconds: int = field(default=0, metadata=_TOTAL)
    user_expansion_milli: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    total_expansion_milli: int = field(default=0, metadata=_TOTAL)
    user_runtime_seconds: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    total_runtime_seconds: int = field(default=0, metadata=_TOTAL)
    user_expansion_jobs: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    num_expansion_jobs: int = field(default=0, metadata=_TOTAL)
    user_allocated_cpus: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    total_allocated_cpus: int = field(default=0, metadata=_TOTAL)
    user_allocated_gpus: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    total_allocated_gpus: int = field(default=0, metadata=_TOTAL)
    requeue_reports: Counts = field(default_factory=dict, metadata=_USER_USAGE)
    requeue_components: Nested = field(default_factory=dict, metadata=_NESTED_USAGE)
    user_requeue_events: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    num_requeue_events: int = field(default=0, metadata=_TOTAL)
    user_requeue_wait_seconds: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    requeue_wait_seconds: int = field(default=0, metadata=_TOTAL)
    requeue_states: Counts = field(default_factory=dict, metadata=_OTHER_COUNTS)
    requeue_state_usage: Counts = field(default_factory=dict, metadata=_OTHER_USAGE)
    charged_requeue_reports: Counts = field(default_factory=dict, metadata=_USER_USAGE)
    charged_requeue_components: Nested = field(default_factory=dict, metadata=_NESTED_USAGE)
    user_charged_requeue_events: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    num_charged_requeue_events: int = field(default=0, metadata=_TOTAL)
    user_charged_requeue_wait_seconds: Counts = field(default_factory=dict, metadata=_USER_COUNTS)
    charged_requeue_wait_seconds: int = field(default=0, metadata=_TOTAL)
    charged_requeue_states: Counts = field(default_factory=dict, metadata=_OTHER_COUNTS)
    charged_requeue_state_usage: Counts = field(default_factory=dict, metadata=_OTHER_USAGE)
    reservation_reports: Nested = field(default_factory=dict, metadata=_NESTED_USAGE)
    reservation_requeue_usage: Nested = field(default_factory=dict, metadata=_NESTED_USAGE)
    reservation_jobs: Counts = field(default_factory=dict, metadata=_OTHER_COUNTS)
    is_complete: bool = False

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """From the JSON object, of which nothing is required. Raises GrammarError, which names the field."""
        found = _object(wire)
        if type(complete := found.get("is_complete", False)) is not bool:
            raise GrammarError(f"is_complete must be true or false, not {quote(str(complete))}")
        values: dict[str, Any] = {"is_complete": complete}
        for name in found.keys() & _FAMILIES.keys():
            try:
                values[name] = _FAMILIES[name].read(found[name])
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
        return replace(self, **added, is_complete=False)

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
        return replace(
            self, **{name: getattr(family, how)(getattr(self, name), by) for name, family in _FAMILIES.items()}
        )

    def add_usage(self, user: str, usage: Usage) -> DailyProjectUsageReport:
        return replace(self, reports=_add_counts(self.reports, {user: usage.seconds}))

    def add_component_usage(self, component: str, user: str, usage: Usage) -> DailyProjectUsageReport:
        return replace(self, components=_add_nested(self.components, {component: {user: usage.seconds}}))

    def set_complete(self) -> DailyProjectUsageReport:
        return replace(self, is_complete=True)

    def get_component(self, component: str) -> DailyProjectUsageReport:
        """With the usage of one component in place of all; what is known by state or reservation only is left out."""
        families = [one["family"] for one in (_NESTED_USAGE, _OTHER_USAGE, _OTHER_COUNTS)]
        dropped: dict[str, Any] = {name: {} for name, family in _FAMILIES.items() if family in families}
        return replace(
            self,
            reports=self.components.get(component, {}),
            requeue_reports=self.requeue_components.get(component, {}),
            charged_requeue_reports=self.charged_requeue_components.get(component, {}),
            **dropped,
        )

    @property
    def total_usage(self) -> Usage:
        return _sum(self.reports)

    @property
    def has_usage(self) -> bool:
        """Whether anything was used, be it for a job that had to run again."""
        return bool(self.total_usage.seconds) or self.has_requeues

    @property
    def total_requeue_usage(self) -> Usage:
        return _sum(self.requeue_reports)

    @property
    def total_reservation_usage(self) -> Usage:
        return _sum_nested(self.reservation_reports)

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
        states = self.requeue_states.keys() | self.requeue_state_usage.keys()
        rows = ((state, self.requeue_states.get(state, 0), self.requeue_state_usage.get(state, 0)) for state in states)
        return tuple((state, events, Usage(used)) for state, events, used in sorted(rows, key=lambda r: (-r[2], r[0])))

    @property
    def has_requeues(self) -> bool:
        """Whether jobs had to run again at the expense of the site."""
        return bool(self.num_requeue_events or self.total_requeue_usage.seconds)

    @property
    def has_charged_requeues(self) -> bool:
        """Whether jobs had to run again at the expense of the project."""
        return bool(self.num_charged_requeue_events or _sum(self.charged_requeue_reports).seconds)

    @property
    def has_reservations(self) -> bool:
        return bool(self.reservation_reports or self.reservation_jobs)

    @property
    def reservations(self) -> tuple[str, ...]:
        return tuple(sorted(self.reservation_reports.keys() | self.reservation_jobs.keys()))

    @property
    def is_consistent(self) -> bool:
        """Whether the totals are those of the maps that they go with, and no part is more than its whole."""
        charged = _sum(self.charged_requeue_reports)
        pairs = (
            (self.user_job_counts, self.num_jobs),
            (self.user_wait_seconds, self.total_wait_seconds),
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
            all(_sum(counts).seconds == total for counts, total in pairs if counts)
            and (not charged.seconds or charged < self.total_usage)
            and self._has_consistent_reservations()
        )

    def _has_consistent_reservations(self) -> bool:
        discarded = self.reservation_requeue_usage
        used = self.reservation_reports
        return _sum_nested(discarded) <= self.total_requeue_usage and all(
            seconds <= used.get(reservation, {}).get(user, 0)
            for reservation, by_user in discarded.items()
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


_FAMILIES: Final[dict[str, _Family]] = {
    item.name: item.metadata["family"] for item in fields(DailyProjectUsageReport) if item.metadata
}


# A project.


@dataclass(frozen=True, slots=True)
class ProjectUsageReport:
    """A project, by day, and the local names of its users."""

    project: ProjectIdentifier
    reports: Mapping[date, DailyProjectUsageReport] = field(default_factory=dict)
    users: Users = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From a JSON document. Raises GrammarError, which names the day and the field."""
        return cls.from_wire(load(text))

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        found = _object(wire)
        days = {}
        for day, report in _object(found.get("reports")).items():
            try:
                days[parse_date(day)] = DailyProjectUsageReport.from_wire(report)
            except GrammarError as error:
                raise GrammarError(f"the report of {quote(day)}: {error}") from error
        return cls(ProjectIdentifier.parse(_text(found.get("project"))), days, read_users(found.get("users", {})))

    def to_wire(self) -> dict[str, Any]:
        days = {str(day): report.to_wire() for day, report in sorted(self.reports.items())}
        users = {str(user): name for user, name in self.users.items()}
        return {"project": str(self.project), "reports": days, "users": users}

    def to_json(self) -> str:
        return dump(self.to_wire())

    @classmethod
    def combine(cls, reports: Iterable[ProjectUsageReport]) -> ProjectUsageReport:
        """The sum of one or more reports of one project."""
        first, *others = reports or (None,)
        if first is None:
            raise GrammarError("there are no reports to combine")
        return sum(others, first)

    def __add__(self, other: ProjectUsageReport) -> ProjectUsageReport:
        """The sum; a user who is known in both keeps the name in this one."""
        if other.project != self.project:
            raise GrammarError(f"a report of {other.project} cannot be added to one of {self.project}")
        days = dict(self.reports)
        for day, report in other.reports.items():
            days[day] = days[day] + report if day in days else report
        return replace(self, reports=days, users={**other.users, **self.users})

    def __mul__(self, factor: float) -> ProjectUsageReport:
        return self._each_day(lambda report: report * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> ProjectUsageReport:
        return self._each_day(lambda report: report / divisor)

    def filter(self, days: DateRange) -> ProjectUsageReport:
        """The days of a range only."""
        return replace(self, reports={day: report for day, report in self.reports.items() if day in days})

    def get_report(self, day: date) -> ProjectUsageReport:
        return self.filter(DateRange(day, day))

    def get_component(self, component: str) -> ProjectUsageReport:
        return self._each_day(lambda report: report.get_component(component))

    def set_report(self, day: date, report: DailyProjectUsageReport) -> ProjectUsageReport:
        return replace(self, reports={**self.reports, day: report})

    def set_complete(self) -> ProjectUsageReport:
        return self._each_day(DailyProjectUsageReport.set_complete)

    def add_mapping(self, mapping: UserMapping) -> ProjectUsageReport:
        if mapping.user.project_identifier != self.project:
            raise GrammarError(f"{mapping.user} is not a user of {self.project}")
        return replace(self, users={**self.users, mapping.user: mapping.local_user})

    def remap_project(self, project: ProjectIdentifier) -> ProjectUsageReport:
        """As the report of another project, whose users have the same names."""
        return replace(self, project=project, users=remapped(self.users, project))

    def remap_portal(self, portal: PortalIdentifier) -> ProjectUsageReport:
        return self.remap_project(ProjectIdentifier(self.project.project, portal.portal))

    def remap_users(self, users: Users) -> ProjectUsageReport:
        """With other local names of users who have one. Raises GrammarError if two come to have the same."""
        changed = renamed_users(self.users, users)
        names = {self.users[user]: name for user, name in changed.items() if user in users}
        return replace(self, users=changed)._each_day(lambda report: report.renamed(names))

    def to_usage_report(self) -> UsageReport:
        return UsageReport(self.project.portal_identifier, {self.project: self})

    @property
    def portal(self) -> PortalIdentifier:
        return self.project.portal_identifier

    @property
    def dates(self) -> tuple[date, ...]:
        return tuple(sorted(self.reports))

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(sorted({component for report in self.reports.values() for component in report.components}))

    @property
    def is_complete(self) -> bool:
        return all(report.is_complete for report in self.reports.values())

    @property
    def has_requeues(self) -> bool:
        """Whether jobs had to run again, at whosever expense."""
        return any(report.has_requeues or report.has_charged_requeues for report in self.reports.values())

    @property
    def total(self) -> DailyProjectUsageReport:
        """All days as one: its totals, averages, states and reservations are those of the project."""
        settled = (replace(day, num_expansion_jobs=day.expansion_jobs) for _, day in sorted(self.reports.items()))
        return reduce(DailyProjectUsageReport.__add__, settled, DailyProjectUsageReport())

    @property
    def total_usage(self) -> Usage:
        return sum((report.total_usage for report in self.reports.values()), Usage())

    @property
    def unmapped_users(self) -> tuple[str, ...]:
        """The local users whom nobody is known for."""
        used = {user for report in self.reports.values() for user in report.reports}
        return tuple(sorted(used.difference(self.users.values())))

    @property
    def unmapped_usage(self) -> Usage:
        total = self.total.reports
        return _sum({user: total[user] for user in self.unmapped_users})

    def usage(self, user: UserIdentifier) -> Usage:
        name = self.users.get(user)
        return Usage() if name is None else Usage(self.total.reports.get(name, 0))

    def daily_reports(self, with_usage_only: bool = True) -> tuple[DailyProjectUsageReport, ...]:
        days = (report for _, report in sorted(self.reports.items()))
        return tuple(report for report in days if report.has_usage or not with_usage_only)

    def in_hours(self) -> str:
        """The text of this report with every time in hours."""
        return self._text(Usage.in_hours)

    def __str__(self) -> str:
        return self._text(str)

    def _each_day(self, change: Callable[[DailyProjectUsageReport], DailyProjectUsageReport]) -> ProjectUsageReport:
        return replace(self, reports={day: change(report) for day, report in self.reports.items()})

    def _text(self, show: Callable[[Usage], str]) -> str:
        names = {name: str(user) for user, name in sorted(self.users.items(), key=lambda item: str(item[0]))}
        lines = [str(self.project)]
        for day, report in sorted(self.reports.items()):
            if report.has_usage:
                lines += [str(day), *(f"  {line}" for line in report.lines(show, names)), *report.totals(show)]
                lines += _reservation_lines(report, show)
                lines += [f"Daily total: {show(report.total_usage)}", "-" * 40]
        total = self.total
        lines += ["=" * 40, *total.totals(show)]
        if total.has_reservations:
            lines.append(
                f"In reservations: {show(total.total_reservation_usage)} across {', '.join(total.reservations)}"
            )
        return "\n".join([*lines, f"Total: {show(total.total_usage)}", ""])


def _reservation_lines(report: DailyProjectUsageReport, show: Callable[[Usage], str]) -> list[str]:
    lines = []
    for reservation in report.reservations:
        used = show(_sum(report.reservation_reports.get(reservation, {})))
        jobs = report.reservation_jobs.get(reservation, 0)
        lines.append(f"Reservation {reservation}: {used} | {jobs} {'job' if jobs == 1 else 'jobs'}")
    return lines


# A portal.


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The projects of a portal."""

    portal: PortalIdentifier
    reports: Mapping[ProjectIdentifier, ProjectUsageReport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_keys(self.portal, {project: report.project for project, report in self.reports.items()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From a JSON document. Raises GrammarError, which names the project, the day and the field."""
        return cls.from_wire(load(text))

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        portal, found = read_portal(wire)
        return cls(portal, {project: ProjectUsageReport.from_wire(report) for project, report in found.items()})

    def to_wire(self) -> dict[str, Any]:
        reports = {str(project): report.to_wire() for project, report in self.reports.items()}
        return {"portal": str(self.portal), "reports": reports}

    def to_json(self) -> str:
        return dump(self.to_wire())

    @classmethod
    def combine(cls, reports: Iterable[UsageReport]) -> UsageReport:
        """The sum of one or more reports of one portal."""
        first, *others = reports or (None,)
        if first is None:
            raise GrammarError("there are no reports to combine")
        return sum(others, first)

    def __add__(self, other: UsageReport) -> UsageReport:
        if other.portal != self.portal:
            raise GrammarError(f"a report of {other.portal} cannot be added to one of {self.portal}")
        reports = dict(self.reports)
        for project, report in other.reports.items():
            reports[project] = reports[project] + report if project in reports else report
        return replace(self, reports=reports)

    def __mul__(self, factor: float) -> UsageReport:
        return self._each(lambda report: report * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> UsageReport:
        return self._each(lambda report: report / divisor)

    def filter(self, days: DateRange) -> UsageReport:
        return self._each(lambda report: report.filter(days))

    def get_component(self, component: str) -> UsageReport:
        return self._each(lambda report: report.get_component(component))

    def get_report(self, project: ProjectIdentifier) -> ProjectUsageReport:
        """The report of a project; an empty one if there is none."""
        return self.reports.get(project) or ProjectUsageReport(project)

    def remap_project(self, old: ProjectIdentifier, new: ProjectIdentifier) -> UsageReport:
        """With the report of one project as that of another, which must have none."""
        if old not in self.reports:
            return self
        if new in self.reports and new != old:
            raise GrammarError(f"there is a report of {new} already, so {old} cannot become it")
        others = {project: report for project, report in self.reports.items() if project != old}
        return replace(self, reports={**others, new: self.reports[old].remap_project(new)})

    def remap_portal(self, portal: PortalIdentifier) -> UsageReport:
        reports = (report.remap_portal(portal) for report in self.reports.values())
        return UsageReport(portal, {report.project: report for report in reports})

    def remap_users(self, users: Users) -> UsageReport:
        return self._each(lambda report: report.remap_users(users))

    @property
    def projects(self) -> tuple[ProjectIdentifier, ...]:
        return tuple(sorted(self.reports, key=str))

    @property
    def users(self) -> Users:
        return {user: name for report in self.reports.values() for user, name in report.users.items()}

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(sorted({component for report in self.reports.values() for component in report.components}))

    @property
    def has_requeues(self) -> bool:
        return any(report.has_requeues for report in self.reports.values())

    @property
    def total(self) -> DailyProjectUsageReport:
        """All projects and days as one."""
        totals = (report.total for report in self.reports.values())
        return reduce(DailyProjectUsageReport.__add__, totals, DailyProjectUsageReport())

    @property
    def total_usage(self) -> Usage:
        return sum((report.total_usage for report in self.reports.values()), Usage())

    def __str__(self) -> str:
        parts = (f"{self.reports[project]}\n{'-' * 40}" for project in self.projects)
        return "\n".join([str(self.portal), *parts, f"Total: {self.total_usage}", ""])

    def _each(self, change: Callable[[ProjectUsageReport], ProjectUsageReport]) -> UsageReport:
        return replace(self, reports={project: change(report) for project, report in self.reports.items()})


# What reports of usage and of storage share.


def load(text: str) -> object:
    """The value of a JSON document. Raises GrammarError."""
    try:
        return from_json(text, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise GrammarError(f"not a JSON document: {error}") from error


def dump(wire: object) -> str:
    return json.dumps(wire, ensure_ascii=False, separators=(",", ":"))


def read_portal(wire: object) -> tuple[PortalIdentifier, dict[ProjectIdentifier, object]]:
    """The portal and the reports of `{"portal": …, "reports": {project: report}}`."""
    found = _object(wire)
    reports = {ProjectIdentifier.parse(project): report for project, report in _object(found.get("reports")).items()}
    return PortalIdentifier.parse(_text(found.get("portal"))), reports


def check_keys(portal: PortalIdentifier, projects: Mapping[ProjectIdentifier, ProjectIdentifier]) -> None:
    """Raise GrammarError unless every key is the project of its report, and of this portal."""
    for key, project in projects.items():
        if key != project:
            raise GrammarError(f"the report under {key} is one of {project}")
        if key.portal != portal.portal:
            raise GrammarError(f"the report of {key} is not one of {portal}")


def read_users(value: object) -> Users:
    """From `{"alice.demo.brics": "alice"}`."""
    return {UserIdentifier.parse(user): _text(name) for user, name in _object(value).items()}


def renamed_users(users: Users, others: Users) -> Users:
    """The same users with other local names. Raises GrammarError if two have the same."""
    changed = {user: others.get(user, name) for user, name in users.items()}
    if len(set(changed.values())) < len(changed):
        raise GrammarError("two users cannot have the same local name")
    return changed


def remapped(users: Users, project: ProjectIdentifier) -> Users:
    """The same users as those of another project."""
    return {UserIdentifier(user.username, project.project, project.portal): name for user, name in users.items()}


def _object(value: object) -> dict[str, object]:
    if type(value) is not dict:
        raise GrammarError(f"must be a JSON object, not {quote(str(value))}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise GrammarError(f"must be a text, not {quote(str(value))}")
    return value


def _sum(seconds: Counts) -> Usage:
    return Usage(min(U64_MAX, sum(seconds.values())))


def _sum_nested(nested: Nested) -> Usage:
    return sum(map(_sum, nested.values()), Usage())


def _ratio(amount: float, count: int) -> float:
    return float(amount) / float(count) if count else 0.0
