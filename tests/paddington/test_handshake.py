"""Both sides of the handshake against each other, and against everything else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.errors import FrameError, HandshakeError, ReplayError
from openportal.paddington.crypto import RANDOM_BYTES, Keys, open_frame, seal
from openportal.paddington.handshake import (
    EPOCHS_PER_PEER_COUNT,
    TRANSITIONS,
    Accepting,
    Bootstrap,
    Dialling,
    Event,
    Local,
    PeerDetails,
    State,
    advance,
)
from openportal.paddington.peer import Peer

AIP1 = Peer("aip1", "default")
BRICS = Peer("brics", "default")

PATIENT = settings(deadline=None)  # a busy machine is no failure


class Anywhere:
    def allows(self, address: str) -> bool:
        return address != "10.0.0.1"


@dataclass
class Neighbour:
    name: str = "aip1"
    zone: str = "default"
    inner_key: bytes = b"\x01" * 32
    outer_key: bytes = b"\x02" * 32
    ip: Anywhere | None = field(default_factory=Anywhere)
    standby: bool = False


def local(name: str, epoch: int = 7, batches: bool = True, secrecy: bool = True) -> Local:
    return Local(name, "0.94.0", os.urandom, Bootstrap(epoch), batches, secrecy)


def dialling(me: str = "aip1", server: Neighbour | None = None, **kwargs: Any) -> Dialling:
    return Dialling(local(me, **kwargs), server or Neighbour("brics"))


def accepting(*clients: Neighbour, **kwargs: Any) -> Accepting:
    return Accepting(local("brics", **kwargs), clients or (Neighbour(),))


def greet(client: Dialling, server: Accepting) -> None:
    server.consume_upgrade(client.create_upgrade(), "127.0.0.1")
    server.consume_handshake(client.create_handshake())
    client.consume_handshake(server.create_handshake())


def name(client: Dialling, server: Accepting, secondary: bool = False) -> bool:
    server.consume_details(client.create_details())
    return client.consume_details(server.create_details(secondary))


def test_in_wire_order() -> None:
    client, server = dialling(), accepting()
    greet(client, server)
    assert name(client, server) is False
    assert (client.peer, server.peer) == (BRICS, AIP1)
    ours, theirs = client.session(0.0), server.session(0.0)
    assert ours.batches and theirs.batches
    (frame,) = ours.opening()
    assert theirs.receive(frame, 1.0) == ()


def test_standby() -> None:
    client, server = dialling(), accepting()
    greet(client, server)
    assert name(client, server, secondary=True) is True
    for secondary in (True, True, False):
        server.consume_poll(client.create_poll())
        assert client.consume_status(server.create_status(secondary)) is secondary


def test_a_poll_is_an_empty_object_and_nothing_else() -> None:
    client, server = dialling(), accepting()
    greet(client, server)
    name(client, server, secondary=True)
    assert open_frame(client.keys, client.create_poll()) == {}
    assert open_frame(server.keys, server.create_status(True)) == {
        "server_is_secondary": False,
        "client_is_secondary": True,
    }
    with pytest.raises(HandshakeError):
        server.consume_poll(seal(server.keys, b'"KEEPALIVE"', os.urandom(RANDOM_BYTES)))


def test_messages_as_they_are_on_the_wire() -> None:
    client, server = dialling(), accepting()
    headers = client.create_upgrade()
    assert sorted(headers) == ["openportal-inner-salt", "openportal-outer-salt"]
    first_keys = client.keys
    hello = open_frame(first_keys, client.create_handshake())
    assert list(hello) == ["session_key", "engine", "version", "nonce", "epoch", "ephemeral"]
    assert len(hello["ephemeral"]) == 64
    assert (hello["engine"], hello["version"], hello["nonce"], hello["epoch"]) == ("paddington", "0.94.0", 0, 7)
    assert list(hello["session_key"]) == ["data"] and len(hello["session_key"]["data"]) == 64
    client, server = dialling(), accepting()
    greet(client, server)
    assert open_frame(client.keys, client.create_details()) == {
        "name": "aip1", "zone": "default", "version": 2,
        "standby_status": {"server_is_secondary": False, "client_is_secondary": False},
        "supports_nonce": True, "nonce": 1, "epoch": 7, "supports_batch": True,
    }  # fmt: skip


def test_plain_salts() -> None:
    client, server = dialling(), accepting()
    client.create_upgrade()
    headers = {
        "openportal-salt-format": "Plain",
        "openportal-inner-salt": client.keys.inner_salt.hex(),
        "openportal-outer-salt": client.keys.outer_salt.hex(),
    }
    server.consume_upgrade(headers, "127.0.0.1")
    server.consume_handshake(client.create_handshake())
    client.consume_handshake(server.create_handshake())
    assert name(client, server) is False


def test_plain_salts_without_the_word_fail() -> None:
    client, server = dialling(), accepting()
    client.create_upgrade()
    keys = client.keys
    headers = {"openportal-inner-salt": keys.inner_salt.hex(), "openportal-outer-salt": keys.outer_salt.hex()}
    server.consume_upgrade(headers, "127.0.0.1")
    with pytest.raises(HandshakeError, match="no configured client"):
        server.consume_handshake(client.create_handshake())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"openportal-inner-salt": None}, "no openportal-inner-salt header"),
        ({"openportal-outer-salt": None}, "no openportal-outer-salt header"),
        ({"openportal-outer-salt": "00" * 31}, "32 bytes"),
        ({"openportal-inner-salt": "zz" * 32}, "32 bytes"),
        ({"openportal-inner-salt": ""}, "32 bytes"),
        ({"openportal-inner-salt": "00 " * 32}, "32 bytes"),
    ],
)
def test_bad_salt_headers(changes: dict[str, str | None], words: str) -> None:
    headers = {k: v for k, v in {**dialling().create_upgrade(), **changes}.items() if v is not None}
    with pytest.raises(HandshakeError, match=words):
        accepting().consume_upgrade(headers, "127.0.0.1")


def test_address() -> None:
    with pytest.raises(HandshakeError, match=r"10\.0\.0\.1"):
        accepting().consume_upgrade(dialling().create_upgrade(), "10.0.0.1")
    with pytest.raises(HandshakeError):
        accepting(Neighbour(ip=None)).consume_upgrade(dialling().create_upgrade(), "127.0.0.1")


def test_the_client_is_found_among_many() -> None:
    others = [Neighbour(f"n{i}", inner_key=os.urandom(32), outer_key=os.urandom(32)) for i in range(20)]
    client, server = dialling(), accepting(*others, Neighbour())
    greet(client, server)
    assert server.peer == AIP1


@pytest.mark.parametrize("key", ["inner_key", "outer_key"])
def test_wrong_key(key: str) -> None:
    client, server = dialling(server=Neighbour("brics", **{key: b"\x09" * 32})), accepting()
    server.consume_upgrade(client.create_upgrade(), "127.0.0.1")
    with pytest.raises(HandshakeError, match="no configured client"):
        server.consume_handshake(client.create_handshake())


@pytest.mark.parametrize(("me", "zone", "words"), [("aip2", "default", "name"), ("aip1", "other", "zone")])
def test_wrong_name_or_zone(me: str, zone: str, words: str) -> None:
    client, server = dialling(me, Neighbour("brics", zone)), accepting()
    greet(client, server)
    with pytest.raises(HandshakeError, match=words):
        server.consume_details(client.create_details())


def test_the_client_checks_the_server() -> None:
    client, server = dialling(server=Neighbour("other")), accepting()
    greet(client, server)
    server.consume_details(client.create_details())
    with pytest.raises(HandshakeError, match="name"):
        client.consume_details(server.create_details(False))


def details(**changes: Any) -> dict[str, Any]:
    status = {"server_is_secondary": False, "client_is_secondary": False}
    return {"name": "aip1", "zone": "default", "version": 2, "standby_status": status, **changes}


@pytest.mark.parametrize(
    "message",
    [details(version=3), details(version="2"), details(standby_status=None), details(standby_status={}),
     details(name=1), details(nonce=-1, epoch=1), details(nonce=2**64), details(nonce=1, epoch=2**64), {}, [], None],
)  # fmt: skip
def test_strange_details(message: Any) -> None:
    client, server = dialling(), accepting()
    greet(client, server)
    with pytest.raises((HandshakeError, ReplayError)):
        server.consume_details(seal(server.keys, msgspec.json.encode(message), os.urandom(RANDOM_BYTES)))


def test_a_legacy_peer() -> None:
    client, server = dialling(), accepting()
    greet(client, server)
    server.consume_details(seal(server.keys, msgspec.json.encode(details(unknown=1)), os.urandom(RANDOM_BYTES)))
    session = server.session(0.0)
    assert not session.batches
    assert [open_frame(server.keys, f) for f in session.frames([b'"a"', b'"b"'])] == ["a", "b"]


@pytest.mark.parametrize(("nonce", "batch", "agreed"), [(True, True, True), (True, False, False), (False, True, False)])
def test_batches_need_nonces(nonce: bool, batch: bool, agreed: bool) -> None:
    client, server = dialling(), accepting()
    greet(client, server)
    message = details(supports_nonce=nonce, supports_batch=batch)
    server.consume_details(seal(server.keys, msgspec.json.encode(message), os.urandom(RANDOM_BYTES)))
    assert server.session(0.0).batches is agreed


def test_batches_can_be_turned_off() -> None:
    client, server = dialling(batches=False), accepting()
    greet(client, server)
    name(client, server)
    assert not client.session(0.0).batches and not server.session(0.0).batches


@pytest.mark.parametrize("key", [{"data": "00" * 32}, {"data": "11" * 31}, {"data": "zz" * 32}, "11" * 32, {}, None])
def test_bad_session_keys_are_refused_by_both_sides(key: Any) -> None:
    message = msgspec.json.encode({"session_key": key, "engine": "paddington", "version": "0.32.2"})
    client, server = dialling(), accepting()
    server.consume_upgrade(client.create_upgrade(), "127.0.0.1")
    with pytest.raises(HandshakeError):
        server.consume_handshake(seal(client.keys, message, os.urandom(RANDOM_BYTES)))
    client.create_handshake()
    with pytest.raises(HandshakeError):
        client.consume_handshake(seal(client.keys, message, os.urandom(RANDOM_BYTES)))


# ---- forward secrecy ------------------------------------------------------------------------------------------------


@dataclass
class Recorded:
    """One handshake as somebody sees it who records the wire, and later gets the configured keys."""

    client: Dialling
    server: Accepting
    frames: list[bytes]
    salts: tuple[bytes, bytes]

    def keys_from_the_handshakes(self) -> Keys:
        neighbour = Neighbour()
        keys = Keys(neighbour.inner_key, neighbour.outer_key, *self.salts)
        keys = keys.with_outer(bytes.fromhex(open_frame(keys, self.frames[0])["session_key"]["data"]))
        return keys.with_inner(bytes.fromhex(open_frame(keys, self.frames[1])["session_key"]["data"]))


def recorded(client: Dialling, server: Accepting) -> Recorded:
    server.consume_upgrade(client.create_upgrade(), "127.0.0.1")
    salts = client.keys.inner_salt, client.keys.outer_salt
    first = client.create_handshake()
    server.consume_handshake(first)
    second = server.create_handshake()
    client.consume_handshake(second)
    third = client.create_details()
    server.consume_details(third)
    client.consume_details(server.create_details(False))
    return Recorded(client, server, [first, second, third], salts)


def test_a_recording_and_the_configured_keys_do_not_open_a_session() -> None:
    wire = recorded(dialling(), accepting())
    keys = wire.keys_from_the_handshakes()
    (message,) = wire.client.session(0.0).frames([b'"secret"'])
    for frame in (wire.frames[2], message):
        with pytest.raises(FrameError):
            open_frame(keys, frame)
    assert wire.server.session(0.0).receive(message, 1.0) == ("secret",)


@pytest.mark.parametrize(("here", "there"), [(True, False), (False, True), (False, False)])
def test_without_an_offer_from_both_the_session_is_as_it_always_was(here: bool, there: bool) -> None:
    wire = recorded(dialling(secrecy=here), accepting(secrecy=there))
    keys = wire.keys_from_the_handshakes()
    (message,) = wire.client.session(0.0).frames([b'"secret"'])
    assert open_frame(keys, message) == {"nonce": 0, "payload": "secret"}
    assert wire.server.session(0.0).receive(message, 1.0) == ("secret",)
    assert wire.client.next_keys is None and wire.server.next_keys is None


def test_no_offer_is_made_unasked() -> None:
    client, server = dialling(secrecy=False), accepting()
    server.consume_upgrade(client.create_upgrade(), "127.0.0.1")
    server.consume_handshake(client.create_handshake())
    keys = server.keys
    assert "ephemeral" not in open_frame(keys, server.create_handshake())


def test_taking_the_offer_out_of_a_handshake_breaks_its_seal() -> None:
    """The downgrade: nobody without the configured keys can make the peer believe that we offer nothing."""
    client, server = dialling(), accepting()
    server.consume_upgrade(client.create_upgrade(), "127.0.0.1")
    frame = bytearray(client.create_handshake())
    frame[-40:] = b"0" * 40
    with pytest.raises(HandshakeError, match="no configured client"):
        server.consume_handshake(bytes(frame))


def test_both_sides_derive_the_same_next_keys_and_new_ones_each_time() -> None:
    first, second = recorded(dialling(), accepting()), recorded(dialling(), accepting())
    assert first.client.next_keys == first.server.next_keys is not None
    assert first.client.next_keys != second.client.next_keys


@pytest.mark.parametrize("point", ["00" * 32, "01" + "00" * 31, "11" * 31, "zz" * 32, 7, ["a"]])
def test_bad_ephemeral_keys_are_refused_by_both_sides(point: Any) -> None:
    key = {"data": "11" * 32}
    hello = {"session_key": key, "engine": "paddington", "version": "0.94.0", "ephemeral": point}
    frame = msgspec.json.encode(hello)
    client, server = dialling(), accepting()
    server.consume_upgrade(client.create_upgrade(), "127.0.0.1")
    with pytest.raises(HandshakeError):
        server.consume_handshake(seal(client.keys, frame, os.urandom(RANDOM_BYTES)))
        server.create_handshake()
    client.create_handshake()
    with pytest.raises(HandshakeError):
        client.consume_handshake(seal(client.keys, frame, os.urandom(RANDOM_BYTES)))


# ---- recordings -----------------------------------------------------------------------------------------------------


def test_a_recorded_handshake_opens_nothing() -> None:
    """Also after other epochs, and after the connection it came from ended."""
    shared = local("brics")
    client = dialling()
    headers, hello = client.create_upgrade(), client.create_handshake()

    def accept() -> None:
        server = Accepting(shared, (Neighbour(),))
        server.consume_upgrade(headers, "127.0.0.1")
        server.consume_handshake(hello)

    accept()
    with pytest.raises(ReplayError):
        accept()
    for epoch in range(100, 100 + EPOCHS_PER_PEER_COUNT - 1):
        greet(dialling(epoch=epoch), Accepting(shared, (Neighbour(),)))
    with pytest.raises(ReplayError):
        accept()


def test_reconnecting_is_no_replay() -> None:
    here, there = local("aip1"), local("brics")
    for _ in range(3000):
        here.bootstrap.next_nonce(BRICS)
    for _ in range(3):
        client, server = Dialling(here, Neighbour("brics")), Accepting(there, (Neighbour(),))
        greet(client, server)
        name(client, server)


def test_windows_per_epoch_and_peer() -> None:
    boot = Bootstrap(1)
    boot.check(AIP1, 5, 1)
    boot.check(AIP1, 5, 2)
    boot.check(AIP1, 5, None)
    boot.check(BRICS, 5, 1)
    boot.check(AIP1, None, 1)
    for epoch in (1, 2, None):
        with pytest.raises(ReplayError):
            boot.check(AIP1, 5, epoch)
    for epoch in range(10, 10 + EPOCHS_PER_PEER_COUNT):
        boot.check(AIP1, 5, epoch)
    boot.check(AIP1, 5, 1)  # the oldest epochs are forgotten


# ---- the table ------------------------------------------------------------------------------------------------------


def test_every_state_can_end_and_the_end_is_the_end() -> None:
    for state in State:
        if state is not State.CLOSED:
            assert advance(state, Event.CLOSED) is State.CLOSED
    for event in Event:
        with pytest.raises(HandshakeError):
            advance(State.CLOSED, event)


def test_what_is_not_in_the_table_is_an_error() -> None:
    for state in State:
        for event in Event:
            if (state, event) not in TRANSITIONS:
                with pytest.raises(HandshakeError, match="came while"):
                    advance(state, event)


# ---- fuzz -----------------------------------------------------------------------------------------------------------


@PATIENT
@given(st.binary(max_size=600))
def test_any_bytes_under_the_right_keys(plaintext: bytes) -> None:
    client, server = dialling(), accepting()
    server.consume_upgrade(client.create_upgrade(), "127.0.0.1")
    frame = seal(client.keys, plaintext, os.urandom(RANDOM_BYTES))
    with pytest.raises((HandshakeError, FrameError)):
        server.consume_handshake(frame)
    greet(client, server)
    frame = seal(server.keys, plaintext, os.urandom(RANDOM_BYTES))
    with pytest.raises((HandshakeError, FrameError)):
        server.consume_details(frame)
    with pytest.raises((HandshakeError, FrameError)):
        client.consume_status(frame)


@PATIENT
@given(st.builds(
    PeerDetails, name=st.text(), zone=st.text(), version=st.integers(-(2**63), 2**63), standby_status=st.none(),
    nonce=st.none() | st.integers(-(2**64), 2**65), epoch=st.none() | st.integers(-(2**64), 2**65),
))  # fmt: skip
def test_any_details(message: PeerDetails) -> None:
    client, server = dialling(), accepting()
    greet(client, server)
    with pytest.raises((HandshakeError, ReplayError)):
        server.consume_details(seal(server.keys, msgspec.json.encode(message), os.urandom(RANDOM_BYTES)))


@PATIENT
@given(st.dictionaries(st.sampled_from(["openportal-inner-salt", "openportal-outer-salt", "x"]), st.text()))
def test_any_headers(headers: dict[str, str]) -> None:
    with pytest.raises(HandshakeError):
        accepting().consume_upgrade(headers, "127.0.0.1")


@PATIENT
@given(st.one_of(st.text(), st.binary()))
def test_any_first_frame(junk: str | bytes) -> None:
    server = accepting()
    server.consume_upgrade(dialling().create_upgrade(), "127.0.0.1")
    with pytest.raises(HandshakeError):
        server.consume_handshake(junk)
