"""What in FreeIPA is not as this agent would have left it, and what puts it right. Pure.

    unfinished    a creation was cut short and nobody repeated it       disabled, out of the groups, unmarked
    active        a group is missing that its instance, or all, have    put into it
                  it was made for no instance of this agent             told, as nobody knows whose it is
    blocked       and enabled                                           disabled
    removed       and still in a group of ours                          taken out of it
    any           its name is not the one that its identifier gives     told

What a person did on purpose to an account that is not managed is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openportal.agents import naming
from openportal.agents.account.freeipa import plan
from openportal.agents.account.freeipa.entries import Account
from openportal.agents.account.freeipa.plan import Step, Wanted
from openportal.agents.account.policy import Policy, Standing
from openportal.grammar.identifiers import UserIdentifier


@dataclass(frozen=True, slots=True)
class Drift:
    """One account that is not as it should be: the calls, or what a person must decide."""

    account: str
    words: str
    steps: tuple[Step, ...] = ()
    subject: str = ""


def drift(account: Account, is_now: Standing, peers: Sequence[str], policy: Policy) -> Drift | None:
    """What is wrong with an account that carries our class or is in the managed group; None if nothing is."""
    user = account.user
    if user is None or naming.local_user(user) != account.name:
        return Drift(account.name, f"its identifier {account.identifier!r} does not give this name")
    here = [peer for peer in peers if naming.instance_group(peer) in account.groups]
    if is_now is Standing.ACTIVE and not here and not plan.instances(account):
        return Drift(account.name, "it is enabled and was made for no instance; remove it, or add it again")
    wanted = _wanted(user, account, is_now, here, policy)
    steps = plan.plan(user, account, wanted) if wanted else []
    words = f"it is {is_now.name.lower()} and not all of it"
    return Drift(account.name, words, tuple(steps), str(user)) if steps else None


def _wanted(
    user: UserIdentifier, account: Account, is_now: Standing, here: Sequence[str], policy: Policy
) -> Wanted | None:
    match is_now:
        case Standing.UNFINISHED:
            groups = plan.ours(user, account, policy) - {policy.managed}
            return Wanted(join=(policy.managed,), leave=groups, disabled=True, finished=True)
        case Standing.REMOVED:
            return Wanted(leave=plan.ours(user, account, policy) - {policy.managed})
        case Standing.BLOCKED:
            return Wanted(disabled=True)
        case Standing.ACTIVE:
            own = plan.mapping(user, account).local_group
            others = (group for peer in here for group in policy.wanted(user, peer)[1:])
            return Wanted(join=tuple(dict.fromkeys((own, *others)))) if here else None
        case _:
            return None
