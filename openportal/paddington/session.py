"""One live connection after its handshake. Pure: frames and the time in, messages and frames out.

The plaintext of a frame is one of

    "text"                              to a peer that did not promise nonces (0.32.2)
    {"nonce": n, "payload": "text"}     to one that did; n counts from 0 in every connection
    {"nonce": n, "batch": ["text", …]}  to one that also reads batches, when several texts leave together

`"KEEPALIVE"` is a text that is answered, not delivered: the dialling side sends one at once, and each side answers
KEEPALIVE_SECONDS after it got one, with one answer pending at most. A connection on which nothing valid was heard
for SILENCE_MAX_SECONDS is over, or for RIVAL_SILENCE_MAX_SECONDS once another connection claims to be the same peer: a
live one is heard of every other KEEPALIVE_SECONDS.

A frame that cannot be opened or repeats a nonce is the caller's to count and drop; the connection goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Annotated

import msgspec

from openportal.errors import FrameError, NotConnected, ReplayError
from openportal.paddington.crypto import FRAME_OVERHEAD_CHARS, RANDOM_BYTES, Draw, Keys, open_, seal

WINDOW_NONCES = 1024
KEEPALIVE = "KEEPALIVE"
KEEPALIVE_SECONDS = 23.0
SILENCE_MAX_SECONDS = 300.0
RIVAL_SILENCE_MAX_SECONDS = 3 * KEEPALIVE_SECONDS
FRAME_MAX_BYTES = 2 * 1024 * 1024
WRAP_MAX_BYTES = 64  # of {"nonce":…,"payload":…} without the payload
MESSAGE_MAX_BYTES = (FRAME_MAX_BYTES - FRAME_OVERHEAD_CHARS) // 4 - WRAP_MAX_BYTES  # of one text as a JSON string
BATCH_MAX_MESSAGES = 64
BATCH_MAX_BYTES = 16 * 1024  # that we send; measured: a frame then fits one read of a socket and the caches
U64_MAX = 2**64 - 1

_WINDOW_MASK = (1 << WINDOW_NONCES) - 1


class Window:
    """Which nonces were seen: bit `i` stands for `highest - i`; what is older than the window counts as seen."""

    __slots__ = ("_seen", "highest")

    def __init__(self) -> None:
        self.highest = -1
        self._seen = 0

    def accept(self, nonce: int) -> bool:
        """Mark `nonce`; False when it was seen before or is too old."""
        ahead = nonce - self.highest
        if ahead > 0:
            if self.highest < 0 or ahead >= WINDOW_NONCES:
                self._seen = 1
            else:
                self._seen = (self._seen << ahead | 1) & _WINDOW_MASK
            self.highest = nonce
            return True
        if ahead <= -WINDOW_NONCES:
            return False
        bit = 1 << -ahead
        if self._seen & bit:
            return False
        self._seen |= bit
        return True


class Wrapped(msgspec.Struct, gc=False):
    """The plaintext of a peer that sends nonces."""

    nonce: int | None = None
    payload: str | None = None
    batch: Annotated[list[str], msgspec.Meta(max_length=BATCH_MAX_MESSAGES)] | None = None


_decode = msgspec.json.Decoder(str | Wrapped).decode
_encode = msgspec.json.Encoder().encode


def quote(text: str) -> bytes:
    """The text as a JSON string, which is what `Session.frames` takes; raises FrameError when no frame can hold it."""
    try:
        quoted = _encode(text)
    except UnicodeEncodeError as error:
        raise FrameError("the message is not text that can be encoded as UTF-8") from error
    if len(quoted) > MESSAGE_MAX_BYTES:
        raise FrameError(f"the message takes {len(quoted)} bytes; a frame holds {MESSAGE_MAX_BYTES}")
    return quoted


_QUOTED_KEEPALIVE = quote(KEEPALIVE)


class Session:
    """The state of one live connection: the keys, the nonces of both directions, and the two clocks."""

    __slots__ = (
        "_batches", "_dialling", "_draw", "_keys", "_nonces", "_sent", "_silence_max_seconds", "_window", "answer_at",
        "heard_at",
    )  # fmt: skip

    def __init__(
        self, keys: Keys, draw: Draw, now: float, *, nonces: bool, batches: bool = False, dialling: bool = False
    ) -> None:
        self._keys = keys
        self._draw = draw
        self._nonces = nonces
        self._batches = batches and nonces
        self._dialling = dialling
        self._sent = 0  # nonces used
        self._window = Window()
        self._silence_max_seconds = SILENCE_MAX_SECONDS
        self.heard_at = now
        self.answer_at = inf  # when the pending keepalive must go out

    @property
    def batches(self) -> bool:
        """Whether several messages may share a frame."""
        return self._batches

    def opening(self) -> list[bytes]:
        """The frames to send before anything else."""
        return self.frames([_QUOTED_KEEPALIVE]) if self._dialling else []

    def frames(self, quoted: Sequence[bytes]) -> list[bytes]:
        """The frames that carry these messages, each from `quote`, in order."""
        if not self._nonces:
            return [seal(self._keys, text, self._draw(RANDOM_BYTES)) for text in quoted]
        if not self._batches or len(quoted) == 1:
            return [self._numbered(b'{"nonce":%d,"payload":%b}', text) for text in quoted]
        return [self._batch(group) for group in grouped(quoted)]

    def _batch(self, group: Sequence[bytes]) -> bytes:
        if len(group) == 1:
            return self._numbered(b'{"nonce":%d,"payload":%b}', group[0])
        return self._numbered(b'{"nonce":%d,"batch":[%b]}', b",".join(group))

    def _numbered(self, shape: bytes, content: bytes) -> bytes:
        nonce = self._sent
        self._sent = nonce + 1
        return seal(self._keys, shape % (nonce, content), self._draw(RANDOM_BYTES))

    def receive(self, frame: bytes | str, now: float) -> Sequence[str]:
        """The messages in a frame that came; raises FrameError or ReplayError for one to drop."""
        plaintext = open_(self._keys, frame)
        try:
            message = _decode(plaintext)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise FrameError(f"the plaintext is not a message: {error}") from error
        if type(message) is Wrapped:
            if message.nonce is not None:
                self._check(message.nonce)
            elif self._nonces:
                raise ReplayError("the peer promised nonces and sent a message without one")
            if message.payload is None:
                return self._several(message.batch, now)
            text = message.payload
        else:
            if self._nonces:
                raise ReplayError("the peer promised nonces and sent a message without one")
            text = message
        self.heard_at = now
        if text == KEEPALIVE:
            self._keep(now)
            return ()
        return (text,)

    def _several(self, batch: list[str] | None, now: float) -> Sequence[str]:
        if batch is None or not self._batches:
            raise FrameError("the plaintext has no payload, or a batch nobody agreed to")
        self.heard_at = now
        if KEEPALIVE in batch:
            self._keep(now)
            return [text for text in batch if text != KEEPALIVE]
        return batch

    def _check(self, nonce: int) -> None:
        if not 0 <= nonce <= U64_MAX:
            raise FrameError("a nonce is an unsigned 64-bit number")
        if not self._window.accept(nonce):
            raise ReplayError(f"nonce {nonce} was seen before, or is {WINDOW_NONCES} behind {self._window.highest}")

    def _keep(self, now: float) -> None:
        if self.answer_at == inf:
            self.answer_at = now + KEEPALIVE_SECONDS

    def due(self) -> float:
        """When `tick` has something to do."""
        return min(self.answer_at, self.heard_at + self._silence_max_seconds)

    def contest(self) -> None:
        """Another connection claims to be this peer: from now on a silence is believed sooner."""
        self._silence_max_seconds = RIVAL_SILENCE_MAX_SECONDS

    def tick(self, now: float) -> list[bytes]:
        """The keepalive frame if its time has come; raises NotConnected when the peer has been silent too long."""
        if now >= self.heard_at + self._silence_max_seconds:
            raise NotConnected(f"nothing was heard for {self._silence_max_seconds:.0f} seconds")
        if now < self.answer_at:
            return []
        self.answer_at = inf
        return self.frames([_QUOTED_KEEPALIVE])


def grouped(quoted: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Cut messages into groups that fit one frame, in order."""
    group: list[bytes] = []
    size = 0
    for text in quoted:
        if group and (len(group) == BATCH_MAX_MESSAGES or size + len(text) > BATCH_MAX_BYTES):
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    yield group
