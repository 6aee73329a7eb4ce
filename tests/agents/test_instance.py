"""What an instance asks of its agents, step by step, for every instruction that it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import pytest

from openportal.agents.instance import ADD_USER_ATTEMPTS, SAGAS, InstanceRole
from openportal.errors import OpenPortalError, RunError, Unroutable, Unsupported
from openportal.grammar.destination import Destination
from openportal.grammar.instructions import VERBS, parse_instruction
from openportal.templemeads.job import Job, State
from openportal.templemeads.role import Here
from openportal.templemeads.saga import Ask, AskFailed, Done, Driver, Finished, Outcome

USER, PROJECT = "alice.demo.brics", "demo.brics"
MAPPED, GROUP = f"{USER}:alice:demo", f"{PROJECT}:demo"
ADD_ONCE = [
    f"account add_user {USER}",
    f"filesystem add_local_user {MAPPED}",
    f"filesystem get_local_home_dir {MAPPED}",
    f"scheduler add_local_user {MAPPED}",
]
LOOKS = [f"account {verb} {USER}" for verb in ("is_blocked_user", "is_existing_user", "is_protected_user")]


class Failed(NamedTuple):
    """How a step fails."""

    message: str
    kind: str


Answers = Mapping[str, Any]
DEFAULTS: dict[str, Any] = {
    "add_user": MAPPED, "remove_user": MAPPED, "get_user_mapping": MAPPED, "block_user": MAPPED,
    "unblock_user": MAPPED, "add_project": GROUP, "remove_project": GROUP, "get_project_mapping": GROUP,
    "get_local_home_dir": "/home/alice", "get_users": [], "get_projects": [GROUP],
}  # fmt: skip


def outcome(ask: Ask, answers: Answers) -> Outcome:
    verb = ask.instruction.split(" ")[0]
    for key in (f"{ask.agent} {ask.instruction}", f"{ask.agent} {verb}", verb):
        if key in answers:
            value = answers[key]
            break
    else:
        value = DEFAULTS.get(verb, False if verb.startswith("is_") else None)
    if isinstance(value, Failed):
        return Outcome(value.message, None, value.kind)
    return Outcome(msgspec.json.encode(value).decode(), f"type of {verb}")


def failed(kind: str = "run", message: str = "it broke") -> Failed:
    return Failed(message, kind)


def run(text: str, answers: Answers | None = None) -> tuple[list[str], Any]:
    """(what was asked, in order; the value, or what was raised)."""
    instruction = parse_instruction(text)
    driver = Driver(SAGAS[type(instruction)](instruction))
    record: dict[str, Outcome] = {}
    asked: list[str] = []
    while True:
        try:
            missing = driver.advance(record)
        except Done as done:
            return asked, done.value
        except (AskFailed, OpenPortalError) as error:
            return asked, error
        for name, ask in missing:
            asked.append(f"{ask.agent.lower()} {ask.instruction}")
            record[name] = outcome(ask, answers or {})


# --- add_user ---------------------------------------------------------------------------------------------------------


def test_a_new_user_is_added_everywhere() -> None:
    asked, value = run(f"add_user {USER}")
    assert asked == [*LOOKS, *ADD_ONCE, f"account update_homedir {USER} /home/alice"]
    assert value == Finished(MAPPED, event=("UserAdded", USER))


def test_a_user_that_exists_is_completed() -> None:
    asked, value = run(f"add_user {USER}", {"is_existing_user": True})
    assert asked[3:] == [*ADD_ONCE, f"account update_homedir {USER} /home/alice"]
    assert value.event == ("UserAdded", USER)


@pytest.mark.parametrize(
    "looks", [{"is_blocked_user": True}, {"is_existing_user": True, "is_protected_user": True}], ids=str
)
def test_a_blocked_or_protected_user_is_left_alone(looks: Answers) -> None:
    asked, value = run(f"add_user {USER}", looks)
    assert asked == [*LOOKS, f"account get_user_mapping {USER}"]
    assert value == MAPPED


def test_a_look_that_fails_changes_nothing() -> None:
    asked, error = run(f"add_user {USER}", {"is_existing_user": failed()})
    assert asked == LOOKS
    assert isinstance(error, AskFailed)


@pytest.mark.parametrize("system", ["Filesystem", "Scheduler"])
@pytest.mark.parametrize("existed", [False, True])
def test_what_fails_is_tried_again_and_taken_back_if_it_was_new(system: str, existed: bool) -> None:
    answers = {f"{system} add_local_user": failed(), "is_existing_user": existed}
    asked, error = run(f"add_user {USER}", answers)
    undo = [] if existed else [f"account remove_user {USER}"]
    assert asked == [*LOOKS, *(ADD_ONCE * ADD_USER_ATTEMPTS), *undo]
    assert isinstance(error, RunError)
    assert str(error) == f"{system.lower()}: it broke"


@pytest.mark.parametrize("system", ["Filesystem", "Scheduler", "Account"])
@pytest.mark.parametrize("kind", ["expired", "unavailable", "unsupported", "invalid", "unroutable"])
def test_what_cannot_get_better_is_not_tried_again(system: str, kind: str) -> None:
    verb = "add_user" if system == "Account" else "add_local_user"
    asked, error = run(f"add_user {USER}", {f"{system} {verb}": failed(kind)})
    tried = ADD_ONCE[:1] if system == "Account" else ADD_ONCE
    assert asked == [*LOOKS, *tried, f"account remove_user {USER}"]
    assert (error.kind if isinstance(error, AskFailed) else error.wire_kind) == kind


def test_an_error_names_every_system_that_failed() -> None:
    answers = {"add_local_user": failed("expired"), "get_local_home_dir": failed("run", "no home")}
    _, error = run(f"add_user {USER}", answers)
    assert str(error) == "filesystem: it broke; home directory: no home; scheduler: it broke"
    assert error.wire_kind == "run"


def test_a_second_try_may_work() -> None:
    tries = iter([failed(), failed(), "null"])
    instruction = parse_instruction(f"add_user {USER}")
    driver = Driver(SAGAS[type(instruction)](instruction))
    record: dict[str, Outcome] = {}
    value = None
    while value is None:
        try:
            for name, ask in driver.advance(record):
                answer = next(tries) if ask.agent == "Scheduler" else None
                record[name] = outcome(ask, {"Scheduler add_local_user": answer} if answer else {})
        except Done as done:
            value = done.value
    assert value.value == MAPPED
    assert "scheduler.add_local_user#3" in record
    assert "scheduler.add_local_user#4" not in record


# --- other changes ----------------------------------------------------------------------------------------------------


def test_a_user_is_removed_everywhere() -> None:
    asked, value = run(f"remove_user {USER}")
    assert asked == [
        f"account is_protected_user {USER}",
        f"account remove_user {USER}",
        f"filesystem remove_local_user {MAPPED}",
        f"scheduler remove_local_user {MAPPED}",
    ]
    assert value == Finished(MAPPED, event=("UserRemoved", USER))


def test_a_protected_user_is_not_removed() -> None:
    asked, value = run(f"remove_user {USER}", {"is_protected_user": True})
    assert asked == [f"account is_protected_user {USER}", f"account get_user_mapping {USER}"]
    assert value == MAPPED


def test_both_systems_are_tried_when_a_user_is_removed() -> None:
    asked, error = run(f"remove_user {USER}", {"Filesystem remove_local_user": failed()})
    assert asked[-1] == f"scheduler remove_local_user {MAPPED}"
    assert str(error) == "filesystem: it broke"


def test_a_project_is_added_everywhere() -> None:
    asked, value = run(f"add_project {PROJECT}")
    assert asked == [
        f"account is_existing_project {PROJECT}",
        f"account add_project {PROJECT}",
        f"filesystem add_local_project {GROUP}",
        f"scheduler add_local_project {GROUP}",
    ]
    assert value == Finished(GROUP, event=("ProjectAdded", PROJECT))


@pytest.mark.parametrize("existed", [False, True])
def test_a_project_that_cannot_be_added_is_taken_back_if_it_was_new(existed: bool) -> None:
    answers = {"Scheduler add_local_project": failed(), "is_existing_project": existed}
    asked, error = run(f"add_project {PROJECT}", answers)
    undo = [
        f"account remove_project {PROJECT}",
        f"filesystem remove_local_project {GROUP}",
        f"scheduler remove_local_project {GROUP}",
    ]
    assert asked[4:] == ([] if existed else undo)
    assert str(error) == "scheduler: it broke"


def test_a_failure_of_the_account_agent_ends_it() -> None:
    asked, error = run(f"add_project {PROJECT}", {"add_project": failed("unavailable")})
    assert len(asked) == 2
    assert isinstance(error, AskFailed)
    assert error.kind == "unavailable"


def test_a_project_is_removed_everywhere() -> None:
    asked, value = run(f"remove_project {PROJECT}")
    assert asked == [
        f"account remove_project {PROJECT}",
        f"account get_users {PROJECT}",
        f"filesystem remove_local_project {GROUP}",
        f"scheduler remove_local_project {GROUP}",
    ]
    assert value == Finished(GROUP, event=("ProjectRemoved", PROJECT))


def test_a_project_stays_for_its_protected_users() -> None:
    asked, value = run(f"remove_project {PROJECT}", {"get_users": [MAPPED]})
    assert len(asked) == 2
    assert value == GROUP


@pytest.mark.parametrize(("verb", "event"), [("block", "ProjectBlocked"), ("unblock", "ProjectUnblocked")])
def test_a_project_is_blocked_user_by_user(verb: str, event: str) -> None:
    bob = "bob.demo.brics:bob:demo"
    answers = {"get_users": [MAPPED, bob], f"Account {verb}_user bob.demo.brics": failed()}
    asked, value = run(f"{verb}_project {PROJECT}", answers)
    assert asked[1:] == [f"account {verb}_user {USER}", f"account {verb}_user bob.demo.brics"]
    assert value == Finished([MAPPED], event=(event, PROJECT))


@pytest.mark.parametrize(("verb", "event"), [("block", "UserBlocked"), ("unblock", "UserUnblocked")])
def test_a_user_is_blocked_by_the_account_agent(verb: str, event: str) -> None:
    assert run(f"{verb}_user {USER}") == ([f"account {verb}_user {USER}"], Finished(MAPPED, event=(event, USER)))


# --- questions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "blocked", "expected"), [([], True, False), ([MAPPED], True, True), ([MAPPED], False, False)]
)
def test_a_project_is_blocked_if_all_its_users_are(users: list[str], blocked: bool, expected: bool) -> None:
    answers = {"get_users": users, "is_blocked_user": blocked}
    assert run(f"is_blocked_project {PROJECT}", answers)[1] is expected


CHECKS = [("user", USER, MAPPED), ("project", PROJECT, GROUP)]


@pytest.mark.parametrize(("kind", "subject", "mapping"), CHECKS)
@pytest.mark.parametrize("state", ["added", "removed"])
def test_what_is_checked_is_asked_of_all_until_one_says_no(kind: str, subject: str, mapping: str, state: str) -> None:
    question = f"is_local_{kind}_{state}"
    asked, value = run(f"is_{kind}_{state} {subject}", {question: True})
    assert asked[-3:] == [f"{system} {question} {mapping}" for system in ("account", "filesystem", "scheduler")]
    assert value is True
    asked, value = run(f"is_{kind}_{state} {subject}", {question: True, f"Filesystem {question}": False})
    assert asked[-1] == f"filesystem {question} {mapping}"
    assert value is False


@pytest.mark.parametrize(("kind", "subject", "mapping"), CHECKS)
@pytest.mark.parametrize(("state", "if_absent"), [("added", False), ("removed", True)])
def test_what_does_not_exist_is_known(kind: str, subject: str, mapping: str, state: str, if_absent: bool) -> None:
    lost = {f"get_{kind}_mapping": failed("run", "no such thing")}
    assert run(f"is_{kind}_{state} {subject}", lost)[1] is if_absent
    _, error = run(f"is_{kind}_{state} {subject}", lost | {f"is_existing_{kind}": True})
    assert isinstance(error, AskFailed)
    assert (str(error), error.kind) == ("no such thing", "run")


@pytest.mark.parametrize("state", ["added", "removed"])
def test_a_protected_user_passes_every_check(state: str) -> None:
    assert run(f"is_user_{state} {USER}", {"is_protected_user": True}) == (
        [f"account is_protected_user {USER}"],
        True,
    )


def test_a_system_that_cannot_be_asked_fails_the_check() -> None:
    assert isinstance(run(f"is_user_added {USER}", {"is_local_user_added": failed("expired")})[1], AskFailed)


@pytest.mark.parametrize(
    "text",
    [
        f"is_blocked_user {USER}",
        f"is_protected_user {USER}",
        f"get_user_mapping {USER}",
        f"get_users {PROJECT}",
        f"get_project_mapping {PROJECT}",
        "get_projects brics",
    ],
)
def test_the_account_agent_answers_for_us(text: str) -> None:
    asked, value = run(text)
    assert asked == [f"account {text}"]
    assert value.event is None


# --- reports, limits and quotas ---------------------------------------------------------------------------------------

OF_USER = {
    f"get_home_dir {USER}": f"filesystem get_local_home_dir {MAPPED}",
    f"get_user_dirs {USER}": f"filesystem get_local_user_dirs {MAPPED}",
    f"set_user_quota {USER} home 10 GB": f"filesystem set_local_user_quota {MAPPED} home 10.00 GB",
    f"get_user_quota {USER} home": f"filesystem get_local_user_quota {MAPPED} home",
    f"clear_user_quota {USER} home": f"filesystem clear_local_user_quota {MAPPED} home",
    f"get_user_quotas {USER}": f"filesystem get_local_user_quotas {MAPPED}",
}
OF_PROJECT = {
    f"get_project_dirs {PROJECT}": f"filesystem get_local_project_dirs {GROUP}",
    f"get_usage_report {PROJECT}": f"scheduler get_local_usage_report {GROUP}",
    f"get_usage_report {PROJECT} last_week": f"scheduler get_local_usage_report {GROUP} last_week",
    f"get_storage_report {PROJECT} today": f"filesystem get_local_storage_report {GROUP} today",
    f"set_limit {PROJECT} 3600": f"scheduler set_local_limit {GROUP} 3600",
    f"get_limit {PROJECT}": f"scheduler get_local_limit {GROUP}",
    f"set_project_quota {PROJECT} home 10GB": f"filesystem set_local_project_quota {GROUP} home 10.00 GB",
    f"get_project_quota {PROJECT} home": f"filesystem get_local_project_quota {GROUP} home",
    f"clear_project_quota {PROJECT} home": f"filesystem clear_local_project_quota {GROUP} home",
    f"get_project_quotas {PROJECT}": f"filesystem get_local_project_quotas {GROUP}",
}


@pytest.mark.parametrize(("text", "question"), (OF_USER | OF_PROJECT).items())
def test_a_mapping_is_looked_up_and_the_rest_passed_through(text: str, question: str) -> None:
    lookup = f"account get_user_mapping {USER}" if text in OF_USER else f"account get_project_mapping {PROJECT}"
    asked, value = run(text, {question.split(" ")[1]: {"kept": [1]}})
    assert asked == [lookup, question]
    assert value == Finished('{"kept":[1]}', f"type of {question.split(' ')[1]}", raw=True)


def test_what_the_system_refuses_is_refused() -> None:
    _, error = run(f"set_limit {PROJECT} 60", {"set_local_limit": failed("invalid")})
    assert isinstance(error, AskFailed)
    assert error.kind == "invalid"


@pytest.mark.parametrize(("what", "system"), [("usage", "scheduler"), ("storage", "filesystem")])
def test_a_report_over_a_portal_is_one_of_each_project(what: str, system: str) -> None:
    other = "other.brics:other"
    question = f"get_local_{what}_report"
    answers = {"get_projects": [GROUP, other], question: {"n": 1}}
    asked, value = run(f"get_{what}_reports brics today", answers)
    assert asked == [
        "account get_projects brics",
        f"{system} {question} {GROUP} today",
        f"{system} {question} {other} today",
    ]
    assert value == {"portal": "brics", "reports": {"demo.brics": {"n": 1}, "other.brics": {"n": 1}}}
    assert run(f"get_{what}_reports brics", {"get_projects": []})[1]["reports"] == {}


@pytest.mark.parametrize("verb", ["get_local_home_dir", "get_local_user_dirs"])
def test_questions_of_the_account_agent_are_passed_to_the_filesystem(verb: str) -> None:
    assert run(f"{verb} {MAPPED}")[0] == [f"filesystem {verb} {MAPPED}"]


# --- the role ---------------------------------------------------------------------------------------------------------


def here(text: str, destination: str = "clusters.shared") -> Here:
    job = Job("0b6a3a5e-5d3c-4c43-9a63-6f1c6a0c7d10", 0, 0, 120, 2, f"{destination} {text}", State.PENDING)
    return Here("shared", "clusters", "default", "Platform", Destination.parse(destination), text, job)


def test_a_change_has_a_lane_and_a_look_has_none() -> None:
    change, look = InstanceRole().work(here(f"add_user {USER}")), InstanceRole().work(here(f"is_user_added {USER}"))
    assert (change.subject, change.changes, change.held) == (USER, True, False)
    assert look.changes is False
    assert change.steps is not None
    assert next(change.steps())[0].agent == "Account"


def test_an_instance_refuses_what_is_not_its_own() -> None:
    with pytest.raises(Unsupported, match="does not answer is_existing_user"):
        InstanceRole().work(here(f"is_existing_user {USER}"))
    with pytest.raises(Unroutable, match="ask it for add_user itself"):
        InstanceRole().passing(here(f"add_user {USER}", "clusters.shared.account"))


def test_every_saga_is_of_a_verb() -> None:
    assert set(SAGAS) <= set(VERBS.values())
    assert all(callable(saga) for saga in SAGAS.values())
