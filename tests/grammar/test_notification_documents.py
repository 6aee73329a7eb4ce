from __future__ import annotations

import json
from typing import Any

import pytest
from grammar_samples import answers, check_inputs, destinations, projects, users
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.destination import Destination
from openportal.grammar.identifiers import UserIdentifier
from openportal.grammar.notifications import EVENTS, FORWARD, Notification, camel, from_wire, parse, snake

ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


def shown(text: str) -> dict[str, str]:
    read = parse(text)
    assert from_wire(read.to_wire()) == read
    destination, event, argument = str(read).split(" ")
    printed = {"event": f"{event} {argument}", "event_type": event, "event_argument": argument}
    return {"__str__": str(read), "destination": destination, **printed}


def test_every_recorded_answer_is_ours_too() -> None:
    check_inputs("Notification", "parse", 37, shown)


@pytest.mark.parametrize("answer", [each for each in answers("Notification", "from_json") if each["ok"]])
def test_json_as_the_published_client_reads_it(answer: dict[str, Any]) -> None:
    read = from_wire(json.loads(answer["input"]))
    out = answer["output"]
    assert (read.id, str(read.destination), str(read)) == (
        out["id"],
        out["destination"],
        f"{out['destination']} {out['event']}",
    )
    assert {k: v for k, v in full(read.to_wire()).items() if k in out["json"]} == out["json"]


def full(wire: dict[str, Any]) -> dict[str, Any]:
    """With the fields that the published client always prints."""
    event = {name: full(it) if isinstance(it, dict) else it for name, it in wire["event"].items()}
    return {"domain": None, "domain_version": None, **wire, "event": event}


def test_there_are_fifteen_events() -> None:
    assert len(EVENTS) == 15
    for event in EVENTS:
        assert snake(camel(event)) == event
    assert camel("user_added") == "UserAdded"


def test_what_is_not_known_is_kept() -> None:
    wire = {"id": ID, "destination": "a.b", "event": {"RoomAdded": {"x": [1]}}, "domain": "d", "later": {"y": None}}
    assert from_wire(wire).to_wire() == wire
    again = parse("a.b user_added u.p.w", ID)
    assert again.to_wire() == {"id": ID, "destination": "a.b", "event": {"UserAdded": "u.p.w"}}
    assert parse("a.b user_added u.p.w").id != parse("a.b user_added u.p.w").id


@pytest.mark.parametrize(
    "wire",
    [
        None,
        [],
        {},
        {"id": ID, "destination": "a.b"},
        {"id": ID, "destination": "a", "event": {"UserAdded": "u.p.w"}},
        {"id": ID, "destination": 1, "event": {"UserAdded": "u.p.w"}},
        {"id": "x" * 65, "destination": "a.b", "event": {"UserAdded": "u.p.w"}},
        {"id": 1, "destination": "a.b", "event": {"UserAdded": "u.p.w"}},
        {"id": ID, "destination": "a.b", "event": "user_added u.p.w"},
        {"id": ID, "destination": "a.b", "event": {}},
        {"id": ID, "destination": "a.b", "event": {"UserAdded": "u.p.w", "UserRemoved": "u.p.w"}},
        {"id": ID, "destination": "a.b", "event": {"UserAdded": {"x": 1}}},
        {"id": ID, "destination": "a.b", "event": {"UserAdded": "x" * 5000}},
    ],
)
def test_what_is_no_notification(wire: Any) -> None:
    with pytest.raises(GrammarError):
        from_wire(wire)


names = st.sampled_from(sorted(EVENTS))


@given(names, users, projects, destinations)
def test_a_notification_is_read_back(name: str, user: object, project: object, destination: Destination) -> None:
    whom = user if EVENTS[name] is UserIdentifier else project
    notification = Notification(ID, destination, {camel(name): str(whom)})
    assert parse(str(notification), ID) == from_wire(notification.to_wire()) == notification
    carrying = Notification(ID, destination, {FORWARD: notification.to_wire()})
    assert from_wire(json.loads(json.dumps(carrying.to_wire()))).inner == notification
    with pytest.raises(GrammarError):
        parse(str(carrying))


@given(st.text() | st.builds("a.b {} {}".format, names, st.text()))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert str(parse(text))
    except GrammarError as error:
        assert str(error)
