"""Differences between what was made and what Slurm has, as values; on a real Slurm: `test_slurm_reconcile.py`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openportal.agents.scheduler.slurm.made import Made
from openportal.agents.scheduler.slurm.reconcile import (
    CHANGED,
    FOREIGN,
    MISSING,
    RAISED,
    TAKEN,
    Seen,
    compare,
    require_believable,
)
from openportal.agents.scheduler.slurm.transport import Account, Association, User
from openportal.errors import RunError
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.grammar.quantities import Node

PROJECT = ProjectMapping.parse("demo.brics:brics.demo")
ALICE = UserMapping.parse("alice.demo.brics:alice:brics.demo")
NODE = Node(cpus=60)
ACCOUNT = Account("brics.demo", "account for openportal project demo.brics", "openportal")
OWN = Association("main", "brics.demo", parent="root", minutes={"cpu": 100})
MEMBER = Association("main", "brics.demo", "alice")
USER = User("alice", "brics.demo", (MEMBER,))
SITE = Account("physics", "theirs", "site")


def made() -> Made:
    return Made({PROJECT: True}, {ALICE: True}, {PROJECT: 100})


def seen(
    account: Account | None = ACCOUNT, own: Association | None = OWN, user: User | None = USER, *others: Association
) -> Seen:
    accounts = [SITE, *([account] if account else [])]
    members = user.associations if user else ()
    return Seen.of("main", accounts, [*([own] if own else []), *members, *others], [user] if user else [])


def kinds(made: Made, seen: Seen) -> list[tuple[str, str, str, bool]]:
    return [(one.kind, one.what, one.name, one.repair is not None) for one in compare(made, seen, "root", NODE)]


def test_what_is_as_it_was_made_is_no_difference() -> None:
    assert kinds(made(), seen()) == []
    require_believable(made(), seen(), "root")


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (seen(own=replace(OWN, parent="physics")), [(CHANGED, "account", "brics.demo", True)]),
        (seen(own=replace(OWN, minutes={"cpu": 99})), [(CHANGED, "limit", "brics.demo", True)]),
        (seen(own=replace(OWN, minutes={})), [(MISSING, "limit", "brics.demo", True)]),
        (seen(own=replace(OWN, minutes={"cpu": 101})), [(RAISED, "limit", "brics.demo", False)]),
        (seen(account=replace(ACCOUNT, organization="site")), [(TAKEN, "account", "brics.demo", False)]),
        (seen(user=replace(USER, default_account="physics")), [(CHANGED, "user", "alice", True)]),
        (seen(user=None), [(MISSING, "user", "alice", True)]),
        (seen(ACCOUNT, OWN, USER, Association("main", "brics.demo", "bob")), [(FOREIGN, "user", "bob", False)]),
    ],
)
def test_each_difference_by_itself(there: Seen, expected: list[tuple[str, str, str, bool]]) -> None:
    assert kinds(made(), there) == expected


def test_what_is_gone_is_made_again_in_order() -> None:
    there = Seen.of("main", [SITE], [], [])
    assert [one.repair for one in compare(made(), there, "root", NODE)] == [
        f"add_local_project {PROJECT}",
        f"set_local_limit {PROJECT} 100",
        f"add_local_user {ALICE}",
    ]
    with pytest.raises(RunError, match="none of the 1 accounts"):
        require_believable(made(), there, "root")


def test_what_was_removed_may_be_there_or_not() -> None:
    removed = Made({PROJECT: False}, {ALICE: True}, {PROJECT: 100})
    assert kinds(removed, seen()) == []
    nothing = Seen.of("main", [SITE], [], [])
    assert kinds(removed, nothing) == []
    require_believable(removed, nothing, "root")


def test_what_we_did_not_make_is_foreign_if_it_is_marked_as_ours_here() -> None:
    stray = Account("stray", "", "openportal")
    elsewhere = Account("elsewhere", "", "openportal")
    there = Seen.of("main", [SITE, stray, elsewhere], [Association("main", "stray", parent="root")], [])
    assert kinds(Made(), there) == [(FOREIGN, "account", "stray", False)]
    assert compare(Made(), there, "stray", NODE) == [], "the parent is the site's"
