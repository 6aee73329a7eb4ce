"""How two services come to trust each other, in wire order. Pure: bytes in, bytes out.

      dialling side                                                accepting side
      GET with masked salts            ──── HTTP upgrade ────►     consume_upgrade: the address and salts
      create_handshake                 ──── Handshake ───────►     consume_handshake: which client opens it
      consume_handshake                ◄─── Handshake ────────     create_handshake
      create_details                   ──── PeerDetails ─────►     consume_details: name, zone, version
      consume_details                  ◄─── PeerDetails ──────     create_details
    while secondary, once a second:
      create_poll                      ──── {} ──────────────►     consume_poll
      consume_status                   ◄─── StandbyStatus ────     create_status

The first Handshake is sealed with the configured keys, the second with the configured inner key and the outer key that
the first one brought, everything later with the two keys they brought, or what both ephemeral keys made of them.

Fields that a peer does not know it ignores. `supports_nonce`, `nonce` and `epoch` came after 0.32.2; `supports_batch`,
`ephemeral` (see ephemeral.py), `supports_rotation` and `rotated` (see keyring.py) are ours. So each of them may be
absent, and is left out where it says nothing.

Every Handshake and PeerDetails carries the next number of one counter per peer, and the epoch of its sender (a random
number, new in every process). The receiver keeps one window per epoch and refuses a number it has seen: a recorded
handshake opens nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

import msgspec

from openportal.errors import FrameError, HandshakeError, ReplayError
from openportal.paddington.crypto import KEY_BYTES, RANDOM_BYTES, SALT_BYTES, Draw, Keys, open_, seal, xor
from openportal.paddington.ephemeral import PUBLIC_BYTES, Agreed, Ephemeral, KeyPair
from openportal.paddington.peer import Peer
from openportal.paddington.session import U64_MAX, Session, Window

ENGINE = "paddington"
PROTOCOL_VERSION = 2
EPOCHS_PER_PEER_COUNT = 8
SALT_FORMAT_HEADER = "openportal-salt-format"
INNER_SALT_HEADER = "openportal-inner-salt"
OUTER_SALT_HEADER = "openportal-outer-salt"
PLAIN_SALTS = "plain"


class State(Enum):
    """Where one connection is; both sides have the same states."""

    UPGRADING = "upgrading"
    GREETING = "waiting for a Handshake"
    NAMING = "waiting for PeerDetails"
    STANDBY = "standing by"
    LINKED = "linked"
    CLOSED = "closed"


class Event(Enum):
    """What moves a connection on."""

    UPGRADED = "the upgrade to a websocket"
    GREETED = "a valid Handshake"
    PRIMARY = "the word that the dialling side is primary"
    SECONDARY = "the word that the dialling side is secondary"
    CLOSED = "the end of the connection"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.UPGRADING, Event.UPGRADED): State.GREETING,
    (State.GREETING, Event.GREETED): State.NAMING,
    (State.NAMING, Event.PRIMARY): State.LINKED,
    (State.NAMING, Event.SECONDARY): State.STANDBY,
    (State.STANDBY, Event.SECONDARY): State.STANDBY,
    (State.STANDBY, Event.PRIMARY): State.LINKED,
    (State.UPGRADING, Event.CLOSED): State.CLOSED,
    (State.GREETING, Event.CLOSED): State.CLOSED,
    (State.NAMING, Event.CLOSED): State.CLOSED,
    (State.STANDBY, Event.CLOSED): State.CLOSED,
    (State.LINKED, Event.CLOSED): State.CLOSED,
}


def advance(state: State, event: Event) -> State:
    """The state after `event`; raises HandshakeError when `event` cannot come in `state`."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise HandshakeError(f"{event.value} came while the connection was {state.value}") from None


class SessionKey(msgspec.Struct):
    data: str


class Handshake(msgspec.Struct, omit_defaults=True):
    session_key: SessionKey
    engine: str
    version: str
    nonce: int | None = None
    epoch: int | None = None
    ephemeral: str | None = None


class StandbyStatus(msgspec.Struct):
    server_is_secondary: bool
    client_is_secondary: bool


class PeerDetails(msgspec.Struct, omit_defaults=True):
    name: str
    zone: str
    version: int
    standby_status: StandbyStatus
    supports_nonce: bool = False
    nonce: int | None = None
    epoch: int | None = None
    supports_batch: bool = False
    supports_rotation: bool = False
    rotated: bool = False


class AnyObject(msgspec.Struct):
    """A standby poll: an object, whatever it holds."""


class Addresses(Protocol):
    """Which addresses a client may come from."""

    def allows(self, address: str, /) -> bool: ...


class Secrets(Protocol):
    """What the configuration says of one neighbour."""

    @property
    def name(self) -> str: ...
    @property
    def zone(self) -> str: ...
    @property
    def inner_key(self) -> bytes: ...
    @property
    def outer_key(self) -> bytes: ...


class Client(Secrets, Protocol):
    """A configured client; without `ip` it does not connect directly."""

    @property
    def ip(self) -> Addresses | None: ...


class Bootstrap:
    """The handshake numbers of one process: ours to send, and a window per peer and epoch for theirs."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._next: dict[Peer, int] = {}
        self._windows: dict[Peer, OrderedDict[int | None, Window]] = {}

    def next_nonce(self, peer: Peer) -> int:
        nonce = self._next.get(peer, 0)
        self._next[peer] = nonce + 1
        return nonce

    def check(self, peer: Peer, nonce: int | None, epoch: int | None) -> None:
        """Raise ReplayError for a number of that epoch seen before; a message without a number is not checked."""
        if nonce is None:
            return
        if not 0 <= nonce <= U64_MAX or (epoch is not None and not 0 <= epoch <= U64_MAX):
            raise ReplayError(f"{peer} sent a nonce or an epoch that is not an unsigned 64-bit number")
        windows = self._windows.setdefault(peer, OrderedDict())
        window = windows.get(epoch)
        if window is None:
            window = windows[epoch] = Window()
            if len(windows) > EPOCHS_PER_PEER_COUNT:
                windows.popitem(last=False)
        windows.move_to_end(epoch)
        if not window.accept(nonce):
            raise ReplayError(f"{peer} sent handshake nonce {nonce} twice; it may be a recording")


@dataclass(frozen=True, slots=True)
class Local:
    """Our side of every handshake: the service name, the version we tell, and what this process shares."""

    name: str
    version: str
    draw: Draw
    bootstrap: Bootstrap
    batches: bool = True
    secrecy: bool = True  # whether we offer an ephemeral exchange


M = TypeVar("M")


def read_message(keys: Keys, frame: bytes | str, kind: type[M]) -> M:
    """Open a frame that holds a `kind`; raises FrameError or HandshakeError."""
    plaintext = open_(keys, frame)
    try:
        return msgspec.json.decode(plaintext, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise HandshakeError(f"that is no {kind.__name__}: {error}") from error


def read_session_key(message: Handshake) -> bytes:
    return read_hex("session key", message.session_key.data, KEY_BYTES)


def read_hex(what: str, text: str, size: int) -> bytes:
    """The bytes of `text`; raises HandshakeError unless it is exactly `size` of them in hexadecimal."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size or len(text) != 2 * size:
        raise HandshakeError(f"the {what} must be {size} bytes in hexadecimal")
    return value


class _Side:
    """What the two sides share: the keys as they change, and what the peer said it can do."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._keys: Keys | None = None
        self._peer: Peer | None = None
        self._details: PeerDetails | None = None
        self._ephemeral: Ephemeral | None = None
        self.next_keys: KeyPair | None = None  # what both sides can put in the place of the configured keys

    @property
    def peer(self) -> Peer:
        assert self._peer is not None, "the peer is known once its Handshake was opened"
        return self._peer

    @property
    def keys(self) -> Keys:
        assert self._keys is not None, "keys exist once the salts are known"
        return self._keys

    def _seal(self, message: object) -> bytes:
        return seal(self.keys, msgspec.json.encode(message), self._local.draw(RANDOM_BYTES))

    def _handshake(self, session_key: bytes) -> bytes:
        boot = self._local.bootstrap
        key, number = SessionKey(session_key.hex()), boot.next_nonce(self.peer)
        ephemeral = self._ephemeral.public.hex() if self._ephemeral else None
        return self._seal(Handshake(key, ENGINE, self._local.version, number, boot.epoch, ephemeral))

    def _take(self, agreed: Agreed) -> None:
        """Go on with the keys that an exchange gave, and forget our half of it."""
        keys, session = self.keys, agreed.session
        self._keys = Keys(session.inner_key, session.outer_key, keys.inner_salt, keys.outer_salt)
        self.next_keys = agreed.next
        self._ephemeral = None

    def _read_handshake(self, message: Handshake) -> bytes:
        self._local.bootstrap.check(self.peer, message.nonce, message.epoch)
        return read_session_key(message)

    @property
    def details(self) -> PeerDetails:
        assert self._details is not None, "PeerDetails are known once they were read"
        return self._details

    def _own_details(self, secondary: bool = False, supports_rotation: bool = False, rotated: bool = False) -> bytes:
        local, boot = self._local, self._local.bootstrap
        status = StandbyStatus(server_is_secondary=False, client_is_secondary=secondary)
        number = boot.next_nonce(self.peer)
        return self._seal(
            PeerDetails(
                name=local.name,
                zone=self.peer.zone,
                version=PROTOCOL_VERSION,
                standby_status=status,
                supports_nonce=True,
                nonce=number,
                epoch=boot.epoch,
                supports_batch=local.batches,
                supports_rotation=supports_rotation,
                rotated=rotated,
            )
        )

    def _read_details(self, frame: bytes | str) -> PeerDetails:
        details, peer = read_message(self.keys, frame, PeerDetails), self.peer
        self._local.bootstrap.check(peer, details.nonce, details.epoch)
        if details.version != PROTOCOL_VERSION:
            raise HandshakeError(f"{peer} speaks protocol version {details.version}, we speak {PROTOCOL_VERSION}")
        if details.name != peer.name:
            raise HandshakeError(f"{peer} calls itself {details.name!r}; one side's configuration has the wrong name")
        if details.zone != peer.zone:
            raise HandshakeError(f"{peer} claims zone {details.zone!r}; one side's configuration has the wrong zone")
        self._details = details
        return details

    def _session(self, now: float, dialling: bool) -> Session:
        details = self.details
        batches = details.supports_nonce and details.supports_batch and self._local.batches
        return Session(
            self.keys, self._local.draw, now, nonces=details.supports_nonce, batches=batches, dialling=dialling
        )


class Dialling(_Side):
    """The side that connects; its methods are called in the order they stand in."""

    def __init__(self, local: Local, server: Secrets) -> None:
        super().__init__(local)
        self._peer = Peer(server.name, server.zone)
        self._server = server
        self._session_outer = local.draw(KEY_BYTES)
        self._ephemeral = Ephemeral(local.draw) if local.secrecy else None

    def create_upgrade(self) -> dict[str, str]:
        """The headers to add to the upgrade request; masked salts are what every version can read."""
        inner_key, outer_key = self._server.inner_key, self._server.outer_key
        inner_salt, outer_salt = self._local.draw(SALT_BYTES), self._local.draw(SALT_BYTES)
        self._keys = Keys(inner_key, outer_key, inner_salt, outer_salt)
        return {
            INNER_SALT_HEADER: xor(inner_salt, outer_key).hex(),
            OUTER_SALT_HEADER: xor(outer_salt, inner_key).hex(),
        }

    def create_handshake(self) -> bytes:
        frame = self._handshake(self._session_outer)
        self._keys = self.keys.with_outer(self._session_outer)
        return frame

    def consume_handshake(self, frame: bytes | str) -> None:
        message = read_message(self.keys, frame, Handshake)
        session_inner = self._read_handshake(message)
        self._keys = self.keys.with_inner(session_inner)
        if message.ephemeral is not None and self._ephemeral is not None:
            theirs, brought = read_ephemeral(message.ephemeral), KeyPair(session_inner, self._session_outer)
            self._take(self._ephemeral.agree(theirs, brought, dialling=True))

    def create_details(self, supports_rotation: bool = False) -> bytes:
        return self._own_details(supports_rotation=supports_rotation and self.next_keys is not None)

    def consume_details(self, frame: bytes | str) -> bool:
        """Whether we are secondary: another connection with our name is the primary one."""
        return self._read_details(frame).standby_status.client_is_secondary

    def create_poll(self) -> bytes:
        return self._seal({})

    def consume_status(self, frame: bytes | str) -> bool:
        """Whether we are still secondary."""
        return read_message(self.keys, frame, StandbyStatus).client_is_secondary

    def session(self, now: float) -> Session:
        return self._session(now, dialling=True)


C = TypeVar("C", bound=Client)


class Accepting(_Side, Generic[C]):
    """The side that listens; its methods are called in the order they stand in."""

    def __init__(self, local: Local, clients: Iterable[C]) -> None:
        super().__init__(local)
        self._clients = tuple(clients)
        self._salts = (b"", b"")
        self._plain = False
        self._session_outer = b""
        self._theirs = b""  # the ephemeral key of the other side, if it offered one
        self._candidate: C | None = None

    def consume_upgrade(self, headers: Mapping[str, str], address: str) -> None:
        """Read the salts and keep the clients that may come from `address`; `headers` have lower-case names."""
        self._clients = tuple(c for c in self._clients if c.ip is not None and c.ip.allows(address))
        if not self._clients:
            raise HandshakeError(f"no client is configured for address {address}")
        self._plain = headers.get(SALT_FORMAT_HEADER, "").lower() == PLAIN_SALTS
        self._salts = (read_salt(headers, INNER_SALT_HEADER), read_salt(headers, OUTER_SALT_HEADER))

    def consume_handshake(self, frame: bytes | str) -> None:
        """Find the configured client whose keys open the frame."""
        for client in self._clients:
            keys = self._keys_of(client)
            try:
                message = read_message(keys, frame, Handshake)
            except FrameError:
                continue
            self._peer, self._candidate = Peer(client.name, client.zone), client
            self._session_outer = self._read_handshake(message)
            self._keys = keys.with_outer(self._session_outer)
            if message.ephemeral is not None and self._local.secrecy:
                self._theirs = read_ephemeral(message.ephemeral)
                self._ephemeral = Ephemeral(self._local.draw)
            return
        raise HandshakeError("no configured client has the keys of this handshake")

    @property
    def candidate(self) -> C:
        """The one of the given clients whose keys opened the Handshake."""
        assert self._candidate is not None, "the client is known once its Handshake was opened"
        return self._candidate

    def _keys_of(self, client: C) -> Keys:
        inner_salt, outer_salt = self._salts
        if not self._plain:
            inner_salt, outer_salt = xor(inner_salt, client.outer_key), xor(outer_salt, client.inner_key)
        return Keys(client.inner_key, client.outer_key, inner_salt, outer_salt)

    def create_handshake(self) -> bytes:
        session_inner = self._local.draw(KEY_BYTES)
        frame = self._handshake(session_inner)
        self._keys = self.keys.with_inner(session_inner)
        if self._ephemeral is not None:
            brought = KeyPair(session_inner, self._session_outer)
            self._take(self._ephemeral.agree(self._theirs, brought, dialling=False))
        return frame

    def consume_details(self, frame: bytes | str) -> None:
        self._read_details(frame)

    def create_details(self, secondary: bool, rotated: bool = False) -> bytes:
        return self._own_details(secondary, rotated=rotated)

    def consume_poll(self, frame: bytes | str) -> None:
        read_message(self.keys, frame, AnyObject)

    def create_status(self, secondary: bool) -> bytes:
        return self._seal(StandbyStatus(server_is_secondary=False, client_is_secondary=secondary))

    def session(self, now: float) -> Session:
        return self._session(now, dialling=False)


def read_ephemeral(text: str) -> bytes:
    return read_hex("ephemeral key", text, PUBLIC_BYTES)


def read_salt(headers: Mapping[str, str], name: str) -> bytes:
    text = headers.get(name)
    if text is None:
        raise HandshakeError(f"the upgrade request has no {name} header")
    return read_hex(f"{name} header", text, SALT_BYTES)
