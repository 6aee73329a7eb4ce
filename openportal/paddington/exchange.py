"""The links of one service over sockets: listens for its clients, dials its servers, and keeps at it.

Limits on a stranger: an address that no client and no trusted proxy has is dropped before it is heard, at most
STRANGERS_MAX connections wait for their PeerDetails, HANDSHAKE_SECONDS each, with small frames. A connection that is
refused is closed without a word; the log has the reason. What one connection does is in `link.py`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import ssl
from collections import Counter
from collections.abc import Callable
from typing import cast

from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from openportal.errors import ConfigError, HandshakeError, NotConnected
from openportal.paddington.config import ServerPeer, ServiceConfig
from openportal.paddington.handshake import Bootstrap, Local
from openportal.paddington.keyring import Keyring
from openportal.paddington.link import HANDSHAKE_SECONDS, ROTATED, Inbound, Link, Outbound, log, worth_a_line
from openportal.paddington.peer import Backoff, Handler, Links, Peer, Stats
from openportal.paddington.session import quote

__all__ = ["Backoff", "Exchange", "Handler", "Links", "Peer", "Stats"]

STEADY_SECONDS = 1.0  # a link that lived this long counts as a success for the back-off
BACKLOG_CONNECTIONS = 1024
HEALTH_CONNECTIONS_MAX = 64
HEALTH_SECONDS = 5.0
HEALTH_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"


class _Dialler:
    """Keeps a link to one server: dial, wait until it ends, wait a little, again."""

    def __init__(self, exchange: Exchange, server: ServerPeer, backoff: Backoff) -> None:
        self._exchange = exchange
        self._server = server
        self._backoff = backoff
        self._peer = Peer(server.name, server.zone)
        self._failures = 0
        self._told = ""

    async def run(self) -> None:
        while True:
            await self._exchange.unpaused.wait()
            if await self._attempt():
                self._failures, self._told = 0, ""
            delay = self._backoff.delay(self._failures, random.random())
            self._failures += 1
            await asyncio.sleep(delay)

    async def _attempt(self) -> bool:
        """Whether there was a link, and it lasted."""
        try:
            # Not wait_for: it loses a cancellation that comes in the turn in which the connection is refused.
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                link = await self._connect()
        except (OSError, TimeoutError) as error:
            self._tell(f"cannot connect to {self._server.url}: {error or 'no answer'}")
            return False
        await asyncio.shield(link.closed)
        if link.linked_at is None:
            if link.reason != ROTATED:
                self._tell(link.reason)
            return False
        return self._exchange.clock() - link.linked_at >= STEADY_SECONDS

    async def _connect(self) -> Outbound:
        exchange, uri = self._exchange, parse_uri(self._server.url)
        _, link = await exchange.loop.create_connection(
            lambda: Outbound(exchange, self._server),
            uri.host,
            uri.port,
            ssl=ssl.create_default_context() if uri.secure else None,
        )
        return link

    def _tell(self, reason: str) -> None:
        """Log a failure once, not at every attempt."""
        if reason != self._told:
            self._told = reason
            log.warning("no link to %s: %s; dialling on", self._peer, reason)


class _Health(asyncio.Protocol):
    """Answers anything with OK."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._exchange.health.add(self._transport)
        self._timer = self._exchange.loop.call_later(HEALTH_SECONDS, self._transport.abort)
        if len(self._exchange.health) > HEALTH_CONNECTIONS_MAX:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(HEALTH_ANSWER)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._exchange.health.discard(self._transport)


class Exchange:
    """All links of one service. Its public methods are called on the loop it was started in."""

    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float]

    def __init__(
        self,
        config: ServiceConfig,
        handler: Handler,
        *,
        version: str = "0.94.0",
        reconnect: Backoff | None = None,
        clock: Callable[[], float] | None = None,
        batches: bool = True,
        keyring: Keyring | None = None,
    ) -> None:
        epoch = int.from_bytes(os.urandom(8))
        self.config = config
        self.keyring = keyring or Keyring(config)
        self.stats = Stats()
        self.local = Local(config.name, version, os.urandom, Bootstrap(epoch), batches)
        self.links: set[Link] = set()  # every connection, linked or not
        self.strangers = 0
        self.standby: Counter[Peer] = Counter()
        self.health: set[asyncio.Transport] = set()
        self.paused = False
        self.unpaused = asyncio.Event()
        self._handler = handler
        self._backoff = reconnect or Backoff()
        self._given_clock = clock
        self._linked: dict[Peer, Link] = {}
        self._dirty: list[Link] = []
        self._servers: list[asyncio.Server] = []
        self._diallers: list[asyncio.Task[None]] = []

    # ---- for the owner ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen and dial; raises ConfigError when an address cannot be listened on."""
        self.loop = asyncio.get_running_loop()
        self.clock = self._given_clock or self.loop.time
        self.pause_new_links(self.paused)
        try:
            if self.config.clients:
                await self._listen(lambda: Inbound(self), self.config.port)
            if self.config.healthcheck_port is not None:
                await self._listen(lambda: _Health(self), self.config.healthcheck_port)
            for server in self.config.servers:
                self._dial(server)
        except ConfigError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything and wait, CLOSE_SECONDS at most, until it is closed."""
        for server in self._servers:
            server.close()
        for task in self._diallers:
            task.cancel()
        await asyncio.gather(*self._diallers, return_exceptions=True)
        links = list(self.links)
        for link in links:
            link.end("the service stops")
        for transport in list(self.health):
            transport.abort()
        if links:
            await asyncio.wait([link.closed for link in links])
        await asyncio.sleep(0)
        self._servers.clear()
        self._diallers.clear()

    def send(self, peer: Peer, text: str) -> None:
        """Queue `text` for `peer`; raises NotConnected, QueueFull, or FrameError when it is too long for a frame."""
        link = self._linked.get(peer)
        if link is None:
            raise NotConnected(f"there is no link to {peer}")
        link.send(quote(text))

    def drop(self, peer: Peer, reason: str) -> None:
        """End the link to `peer`, after what was queued has been written; without a link, do nothing.

        `disconnected` follows in a later turn of the loop. A server is dialled again, a client may come again.
        """
        link = self._linked.get(peer)
        if link is not None:
            link.end(reason, later=True)

    def pause_new_links(self, paused: bool) -> None:
        """While paused, accept nothing and dial nobody; the links that are up stay up."""
        self.paused = paused
        if paused:
            self.unpaused.clear()
        else:
            self.unpaused.set()

    def connected_peers(self) -> tuple[Peer, ...]:
        return tuple(self._linked)

    # ---- for the links ----------------------------------------------------------------------------------------------

    def may_connect(self, address: str) -> bool:
        """Whether the TCP peer is one of ours, or may speak for one."""
        proxy = self.config.trusted_proxy
        if proxy is not None and proxy.allows(address):
            return True
        return any(client.ip is not None and client.ip.allows(address) for client in self.config.clients)

    def real_address(self, address: str, headers: dict[str, str]) -> str:
        """Where a request came from: what a trusted proxy says, else the TCP peer."""
        name, proxy = self.config.proxy_header, self.config.trusted_proxy
        said = headers.get(name.lower()) if name else None
        if said is None:
            return address
        if proxy is None or not proxy.allows(address):
            if worth_a_line(self.refused("untrusted proxy header")):
                log.warning("%s sent %s but is not in trusted_proxy; the header is ignored", address, name)
            return address
        try:
            return str(ipaddress.ip_address(said.strip()))
        except ValueError:
            raise HandshakeError(f"the trusted proxy {address} sent a {name} that is not one IP address") from None

    def refused(self, cause: str) -> int:
        self.stats.refused[cause] += 1
        return self.stats.refused[cause]

    def is_linked(self, peer: Peer) -> bool:
        return peer in self._linked

    def link_of(self, peer: Peer) -> Link | None:
        return self._linked.get(peer)

    def add(self, link: Link) -> None:
        peer = cast(Peer, link.peer)
        self._linked[peer] = link
        log.info("%s: linked (%s)", peer, link.address)
        self._tell(self._handler.connected, peer)

    def remove(self, link: Link, reason: str, later: bool) -> None:
        peer = link.peer
        if peer is None or self._linked.get(peer) is not link:
            return
        del self._linked[peer]
        log.info("%s: link ended: %s", peer, reason)
        if later:
            self.loop.call_soon(self._tell, self._handler.disconnected, peer, reason)
        else:
            self._tell(self._handler.disconnected, peer, reason)

    def tell_received(self, peer: Peer, text: str) -> None:
        try:
            self._handler.received(peer, text)
        except Exception:
            log.exception("%s: our handler failed on a message; the link stays", peer)

    def flush_soon(self, link: Link) -> None:
        """Have `link` flushed at the end of this turn, together with all others."""
        link.dirty = True
        if not self._dirty:
            self.loop.call_soon(self._flush)
        self._dirty.append(link)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:
            log.exception("our handler failed on %s%s", getattr(call, "__name__", "a call"), arguments)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for link in dirty:
            link.flush()

    async def _listen(self, factory: Callable[[], asyncio.Protocol], port: int) -> None:
        try:
            server = await self.loop.create_server(factory, self.config.ip, port, backlog=BACKLOG_CONNECTIONS)
        except OSError as error:
            raise ConfigError(f"cannot listen on {self.config.ip} port {port}: {error.strerror or error}") from error
        self._servers.append(server)

    def _dial(self, server: ServerPeer) -> None:
        if not server.url:
            log.warning("%s@%s has no url, so it is not dialled", server.name, server.zone)
            return
        try:
            parse_uri(server.url)
        except InvalidURI as error:
            raise ConfigError(f"the url of server {server.name} is not a websocket address: {server.url}") from error
        dialler = _Dialler(self, server, self._backoff)
        self._diallers.append(self.loop.create_task(dialler.run(), name=f"dial {server.name}@{server.zone}"))
