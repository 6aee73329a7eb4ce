"""What Slurm has, against what we made of it by our own ledger. PURE.

    missing   we made it, and Slurm does not have it                                  repaired
    changed   Slurm has it otherwise: another parent, default account or lower limit  repaired
    taken     the account is of another organisation now                              shown
    raised    a limit is higher than was asked for; what the site bears may be in it  shown
    foreign   it is marked as ours in Slurm, and we did not make it                   shown

A repair is the instruction that made it, once more: it looks before it changes anything, and is recorded like any
other. Nothing is ever removed. When Slurm shows nothing at all of what we made, that is not believed: it is more likely
the wrong cluster, or an empty answer, than a hundred accounts gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from openportal.agents.scheduler.slurm import limits, plan
from openportal.agents.scheduler.slurm.made import Made
from openportal.agents.scheduler.slurm.plan import Found, Target
from openportal.agents.scheduler.slurm.transport import Account, Association, User
from openportal.errors import InvalidJob, RunError
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.grammar.quantities import Node

MISSING: Final = "missing"
CHANGED: Final = "changed"
TAKEN: Final = "taken"
RAISED: Final = "raised"
FOREIGN: Final = "foreign"


@dataclass(frozen=True, slots=True)
class Difference:
    """One of them. `repair` is the instruction that sets it right, if there is one."""

    kind: str
    what: str
    name: str
    detail: str
    repair: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a cluster has, all of it."""

    cluster: str
    accounts: Mapping[str, Account]
    associations: Mapping[str, Sequence[Association]]
    users: Mapping[str, User]

    @classmethod
    def of(
        cls, cluster: str, accounts: Iterable[Account], associations: Iterable[Association], users: Iterable[User]
    ) -> Seen:
        by_account: defaultdict[str, list[Association]] = defaultdict(list)
        for one in associations:
            by_account[one.account].append(one)
        return cls(cluster, {one.name: one for one in accounts}, by_account, {user.name: user for user in users})

    def found(self, account: str) -> Found:
        return Found(self.accounts.get(account), tuple(self.associations.get(account, ())))


def compare(made: Made, seen: Seen, parent: str, node: Node) -> list[Difference]:
    """Every difference: accounts, then limits, then users."""
    targets = dict(_targets(made, seen.cluster, parent))
    found = [
        *(one for mapping, target in targets.items() for one in _project(mapping, target, made, seen, node)),
        *(one for mapping, is_there in made.users.items() if is_there for one in _user(mapping, targets, seen)),
        *_foreign(made, targets.values(), seen, parent),
    ]
    return sorted(found, key=lambda one: (one.what, one.kind, one.name))


def require_believable(made: Made, seen: Seen, parent: str) -> None:
    """Raise RunError when Slurm shows nothing of what we made."""
    ours = [target.account for _, target in _targets(made, seen.cluster, parent)]
    if ours and not any(seen.found(account).own for account in ours):
        raise RunError(
            f"Slurm shows none of the {len(ours)} accounts that were made, so what it says is not believed: is "
            f"{seen.cluster} the cluster (slurm-cluster)? If they are really gone, say --all-are-gone."
        )


def _targets(made: Made, cluster: str, parent: str) -> Iterator[tuple[ProjectMapping, Target]]:
    """The projects that are there; one that could have no account any more, by new settings, is left out."""
    for mapping, is_there in made.projects.items():
        if is_there:
            try:
                yield mapping, Target.of(mapping, cluster, parent)
            except InvalidJob:
                continue


def _project(mapping: ProjectMapping, target: Target, made: Made, seen: Seen, node: Node) -> Iterator[Difference]:
    found = seen.found(target.account)
    again = f"add_local_project {mapping}"
    if found.account is None or found.own is None:
        where = f"not on the cluster {target.cluster}" if found.account else "no such account"
        yield Difference(MISSING, "account", target.account, where, again)
    elif not plan.is_managed(found.account):
        yield Difference(TAKEN, "account", target.account, f"of the organisation {found.account.organization}")
        return
    elif found.own.parent != target.parent:
        detail = f"beneath {found.own.parent or 'nothing'}, not {target.parent}"
        yield Difference(CHANGED, "account", target.account, detail, again)
    if mapping in made.limits:
        yield from _limit(mapping, target, found, made.limits[mapping], node)


def _limit(mapping: ProjectMapping, target: Target, found: Found, seconds: int, node: Node) -> Iterator[Difference]:
    wanted = limits.minutes_of(seconds, node)
    if limits.is_applied(found.minutes, wanted):
        return
    allowed = limits.seconds_of(found.minutes, node)
    detail = f"{seconds} node seconds were asked for, Slurm allows {'any' if allowed is None else allowed}"
    if all(found.minutes.get(name, -1) >= amount for name, amount in wanted.items()):
        yield Difference(RAISED, "limit", target.account, detail)
    else:
        again = f"set_local_limit {mapping} {seconds}"
        yield Difference(CHANGED if found.minutes else MISSING, "limit", target.account, detail, again)


def _user(mapping: UserMapping, targets: Mapping[ProjectMapping, Target], seen: Seen) -> Iterator[Difference]:
    """One whose project is not there any more needs no association."""
    target = targets.get(ProjectMapping(mapping.user.project_identifier, mapping.local_group))
    if target is None:
        return
    name, again = plan.user_name(mapping.local_user), f"add_local_user {mapping}"
    user = seen.users.get(name)
    changes = plan.add_user(target, mapping, user)
    if changes and isinstance(changes[0], plan.SetDefault):
        detail = f"the default account is {user.default_account if user else 'none'}, not {target.account}"
        yield Difference(CHANGED, "user", name, detail, again)
    elif changes:
        yield Difference(MISSING, "user", name, f"not in the account {target.account}", again)


def _foreign(made: Made, targets: Iterable[Target], seen: Seen, parent: str) -> Iterator[Difference]:
    """What is marked as ours and was not made by us; what we made and removed is known."""
    removed = [plan.account_name(mapping.local_group) for mapping, is_there in made.projects.items() if not is_there]
    known = {*(target.account for target in targets), *removed, parent}
    members = {(plan.account_name(m.local_group), plan.user_name(m.local_user)) for m in made.users}
    for name, account in seen.accounts.items():
        if not plan.is_managed(account) or name == parent or seen.found(name).own is None:
            continue
        if name not in known:
            yield Difference(FOREIGN, "account", name, account.description or "no description")
            continue
        yield from _strangers(name, seen.associations[name], members)


def _strangers(
    account: str, associations: Sequence[Association], members: set[tuple[str, str]]
) -> Iterator[Difference]:
    for one in associations:
        if one.user and (account, one.user) not in members:
            yield Difference(FOREIGN, "user", one.user, f"in the account {account}")
