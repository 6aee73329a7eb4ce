"""The states of a job, its versions, and what is taken from the wire."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from openportal.errors import InvalidJob
from openportal.templemeads.job import (
    KNOWN_FIELDS,
    MAX_COMMAND_BYTES,
    MAX_LIFETIME_SECONDS,
    MAX_VERSION,
    TERMINAL,
    TERMINAL_VERSION_STEP,
    TRANSITIONS,
    Job,
    State,
    from_wire,
)

NOW = 1_000_000
ALLOWED: dict[State, dict[str, State]] = {
    State.CREATED: {"submit": State.PENDING},
    State.PENDING: {
        "start": State.RUNNING,
        "complete": State.COMPLETE,
        "fail": State.ERROR,
        "duplicate": State.DUPLICATE,
    },
    State.RUNNING: {"start": State.RUNNING, "complete": State.COMPLETE, "fail": State.ERROR},
    State.DUPLICATE: {"complete": State.COMPLETE, "fail": State.ERROR},
    State.COMPLETE: {},
    State.ERROR: {},
}
EVENTS = ("submit", "start", "complete", "fail", "duplicate")


def wire(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": str(uuid4()), "created": NOW, "changed": NOW, "expires": NOW + 120, "version": 2,
        "command": "a.b is_user_added alice.demo.brics", "state": "Pending",
        "result": None, "result_type": None, "forwarded_for": None,
    }  # fmt: skip
    return fields | changes


def job(state: State = State.PENDING, version: int = 2) -> Job:
    return from_wire(wire(state=state.value, version=version))


def move(held: Job, event: str) -> Job:
    moves = {
        "start": lambda: held.started(NOW + 1, "half way"),
        "complete": lambda: held.completed(NOW + 1, "true", "bool"),
        "fail": lambda: held.failed(NOW + 1, "no", "run"),
    }
    return moves[event]()


def test_every_state_and_event_is_decided() -> None:
    pairs = {(state, event): ALLOWED[state].get(event) for state in State for event in EVENTS}
    assert {pair: TRANSITIONS.get(pair) for pair in pairs} == pairs
    assert set(TRANSITIONS) <= set(pairs)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", ["start", "complete", "fail"])
def test_a_job_moves_as_the_table_says(state: State, event: str) -> None:
    target = ALLOWED[state].get(event)
    if target is None:
        with pytest.raises(InvalidJob, match=f"it cannot {event}"):
            move(job(state), event)
    else:
        assert move(job(state), event).state is target


def test_nothing_leaves_a_terminal_state() -> None:
    assert {State.COMPLETE, State.ERROR} == TERMINAL
    assert not [pair for pair in TRANSITIONS if pair[0] in TERMINAL]


def test_a_version_grows_by_one_with_progress_and_by_a_thousand_once() -> None:
    running = job().started(NOW + 1, "a").started(NOW + 2, "b")
    assert running.version == 4
    assert running.completed(NOW + 3, None, "None").version == 4 + TERMINAL_VERSION_STEP
    assert running.failed(NOW + 3, "no", "run").version == 4 + TERMINAL_VERSION_STEP


def test_a_terminal_version_is_at_least_what_was_told() -> None:
    assert job().completed(NOW, None, "None", version=9_999).version == 9_999
    assert job().failed(NOW, "no", "run", version=3).version == 2 + TERMINAL_VERSION_STEP


def test_a_terminal_version_stays_in_the_range_that_peers_accept() -> None:
    refused = job(version=MAX_VERSION).failed(NOW, "no", "run")
    assert from_wire(refused.to_wire()).version == MAX_VERSION


def test_changed_never_goes_back() -> None:
    assert job().started(NOW - 50).changed == NOW
    assert job().started(NOW + 50.9).changed == NOW + 50


def test_a_failure_says_the_same_in_both_places() -> None:
    failed = job().failed(NOW, "no room", "run").to_wire()
    assert (failed["result"], failed["result_type"]) == ("no room", "Error")
    assert failed["error"] == {"kind": "run", "message": "no room"}
    assert from_wire(failed).error_kind == "run"


def test_a_failure_without_a_kind_is_read_from_its_prose() -> None:
    assert from_wire(wire(state="Error", result="ExpirationError{{}}")).error_kind == "expired"
    assert from_wire(wire(state="Error", result=None)).error_kind == "expired"
    assert from_wire(wire(state="Error", result="x", error={})).error_kind == "unknown"


@pytest.mark.parametrize("value", [None, 5, "job", [], True])
def test_what_is_no_object_is_no_job(value: Any) -> None:
    with pytest.raises(InvalidJob):
        from_wire(value)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 5},
        {"id": "j1"},
        {"id": ""},
        {"id": "x" * 10_000},
        {"created": "soon"},
        {"created": 10**30},
        {"created": -1},
        {"changed": 10**30},
        {"expires": -(10**30)},
        {"expires": None},
        {"version": 1.5},
        {"version": -1},
        {"version": MAX_VERSION + 1},
        {"version": True},
        {"command": None},
        {"command": "a.b " + "x" * MAX_COMMAND_BYTES},
        {"state": "Lost"},
        {"state": 3},
        {"result": {"a": 1}},
        {"result_type": 7},
        {"forwarded_for": []},
        {"error": "bad"},
        {"domain": 1},
    ],
    ids=lambda changes: f"{next(iter(changes))}={str(next(iter(changes.values())))[:20]}",
)
def test_a_field_that_is_wrong_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        from_wire(wire(**changes))


@pytest.mark.parametrize("field", ["id", "created", "changed", "expires", "version", "command", "state"])
def test_a_field_that_is_missing_is_refused(field: str) -> None:
    fields = wire()
    del fields[field]
    with pytest.raises(InvalidJob):
        from_wire(fields)


def test_the_biggest_version_is_taken() -> None:
    assert from_wire(wire(version=MAX_VERSION)).version == MAX_VERSION


def test_a_life_is_cut_to_an_hour() -> None:
    assert from_wire(wire(expires=NOW + 10**6)).expires == NOW + MAX_LIFETIME_SECONDS
    assert from_wire(wire(expires=10**30)).expires == NOW + MAX_LIFETIME_SECONDS
    assert from_wire(wire(expires=NOW + MAX_LIFETIME_SECONDS)).expires == NOW + MAX_LIFETIME_SECONDS


@pytest.mark.parametrize("value", [5, {"deep": [1]}, None, "text"])
@pytest.mark.parametrize("name", ["priority", "extra"])
def test_a_field_of_a_newer_version_passes_through(name: str, value: Any) -> None:
    fields = wire(**{name: value})
    assert from_wire(fields).to_wire()[name] == value
    assert from_wire(fields).started(NOW + 1).to_wire()[name] == value


def test_the_wire_form_comes_back_as_it_went() -> None:
    fields = wire(domain="greatwestern", domain_version="0.94.0", forwarded_for="x.y.z")
    assert from_wire(fields).to_wire() == fields
    assert set(fields) | {"error"} == KNOWN_FIELDS


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ("RuntimeError{ManagedProjectPendingError: wait}", "award_pending"),
        (None, "expired"),
        ("no such thing", "unknown"),
    ],
)
def test_prose_tells_the_kind_where_nothing_else_does(result: str | None, kind: str) -> None:
    assert replace(job(), result=result).error_kind == kind
