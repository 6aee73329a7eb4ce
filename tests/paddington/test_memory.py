"""The in-process links keep the promises of the real ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from openportal.errors import FrameError, NotConnected, QueueFull
from openportal.paddington import memory
from openportal.paddington.memory import MemoryExchange, MemoryNetwork
from openportal.paddington.peer import Links, Peer

AIP1, BRICS = Peer("aip1", "default"), Peer("brics", "default")


class Log:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def connected(self, peer: Peer) -> None:
        self.calls.append(("up", peer.name))

    def received(self, peer: Peer, text: str) -> None:
        self.calls.append((peer.name, text))

    def disconnected(self, peer: Peer, reason: str) -> None:
        self.calls.append(("down", peer.name, reason))


def pair(network: MemoryNetwork, first: Any = None, second: Any = None) -> tuple[MemoryExchange, MemoryExchange]:
    return network.exchange("brics", [AIP1], first or Log()), network.exchange("aip1", [BRICS], second or Log())


async def test_both_are_told_and_messages_arrive_in_order() -> None:
    first, second = Log(), Log()
    brics, aip1 = pair(MemoryNetwork(), first, second)
    links: Links = brics
    await links.start()
    assert brics.connected_peers() == ()
    await aip1.start()
    assert (brics.connected_peers(), aip1.connected_peers()) == ((AIP1,), (BRICS,))
    for i in range(5):
        brics.send(AIP1, str(i))
    assert second.calls == [("up", "brics")], "nothing is delivered inside send"
    await asyncio.sleep(0)
    assert second.calls[1:] == [("brics", str(i)) for i in range(5)]
    assert (brics.stats.messages_out, aip1.stats.messages_in) == (5, 5)
    await brics.stop()
    assert first.calls[-1] == ("down", "aip1", "the service stops")
    assert second.calls[-1] == ("down", "brics", "the peer closed the connection")
    await aip1.stop()


async def test_a_dropped_link_comes_back() -> None:
    first, second = Log(), Log()
    brics, aip1 = pair(MemoryNetwork(redial_seconds=0.01), first, second)
    await brics.start()
    await aip1.start()
    brics.send(AIP1, "before")
    aip1.send(BRICS, "lost")
    brics.drop(AIP1, "test")
    brics.drop(AIP1, "again: no link, nothing happens")
    with pytest.raises(NotConnected):
        aip1.send(BRICS, "x")
    await asyncio.sleep(0.05)
    assert first.calls == [("up", "aip1"), ("down", "aip1", "test"), ("up", "aip1")]
    assert second.calls[1:] == [
        ("brics", "before"),
        ("down", "brics", "the peer closed the connection"),
        ("up", "brics"),
    ]
    await aip1.stop()
    await brics.stop()


async def test_cut_and_mend() -> None:
    network = MemoryNetwork(redial_seconds=0.01)
    brics, aip1 = pair(network)
    await brics.start()
    await aip1.start()
    network.cut("aip1", "brics")
    await asyncio.sleep(0.05)
    assert brics.connected_peers() == aip1.connected_peers() == ()
    network.mend("aip1", "brics")
    assert brics.connected_peers() == (AIP1,)
    await aip1.stop()
    await brics.stop()


async def test_pause() -> None:
    brics, aip1 = pair(MemoryNetwork(redial_seconds=0.01))
    await brics.start()
    brics.pause_new_links(True)
    await aip1.start()
    assert brics.connected_peers() == ()
    brics.pause_new_links(False)
    assert brics.connected_peers() == (AIP1,)
    brics.pause_new_links(True)
    assert brics.connected_peers() == (AIP1,)
    await aip1.stop()
    await brics.stop()


async def test_zones_must_agree() -> None:
    network = MemoryNetwork()
    brics = network.exchange("brics", [Peer("aip1", "one")], Log())
    aip1 = network.exchange("aip1", [Peer("brics", "two")], Log())
    await brics.start()
    await aip1.start()
    assert brics.connected_peers() == ()
    await brics.stop()
    await aip1.stop()


async def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    brics, aip1 = pair(MemoryNetwork())
    with pytest.raises(NotConnected):
        brics.send(AIP1, "x")
    await brics.start()
    await aip1.start()
    monkeypatch.setattr(memory, "QUEUE_MAX_CHARS", 10)
    monkeypatch.setattr(memory, "MESSAGE_MAX_CHARS", 8)
    with pytest.raises(FrameError):
        brics.send(AIP1, "x" * 9)
    brics.send(AIP1, "x" * 6)
    with pytest.raises(QueueFull):
        brics.send(AIP1, "x" * 6)
    await asyncio.sleep(0)
    brics.send(AIP1, "x" * 6)
    await brics.stop()
    await aip1.stop()


async def test_a_handler_that_fails_does_not_end_the_link(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Log):
        def received(self, peer: Peer, text: str) -> None:
            super().received(peer, text)
            raise RuntimeError("a bug")

    second = Failing()
    brics, aip1 = pair(MemoryNetwork(), Log(), second)
    await brics.start()
    await aip1.start()
    brics.send(AIP1, "a")
    brics.send(AIP1, "b")
    await asyncio.sleep(0)
    assert second.calls[1:] == [("brics", "a"), ("brics", "b")]
    assert "a bug" in caplog.text
    await brics.stop()
    await aip1.stop()


async def test_one_name_once() -> None:
    network = MemoryNetwork()
    one, _ = pair(network)
    other, _ = pair(network)
    await one.start()
    with pytest.raises(ValueError, match="brics"):
        await other.start()
    await one.stop()
