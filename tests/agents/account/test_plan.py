"""The table at the top of `plan.py`, cell by cell."""

from __future__ import annotations

import pytest

from openportal.agents.account import plan
from openportal.agents.account.plan import Account, Group
from openportal.agents.account.policy import Policy, Standing, require_home
from openportal.errors import InvalidJob, RunError
from openportal.grammar.identifiers import ProjectIdentifier, UserIdentifier

ALICE = UserIdentifier.parse("alice.demo.brics")
DEMO = ALICE.project_identifier
POLICY = Policy(system=("users",), by_instance={"shared": ("mpi",)})
WANTED = ("brics.demo", "openportal", "op_shared_default", "users", "mpi")


def account(*groups: str, comment: str = "alice.demo.brics") -> Account:
    return Account("alice.demo", comment, "/home/alice.demo", frozenset(groups))


ACCOUNTS: dict[Standing, Account | None] = {
    Standing.ABSENT: None,
    Standing.FOREIGN: account("openportal", comment="alice.demo.other"),
    Standing.PROTECTED: account("users"),
    Standing.ACTIVE: account(*WANTED),
    Standing.BLOCKED: account(*WANTED, "openportal.blocked"),
    Standing.REMOVED: account("openportal", "openportal.removed"),
}


def lines(calls: list[plan.Call]) -> list[str]:
    return [" ".join((call.tool, *call.arguments)) for call in calls]


@pytest.mark.parametrize("wanted", ACCOUNTS)
def test_standing(wanted: Standing) -> None:
    assert plan.standing(ACCOUNTS[wanted], ALICE, POLICY) is wanted


@pytest.mark.parametrize("comment", ["", "Alice", "Alice,,,", "alice.demo.brics,room 1"])
def test_an_account_without_an_owner_in_its_comment_is_taken_for_ours(comment: str) -> None:
    assert plan.standing(account("openportal", comment=comment), ALICE, POLICY) is Standing.ACTIVE


def test_wanted_groups() -> None:
    assert POLICY.wanted(ALICE, "shared@default") == WANTED
    assert POLICY.wanted(ALICE, "other@default") == ("brics.demo", "openportal", "op_other_default", "users")


def test_create() -> None:
    assert lines(plan.add_user(ALICE, None, WANTED, ("brics.demo", "mpi"), POLICY)) == [
        "groupadd -- brics.demo",
        "groupadd -- mpi",
        "useradd -c alice.demo.brics -d /home/alice.demo -M -s /bin/bash"
        " -G brics.demo,openportal,op_shared_default,users,mpi -- alice.demo",
    ]


ADD = {
    Standing.PROTECTED: [],
    Standing.ACTIVE: [],
    Standing.BLOCKED: [],
    Standing.REMOVED: [
        "usermod -U -e  -G brics.demo,openportal,op_shared_default,users,mpi -- alice.demo",
    ],
}
DISABLE = ["usermod -L -e 1 -G openportal,openportal.removed -- alice.demo"]
REMOVE = {
    Standing.ABSENT: [],
    Standing.FOREIGN: [],
    Standing.PROTECTED: [],
    Standing.ACTIVE: DISABLE,
    Standing.BLOCKED: DISABLE,
    Standing.REMOVED: [],
}
BLOCK = ["usermod -L -e 1 -a -G openportal.blocked -- alice.demo"]
BLOCKING = {
    Standing.PROTECTED: [],
    Standing.ACTIVE: BLOCK,
    Standing.BLOCKED: [],
    Standing.REMOVED: BLOCK,
}
UNBLOCKING = {
    Standing.PROTECTED: [],
    Standing.ACTIVE: [],
    Standing.BLOCKED: ["usermod -U -e  -- alice.demo", "gpasswd -d alice.demo -- openportal.blocked"],
    Standing.REMOVED: [],
}


@pytest.mark.parametrize("found", ADD)
def test_add(found: Standing) -> None:
    assert lines(plan.add_user(ALICE, ACCOUNTS[found], WANTED, (), POLICY)) == ADD[found]


@pytest.mark.parametrize("found", REMOVE)
def test_remove(found: Standing) -> None:
    assert lines(plan.remove_user(ALICE, ACCOUNTS[found], (), POLICY)) == REMOVE[found]


@pytest.mark.parametrize("found", BLOCKING)
def test_block(found: Standing) -> None:
    assert lines(plan.block_user(ALICE, ACCOUNTS[found], (), POLICY)) == BLOCKING[found]


@pytest.mark.parametrize("found", UNBLOCKING)
def test_unblock(found: Standing) -> None:
    assert lines(plan.unblock_user(ALICE, ACCOUNTS[found], POLICY)) == UNBLOCKING[found]


def test_an_active_account_gets_the_groups_it_lacks() -> None:
    found = account("openportal", "brics.demo", "hand-made")
    assert lines(plan.add_user(ALICE, found, WANTED, (), POLICY)) == [
        "usermod -a -G op_shared_default,users,mpi -- alice.demo"
    ]


def test_marker_groups_are_made_when_they_are_missing() -> None:
    active = ACCOUNTS[Standing.ACTIVE]
    assert lines(plan.remove_user(ALICE, active, ["openportal.removed"], POLICY))[0] == "groupadd -- openportal.removed"
    assert lines(plan.block_user(ALICE, active, ["openportal.blocked"], POLICY))[0] == "groupadd -- openportal.blocked"


def test_unblocking_a_removed_account_does_not_enable_it() -> None:
    found = account("openportal", "openportal.removed", "openportal.blocked")
    assert lines(plan.unblock_user(ALICE, found, POLICY)) == ["gpasswd -d alice.demo -- openportal.blocked"]


def test_the_account_of_another_portals_user_is_not_taken() -> None:
    foreign = ACCOUNTS[Standing.FOREIGN]
    with pytest.raises(RunError, match=r"belongs to alice\.demo\.other"):
        plan.add_user(ALICE, foreign, WANTED, (), POLICY)
    for found in (foreign, None):
        with pytest.raises(RunError, match=r"User does not exist: alice\.demo\.brics"):
            plan.block_user(ALICE, found, (), POLICY)
        with pytest.raises(RunError, match="does not exist"):
            plan.unblock_user(ALICE, found, POLICY)
        with pytest.raises(RunError, match="does not exist"):
            plan.update_home(ALICE, found, "/home/x", POLICY)


def test_update_home() -> None:
    active = ACCOUNTS[Standing.ACTIVE]
    assert plan.update_home(ALICE, active, "/home/alice.demo", POLICY) == []
    assert lines(plan.update_home(ALICE, active, "/srv/alice", POLICY)) == ["usermod -d /srv/alice -- alice.demo"]
    with pytest.raises(RunError, match="not managed"):
        plan.update_home(ALICE, ACCOUNTS[Standing.PROTECTED], "/srv/alice", POLICY)


@pytest.mark.parametrize("home", ["", "home", "-d", "/", "//", "/a/../b", "/a:b", "/a\nb", "/a\0b", "/" + "a" * 2000])
def test_homes_that_are_refused(home: str) -> None:
    with pytest.raises(InvalidJob, match="home directory"):
        require_home(home)


def test_project_groups() -> None:
    assert lines(plan.add_project(DEMO, None, None, POLICY)) == ["groupadd -- brics.demo"]
    assert plan.add_project(DEMO, Group("brics.demo", 1001), None, POLICY) == []
    with pytest.raises(RunError, match="belongs to the system"):
        plan.add_project(DEMO, Group("brics.demo", 999), None, POLICY)
    with pytest.raises(RunError, match="private group"):
        plan.add_project(DEMO, None, Account("brics.demo", "", "/"), POLICY)
    with pytest.raises(InvalidJob, match="internal portal"):
        plan.add_project(ProjectIdentifier.parse("docker.system"), None, None, POLICY)
    with pytest.raises(InvalidJob, match="meaning of its own"):
        plan.add_project(ProjectIdentifier.parse("blocked.brics"), None, None, Policy(managed="brics"))


@pytest.mark.parametrize(
    "group",
    [
        None,
        Group("brics.demo", 999),
        Group("brics.demo", 1001, ("somebody",)),
        Group("openportal", 1001),
        Group("mpi", 1001),
    ],
)
def test_groups_that_are_not_deleted(group: Group | None) -> None:
    assert plan.delete_group(group, POLICY) == []


def test_an_empty_project_group_is_deleted() -> None:
    assert lines(plan.delete_group(Group("brics.demo", 1000), POLICY)) == ["groupdel -- brics.demo"]


def test_policy_from_settings() -> None:
    policy = Policy.of({"managed-group": "op", "system-groups": "a,b", "instance-groups": "shared:c"})
    assert policy == Policy("op", ("a", "b"), {"shared": ("c",)})
    assert policy.reserved == {"op", "op.blocked", "op.removed", "a", "b", "c"}
    assert Policy.of({}) == Policy()
