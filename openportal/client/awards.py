"""Awards: what a portal grants to a project, and who may be a member of it.

    award = AwardDetails()
    award.name = "My project"
    award.add_member("jo@example.com", "pi")
    award.to_json()

Texts are trimmed, and one that is empty is none. What an award gives out (links, members, notes) is a copy: to change
the award, put it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Self, final

from openportal.client import arguments
from openportal.client.arguments import day, instance, moment, text, texts, told
from openportal.client.quantities import Allocation
from openportal.client.wrapper import Named, Read, Same, each, maybe
from openportal.grammar import awards
from openportal.grammar.dates import Timestamp
from openportal.grammar.text import trim


@final
class ProjectTemplate(Named[awards.ProjectTemplate]):
    """What kind of project it is, such as `cpu-cluster`."""

    __slots__ = ()

    def __new__(cls, class_: str = "", **named: str) -> Self:
        name = named.pop("class", class_)  # the published client's name for it, which is a word of Python
        if named:
            raise TypeError(f"ProjectTemplate.__new__() got an unexpected keyword argument '{next(iter(named))}'")
        return cls._of(told(awards.ProjectTemplate.parse, text(name, "class")))


@final
class DomainPattern(Named[awards.DomainPattern]):
    """Who may be a member: `example.com` itself, `*.example.com` all that is below it, or one e-mail address."""

    __slots__ = ()

    def __new__(cls, pattern: str) -> Self:
        return cls._of(told(awards.DomainPattern, text(pattern, "pattern")))

    pattern: Read[str] = Read()

    def matches(self, domain: str) -> bool:
        """Whether a domain is meant; never if the pattern is an e-mail address."""
        return self._value.matches(text(domain, "domain"))


@final
class MembershipControl(Enum):
    """What the portal's users may change about the members of a project."""

    Open = 0
    MembersOnly = 1
    RolesOnly = 2
    Locked = 3

    @staticmethod
    def from_string(s: str) -> MembershipControl:
        return MembershipControl[told(awards.MembershipControl.parse, text(s, "s")).name]

    def can_change_membership(self) -> bool:
        return awards.MembershipControl[self.name].can_change_membership

    def can_change_roles(self) -> bool:
        return awards.MembershipControl[self.name].can_change_roles

    def __eq__(self, other: object) -> bool:
        return str(self) == other if isinstance(other, str) else self is other

    def __hash__(self) -> int:
        return hash(str(self))

    def __int__(self) -> int:
        return self.value

    def __str__(self) -> str:
        return awards.MembershipControl[self.name].value

    def __repr__(self) -> str:
        return f"MembershipControl.{self.name}"


@final
class Link(Same[awards.Link]):
    """A reference to something elsewhere: an id, a URL, or both. The URL can be http or https only."""

    __slots__ = ()

    def __new__(cls) -> Self:
        return cls._of(awards.Link())

    @property
    def id(self) -> str | None:
        return self._value.id

    @id.setter
    def id(self, value: str) -> None:
        self._value = self._value.with_id(trim(text(value, "id")))

    @property
    def url(self) -> str | None:
        return self._value.url

    @url.setter
    def url(self, value: str) -> None:
        self._value = told(self._value.with_url, text(value, "url"))

    def clear_id(self) -> None:
        self._value = replace(self._value, id=None)

    def clear_url(self) -> None:
        self._value = replace(self._value, url=None)

    def is_empty(self) -> bool:
        return self._value.is_empty


@final
class Note(Same[awards.Note]):
    """What somebody said about an award, and when."""

    __slots__ = ()

    def __new__(cls, author: str, text: str) -> Self:
        now = Timestamp.of(datetime.now(UTC))
        return cls._of(awards.Note(now, arguments.text(author, "author"), arguments.text(text, "text")))

    author: Read[str] = Read()
    text: Read[str] = Read()

    @property
    def timestamp(self) -> datetime:
        """To the second, in UTC."""
        return self._value.timestamp.second


@final
class AwardDetails(Same[awards.AwardDetails]):
    """An award; every field may be left out."""

    __slots__ = ()

    def __new__(cls, details: str = "{}") -> Self:
        return cls._of(told(awards.AwardDetails.parse, text(details, "details")))

    @staticmethod
    def from_json(json: str) -> AwardDetails:
        return AwardDetails._of(told(awards.AwardDetails.parse, text(json, "json")))

    def to_json(self) -> str:
        return self._value.to_json()

    def _set(self, **values: Any) -> None:
        self._value = replace(self._value, **values)

    @property
    def name(self) -> str | None:
        return self._value.name

    @name.setter
    def name(self, value: str | None) -> None:
        self._set(name=_trimmed(value, "name"))

    def clear_name(self) -> None:
        self._set(name=None)

    @property
    def project_template(self) -> ProjectTemplate | None:
        return maybe(ProjectTemplate)(self._value.project_template)

    @project_template.setter
    def project_template(self, value: ProjectTemplate | None) -> None:
        self._set(project_template=_value(value, ProjectTemplate, "template"))

    def clear_project_template(self) -> None:
        self._set(project_template=None)

    @property
    def key(self) -> str | None:
        return self._value.key

    @key.setter
    def key(self, value: str | None) -> None:
        self._set(key=_trimmed(value, "key"))

    def clear_key(self) -> None:
        self._set(key=None)

    @property
    def description(self) -> str | None:
        return self._value.description

    @description.setter
    def description(self, value: str | None) -> None:
        self._set(description=_trimmed(value, "description"))

    def clear_description(self) -> None:
        self._set(description=None)

    @property
    def members(self) -> dict[str, str] | None:
        """The roles of the members, by e-mail address."""
        return None if self._value.members is None else dict(self._value.members)

    @members.setter
    def members(self, value: Mapping[str, str] | None) -> None:
        given = {} if value is None else texts(value, "members")
        told(self._value.add_members, given)
        self._set(members=given or None)

    def clear_members(self) -> None:
        self._set(members=None)

    def add_member(self, username: str, role: str) -> None:
        self._value = told(self._value.add_member, text(username, "username"), text(role, "role"))

    def add_members(self, members: Mapping[str, str]) -> None:
        self._value = told(self._value.add_members, texts(members, "members"))

    def remove_member(self, username: str) -> None:
        self._value = self._value.remove_member(text(username, "username"))

    @property
    def start_date(self) -> date | None:
        return self._value.start_date

    @start_date.setter
    def start_date(self, value: date | None) -> None:
        self._set(start_date=None if value is None else day(value, "start_date"))

    def clear_start_date(self) -> None:
        self._set(start_date=None)

    @property
    def end_date(self) -> date | None:
        return self._value.end_date

    @end_date.setter
    def end_date(self, value: date | None) -> None:
        self._set(end_date=None if value is None else day(value, "end_date"))

    def clear_end_date(self) -> None:
        self._set(end_date=None)

    @property
    def allocation(self) -> Allocation | None:
        return maybe(Allocation)(self._value.allocation)

    @allocation.setter
    def allocation(self, value: Allocation | None) -> None:
        given = _value(value, Allocation, "allocation")
        self._set(allocation=None if given is None or given.is_empty else given)

    def clear_allocation(self) -> None:
        self._set(allocation=None)

    @property
    def breakdown(self) -> dict[str, str]:
        return dict(self._value.breakdown)

    @breakdown.setter
    def breakdown(self, value: Mapping[str, str]) -> None:
        self._set(breakdown=texts(value, "breakdown"))

    def set_breakdown_entry(self, key: str, value: str) -> None:
        entry = {text(key, "key"): text(value, "value")}
        self._set(breakdown=dict(sorted({**self._value.breakdown, **entry}.items())))

    def remove_breakdown_entry(self, key: str) -> None:
        gone = text(key, "key")
        self._set(breakdown={name: value for name, value in self._value.breakdown.items() if name != gone})

    def clear_breakdown(self) -> None:
        self._set(breakdown={})

    @property
    def award(self) -> Link | None:
        return maybe(Link)(self._value.award)

    @award.setter
    def award(self, value: Link | None) -> None:
        self._set(award=_link(value, "award"))

    def clear_award(self) -> None:
        self._set(award=None)

    @property
    def call(self) -> Link | None:
        return maybe(Link)(self._value.call)

    @call.setter
    def call(self, value: Link | None) -> None:
        self._set(call=_link(value, "call"))

    def clear_call(self) -> None:
        self._set(call=None)

    @property
    def project_link(self) -> Link | None:
        return maybe(Link)(self._value.project_link)

    @project_link.setter
    def project_link(self, value: Link | None) -> None:
        self._set(project_link=_link(value, "project_link"))

    def clear_project_link(self) -> None:
        self._set(project_link=None)

    @property
    def renewal(self) -> Link | None:
        return maybe(Link)(self._value.renewal)

    @renewal.setter
    def renewal(self, value: Link | None) -> None:
        self._set(renewal=_link(value, "renewal"))

    def clear_renewal(self) -> None:
        self._set(renewal=None)

    @property
    def notes(self) -> list[Note]:
        return each(Note)(self._value.notes)

    def add_note(self, note: Note) -> None:
        self._value = self._value.add_note(instance(note, Note, "note")._value)

    def clear_notes(self) -> None:
        self._set(notes=())

    @property
    def earliest_approve(self) -> datetime | None:
        """To the second, in UTC."""
        found = self._value.earliest_approve
        return None if found is None else found.second

    @earliest_approve.setter
    def earliest_approve(self, value: datetime | None) -> None:
        self._set(earliest_approve=None if value is None else Timestamp.of(moment(value, "dt")))

    def clear_earliest_approve(self) -> None:
        self._set(earliest_approve=None)

    @property
    def membership_control(self) -> MembershipControl:
        """Where it is not said, it is `Open`."""
        found = self._value.membership_control
        return MembershipControl.Open if found is None else MembershipControl[found.name]

    @membership_control.setter
    def membership_control(self, value: MembershipControl) -> None:
        control = instance(value, MembershipControl, "control")
        self._set(membership_control=awards.MembershipControl[control.name])

    def clear_membership_control(self) -> None:
        self._set(membership_control=None)

    def can_change_membership(self) -> bool:
        """Whether the portal that receives the award may add or remove members."""
        return self._value.can_change_membership

    def can_change_roles(self) -> bool:
        return self._value.can_change_roles

    @property
    def allowed_domains(self) -> list[DomainPattern] | None:
        """Who may be a member: None is everyone, an empty list is nobody."""
        found = self._value.allowed_domains
        return None if found is None else each(DomainPattern)(found)

    @allowed_domains.setter
    def allowed_domains(self, value: Sequence[str | DomainPattern] | None) -> None:
        self._set(allowed_domains=None if value is None else tuple(_pattern(one, "domains") for one in value))

    def add_allowed_domain(self, domain: str | DomainPattern) -> None:
        self._value = self._value.add_allowed_domain(_pattern(domain, "domain"))

    def clear_allowed_domains(self) -> None:
        self._set(allowed_domains=None)

    def is_domain_allowed(self, domain: str) -> bool:
        """Whether everyone at a domain may be a member."""
        return self._value.is_domain_allowed(text(domain, "domain"))

    def is_email_allowed(self, email: str) -> bool:
        return self._value.is_email_allowed(text(email, "email"))

    def merge(self, other: AwardDetails) -> AwardDetails:
        """This award with what a later one says."""
        return AwardDetails._of(told(self._value.merge, instance(other, AwardDetails, "other")._value))


ProjectDetails = AwardDetails
"""Its name as the result of a job."""


def _trimmed(value: str | None, name: str) -> str | None:
    return None if value is None else trim(text(value, name)) or None


def _value(given: Any, kind: type[Any], name: str) -> Any:
    return None if given is None else instance(given, kind, name)._value


def _link(value: Link | None, name: str) -> awards.Link | None:
    found: awards.Link | None = _value(value, Link, name)
    return None if found is None or found.is_empty else found


def _pattern(value: str | DomainPattern, name: str) -> awards.DomainPattern:
    if isinstance(value, DomainPattern):
        return value._value
    return told(awards.DomainPattern, text(value, name))
