"""What must be done to an account in FreeIPA, given what was found. Pure: nothing is called from here.

    standing     how it is recognised                                     add            remove        block
    ABSENT       no such login name                                       create         -             error
    FOREIGN      its cn names another user of OpenPortal                  error          -             error
    UNFINISHED   made by us, and not all of it: the class still says so   finish         lock, finish  error
    PROTECTED    not in the managed group: made by somebody else          -              -             -
    ACTIVE       in the managed group and enabled                         groups         leave, lock   mark, lock
    BLOCKED      in the managed and the blocked group                     -              leave, lock   lock
    REMOVED      in the managed group and disabled                        groups, enable leave         mark

The verb says what is wanted, and `plan(found, wanted)` the calls that are missing, so a repeat of a finished change
makes no call and a repeat of one that was cut short makes the rest. Calls of one step go to the server together; a step
begins when all of the one before succeeded. Hence the order: a user is created with its class marked as unfinished
and put into its groups, then enabled or disabled, and only then leaves groups and loses the mark. Whatever is cut short
is recognised by its standing, and no standing but UNFINISHED and the one before the change is seen on the way.

FreeIPA can make no user and its memberships in one transaction. Without the mark, an account whose agent died after
`user-add` would look like somebody else's and be left alone for ever.

A removed user keeps its login name, its ids and its place in the managed group. One that other instances have too only
leaves the groups of this one. Groups are never deleted: their ids stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from openportal.agents import naming
from openportal.agents.account.freeipa.calls import (
    ALREADY_ACTIVE,
    ALREADY_INACTIVE,
    DUPLICATE,
    EMPTY_MODLIST,
    Call,
)
from openportal.agents.account.freeipa.entries import OURS, UNFINISHED, Account, Group
from openportal.agents.account.policy import Policy, Standing, require_home
from openportal.errors import InvalidJob, RunError
from openportal.grammar.identifiers import ProjectIdentifier, UserIdentifier, UserMapping

Step = tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be true of an account; groups that are not named, and what is None, stay as they are."""

    join: tuple[str, ...] = ()
    leave: frozenset[str] = frozenset()
    disabled: bool | None = None
    home: str | None = None
    finished: bool = False


def standing(account: Account | None, user: UserIdentifier, policy: Policy, require_class: bool = False) -> Standing:
    """How the account with the login name of `user` stands to us."""
    if account is None:
        return Standing.ABSENT
    if account.user not in (None, user):
        return Standing.FOREIGN
    if UNFINISHED in account.classes:
        return Standing.BLOCKED if policy.blocked in account.groups else Standing.UNFINISHED
    if policy.managed not in account.groups or (require_class and OURS not in account.classes):
        return Standing.PROTECTED
    if policy.blocked in account.groups:
        return Standing.BLOCKED
    return Standing.REMOVED if account.disabled else Standing.ACTIVE


# --- what is wanted ---------------------------------------------------------------------------------------------------


def to_add(user: UserIdentifier, account: Account | None, is_now: Standing, groups: Sequence[str]) -> Wanted | None:
    """An account in these groups, enabled. None: it is to be left alone."""
    if account is not None and is_now is Standing.FOREIGN:
        raise RunError(f"The FreeIPA user {account.name} belongs to {account.user}, so {user} cannot have it.")
    if is_now in (Standing.BLOCKED, Standing.PROTECTED):
        return None
    return Wanted(join=tuple(groups), disabled=False, finished=True)


def to_remove(user: UserIdentifier, account: Account, is_now: Standing, peer: str, policy: Policy) -> Wanted | None:
    """Out of the groups of this instance; disabled and out of all of ours if it was the last one."""
    if is_now in (Standing.FOREIGN, Standing.PROTECTED):
        return None
    mine, others = frozenset(policy.of_peer(peer)), other_instances(account, peer)
    if others:
        shared = (groups for name, groups in policy.by_instance.items() if naming.instance_group(name) in others)
        return Wanted(leave=mine.difference(*shared))
    out = mine | ours(user, account, policy) - {policy.managed}
    return Wanted(join=(policy.managed,), leave=out, disabled=True, finished=True)


def to_block(is_now: Standing, policy: Policy) -> Wanted | None:
    """Disabled, and marked as blocked."""
    if is_now is Standing.PROTECTED:
        return None
    return Wanted(join=(policy.blocked,), disabled=True)


def to_unblock(account: Account, is_now: Standing, policy: Policy) -> Wanted | None:
    """Enabled, unless it was removed meanwhile, and without the mark."""
    if is_now is not Standing.BLOCKED:
        return None
    removed = not instances(account)
    return Wanted(leave=frozenset({policy.blocked}), disabled=None if removed else False)


def to_move(account: Account, is_now: Standing, home: str) -> Wanted:
    """Another home directory. Raises RunError for an account that is not ours."""
    require_home(home)
    if is_now is Standing.PROTECTED:
        raise RunError(f"{account.name} is not managed by OpenPortal, so its home directory is left as it is.")
    return Wanted(home=home)


def require_account(user: UserIdentifier, account: Account | None, is_now: Standing) -> Account:
    """The account of `user`. Raises RunError when there is none, or not yet all of one."""
    if account is None or is_now is Standing.FOREIGN:
        raise RunError(f"User does not exist: {user}")
    if is_now is Standing.UNFINISHED:
        raise RunError(f"User does not exist yet: {user}; its creation was cut short, add it again.")
    return account


# --- the calls --------------------------------------------------------------------------------------------------------


def plan(user: UserIdentifier, found: Account | None, wanted: Wanted) -> list[Step]:
    """The calls that turn what was found into what is wanted."""
    name = naming.local_user(user)
    now = found or Account(name, str(user), "", False, frozenset(), frozenset({OURS, UNFINISHED}))
    joins = [join(name, group) for group in wanted.join if group not in now.groups]
    leaves = [leave(name, group) for group in sorted(wanted.leave & now.groups)]
    lock = wanted.disabled is not None and wanted.disabled != now.disabled
    steps = [
        [*([] if found else [create(user, wanted.home)]), *joins],
        [switch(name, bool(wanted.disabled))] if lock else [],
        [*leaves, *_change(name, now, wanted, is_new=found is None)],
    ]
    return [tuple(step) for step in steps if step]


def create(user: UserIdentifier, home: str | None = None) -> Call:
    """A user of ours, marked as unfinished."""
    options = {"givenname": user.username, "sn": user.project, "cn": str(user), "userclass": [OURS, UNFINISHED]}
    if home is not None:
        options["homedirectory"] = home
    return Call("user_add", naming.local_user(user), options, "create user")


def join(user: str, group: str) -> Call:
    return Call("group_add_member", group, {}, "add user to group", members=(user,))


def leave(user: str, group: str) -> Call:
    return Call("group_remove_member", group, {}, "take user out of group", members=(user,))


def switch(user: str, disabled: bool) -> Call:
    """Disable or enable."""
    if disabled:
        return Call("user_disable", user, {}, "disable user", frozenset({ALREADY_INACTIVE}))
    return Call("user_enable", user, {}, "enable user", frozenset({ALREADY_ACTIVE}))


def _change(name: str, now: Account, wanted: Wanted, is_new: bool) -> list[Call]:
    """What one `user-mod` does: take the mark away, set the home directory."""
    accept = frozenset({EMPTY_MODLIST})
    if wanted.finished and UNFINISHED in now.classes:
        classes = sorted(now.classes - {UNFINISHED} | {OURS})
        return [Call("user_mod", name, {"userclass": classes}, "finish user", accept)]
    if wanted.home is not None and wanted.home != now.home and not is_new:
        return [Call("user_mod", name, {"homedirectory": wanted.home}, "set home directory", accept)]
    return []


# --- groups -----------------------------------------------------------------------------------------------------------


def make_group(name: str, project: ProjectIdentifier | None = None) -> Call:
    """A group with its meaning in the description; a project's must not be there already, or it is somebody else's."""
    words = f"{project} | Project {project} of OpenPortal" if project else f"{name} of OpenPortal"
    accept = frozenset() if project else frozenset({DUPLICATE})
    return Call("group_add", name, {"description": words}, "create group", accept)


def project_group(
    project: ProjectIdentifier, named: Group | None, legacy: Group | None, policy: Policy
) -> Group | None:
    """The group of a project among those with its names. Raises when the name has another meaning."""
    name = naming.project_group(project)
    if name in policy.reserved:
        raise InvalidJob(f"The group {name} has a meaning of its own here and cannot be a project's.")
    if named is not None:
        if named.project != project:
            raise RunError(
                f"The FreeIPA group {name} was not made for {project} (its description says {named.description!r}); "
                f"if it is that project's, `op-freeipa adopt` it."
            )
        return named
    return legacy if legacy is not None and legacy.project in (None, project) else None


def require_lower(*names: str) -> None:
    """Raise InvalidJob for a name that FreeIPA would store as another one."""
    for name in names:
        if name != name.lower():
            raise InvalidJob(f"{name} cannot be a name in FreeIPA, which knows lower case only.")


def mapping(user: UserIdentifier, account: Account | None) -> UserMapping:
    """The user with its login name and its project's group: the legacy one only where it has no other."""
    usual = naming.user_mapping(user)
    legacy = naming.legacy_group(user.project_identifier)
    if account is not None and legacy in account.groups and usual.local_group not in account.groups:
        return UserMapping(user, usual.local_user, legacy)
    return usual


def instances(account: Account) -> frozenset[str]:
    """The groups of instances that it is in."""
    return frozenset(group for group in account.groups if naming.is_instance(group))


def other_instances(account: Account, peer: str) -> frozenset[str]:
    return instances(account) - {naming.instance_group(peer)}


def ours(user: UserIdentifier, account: Account, policy: Policy) -> frozenset[str]:
    """The groups that we put users into, of those that it is in; a site's other groups are its own."""
    known: Iterable[str] = (*policy.reserved, *naming.project_groups(user.project_identifier))
    return account.groups & frozenset(known) | instances(account)


def is_added(account: Account, is_now: Standing, groups: Iterable[str]) -> bool:
    return is_now is Standing.ACTIVE and account.groups.issuperset(groups)


def is_removed(account: Account, is_now: Standing, peer: str, policy: Policy) -> bool:
    """Out of this instance's groups, and disabled unless another instance has it."""
    if is_now in (Standing.BLOCKED, Standing.UNFINISHED) or not account.groups.isdisjoint(policy.of_peer(peer)):
        return False
    return account.disabled or bool(other_instances(account, peer))
