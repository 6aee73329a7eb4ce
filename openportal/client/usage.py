"""What projects used: a day, a project by day, and a portal by project.

    report = job.result                           a ProjectUsageReport
    report.total_usage.hours                      report.usage(UserIdentifier("alice.demo.brics")).hours
    for day in report.daily_reports(): …          report.requeue_report()

Users of a day are the local names that they have on the machine. `requeue` is what the site bears because jobs had to
run again; what the project bears of that is part of its usage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Self, final

from msgspec.structs import replace as changed

from openportal.client.arguments import day, instance, instances, joined, real, text, told
from openportal.client.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from openportal.client.quantities import DateRange, Usage
from openportal.client.wrapper import Read, Wrapper, each, in_order
from openportal.grammar import quantities
from openportal.grammar import usage as grammar
from openportal.grammar import usage_summaries as pages

Names = Mapping[UserIdentifier, str]


def _usage(seconds: int) -> Usage:
    return Usage._of(quantities.Usage(min(seconds, quantities.U64_MAX)))


def _states(summary: Any) -> list[tuple[str, int, Usage]]:
    return [(state, events, Usage._of(used)) for state, events, used in summary]


def names_of(new_usermapping: object) -> dict[Any, str]:
    """The local names of users, as the grammar takes them."""
    if not isinstance(new_usermapping, dict):
        raise OSError(f"expected a dict of users and their local names, not {type(new_usermapping).__name__}")
    return {instance(user, UserIdentifier)._value: text(name) for user, name in new_usermapping.items()}


class _Totals(Wrapper[Any]):
    """What the reports of a day and of a project tell in the same words; `_total` is the day they are read from."""

    __slots__ = ()

    @property
    def _total(self) -> grammar.DailyProjectUsageReport:
        return self._value.total  # type: ignore[no-any-return]

    @property
    def total_usage(self) -> Usage:
        return Usage._of(self._total.total_usage)

    @property
    def num_jobs(self) -> int:
        return self._total.num_jobs

    @property
    def total_wait_seconds(self) -> int:
        return self._total.total_wait_seconds

    @property
    def average_wait_seconds(self) -> int:
        return self._total.average_wait_seconds

    @property
    def total_runtime_seconds(self) -> int:
        """How long jobs ran, whatever they held; usage counts what they held."""
        return self._total.total_runtime_seconds

    @property
    def expansion_jobs(self) -> int:
        """The jobs that run times and expansion factors are means of."""
        return self._total.expansion_jobs

    @property
    def average_runtime_seconds(self) -> int:
        return self._total.average_runtime_seconds

    @property
    def average_expansion_factor(self) -> float:
        """The mean over jobs of turnaround over run time: 1 is best, 0 means that there were no jobs."""
        return self._total.average_expansion_factor

    @property
    def aggregate_expansion_factor(self) -> float:
        """All turnaround over all run time; no single job moves it far."""
        return self._total.aggregate_expansion_factor

    @property
    def average_cpus_per_job(self) -> float:
        return self._total.average_cpus_per_job

    @property
    def average_gpus_per_job(self) -> float:
        return self._total.average_gpus_per_job

    @property
    def total_requeue_usage(self) -> Usage:
        """What was discarded by jobs that had to run again; it is no part of `total_usage`."""
        return Usage._of(self._total.total_requeue_usage)

    @property
    def total_usage_including_requeues(self) -> Usage:
        return Usage._of(self._total.total_usage_including_requeues)

    @property
    def num_requeue_events(self) -> int:
        return self._total.num_requeue_events

    @property
    def requeue_wait_seconds(self) -> int:
        return self._total.requeue_wait_seconds

    @property
    def average_requeue_wait_seconds(self) -> int:
        return self._total.average_requeue_wait_seconds

    @property
    def average_wait_seconds_including_requeues(self) -> int:
        return self._total.average_wait_seconds_including_requeues

    @property
    def requeue_states(self) -> list[tuple[str, int]]:
        """How often each state made a job run again."""
        return sorted(self._total.requeue_states.items())

    @property
    def requeue_state_summary(self) -> list[tuple[str, int, Usage]]:
        """By state: how often, and what that discarded; the costliest first."""
        return _states(self._total.requeue_state_summary)

    @property
    def has_reservations(self) -> bool:
        return self._total.has_reservations

    @property
    def reservations(self) -> list[str]:
        return list(self._total.reservations)

    @property
    def total_reservation_usage(self) -> Usage:
        return Usage._of(self._total.total_reservation_usage)

    @property
    def usage_outside_reservations(self) -> Usage:
        return Usage._of(self._total.usage_outside_reservations)

    @property
    def reservation_summary(self) -> list[tuple[str, int, Usage, Usage]]:
        """By reservation: its jobs, what they used, and what of it was discarded; the busiest first."""
        rows = self._total.reservation_summary
        return [(name, jobs, Usage._of(used), Usage._of(discarded)) for name, jobs, used, discarded in rows]

    def average_runtime_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).average_runtime_seconds

    def expansion_factor_for_user(self, user: str) -> float:
        return self._of_user(user).average_expansion_factor

    def aggregate_expansion_factor_for_user(self, user: str) -> float:
        return self._of_user(user).aggregate_expansion_factor

    def average_cpus_per_job_for_user(self, user: str) -> float:
        return self._of_user(user).average_cpus_per_job

    def average_gpus_per_job_for_user(self, user: str) -> float:
        return self._of_user(user).average_gpus_per_job

    def requeue_usage_in_state(self, state: str) -> Usage:
        return _usage(self._total.requeue_state_usage.get(text(state, "state"), 0))

    def reservation_usage(self, reservation: str) -> Usage:
        return _usage(sum(self._total.reservation_reports.get(text(reservation, "reservation"), {}).values()))

    def reservation_requeue_usage(self, reservation: str) -> Usage:
        return _usage(sum(self._total.reservation_requeue_usage.get(text(reservation, "reservation"), {}).values()))

    def reservation_jobs(self, reservation: str) -> int:
        return self._total.reservation_jobs.get(text(reservation, "reservation"), 0)

    def _of_user(self, user: str) -> grammar.DailyProjectUsageReport:
        return self._total.of_user(text(user, "user"))


class _Arithmetic(Wrapper[Any]):
    """Sums and multiples of reports."""

    __slots__ = ()

    def __add__(self, other: Self) -> Self:
        return self._of(told(self._value.__add__, other._value)) if isinstance(other, type(self)) else NotImplemented

    def __radd__(self, other: Self) -> Self:
        return NotImplemented

    def __iadd__(self, other: Self) -> Self:
        if not isinstance(other, type(self)):
            return NotImplemented
        self._value = told(self._value.__add__, other._value)
        return self

    def __mul__(self, factor: float) -> Self:
        return self._of(self._value * factor) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__

    def __imul__(self, factor: float) -> Self:
        if not isinstance(factor, int | float):
            return NotImplemented
        self._value = self._value * factor
        return self

    def __div__(self, divisor: float) -> Self:
        return self._of(self._value / real(divisor, "divisor"))

    def __idiv__(self, other: float) -> None:
        self._value = self._value / real(other, "other")


@final
class DailyProjectUsageReport(_Totals, _Arithmetic):
    """One day of a project."""

    __slots__ = ()

    def __new__(cls) -> Self:
        return cls._of(grammar.DailyProjectUsageReport())

    @property
    def _total(self) -> grammar.DailyProjectUsageReport:
        return self._value  # type: ignore[no-any-return]

    is_complete: Read[bool] = Read()
    is_consistent: Read[bool] = Read(doc="Whether the totals are those of the maps that they go with.")
    has_requeues: Read[bool] = Read()
    components: Read[list[str]] = Read(sorted)
    requeue_components: Read[list[str]] = Read(sorted)
    total_allocated_cpus: Read[int] = Read()
    total_allocated_gpus: Read[int] = Read()

    @property
    def requeue_users(self) -> list[str]:
        """The local users whose jobs had to run again."""
        return sorted(self._total.requeue_reports.keys() | self._total.user_requeue_events.keys())

    def local_users(self) -> list[str]:
        return sorted(self._total.reports)

    def usage(self, user: str) -> Usage:
        return _usage(self._total.reports.get(text(user, "user"), 0))

    def num_jobs_for_user(self, user: str) -> int:
        return self._of_user(user).num_jobs

    def wait_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).total_wait_seconds

    def average_wait_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).average_wait_seconds

    def runtime_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).total_runtime_seconds

    def requeue_usage(self, user: str) -> Usage:
        return _usage(self._total.requeue_reports.get(text(user, "user"), 0))

    def requeue_events_for_user(self, user: str) -> int:
        return self._of_user(user).num_requeue_events

    def requeue_wait_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).requeue_wait_seconds

    def requeue_events_in_state(self, state: str) -> int:
        return self._total.requeue_states.get(text(state, "state"), 0)

    def total_requeue_component_usage(self, component: str) -> Usage:
        return _usage(sum(self._total.requeue_components.get(text(component, "component"), {}).values()))

    def reservation_usage_for_user(self, reservation: str, user: str) -> Usage:
        used = self._total.reservation_reports.get(text(reservation, "reservation"), {})
        return _usage(used.get(text(user, "user"), 0))

    def reservation_users(self, reservation: str) -> list[str]:
        return sorted(self._total.reservation_reports.get(text(reservation, "reservation"), {}))

    def get_component(self, component: str) -> DailyProjectUsageReport:
        """With the usage of one component in place of all."""
        return DailyProjectUsageReport._of(self._total.get_component(text(component, "component")))

    def add_usage(self, user: str, usage: Usage) -> None:
        self._value = self._total.add_usage(text(user, "user"), instance(usage, Usage, "usage")._value)

    def add_unattributed_usage(self, usage: Usage) -> None:
        """What nobody is known for."""
        self.add_usage(grammar.UNKNOWN_USER, usage)

    def add_component_usage(self, component: str, user: str, usage: Usage) -> None:
        self._value = self._total.add_component_usage(
            text(component, "component"), text(user, "user"), instance(usage, Usage, "usage")._value
        )

    def add_unattributed_component_usage(self, component: str, usage: Usage) -> None:
        self.add_component_usage(component, grammar.UNKNOWN_USER, usage)

    def set_usage(self, user: str, usage: Usage) -> None:
        used = {text(user, "user"): instance(usage, Usage, "usage").seconds}
        self._value = changed(self._total, reports={**self._total.reports, **used})

    def set_unattributed_usage(self, usage: Usage) -> None:
        self.set_usage(grammar.UNKNOWN_USER, usage)

    def set_component_usage(self, component: str, user: str, usage: Usage) -> None:
        name = text(component, "component")
        used = {text(user, "user"): instance(usage, Usage, "usage").seconds}
        of_component = {name: {**self._total.components.get(name, {}), **used}}
        self._value = changed(self._total, components={**self._total.components, **of_component})

    def set_unattributed_component_usage(self, component: str, usage: Usage) -> None:
        self.set_component_usage(component, grammar.UNKNOWN_USER, usage)

    def set_complete(self) -> None:
        self._value = self._total.set_complete()

    def in_hours(self) -> str:
        """The text of this day with every time in hours."""
        return self._total.in_hours()


@final
class ProjectUsageReport(_Totals, _Arithmetic):
    """A project, by day, and the local names of its users."""

    __slots__ = ()
    _value: grammar.ProjectUsageReport

    def __new__(cls, project: ProjectIdentifier) -> Self:
        return cls._of(grammar.ProjectUsageReport(instance(project, ProjectIdentifier, "project")._value))

    @staticmethod
    def from_json(json: str) -> ProjectUsageReport:
        return ProjectUsageReport._of(told(grammar.ProjectUsageReport.from_json, text(json, "json")))

    def to_json(self) -> str:
        return self._value.to_json()

    @staticmethod
    def combine(reports: Sequence[ProjectUsageReport]) -> ProjectUsageReport:
        """The sum of one or more reports of one project."""
        values = [report._value for report in joined(instances(reports, ProjectUsageReport))]
        return ProjectUsageReport._of(told(grammar.ProjectUsageReport.combine, values))

    def _of_user(self, user: str) -> grammar.DailyProjectUsageReport:
        name = text(user, "user")
        days = {when: report.of_user(name) for when, report in self._value.reports.items()}
        return replace(self._value, reports=days).total

    project: Read[ProjectIdentifier] = Read(ProjectIdentifier._of)
    portal: Read[PortalIdentifier] = Read(PortalIdentifier._of)
    dates: Read[list[date]] = Read(list)
    components: Read[list[str]] = Read(list)
    is_complete: Read[bool] = Read()
    has_requeues: Read[bool] = Read(doc="Whether jobs had to run again, at whosever expense.")
    unmapped_users: Read[list[str]] = Read(list, doc="The local users whom nobody is known for.")
    unmapped_usage: Read[Usage] = Read(Usage._of)
    users: Read[list[UserIdentifier]] = Read(in_order(UserIdentifier))

    @property
    def user_mapping(self) -> dict[UserIdentifier, str]:
        """The local names of the users."""
        return {UserIdentifier._of(user): name for user, name in self._value.users.items()}

    def usage(self, user: UserIdentifier) -> Usage:
        return Usage._of(self._value.usage(instance(user, UserIdentifier, "user")._value))

    def daily_reports(self, with_usage_only: bool = True) -> list[DailyProjectUsageReport]:
        return each(DailyProjectUsageReport)(self._value.daily_reports(with_usage_only))

    def get_report(self, date: date) -> ProjectUsageReport:
        """The report of one day only."""
        return ProjectUsageReport._of(self._value.get_report(day(date, "date")))

    def get_component(self, component: str) -> ProjectUsageReport:
        return ProjectUsageReport._of(self._value.get_component(text(component, "component")))

    def filter(self, range: DateRange) -> ProjectUsageReport:
        """The days of a range only."""
        return ProjectUsageReport._of(self._value.filter(instance(range, DateRange, "range")._value))

    def set_report(self, date: date, report: DailyProjectUsageReport) -> None:
        given = instance(report, DailyProjectUsageReport, "report")._total
        self._value = self._value.set_report(day(date, "date"), given)

    def add_report(self, date: date, report: DailyProjectUsageReport) -> None:
        """Add to what there is of that day."""
        given = instance(report, DailyProjectUsageReport, "report")._total
        added = replace(self._value, reports={day(date, "date"): given}, users={})
        self._value = self._value + added

    def set_complete(self) -> None:
        self._value = self._value.set_complete()

    def set_day_complete(self, date: date) -> None:
        which = day(date, "date")
        if which in self._value.reports:
            self._value = self._value.set_report(which, self._value.reports[which].set_complete())

    def set_project(self, project: ProjectIdentifier) -> None:
        """Call it a report of another project, and keep its users as they are."""
        self._value = replace(self._value, project=instance(project, ProjectIdentifier, "project")._value)

    def scale_total(self, factor: float) -> None:
        """Scale what users used, and what of it was discarded or reserved; components and charges stay."""
        number = real(factor, "factor")
        days = {when: _with_scaled_totals(report, number) for when, report in self._value.reports.items()}
        self._value = replace(self._value, reports=days)

    def add_mapping(self, user: UserMapping) -> None:
        self._value = told(self._value.add_mapping, instance(user, UserMapping, "user")._value)

    def add_mappings(self, users: Sequence[UserMapping]) -> None:
        for user in instances(users, UserMapping):
            self.add_mapping(user)

    def remap_project(self, new_project: ProjectIdentifier) -> None:
        """As the report of another project, whose users have the same names."""
        self._value = self._value.remap_project(instance(new_project, ProjectIdentifier, "new_project")._value)

    def remap_portal(self, new_portal: PortalIdentifier) -> None:
        self._value = self._value.remap_portal(instance(new_portal, PortalIdentifier, "new_portal")._value)

    def remap_users(self, new_usermapping: Names) -> None:
        """With other local names of users who have one."""
        self._value = told(self._value.remap_users, names_of(new_usermapping))

    def to_usage_report(self) -> UsageReport:
        return UsageReport._of(self._value.to_usage_report())

    def in_hours(self) -> str:
        """The text of this report with every time in hours."""
        return self._value.in_hours()

    def requeue_report(self) -> str:
        """A page for people: what jobs that had to run again cost, and whom."""
        return pages.requeue_report(self._value)

    def expansion_factor_report(self) -> str:
        """A page for people: how long jobs waited for how long they ran, and how big they were."""
        return pages.expansion_factor_report(self._value)

    def reservation_report(self) -> str:
        """A page for people: what ran in reservations."""
        return pages.reservation_report(self._value)


def _with_scaled_totals(report: grammar.DailyProjectUsageReport, factor: float) -> grammar.DailyProjectUsageReport:
    scaled = report * factor
    return changed(
        report,
        reports=scaled.reports,
        requeue_reports=scaled.requeue_reports,
        requeue_state_usage=scaled.requeue_state_usage,
        reservation_reports=scaled.reservation_reports,
        reservation_requeue_usage=scaled.reservation_requeue_usage,
    )


@final
class UsageReport(_Arithmetic):
    """The projects of a portal."""

    __slots__ = ()
    _value: grammar.UsageReport

    def __new__(cls, portal: PortalIdentifier) -> Self:
        return cls._of(grammar.UsageReport(instance(portal, PortalIdentifier, "portal")._value))

    @staticmethod
    def from_json(json: str) -> UsageReport:
        return UsageReport._of(told(grammar.UsageReport.from_json, text(json, "json")))

    def to_json(self) -> str:
        return self._value.to_json()

    @staticmethod
    def combine(reports: Sequence[UsageReport]) -> UsageReport:
        """The sum of one or more reports of one portal."""
        values = [report._value for report in joined(instances(reports, UsageReport))]
        return UsageReport._of(told(grammar.UsageReport.combine, values))

    portal: Read[PortalIdentifier] = Read(PortalIdentifier._of)
    projects: Read[list[ProjectIdentifier]] = Read(each(ProjectIdentifier))
    components: Read[list[str]] = Read(list)
    has_requeues: Read[bool] = Read()
    total_usage: Read[Usage] = Read(Usage._of)

    @property
    def num_requeue_events(self) -> int:
        return self._value.total.num_requeue_events

    @property
    def has_reservations(self) -> bool:
        return self._value.total.has_reservations

    @property
    def total_requeue_usage(self) -> Usage:
        return Usage._of(self._value.total.total_requeue_usage)

    @property
    def total_usage_including_requeues(self) -> Usage:
        return Usage._of(self._value.total.total_usage_including_requeues)

    @property
    def total_reservation_usage(self) -> Usage:
        return Usage._of(self._value.total.total_reservation_usage)

    @property
    def user_mapping(self) -> dict[UserIdentifier, str]:
        return {UserIdentifier._of(user): name for user, name in self._value.users.items()}

    def get_report(self, project: ProjectIdentifier) -> ProjectUsageReport:
        """The report of a project; an empty one if there is none."""
        return ProjectUsageReport._of(self._value.get_report(instance(project, ProjectIdentifier, "project")._value))

    def get_component(self, component: str) -> UsageReport:
        return UsageReport._of(self._value.get_component(text(component, "component")))

    def filter(self, range: DateRange) -> UsageReport:
        return UsageReport._of(self._value.filter(instance(range, DateRange, "range")._value))

    def remap_project(self, old_project: ProjectIdentifier, new_project: ProjectIdentifier) -> None:
        """With the report of one project as that of another, which must have none."""
        old = instance(old_project, ProjectIdentifier, "old_project")._value
        self._value = told(
            self._value.remap_project, old, instance(new_project, ProjectIdentifier, "new_project")._value
        )

    def remap_portal(self, new_portal: PortalIdentifier) -> None:
        self._value = self._value.remap_portal(instance(new_portal, PortalIdentifier, "new_portal")._value)

    def remap_users(self, new_usermapping: Names) -> None:
        self._value = told(self._value.remap_users, names_of(new_usermapping))

    def requeue_report(self) -> str:
        return pages.requeue_report(self._value)

    def expansion_factor_report(self) -> str:
        return pages.expansion_factor_report(self._value)

    def reservation_report(self) -> str:
        return pages.reservation_report(self._value)
