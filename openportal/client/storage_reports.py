"""What projects store, and how much they may.

    report = job.result                                        a ProjectStorageReport
    report.project_quotas[Volume("home")].percentage_used()
    for day in report.daily_reports(): …

A report is what was found at one moment, with what was found on earlier days.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Self, final

from openportal.client.arguments import day, instance
from openportal.client.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, Volume
from openportal.client.reports import PortalReport, Report
from openportal.client.storage import Quota
from openportal.client.wrapper import Read, each, in_order
from openportal.grammar import identifiers
from openportal.grammar import storage_reports as grammar
from openportal.grammar.dates import Timestamp


def _quotas(quotas: grammar.Quotas) -> dict[Volume, Quota]:
    return {Volume._of(volume): Quota._of(quota) for volume, quota in quotas.items()}


def _empty(project: identifiers.ProjectIdentifier) -> grammar.ProjectStorageReport:
    return grammar.ProjectStorageReport(grammar.Snapshot(project, Timestamp.of(datetime.now(UTC))))


@final
class ProjectStorageReport(Report):
    """A project: the latest snapshot, those of earlier days, and the local names of its users."""

    __slots__ = ()
    _value: grammar.ProjectStorageReport
    _document = grammar.ProjectStorageReport

    def __new__(cls, project: ProjectIdentifier) -> Self:
        return cls._of(_empty(instance(project, ProjectIdentifier, "project")._value))

    project: Read[ProjectIdentifier] = Read(ProjectIdentifier._of)
    generated_at: Read[datetime] = Read(lambda moment: moment.second, doc="To the second, in UTC.")
    project_quotas: Read[dict[Volume, Quota]] = Read(_quotas)
    users: Read[list[UserIdentifier]] = Read(in_order(UserIdentifier))

    @property
    def user_quotas(self) -> dict[UserIdentifier, dict[Volume, Quota]]:
        return {UserIdentifier._of(user): _quotas(quotas) for user, quotas in self._value.user_quotas.items()}

    def is_empty(self) -> bool:
        """Whether the latest snapshot holds nothing."""
        return self._value.is_empty

    def daily_reports(self, with_usage_only: bool = True) -> list[ProjectStorageReport]:
        """Every snapshot that holds something, as a report, by day; or every day from the first to the last."""
        return each(ProjectStorageReport)(self._value.daily_reports(with_usage_only))

    def get_report(self, date: date) -> ProjectStorageReport:
        """The snapshot of one day; an empty one if there is none."""
        found = self._value.get_report(day(date, "date"))
        return ProjectStorageReport._of(_empty(self._value.project) if found is None else found)

    def remap_project(self, new_project: ProjectIdentifier) -> None:
        """As the report of another project, whose users have the same names."""
        self._value = self._value.remap_project(instance(new_project, ProjectIdentifier, "new_project")._value)

    def to_storage_report(self) -> StorageReport:
        return StorageReport._of(self._value.to_storage_report())


@final
class StorageReport(PortalReport):
    """The projects of a portal."""

    __slots__ = ()
    _value: grammar.StorageReport
    _document = grammar.StorageReport

    def __new__(cls, portal: PortalIdentifier) -> Self:
        return cls._of(grammar.StorageReport(instance(portal, PortalIdentifier, "portal")._value))

    portal: Read[PortalIdentifier] = Read(PortalIdentifier._of)
    projects: Read[list[ProjectIdentifier]] = Read(each(ProjectIdentifier))

    def is_empty(self) -> bool:
        return self._value.is_empty

    def get_report(self, project: ProjectIdentifier) -> ProjectStorageReport:
        """The report of a project; an empty one if there is none."""
        wanted = instance(project, ProjectIdentifier, "project")._value
        return ProjectStorageReport._of(self._value.get_report(wanted) or _empty(wanted))
