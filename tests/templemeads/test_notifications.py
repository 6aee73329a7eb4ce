"""Where notifications go."""

from __future__ import annotations

from typing import Any

import pytest

from openportal.errors import Unroutable
from openportal.grammar.destination import Destination
from openportal.grammar.notifications import Notification, from_wire
from openportal.templemeads.notifications import Arrived, Deliver, Place, ToBridge, ToNext, forward, route

ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


def test_forward_keeps_what_it_carries() -> None:
    inner = from_wire({"id": ID, "destination": "brics.aip1", "event": {"UserAdded": "u.p.w"}, "domain": "d"})
    wrapped = forward(inner, "bridge", "brics")
    assert str(wrapped.destination) == "bridge.brics" and wrapped.id != ID
    assert from_wire(wrapped.to_wire()).inner == inner
    assert str(wrapped) == "bridge.brics forward [brics.aip1 user_added u.p.w]"
    assert inner.inner is None


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
