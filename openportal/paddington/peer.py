"""What the layers above see of a link: who is at the other end, what they are told, what is counted.

Nothing here opens a socket. `exchange.py` and `memory.py` are two implementations of `Links`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

AGENT_TYPES = ("Portal", "Provider", "Platform", "Instance", "Bridge", "Account", "Filesystem", "Scheduler")
LEAF_TYPES = frozenset({"Account", "Filesystem", "Scheduler"})
TAKEOVER = "takeover"  # a second connection, from another address, while the first one lives
SPENT_INVITE = "spent invite"  # the keys of an invite, after others took their place
ALARM_CAUSES = (TAKEOVER, SPENT_INVITE)
REDIAL_FIRST_MIN_SECONDS = 0.1
REDIAL_FIRST_MAX_SECONDS = 0.3
REDIAL_QUICK_MAX_SECONDS = 1.0
REDIAL_QUICK_ATTEMPTS = 30
REDIAL_MAX_SECONDS = 5.0


class Peer(NamedTuple):
    """One neighbour: its service name and the zone the two services share."""

    name: str
    zone: str

    def __str__(self) -> str:
        return f"{self.name}@{self.zone}"


class Handler(Protocol):
    """What an exchange tells its owner; every call is made on the event loop and must return soon.

    `connected` and `disconnected` of one peer alternate, and `received` comes only between them, in wire order.
    """

    def connected(self, peer: Peer) -> None: ...

    def received(self, peer: Peer, text: str) -> None: ...

    def disconnected(self, peer: Peer, reason: str) -> None: ...


class Links(Protocol):
    """The links of one service; `Exchange` has them over sockets, `MemoryExchange` inside one process."""

    @property
    def stats(self) -> Stats: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def send(self, peer: Peer, text: str) -> None:
        """Queue `text` for `peer`; raises NotConnected, QueueFull, or FrameError when it is too long for a frame."""

    def drop(self, peer: Peer, reason: str) -> None:
        """End the link to `peer`, after what was queued has been written; without a link, do nothing."""

    def pause_new_links(self, paused: bool) -> None:
        """While paused, accept nothing and dial nobody; the links that are up stay up."""

    def connected_peers(self) -> tuple[Peer, ...]: ...


@dataclass(slots=True)
class Stats:
    """Counters since the start; a frame carries one message, or several to a peer that reads batches."""

    frames_in: int = 0
    frames_out: int = 0
    messages_in: int = 0
    messages_out: int = 0
    rejected: Counter[str] = field(default_factory=Counter)  # frames dropped, by error class; the link stayed up
    refused: Counter[str] = field(default_factory=Counter)  # connections turned away, by cause
    alarms: Counter[tuple[str, str]] = field(default_factory=Counter)  # by peer and one of ALARM_CAUSES


@dataclass(frozen=True, slots=True)
class Backoff:
    """When to dial again: a random first wait that doubles with every attempt in vain.

    A peer that was there a moment ago is most likely being restarted, so the first attempts stay close together.
    """

    first_min_seconds: float = REDIAL_FIRST_MIN_SECONDS
    first_max_seconds: float = REDIAL_FIRST_MAX_SECONDS
    max_seconds: float = REDIAL_MAX_SECONDS
    quick_max_seconds: float = REDIAL_QUICK_MAX_SECONDS
    quick_attempts: int = REDIAL_QUICK_ATTEMPTS

    def delay(self, failures: int, fraction: float) -> float:
        """Seconds to wait after `failures` fruitless attempts; `fraction` is the jitter, from 0 to 1."""
        first = self.first_min_seconds + fraction * (self.first_max_seconds - self.first_min_seconds)
        longest = self.quick_max_seconds if failures < self.quick_attempts else self.max_seconds
        return min(first * 2.0 ** min(failures, 16), longest, self.max_seconds)
