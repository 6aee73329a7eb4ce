"""What projects used, day by day.

    UsageReport             of a portal      {"portal": "brics", "reports": {"demo.brics": ProjectUsageReport, …}}
    ProjectUsageReport      of a project     {"project": "demo.brics", "reports": {"2024-01-15": Daily…, …},
                                              "users": {"alice.demo.brics": "alice"}}
    DailyProjectUsageReport of one day       see `daily_usage`

Values are frozen: what would change a report returns another. Sums stop at the largest number that the network carries.
Reports of different projects or portals are never added. Everything raises GrammarError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import reduce
from typing import Any, Final, Self

import msgspec

from openportal.errors import GrammarError
from openportal.grammar.daily_usage import DAY_DOCUMENT
from openportal.grammar.daily_usage import UNKNOWN_USER as UNKNOWN_USER
from openportal.grammar.daily_usage import DailyProjectUsageReport as DailyProjectUsageReport
from openportal.grammar.dates import DateRange, parse_date
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from openportal.grammar.quantities import Usage
from openportal.grammar.reports import PortalReport, Report, Users, load, read_users, remapped, renamed_users
from openportal.grammar.tallies import Counts as Counts
from openportal.grammar.tallies import total_of
from openportal.grammar.text import quote


class ProjectDocument(msgspec.Struct, frozen=True):
    """The JSON object of a project."""

    project: str
    reports: dict[str, DAY_DOCUMENT]
    users: dict[str, str] = {}


class PortalDocument(msgspec.Struct, frozen=True):
    """The JSON object of a portal."""

    portal: str
    reports: dict[str, ProjectDocument]


_decode: Final = msgspec.json.Decoder(PortalDocument).decode


@dataclass(frozen=True, slots=True)
class ProjectUsageReport(Report):
    """A project, by day, and the local names of its users."""

    project: ProjectIdentifier
    reports: Mapping[date, DailyProjectUsageReport] = field(default_factory=dict)
    users: Users = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        try:
            return cls.of_document(msgspec.convert(wire, ProjectDocument))
        except msgspec.ValidationError as error:
            _check_days(wire)
            raise GrammarError(str(error)) from error

    @classmethod
    def of_document(cls, document: ProjectDocument) -> Self:
        """From the JSON object as it was decoded. Raises GrammarError, which names the day and the field."""
        days = {}
        for day, report in document.reports.items():
            try:
                days[parse_date(day)] = DailyProjectUsageReport.of_document(report)
            except GrammarError as error:
                raise GrammarError(f"the report of {quote(day)}: {error}") from error
        return cls(ProjectIdentifier.parse(document.project), days, read_users(document.users))

    def to_wire(self) -> dict[str, Any]:
        days = {str(day): report.to_wire() for day, report in sorted(self.reports.items())}
        users = {str(user): name for user, name in self.users.items()}
        return {"project": str(self.project), "reports": days, "users": users}

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
        days = (day for _, day in sorted(self.reports.items()))
        return _sum([msgspec.structs.replace(day, num_expansion_jobs=day.expansion_jobs) for day in days])

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
        return total_of({user: total[user] for user in self.unmapped_users})

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


def _check_days(wire: object) -> None:
    """Raise GrammarError, which names the day, for the first one that is wrong."""
    reports = wire.get("reports") if isinstance(wire, dict) else None
    for day, report in reports.items() if isinstance(reports, dict) else ():
        try:
            DailyProjectUsageReport.from_wire(report)
        except GrammarError as error:
            raise GrammarError(f"the report of {quote(str(day))}: {error}") from error


class _Total(DailyProjectUsageReport, frozen=True):
    """Days as one. Each of them has said what its expansion jobs are, so none means none."""

    @property
    def expansion_jobs(self) -> int:
        return self.num_expansion_jobs


def _sum(days: Sequence[DailyProjectUsageReport]) -> DailyProjectUsageReport:
    """The sum; every reservation and every state is in it, also one of which nothing was used."""
    nothing: DailyProjectUsageReport = _Total()
    total = reduce(DailyProjectUsageReport.__add__, days, nothing)
    named: dict[str, Counts] = {name: {} for day in days for name in day.reservation_reports}
    states = {state: 0 for day in days for state in day.requeue_state_usage}
    return msgspec.structs.replace(
        total,
        reservation_reports={**named, **total.reservation_reports},
        requeue_state_usage={**states, **total.requeue_state_usage},
    )


def _reservation_lines(report: DailyProjectUsageReport, show: Callable[[Usage], str]) -> list[str]:
    lines = []
    for reservation in report.reservations:
        used = show(total_of(report.reservation_reports.get(reservation, {})))
        jobs = report.reservation_jobs.get(reservation, 0)
        lines.append(f"Reservation {reservation}: {used} | {jobs} {'job' if jobs == 1 else 'jobs'}")
    return lines


@dataclass(frozen=True, slots=True)
class UsageReport(PortalReport[ProjectUsageReport]):
    """The projects of a portal."""

    of_project = ProjectUsageReport

    @classmethod
    def from_json(cls, text: str) -> Self:
        try:
            found = _decode(text)
        except (ValueError, RecursionError):
            return cls.from_wire(load(text))  # takes longer, and says where it is wrong
        reports = {
            ProjectIdentifier.parse(project): ProjectUsageReport.of_document(report)
            for project, report in found.reports.items()
        }
        return cls(PortalIdentifier.parse(found.portal), reports)

    def __mul__(self, factor: float) -> UsageReport:
        return self.each(lambda report: report * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> UsageReport:
        return self.each(lambda report: report / divisor)

    def get_component(self, component: str) -> UsageReport:
        return self.each(lambda report: report.get_component(component))

    def get_report(self, project: ProjectIdentifier) -> ProjectUsageReport:
        """The report of a project; an empty one if there is none."""
        return self.reports.get(project) or ProjectUsageReport(project)

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(sorted({component for report in self.reports.values() for component in report.components}))

    @property
    def has_requeues(self) -> bool:
        return any(report.has_requeues for report in self.reports.values())

    @property
    def total(self) -> DailyProjectUsageReport:
        """All projects and days as one."""
        return _sum([report.total for report in self.reports.values()])

    @property
    def total_usage(self) -> Usage:
        return sum((report.total_usage for report in self.reports.values()), Usage())

    def __str__(self) -> str:
        parts = (f"{self.reports[project]}\n{'-' * 40}" for project in self.projects)
        return "\n".join([str(self.portal), *parts, f"Total: {self.total_usage}", ""])
