"""Links without sockets: exchanges in one process that hand each other text on its event loop.

For tests, the simulator, and agents that share a process. Same interface and same promises as `Exchange`: `received`
comes in the order of `send` and never inside it, messages under way when a link ends may be lost, and a link that ended
comes back by itself.

    network = MemoryNetwork()
    brics = network.exchange("brics", [Peer("aip1", "default")], handler)
    aip1 = network.exchange("aip1", [Peer("brics", "default")], other_handler)
    await brics.start(); await aip1.start()        both are told `connected` in the next turn of the loop
    network.cut("brics", "aip1"); network.mend("brics", "aip1")
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable

from openportal.errors import FrameError, NotConnected, QueueFull
from openportal.paddington.peer import Handler, Peer, Stats

QUEUE_MAX_CHARS = 8 * 1024 * 1024
MESSAGE_MAX_CHARS = 512 * 1024
REDIAL_SECONDS = 0.05

_log = logging.getLogger("openportal.paddington")


class MemoryNetwork:
    """Knows which exchanges run and which pairs are cut apart."""

    def __init__(self, redial_seconds: float = REDIAL_SECONDS) -> None:
        self.redial_seconds = redial_seconds
        self._running: dict[str, MemoryExchange] = {}
        self._cut: set[frozenset[str]] = set()

    def exchange(self, name: str, peers: Iterable[Peer], handler: Handler) -> MemoryExchange:
        """The exchange of the service `name`; it links to each of `peers` that runs and lists it with the same zone."""
        return MemoryExchange(self, name, frozenset(peers), handler)

    def cut(self, one: str, other: str) -> None:
        """Part two services until `mend`."""
        self._cut.add(frozenset((one, other)))
        exchange = self._running.get(one)
        for peer in exchange.connected_peers() if exchange else ():
            if exchange and peer.name == other:
                exchange.drop(peer, "the network was cut")

    def mend(self, one: str, other: str) -> None:
        self._cut.discard(frozenset((one, other)))
        exchange = self._running.get(one)
        if exchange:
            self.join(exchange)

    def join(self, exchange: MemoryExchange) -> None:
        """Make every link of `exchange` that can be made."""
        if self._running.get(exchange.name) is not exchange or exchange.paused:
            return
        for peer in sorted(exchange.peers):
            other = self._running.get(peer.name)
            me = Peer(exchange.name, peer.zone)
            if other is None or other.paused or me not in other.peers or frozenset((me.name, peer.name)) in self._cut:
                continue
            if not exchange.has(peer):
                there, here = _End(other, me), _End(exchange, peer)
                there.far, here.far = here, there
                exchange.add(here)
                other.add(there)

    def enter(self, exchange: MemoryExchange) -> None:
        if exchange.name in self._running:
            raise ValueError(f"a service named {exchange.name} runs in this network already")
        self._running[exchange.name] = exchange

    def leave(self, exchange: MemoryExchange) -> None:
        if self._running.get(exchange.name) is exchange:
            del self._running[exchange.name]


class _End:
    """One end of a link: what it sent and the far end has not been told yet."""

    __slots__ = ("chars", "exchange", "far", "live", "peer", "queue")

    def __init__(self, exchange: MemoryExchange, peer: Peer) -> None:
        self.exchange = exchange
        self.peer = peer
        self.far: _End = self
        self.live = True
        self.queue: deque[str] = deque()
        self.chars = 0

    def deliver(self) -> None:
        """Tell the far end everything that was sent up to now."""
        queue, self.queue, self.chars = self.queue, deque(), 0
        for text in queue:
            if not self.live:
                return
            self.far.exchange.take(self.far.peer, text)


class MemoryExchange:
    """The links of one service inside a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, name: str, peers: frozenset[Peer], handler: Handler) -> None:
        self.name = name
        self.peers = peers
        self.paused = False
        self.stats = Stats()
        self._network = network
        self._handler = handler
        self._ends: dict[Peer, _End] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._network.enter(self)
        self._network.join(self)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self._network.leave(self)
        for peer in self.connected_peers():
            self.drop(peer, "the service stops")
        await asyncio.sleep(0)

    def send(self, peer: Peer, text: str) -> None:
        """As `Exchange.send`."""
        end = self._ends.get(peer)
        if end is None:
            raise NotConnected(f"there is no link to {peer}")
        if len(text) > MESSAGE_MAX_CHARS:
            raise FrameError(f"the message has {len(text)} characters; a frame holds {MESSAGE_MAX_CHARS}")
        if end.chars + len(text) > QUEUE_MAX_CHARS:
            raise QueueFull(f"{peer} does not read: {end.chars} characters wait for it")
        if not end.queue:
            self._soon(end.deliver)
        end.queue.append(text)
        end.chars += len(text)
        self.stats.messages_out += 1
        self.stats.frames_out += 1

    def drop(self, peer: Peer, reason: str) -> None:
        """As `Exchange.drop`; both ends are told in a later turn of the loop, and the link comes back after a while."""
        end = self._ends.pop(peer, None)
        if end is None:
            return
        far = end.far
        far.exchange._ends.pop(far.peer, None)
        far.live = False
        for one, why in ((end, reason), (far, "the peer closed the connection")):
            self._soon(one.exchange._ended, one, why)
        assert self._loop is not None
        self._loop.call_later(self._network.redial_seconds, self._network.join, self)

    def pause_new_links(self, paused: bool) -> None:
        self.paused = paused
        if not paused:
            self._network.join(self)

    def connected_peers(self) -> tuple[Peer, ...]:
        return tuple(self._ends)

    # ---- for the network --------------------------------------------------------------------------------------------

    def has(self, peer: Peer) -> bool:
        return peer in self._ends

    def add(self, end: _End) -> None:
        self._ends[end.peer] = end
        self._soon(self._tell, self._handler.connected, end.peer)

    def take(self, peer: Peer, text: str) -> None:
        self.stats.messages_in += 1
        self.stats.frames_in += 1
        self._tell(self._handler.received, peer, text)

    def _ended(self, end: _End, reason: str) -> None:
        end.live = False
        self._tell(self._handler.disconnected, end.peer, reason)

    def _tell(self, call: Callable[..., None], peer: Peer, *arguments: str) -> None:
        try:
            call(peer, *arguments)
        except Exception:
            _log.exception("%s: our handler failed; the link stays", peer)

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        assert self._loop is not None, "start the exchange first"
        self._loop.call_soon(call, *arguments)
