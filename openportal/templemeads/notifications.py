"""Where notifications go. A bridge cannot send one to the network itself: it forwards what its portal's software says.

    software ── Forward ──> portal ──> <portal>.provider…          south, to the agent that is next
                               └─────> <offering>.<portal>.<other>  north, in the name of an offering
    …provider.<portal> ──> portal ──> bridge ──> software           whatever ends at a portal, as it is

Whatever has no way on from where it came to raises Unroutable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import uuid4

from openportal.errors import Unroutable
from openportal.grammar.destination import Destination, Position
from openportal.grammar.notifications import FORWARD, Notification


def forward(inner: Notification, bridge: str, portal: str) -> Notification:
    """What a bridge sends to its portal, for it to send on."""
    return Notification(str(uuid4()), Destination((bridge, portal)), {FORWARD: inner.to_wire()})


class Place(NamedTuple):
    """An agent that has been sent a notification, and by whom."""

    me: str
    agent_type: str
    sender: str
    sender_type: str | None
    offerings: Sequence[str] = ()


class ToNext(NamedTuple):
    """Send `notification` on to the neighbour `name`."""

    name: str
    notification: Notification


class ToBridge(NamedTuple):
    """Send `notification` on to the portal's bridge, for its software."""

    notification: Notification


class Deliver(NamedTuple):
    """We are a bridge: tell the portal's software."""

    notification: Notification


class Arrived(NamedTuple):
    """It ends here, at an agent that does nothing about it."""

    notification: Notification


Route = ToNext | ToBridge | Deliver | Arrived


def route(place: Place, notification: Notification) -> Route:
    """What becomes of a notification. A portal and a bridge let through only what is theirs. Raises Unroutable."""
    match place.agent_type:
        case "Portal" if place.sender_type == "Bridge":
            return _from_bridge(place, notification)
        case "Portal":
            return _to_portal(place, notification)
        case "Bridge":
            return _to_bridge(place, notification)
    match notification.destination.position(place.me, place.sender):
        case Position.HERE:
            return Arrived(notification)
        case Position.DOWNSTREAM:
            return ToNext(notification.destination.next_after(place.me) or "", notification)
    raise _astray(place, notification)


def _from_bridge(place: Place, notification: Notification) -> Route:
    """The portal's software speaks: to the south from the portal on, or to the north in the name of an offering."""
    inner = notification.inner
    if inner is None:
        raise Unroutable(f"{place.sender} is a bridge: what its portal's software says has to come in a {FORWARD}")
    agents = inner.destination.agents
    if agents[0] == place.me:
        return ToNext(agents[1], inner)
    if agents[1] == place.me and len(agents) > 2 and ".".join(agents[:3]) in place.offerings:
        return ToNext(agents[2], inner)
    raise Unroutable(
        f"the portal's software cannot notify {inner.destination}: the path has to begin with {place.me},"
        f" or be that of an offering, such as <resource>.{place.me}.<other portal>"
    )


def _to_portal(place: Place, notification: Notification) -> Route:
    if notification.name == FORWARD:
        raise Unroutable(f"only a bridge may ask {place.me} to forward a notification, and {place.sender} is none")
    position = notification.destination.position(place.me, place.sender)
    resource = notification.destination.next_after(place.me)
    offered = position is Position.DOWNSTREAM and f"{resource}.{place.me}.{place.sender}" in place.offerings
    if position is Position.HERE or offered:
        return ToBridge(notification)
    raise _astray(place, notification)


def _to_bridge(place: Place, notification: Notification) -> Route:
    """A portal passes on what ends at it or at one of its offerings, so that need not name us."""
    here = notification.destination.position(place.me, place.sender) is Position.HERE
    from_portal = place.sender_type == "Portal" and place.sender in notification.destination.agents[-2:]
    if notification.name != FORWARD and (from_portal or here):
        return Deliver(notification)
    raise _astray(place, notification)


def _astray(place: Place, notification: Notification) -> Unroutable:
    where = notification.destination
    return Unroutable(f"a notification for {where} came to {place.me} from {place.sender}, which does not lead there")
