"""What every system of accounts has in common: the groups of this agent, and how an account stands to it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from openportal.agents import naming
from openportal.errors import InvalidJob
from openportal.grammar.identifiers import UserIdentifier

HOME_MAX_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class Policy:
    """The groups of this agent, from its settings."""

    managed: str = naming.MANAGED_GROUP
    system: tuple[str, ...] = ()
    by_instance: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, extras: Mapping[str, str]) -> Policy:
        """From the settings managed-group, system-groups and instance-groups. Raises ConfigError."""
        managed = naming.parse_groups(extras.get("managed-group", ""))
        return cls(
            managed[0] if managed else naming.MANAGED_GROUP,
            naming.parse_groups(extras.get("system-groups", "")),
            naming.parse_instance_groups(extras.get("instance-groups", "")),
        )

    @property
    def blocked(self) -> str:
        return naming.blocked_group(self.managed)

    @property
    def removed(self) -> str:
        return naming.removed_group(self.managed)

    @property
    def reserved(self) -> frozenset[str]:
        """Groups that are never a project's."""
        instances = (group for groups in self.by_instance.values() for group in groups)
        return frozenset((self.managed, self.blocked, self.removed, *self.system, *instances))

    def of_peer(self, peer: str) -> tuple[str, ...]:
        """The groups of whatever was made for the peer `name@zone`: its own, then the configured ones."""
        return tuple(dict.fromkeys((naming.instance_group(peer), *naming.groups_for(peer, self.by_instance))))

    def wanted(self, user: UserIdentifier, peer: str) -> tuple[str, ...]:
        """Every group that a user made for the peer `name@zone` belongs to, the project's first."""
        project, (own, *configured) = naming.project_group(user.project_identifier), self.of_peer(peer)
        return tuple(dict.fromkeys((project, self.managed, own, *self.system, *configured)))


class Standing(Enum):
    """How an account stands to us; the tables are in `plan.py` and `freeipa/plan.py`."""

    ABSENT = auto()
    FOREIGN = auto()
    UNFINISHED = auto()
    PROTECTED = auto()
    ACTIVE = auto()
    BLOCKED = auto()
    REMOVED = auto()


USABLE = frozenset({Standing.ACTIVE, Standing.BLOCKED})
EXISTING = USABLE | {Standing.PROTECTED}


def require_home(home: str) -> None:
    """Raise InvalidJob unless `home` is an absolute, plain path that the password file can hold."""
    parts = home.split("/")
    printable = home.isprintable() and ":" not in home
    if not home.startswith("/") or ".." in parts or not printable or len(home) > HOME_MAX_CHARACTERS:
        raise InvalidJob(f"{home[:HOME_MAX_CHARACTERS]!r} cannot be a home directory: an absolute path without '..'.")
    if home.strip("/") == "":
        raise InvalidJob("The root directory cannot be a home directory.")
