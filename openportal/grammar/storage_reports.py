"""What projects store, and how much they may.

    StorageReport           of a portal     {"portal": "brics", "reports": {"demo.brics": ProjectStorageReport, …}}
    ProjectStorageReport    of a project    {"project": "demo.brics", "generated_at": "2024-03-10T14:23:00Z",
                                             "project_quotas": {"home": Quota, …},
                                             "user_quotas": {"alice.demo.brics": {"home": Quota, …}, …},
                                             "users": {"alice.demo.brics": "alice"}, "daily_reports": {…}}

A report is what was found at one moment, its snapshot, with snapshots of earlier days. Reports of one project add up to
the later snapshot over all the earlier days; of two snapshots of one day the later one stays.

Values are frozen: what would change a report returns another. Everything raises GrammarError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, Self

from openportal.errors import GrammarError
from openportal.grammar.dates import DateRange, Timestamp, parse_date
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, Volume
from openportal.grammar.reports import PortalReport, Report, Users, read_users, remapped, renamed_users
from openportal.grammar.storage import Quota
from openportal.grammar.text import quote

Quotas = Mapping[Volume, Quota]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was found at one moment: the quotas of the project, and those of its users."""

    project: ProjectIdentifier
    generated_at: Timestamp
    project_quotas: Quotas = field(default_factory=dict)
    user_quotas: Mapping[UserIdentifier, Quotas] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """From the JSON object; further keys are dropped. Raises GrammarError, which names the field."""
        found = _object(wire, "a snapshot of storage")
        for name in ("project", "generated_at"):
            if not isinstance(found.get(name), str):
                raise GrammarError(f"{name} must be a text, not {quote(str(found.get(name)))}")
        users = _object(found.get("user_quotas"), "user_quotas")
        return cls(
            ProjectIdentifier.parse(found["project"]),
            Timestamp.parse(found["generated_at"]),
            _read_quotas(found.get("project_quotas"), "project_quotas"),
            {UserIdentifier.parse(user): _read_quotas(quotas, user) for user, quotas in users.items()},
        )

    def to_wire(self) -> dict[str, Any]:
        return {
            "project": str(self.project),
            "generated_at": str(self.generated_at),
            "project_quotas": _write_quotas(self.project_quotas),
            "user_quotas": {str(user): _write_quotas(quotas) for user, quotas in self.user_quotas.items()},
        }

    @property
    def day(self) -> date:
        """In UTC."""
        return self.generated_at.second.date()

    @property
    def is_empty(self) -> bool:
        return not self.project_quotas and not self.user_quotas

    def of_project(self, project: ProjectIdentifier) -> Snapshot:
        """As that of another project, whose users have the same names."""
        users = {
            UserIdentifier(user.username, project.project, project.portal): quotas
            for user, quotas in self.user_quotas.items()
        }
        return replace(self, project=project, user_quotas=users)


@dataclass(frozen=True, slots=True)
class ProjectStorageReport(Report):
    """A project: the latest snapshot, those of earlier days, and the local names of its users."""

    snapshot: Snapshot
    users: Users = field(default_factory=dict)
    days: Mapping[date, Snapshot] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        found = _object(wire, "a storage report")
        days = {}
        for day, snapshot in _object(found.get("daily_reports", {}), "daily_reports").items():
            try:
                days[parse_date(day)] = Snapshot.from_wire(snapshot)
            except GrammarError as error:
                raise GrammarError(f"the report of {quote(day)}: {error}") from error
        return cls(Snapshot.from_wire(found), read_users(found.get("users")), days)

    def to_wire(self) -> dict[str, Any]:
        users = {str(user): name for user, name in self.users.items()}
        days = {str(day): snapshot.to_wire() for day, snapshot in sorted(self.days.items())}
        return {**self.snapshot.to_wire(), "users": users, **({"daily_reports": days} if days else {})}

    def __add__(self, other: ProjectStorageReport) -> ProjectStorageReport:
        """The later report over the days of both: what both know is as the later one has it.

        Of two snapshots of one day the later one stays.
        """
        if other.project != self.project:
            raise GrammarError(f"a report of {other.project} cannot be added to one of {self.project}")
        older, newer = (self, other) if other.generated_at > self.generated_at else (other, self)
        days = dict(newer.days)
        for day, snapshot in (*older.days.items(), (older.snapshot.day, older.snapshot)):
            if day not in days or snapshot.generated_at > days[day].generated_at:
                days[day] = snapshot
        days = {day: snapshot for day, snapshot in days.items() if day != newer.snapshot.day or day in newer.days}
        return ProjectStorageReport(newer.snapshot, {**older.users, **newer.users}, days)

    def filter(self, days: DateRange) -> ProjectStorageReport:
        """The snapshots of a range of days, and the latest one in any case."""
        return replace(self, days={day: snapshot for day, snapshot in self.days.items() if day in days})

    def get_report(self, day: date) -> ProjectStorageReport | None:
        """The snapshot of one day, as a report; None if there is none."""
        snapshot = self.snapshot if day == self.snapshot.day else self.days.get(day)
        return None if snapshot is None else ProjectStorageReport(snapshot, self.users)

    def daily_reports(self, with_usage_only: bool = True) -> tuple[ProjectStorageReport, ...]:
        """Every snapshot that holds something, as a report, by day; or every day from first to last."""
        found = {**self.days, self.snapshot.day: self.snapshot}
        if with_usage_only:
            return tuple(
                ProjectStorageReport(found[day], self.users) for day in sorted(found) if not found[day].is_empty
            )
        return tuple(
            ProjectStorageReport(found[day], self.users) if day in found else self._without_snapshot(day)
            for day in DateRange(min(found), max(found)).days
        )

    def _without_snapshot(self, day: date) -> ProjectStorageReport:
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return ProjectStorageReport(Snapshot(self.project, Timestamp.of(midnight)))

    def remap_project(self, project: ProjectIdentifier) -> ProjectStorageReport:
        """As the report of another project, whose users have the same names."""
        days = {day: snapshot.of_project(project) for day, snapshot in self.days.items()}
        return ProjectStorageReport(self.snapshot.of_project(project), remapped(self.users, project), days)

    def remap_portal(self, portal: PortalIdentifier) -> ProjectStorageReport:
        return self.remap_project(ProjectIdentifier(self.project.project, portal.portal))

    def remap_users(self, users: Users) -> ProjectStorageReport:
        """With other local names of users who have one. Raises GrammarError if two come to have the same."""
        return replace(self, users=renamed_users(self.users, users))

    def to_storage_report(self) -> StorageReport:
        return StorageReport(self.project.portal_identifier, {self.project: self})

    @property
    def project(self) -> ProjectIdentifier:
        return self.snapshot.project

    @property
    def generated_at(self) -> Timestamp:
        return self.snapshot.generated_at

    @property
    def project_quotas(self) -> Quotas:
        return self.snapshot.project_quotas

    @property
    def user_quotas(self) -> Mapping[UserIdentifier, Quotas]:
        return self.snapshot.user_quotas

    @property
    def is_empty(self) -> bool:
        """Whether the latest snapshot holds nothing."""
        return self.snapshot.is_empty

    def __str__(self) -> str:
        at = f"{self.generated_at.date} {self.generated_at.time} UTC"
        lines = [f"Storage report for {self.project} (generated {at})"]
        if self.project_quotas:
            lines += ["  Project quotas:", *_quota_lines(self.project_quotas, "    ")]
        if self.user_quotas:
            lines.append("  User quotas:")
        for user, quotas in sorted(self.user_quotas.items(), key=lambda item: str(item[0])):
            lines += [f"    {user} ({self.users.get(user, 'unknown')}):", *_quota_lines(quotas, "      ")]
        if self.days:
            lines.append(f"  Historical snapshots ({len(self.days)} day(s)):")
        lines += [f"    {day} ({snap.generated_at.time} UTC)" for day, snap in sorted(self.days.items())]
        return "\n".join([*lines, *(["  (no quota data)"] if self.is_empty else []), ""])


@dataclass(frozen=True, slots=True)
class StorageReport(PortalReport[ProjectStorageReport]):
    """The projects of a portal."""

    of_project = ProjectStorageReport

    def get_report(self, project: ProjectIdentifier) -> ProjectStorageReport | None:
        return self.reports.get(project)

    @property
    def is_empty(self) -> bool:
        return not self.reports

    def __str__(self) -> str:
        parts = [f"{self.reports[project]}\n{'-' * 40}" for project in self.projects]
        return "\n".join([f"Storage report for portal {self.portal}", *(parts or ["  (no project reports)"]), ""])


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise GrammarError(f"{what} must be a JSON object, not {quote(str(value))}")
    return value


def _read_quotas(value: object, what: str) -> Quotas:
    try:
        return {Volume.parse(volume): Quota.from_wire(quota) for volume, quota in _object(value, what).items()}
    except GrammarError as error:
        raise GrammarError(f"{what}: {error}") from error


def _write_quotas(quotas: Quotas) -> dict[str, dict[str, str]]:
    return {str(volume): quota.to_wire() for volume, quota in quotas.items()}


def _quota_lines(quotas: Quotas, indent: str) -> list[str]:
    return sorted(f"{indent}{volume}: {quota}" for volume, quota in quotas.items())
