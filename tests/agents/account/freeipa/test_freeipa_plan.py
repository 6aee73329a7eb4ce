"""The table at the top of `plan.py`, cell by cell, and what holds for every account whatever its state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.agents.account.freeipa import plan
from openportal.agents.account.freeipa.calls import Call
from openportal.agents.account.freeipa.entries import OURS, UNFINISHED, Account, Group
from openportal.agents.account.freeipa.plan import Wanted
from openportal.agents.account.policy import Policy, Standing
from openportal.errors import InvalidJob, RunError
from openportal.grammar.identifiers import ProjectIdentifier, UserIdentifier

ALICE = UserIdentifier.parse("alice.demo.brics")
DEMO = ProjectIdentifier.parse("demo.brics")
PEER, HERE, THERE = "shared@default", "op_shared_default", "op_gpu_default"
POLICY = Policy(system=("hpc",), by_instance={"shared": ("mpi",), "gpu": ("cuda",)})
WANTED = ("brics.demo", "openportal", HERE, "hpc", "mpi")


def account(*groups: str, disabled: bool = False, classes: tuple[str, ...] = (OURS,), cn: str = str(ALICE)) -> Account:
    return Account("alice.demo", cn, "/home/alice.demo", disabled, frozenset(("ipausers", *groups)), frozenset(classes))


ACCOUNTS = {
    Standing.ABSENT: None,
    Standing.FOREIGN: account(*WANTED, cn="alice.demo.other"),
    Standing.UNFINISHED: account("openportal", classes=(OURS, UNFINISHED)),
    Standing.PROTECTED: account("brics.demo", "staff"),
    Standing.ACTIVE: account(*WANTED, "staff"),
    Standing.BLOCKED: account(*WANTED, "openportal.blocked", disabled=True),
    Standing.REMOVED: account("openportal", "staff", disabled=True),
}


def lines(found: Account | None, wanted: Wanted | None) -> list[list[str]]:
    """The plan as an administrator would type it, step by step, without what every line of a kind shares."""
    steps = plan.plan(ALICE, found, wanted) if wanted else []
    return [[short(call) for call in step] for step in steps]


def short(call: Call) -> str:
    method = call.method.removeprefix("group_").removesuffix("_member")
    return f"{method} {call.name}" if call.members else call.method


def stand(found: Account | None) -> Standing:
    return plan.standing(found, ALICE, POLICY)


@pytest.mark.parametrize("wanted", ACCOUNTS)
def test_standing(wanted: Standing) -> None:
    assert stand(ACCOUNTS[wanted]) is wanted


def test_a_class_may_be_required_beside_the_group() -> None:
    found = account("openportal", classes=())
    assert stand(found) is Standing.ACTIVE
    assert plan.standing(found, ALICE, POLICY, require_class=True) is Standing.PROTECTED


def test_an_account_that_names_nobody_may_be_ours() -> None:
    assert stand(account("openportal", cn="Alice Smith")) is Standing.ACTIVE


ADD = {
    Standing.ABSENT: [["user_add", *(f"add {group}" for group in WANTED)], ["user_mod"]],
    Standing.UNFINISHED: [["add brics.demo", f"add {HERE}", "add hpc", "add mpi"], ["user_mod"]],
    Standing.PROTECTED: [],
    Standing.ACTIVE: [],
    Standing.BLOCKED: [],
    Standing.REMOVED: [["add brics.demo", f"add {HERE}", "add hpc", "add mpi"], ["user_enable"]],
}
OUT = ["remove brics.demo", "remove hpc", "remove mpi", f"remove {HERE}"]
REMOVE = {
    Standing.FOREIGN: [],
    Standing.UNFINISHED: [["user_disable"], ["user_mod"]],
    Standing.PROTECTED: [],
    Standing.ACTIVE: [["user_disable"], OUT],
    Standing.BLOCKED: [[*OUT[:-1], f"remove {HERE}", "remove openportal.blocked"]],
    Standing.REMOVED: [],
}
BLOCK = {
    Standing.PROTECTED: [],
    Standing.ACTIVE: [["add openportal.blocked"], ["user_disable"]],
    Standing.BLOCKED: [],
    Standing.REMOVED: [["add openportal.blocked"]],
}
UNBLOCK = {
    Standing.PROTECTED: [],
    Standing.ACTIVE: [],
    Standing.BLOCKED: [["user_enable"], ["remove openportal.blocked"]],
    Standing.REMOVED: [],
}


@pytest.mark.parametrize("found", ADD)
def test_adding(found: Standing) -> None:
    assert lines(ACCOUNTS[found], plan.to_add(ALICE, ACCOUNTS[found], found, WANTED)) == ADD[found]


@pytest.mark.parametrize("found", REMOVE)
def test_removing(found: Standing) -> None:
    there = ACCOUNTS[found]
    assert there is not None
    assert lines(there, plan.to_remove(ALICE, there, found, PEER, POLICY)) == REMOVE[found]


@pytest.mark.parametrize("found", BLOCK)
def test_blocking(found: Standing) -> None:
    assert lines(ACCOUNTS[found], plan.to_block(found, POLICY)) == BLOCK[found]


@pytest.mark.parametrize("found", UNBLOCK)
def test_unblocking(found: Standing) -> None:
    there = ACCOUNTS[found]
    assert there is not None
    assert lines(there, plan.to_unblock(there, found, POLICY)) == UNBLOCK[found]


def test_a_block_that_was_cut_short_is_completed() -> None:
    found = account(*WANTED, "openportal.blocked")
    assert lines(found, plan.to_block(stand(found), POLICY)) == [["user_disable"]]


def test_an_unblock_that_was_cut_short_is_completed() -> None:
    found = account(*WANTED, "openportal.blocked", disabled=False)
    assert lines(found, plan.to_unblock(found, stand(found), POLICY)) == [["remove openportal.blocked"]]


def test_whoever_was_removed_while_blocked_stays_disabled() -> None:
    found = account("openportal", "openportal.blocked", disabled=True)
    assert lines(found, plan.to_unblock(found, stand(found), POLICY)) == [["remove openportal.blocked"]]


def test_a_user_of_two_instances_only_leaves_the_groups_of_one() -> None:
    found = account(*WANTED, THERE, "cuda")
    assert lines(found, plan.to_remove(ALICE, found, stand(found), PEER, POLICY)) == [["remove mpi", f"remove {HERE}"]]


def test_a_group_that_both_instances_give_stays_for_the_other() -> None:
    policy = Policy(by_instance={"shared": ("mpi",), "gpu": ("mpi",)})
    found = account("brics.demo", "openportal", HERE, THERE, "mpi")
    assert lines(found, plan.to_remove(ALICE, found, Standing.ACTIVE, PEER, policy)) == [[f"remove {HERE}"]]


def test_who_has_the_name_is_told_when_somebody_else_has_it() -> None:
    with pytest.raises(RunError, match=r"belongs to alice\.demo\.other"):
        plan.to_add(ALICE, ACCOUNTS[Standing.FOREIGN], Standing.FOREIGN, WANTED)


@pytest.mark.parametrize("found", [Standing.ABSENT, Standing.FOREIGN, Standing.UNFINISHED])
def test_an_account_that_must_be_there(found: Standing) -> None:
    with pytest.raises(RunError, match="User does not exist"):
        plan.require_account(ALICE, ACCOUNTS[found], found)


def test_home_directories() -> None:
    active = ACCOUNTS[Standing.ACTIVE]
    assert active is not None
    assert lines(active, plan.to_move(active, Standing.ACTIVE, "/home/alice.demo")) == []
    assert lines(active, plan.to_move(active, Standing.ACTIVE, "/srv/alice")) == [["user_mod"]]
    with pytest.raises(RunError, match="not managed"):
        plan.to_move(active, Standing.PROTECTED, "/srv/alice")
    with pytest.raises(InvalidJob):
        plan.to_move(active, Standing.ACTIVE, "/")


def test_projects() -> None:
    ours, legacy = Group("brics.demo", "demo.brics | words"), Group("group.demo", "Our old one")
    assert plan.project_group(DEMO, ours, legacy, POLICY) == ours
    assert plan.project_group(DEMO, None, legacy, POLICY) == legacy
    assert plan.project_group(DEMO, None, replace(legacy, description="demo.other | x"), POLICY) is None
    with pytest.raises(RunError, match="op-freeipa adopt"):
        plan.project_group(DEMO, replace(ours, description="The staff"), None, POLICY)
    with pytest.raises(InvalidJob, match="internal portal"):
        plan.project_group(ProjectIdentifier.parse("docker.system"), None, None, POLICY)
    with pytest.raises(InvalidJob, match="meaning of its own"):
        plan.project_group(DEMO, None, None, Policy(system=("brics.demo",)))


def test_names_are_lower_case() -> None:
    plan.require_lower("alice.demo", "brics.demo")
    with pytest.raises(InvalidJob, match="lower case"):
        plan.require_lower("Alice.demo")


def test_the_mapping_names_the_legacy_group_only_of_those_who_have_no_other() -> None:
    assert str(plan.mapping(ALICE, None)) == "alice.demo.brics:alice.demo:brics.demo"
    assert str(plan.mapping(ALICE, account("group.demo"))) == "alice.demo.brics:alice.demo:group.demo"
    assert str(plan.mapping(ALICE, account("group.demo", "brics.demo"))) == "alice.demo.brics:alice.demo:brics.demo"


def test_added_and_removed() -> None:
    found = account(*WANTED)
    assert plan.is_added(found, Standing.ACTIVE, WANTED)
    assert not plan.is_added(found, Standing.ACTIVE, (*WANTED, "other"))
    assert not plan.is_added(found, Standing.BLOCKED, WANTED)
    assert not plan.is_removed(found, Standing.ACTIVE, PEER, POLICY)
    assert plan.is_removed(account("openportal", disabled=True), Standing.REMOVED, PEER, POLICY)
    assert plan.is_removed(account("openportal", THERE), Standing.ACTIVE, PEER, POLICY)
    assert not plan.is_removed(account("openportal"), Standing.ACTIVE, PEER, POLICY)


# --- for every account ------------------------------------------------------------------------------------------------

GROUPS = (*WANTED, THERE, "cuda", "openportal.blocked", "staff", "group.demo")
accounts = st.none() | st.builds(
    lambda groups, disabled, classes: account(*groups, disabled=disabled, classes=tuple(classes)),
    st.sets(st.sampled_from(GROUPS)), st.booleans(), st.sets(st.sampled_from((OURS, UNFINISHED, "staff"))),
)  # fmt: skip


def changed(found: Account | None, wanted: Wanted | None) -> list[Account | None]:
    """The account after each call of the plan, by what FreeIPA does; the first is the account itself."""
    seen: list[Account | None] = [found]
    for call in (call for step in (plan.plan(ALICE, found, wanted) if wanted else []) for call in step):
        seen.append(after(seen[-1], call))
    return seen


def after(found: Account | None, call: Call) -> Account:
    if call.method == "user_add":
        return account(classes=tuple(call.options["userclass"]))
    assert found is not None
    match call.method:
        case "group_add_member":
            return replace(found, groups=found.groups | {call.name})
        case "group_remove_member":
            return replace(found, groups=found.groups - {call.name})
        case "user_enable" | "user_disable":
            return replace(found, disabled=call.method == "user_disable")
        case _:
            classes = frozenset(call.options.get("userclass", found.classes))
            return replace(found, classes=classes, home=call.options.get("homedirectory", found.home))


def add(found: Account | None) -> Wanted | None:
    return plan.to_add(ALICE, found, stand(found), WANTED)


def remove(found: Account | None) -> Wanted | None:
    return None if found is None else plan.to_remove(ALICE, found, stand(found), PEER, POLICY)


def block(found: Account | None) -> Wanted | None:
    return None if found is None else plan.to_block(stand(found), POLICY)


def unblock(found: Account | None) -> Wanted | None:
    return None if found is None else plan.to_unblock(found, stand(found), POLICY)


VERBS = [add, remove, block, unblock]


@given(accounts, st.sampled_from(VERBS))
def test_a_repeat_of_a_finished_change_makes_no_call(found: Account | None, verb) -> None:  # type: ignore[no-untyped-def]
    done = changed(found, verb(found))[-1]
    assert changed(done, verb(done)) == [done]


@given(accounts, st.sampled_from(VERBS), st.data())
def test_a_change_that_was_cut_short_anywhere_ends_the_same(found, verb, data) -> None:  # type: ignore[no-untyped-def]
    seen = changed(found, verb(found))
    middle = data.draw(st.sampled_from(seen))
    assert changed(middle, verb(middle))[-1] == seen[-1]


@given(accounts, st.sampled_from(VERBS))
def test_what_is_not_ours_is_never_touched(found: Account | None, verb) -> None:  # type: ignore[no-untyped-def]
    done = changed(found, verb(found))[-1]
    if stand(found) is Standing.PROTECTED:
        assert done == found
    elif found is not None and done is not None:
        assert done.groups & {"staff", "ipausers"} == found.groups & {"staff", "ipausers"}
        assert done.groups & {THERE, "cuda"} == found.groups & {THERE, "cuda"} or done.disabled


@given(accounts)
def test_who_is_added_is_usable_and_who_is_removed_is_not(found: Account | None) -> None:
    added = changed(found, add(found))[-1]
    if stand(found) not in (Standing.PROTECTED, Standing.BLOCKED):
        assert added is not None
        assert plan.is_added(added, stand(added), WANTED)
    gone = changed(added, remove(added))[-1]
    if stand(added) is not Standing.PROTECTED:
        assert gone is not None
        assert plan.is_removed(gone, stand(gone), PEER, POLICY) or plan.other_instances(gone, PEER)
