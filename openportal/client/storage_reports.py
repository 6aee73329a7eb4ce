"""What projects store, and how much they may.

    report = job.result                                        a ProjectStorageReport
    report.project_quotas[Volume("home")].percentage_used()
    for day in report.daily_reports(): …

A report is what was found at one moment, with what was found on earlier days.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Self, final

from openportal.client.arguments import day, instance, instances, joined, text, told
from openportal.client.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, Volume
from openportal.client.quantities import DateRange
from openportal.client.storage import Quota
from openportal.client.usage import Names, names_of
from openportal.client.wrapper import Read, Wrapper, each, in_order
from openportal.grammar import identifiers
from openportal.grammar import storage_reports as grammar
from openportal.grammar.dates import Timestamp


def _quotas(quotas: grammar.Quotas) -> dict[Volume, Quota]:
    return {Volume._of(volume): Quota._of(quota) for volume, quota in quotas.items()}


def _empty(project: identifiers.ProjectIdentifier) -> grammar.ProjectStorageReport:
    return grammar.ProjectStorageReport(grammar.Snapshot(project, Timestamp.of(datetime.now(UTC))))


class _Sum(Wrapper[Any]):
    """Sums of reports: the later snapshot over all the earlier days."""

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


@final
class ProjectStorageReport(_Sum):
    """A project: the latest snapshot, those of earlier days, and the local names of its users."""

    __slots__ = ()
    _value: grammar.ProjectStorageReport

    def __new__(cls, project: ProjectIdentifier) -> Self:
        return cls._of(_empty(instance(project, ProjectIdentifier, "project")._value))

    @staticmethod
    def from_json(json: str) -> ProjectStorageReport:
        return ProjectStorageReport._of(told(grammar.ProjectStorageReport.from_json, text(json, "json")))

    def to_json(self) -> str:
        return self._value.to_json()

    @staticmethod
    def combine(reports: Sequence[ProjectStorageReport]) -> ProjectStorageReport:
        """The sum of one or more reports of one project."""
        values = [report._value for report in joined(instances(reports, ProjectStorageReport, "reports"))]
        return ProjectStorageReport._of(told(grammar.ProjectStorageReport.combine, values))

    project: Read[ProjectIdentifier] = Read(ProjectIdentifier._of)
    generated_at: Read[datetime] = Read(lambda moment: moment.second, doc="To the second, in UTC.")
    project_quotas: Read[dict[Volume, Quota]] = Read(_quotas)
    users: Read[list[UserIdentifier]] = Read(in_order(UserIdentifier))

    @property
    def user_quotas(self) -> dict[UserIdentifier, dict[Volume, Quota]]:
        return {UserIdentifier._of(user): _quotas(quotas) for user, quotas in self._value.user_quotas.items()}

    @property
    def user_mapping(self) -> dict[UserIdentifier, str]:
        """The local names of the users."""
        return {UserIdentifier._of(user): name for user, name in self._value.users.items()}

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

    def filter(self, range: DateRange) -> ProjectStorageReport:
        """The snapshots of a range of days, and the latest one in any case."""
        return ProjectStorageReport._of(self._value.filter(instance(range, DateRange, "range")._value))

    def remap_project(self, new_project: ProjectIdentifier) -> None:
        """As the report of another project, whose users have the same names."""
        self._value = self._value.remap_project(instance(new_project, ProjectIdentifier, "new_project")._value)

    def remap_portal(self, new_portal: PortalIdentifier) -> None:
        self._value = self._value.remap_portal(instance(new_portal, PortalIdentifier, "new_portal")._value)

    def remap_users(self, new_usermapping: Names) -> None:
        self._value = told(self._value.remap_users, names_of(new_usermapping))

    def to_storage_report(self) -> StorageReport:
        return StorageReport._of(self._value.to_storage_report())


@final
class StorageReport(_Sum):
    """The projects of a portal."""

    __slots__ = ()
    _value: grammar.StorageReport

    def __new__(cls, portal: PortalIdentifier) -> Self:
        return cls._of(grammar.StorageReport(instance(portal, PortalIdentifier, "portal")._value))

    @staticmethod
    def from_json(json: str) -> StorageReport:
        return StorageReport._of(told(grammar.StorageReport.from_json, text(json, "json")))

    def to_json(self) -> str:
        return self._value.to_json()

    @staticmethod
    def combine(reports: Sequence[StorageReport]) -> StorageReport:
        """The sum of one or more reports of one portal."""
        values = [report._value for report in joined(instances(reports, StorageReport, "reports"))]
        return StorageReport._of(told(grammar.StorageReport.combine, values))

    portal: Read[PortalIdentifier] = Read(PortalIdentifier._of)
    projects: Read[list[ProjectIdentifier]] = Read(each(ProjectIdentifier))

    @property
    def user_mapping(self) -> dict[UserIdentifier, str]:
        return {UserIdentifier._of(user): name for user, name in self._value.users.items()}

    def is_empty(self) -> bool:
        return self._value.is_empty

    def get_report(self, project: ProjectIdentifier) -> ProjectStorageReport:
        """The report of a project; an empty one if there is none."""
        wanted = instance(project, ProjectIdentifier, "project")._value
        return ProjectStorageReport._of(self._value.get_report(wanted) or _empty(wanted))

    def filter(self, range: DateRange) -> StorageReport:
        return StorageReport._of(self._value.filter(instance(range, DateRange, "range")._value))

    def remap_project(self, old_project: ProjectIdentifier, new_project: ProjectIdentifier) -> None:
        """With the report of one project as that of another, which must have none."""
        old = instance(old_project, ProjectIdentifier, "old_project")._value
        new = instance(new_project, ProjectIdentifier, "new_project")._value
        self._value = told(self._value.remap_project, old, new)

    def remap_portal(self, new_portal: PortalIdentifier) -> None:
        self._value = self._value.remap_portal(instance(new_portal, PortalIdentifier, "new_portal")._value)

    def remap_users(self, new_usermapping: Names) -> None:
        self._value = told(self._value.remap_users, names_of(new_usermapping))
