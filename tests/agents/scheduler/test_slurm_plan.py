"""What is done to Slurm, given what was found."""

from __future__ import annotations

import pytest

from openportal.agents.scheduler.slurm import plan
from openportal.agents.scheduler.slurm.plan import AddAccount, AddUser, Cancel, Found, MoveAccount, SetDefault, Target
from openportal.agents.scheduler.slurm.transport import Account, Association, QueuedJob, User
from openportal.errors import InvalidJob, RunError
from openportal.grammar.identifiers import ProjectMapping, UserMapping

MAPPING = ProjectMapping.parse("demo.brics:brics.demo")
USER = UserMapping.parse("alice.demo.brics:alice.demo:brics.demo")
TARGET = Target.of(MAPPING, "main", "root")
OURS = Account("brics.demo", "account for openportal project demo.brics", "openportal")
THERE = Found(OURS, (Association("main", "brics.demo", parent="root"),))


@pytest.mark.parametrize(
    ("group", "account"),
    [("brics.demo", "brics.demo"), ("group.Demo", "demo"), ("A/b c", "a_b_c"), ("Brics.DEMO", "brics.demo")],
)
def test_an_account_is_named_after_the_group(group: str, account: str) -> None:
    assert plan.account_name(group) == account


def test_slurms_own_names_are_refused() -> None:
    for group in ("root", "ROOT", "group.root"):
        with pytest.raises(InvalidJob, match="Slurm's own"):
            plan.account_name(group)
    with pytest.raises(InvalidJob, match="Slurm's own"):
        plan.user_name("root")
    with pytest.raises(InvalidJob, match="parent of all"):
        Target.of(MAPPING, "main", "brics.demo")


def test_a_project_gets_what_it_lacks() -> None:
    made = Account("brics.demo", "Account for OpenPortal project demo.brics", "openportal")
    assert plan.place_account(TARGET, Found(None)) == [AddAccount("main", made, "root")]
    assert plan.place_account(TARGET, Found(OURS)) == [AddAccount("main", OURS, "root")]
    assert plan.place_account(TARGET, THERE) == []


def test_what_was_moved_is_placed_again_only_for_its_project() -> None:
    astray = Found(OURS, (Association("main", "brics.demo", parent="physics"),))
    assert plan.place_account(TARGET, astray) == [MoveAccount("main", "brics.demo", "root")]
    assert plan.make_account(TARGET, astray) == []


@pytest.mark.parametrize(
    ("account", "why"),
    [
        (Account("brics.demo", "", "physics"), "organisation 'physics'.*set organization=openportal"),
        (Account("brics.demo", "account for openportal project other.brics", "openportal"), "that of other.brics"),
    ],
)
def test_what_is_not_ours_is_left(account: Account, why: str) -> None:
    found = Found(account, THERE.associations)
    for attempt in (plan.place_account, plan.make_account, plan.require_there):
        with pytest.raises(RunError, match=why):
            attempt(TARGET, found)
    with pytest.raises(RunError, match=why):
        plan.set_minutes(TARGET, found, {"cpu": 1})


@pytest.mark.parametrize("text", ["", "made by an older agent", "ACCOUNT FOR OPENPORTAL PROJECT DEMO.BRICS"])
def test_a_description_in_other_words_tells_nothing(text: str) -> None:
    plan.require_ours(TARGET, Found(Account("brics.demo", text, "OpenPortal")))


def test_a_user_is_associated_and_gets_the_default() -> None:
    here = Association("main", "brics.demo", "alice.demo")
    elsewhere = Association("other", "brics.demo", "alice.demo")
    assert plan.add_user(TARGET, USER, None) == [AddUser("main", "brics.demo", "alice.demo")]
    astray = User("alice.demo", "brics.demo", (elsewhere,))
    assert plan.add_user(TARGET, USER, astray) == [AddUser("main", "brics.demo", "alice.demo")]
    lent = User("alice.demo", "physics", (here,))
    assert plan.add_user(TARGET, USER, lent) == [SetDefault("main", "brics.demo", "alice.demo")]
    assert not plan.is_user_added(TARGET, lent)
    assert plan.add_user(TARGET, USER, User("alice.demo", "brics.demo", (here,))) == []


def test_a_limit_is_set_once() -> None:
    assert plan.set_minutes(TARGET, THERE, {"cpu": 5})[0].target == "brics.demo on main: GrpTRESMins=cpu=5"
    limited = Found(OURS, (Association("main", "brics.demo", parent="root", minutes={"cpu": 5, "node": 1}),))
    assert plan.set_minutes(TARGET, limited, {"cpu": 5}) == []
    plan.require_minutes(TARGET, limited, {"cpu": 5})
    with pytest.raises(RunError, match="does not show it"):
        plan.require_minutes(TARGET, limited, {"cpu": 6})
    for absent in (Found(None), Found(OURS)):
        with pytest.raises(RunError, match=r"no Slurm account brics\.demo on the cluster main"):
            plan.set_minutes(TARGET, absent, {"cpu": 5})


def test_only_what_waits_is_cancelled() -> None:
    queue = [QueuedJob(number, "alice", "brics.demo", state) for number, state in enumerate(["PENDING", "RUNNING"] * 2)]
    assert plan.cancel_pending("brics.demo", queue) == [Cancel("brics.demo", (0, 2))]
    assert plan.cancel_pending("brics.demo", queue[1:2]) == []
    assert Cancel("brics.demo", tuple(range(25))).target.endswith("19 and 5 more")
