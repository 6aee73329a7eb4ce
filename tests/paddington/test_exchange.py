"""Real sockets on 127.0.0.1: links come up, messages pass in order, strangers do not, and what breaks heals."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from openportal.errors import ConfigError, FrameError, NotConnected, QueueFull
from openportal.paddington import exchange as exchange_module
from openportal.paddington import link as link_module
from openportal.paddington import session as session_module
from openportal.paddington.config import ClientPeer, IpRules, ServerPeer, ServiceConfig
from openportal.paddington.crypto import RANDOM_BYTES, Keys, open_frame, seal, xor
from openportal.paddington.exchange import Exchange
from openportal.paddington.frames import extent, text_frame
from openportal.paddington.link import NETWORK_DEAD_SECONDS, tune, worth_a_line
from openportal.paddington.peer import Backoff, Links, Peer
from openportal.paddington.session import FRAME_MAX_BYTES, MESSAGE_MAX_BYTES

INNER, OUTER = b"\x01" * 32, b"\x02" * 32
AIP1, BRICS = Peer("aip1", "default"), Peer("brics", "default")
QUICK = Backoff(0.02, 0.04, 0.1)
PATIENCE_SECONDS = 10.0


class Log:
    """Writes down what an exchange tells it."""

    def __init__(self) -> None:
        self.ups: list[Peer] = []
        self.downs: list[tuple[Peer, str]] = []
        self.texts: list[str] = []

    def connected(self, peer: Peer) -> None:
        self.ups.append(peer)

    def received(self, peer: Peer, text: str) -> None:
        self.texts.append(text)

    def disconnected(self, peer: Peer, reason: str) -> None:
        self.downs.append((peer, reason))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - there is no event for most of what is waited for
            await asyncio.sleep(0.002)


def listening(port: int, allow: str = "127.0.0.1", **changes: Any) -> ServiceConfig:
    client = ClientPeer("aip1", "default", IpRules.parse(allow), INNER, OUTER)
    return ServiceConfig("brics", f"ws://127.0.0.1:{port}", "127.0.0.1", port, **{"clients": (client,), **changes})


def dialling(port: int, name: str = "aip1", **changes: Any) -> ServiceConfig:
    server = ServerPeer("brics", "default", f"ws://127.0.0.1:{port}", INNER, OUTER)
    return ServiceConfig(name, "ws://127.0.0.1:1", "127.0.0.1", 1, **{"servers": (server,), **changes})


@asynccontextmanager
async def running(config: ServiceConfig, log: Any = None, **kwargs: Any) -> AsyncIterator[Exchange]:
    exchange = Exchange(config, log or Log(), reconnect=QUICK, **kwargs)
    await exchange.start()
    try:
        yield exchange
    finally:
        await exchange.stop()


@asynccontextmanager
async def linked(first: Any, second: Any, **kwargs: Any) -> AsyncIterator[tuple[Exchange, Exchange]]:
    port = free_port()
    async with running(listening(port), first) as brics, running(dialling(port), second, **kwargs) as aip1:
        await until(lambda: brics.connected_peers() and aip1.connected_peers())
        yield brics, aip1


class Legacy:
    """A 0.32.2 client: plain `websockets`, no nonces, masked salts unless told otherwise."""

    def __init__(self, ws: ClientConnection, keys: Keys) -> None:
        self.ws, self.keys = ws, keys
        self.standby: dict[str, bool] = {}

    async def send(self, value: Any) -> bytes:
        frame = seal(self.keys, msgspec.json.encode(value), os.urandom(RANDOM_BYTES))
        await self.ws.send(frame, text=True)
        return frame

    async def recv(self) -> Any:
        return open_frame(self.keys, await asyncio.wait_for(self.ws.recv(), PATIENCE_SECONDS))


def upgrade_headers(salts: tuple[bytes, bytes], plain: bool) -> dict[str, str]:
    inner, outer = salts
    if plain:
        return {
            "openportal-salt-format": "plain",
            "openportal-inner-salt": inner.hex(),
            "openportal-outer-salt": outer.hex(),
        }
    return {"openportal-inner-salt": xor(inner, OUTER).hex(), "openportal-outer-salt": xor(outer, INNER).hex()}


@asynccontextmanager
async def legacy(
    port: int, *, plain: bool = False, headers: dict[str, str] | None = None, source: str = "127.0.0.1", **details: Any
) -> AsyncIterator[Legacy]:
    salts = os.urandom(32), os.urandom(32)
    sent = {**upgrade_headers(salts, plain), **(headers or {})}
    url = f"ws://127.0.0.1:{port}"
    async with connect(
        url, additional_headers=sent, compression=None, max_size=None, ping_interval=None, close_timeout=1,
        local_addr=(source, 0),
    ) as ws:  # fmt: skip
        peer = Legacy(ws, Keys(INNER, OUTER, *salts))
        session_outer = os.urandom(32)
        await peer.send({"session_key": {"data": session_outer.hex()}, "engine": "paddington", "version": "0.32.2"})
        peer.keys = peer.keys.with_outer(session_outer)
        answer = await peer.recv()
        peer.keys = peer.keys.with_inner(bytes.fromhex(answer["session_key"]["data"]))
        status = {"server_is_secondary": False, "client_is_secondary": False}
        await peer.send({"name": "aip1", "zone": "default", "version": 2, "standby_status": status, **details})
        peer.standby = (await peer.recv())["standby_status"]
        yield peer


# ---- links and messages ---------------------------------------------------------------------------------------------


async def test_both_ends_are_told_and_messages_pass() -> None:
    first, second = Log(), Log()
    async with linked(first, second) as (brics, aip1):
        links: Links = brics
        assert links.connected_peers() == (AIP1,) and aip1.connected_peers() == (BRICS,)
        brics.send(AIP1, "down é \u0000 \U0001f600")
        aip1.send(BRICS, "up")
        await until(lambda: first.texts and second.texts)
        assert (first.texts, second.texts) == (["up"], ["down é \u0000 \U0001f600"])
    assert (first.ups, second.ups) == ([AIP1], [BRICS])
    assert second.downs == [(BRICS, "the service stops")]
    assert len(first.downs) == 1
    assert brics.strangers == 0 and not brics.links


@pytest.mark.parametrize("batches", [True, False])
async def test_ten_thousand_messages_in_order(batches: bool) -> None:
    first, second = Log(), Log()
    async with linked(first, second, batches=batches) as (brics, aip1):
        texts = [f'{{"job":{i},"text":"é\\n"}}' for i in range(10_000)]
        for text in texts:
            aip1.send(BRICS, text)
            brics.send(AIP1, text)
        await until(lambda: len(first.texts) == len(second.texts) == 10_000)
        assert first.texts == second.texts == texts
        assert brics.stats.messages_in == 10_000
        assert (brics.stats.frames_in < 1_000) is batches
        assert not brics.stats.rejected and not aip1.stats.rejected


async def test_the_longest_message() -> None:
    first, second = Log(), Log()
    async with linked(first, second) as (_, aip1):
        text = "x" * (MESSAGE_MAX_BYTES - 2)
        with pytest.raises(FrameError):
            aip1.send(BRICS, text + "x")
        aip1.send(BRICS, text)
        aip1.send(BRICS, "next")
        await until(lambda: len(first.texts) == 2)
        assert first.texts == [text, "next"]


async def test_what_is_sent_in_connected_and_received_leaves() -> None:
    class Echo(Log):
        exchange: Exchange

        def connected(self, peer: Peer) -> None:
            super().connected(peer)
            self.exchange.send(peer, "welcome")

        def received(self, peer: Peer, text: str) -> None:
            self.exchange.send(peer, text + "!")

    port, echo, log = free_port(), Echo(), Log()
    async with running(listening(port), echo) as brics:
        echo.exchange = brics
        async with running(dialling(port), log) as aip1:
            await until(lambda: log.texts)
            aip1.send(BRICS, "hello")
            await until(lambda: len(log.texts) == 2)
    assert log.texts == ["welcome", "hello!"]


async def test_no_link_no_sending() -> None:
    async with running(dialling(free_port())) as aip1:
        with pytest.raises(NotConnected, match="brics@default"):
            aip1.send(BRICS, "x")
        aip1.drop(BRICS, "nothing to drop")


async def test_a_handler_that_fails_does_not_end_the_link(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Log):
        def connected(self, peer: Peer) -> None:
            super().connected(peer)
            raise RuntimeError("bug one")

        def received(self, peer: Peer, text: str) -> None:
            super().received(peer, text)
            raise RuntimeError("bug two")

    first, second = Failing(), Log()
    async with linked(first, second) as (_, aip1):
        aip1.send(BRICS, "a")
        aip1.send(BRICS, "b")
        await until(lambda: len(first.texts) == 2)
        assert not first.downs
    assert "bug one" in caplog.text and "bug two" in caplog.text


async def test_drop_writes_what_was_queued_and_the_link_comes_back() -> None:
    first, second = Log(), Log()
    async with linked(first, second) as (brics, _):
        brics.send(AIP1, "last words")
        brics.drop(AIP1, "soft restart")
        assert first.downs == [] and brics.connected_peers() == ()
        await until(lambda: len(first.ups) == len(second.ups) == 2)
        assert second.texts == ["last words"]
        assert first.downs == [(AIP1, "soft restart")]
        assert second.downs == [(BRICS, "the peer closed the websocket")]


async def test_a_drop_inside_received_stops_the_rest() -> None:
    class Dropping(Log):
        exchange: Exchange

        def received(self, peer: Peer, text: str) -> None:
            super().received(peer, text)
            self.exchange.drop(peer, "enough")

    first, second = Dropping(), Log()
    async with linked(first, second) as (brics, aip1):
        first.exchange = brics
        for text in "abc":
            aip1.send(BRICS, text)
        await until(lambda: len(first.ups) == 2)
        assert first.texts == ["a"]


async def test_pausing_new_links() -> None:
    port, log = free_port(), Log()
    async with running(listening(port), log) as brics:
        brics.pause_new_links(True)
        async with running(dialling(port)) as aip1:
            await until(lambda: brics.stats.refused["paused"] >= 2)
            assert not log.ups
            brics.pause_new_links(False)
            await until(lambda: log.ups)
            aip1.pause_new_links(True)
            aip1.drop(BRICS, "test")
            await until(lambda: log.downs)
            await asyncio.sleep(0.15)
            assert len(log.ups) == 1
            aip1.pause_new_links(False)
            await until(lambda: len(log.ups) == 2)


async def test_reconnects_after_the_server_restarts() -> None:
    port, log = free_port(), Log()
    async with running(dialling(port), log) as aip1:
        for round_ in (1, 2, 3):
            server_log = Log()
            async with running(listening(port), server_log):
                await until(lambda n=round_: len(log.ups) == n)
                aip1.send(BRICS, f"round {round_}")
                await until(lambda heard=server_log: heard.texts)
            await until(lambda n=round_: len(log.downs) == n)


async def test_stopping_while_dialling() -> None:
    with socket.socket() as silent:  # accepts at TCP level and never speaks
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with running(dialling(silent.getsockname()[1])) as aip1:
            await until(lambda: aip1.links)
        assert not aip1.links


# ---- other kinds of peer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
async def test_a_legacy_client(plain: bool) -> None:
    port, log = free_port(), Log()
    async with running(listening(port), log) as brics, legacy(port, plain=plain) as peer:
        assert peer.standby == {"server_is_secondary": False, "client_is_secondary": False}
        await peer.send("KEEPALIVE")
        await peer.send('{"Register":{}}')
        await until(lambda: log.texts)
        assert log.texts == ['{"Register":{}}']
        brics.send(AIP1, "one")
        brics.send(AIP1, "two")
        assert [await peer.recv(), await peer.recv()] == ["one", "two"]
    assert log.downs


async def test_a_client_with_nonces_and_without_batches() -> None:
    port, log = free_port(), Log()
    async with running(listening(port), log) as brics, legacy(port, supports_nonce=True, nonce=1, epoch=2) as peer:
        await peer.send({"nonce": 0, "payload": "a"})
        await peer.send("without")
        await peer.send({"nonce": 1, "batch": ["x"]})
        await peer.send({"nonce": 2, "payload": "b"})
        await until(lambda: len(log.texts) == 2)
        assert log.texts == ["a", "b"]
        assert brics.stats.rejected == {"ReplayError": 1, "FrameError": 1}
        brics.send(AIP1, "one")
        brics.send(AIP1, "two")
        assert [await peer.recv(), await peer.recv()] == [
            {"nonce": 0, "payload": "one"},
            {"nonce": 1, "payload": "two"},
        ]


async def test_batches_when_both_say_so() -> None:
    port, log = free_port(), Log()
    async with (
        running(listening(port), log) as brics,
        legacy(port, supports_nonce=True, supports_batch=True) as peer,
    ):
        await until(lambda: log.ups)
        brics.send(AIP1, "one")
        brics.send(AIP1, "two")
        assert await peer.recv() == {"nonce": 0, "batch": ["one", "two"]}
        await peer.send({"nonce": 0, "batch": ["a", "KEEPALIVE", "b"]})
        await until(lambda: log.texts == ["a", "b"])


async def test_replayed_and_broken_frames_are_dropped_and_the_link_stays(caplog: pytest.LogCaptureFixture) -> None:
    port, log = free_port(), Log()
    async with running(listening(port), log) as brics, legacy(port, supports_nonce=True) as peer:
        frame = await peer.send({"nonce": 0, "payload": "once"})
        await peer.ws.send(frame, text=True)
        await peer.ws.send("")
        await peer.ws.send("é" * 40)
        await peer.ws.send("0" * 600)
        await peer.send({})
        await peer.send({"nonce": 1, "payload": "after"})
        await until(lambda: len(log.texts) == 2)
        assert log.texts == ["once", "after"]
        assert brics.stats.rejected == {"ReplayError": 2, "FrameError": 3}
        assert not log.downs
    assert "seen before" in caplog.text


async def test_fragments_pings_and_binary() -> None:
    port, log = free_port(), Log()
    async with running(listening(port), log), legacy(port) as peer:
        frame = seal(peer.keys, b'"in parts"', os.urandom(RANDOM_BYTES))
        await peer.ws.send([frame[:100], frame[100:200], frame[200:]], text=True)
        await asyncio.wait_for(await peer.ws.ping(b"x"), PATIENCE_SECONDS)
        await peer.ws.send(seal(peer.keys, b'"binary"', os.urandom(RANDOM_BYTES)))
        await peer.send("whole")
        await until(lambda: len(log.texts) == 3)
        assert log.texts == ["in parts", "binary", "whole"]


async def test_bytes_may_come_one_at_a_time() -> None:
    port, log = free_port(), Log()
    async with running(listening(port), log), legacy(port) as peer:
        frames = b"".join(
            Frame(Opcode.TEXT, seal(peer.keys, text, os.urandom(RANDOM_BYTES))).serialize(mask=True)
            for text in (b'"slow"', b'"ly"')
        )
        for i in range(len(frames)):
            peer.ws.transport.write(frames[i : i + 1])
            if i % 8 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(log.texts) == 2)
        assert log.texts == ["slow", "ly"]


async def test_standby_and_promotion() -> None:
    port, log = free_port(), Log()
    async with running(listening(port), log) as brics, legacy(port):
        async with legacy(port) as second:
            assert second.standby["client_is_secondary"] is True
            await second.send({})
            assert await second.recv() == {"server_is_secondary": False, "client_is_secondary": True}
            await second.send("too early")
        await until(lambda: brics.standby[AIP1] == 0)
        assert brics.stats.rejected == {"HandshakeError": 1}
        async with legacy(port) as third:
            brics.drop(AIP1, "test")
            await third.send({})
            assert await third.recv() == {"server_is_secondary": False, "client_is_secondary": False}
            await third.send("hello")
            await until(lambda: log.texts == ["hello"])
            assert len(log.ups) == 2


async def test_our_client_stands_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "POLL_SECONDS", 0.05)
    port, first, second = free_port(), Log(), Log()
    async with running(listening(port)) as brics:
        primary = Exchange(dialling(port), first, reconnect=QUICK)
        await primary.start()
        await until(lambda: first.ups)
        async with running(dialling(port), second) as replica:
            await until(lambda: brics.standby[AIP1] == 1)
            await asyncio.sleep(0.2)
            assert replica.connected_peers() == ()
            await primary.stop()
            await until(lambda: second.ups)
            replica.send(BRICS, "my turn")
            await until(lambda: brics.stats.messages_in == 1)


async def test_too_many_stand_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "STANDBY_MAX_PER_PEER", 1)
    port = free_port()
    async with running(listening(port)), legacy(port), legacy(port):
        await refused(lambda: legacy(port).__aenter__())


# ---- takeover -----------------------------------------------------------------------------------------------------


async def test_a_second_address_is_refused_and_alarmed(caplog: pytest.LogCaptureFixture) -> None:
    port, log = free_port(), Log()
    async with running(listening(port, "127.0.0.0/8"), log) as brics, legacy(port) as first:
        await refused(lambda: legacy(port, source="127.0.0.2").__aenter__())
        assert brics.stats.alarms == {("aip1@default", "takeover"): 1}
        assert brics.stats.refused == {"takeover": 1}
        await first.send("still here")
        await until(lambda: log.texts == ["still here"])
        assert len(log.ups) == 1 and not log.downs
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "aip1@default at 127.0.0.2" in record.getMessage() and "linked from 127.0.0.1" in record.getMessage()


async def test_a_second_agent_of_ours_at_another_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new process has a new epoch; it is the address that gives it away."""
    port, log = free_port(), Log()
    async with running(listening(port, "127.0.0.0/8"), log) as brics, running(dialling(port)):
        await until(lambda: log.ups)
        create = asyncio.get_running_loop().create_connection
        monkeypatch.setattr(
            asyncio.get_running_loop(), "create_connection",
            lambda *args, **kwargs: create(*args, **kwargs, local_addr=("127.0.0.3", 0)), raising=False,
        )  # fmt: skip
        async with running(dialling(port)) as thief:
            await until(lambda: brics.stats.alarms["aip1@default", "takeover"] >= 2)
            assert thief.connected_peers() == ()
        assert not log.downs


async def test_a_standby_pair_may_have_two_addresses() -> None:
    port = free_port()
    config = listening(port, "127.0.0.0/8")
    pair = replace(config, clients=(replace(config.clients[0], standby=True),))
    async with running(pair) as brics, legacy(port), legacy(port, source="127.0.0.2") as second:
        assert second.standby["client_is_secondary"] is True
        assert brics.standby[AIP1] == 1 and not brics.stats.alarms


async def test_a_link_that_is_dead_does_not_lock_its_owner_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is half open: nothing says that it ended. A rival makes the silence count sooner, whichever its address."""
    monkeypatch.setattr(session_module, "RIVAL_SILENCE_MAX_SECONDS", 0.3)
    port, log = free_port(), Log()
    async with running(listening(port, "127.0.0.0/8"), log), legacy(port) as first:
        await until(lambda: log.ups)
        await asyncio.sleep(0.4)
        assert not log.downs  # nobody else claims to be it
        await refused(lambda: legacy(port, source="127.0.0.2").__aenter__())
        await until(lambda: log.downs)
        async with legacy(port, source="127.0.0.2"):
            await until(lambda: len(log.ups) == 2)
        assert first.standby["client_is_secondary"] is False
    assert "nothing was heard" in log.downs[0][1]


# ---- strangers ----------------------------------------------------------------------------------------------------


async def refused(attempt: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises((ConnectionClosed, OSError, EOFError, Exception)) as caught:
        await asyncio.wait_for(attempt(), PATIENCE_SECONDS)
    assert not isinstance(caught.value, TimeoutError)


async def closed_without_a_word(port: int, data: bytes) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
    except ConnectionError:
        return True
    finally:
        writer.close()


@pytest.mark.parametrize(
    "change",
    [{"inner_key": b"\x09" * 32}, {"outer_key": b"\x09" * 32}, {"zone": "other"}, {"name": "someone"}],
)
async def test_who_is_not_who_it_must_be_is_refused(change: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    port, log = free_port(), Log()
    server = {"name": "brics", "zone": "default", "inner_key": INNER, "outer_key": OUTER, **change}
    config = dialling(port, servers=(ServerPeer(url=f"ws://127.0.0.1:{port}", **server),))
    with caplog.at_level(logging.WARNING):
        async with running(listening(port), log) as brics, running(config, log) as aip1:
            counts = brics.stats.refused if "name" not in change else aip1.stats.refused
            await until(lambda: counts["HandshakeError"] >= 2)
            assert not aip1.connected_peers()
            assert "name" in change or not log.ups
    assert "no link to" in caplog.text


async def test_an_address_that_no_client_has_is_dropped_unheard() -> None:
    port = free_port()
    async with running(listening(port, allow="10.0.0.1")) as brics:
        assert await closed_without_a_word(port, b"")
        await until(lambda: brics.stats.refused["address"] == 1)


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"\x16\x03\x01\r\n\r\n",
     b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000, b"x" * 20_000],
)  # fmt: skip
async def test_what_is_no_upgrade_gets_no_answer(data: bytes) -> None:
    port = free_port()
    async with running(listening(port)) as brics:
        assert await closed_without_a_word(port, data)
        assert brics.strangers == 0


@pytest.mark.parametrize(
    "headers",
    [{"openportal-inner-salt": "00"}, {"openportal-outer-salt": "x" * 64}, {"openportal-salt-format": "plain"}],
)
async def test_bad_salts_are_refused(headers: dict[str, str]) -> None:
    port = free_port()
    async with running(listening(port)) as brics:
        await refused(lambda: legacy(port, headers=headers).__aenter__())
        assert brics.stats.refused["HandshakeError"] == 1


async def test_strangers_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "STRANGERS_MAX", 1)
    monkeypatch.setattr(link_module, "HANDSHAKE_SECONDS", 0.2)
    port = free_port()
    async with running(listening(port)) as brics:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: brics.strangers == 1)
        assert await closed_without_a_word(port, b"")
        assert brics.stats.refused["full"] == 1
        await until(lambda: brics.stats.refused["timeout"] == 1 and brics.strangers == 0)
        writer.close()
        async with legacy(port):
            assert brics.strangers == 0


async def test_oversized_frames_cut_the_link() -> None:
    port, log = free_port(), Log()
    async with running(listening(port), log) as brics:
        async with legacy(port) as peer:
            await until(lambda: log.ups)
            with pytest.raises(ConnectionClosed):
                await peer.ws.send("0" * (FRAME_MAX_BYTES + 1))
                await peer.recv()
        await until(lambda: log.downs)
        assert "at most" in log.downs[0][1]
        async with legacy(port) as peer:
            await until(lambda: len(log.ups) == 2)
            half = "0" * (FRAME_MAX_BYTES // 2 + 1)
            with pytest.raises(ConnectionClosed):
                await peer.ws.send([half, half])
                await peer.recv()
        await until(lambda: len(log.downs) == 2)
        assert brics.stats.refused["FrameError"] == 1


async def test_a_stranger_may_not_send_much() -> None:
    port = free_port()
    async with running(listening(port)) as brics:
        headers = upgrade_headers((os.urandom(32), os.urandom(32)), plain=False)
        async with connect(f"ws://127.0.0.1:{port}", additional_headers=headers, compression=None) as ws:
            await ws.send("0" * 100_000)
            with pytest.raises(ConnectionClosed):
                await ws.recv()
        assert brics.stats.refused["FrameError"] == 1


async def test_unmasked_frames_break_the_protocol() -> None:
    port, log = free_port(), Log()
    async with running(listening(port), log), legacy(port) as peer:
        await until(lambda: log.ups)
        peer.ws.transport.write(text_frame(b"x", b""))
        await until(lambda: log.downs)
        assert "masking" in log.downs[0][1]


# ---- proxies ------------------------------------------------------------------------------------------------------


async def test_a_trusted_proxy_speaks_for_others() -> None:
    port, log = free_port(), Log()
    rules = {"proxy_header": "X-Real-IP", "trusted_proxy": IpRules.parse("127.0.0.1")}
    async with running(listening(port, allow="10.1.0.0/16", **rules), log) as brics:
        async with legacy(port, headers={"X-Real-IP": "10.1.2.3"}):
            await until(lambda: log.ups)
        for said in ("10.2.0.1", "10.1.2.3, 10.1.2.4", "nobody", ""):
            await refused(lambda text=said: legacy(port, headers={"X-Real-IP": text}).__aenter__())
        await refused(lambda: legacy(port).__aenter__())
        assert len(log.ups) == 1 and brics.stats.refused["HandshakeError"] == 5


async def test_the_header_of_anyone_else_is_ignored() -> None:
    port, log = free_port(), Log()
    rules = {"proxy_header": "X-Real-IP", "trusted_proxy": IpRules.parse("10.0.0.1")}
    async with (
        running(listening(port, **rules), log) as brics,
        legacy(port, headers={"X-Real-IP": "192.168.0.1"}),
    ):
        await until(lambda: log.ups)
        assert brics.stats.refused["untrusted proxy header"] == 1


# ---- pressure and time --------------------------------------------------------------------------------------------


async def test_a_stuck_reader_fills_the_queue_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "OUTGOING_MAX_BYTES", 256 * 1024)
    port, log = free_port(), Log()
    text = "x" * 20_000
    async with running(listening(port), log) as brics, legacy(port) as peer:
        await until(lambda: log.ups)
        peer.ws.transport.pause_reading()
        sent = 0
        with pytest.raises(QueueFull, match="aip1@default"):
            while sent < 10_000:
                brics.send(AIP1, f"{sent} {text}")
                sent += 1
                if sent % 10 == 0:
                    await asyncio.sleep(0.001)
        await peer.send("we still hear you")
        await until(lambda: log.texts)
        peer.ws.transport.resume_reading()
        for i in range(sent):
            assert (await peer.recv()).split()[0] == str(i)
        brics.send(AIP1, "room again")
        assert await peer.recv() == "room again"


async def test_stopping_with_a_stuck_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CLOSE_SECONDS", 0.1)
    port, log = free_port(), Log()
    async with running(listening(port), log) as brics, legacy(port) as peer:
        await until(lambda: log.ups)
        peer.ws.transport.pause_reading()
        for _ in range(300):
            brics.send(AIP1, "x" * 20_000)
        await asyncio.sleep(0.05)
        async with asyncio.timeout(1.0):
            await brics.stop()
        assert not brics.links
        peer.ws.transport.resume_reading()


async def test_keepalive_and_silence() -> None:
    now = [1000.0]
    port, log = free_port(), Log()
    async with running(listening(port), log, clock=lambda: now[0]) as brics, legacy(port) as peer:
        await until(lambda: log.ups)
        (link,) = brics.links
        session = link._session
        assert session is not None
        await peer.send("KEEPALIVE")
        await until(lambda: session.answer_at == 1023.0)
        now[0] = 1023.0
        link._tick(session)
        assert await peer.recv() == "KEEPALIVE"
        now[0] = 1300.0
        link._tick(session)
        await until(lambda: log.downs)
        assert "300 seconds" in log.downs[0][1]


async def test_our_client_starts_the_keepalive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openportal.paddington.session.KEEPALIVE_SECONDS", 0.02)
    async with linked(Log(), Log()) as (brics, aip1):
        await until(lambda: brics.stats.frames_in > 6 and aip1.stats.frames_in > 6)
        assert brics.stats.messages_in == 0


# ---- TLS ----------------------------------------------------------------------------------------------------------


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("trusted", [True, False])
async def test_wss(trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a terminator that the dialling side trusts, or does not."""
    cert, key = self_signed(tmp_path)
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(cert, key)
    outside = ssl.create_default_context(cafile=cert if trusted else None)
    monkeypatch.setattr(exchange_module.ssl, "create_default_context", lambda: outside)
    plain, first = free_port(), Log()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def terminate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", plain)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    terminator = await asyncio.start_server(terminate, "127.0.0.1", 0, ssl=inside)
    url = f"wss://127.0.0.1:{terminator.sockets[0].getsockname()[1]}"
    config = dialling(1, servers=(ServerPeer("brics", "default", url, INNER, OUTER),))
    async with terminator, running(listening(plain), first), running(config) as aip1:
        if trusted:
            await until(aip1.connected_peers)
            aip1.send(BRICS, "x" * 200_000)
            await until(lambda: first.texts)
        else:
            await asyncio.sleep(0.2)
            assert not first.ups


# ---- the rest -----------------------------------------------------------------------------------------------------


async def test_health_check() -> None:
    port = free_port()
    async with running(listening(free_port(), healthcheck_port=port)) as brics:
        for request in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"anything"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
            assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b"\r\n\r\nOK")
            writer.close()
        await until(lambda: not brics.health)


async def test_a_port_in_use_is_a_config_error() -> None:
    port = free_port()
    async with running(listening(port)):
        with pytest.raises(ConfigError, match=f"port {port}"):
            await Exchange(listening(port), Log()).start()


async def test_a_server_without_url_is_not_dialled(caplog: pytest.LogCaptureFixture) -> None:
    relayed = ServerPeer("brics", "default", "", INNER, OUTER, None, "relay")
    async with running(dialling(1, servers=(relayed,))) as aip1:
        await asyncio.sleep(0.05)
        assert not aip1.links
    assert "not dialled" in caplog.text


async def test_a_url_that_is_none() -> None:
    with pytest.raises(ConfigError, match="brics"):
        await Exchange(dialling(1, servers=(ServerPeer("brics", "default", "x:y", INNER, OUTER),)), Log()).start()


async def test_a_server_that_speaks_something_else(caplog: pytest.LogCaptureFixture) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    async with server, running(dialling(server.sockets[0].getsockname()[1])) as aip1:
        await until(lambda: aip1.stats.refused["HandshakeError"] >= 2)
    assert caplog.text.count("no link to brics@default") == 1


def test_our_frames_are_those_of_the_protocol_object() -> None:
    for size in (0, 1, 125, 126, 65535, 65536, 70_000):
        payload = os.urandom(size)
        assert text_frame(payload, b"") == Frame(Opcode.TEXT, payload).serialize(mask=False)
        for frame in (text_frame(payload, b""), text_frame(payload, b"abcd")):
            head, length = extent(frame, 0)
            assert (head + length, length) == (len(frame), size)
            assert extent(b"??" + frame, 2) == (head, length)
            for short in range(head):
                assert extent(frame[:short], 0) == (0, 0)


def test_backoff() -> None:
    backoff = Backoff()
    assert (backoff.delay(0, 0.0), backoff.delay(0, 1.0)) == (0.1, pytest.approx(0.3))
    assert backoff.delay(2, 0.5) == pytest.approx(0.8)
    assert backoff.delay(29, 0.5) == 1.0
    assert backoff.delay(10_000, 0.0) == 5.0


def test_logging_gets_rarer() -> None:
    assert [n for n in range(1, 200) if worth_a_line(n)] == [*range(1, 17), 32, 64, 128]


async def test_stopping_while_dialling_always_ends() -> None:
    """A stop that comes in the turn in which a connection is refused must not be lost."""
    config = dialling(free_port())
    for turns in range(240):
        exchange = Exchange(config, Log(), reconnect=Backoff(0.0001, 0.0002, 0.0005))
        await exchange.start()
        for _ in range(turns % 12):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await exchange.stop()


def test_the_kernel_finds_a_network_that_swallows_packets() -> None:
    with socket.socket() as one:
        tune(one)
        option = partial(one.getsockopt, socket.IPPROTO_TCP)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert option(socket.TCP_USER_TIMEOUT) == NETWORK_DEAD_SECONDS * 1000
        idle, between = option(socket.TCP_KEEPIDLE), option(socket.TCP_KEEPINTVL)
        assert idle + option(socket.TCP_KEEPCNT) * between == NETWORK_DEAD_SECONDS
