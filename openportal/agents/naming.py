"""The names that OpenPortal gives to what it makes on a system. Pure.

    user     alice.demo.brics  ->  local user   alice.demo     <user>.<project>
    project  demo.brics        ->  local group  brics.demo     <portal>.<project>
                                   legacy group group.demo     recognised, never made
    peer     shared@default    ->  local group  op_shared_default
    managed                    ->  local group  openportal     every account made by an account agent
    blocked, removed           ->  openportal.blocked, openportal.removed

The portals `openportal`, `system` and `instance` are internal: their "projects" would be groups of the system itself,
so no project of theirs has a name here. A local user name does not hold the portal, so two portals with a project of
the same name meet in it; whoever makes accounts must look at whose an existing one is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from openportal.errors import ConfigError, GrammarError, InvalidJob
from openportal.grammar.identifiers import (
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
)

MANAGED_GROUP = "openportal"
INTERNAL_PORTALS = frozenset({"openportal", "system", "instance"})
LEGACY_PREFIX = "group."
INSTANCE_PREFIX = "op-"
NAME_MAX_CHARACTERS = 64 + 1 + 64


def local_user(user: UserIdentifier) -> str:
    """The login name of a user."""
    return f"{user.username}.{user.project}"


def project_group(project: ProjectIdentifier) -> str:
    """The group of a project. Raises InvalidJob for the projects of an internal portal."""
    if project.portal in INTERNAL_PORTALS:
        raise InvalidJob(f"{project} belongs to the internal portal {project.portal!r}, which has no projects.")
    return f"{project.portal}.{project.project}"


def legacy_group(project: ProjectIdentifier) -> str:
    """The name that the group of a project had before it held the portal."""
    return f"{LEGACY_PREFIX}{project.project}"


def project_groups(project: ProjectIdentifier) -> tuple[str, str]:
    """Every name that the group of a project may have, the one to make first."""
    return project_group(project), legacy_group(project)


def user_mapping(user: UserIdentifier) -> UserMapping:
    """The mapping of a user by the names of this module. Raises InvalidJob when a name gets too long."""
    group = project_group(user.project_identifier)
    try:
        return UserMapping(user, local_user(user), group)
    except GrammarError as error:
        raise InvalidJob(f"{user} cannot have an account: {error}") from error


def project_mapping(project: ProjectIdentifier) -> ProjectMapping:
    """The mapping of a project by the names of this module. Raises InvalidJob when the name gets too long."""
    group = project_group(project)
    try:
        return ProjectMapping(project, group)
    except GrammarError as error:
        raise InvalidJob(f"{project} cannot have a group: {error}") from error


def is_legacy(group: str) -> bool:
    """True for a group named in the old way."""
    return group.startswith(LEGACY_PREFIX)


def user_of(name: str, project: ProjectIdentifier) -> UserIdentifier | None:
    """The user of `project` whose login name is `name`, if it is one."""
    username, dot, rest = name.partition(".")
    if not dot or rest != project.project:
        return None
    try:
        return UserIdentifier(username, project.project, project.portal)
    except GrammarError:
        return None


def project_of(group: str, portal: PortalIdentifier) -> ProjectIdentifier | None:
    """The project of `portal` whose group is `group`, if it is one; a legacy group counts for any portal."""
    if portal.portal in INTERNAL_PORTALS:
        return None
    for prefix in (f"{portal.portal}.", LEGACY_PREFIX):
        if group.startswith(prefix):
            try:
                return ProjectIdentifier(group.removeprefix(prefix), portal.portal)
            except GrammarError:
                continue
    return None


def instance_group(peer: str) -> str:
    """The group of everything that was made for the peer `name@zone`; zone `default` when there is none."""
    named = peer if "@" in peer else f"{peer}@default"
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in INSTANCE_PREFIX + named)


def is_instance(group: str) -> bool:
    """True for the name of a group that `instance_group` gives."""
    return group.startswith(INSTANCE_PREFIX.replace("-", "_"))


def blocked_group(managed: str = MANAGED_GROUP) -> str:
    """Its members may not log in until they are unblocked."""
    return f"{managed}.blocked"


def removed_group(managed: str = MANAGED_GROUP) -> str:
    """Its members were removed; their login names and ids stay taken."""
    return f"{managed}.removed"


def require_local(mapping: UserMapping) -> None:
    """Raise InvalidJob when the mapping names an e-mail address, which no local system has as a user."""
    if "@" in mapping.local_user:
        raise InvalidJob(f"{mapping.local_user} is an e-mail address; {mapping.user} needs a local user name here.")


def parse_groups(text: str) -> tuple[str, ...]:
    """The setting `system-groups`: group names with commas between."""
    return tuple(dict.fromkeys(_checked(name.strip()) for name in text.split(",") if name.strip()))


def parse_instance_groups(text: str) -> dict[str, tuple[str, ...]]:
    """The setting `instance-groups`: pairs `peer:group` with commas between; a peer is `name` or `name@zone`."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        peer, colon, group = (part.strip() for part in pair.partition(":"))
        if not (peer and colon and group):
            raise ConfigError(f"instance-groups: {pair!r} is not a pair like shared:mpi or shared@default:mpi.")
        found[peer] = tuple(dict.fromkeys((*found.get(peer, ()), _checked(group))))
    return found


def groups_for(peer: str, by_peer: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The groups configured for the peer `name@zone`, by its full name and by its name alone."""
    name = peer.partition("@")[0]
    keys = dict.fromkeys((peer, name))
    return tuple(dict.fromkeys(group for key in keys for group in by_peer.get(key, ())))


def _checked(name: str) -> str:
    """A group name from a configuration file, as a tool may get it."""
    plain = all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    if not plain or name.startswith(("-", ".")) or len(name) > NAME_MAX_CHARACTERS:
        raise ConfigError(f"{name!r} is not a group name: letters, digits, '.', '_' and '-' only.")
    return name
