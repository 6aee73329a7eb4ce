"""The table at the top of `reconcile.py`, line by line."""

from __future__ import annotations

import pytest

from openportal.agents.account.freeipa import plan
from openportal.agents.account.freeipa.entries import OURS, UNFINISHED, Account
from openportal.agents.account.freeipa.reconcile import drift
from openportal.agents.account.policy import Policy
from openportal.grammar.identifiers import UserIdentifier

ALICE = UserIdentifier.parse("alice.demo.brics")
POLICY = Policy(system=("hpc",), by_instance={"shared": ("mpi",)})
PEERS = ("shared@default",)
ALL = ("brics.demo", "openportal", "op_shared_default", "hpc", "mpi")


def account(*groups: str, disabled: bool = False, classes: tuple[str, ...] = (OURS,), cn: str = str(ALICE)) -> Account:
    return Account("alice.demo", cn, "/home/alice.demo", disabled, frozenset(("ipausers", *groups)), frozenset(classes))


def repairs(found: Account) -> list[list[str]] | str | None:
    """The calls; the words where there are none; None where nothing is wrong."""
    is_now = plan.standing(found, ALICE, POLICY)
    one = drift(found, is_now, PEERS, POLICY)
    if one is None or not one.steps:
        return one and one.words
    return [[f"{call.method} {call.name}" for call in step] for step in one.steps]


@pytest.mark.parametrize(
    "found",
    [
        account(*ALL),
        account(*ALL, "openportal.blocked", disabled=True),
        account("openportal", disabled=True),
        account("staff"),
        account("openportal", "brics.demo", "op_gpu_default"),
        account("group.demo", *ALL[1:]),
    ],
)
def test_nothing_is_wrong(found: Account) -> None:
    assert repairs(found) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (account(*ALL[:3]), [["group_add_member hpc", "group_add_member mpi"]]),
        (account("openportal", "op_shared_default", "hpc", "mpi"), [["group_add_member brics.demo"]]),
        (account(*ALL, "openportal.blocked"), [["user_disable alice.demo"]]),
        (account("openportal", "brics.demo", "staff", disabled=True), [["group_remove_member brics.demo"]]),
        (
            account("brics.demo", classes=(OURS, UNFINISHED)),
            [
                ["group_add_member openportal"],
                ["user_disable alice.demo"],
                ["group_remove_member brics.demo", "user_mod alice.demo"],
            ],
        ),
        (account("openportal"), "it is enabled and was made for no instance; remove it, or add it again"),
        (account(*ALL, cn="bob.demo.brics"), "its identifier 'bob.demo.brics' does not give this name"),
        (account(*ALL, cn="Alice Smith"), "its identifier 'Alice Smith' does not give this name"),
    ],
)
def test_what_is_wrong_and_what_puts_it_right(found: Account, expected: object) -> None:
    assert repairs(found) == expected
