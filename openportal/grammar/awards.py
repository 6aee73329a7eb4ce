"""An award: what a portal grants to a project, and who may be a member of it.

Every field may be left out. FIELDS at the end of this file is the document: its keys, in the order in which they are
written, with what reads and writes each. Keys that are not known are dropped; a key that comes twice is refused.

    {"name": "My project", "template": "cpu-cluster", "members": {"jo@example.com": "pi"}, "allocation": "1000 NHR",
     "award": {"id": "061", "url": "https://example.com/061"}, "allowed_domains": ["*.example.com"], …}

`allowed_domains` is who may be a member: absent it is everyone, empty it is nobody. An award is merged with a later
one: what that one says replaces what was said, except that notes and the breakdown are added to; templates must not
differ. Values are frozen: what would change an award returns another. Everything raises GrammarError.
"""

from __future__ import annotations

import ipaddress
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import Enum
from typing import Any, Final, NamedTuple, Self
from urllib.parse import unquote

from openportal.errors import GrammarError
from openportal.grammar.dates import Timestamp, parse_date
from openportal.grammar.quantities import Allocation
from openportal.grammar.text import compact, quote, trim

PORT_LAST: Final = 65_535

_is_label = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?").fullmatch
_is_mailbox = re.compile(r"[A-Za-z0-9._%+-]+").fullmatch
_split_url = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):[/\\]*([^/\\?#]*)", re.DOTALL).match
_split_host = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]*))?", re.DOTALL).fullmatch
_breaks_host = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]").search
_is_number = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+").fullmatch


@dataclass(frozen=True, slots=True)
class ProjectTemplate:
    """What kind of project it is, such as `cpu-cluster`."""

    name: str

    def __post_init__(self) -> None:
        if not self.name:
            raise GrammarError("a project template cannot be empty")
        if not all(character.isalnum() or character in "_-" for character in self.name):
            raise GrammarError(f"a project template has letters, digits, '_' and '-' only: {quote(self.name)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(trim(text))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class DomainPattern:
    """Who may be a member: `example.com` itself, `*.example.com` all that is below it, or one e-mail address."""

    pattern: str

    def __post_init__(self) -> None:
        mailbox, at, domain = self.pattern.rpartition("@")
        if at and not _is_mailbox(mailbox):
            raise GrammarError(f"{quote(self.pattern)} is not an e-mail address")
        if not at:
            domain = domain.removeprefix("*.")
        if not all(map(_is_label, domain.split("."))):
            raise GrammarError(
                f"{quote(self.pattern)} is not a domain such as example.com or *.example.com: between its dots there"
                " must be letters, digits and inner hyphens"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text)

    @property
    def is_email(self) -> bool:
        return "@" in self.pattern

    def matches(self, domain: str) -> bool:
        """Whether a domain is meant; never if the pattern is an e-mail address."""
        pattern = self.pattern.lower()
        if pattern.startswith("*."):
            return domain.lower().endswith(pattern[1:])
        return not self.is_email and domain.lower() == pattern

    def matches_email(self, email: str) -> bool:
        if self.is_email:
            return email.lower() == self.pattern.lower()
        _, at, domain = email.partition("@")
        return bool(at) and self.matches(domain)

    def __str__(self) -> str:
        return self.pattern


class MembershipControl(Enum):
    """What the portal's users may change about the members of a project."""

    Open = "open"
    MembersOnly = "members_only"
    RolesOnly = "roles_only"
    Locked = "locked"

    @classmethod
    def parse(cls, text: str) -> Self:
        try:
            return cls(text)
        except ValueError as error:
            raise GrammarError(f"{quote(text)} is not one of: {', '.join(map(str, cls))}") from error

    @property
    def can_change_membership(self) -> bool:
        return self in (MembershipControl.Open, MembershipControl.MembersOnly)

    @property
    def can_change_roles(self) -> bool:
        return self in (MembershipControl.Open, MembershipControl.RolesOnly)

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Link:
    """A reference to something elsewhere. The URL is shown to people, so it can be http or https only."""

    id: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if self.url is not None:
            _check_url(self.url)

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """From `{"id": …, "url": …}`, both of which may be left out. Raises GrammarError."""
        parts = {key: _text(part) for key, part in _object(value).items() if key in ("id", "url") and part is not None}
        return cls(parts.get("id"), trim(parts.get("url", "")) or None)

    def with_id(self, id: str) -> Self:
        return replace(self, id=id if trim(id) else None)

    def with_url(self, url: str) -> Self:
        return replace(self, url=trim(url) or None)

    @property
    def is_empty(self) -> bool:
        return self.id is None and self.url is None

    def to_wire(self) -> dict[str, str]:
        return {key: text for key, text in (("id", self.id), ("url", self.url)) if text is not None}

    def __str__(self) -> str:
        return compact(self.to_wire())


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody said about an award."""

    timestamp: Timestamp
    author: str
    text: str

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """From `{"timestamp": …, "author": …, "text": …}`. Raises GrammarError."""
        parts = _object(value)
        timestamp, author, text = (_text(parts.get(key)) for key in ("timestamp", "author", "text"))
        return cls(Timestamp.parse(timestamp), author, text)

    def to_wire(self) -> dict[str, str]:
        return {"timestamp": str(self.timestamp), "author": self.author, "text": self.text}

    def __str__(self) -> str:
        at = self.timestamp.second
        return f"[{at.year:04}-{at:%m-%d %H:%M} UTC — {self.author}] {self.text}"


@dataclass(frozen=True, slots=True)
class AwardDetails:
    """An award. Members that come in a document are not checked, those that are added are."""

    name: str | None = None
    project_template: ProjectTemplate | None = None
    key: str | None = None
    description: str | None = None
    members: Mapping[str, str] | None = None
    start_date: date | None = None
    end_date: date | None = None
    allocation: Allocation | None = None
    breakdown: Mapping[str, str] = field(default_factory=dict)
    award: Link | None = None
    call: Link | None = None
    project_link: Link | None = None
    renewal: Link | None = None
    notes: tuple[Note, ...] = ()
    earliest_approve: Timestamp | None = None
    membership_control: MembershipControl | None = None
    allowed_domains: tuple[DomainPattern, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a JSON document. Raises GrammarError, which names the field."""
        return cls.from_wire(_load(text))

    from_json = parse

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """From the object of a JSON document. Raises GrammarError, which names the field."""
        values: dict[str, Any] = {}
        for key, part in _object(value).items():
            one = _BY_KEY.get(key)
            if one is None or (part is None and one.nullable):
                continue
            try:
                values[one.attribute] = one.read(part)
            except GrammarError as error:
                raise GrammarError(f"{key} of an award: {error}") from error
        return cls(**values)

    def to_wire(self) -> dict[str, Any]:
        """In the order of FIELDS."""
        wire: dict[str, Any] = {}
        for one in FIELDS:
            value = getattr(self, one.attribute)
            if value or not one.omitted:
                wire[one.key] = None if value is None else one.write(value)
        return wire

    def to_json(self) -> str:
        return compact(self.to_wire())

    def __str__(self) -> str:
        return self.to_json()

    def merge(self, later: AwardDetails) -> AwardDetails:
        """This award with what a later one says. Raises GrammarError if they are of different templates."""
        one, other = self.project_template, later.project_template
        if one and other and one != other:
            raise GrammarError(f"an award of the template {one} cannot be merged with one of {other}")
        said = ((name, getattr(later, name)) for _, name, *_ in FIELDS)
        values: dict[str, Any] = {name: value for name, value in said if value is not None}
        values["breakdown"] = dict(sorted({**self.breakdown, **later.breakdown}.items()))
        return replace(self, **values)._with_notes(later.notes, self.notes)

    @property
    def can_change_membership(self) -> bool:
        return self.membership_control is None or self.membership_control.can_change_membership

    @property
    def can_change_roles(self) -> bool:
        return self.membership_control is None or self.membership_control.can_change_roles

    def is_domain_allowed(self, domain: str) -> bool:
        """Whether everyone at a domain may be a member."""
        return self.allowed_domains is None or any(pattern.matches(domain) for pattern in self.allowed_domains)

    def is_email_allowed(self, email: str) -> bool:
        return self.allowed_domains is None or any(pattern.matches_email(email) for pattern in self.allowed_domains)

    def add_member(self, email: str, role: str) -> AwardDetails:
        return self.add_members({email: role})

    def add_members(self, members: Mapping[str, str]) -> AwardDetails:
        """With further members, or with other roles. Raises GrammarError for who may not be one."""
        checked = {trim(email): role for email, role in members.items()}
        for email, role in checked.items():
            if not DomainPattern(email).is_email:
                raise GrammarError(f"a member is an e-mail address, not {quote(email)}")
            if not trim(role):
                raise GrammarError(f"the role of {quote(email)} cannot be empty")
            if not self.is_email_allowed(email):
                raise GrammarError(f"{quote(email)} is not in a domain that this award allows")
        return replace(self, members=dict(sorted({**(self.members or {}), **checked}.items())))

    def remove_member(self, email: str) -> AwardDetails:
        if self.members is None or email not in self.members:
            return self
        return replace(self, members={one: role for one, role in self.members.items() if one != email})

    def add_note(self, note: Note) -> AwardDetails:
        return replace(self, notes=(*self.notes, note))

    def add_allowed_domain(self, pattern: DomainPattern) -> AwardDetails:
        """With one more domain; where all were allowed, only that one is."""
        known = self.allowed_domains or ()
        return self if pattern in known else replace(self, allowed_domains=(*known, pattern))

    def _with_notes(self, later: Iterable[Note], notes: tuple[Note, ...]) -> AwardDetails:
        added = dict.fromkeys(note for note in later if note not in notes)
        return replace(self, notes=tuple(sorted((*notes, *added), key=lambda note: note.timestamp)))


ProjectDetails = AwardDetails
"""Its name as the result of a job."""


# Reading and writing JSON.


def _load(text: str) -> object:
    try:
        return _decode(text)
    except (ValueError, RecursionError) as error:
        raise GrammarError(f"not a JSON document: {error}") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise GrammarError("a JSON object has a key twice")
    return made


def _no_constant(name: str) -> object:
    raise GrammarError(f"{name} is not JSON")


_decode: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise GrammarError(f"must be a JSON object, not {quote(str(value))}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise GrammarError(f"must be a text, not {quote(str(value))}")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise GrammarError("must be a text of whole characters")
    return value


def _texts(value: object) -> dict[str, str]:
    return {_text(key): _text(text) for key, text in sorted(_object(value).items())}


def _parsed(parse: Callable[[str], object]) -> Callable[[object], object]:
    return lambda value: parse(_text(value))


def _listed(read: Callable[[object], object]) -> Callable[[object], object]:
    def read_all(value: object) -> object:
        if not isinstance(value, list):
            raise GrammarError(f"must be a list, not {quote(str(value))}")
        return tuple(map(read, value))

    return read_all


def _all(write: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda values: [write(value) for value in values]


class Field(NamedTuple):
    """One field of the document; `omitted` says that it is left out, not written as null, where it is not set."""

    key: str
    attribute: str
    read: Callable[[object], object]
    write: Callable[[Any], object]
    omitted: bool = False
    nullable: bool = True


FIELDS: Final = (
    Field("name", "name", _text, str),
    Field("template", "project_template", _parsed(ProjectTemplate.parse), str),
    Field("key", "key", _text, str),
    Field("description", "description", _text, str),
    Field("members", "members", _texts, dict),
    Field("start_date", "start_date", _parsed(parse_date), str),
    Field("end_date", "end_date", _parsed(parse_date), str),
    Field("allocation", "allocation", _parsed(Allocation.parse), str),
    Field("breakdown", "breakdown", _texts, dict, omitted=True, nullable=False),
    Field("award", "award", Link.from_wire, Link.to_wire, omitted=True),
    Field("call", "call", Link.from_wire, Link.to_wire, omitted=True),
    Field("project_link", "project_link", Link.from_wire, Link.to_wire, omitted=True),
    Field("renewal", "renewal", Link.from_wire, Link.to_wire, omitted=True),
    Field("notes", "notes", _listed(Note.from_wire), _all(Note.to_wire), nullable=False),
    Field("earliest_approve", "earliest_approve", _parsed(Timestamp.parse), str, omitted=True),
    Field("membership_control", "membership_control", _parsed(MembershipControl.parse), str, omitted=True),
    Field("allowed_domains", "allowed_domains", _listed(_parsed(DomainPattern)), _all(str)),
)
_BY_KEY: Final = {one.key: one for one in FIELDS}


# URLs, as browsers read them.


def _check_url(url: str) -> None:
    found = _split_url(re.sub(r"[\t\n\r]", "", url.strip("".join(map(chr, range(33))))))
    if found is None:
        raise GrammarError(f"the URL of a link must begin with https:// or http://: {quote(url)}")
    if found[1].lower() not in ("http", "https"):
        raise GrammarError(f"a link can be https or http only, not {found[1]}: it is shown to people")
    authority = _split_host(found[2].rpartition("@")[2])
    if authority is None or int(authority[2] or 0) > PORT_LAST:
        raise GrammarError(f"the URL {quote(url)} has a wrong port")
    if not _is_host(authority[1]):
        raise GrammarError(f"the URL {quote(url)} has no host, or a wrong one")


def _is_host(host: str) -> bool:
    try:
        if host.startswith("["):
            return bool(ipaddress.IPv6Address(host[1:-1]))
        name = unicodedata.normalize("NFKC", unquote(host, errors="strict")).replace("\u00ad", "")
    except ValueError:
        return False
    last = name.removesuffix(".").rpartition(".")[2]
    return bool(name) and not _breaks_host(name) and (not _is_number(last) or _is_ipv4(name.removesuffix(".")))


def _is_ipv4(name: str) -> bool:
    """One to four numbers, of which the last one fills what is left; decimal, octal or hexadecimal."""
    *leading, last = name.split(".")
    try:
        numbers = [_number(part) for part in leading]
        return (
            len(numbers) < 4 and all(number < 256 for number in numbers) and _number(last) < 256 ** (4 - len(numbers))
        )
    except ValueError:
        return False


def _number(part: str) -> int:
    if part[:2].lower() == "0x":
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") and part != "0" else 10)
