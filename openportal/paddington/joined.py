"""The links of one service, some over sockets and some inside its process.

To the service they are one set of links. What is counted is what goes over sockets.
"""

from __future__ import annotations

from openportal.paddington.peer import Links, Peer, Stats


class JoinedLinks:
    """`inside` are the peers that `inner` links to; all others are those of `outer`."""

    def __init__(self, outer: Links, inner: Links, inside: frozenset[Peer]) -> None:
        self._outer = outer
        self._inner = inner
        self._inside = inside

    @property
    def stats(self) -> Stats:
        return self._outer.stats

    async def start(self) -> None:
        """Inside first: whoever dials us finds us complete."""
        await self._inner.start()
        await self._outer.start()

    async def stop(self) -> None:
        await self._outer.stop()
        await self._inner.stop()

    def send(self, peer: Peer, text: str) -> None:
        self._of(peer).send(peer, text)

    def drop(self, peer: Peer, reason: str) -> None:
        self._of(peer).drop(peer, reason)

    def pause_new_links(self, paused: bool) -> None:
        self._outer.pause_new_links(paused)
        self._inner.pause_new_links(paused)

    def connected_peers(self) -> tuple[Peer, ...]:
        return (*self._outer.connected_peers(), *self._inner.connected_peers())

    def _of(self, peer: Peer) -> Links:
        return self._inner if peer in self._inside else self._outer
