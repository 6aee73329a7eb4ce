"""Notifications as text and on the wire, against the published client's answers, and where they go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openportal.errors import GrammarError, Unroutable
from openportal.grammar.destination import Destination
from openportal.templemeads.notifications import (
    EVENTS,
    Arrived,
    Deliver,
    Notification,
    Place,
    ToBridge,
    ToNext,
    camel,
    forward,
    from_wire,
    parse,
    route,
    snake,
)

CORPUS = Path(__file__).parent.parent / "vectors" / "client-0.94.0.jsonl"
ANSWERS = [line for line in map(json.loads, CORPUS.read_text().splitlines()) if line["type"] == "Notification"]
ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


@pytest.mark.parametrize("answer", [each for each in ANSWERS if each["op"] == "parse"], ids=lambda each: each["input"])
def test_text_as_the_published_client_reads_it(answer: dict[str, Any]) -> None:
    if answer["ok"]:
        read = parse(answer["input"])
        assert str(read) == answer["output"]["__str__"]
        assert from_wire(read.to_wire()) == read
    else:
        with pytest.raises(GrammarError):
            parse(answer["input"])


@pytest.mark.parametrize("answer", [each for each in ANSWERS if each["op"] == "from_json" and each["ok"]])
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


def test_forward_keeps_what_it_carries() -> None:
    inner = from_wire({"id": ID, "destination": "brics.aip1", "event": {"UserAdded": "u.p.w"}, "domain": "d"})
    wrapped = forward(inner, "bridge", "brics")
    assert str(wrapped.destination) == "bridge.brics" and wrapped.id != ID
    assert from_wire(wrapped.to_wire()).inner == inner
    assert str(wrapped) == "bridge.brics forward [brics.aip1 user_added u.p.w]"
    assert inner.inner is None


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


def a(destination: str, event: str = "UserAdded", argument: Any = "u.p.w") -> Notification:
    return Notification(ID, Destination.parse(destination), {event: argument})


OFFERINGS = ("cluster1.brics.allocator",)


def place(sender: str, sender_type: str | None, me: str = "brics", agent_type: str = "Portal") -> Place:
    return Place(me, agent_type, sender, sender_type, OFFERINGS)


def onward(name: str, destination: str) -> ToNext:
    return ToNext(name, a(destination))


def at_bridge(sender: str, sender_type: str) -> Place:
    return place(sender, sender_type, "bridge", "Bridge")


ROUTES = [
    # a relay passes on in both directions, and the end is the end
    (place("brics", "Portal", "aip1", "Provider"), a("brics.aip1.clusters"), onward("clusters", "brics.aip1.clusters")),
    (place("clusters", None, "aip1", "Provider"), a("x.clusters.aip1.brics"), onward("brics", "x.clusters.aip1.brics")),
    (place("clusters", "Platform", "shared", "Instance"), a("a.clusters.shared"), Arrived(a("a.clusters.shared"))),
    # a portal: from below, from its bridge, from another portal
    (place("aip1", "Provider"), a("x.aip1.brics"), ToBridge(a("x.aip1.brics"))),
    (place("allocator", "Portal"), a("allocator.brics.cluster1"), ToBridge(a("allocator.brics.cluster1"))),
    (place("site", "Portal"), a("c.site.brics"), ToBridge(a("c.site.brics"))),
    (place("bridge", "Bridge"), forward(a("brics.aip1.x"), "bridge", "brics"), onward("aip1", "brics.aip1.x")),
    (
        place("bridge", "Bridge"),
        forward(a("cluster1.brics.allocator"), "bridge", "brics"),
        onward("allocator", "cluster1.brics.allocator"),
    ),
    # a bridge: what ends at its portal, or at an offering of it
    (at_bridge("brics", "Portal"), a("x.aip1.brics"), Deliver(a("x.aip1.brics"))),
    (at_bridge("brics", "Portal"), a("allocator.brics.cluster1"), Deliver(a("allocator.brics.cluster1"))),
    (at_bridge("brics", "Portal"), a("brics.bridge"), Deliver(a("brics.bridge"))),
]  # fmt: skip


@pytest.mark.parametrize(("where", "what", "expected"), ROUTES)
def test_routes(where: Place, what: Notification, expected: Any) -> None:
    assert route(where, what) == expected


ASTRAY = [
    (place("brics", "Portal", "aip1", "Provider"), a("clusters.aip1.brics")),  # against the arrow
    (place("brics", "Portal", "aip1", "Provider"), a("x.y.z")),
    (place("aip1", "Provider"), a("brics.aip1")),
    (place("aip1", "Provider"), a("aip1.brics.allocator")),  # nothing from below goes on to another portal
    (place("allocator", "Portal"), a("allocator.brics.aip1")),  # and nothing from there goes south
    (place("allocator", "Portal"), forward(a("brics.aip1"), "allocator", "brics")),
    (place("bridge", "Bridge"), a("bridge.brics")),
    (place("bridge", "Bridge"), forward(a("aip1.brics"), "bridge", "brics")),
    (place("bridge", "Bridge"), forward(a("allocator.brics.cluster1"), "bridge", "brics")),
    (place("bridge", "Bridge"), forward(a("cluster2.brics.allocator"), "bridge", "brics")),
    (place("bridge", "Bridge"), forward(a("x.aip1.brics"), "bridge", "brics")),
    (at_bridge("brics", "Portal"), a("brics.aip1.clusters")),
    (at_bridge("other", "Provider"), a("x.y.other")),
    (at_bridge("brics", "Portal"), forward(a("x.brics"), "brics", "bridge")),
]


@pytest.mark.parametrize(("where", "what"), ASTRAY)
def test_what_leads_nowhere(where: Place, what: Notification) -> None:
    with pytest.raises(Unroutable):
        route(where, what)
