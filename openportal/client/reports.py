"""What the reports of usage and of storage share: text, sums, a choice of days, and other names for the same people.

    ProjectUsageReport.from_json(text)      ProjectUsageReport.combine(reports)
    report.filter(DateRange("this_month"))  report.remap_users({UserIdentifier("alice.demo.brics"): "al"})

A report is of a project or of a portal; `Summed` alone is what a single day has of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from openportal.client.arguments import instance, instances, joined, text, told
from openportal.client.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier
from openportal.client.quantities import DateRange
from openportal.client.wrapper import Wrapper

Names = Mapping[UserIdentifier, str]


def names_of(new_usermapping: object) -> dict[Any, str]:
    """The local names of users, as the grammar takes them."""
    if not isinstance(new_usermapping, dict):
        raise OSError(f"expected a dict of users and their local names, not {type(new_usermapping).__name__}")
    return {instance(user, UserIdentifier)._value: text(name) for user, name in new_usermapping.items()}


class Summed(Wrapper[Any]):
    """Sums of two of a kind."""

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


class Report(Summed):
    """A report that travels as JSON; `_document` is the grammar's class of it."""

    __slots__ = ()
    _document: ClassVar[Any]

    @classmethod
    def from_json(cls, json: str) -> Self:
        return cls._of(told(cls._document.from_json, text(json, "json")))

    def to_json(self) -> str:
        return self._value.to_json()  # type: ignore[no-any-return]

    @classmethod
    def combine(cls, reports: Sequence[Self]) -> Self:
        """The sum of one or more reports of one project or portal."""
        values = [report._value for report in joined(instances(reports, cls, "reports"))]
        return cls._of(told(cls._document.combine, values))

    @property
    def user_mapping(self) -> dict[UserIdentifier, str]:
        """The local names of the users."""
        return {UserIdentifier._of(user): name for user, name in self._value.users.items()}

    def filter(self, range: DateRange) -> Self:
        """The days of a range; of storage, the latest snapshot in any case."""
        return self._of(self._value.filter(instance(range, DateRange, "range")._value))

    def remap_portal(self, new_portal: PortalIdentifier) -> None:
        self._value = self._value.remap_portal(instance(new_portal, PortalIdentifier, "new_portal")._value)

    def remap_users(self, new_usermapping: Names) -> None:
        self._value = told(self._value.remap_users, names_of(new_usermapping))


class PortalReport(Report):
    """The projects of a portal."""

    __slots__ = ()

    def remap_project(self, old_project: ProjectIdentifier, new_project: ProjectIdentifier) -> None:
        """With the report of one project as that of another, which must have none."""
        old = instance(old_project, ProjectIdentifier, "old_project")._value
        new = instance(new_project, ProjectIdentifier, "new_project")._value
        self._value = told(self._value.remap_project, old, new)
