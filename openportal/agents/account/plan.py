"""What must be done to a local account or group, given what was found. Pure: no tool is run from here.

    standing    how it is recognised                                        add        remove     block
    ABSENT      no such login name                                          create     -          error
    FOREIGN     the comment names another user of OpenPortal                error      -          error
    PROTECTED   not in the managed group: made by somebody else             -          -          -
    ACTIVE      in the managed group                                        groups     disable    lock
    BLOCKED     in the managed and the blocked group                        -          disable    -
    REMOVED     in the managed and the removed group                        enable     -          mark

Group membership is the record: a call that locks an account also puts it into its group, and the shadow tools write
the groups last. So whatever is cut short is found unfinished and done again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from openportal.agents import naming
from openportal.agents.account.policy import Policy, Standing, require_home
from openportal.errors import GrammarError, InvalidJob, RunError
from openportal.grammar.identifiers import ProjectIdentifier, UserIdentifier

FIRST_GID = 1000
SHELL = "/bin/bash"
EXPIRED = ("-e", "1")
NEVER_EXPIRES = ("-e", "")

GROUP_EXISTS = 9
NO_SUCH_GROUP = 6
PRIMARY_GROUP = 8
NOT_A_MEMBER = 3


@dataclass(frozen=True, slots=True)
class Account:
    """A login name as the system knows it; `groups` are the supplementary ones."""

    name: str
    comment: str
    home: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the system knows it."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One run of one tool; `accept` holds the exit codes that mean it is as wanted."""

    tool: str
    arguments: tuple[str, ...]
    action: str
    target: str
    accept: frozenset[int] = frozenset({0})


def standing(account: Account | None, user: UserIdentifier, policy: Policy) -> Standing:
    """How the account with the login name of `user` stands to us."""
    if account is None:
        return Standing.ABSENT
    if _owner(account) not in (None, str(user)):
        return Standing.FOREIGN
    if policy.managed not in account.groups:
        return Standing.PROTECTED
    if policy.blocked in account.groups:
        return Standing.BLOCKED
    return Standing.REMOVED if policy.removed in account.groups else Standing.ACTIVE


def add_project(
    project: ProjectIdentifier, group: Group | None, namesake: Account | None, policy: Policy
) -> list[Call]:
    """The group of a project; refuses groups of the system and private groups of a user."""
    name = naming.project_group(project)
    require_project_group(name, group, namesake, policy)
    return [] if group else [make_group(name)]


def require_project_group(name: str, group: Group | None, namesake: Account | None, policy: Policy) -> None:
    """Raise when `name` cannot be a project's group on this system."""
    if name in policy.reserved:
        raise InvalidJob(f"The group {name} has a meaning of its own here and cannot be a project's.")
    if namesake is not None:
        raise RunError(f"The group {name} is the private group of the user of that name and cannot be a project's.")
    if group is not None and group.gid < FIRST_GID:
        raise RunError(f"The group {name} (gid {group.gid}) belongs to the system and cannot be a project's.")


def delete_group(group: Group | None, policy: Policy) -> list[Call]:
    """Delete a project's group, unless it is the system's, is reserved or has members left."""
    if group is None or group.members or group.gid < FIRST_GID or group.name in policy.reserved:
        return []
    accept = frozenset({0, NO_SUCH_GROUP, PRIMARY_GROUP})
    return [Call("groupdel", ("--", group.name), "delete group", group.name, accept)]


def add_user(
    user: UserIdentifier, account: Account | None, wanted: Iterable[str], missing: Iterable[str], policy: Policy
) -> list[Call]:
    """Create, complete or re-enable the account of `user`; `missing` are the wanted groups that do not exist."""
    groups, name, is_now = tuple(wanted), naming.local_user(user), standing(account, user, policy)
    if account is not None and is_now is Standing.FOREIGN:
        raise RunError(f"The local user {name} belongs to {_owner(account)}, so {user} cannot have it.")
    if is_now in (Standing.BLOCKED, Standing.PROTECTED):
        return []
    made = [make_group(group) for group in missing]
    if account is None:
        return [*made, _create(name, str(user), groups)]
    if is_now is Standing.REMOVED:
        return [*made, _usermod("enable user", name, "-U", *NEVER_EXPIRES, "-G", ",".join(groups))]
    lacking = [group for group in groups if group not in account.groups]
    return [*made, _usermod("add user to groups", name, "-a", "-G", ",".join(lacking))] if lacking else made


def remove_user(user: UserIdentifier, account: Account | None, missing: Collection[str], policy: Policy) -> list[Call]:
    """Lock and expire the account and take it out of every group but the managed and the removed one."""
    if account is None or standing(account, user, policy) in (Standing.FOREIGN, Standing.PROTECTED):
        return []
    if is_stripped(account, policy):
        return []
    groups = ",".join((policy.managed, policy.removed))
    return [*_marker(policy.removed, missing), _usermod("disable user", account.name, "-L", *EXPIRED, "-G", groups)]


def block_user(user: UserIdentifier, account: Account | None, missing: Collection[str], policy: Policy) -> list[Call]:
    """Lock and expire the account and put it into the blocked group."""
    found = require_account(user, account, policy)
    if standing(found, user, policy) in (Standing.BLOCKED, Standing.PROTECTED):
        return []
    lock = _usermod("block user", found.name, "-L", *EXPIRED, "-a", "-G", policy.blocked)
    return [*_marker(policy.blocked, missing), lock]


def unblock_user(user: UserIdentifier, account: Account | None, policy: Policy) -> list[Call]:
    """Unlock the account, unless it was removed meanwhile, then take it out of the blocked group."""
    found = require_account(user, account, policy)
    if standing(found, user, policy) is not Standing.BLOCKED:
        return []
    unlock = [] if policy.removed in found.groups else [_usermod("unlock user", found.name, "-U", *NEVER_EXPIRES)]
    arguments = ("-d", found.name, "--", policy.blocked)
    return [*unlock, Call("gpasswd", arguments, "unblock user", found.name, frozenset({0, NOT_A_MEMBER}))]


def update_home(user: UserIdentifier, account: Account | None, home: str, policy: Policy) -> list[Call]:
    """Record another home directory for an account of ours."""
    require_home(home)
    found = require_account(user, account, policy)
    if standing(found, user, policy) is Standing.PROTECTED:
        raise RunError(f"{found.name} is not managed by OpenPortal, so its home directory is left as it is.")
    return [] if found.home == home else [_usermod("set home directory", found.name, "-d", home)]


def require_account(user: UserIdentifier, account: Account | None, policy: Policy) -> Account:
    """The account of `user`. Raises RunError when there is none."""
    if account is None or standing(account, user, policy) is Standing.FOREIGN:
        raise RunError(f"User does not exist: {user}")
    return account


def is_stripped(account: Account, policy: Policy) -> bool:
    """True when the account is removed and in no other group any more."""
    return account.groups == {policy.managed, policy.removed}


def make_group(name: str) -> Call:
    """Create a group; somebody else may be faster."""
    return Call("groupadd", ("--", name), "create group", name, frozenset({0, GROUP_EXISTS}))


def _marker(group: str, missing: Collection[str]) -> list[Call]:
    return [make_group(group)] if group in missing else []


def _create(name: str, comment: str, groups: tuple[str, ...]) -> Call:
    """In one call with its groups, so that no account of ours is ever without its mark."""
    options = ("-c", comment, "-d", f"/home/{name}", "-M", "-s", SHELL, "-G", ",".join(groups))
    return Call("useradd", (*options, "--", name), "create user", name)


def _usermod(action: str, name: str, *options: str) -> Call:
    return Call("usermod", (*options, "--", name), action, name)


def _owner(account: Account) -> str | None:
    """The user of OpenPortal whose account this is, where the comment says so."""
    try:
        return str(UserIdentifier.parse(account.comment.partition(",")[0]))
    except GrammarError:
        return None
