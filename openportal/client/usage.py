"""What projects used: a day, a project by day, and a portal by project.

    report = job.result                           a ProjectUsageReport
    report.total_usage.hours                      report.usage(UserIdentifier("alice.demo.brics")).hours
    for day in report.daily_reports(): …          report.requeue_report()

Users of a day are the local names that they have on the machine. `requeue` is what the site bears because jobs had to
run again; what the project bears of that is part of its usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Self, final

from msgspec.structs import replace as changed

from openportal.client.arguments import day, instance, instances, real, text, told
from openportal.client.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from openportal.client.quantities import Usage
from openportal.client.reports import PortalReport, Report, Summed
from openportal.client.usage_totals import Totals, seconds_used
from openportal.client.wrapper import Read, each, in_order
from openportal.grammar import usage as grammar
from openportal.grammar import usage_summaries as pages


class _Multiplied(Summed):
    """Multiples, and sums, of reports."""

    __slots__ = ()

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
class DailyProjectUsageReport(Totals, _Multiplied):
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
        return seconds_used(self._total.reports.get(text(user, "user"), 0))

    def num_jobs_for_user(self, user: str) -> int:
        return self._of_user(user).num_jobs

    def wait_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).total_wait_seconds

    def average_wait_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).average_wait_seconds

    def runtime_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).total_runtime_seconds

    def requeue_usage(self, user: str) -> Usage:
        return seconds_used(self._total.requeue_reports.get(text(user, "user"), 0))

    def requeue_events_for_user(self, user: str) -> int:
        return self._of_user(user).num_requeue_events

    def requeue_wait_seconds_for_user(self, user: str) -> int:
        return self._of_user(user).requeue_wait_seconds

    def requeue_events_in_state(self, state: str) -> int:
        return self._total.requeue_states.get(text(state, "state"), 0)

    def total_requeue_component_usage(self, component: str) -> Usage:
        return seconds_used(sum(self._total.requeue_components.get(text(component, "component"), {}).values()))

    def reservation_usage_for_user(self, reservation: str, user: str) -> Usage:
        used = self._total.reservation_reports.get(text(reservation, "reservation"), {})
        return seconds_used(used.get(text(user, "user"), 0))

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
class ProjectUsageReport(Totals, _Multiplied, Report):
    """A project, by day, and the local names of its users."""

    __slots__ = ()
    _value: grammar.ProjectUsageReport
    _document = grammar.ProjectUsageReport

    def __new__(cls, project: ProjectIdentifier) -> Self:
        return cls._of(grammar.ProjectUsageReport(instance(project, ProjectIdentifier, "project")._value))

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

    def usage(self, user: UserIdentifier) -> Usage:
        return Usage._of(self._value.usage(instance(user, UserIdentifier, "user")._value))

    def daily_reports(self, with_usage_only: bool = True) -> list[DailyProjectUsageReport]:
        return each(DailyProjectUsageReport)(self._value.daily_reports(with_usage_only))

    def get_report(self, date: date) -> ProjectUsageReport:
        """The report of one day only."""
        return ProjectUsageReport._of(self._value.get_report(day(date, "date")))

    def get_component(self, component: str) -> ProjectUsageReport:
        return ProjectUsageReport._of(self._value.get_component(text(component, "component")))

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
class UsageReport(_Multiplied, PortalReport):
    """The projects of a portal."""

    __slots__ = ()
    _value: grammar.UsageReport
    _document = grammar.UsageReport

    def __new__(cls, portal: PortalIdentifier) -> Self:
        return cls._of(grammar.UsageReport(instance(portal, PortalIdentifier, "portal")._value))

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

    def get_report(self, project: ProjectIdentifier) -> ProjectUsageReport:
        """The report of a project; an empty one if there is none."""
        return ProjectUsageReport._of(self._value.get_report(instance(project, ProjectIdentifier, "project")._value))

    def get_component(self, component: str) -> UsageReport:
        return UsageReport._of(self._value.get_component(text(component, "component")))

    def requeue_report(self) -> str:
        return pages.requeue_report(self._value)

    def expansion_factor_report(self) -> str:
        return pages.expansion_factor_report(self._value)

    def reservation_report(self) -> str:
        return pages.reservation_report(self._value)
