"""What reports of usage and of storage share.

    report of a portal      {"portal": "brics", "reports": {"demo.brics": report of the project, …}}
    report of a project     {"project": "demo.brics", "users": {"alice.demo.brics": "alice"}, …}

The project under which a report stands is its own, and of the portal. `users` are the names that users have on the
machine, no two of them the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

import msgspec

from openportal.errors import GrammarError
from openportal.grammar.dates import DateRange
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier
from openportal.grammar.text import compact, quote

Users = Mapping[UserIdentifier, str]


class Report(ABC):
    """A document that is read and written as JSON, and added to others of the same subject."""

    __slots__ = ()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From a JSON document. Raises GrammarError, which says where in it."""
        return cls.from_wire(load(text))

    @classmethod
    @abstractmethod
    def from_wire(cls, wire: object) -> Self:
        """From the value of a JSON document. Raises GrammarError, which says where in it."""

    @abstractmethod
    def to_wire(self) -> dict[str, Any]:
        """The value of the JSON document."""

    @abstractmethod
    def __add__(self, other: Self) -> Self: ...

    def to_json(self) -> str:
        return compact(self.to_wire())

    @classmethod
    def combine(cls, reports: Iterable[Self]) -> Self:
        """The sum of one or more reports of one subject."""
        first, *others = reports or (None,)
        if first is None:
            raise GrammarError("there are no reports to combine")
        return sum(others, first)


class ProjectReport(Protocol):
    """A report of one project, as that of its portal needs it."""

    @property
    def project(self) -> ProjectIdentifier: ...

    @property
    def users(self) -> Users: ...

    @classmethod
    def from_wire(cls, wire: object) -> Self: ...

    def to_wire(self) -> dict[str, Any]: ...

    def __add__(self, other: Self) -> Self: ...

    def filter(self, days: DateRange) -> Self: ...

    def remap_project(self, project: ProjectIdentifier) -> Self: ...

    def remap_portal(self, portal: PortalIdentifier) -> Self: ...

    def remap_users(self, users: Users) -> Self: ...


R = TypeVar("R", bound=ProjectReport)


@dataclass(frozen=True, slots=True)
class PortalReport(Report, Generic[R]):
    """The reports of a portal's projects; `of_project` is the class of each."""

    of_project: ClassVar[type[ProjectReport]]

    portal: PortalIdentifier
    reports: Mapping[ProjectIdentifier, R] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, report in self.reports.items():
            if key != report.project:
                raise GrammarError(f"the report under {key} is one of {report.project}")
            if key.portal != self.portal.portal:
                raise GrammarError(f"the report of {key} is not one of {self.portal}")

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        found = read_object(wire)
        portal = PortalIdentifier.parse(read_text(found.get("portal")))
        reports = {}
        for project, report in read_object(found.get("reports")).items():
            reports[ProjectIdentifier.parse(project)] = cast(R, cls.of_project.from_wire(report))
        return cls(portal, reports)

    def to_wire(self) -> dict[str, Any]:
        reports = {str(project): report.to_wire() for project, report in self.reports.items()}
        return {"portal": str(self.portal), "reports": reports}

    def __add__(self, other: Self) -> Self:
        if other.portal != self.portal:
            raise GrammarError(f"a report of {other.portal} cannot be added to one of {self.portal}")
        reports = dict(self.reports)
        for project, report in other.reports.items():
            reports[project] = reports[project] + report if project in reports else report
        return replace(self, reports=reports)

    def filter(self, days: DateRange) -> Self:
        return self.each(lambda report: report.filter(days))

    def remap_project(self, old: ProjectIdentifier, new: ProjectIdentifier) -> Self:
        """With the report of one project as that of another, which must have none."""
        if old not in self.reports:
            return self
        if new in self.reports and new != old:
            raise GrammarError(f"there is a report of {new} already, so {old} cannot become it")
        others = {project: report for project, report in self.reports.items() if project != old}
        return replace(self, reports={**others, new: self.reports[old].remap_project(new)})

    def remap_portal(self, portal: PortalIdentifier) -> Self:
        reports = (report.remap_portal(portal) for report in self.reports.values())
        return replace(self, portal=portal, reports={report.project: report for report in reports})

    def remap_users(self, users: Users) -> Self:
        return self.each(lambda report: report.remap_users(users))

    @property
    def projects(self) -> tuple[ProjectIdentifier, ...]:
        return tuple(sorted(self.reports, key=str))

    @property
    def users(self) -> Users:
        return {user: name for report in self.reports.values() for user, name in report.users.items()}

    def each(self, change: Callable[[R], R]) -> Self:
        """With every report changed."""
        return replace(self, reports={project: change(report) for project, report in self.reports.items()})


def load(text: str) -> object:
    """The value of a JSON document. Raises GrammarError."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise GrammarError(f"not a JSON document: {error}") from error


def read_object(value: object) -> dict[str, object]:
    if type(value) is not dict:
        raise GrammarError(f"must be a JSON object, not {quote(str(value))}")
    return value


def read_text(value: object) -> str:
    if not isinstance(value, str):
        raise GrammarError(f"must be a text, not {quote(str(value))}")
    return value


def read_users(value: object) -> Users:
    """From `{"alice.demo.brics": "alice"}`."""
    return {UserIdentifier.parse(user): read_text(name) for user, name in read_object(value).items()}


def renamed_users(users: Users, others: Users) -> Users:
    """The same users with other local names. Raises GrammarError if two have the same."""
    changed = {user: others.get(user, name) for user, name in users.items()}
    if len(set(changed.values())) < len(changed):
        raise GrammarError("two users cannot have the same local name")
    return changed


def remapped(users: Users, project: ProjectIdentifier) -> Users:
    """The same users as those of another project."""
    return {UserIdentifier(user.username, project.project, project.portal): name for user, name in users.items()}
