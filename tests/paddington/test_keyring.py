"""Keys of an invite are replaced at first contact, whoever dies when; a spent or expired invite opens nothing."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openportal.errors import ConfigError, HandshakeError, IdentityAlarm
from openportal.paddington.config import load
from openportal.paddington.ephemeral import KeyPair
from openportal.paddington.exchange import Exchange
from openportal.paddington.keyring import NEXT_KEYS_MAX, Candidate, Keyring, Standing
from openportal.paddington.peer import Peer
from tests.paddington.test_exchange import QUICK, Log, free_port, until

AIP1, BRICS = Peer("aip1", "default"), Peer("brics", "default")
INVITED = KeyPair(b"\x01" * 32, b"\x02" * 32)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def pair(number: int) -> KeyPair:
    return KeyPair(bytes([number]) * 32, bytes([number + 100]) * 32)


def keys_text(keys: KeyPair) -> str:
    return f'inner_key = {{ data = "{keys.inner_key.hex()}" }}\nouter_key = {{ data = "{keys.outer_key.hex()}" }}\n'


def head(agent: str, name: str, port: int) -> str:
    address = f'url = "ws://127.0.0.1:{port}"\nip = "127.0.0.1"\nport = {port}\n'
    return f'agent = "{agent}"  # by hand\n[service]\nname = "{name}"\n{address}'


@dataclass
class Files:
    """Two agents' files, as `client --add` and `server --add` leave them."""

    folder: Path
    port: int

    @property
    def brics(self) -> Path:
        return self.folder / "brics" / "brics.toml"

    @property
    def aip1(self) -> Path:
        return self.folder / "aip1" / "aip1.toml"

    def write(self, client: str = "", expires: datetime | None = NOW + timedelta(days=3650)) -> Files:
        marker = f"invite_expires = {expires.isoformat()}\n" if expires else ""
        entry = f'[[service.clients]]\nname = "aip1"\nip = "127.0.0.1"\n{marker}{client}{keys_text(INVITED)}'
        dials = f'[[service.servers]]\nname = "brics"\nurl = "ws://127.0.0.1:{self.port}"\n{keys_text(INVITED)}'
        for path, text in (
            (self.brics, head("Portal", "brics", self.port) + entry),
            (self.aip1, head("Provider", "aip1", 1) + dials),
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return self

    def client(self) -> dict[str, Any]:
        (client,) = tomllib.loads(self.brics.read_text())["service"]["clients"]
        found: dict[str, Any] = client
        return found

    def keys(self, path: Path) -> KeyPair:
        service = load(path).service
        (peer,) = service.clients or service.servers
        return KeyPair(peer.inner_key, peer.outer_key)

    def keyring(self, path: Path) -> Keyring:
        return Keyring(load(path).service, path, now=lambda: NOW)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path, free_port()).write()


@asynccontextmanager
async def agent(path: Path, log: Log | None = None) -> AsyncIterator[Exchange]:
    """One life of an agent: what is in its file is all it knows."""
    service = load(path).service
    exchange = Exchange(service, log or Log(), reconnect=QUICK, keyring=Keyring(service, path))
    await exchange.start()
    try:
        yield exchange
    finally:
        await exchange.stop()


def candidate(keyring: Keyring, standing: Standing) -> Candidate:
    (found,) = [candidate for candidate in keyring.candidates() if candidate.standing is standing]
    return found


# ---- the first contact ----------------------------------------------------------------------------------------------


async def test_the_invites_keys_are_replaced_at_first_contact(files: Files) -> None:
    first, second = Log(), Log()
    async with agent(files.brics, first) as brics, agent(files.aip1, second) as aip1:
        await until(lambda: first.ups and second.ups)
        brics.send(AIP1, "under new keys")
        await until(lambda: second.texts)
        assert len(first.ups) == len(second.ups) == 1  # nobody above the links has seen the invite's keys
        assert not brics.stats.alarms and not aip1.stats.alarms
    new = files.keys(files.brics)
    assert new == files.keys(files.aip1) != INVITED
    assert INVITED not in (KeyPair(new.inner_key, INVITED.outer_key), KeyPair(INVITED.inner_key, new.outer_key))
    assert set(files.client()) == {"name", "ip", "inner_key", "outer_key", "spent_keys"}
    assert "# by hand" in files.brics.read_text() and "# by hand" in files.aip1.read_text()
    assert files.brics.stat().st_mode & 0o777 == files.aip1.stat().st_mode & 0o777 == 0o600


async def test_keys_that_are_spelled_as_text_or_inline(files: Files) -> None:
    for path in (files.brics, files.aip1):
        text = path.read_text().replace('{ data = "', '"').replace('" }', '"')
        path.write_text(text)
    head, _, entry = files.brics.read_text().partition("[[service.clients]]\n")
    files.brics.write_text(f"{head}clients = [{{ {', '.join(entry.strip().splitlines())} }}]\n")
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)
    assert files.keys(files.brics) == files.keys(files.aip1) != INVITED
    assert "spent_keys" in files.client()


async def test_they_are_replaced_once(files: Files) -> None:
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)
    before = files.brics.read_bytes(), files.aip1.read_bytes()
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)
    assert (files.brics.read_bytes(), files.aip1.read_bytes()) == before


async def test_a_spent_invite_is_refused_and_alarmed(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    stolen = files.aip1.read_bytes()
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)
    honest = files.aip1.read_bytes()
    files.aip1.write_bytes(stolen)
    async with agent(files.brics) as brics, agent(files.aip1) as thief:
        await until(lambda: brics.stats.alarms["aip1@default", "spent invite"])
        assert not thief.connected_peers()
        assert brics.stats.refused["spent invite"] == brics.stats.alarms["aip1@default", "spent invite"]
    (message, *_) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert "the invite of aip1@default was used before" in message and "127.0.0.1" in message
    files.aip1.write_bytes(honest)
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)


async def test_a_thief_who_is_first_locks_the_owner_out_and_is_noticed(files: Files) -> None:
    """Nothing else can tell the two apart: both have the invite. But it does not go unseen."""
    invited = files.aip1.read_bytes()
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)
    files.aip1.write_bytes(invited)  # the owner comes later, with the invite
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(lambda: brics.stats.alarms["aip1@default", "spent invite"])


# ---- whoever dies when ----------------------------------------------------------------------------------------------


def dies_at(monkeypatch: pytest.MonkeyPatch, kind: str, number: int, written: bool) -> list[str]:
    """The `number`-th change of a `kind` kills its agent, before or after it is on the disk. The list tells of it."""
    write, calls, dead = Keyring._write, [0], list[str]()

    def dying(self: Keyring, which: str, old: Any, new: Any) -> None:
        calls[0] += which == kind
        dies = which == kind and calls[0] == number
        if written or not dies:
            write(self, which, old, new)
        if dies:
            dead.append(kind)
            raise ConfigError("killed here")

    monkeypatch.setattr(Keyring, "_write", dying)
    return dead


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize(("kind", "number"), [("clients", 1), ("clients", 2), ("servers", 1)])
async def test_both_come_back_whenever_one_dies(
    files: Files, monkeypatch: pytest.MonkeyPatch, kind: str, number: int, written: bool
) -> None:
    """One change fails, before or after it is on the disk; the next lives know the files only.

    `test_rotation.py` does the same to processes, with kill -9.
    """
    with monkeypatch.context() as patch:
        dead = dies_at(patch, kind, number, written)
        async with agent(files.brics), agent(files.aip1):
            await until(lambda: dead)
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)
    assert files.keys(files.brics) == files.keys(files.aip1)


async def test_the_invite_used_twice_before_the_new_keys_are_confirmed(files: Files) -> None:
    """Whoever wrote the first new pair can still come back with it."""
    keyring = files.keyring(files.brics)
    invited = candidate(keyring, Standing.CURRENT)
    assert keyring.welcome(invited, pair(3)) and keyring.welcome(invited, pair(4))
    again = files.keyring(files.brics)
    assert [c.keys for c in again.candidates() if c.standing is Standing.NEXT] == [pair(3), pair(4)]
    assert not again.welcome(Candidate(invited.client, pair(3), Standing.NEXT), None)
    last = files.keyring(files.brics)
    assert [(c.standing, c.keys) for c in last.candidates()] == [
        (Standing.CURRENT, pair(3)),
        (Standing.SPENT, INVITED),
    ]


@pytest.mark.parametrize("late", ["invite", "pair"])
def test_a_handshake_that_ends_after_its_keys_were_spent(files: Files, late: str) -> None:
    """It began before: somebody held it back until the new keys were confirmed."""
    keyring = files.keyring(files.brics)
    invited = candidate(keyring, Standing.CURRENT)
    assert keyring.welcome(invited, pair(3)) and keyring.welcome(invited, pair(4))
    begun = {"invite": invited, "pair": Candidate(invited.client, pair(4), Standing.NEXT)}[late]
    keyring.check(begun)
    keyring.welcome(Candidate(invited.client, pair(3), Standing.NEXT), None)
    with pytest.raises(IdentityAlarm):
        keyring.welcome(begun, pair(5))
    assert files.keys(files.brics) == pair(3)


def test_unconfirmed_pairs_are_bounded(files: Files) -> None:
    keyring = files.keyring(files.brics)
    invited = candidate(keyring, Standing.CURRENT)
    for number in range(3, 3 + NEXT_KEYS_MAX + 2):
        assert keyring.welcome(invited, pair(number))
    pairs = [c.keys for c in keyring.candidates() if c.standing is Standing.NEXT]
    assert pairs == [pair(number) for number in range(5, 5 + NEXT_KEYS_MAX)]


# ---- who does not rotate --------------------------------------------------------------------------------------------


async def test_an_agent_that_offers_nothing_goes_on_with_the_invites_keys(files: Files) -> None:
    """Today's agents: no ephemeral key, so nothing to derive other keys from."""
    for _ in range(2):
        async with agent(files.brics) as brics, agent(files.aip1) as aip1:
            aip1.local = replace(aip1.local, secrecy=False)
            await until(brics.connected_peers)
        assert files.keys(files.brics) == files.keys(files.aip1) == INVITED
        assert set(files.client()) == {"name", "ip", "inner_key", "outer_key"}  # used, so it expires no more


@pytest.mark.parametrize("client", ["standby = true\n", 'type = "Provider"\nstandby = true\n'])
async def test_a_standby_pair_keeps_its_keys(files: Files, client: str) -> None:
    files.write(client)
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)
    assert files.keys(files.brics) == files.keys(files.aip1) == INVITED
    assert "invite_expires" not in files.client()


@pytest.mark.parametrize("who", ["brics", "aip1"])
async def test_a_file_that_cannot_be_written(files: Files, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """The disk is full, say: the link comes up with the keys that both have."""
    write, refusing = Keyring._write, {"brics": "clients", "aip1": "servers"}[who]

    def full(self: Keyring, kind: str, old: Any, new: Any) -> None:
        if kind == refusing:
            raise ConfigError("the disk is full")
        write(self, kind, old, new)

    monkeypatch.setattr(Keyring, "_write", full)
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)
    assert files.keys(files.brics) == files.keys(files.aip1) == INVITED


async def test_without_a_mark_nothing_is_replaced(files: Files) -> None:
    files.write(expires=None)
    before = files.brics.read_bytes(), files.aip1.read_bytes()
    async with agent(files.brics) as brics, agent(files.aip1):
        await until(brics.connected_peers)
    assert (files.brics.read_bytes(), files.aip1.read_bytes()) == before


def test_a_file_changed_meanwhile_is_left_alone(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    keyring = files.keyring(files.brics)
    files.brics.write_text(files.brics.read_text().replace("01" * 32, "0a" * 32))
    before = files.brics.read_bytes()
    assert keyring.welcome(candidate(keyring, Standing.CURRENT), pair(3)) is False
    assert files.brics.read_bytes() == before
    assert "restart it" in caplog.text


def test_a_later_life_in_the_same_process_reads_the_file_again(files: Files) -> None:
    old = load(files.aip1).service
    Keyring(old, files.aip1).adopt(BRICS, pair(3))
    server = Keyring(old, files.aip1).server(BRICS)
    assert (server.inner_key, server.outer_key) == (pair(3).inner_key, pair(3).outer_key)


# ---- expiry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "good"), [(-1, False), (0, True), (1, True)])
def test_an_invite_expires_at_the_side_that_made_it(files: Files, seconds: int, good: bool) -> None:
    files.write(expires=NOW + timedelta(seconds=seconds))
    keyring = files.keyring(files.brics)
    current = candidate(keyring, Standing.CURRENT)
    if good:
        keyring.check(current)
    else:
        with pytest.raises(HandshakeError, match=r"invite of aip1@default expired on 2026-11-24 11:59 UTC"):
            keyring.check(current)


def test_keys_that_took_an_invites_place_do_not_expire(files: Files) -> None:
    keyring = files.keyring(files.brics)
    keyring.welcome(candidate(keyring, Standing.CURRENT), pair(3))
    late = Keyring(load(files.brics).service, files.brics, now=lambda: NOW + timedelta(days=4000))
    late.check(candidate(late, Standing.NEXT))
    late.welcome(candidate(late, Standing.NEXT), None)
    late.check(candidate(late, Standing.CURRENT))
    with pytest.raises(IdentityAlarm):
        late.check(candidate(late, Standing.SPENT))


def test_in_memory_only_nothing_expires_and_that_is_said(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    files.write(expires=NOW - timedelta(days=1))
    keyring = Keyring(load(files.brics).service, now=lambda: NOW)
    keyring.check(candidate(keyring, Standing.CURRENT))
    assert not keyring.rotates and "aip1@default do not expire" in caplog.text


def test_nothing_of_a_keyring_shows_a_key(files: Files) -> None:
    keyring = files.keyring(files.brics)
    keyring.welcome(candidate(keyring, Standing.CURRENT), pair(3))
    shown = repr(keyring.candidates())
    assert "\\x01" not in shown and "\\x03" not in shown
