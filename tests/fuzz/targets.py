"""What a fuzzer may call: one function per reader of bytes that others wrote. Each takes any bytes.

A reader may refuse with an error of `openportal/errors.py`; anything else that it raises is a finding. Where a text is
understood, what it means is printed and read again, and has to mean the same.

Readers behind a seal or a signature get their bytes under the right keys too: what is feared there is a neighbour, or a
key that was stolen. The first byte of the input says which of the ways is taken.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec

from openportal.agents.roles import RelayRole
from openportal.bridge.auth import Verifier, client_address, read_date
from openportal.bridge.http import Api, bridge_app
from openportal.bridge.keys import KeyRing
from openportal.errors import FrameError, GrammarError, HandshakeError, LedgerError, OpenPortalError, ReplayError
from openportal.grammar.instructions import parse_command
from openportal.paddington.config import parse
from openportal.paddington.crypto import RANDOM_BYTES, Keys, seal
from openportal.paddington.frames import extent
from openportal.paddington.handshake import Accepting, Bootstrap, Dialling, Local
from openportal.paddington.invite import Invite
from openportal.paddington.keyring import Candidate, Keyring, Standing
from openportal.paddington.peer import Peer
from openportal.paddington.session import Session
from openportal.signing import signed_headers
from openportal.templemeads.agent import Agent
from openportal.templemeads.events import EVENTS
from openportal.templemeads.ledger import Settings
from openportal.templemeads.ledger.format import Chain, Mark, Row, codecs, genesis
from openportal.templemeads.ledger.reading import Decoder, last_mark
from tests.bridge.support import KEY, Key, MemoryAgent

Target = Callable[[bytes], None]

LEDGER_ID = "00000000-0000-4000-8000-000000000000"
FILE = Path("/fuzz/agent.toml")
SERVICE_TEXT = """
agent = "Portal"
[service]
name = "brics"
url = "ws://127.0.0.1:1"
ip = "127.0.0.1"
port = 1
[[service.clients]]
name = "aip1"
ip = "127.0.0.1"
inner_key = { data = "0101010101010101010101010101010101010101010101010101010101010101" }
outer_key = { data = "0202020202020202020202020202020202020202020202020202020202020202" }
"""
SERVICE = parse(SERVICE_TEXT, FILE).service


def way_and_rest(data: bytes) -> tuple[int, bytes]:
    return (data[0], data[1:]) if data else (0, b"")


# ---- the wire -------------------------------------------------------------------------------------------------------


def frame(data: bytes) -> None:
    """A frame of a live connection: its header, any bytes, or any plaintext under the right keys."""
    way, rest = way_and_rest(data)
    head, size = extent(rest, 0)
    assert 0 <= head <= 14 and size >= 0
    keys = Keys(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x04" * 32)
    session = Session(keys, os.urandom, 0.0, nonces=bool(way & 2), batches=bool(way & 4))
    try:
        texts = session.receive(seal(keys, rest, os.urandom(RANDOM_BYTES)) if way & 1 else rest, 1.0)
    except (FrameError, ReplayError):
        return
    assert all(isinstance(text, str) for text in texts)


def handshake(data: bytes) -> None:
    """Any headers, then any bytes in the place of each message, under the keys of that moment."""
    way, rest = way_and_rest(data)
    here = Local("aip1", "0.94.0", os.urandom, Bootstrap(1), secrecy=bool(way & 4))
    there = replace(here, name="brics", bootstrap=Bootstrap(2))
    (known,) = SERVICE.clients
    candidates = Keyring(SERVICE).candidates()
    dialling = Dialling(here, replace(known, name="brics"))
    accepting: Accepting[Candidate] = Accepting(there, candidates)
    try:
        if way & 3 == 0:
            inner, _, outer = rest.decode("latin-1").partition("\n")
            salts = {"openportal-inner-salt": inner, "openportal-outer-salt": outer}
            accepting.consume_upgrade({**salts, "openportal-salt-format": "plain"}, "127.0.0.1")
            accepting.consume_handshake(rest)
            return
        accepting.consume_upgrade(dialling.create_upgrade(), "127.0.0.1")
        if way & 3 == 1:
            accepting.consume_handshake(seal(dialling.keys, rest, os.urandom(RANDOM_BYTES)))
            accepting.create_handshake()
            return
        accepting.consume_handshake(dialling.create_handshake())
        answer = accepting.create_handshake()
        if way & 3 == 2:
            dialling.consume_handshake(seal(dialling.keys, rest, os.urandom(RANDOM_BYTES)))
            return
        dialling.consume_handshake(answer)
        accepting.consume_details(seal(accepting.keys, rest, os.urandom(RANDOM_BYTES)))
        assert accepting.candidate.standing is Standing.CURRENT
        assert accepting.session(0.0) is not None
    except (HandshakeError, FrameError, ReplayError):
        return


# ---- what a neighbour says ------------------------------------------------------------------------------------------


def platform() -> Agent:
    """A platform between a provider and an instance; it is not started, so nothing comes near a disk."""
    peers = [Peer("aip1", "default"), Peer("shared", "default")]

    def nowhere(_: Agent) -> Any:
        return None

    agent = Agent("clusters", RelayRole("Platform"), {}, Settings(path=Path("/fuzz")), peers, nowhere)
    agent.core.registered("aip1@default", "Provider", agent.clock())
    agent.core.registered("shared@default", "Instance", agent.clock())
    return agent


def command(data: bytes) -> None:
    """Lines of JSON from both neighbours in turn; `t` in the place of a line lets ten minutes pass."""
    agent = platform()
    now = agent.clock()
    for number, line in enumerate(data.split(b"\n")[:16]):
        if line == b"t":
            now += 600
            agent.core.tick(now)
        else:
            said(agent, ("aip1@default", "shared@default")[number % 2], line)
        agent.core.take_runs()
        ready = agent.core.take()
        for _, message in ready.sends:
            msgspec.json.encode(message)
        for _, event in ready.events:
            msgspec.json.encode(event)


def said(agent: Agent, peer: str, line: bytes) -> None:
    """What `Agent.received` does, without its net for our own mistakes."""
    try:
        kind, body = next(iter(msgspec.json.decode(line.decode("utf-8", "replace")).items()))
        agent._dispatch(peer, kind, body)
    except (msgspec.DecodeError, RecursionError, AttributeError, StopIteration) as error:
        if isinstance(error, AttributeError | RecursionError) and error.__traceback__ is not None:
            inside = error.__traceback__.tb_next
            assert inside is None or "agent" not in inside.tb_frame.f_code.co_filename, error
    except OpenPortalError:
        pass


def instruction(data: bytes) -> None:
    """A command as a bridge's client sends it; what is understood is printed, and read again."""
    try:
        destination, found = parse_command(data.decode("utf-8", "replace"))
    except GrammarError:
        return
    again = f"{destination} {found}"
    assert parse_command(again) == (destination, found), again


# ---- files ----------------------------------------------------------------------------------------------------------


def config(data: bytes) -> None:
    """An agent's file, or an invite."""
    way, rest = way_and_rest(data)
    text = rest.decode("utf-8", "replace")
    try:
        if way & 1:
            Invite.parse(text, FILE)
        else:
            parse(SERVICE_TEXT + text if way & 2 else text, FILE)
    except OpenPortalError as error:
        assert "\n" not in str(error), error


class OneRow:
    """A log of one row; its streams have a name, and its subjects no keys."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        return [("aip1@default",)]

    def last_row(self) -> Row:
        return self._row


class NoKeys:
    """Every subject has been erased."""

    def unseal(self, number: int, place: bytes, box: bytes | None, private: tuple[str, ...]) -> dict[str, str]:
        return dict.fromkeys(private, "erased")


KNOWN = codecs(EVENTS, {})
TOPICS = sorted(KNOWN)


def ledger(data: bytes) -> None:
    """A row whose state is anything: by the chain, as the last one of a log, and by a writer and a tolerant reader."""
    way, rest = way_and_rest(data)
    row = Row(1, "0" * 32, 1, TOPICS[way % len(TOPICS)] if way < 128 else "Newer", rest)
    log: Any = OneRow(row)
    subjects: Any = NoKeys()
    readers: list[Callable[[], object]] = [
        lambda: list(Chain(Mark(0, 0, genesis(LEDGER_ID))).units([row])),
        lambda: last_mark(log, LEDGER_ID),
        lambda: Decoder(log, KNOWN, subjects).record(row),
        lambda: Decoder(log, {}, subjects, tolerant=True).record(row),
    ]
    for read in readers:
        try:
            read()
        except LedgerError:
            pass


# ---- the bridge -----------------------------------------------------------------------------------------------------

RING = KeyRing([Key()])
FUNCTIONS: Mapping[str, tuple[str, Any]] = Api(MemoryAgent(), RING).functions()
NAMES = sorted(FUNCTIONS)


def http(data: bytes) -> None:
    """A request: any body to any function, signed; or any path, headers and body. Also what is read on the way."""
    way, rest = way_and_rest(data)
    head, _, body = rest.partition(b"\n\n")
    lines = head.split(b"\n")
    headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines[1:])]
    for _, value in headers:
        read_date(value.decode("latin-1"))
    client_address("192.0.2.1", headers, SERVICE.clients[0].ip)
    path = lines[0].decode("utf-8", "replace")
    if way & 1:
        path, body = NAMES[(way >> 1) % len(NAMES)], rest
        headers = signature(path, body)
    status = asyncio.run(answer(path, headers, body))
    assert 200 <= status < 600 and (status != 500 or way & 1), status


def signature(function: str, body: bytes) -> list[tuple[bytes, bytes]]:
    method, nonce = FUNCTIONS[function][0].lower(), os.urandom(8).hex()
    text = body.decode("utf-8", "replace")
    headers = signed_headers(KEY, method, function, text, formatdate(usegmt=True), nonce)
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def answer(path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> int:
    """The status of one request, as the server hands it to the app."""
    method = FUNCTIONS[path][0] if path in FUNCTIONS else "POST"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": f"/{path}",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 5),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await bridge_app(MemoryAgent(), Verifier(RING, time.time), RING)(scope, receive, send)
    status: int = sent[0]["status"]
    return status


TARGETS: Mapping[str, Target] = {
    target.__name__: target for target in (frame, handshake, command, instruction, config, http, ledger)
}


def quiet() -> None:
    """Refusals are logged; a fuzzer makes many."""
    logging.disable(logging.CRITICAL)
