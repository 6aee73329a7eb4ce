"""Who and what a job is about.

    PortalIdentifier     brics
    ProjectIdentifier    demo.brics
    UserIdentifier       alice.demo.brics
    ProjectMapping       demo.brics:demo_group                  a project and its group on a machine
    UserMapping          alice.demo.brics:alice:demo_group      a user, its account and its group on a machine
    Volume               home

The parts of an identifier are 1 to 64 characters of A-Z a-z 0-9 _ - and do not start with '-'. Local names may hold
single dots inside as well; a local user may instead be an e-mail address. `parse` trims each part, a constructor does
not: it refuses what is not already in its final form. Everything raises GrammarError.

`owning_portal` is the portal that a value belongs to, `subject` the user or project it is about. The alphabet is that
of the network since its release 0.94, which is stricter than earlier ones.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from openportal.errors import GrammarError
from openportal.grammar.text import quote, trim

PART_LIMIT_CHARACTERS: Final = 64
LABEL_LIMIT_CHARACTERS: Final = 63
EMAIL_LIMIT_CHARACTERS: Final = 254

_is_part = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}").fullmatch
_is_label = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?").fullmatch
_HYPHENATED = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_is_uuid = re.compile(
    rf"[0-9a-f]{{32}}|{_HYPHENATED}|\{{{_HYPHENATED}\}}|(?-i:urn:uuid:){_HYPHENATED}", re.IGNORECASE | re.ASCII
).fullmatch

_PART_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_-]")
_LOCAL_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_.-]")
_MAILBOX_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_.+-]")


def parse_uuid(text: str) -> str:
    """The canonical form (lower case, hyphens) of a UUID.

    Accepts 32 hexadecimal digits, or the hyphenated form, bare, in braces or after `urn:uuid:`. Raises GrammarError.
    """
    if not _is_uuid(text):
        raise GrammarError(f"{quote(text)} is not a UUID such as a1b2c3d4-e5f6-7890-abcd-ef1234567890")
    return str(uuid.UUID(text))


@dataclass(frozen=True, slots=True)
class PortalIdentifier:
    """A portal, by its name."""

    form: ClassVar[str] = "portal"

    portal: str

    def __post_init__(self) -> None:
        _check_part(self.portal, "portal")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `portal`. Raises GrammarError."""
        return cls(trim(text))

    @property
    def owning_portal(self) -> str:
        return self.portal

    @property
    def subject(self) -> None:
        return None

    def __str__(self) -> str:
        return self.portal


@dataclass(frozen=True, slots=True)
class ProjectIdentifier:
    """A project of a portal."""

    form: ClassVar[str] = "project.portal"

    project: str
    portal: str

    def __post_init__(self) -> None:
        _check_part(self.project, "project")
        _check_part(self.portal, "portal")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `project.portal`. Raises GrammarError."""
        return cls(*_split(text, ".", 2, cls.form))

    @property
    def portal_identifier(self) -> PortalIdentifier:
        return PortalIdentifier(self.portal)

    @property
    def owning_portal(self) -> str:
        return self.portal

    @property
    def subject(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{self.project}.{self.portal}"


@dataclass(frozen=True, slots=True)
class UserIdentifier:
    """A user in a project of a portal."""

    form: ClassVar[str] = "username.project.portal"

    username: str
    project: str
    portal: str

    def __post_init__(self) -> None:
        _check_part(self.username, "username")
        _check_part(self.project, "project")
        _check_part(self.portal, "portal")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `username.project.portal`. Raises GrammarError."""
        return cls(*_split(text, ".", 3, cls.form))

    @property
    def project_identifier(self) -> ProjectIdentifier:
        return ProjectIdentifier(self.project, self.portal)

    @property
    def portal_identifier(self) -> PortalIdentifier:
        return PortalIdentifier(self.portal)

    @property
    def owning_portal(self) -> str:
        return self.portal

    @property
    def subject(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{self.username}.{self.project}.{self.portal}"


@dataclass(frozen=True, slots=True)
class ProjectMapping:
    """A project and the group that stands for it on a machine."""

    form: ClassVar[str] = "project.portal:local_group"

    project: ProjectIdentifier
    local_group: str

    def __post_init__(self) -> None:
        _check_local(self.local_group, "local_group")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `project.portal:local_group`. Raises GrammarError."""
        project, local_group = _split(text, ":", 2, cls.form)
        return cls(ProjectIdentifier.parse(project), local_group)

    @property
    def owning_portal(self) -> str:
        return self.project.portal

    @property
    def subject(self) -> str:
        return str(self.project)

    def __str__(self) -> str:
        return f"{self.project}:{self.local_group}"


@dataclass(frozen=True, slots=True)
class UserMapping:
    """A user, the account that stands for it on a machine, and that account's group."""

    form: ClassVar[str] = "username.project.portal:local_user:local_group"

    user: UserIdentifier
    local_user: str
    local_group: str

    def __post_init__(self) -> None:
        if "@" in self.local_user:
            _check_email(self.local_user)
        else:
            _check_local(self.local_user, "local_user")
        _check_local(self.local_group, "local_group")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `username.project.portal:local_user:local_group`. Raises GrammarError."""
        user, local_user, local_group = _split(text, ":", 3, cls.form)
        return cls(UserIdentifier.parse(user), local_user, local_group)

    @property
    def owning_portal(self) -> str:
        return self.user.portal

    @property
    def subject(self) -> str:
        return str(self.user)

    def __str__(self) -> str:
        return f"{self.user}:{self.local_user}:{self.local_group}"


@dataclass(frozen=True, slots=True)
class Volume:
    """A filesystem that quotas are counted on. Only spaces are refused: sites name their volumes as they like."""

    name: str

    def __post_init__(self) -> None:
        if not self.name:
            raise GrammarError("the name of a volume cannot be empty")
        if " " in self.name or trim(self.name) != self.name:
            raise GrammarError(f"the name of a volume cannot contain spaces: {quote(self.name)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the name. Raises GrammarError."""
        return cls(trim(text))

    def __str__(self) -> str:
        return self.name


def _split(text: str, separator: str, count: int, form: str) -> list[str]:
    parts = text.split(separator)
    if len(parts) != count:
        raise GrammarError(f"{quote(text)} is not of the form {form}")
    return [trim(part) for part in parts]


def _check_part(text: str, what: str) -> None:
    if not _is_part(text):
        _check_characters(text, what, _PART_ILLEGAL, "A-Z a-z 0-9 _ -")


def _check_local(text: str, what: str) -> None:
    # Most local names are plain parts, so the one quick match settles them.
    if not _is_part(text):
        _check_characters(text, what, _LOCAL_ILLEGAL, "A-Z a-z 0-9 _ - .")
        _check_dots(text, what)


def _check_email(text: str) -> None:
    mailbox, _, domain = text.partition("@")
    if len(text) > EMAIL_LIMIT_CHARACTERS:
        raise GrammarError(f"local_user is an e-mail address of more than {EMAIL_LIMIT_CHARACTERS} characters")
    _check_characters(mailbox, "local_user before the '@'", _MAILBOX_ILLEGAL, "A-Z a-z 0-9 _ - . +")
    _check_dots(mailbox, "local_user before the '@'")
    labels = domain.split(".")
    if len(labels) < 2 or not all(map(_is_label, labels)):
        raise GrammarError(
            f"local_user {quote(text)} is not an e-mail address: after one '@' there must be two or more labels, each"
            f" of at most {LABEL_LIMIT_CHARACTERS} letters, digits and inner hyphens"
        )


def _check_characters(text: str, what: str, illegal: re.Pattern[str], allowed: str) -> None:
    if not text:
        raise GrammarError(f"{what} cannot be empty")
    if len(text) > PART_LIMIT_CHARACTERS:
        raise GrammarError(f"{what} is longer than {PART_LIMIT_CHARACTERS} characters: {quote(text)}")
    if found := illegal.search(text):
        raise GrammarError(f"{what} contains {found[0]!r} (allowed: {allowed}): {quote(text)}")
    if text.startswith("-"):
        raise GrammarError(f"{what} cannot start with '-': {quote(text)}")


def _check_dots(text: str, what: str) -> None:
    if text.startswith(".") or text.endswith(".") or ".." in text:
        raise GrammarError(f"{what} can have single dots inside only: {quote(text)}")
