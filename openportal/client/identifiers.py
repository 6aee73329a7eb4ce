"""Who, what and where: the identifiers of the network, each made from its text.

PortalIdentifier("brics")   ProjectIdentifier("demo.brics")   UserIdentifier("alice.demo.brics")
ProjectMapping("demo.brics:demo_group")   UserMapping("alice.demo.brics:alice:demo_group")
Destination("brics.aip1.clusters")   Volume("home")   Uuid("a1b2c3d4-…")   Instruction("get_users demo.brics")
"""

from __future__ import annotations

from typing import Final, Self, final

from openportal.client.arguments import text, told
from openportal.client.instructions import parse
from openportal.client.wrapper import Named, Read, Same
from openportal.errors import GrammarError
from openportal.grammar import destination as destinations
from openportal.grammar import identifiers
from openportal.grammar.instructions import Instruction as Declared
from openportal.grammar.text import quote


@final
class PortalIdentifier(Named[identifiers.PortalIdentifier]):
    """A portal, by its name."""

    __slots__ = ()

    def __new__(cls, identifier: str) -> Self:
        return cls._of(told(identifiers.PortalIdentifier.parse, text(identifier, "identifier")))

    portal: Read[str] = Read()


@final
class ProjectIdentifier(Named[identifiers.ProjectIdentifier]):
    """A project of a portal: `project.portal`."""

    __slots__ = ()

    def __new__(cls, identifier: str) -> Self:
        return cls._of(told(identifiers.ProjectIdentifier.parse, text(identifier, "identifier")))

    project: Read[str] = Read()
    portal: Read[str] = Read()
    portal_identifier: Read[PortalIdentifier] = Read(PortalIdentifier._of)


@final
class UserIdentifier(Named[identifiers.UserIdentifier]):
    """A user in a project of a portal: `username.project.portal`."""

    __slots__ = ()

    def __new__(cls, identifier: str) -> Self:
        return cls._of(told(identifiers.UserIdentifier.parse, text(identifier, "identifier")))

    username: Read[str] = Read()
    project: Read[str] = Read()
    portal: Read[str] = Read()
    project_identifier: Read[ProjectIdentifier] = Read(ProjectIdentifier._of)
    portal_identifier: Read[PortalIdentifier] = Read(PortalIdentifier._of)


@final
class ProjectMapping(Same[identifiers.ProjectMapping]):
    """A project and its group on a machine: `project.portal:local_group`."""

    __slots__ = ()

    def __new__(cls, identifier: str) -> Self:
        return cls._of(told(identifiers.ProjectMapping.parse, text(identifier, "identifier")))

    project: Read[ProjectIdentifier] = Read(ProjectIdentifier._of)
    local_group: Read[str] = Read()


@final
class UserMapping(Same[identifiers.UserMapping]):
    """A user, its account and its group on a machine: `username.project.portal:local_user:local_group`."""

    __slots__ = ()

    def __new__(cls, identifier: str) -> Self:
        return cls._of(told(identifiers.UserMapping.parse, text(identifier, "identifier")))

    user: Read[UserIdentifier] = Read(UserIdentifier._of)
    local_user: Read[str] = Read()
    local_group: Read[str] = Read()


@final
class Destination(Named[destinations.Destination]):
    """The path that a job walks, from the agent that puts it to the one that carries it out."""

    __slots__ = ()

    def __new__(cls, destination: str) -> Self:
        return cls._of(told(destinations.Destination.parse, text(destination, "destination")))

    agents: Read[list[str]] = Read(list)

    def reverse(self) -> Destination:
        """The way back."""
        return Destination._of(self._value.reversed())


@final
class Volume(Named[identifiers.Volume]):
    """A filesystem that quotas are counted on."""

    __slots__ = ()

    def __new__(cls, name: str) -> Self:
        return cls._of(told(identifiers.Volume, text(name, "name")))

    @staticmethod
    def parse(s: str) -> Volume:
        return Volume._of(told(identifiers.Volume.parse, text(s, "s")))

    name: Read[str] = Read()

    def __repr__(self) -> str:
        return f'Volume("{self}")'


@final
class Uuid(Named[str]):
    """The identity of a job or notification; with or without hyphens, in braces, in any case."""

    __slots__ = ()

    def __new__(cls, uuid: str) -> Self:
        return cls._of(told(identifiers.parse_uuid, text(uuid, "uuid")))

    @staticmethod
    def from_string(uuid: str) -> Uuid:
        return Uuid(uuid)

    def to_string(self) -> str:
        return self._value


@final
class Instruction(Named[Declared]):
    """What a job asks for: a verb and its arguments."""

    __slots__ = ()

    def __new__(cls, instruction: str) -> Self:
        return cls._of(told(parse, text(instruction, "instruction")))

    @property
    def command(self) -> str:
        """The verb."""
        return self._value.verb

    @property
    def arguments(self) -> list[str]:
        values = (getattr(self._value, argument.name) for argument in self._value.arguments)
        return [str(value) for value in values if value is not None]


STATES: Final = ("created", "pending", "running", "complete", "error", "duplicate")


@final
class Status(Named[str]):
    """How far a job is; one of `created`, `pending`, `running`, `complete`, `error`, `duplicate`."""

    __slots__ = ()

    def __new__(cls, status: str) -> Self:
        return cls._of(told(_state, text(status, "status")))

    @staticmethod
    def created() -> Status:
        return Status._of("created")

    @staticmethod
    def pending() -> Status:
        return Status._of("pending")

    @staticmethod
    def running() -> Status:
        return Status._of("running")

    @staticmethod
    def complete() -> Status:
        return Status._of("complete")

    @staticmethod
    def error() -> Status:
        return Status._of("error")

    @staticmethod
    def duplicate() -> Status:
        return Status._of("duplicate")


def _state(status: str) -> str:
    if status not in STATES:
        raise GrammarError(f"{quote(status)} is not the state of a job; these are: {', '.join(STATES)}")
    return status
