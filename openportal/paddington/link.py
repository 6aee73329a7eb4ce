"""One connection, from its first byte to its last: `Inbound` was dialled to us, `Outbound` we dialled.

A websocket's bytes are handled in the turn of the loop in which they arrive: `data_received` cuts them into frames, the
session opens them, the owner is told; there is no task per message. What is sent during a turn is gathered and leaves
in one write at its end. The protocol objects of `websockets` do the upgrade and judge every frame that is not a whole
message (control frames, fragments, errors).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING, cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from openportal.errors import (
    ConfigError,
    FrameError,
    HandshakeError,
    IdentityAlarm,
    NotConnected,
    QueueFull,
    ReplayError,
    TransportError,
)
from openportal.paddington.config import ServerPeer
from openportal.paddington.frames import MASK_BYTES, MASKED, WHOLE, apply_mask, extent, text_frame
from openportal.paddington.handshake import Accepting, Dialling, Event, State, advance
from openportal.paddington.keyring import Candidate
from openportal.paddington.peer import TAKEOVER, Peer
from openportal.paddington.session import FRAME_MAX_BYTES, RIVAL_SILENCE_MAX_SECONDS, Session

if TYPE_CHECKING:
    from openportal.paddington.exchange import Exchange

STRANGERS_MAX = 2048
STANDBY_MAX_PER_PEER = 16
HANDSHAKE_SECONDS = 30.0
HANDSHAKE_FRAME_MAX_BYTES = 64 * 1024
UPGRADE_MAX_BYTES = 16 * 1024
POLL_SECONDS = 1.0
POLL_SILENCE_MAX_SECONDS = 30.0
CLOSE_SECONDS = 2.0
NETWORK_DEAD_SECONDS = 45
PROBE_SECONDS = 9  # of a connection on which nothing moves; measured by the kernel
TURN_MAX_MESSAGES = 16  # handed to the owner in one turn of the loop
INBOX_MAX_MESSAGES = 1024  # read and not handed over; beyond that the peer has to wait
OUTGOING_MAX_BYTES = 8 * 1024 * 1024  # of messages waiting per link, beyond what the transport holds
FLUSH_MAX_BYTES = 64 * 1024  # of messages sealed per link in one turn of the loop
WRITE_HIGH_WATER_BYTES = 1024 * 1024
LOG_ALL_COUNT = 16
ROTATED = "the keys of the invite were replaced; dialling with the new ones"  # an end that is no failure

_HEADER_END = b"\r\n\r\n"

log = logging.getLogger("openportal.paddington")
_protocol_log = log.getChild("websocket")
_protocol_log.setLevel(logging.WARNING)


def worth_a_line(count: int) -> bool:
    """Whether the `count`-th event of its kind is logged: the first few, then 32, 64 …, so that nobody fills a disk."""
    return count <= LOG_ALL_COUNT or count & (count - 1) == 0


def tune(sock: socket.socket) -> None:
    """No delay for small frames, and a network that swallows packets, in whichever direction, is found by the kernels.

    What we sent and the peer's kernel did not acknowledge, or a silence in which its kernel answers no probe, ends the
    connection after NETWORK_DEAD_SECONDS. A peer that is alive, however busy, has a kernel that answers: nobody
    needs to know of this at the other end.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, NETWORK_DEAD_SECONDS // PROBE_SECONDS - 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, NETWORK_DEAD_SECONDS * 1000)


class Link(asyncio.Protocol):
    """One TCP connection, from the first byte to the last; `state` moves by the table in `handshake.py` only."""

    side: Accepting[Candidate] | Dialling
    masks: bool  # whether we mask what we send; the other side does the opposite

    def __init__(self, exchange: Exchange, websocket: ClientProtocol | ServerProtocol) -> None:
        self.exchange = exchange
        self.websocket = websocket
        self.state = State.UPGRADING
        self.peer: Peer | None = None
        self.closed: asyncio.Future[None] = exchange.loop.create_future()
        self.linked_at: float | None = None
        self.address = "?"
        self.reason = ""
        self.rejected_count = 0
        self.frame_max_bytes = HANDSHAKE_FRAME_MAX_BYTES
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._tail = bytearray()  # of a frame that has not all come
        self._need = 0  # bytes `_tail` must have before it is worth looking at again
        self._fragments: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._outgoing: deque[bytes] = deque()
        self._outgoing_bytes = 0
        self._inbox: deque[str] = deque()
        self._handing_over = False
        self._held_back = False
        self._paused = False
        self.dirty = False  # queued for the flush at the end of this turn

    # ---- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            tune(sock)
        self.address = str((transport.get_extra_info("peername") or ("?",))[0])
        self.exchange.links.add(self)
        self._deadline(HANDSHAKE_SECONDS, f"the handshake took longer than {HANDSHAKE_SECONDS:.0f} seconds")
        self.opened()

    def data_received(self, data: bytes) -> None:
        tail = self._tail
        if tail:
            tail += data
            if len(tail) < self._need:
                return
            data = bytes(tail)
            tail.clear()
        try:
            if self.state is State.UPGRADING:
                self._read_upgrade(data)
            else:
                self._read_frames(data)
        except IdentityAlarm as alarm:
            self.exchange.stats.alarms[str(self.side.peer), alarm.cause] += 1
            self.refuse(str(alarm), alarm.cause, logging.ERROR)
        except TransportError as error:
            self.refuse(str(error), type(error).__name__)

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish(
            f"the connection broke: {exc}" if exc else f"the peer closed the connection while it was {self.state.value}"
        )
        self.exchange.links.discard(self)
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._outgoing:
            self.exchange.flush_soon(self)

    # ---- bytes to frames --------------------------------------------------------------------------------------------

    def _read_upgrade(self, data: bytes) -> None:
        head, end, rest = data.partition(_HEADER_END)
        if len(head) > UPGRADE_MAX_BYTES:
            raise HandshakeError(f"the HTTP head is longer than {UPGRADE_MAX_BYTES} bytes")
        if not end:
            self._tail += data
            return
        self.websocket.receive_data(head + end)
        for event in self.websocket.events_received():
            self.upgraded(event)
        if self.state is State.UPGRADING:
            raise HandshakeError(f"no websocket upgrade: {self.websocket.handshake_exc or 'not what HTTP asks for'}")
        self._read_frames(rest)

    def _read_frames(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end and self.state is not State.CLOSED:
            head, size = extent(data, at)
            if size > self.frame_max_bytes:
                raise FrameError(f"a frame of {size} bytes; at most {self.frame_max_bytes} are read")
            stop = at + head + size
            if head == 0 or stop > end:
                self._tail += data[at:]
                self._need = max(head + size, 2)
                return
            masked = data[at + 1] & MASKED != 0
            if data[at] in WHOLE and masked is not self.masks and not self._fragments:
                payload = data[at + head : stop]
                if masked:
                    payload = apply_mask(payload, data[at + head - MASK_BYTES : at + head])
                self._deliver(payload)
            else:
                self._read_odd(data[at:stop])
            at = stop

    def _read_odd(self, frame: bytes) -> None:
        """A frame that is not a whole message: the protocol object decides."""
        self.websocket.receive_data(frame)
        for event in self.websocket.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._fragments.append(bytes(event.data))
                if event.fin:
                    whole = b"".join(self._fragments)
                    self._fragments.clear()
                    self._deliver(whole)
        self._write_protocol()
        if self.websocket.state is not OPEN:
            error = self.websocket.parser_exc
            if error and self._session is None:
                raise FrameError(f"the websocket failed: {error}")
            self.end(f"the websocket failed: {error}" if error else "the peer closed the websocket")

    def _write_protocol(self) -> None:
        """Write what the protocol object wants written; its wish to end the stream is met by our closing it."""
        data = b"".join(self.websocket.data_to_send())
        if data and self._transport is not None:
            self._transport.write(data)

    def _deliver(self, payload: bytes) -> None:
        stats = self.exchange.stats
        stats.frames_in += 1
        session = self._session
        if session is None:
            self.handshake_frame(payload)
            return
        try:
            texts = session.receive(payload, self.exchange.clock())
        except (FrameError, ReplayError) as error:
            self.reject(error)
            return
        if session.answer_at < self._timer_at:
            self._arm(session)
        stats.messages_in += len(texts)
        self._inbox.extend(texts)
        if not self._handing_over:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the owner what has come, a few messages a turn: what they set going travels on while others wait."""
        inbox = self._inbox
        for _ in range(min(len(inbox), TURN_MAX_MESSAGES)):
            if self.state is not State.LINKED:
                inbox.clear()
                break
            self.exchange.tell_received(cast(Peer, self.peer), inbox.popleft())
        self._handing_over = bool(inbox)
        if inbox:
            self.exchange.loop.call_soon(self._hand_over)
        self._hold_back(len(inbox) > INBOX_MAX_MESSAGES)

    def _hold_back(self, full: bool) -> None:
        """Read no more while the inbox is full."""
        if full is self._held_back or self._transport is None or self._transport.is_closing():
            return
        self._held_back = full
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def handshake_frame(self, payload: bytes) -> None:
        if self.state is State.GREETING:
            self.greeting(payload)
        elif self.state is State.NAMING:
            self.naming(payload)
        elif self.state is State.STANDBY:
            self.standing_by(payload)

    # ---- what the two sides do differently ------------------------------------------------------------------------

    def opened(self) -> None:
        raise NotImplementedError

    def upgraded(self, event: object) -> None:
        raise NotImplementedError

    def greeting(self, payload: bytes) -> None:
        raise NotImplementedError

    def naming(self, payload: bytes) -> None:
        raise NotImplementedError

    def standing_by(self, payload: bytes) -> None:
        raise NotImplementedError

    # ---- frames to bytes --------------------------------------------------------------------------------------------

    def write(self, *payloads: bytes) -> None:
        """Write websocket frames around these texts now."""
        if self._transport is None or not payloads:
            return
        self.exchange.stats.frames_out += len(payloads)
        if not self.masks:
            self._transport.write(b"".join([text_frame(payload, b"") for payload in payloads]))
            return
        masks = os.urandom(MASK_BYTES * len(payloads))
        parts = [text_frame(payload, masks[4 * i : 4 * i + 4]) for i, payload in enumerate(payloads)]
        self._transport.write(b"".join(parts))

    def send(self, quoted: bytes) -> None:
        if self._outgoing_bytes + len(quoted) > OUTGOING_MAX_BYTES:
            raise QueueFull(f"{self.peer} does not read: {self._outgoing_bytes} bytes wait for it")
        self._outgoing.append(quoted)
        self._outgoing_bytes += len(quoted)
        if not self.dirty:
            self.exchange.flush_soon(self)

    def flush(self) -> None:
        """Seal and write what was queued, up to FLUSH_MAX_BYTES; the rest in the next turn, or when the peer reads."""
        self.dirty = False
        session = self._session
        if session is None or self._paused or not self._outgoing:
            return
        batch = self._take()
        self.exchange.stats.messages_out += len(batch)
        self.write(*session.frames(batch))
        if self._outgoing and not self._paused:
            self.exchange.flush_soon(self)

    def _take(self) -> list[bytes]:
        outgoing = self._outgoing
        if self._outgoing_bytes <= FLUSH_MAX_BYTES:
            batch = list(outgoing)
            outgoing.clear()
            self._outgoing_bytes = 0
            return batch
        batch, size = [], 0
        while outgoing and size < FLUSH_MAX_BYTES:
            batch.append(outgoing.popleft())
            size += len(batch[-1])
        self._outgoing_bytes -= size
        return batch

    # ---- the life of the link ---------------------------------------------------------------------------------------

    def move(self, event: Event) -> None:
        self.state = advance(self.state, event)

    def link_up(self) -> None:
        """PeerDetails were exchanged and the dialling side is primary: messages from here on."""
        exchange, now = self.exchange, self.exchange.clock()
        self.peer = self.side.peer
        self.linked_at = now
        self.frame_max_bytes = self.websocket.max_message_size = FRAME_MAX_BYTES
        self._session = session = self.side.session(now)
        self._arm(session)
        self.write(*session.opening())
        exchange.add(self)

    def reject(self, error: TransportError) -> None:
        """Drop one frame; the link stays."""
        kind = type(error).__name__
        self.exchange.stats.rejected[kind] += 1
        self.rejected_count += 1
        if worth_a_line(self.rejected_count):
            log.warning("%s: message %d dropped: %s", self.peer or self.address, self.rejected_count, error)

    def refuse(self, reason: str, cause: str = "refused", level: int = logging.WARNING) -> None:
        """Turn the connection away without a word."""
        if self.state is State.CLOSED:
            return
        count = self.exchange.refused(cause)
        if worth_a_line(count):
            log.log(level, "connection with %s refused: %s", self.side_name(), reason)
        self.finish(reason)
        self.close_transport()

    def side_name(self) -> str:
        return f"{self.peer} at {self.address}" if self.peer else self.address

    def end(self, reason: str, later: bool = False) -> None:
        """Close a link in good order: what was queued, a close frame, the end."""
        if self.state is State.CLOSED:
            return
        if self._session is not None:
            while self._outgoing and not self._paused:
                self.flush()
        if self.websocket.state is OPEN:
            self.websocket.send_close()
            self._write_protocol()
        self.finish(reason, later)
        self.close_transport()

    def close_transport(self) -> None:
        transport = self._transport
        if transport is not None:
            transport.close()
            self._timer = self.exchange.loop.call_later(CLOSE_SECONDS, transport.abort)

    def finish(self, reason: str, later: bool = False) -> None:
        """The link is no more: tell whoever knew of it, once. `later` when the owner itself asked for the end."""
        self._cancel_timer()
        if self.state is State.CLOSED:
            return
        self.reason = reason
        self.move(Event.CLOSED)
        self._outgoing.clear()
        self._outgoing_bytes = 0
        self.exchange.remove(self, reason, later)

    def contest(self) -> None:
        """Another connection claims to be our peer: find out soon whether this one is still alive."""
        if self._session is not None:
            self._session.contest()
            self._arm(self._session)

    # ---- time -------------------------------------------------------------------------------------------------------

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _deadline(self, seconds: float, reason: str) -> None:
        self._cancel_timer()
        self._timer = self.exchange.loop.call_later(seconds, self.refuse, reason, "timeout")

    def _arm(self, session: Session) -> None:
        self._cancel_timer()
        self._timer_at = session.due()
        self._timer = self.exchange.loop.call_later(
            max(0.0, self._timer_at - self.exchange.clock()), self._tick, session
        )

    def _tick(self, session: Session) -> None:
        try:
            self.write(*session.tick(self.exchange.clock()))
        except NotConnected as error:
            self.end(str(error))
            return
        self._arm(session)


class Inbound(Link):
    """A connection that came to us."""

    masks = False

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange, ServerProtocol(max_size=HANDSHAKE_FRAME_MAX_BYTES, logger=_protocol_log))
        self.websocket: ServerProtocol
        self.side: Accepting[Candidate] = Accepting(exchange.local, exchange.keyring.candidates())
        self._stranger = False

    def opened(self) -> None:
        exchange = self.exchange
        if exchange.paused:
            self.refuse("new links are paused", "paused")
        elif not exchange.may_connect(self.address):
            self.refuse("no client is configured for that address", "address")
        elif exchange.strangers >= STRANGERS_MAX:
            self.refuse(f"{STRANGERS_MAX} connections are in their handshake already", "full")
        else:
            self._stranger = True
            exchange.strangers += 1

    def finish(self, reason: str, later: bool = False) -> None:
        self._known()
        if self.state is State.STANDBY:
            self.exchange.standby[self.side.peer] -= 1
        super().finish(reason, later)

    def _known(self) -> None:
        if self._stranger:
            self._stranger = False
            self.exchange.strangers -= 1

    def upgraded(self, event: object) -> None:
        if not isinstance(event, Request):
            return
        headers: dict[str, str] = {}
        for name, value in event.headers.raw_items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.address = self.exchange.real_address(self.address, headers)
        self.side.consume_upgrade(headers, self.address)
        response = self.websocket.accept(event)
        if response.status_code != 101:
            return
        self.websocket.send_response(response)
        self._write_protocol()
        self.move(Event.UPGRADED)

    def greeting(self, payload: bytes) -> None:
        self.side.consume_handshake(payload)
        self.peer = self.side.peer
        self.exchange.keyring.check(self.side.candidate)
        self.move(Event.GREETED)
        self.write(self.side.create_handshake())

    def naming(self, payload: bytes) -> None:
        self.side.consume_details(payload)
        secondary = self._is_second()
        offered = self.side.next_keys if self.side.details.supports_rotation and not secondary else None
        rotated = self.exchange.keyring.welcome(self.side.candidate, offered)
        self.write(self.side.create_details(secondary, rotated))
        self._known()
        if rotated:
            self.end("the keys of the invite were replaced; the peer comes again with the new ones")
            return
        if secondary:
            self.exchange.standby[self.side.peer] += 1
            log.info("%s: a second connection stands by", self.peer)
        self._settle(secondary)

    def _is_second(self) -> bool:
        """Whether another connection of this peer is up; raises HandshakeError if this one may not wait for its end."""
        first = self.exchange.link_of(self.side.peer)
        if first is None:
            return False
        first.contest()
        if first.address != self.address and not self.side.candidate.standby:
            raise IdentityAlarm(
                TAKEOVER,
                f"{self.peer} is linked from {first.address}; either it moved and the old link ends within "
                f"{RIVAL_SILENCE_MAX_SECONDS:.0f} seconds, or somebody else has its keys; "
                "for a standby pair set standby = true",
            )
        if self.exchange.standby[self.side.peer] >= STANDBY_MAX_PER_PEER:
            raise HandshakeError(f"{STANDBY_MAX_PER_PEER} connections are standing by already")
        return True

    def standing_by(self, payload: bytes) -> None:
        try:
            self.side.consume_poll(payload)
        except (FrameError, HandshakeError) as error:
            self.reject(error)
            return
        first = self.exchange.link_of(self.side.peer)
        secondary = first is not None
        if first is not None:
            first.contest()
        self.write(self.side.create_status(secondary))
        if not secondary:
            self.exchange.standby[self.side.peer] -= 1
        self._settle(secondary)

    def _settle(self, secondary: bool) -> None:
        self.move(Event.SECONDARY if secondary else Event.PRIMARY)
        if secondary:
            self._deadline(POLL_SILENCE_MAX_SECONDS, "a connection standing by stopped asking")
        else:
            self.link_up()


class Outbound(Link):
    """A connection that we made."""

    masks = True

    def __init__(self, exchange: Exchange, server: ServerPeer) -> None:
        super().__init__(
            exchange, ClientProtocol(parse_uri(server.url), max_size=HANDSHAKE_FRAME_MAX_BYTES, logger=_protocol_log)
        )
        self.websocket: ClientProtocol
        self.side: Dialling = Dialling(exchange.local, exchange.keyring.server(Peer(server.name, server.zone)))
        self.peer = self.side.peer

    def opened(self) -> None:
        request = self.websocket.connect()
        for name, value in self.side.create_upgrade().items():
            request.headers[name] = value
        self.websocket.send_request(request)
        self._write_protocol()

    def upgraded(self, event: object) -> None:
        if isinstance(event, Response) and self.websocket.handshake_exc is None:
            self.move(Event.UPGRADED)
            self.write(self.side.create_handshake())

    def greeting(self, payload: bytes) -> None:
        self.side.consume_handshake(payload)
        self.move(Event.GREETED)
        self.write(self.side.create_details(self.exchange.keyring.rotates))

    def naming(self, payload: bytes) -> None:
        secondary = self.side.consume_details(payload)
        if self.side.details.rotated:
            self._rotate()
        else:
            self._settle(secondary)

    def _rotate(self) -> None:
        """The peer has written down the keys that both of us derived; do the same and come again with them."""
        keyring, keys = self.exchange.keyring, self.side.next_keys
        if keys is None or not keyring.rotates:
            raise HandshakeError(f"{self.peer} rotated keys that were not agreed on")
        try:
            keyring.adopt(self.side.peer, keys)
        except ConfigError as error:
            self.end(f"the new keys cannot be written: {error}")
        else:
            self.end(ROTATED)

    def standing_by(self, payload: bytes) -> None:
        try:
            secondary = self.side.consume_status(payload)
        except (FrameError, HandshakeError) as error:
            self.reject(error)
            return
        self._settle(secondary)

    def _settle(self, secondary: bool) -> None:
        if not secondary and self.exchange.is_linked(self.side.peer):
            raise HandshakeError(f"there is a link to {self.peer} already")
        first = self.state is State.NAMING
        self.move(Event.SECONDARY if secondary else Event.PRIMARY)
        if not secondary:
            self.link_up()
            return
        if first:
            log.info("%s: we stand by, another connection is primary", self.peer)
        self._cancel_timer()
        self._timer = self.exchange.loop.call_later(POLL_SECONDS, self._poll)

    def _poll(self) -> None:
        self._deadline(POLL_SILENCE_MAX_SECONDS, "the peer stopped answering while we stood by")
        self.write(self.side.create_poll())

    def refuse(self, reason: str, cause: str = "refused", level: int = logging.WARNING) -> None:
        """Our own dialler reports what went wrong."""
        if self.state is not State.CLOSED:
            self.exchange.refused(cause)
            self.finish(reason)
            self.close_transport()
