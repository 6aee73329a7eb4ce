"""Two sets of links are one to their service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from openportal.errors import NotConnected
from openportal.paddington.joined import JoinedLinks
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Links, Peer

ME, FAR, NEAR = "shared", Peer("clusters", "default"), Peer("shared-scheduler", "inside")


class Log:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def connected(self, peer: Peer) -> None:
        self.calls.append(("up", peer))

    def received(self, peer: Peer, text: str) -> None:
        self.calls.append((peer, text))

    def disconnected(self, peer: Peer, reason: str) -> None:
        self.calls.append(("down", peer))


async def test_each_peer_is_reached_over_its_own_links() -> None:
    outside, inside = MemoryNetwork(), MemoryNetwork()
    me, far, near = Log(), Log(), Log()
    outer, inner = outside.exchange(ME, [FAR], me), inside.exchange(ME, [NEAR], me)
    links: Links = JoinedLinks(outer, inner, frozenset({NEAR}))
    others = [
        outside.exchange(FAR.name, [Peer(ME, FAR.zone)], far),
        inside.exchange(NEAR.name, [Peer(ME, NEAR.zone)], near),
    ]
    with pytest.raises(NotConnected):
        links.send(NEAR, "too early")
    for exchange in (*others, links):
        await exchange.start()
    await asyncio.sleep(0)
    assert set(links.connected_peers()) == {FAR, NEAR}

    links.send(FAR, "out")
    links.send(NEAR, "in")
    await asyncio.sleep(0)
    assert far.calls[-1] == (Peer(ME, FAR.zone), "out")
    assert near.calls[-1] == (Peer(ME, NEAR.zone), "in")
    assert links.stats.messages_out == 1, "what stays inside is not counted"

    links.pause_new_links(True)
    links.drop(NEAR, "test")
    await asyncio.sleep(0)
    assert (links.connected_peers(), near.calls[-1]) == ((FAR,), ("down", Peer(ME, NEAR.zone)))
    await links.stop()
    assert links.connected_peers() == ()
    for exchange in others:
        await exchange.stop()
