"""Requests and answers, against what a real server said (`answers.json`; `python -m tests.systems.freeipa.record`)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from openportal.agents.account.freeipa import calls
from openportal.agents.account.freeipa.calls import (
    Answer,
    Call,
    IpaBusy,
    IpaExists,
    IpaForbidden,
    IpaInvalid,
    IpaNotFound,
    IpaRefusal,
    IpaUnchanged,
    answers_of,
    envelope,
    in_one_write,
    merged,
    result_of,
)
from openportal.errors import InvalidJob, JobError, RunError, Unavailable

SHOW = Call("user_show", "alice.demo", {"all": True})
JOIN = Call("group_add_member", "brics.demo", {}, "add user to group", members=("alice.demo",))


def recorded(name: str) -> dict[str, object]:
    recording = json.loads((Path(__file__).with_name("answers.json")).read_text())
    assert recording["server"].startswith("4.12.4")
    found: dict[str, object] = recording["answers"][name]
    return found


def test_one_call_is_sent_by_itself_and_several_as_a_batch() -> None:
    version = calls.API_VERSION
    assert envelope([SHOW]) == {
        "method": "user_show", "params": [["alice.demo"], {"all": True, "version": version}], "id": 0,
    }  # fmt: skip
    member = {"method": "group_add_member", "params": [["brics.demo"], {"user": ["alice.demo"], "no_members": True}]}
    assert envelope([SHOW, JOIN]) == {
        "method": "batch",
        "params": [[{"method": "user_show", "params": [["alice.demo"], {"all": True}]}, member], {"version": version}],
        "id": 0,
    }
    assert envelope([Call("ping", "")])["params"][0] == []


def test_members_by_one_write_of_the_group() -> None:
    both = merged([JOIN, replace(JOIN, members=("bob.demo",))])
    names = {"alice.demo": "uid=alice.demo,cn=users", "bob.demo": "uid=bob.demo,cn=users"}
    written = in_one_write(both, names)
    assert written.is_one_write
    assert not both.is_one_write
    assert not Call("group_mod", "brics.demo", {"description": "x"}).is_one_write
    assert written.request() == {
        "method": "group_mod",
        "params": [["brics.demo"], {
            "addattr": ["member=uid=alice.demo,cn=users", "member=uid=bob.demo,cn=users"], "no_members": True,
        }],
    }  # fmt: skip
    assert result_of(written, Answer(None, 4202, "no modifications to be performed")) == {}


@pytest.mark.parametrize(
    ("name", "code", "error"),
    [
        ("missing", 4001, IpaNotFound),
        ("duplicate", 4002, IpaExists),
        ("disabled twice", 4010, IpaUnchanged),
        ("enabled twice", 4009, IpaUnchanged),
        ("nothing to change", 4202, IpaUnchanged),
        ("private group", 4024, IpaExists),
        ("forbidden", 2100, IpaForbidden),
        ("bad name", 3009, IpaInvalid),
        ("unknown method", 905, IpaRefusal),
    ],
)
def test_errors_as_they_were_recorded(name: str, code: int, error: type[JobError]) -> None:
    [answer] = answers_of([SHOW], recorded(name))
    assert answer.code == code
    with pytest.raises(error) as caught:
        result_of(SHOW, answer)
    assert type(caught.value) is error
    assert result_of(Call("m", "x", accept=frozenset({code})), answer) == {}


def test_a_batch_as_it_was_recorded() -> None:
    found = answers_of([SHOW, SHOW, SHOW, SHOW], recorded("batch"))
    assert [answer.code for answer in found] == [0, 4001, 4010, 0]


def test_members_as_they_were_recorded() -> None:
    [answer] = answers_of([JOIN], recorded("members"))
    for name, error in (("rec.here", None), ("rec.twice", None), ("rec.ghost", IpaNotFound)):
        call = Call("group_add_member", "rec.group", members=(name,))
        if error is None:
            assert result_of(call, answer)["completed"] == 1
        else:
            with pytest.raises(error, match="no such entry"):
                result_of(call, answer)


def test_a_batch_that_is_refused_as_a_whole() -> None:
    with pytest.raises(IpaBusy):
        answers_of([SHOW, JOIN], {"result": None, "error": {"code": 4203, "message": "database", "name": "x"}})


def test_kinds() -> None:
    kinds = {error.kind for code, error in calls.CODES.items() if code in (4001, 4009, 2100)}
    assert kinds == {"run"}
    assert issubclass(calls.CODES[3009], InvalidJob)
    assert issubclass(calls.CODES[4203], Unavailable) and calls.CODES[4203].retry
    assert issubclass(IpaRefusal, RunError)
    with pytest.raises(IpaRefusal, match=r"error 1234"):
        result_of(SHOW, Answer(None, 1234, "new"))


def test_calls_for_one_group_become_one() -> None:
    other = Call("group_add_member", "brics.demo", members=("bob.demo", "alice.demo"))
    assert merged([JOIN, other]).members == ("alice.demo", "bob.demo")
    assert merged([SHOW]) == SHOW


def test_what_is_printed() -> None:
    assert str(JOIN) == "ipa group-add-member brics.demo --users=alice.demo"
    assert JOIN.target == "alice.demo in brics.demo"
    assert str(SHOW) == "ipa user-show alice.demo --all=True"
