"""Sagas: the same steps in every run, from whatever is on record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.templemeads.saga import Ask, AskFailed, Done, Driver, Outcome, Steps


def ok(value: str) -> Outcome:
    return Outcome(value, "T")


def failed(kind: str = "run") -> Outcome:
    return Outcome("it broke", None, kind)


def sequence() -> Steps:
    first = yield Ask("Account", "add_user a.b.c")
    try:
        second = yield Ask("account", "add_user a.b.c")
    except AskFailed as failure:
        second = failure.kind
    both = yield [Ask("Filesystem", "x 1"), Ask("Scheduler", "x 2"), Ask("Filesystem", "x 3")]
    return [first, second, [outcome.ok for outcome in both]]


def run(steps: Steps, outcomes: dict[str, Outcome]) -> tuple[list[str], Any]:
    """(steps missing, value) from that record."""
    try:
        return [name for name, _ in Driver(steps).advance(outcomes)], None
    except Done as done:
        return [], done.value


def test_steps_are_named_by_agent_verb_and_count() -> None:
    record: dict[str, Outcome] = {}
    names: list[list[str]] = []
    while True:
        missing, value = run(sequence(), record)
        if not missing:
            break
        names.append(missing)
        record |= dict.fromkeys(missing, ok("1"))
    assert names == [
        ["account.add_user#1"],
        ["account.add_user#2"],
        ["filesystem.x#1", "scheduler.x#1", "filesystem.x#2"],
    ]
    assert value == [1, 1, [True, True, True]]


def test_a_failed_ask_is_thrown_and_may_be_caught() -> None:
    record = {"account.add_user#1": ok('"m"'), "account.add_user#2": failed("expired")}
    missing, _ = run(sequence(), record)
    assert missing == ["filesystem.x#1", "scheduler.x#1", "filesystem.x#2"]
    with pytest.raises(AskFailed, match="it broke") as caught:
        run(sequence(), {"account.add_user#1": failed("invalid")})
    assert caught.value.kind == "invalid"


def test_of_several_asks_nothing_is_thrown_and_all_are_waited_for() -> None:
    record = dict.fromkeys(["account.add_user#1", "account.add_user#2", "filesystem.x#1"], ok("1"))
    assert run(sequence(), record)[0] == ["scheduler.x#1", "filesystem.x#2"]
    record |= {"scheduler.x#1": failed(), "filesystem.x#2": ok("null")}
    assert run(sequence(), record)[1] == [1, 1, [True, False, True]]


def test_no_asks_at_all_is_answered_at_once() -> None:
    def saga() -> Steps:
        outcomes = yield []
        return len(outcomes)

    assert run(saga(), {}) == ([], 0)


def test_a_driver_advances_where_it_stands() -> None:
    driver = Driver(sequence())
    record: dict[str, Outcome] = {}
    assert [name for name, _ in driver.advance(record)] == ["account.add_user#1"]
    assert [name for name, _ in driver.advance(record)] == ["account.add_user#1"]
    record["account.add_user#1"] = ok("1")
    assert [name for name, _ in driver.advance(record)] == ["account.add_user#2"]
    driver.close()


def test_an_answer_that_is_no_json_is_a_failure_of_the_step() -> None:
    record = {"account.add_user#1": ok("1"), "account.add_user#2": ok("not json {")}
    assert run(sequence(), record)[0] == ["filesystem.x#1", "scheduler.x#1", "filesystem.x#2"]
    with pytest.raises(AskFailed, match="not JSON"):
        _ = ok("not json {").value


def test_a_result_that_is_null_is_none() -> None:
    assert Outcome(None, "None").value is None
    with pytest.raises(AskFailed, match="no reason was given"):
        _ = Outcome(None, None, "run").value


def branching() -> Steps:
    """Goes where the answers lead."""
    seen: list[Any] = []
    for _ in range(4):
        last = seen[-1] if seen else 0
        if last == 2:
            seen += [o.kind for o in (yield [Ask("A", f"look {last}"), Ask("B", "look")])]
            continue
        try:
            seen.append((yield Ask("A" if last else "B", f"verb{last} x")))
        except AskFailed as failure:
            seen.append(failure.kind)
    return seen


@given(st.data())
def test_any_prefix_of_the_record_leads_to_the_same_steps(data: st.DataObject) -> None:
    driver, record, asked = Driver(branching()), {}, []
    value = None
    for _ in range(20):
        try:
            missing = driver.advance(record)
        except Done as done:
            value = done.value
            break
        asked.append((dict(record), missing))
        record |= {name: data.draw(st.sampled_from([ok("0"), ok("1"), ok("2"), failed()])) for name, _ in missing[:1]}
    for known, missing in asked:
        assert Driver(branching()).advance(known) == missing
    assert run(branching(), record) == ([], value)
