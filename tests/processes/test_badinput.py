"""Running agents, and everything that must not come to them: on the sockets, from neighbours, over HTTP.

Whatever comes, the process that was there is there afterwards, does its next good job, has not grown, and says once in
its log why it refused what it refused.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from openportal.cli.facility import CHAIN, HOST, MEMBERS, Facility, Member, free_ports
from openportal.paddington.config import load as load_config
from openportal.paddington.exchange import Exchange
from openportal.paddington.peer import Peer
from tests.bridge.support import Client
from tests.processes.load import Load
from tests.processes.stray import linked
from tests.processes.waiting import ended, lines, resident_bytes, result_of, until_async

GROWTH_MAX_BYTES = 50 * 1024 * 1024
STRAY = Member("stray", "op-clusters", "Platform", ("shared", "brics"))
LOG_SECONDS = 5.0
QUESTION = "is_protected_user alice.demo.brics"
SALTS = {"openportal-inner-salt": "ab" * 32, "openportal-outer-salt": "cd" * 32}

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    with Facility(tmp_path_factory.mktemp("facility"), members=(*MEMBERS, STRAY)) as facility:
        facility.lay_out({"shared": {"metrics": {"port": free_ports(1)[0]}}})
        facility.start([member.name for member in MEMBERS])
        facility.wait_ready()
        yield facility


@pytest.fixture
async def load(facility: Facility) -> AsyncIterator[Load]:
    load = Load(facility.client_file)
    result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
    yield load
    await load.close()


@asynccontextmanager
async def unharmed(facility: Facility, name: str, load: Load) -> AsyncIterator[None]:
    """An agent outlives what happens inside, and does not grow by it."""
    pid = facility.processes[name].pid
    before = resident_bytes(pid)
    yield
    facility.check()
    assert facility.processes[name].pid == pid
    assert result_of(await ended(load, f"{CHAIN} {QUESTION}")) is False
    assert resident_bytes(pid) - before < GROWTH_MAX_BYTES


class Refusals:
    """The lines of a log, from now on, that tell of something refused."""

    def __init__(self, facility: Facility, name: str) -> None:
        self._log = facility.log(name)
        self._before = len(lines(self._log))

    def found(self, *words: str) -> list[str]:
        return [line for line in lines(self._log)[self._before :] if all(word in line for word in words)]

    async def come(self, count: int, *words: str, why: str = "") -> None:
        await until_async(lambda: len(self.found(*words)) >= count, f"{count} lines with {words} {why}", LOG_SECONDS)
        assert len(self.found(*words)) == count, "\n".join(self.found(*words))


# --- before the handshake ---------------------------------------------------------------------------------------------


def port_of(facility: Facility, name: str) -> int:
    return load_config(facility.config(name)).service.port


async def spoken(port: int, data: bytes) -> bytes:
    """What comes back before the other side closes the connection."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(-1), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def upgrade(**headers: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    usual = {"Host": HOST, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    sent = usual | {"Sec-WebSocket-Key": key} | headers
    return b"GET / HTTP/1.1\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in sent.items()) + b"\r\n"


NO_SALT = {"openportal-inner-salt": "ab" * 32}
STRANGE_BYTES = {
    "noise": os.urandom(32 * 1024),
    "a web page is asked for": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a head without end": b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
    "no salts": upgrade(),
    "one salt": upgrade(**NO_SALT),
    "a short salt": upgrade(**SALTS | {"openportal-outer-salt": "cd"}),
    "a salt that is not hexadecimal": upgrade(**SALTS | {"openportal-outer-salt": "xy" * 32}),
    "a text that no key opens": upgrade(**SALTS) + b"\x81\x85\x00\x00\x00\x00hello",
    "a frame that is not masked": upgrade(**SALTS) + b"\x81\x05hello",
    "a frame of a gigabyte": upgrade(**SALTS) + b"\x81\xff" + (1 << 30).to_bytes(8) + bytes(4),
    "a frame of 2^63 bytes": upgrade(**SALTS) + b"\x81\xff" + (1 << 63).to_bytes(8) + bytes(4),
}


async def test_strangers(facility: Facility, load: Load) -> None:
    async with unharmed(facility, "shared", load):
        for name, data in STRANGE_BYTES.items():
            refusals = Refusals(facility, "shared")
            await spoken(port_of(facility, "shared"), data)
            await refusals.come(1, "refused", HOST, why=name)


async def test_connections_that_say_nothing_or_half(facility: Facility, load: Load) -> None:
    port = port_of(facility, "shared")
    async with unharmed(facility, "shared", load), AsyncExitStack() as open_ones:
        for number in range(200):
            _, writer = await asyncio.open_connection(HOST, port)
            open_ones.callback(writer.close)
            writer.write(upgrade(**SALTS)[: number * 2])
        assert result_of(await ended(load, f"{CHAIN} {QUESTION}")) is False


class Nobody:
    """Owns an exchange that must never have a link."""

    def __init__(self) -> None:
        self.linked: list[Peer] = []

    def connected(self, peer: Peer) -> None:
        self.linked.append(peer)

    def received(self, peer: Peer, text: str) -> None: ...

    def disconnected(self, peer: Peer, reason: str) -> None: ...


@pytest.mark.parametrize("wrong", ["inner_key", "outer_key", "zone"])
async def test_a_neighbour_with_a_wrong_key_or_zone(facility: Facility, load: Load, wrong: str) -> None:
    service = load_config(facility.config("stray")).service
    [server] = [server for server in service.servers if server.name == "shared"]
    changed = dataclasses.replace(server, **{wrong: "elsewhere" if wrong == "zone" else os.urandom(32)})
    nobody = Nobody()
    exchange = Exchange(dataclasses.replace(service, servers=(changed,), clients=()), nobody)
    async with unharmed(facility, "shared", load):
        refusals = Refusals(facility, "shared")
        await exchange.start()
        await until_async(lambda: refusals.found("refused"), "the refusal is logged")
        await exchange.stop()
        assert nobody.linked == []


# --- after the handshake ----------------------------------------------------------------------------------------------

DEEP = "[" * 100_000
JUNK = (
    "", "null", "[]", "5", '"text"', "{}", DEEP, '{"a":' * 50_000, '{"Nope": {}}', '{"Put": 5}', '{"Put": {}}',
    '{"Put": {"job": {}}}', '{"Put": {"job": [1]}}', '{"Update": {"job": null}}', '{"Delete": 5}', '{"Sync": []}',
    '{"Sync": {"state": {"jobs": 5}}}', '{"Sync": {"state": {"jobs": [5, {}, null, "x"]}}}', '{"Sync": {"state": 5}}',
    '{"HealthCheck": {"visited": 5}}', '{"HealthResponse": {"health": "x"}}', '{"HealthResponse": {"health": {}}}',
    '{"Restart": {"restart_type": "lukewarm", "destination": ""}}', '{"Restart": {"restart_type": 5}}',
    '{"Restart": {"restart_type": "hard", "destination": 5}}', '{"DiagnosticsRequest": {"destination": [1]}}',
    '{"DiagnosticsResponse": {"report": {"agent_name": 5}}}', '{"Notify": {"notification": {}}}',
    '{"Notify": {"notification": {"id": 5, "destination": [], "event": "x"}}}',
    '{"Notify": {"notification": {"id": "a", "destination": "a.b", "event": {"Forward": 5}}}}',
    '{"Error": {"error": {"deep": [1]}}}', '{"PortalRoutes": {"routes": [], "withdrawn": []}}',
)  # fmt: skip


async def test_junk_from_a_neighbour(facility: Facility, load: Load) -> None:
    async with unharmed(facility, "shared", load), linked(facility.config("stray"), "shared", "Platform") as stray:
        for text in JUNK:
            stray.say(text)
            assert (await stray.ask(QUESTION))["state"] == "Complete", text[:100]
        for register in ({"agent": 5}, {"agent": "Teapot"}, {}):
            stray.say({"Register": register})
            assert (await stray.ask(QUESTION))["state"] == "Complete"
        assert stray.links_lost == 0


async def test_frames_that_cannot_be_opened(facility: Facility, load: Load) -> None:
    async with unharmed(facility, "shared", load), linked(facility.config("stray"), "shared", "Platform") as stray:
        good = stray.seal(b'"{}"')
        frames = {
            "empty": b"",
            "not hexadecimal": b"hello" * 100,
            "not ASCII": "é".encode() * 500,
            "cut": good[:-10],
            "repeated": good,
            "not UTF-8": stray.seal(b'"\xff\xfe"'),
            "half a surrogate": stray.seal(b'"\\ud800"'),
            "not JSON": stray.seal(b"hello"),
            "deep": stray.seal(DEEP.encode()),
        }
        stray.say_raw(good)
        refusals = Refusals(facility, "shared")
        for frame in frames.values():
            stray.say_raw(frame)
            assert (await stray.ask(QUESTION))["state"] == "Complete"
        assert stray.links_lost == 0
        await refusals.come(len(frames), "stray@default", "dropped")


async def test_a_frame_that_is_too_long_ends_the_link(facility: Facility, load: Load) -> None:
    async with unharmed(facility, "shared", load), linked(facility.config("stray"), "shared", "Platform") as stray:
        refusals = Refusals(facility, "shared")
        stray.say_raw(b"a" * (3 * 1024 * 1024))
        await until_async(lambda: stray.links_lost, "the link is cut")
        await refusals.come(1, "refused", "3145728 bytes")


PAST = {"created": 1_000_000_000, "changed": 1_000_000_000, "expires": 1_000_000_060}
ANSWERED = {
    "no command": ({"command": ""}, "invalid"),
    "no destination": ({"command": "nonsense"}, "invalid"),
    "no instruction": ({"command": "stray.shared"}, "invalid"),
    "an unknown verb": ({"command": "stray.shared frobnicate x"}, "invalid"),
    "a bare verb": ({"command": "stray.shared create_project"}, "invalid"),
    "a wrong argument": ({"command": "stray.shared add_user nobody"}, "invalid"),
    "not UTF-8 once": ({"command": "stray.shared add_user \ufffd.demo.brics"}, "invalid"),
    "another agent's verb": ({"command": "stray.shared add_local_user a.demo.brics:a:g"}, "unsupported"),
    "expired": ({"command": f"stray.shared {QUESTION}", **PAST}, "expired"),
    "a leap past us": ({"command": f"stray.clusters.shared {QUESTION}"}, "unroutable"),
    "someone else's": ({"command": f"clusters.shared {QUESTION}"}, "unroutable"),
    "upwards": ({"command": f"shared.stray {QUESTION}"}, "invalid"),
    "beyond": ({"command": f"stray.shared.nobody {QUESTION}"}, "unroutable"),
    "created": ({"command": "stray.shared nonsense", "state": "Created"}, "invalid"),
}


async def test_jobs_that_cannot_be_taken_are_answered(facility: Facility, load: Load) -> None:
    async with unharmed(facility, "shared", load), linked(facility.config("stray"), "shared", "Platform") as stray:
        refusals = Refusals(facility, "shared")
        kinds = {}
        for name, (changes, _) in ANSWERED.items():
            job = stray.job(**changes)
            stray.say({"Put": {"job": job}})
            answer = await stray.answer(job["id"])
            assert (answer["state"], answer["version"]) == ("Error", 1002)
            assert answer["result"] == answer["error"]["message"]
            kinds[name] = answer["error"]["kind"]
            assert len(refusals.found("refused", job["id"])) == 1, refusals.found(job["id"])
        assert kinds == {name: kind for name, (_, kind) in ANSWERED.items()}


UNREADABLE = (
    {"version": 2**63}, {"version": -1}, {"version": "2"}, {"version": 2**70}, {"id": 5}, {"id": None},
    {"state": "Done"}, {"state": None}, {"created": "now"}, {"command": 5},
    {"command": "stray.shared " + "x" * 300_000}, {"error": 5}, {"result": 5},
)  # fmt: skip


async def test_jobs_that_cannot_be_read_are_refused_with_a_reason(facility: Facility, load: Load) -> None:
    async with unharmed(facility, "shared", load), linked(facility.config("stray"), "shared", "Platform") as stray:
        for changes in UNREADABLE:
            refusals = Refusals(facility, "shared")
            stray.say({"Put": {"job": stray.job(**{"command": f"stray.shared {QUESTION}"} | changes)}})
            assert (await stray.ask(QUESTION))["state"] == "Complete"
            await refusals.come(1, "refused", "stray@default")
        assert stray.links_lost == 0


async def test_strange_times_and_fields_do_no_harm(facility: Facility, load: Load) -> None:
    cases = (
        {"expires": 2**62}, {"expires": 2**70}, {"created": -5, "expires": 2**40}, {"version": 0}, {"changed": 2**62},
        {"unknown": {"deep": [[[1]]]}}, {"forwarded_for": "a" * 10_000}, {"domain": "é" * 100}, {"id": "no uuid"},
        {"state": "Duplicate"}, {"state": "Running"}, {"state": "Complete"}, {"id": "x" * 10_000}, {"id": ""},
    )  # fmt: skip
    async with unharmed(facility, "shared", load), linked(facility.config("stray"), "shared", "Platform") as stray:
        for changes in cases:
            for verb in (QUESTION, "add_user mallory.demo.brics"):
                stray.say({"Put": {"job": stray.job(f"stray.shared {verb}", **changes)}})
            assert (await stray.ask(QUESTION))["state"] == "Complete"
        assert stray.links_lost == 0


async def test_huge_syncs(facility: Facility, load: Load) -> None:
    async with unharmed(facility, "shared", load), linked(facility.config("stray"), "shared", "Platform") as stray:
        jobs = [stray.job(f"stray.shared {QUESTION}") for _ in range(1_500)]
        for count in range(3):
            stray.say({"Sync": {"state": {"jobs": jobs}}})
            await stray.answer(jobs[-1 - count]["id"])
        strange = [stray.job("clusters.shared nonsense") for _ in range(1_500)]
        stray.say({"Sync": {"state": {"jobs": strange}}})
        stray.say({"Sync": {"state": {"jobs": [5] * 100_000}}})
        assert (await stray.ask(QUESTION))["state"] == "Complete"


async def test_only_a_bridge_may_submit_to_the_portal(facility: Facility, load: Load) -> None:
    async with unharmed(facility, "brics", load), linked(facility.config("stray"), "brics", "Platform") as stray:
        answer = await stray.ask(f"submit {CHAIN} add_user mallory.demo.brics")
        assert answer["error"]["kind"] == "unsupported"
        job = stray.job(f"stray.brics.aip1.clusters.shared {QUESTION}")
        stray.say({"Put": {"job": job}})
        assert (await stray.answer(job["id"]))["error"]["kind"] == "unroutable"


# --- over HTTP --------------------------------------------------------------------------------------------------------

BODIES = (
    "", "{", "[]", "null", '"x"', "5", '{"command": 5}', '{"command": null}', '{"job": {}}', DEEP, '{"a":' * 50_000,
    '{"command": "nonsense"}', '{"command": "\\ud800"}', '{"command": "brics.aip1 frobnicate"}',
    '{"command": "brics.aip1 create_project"}', '{"command": "elsewhere.aip1 get_users demo.brics"}',
    json.dumps({"command": "brics.aip1 add_user " + "x" * 500_000}),
)  # fmt: skip
NOT_SIGNED = (
    {}, {"authorization": "OpenPortal"}, {"authorization": "OpenPortal " + "zz" * 32}, {"authorization": "Basic x"},
    {"authorization": "OpenPortal " + "ab" * 32}, {"authorization": "OpenPortal " + "ab" * 32, "date": "yesterday"},
)  # fmt: skip


async def test_bodies_that_cannot_be_used(facility: Facility, load: Load) -> None:
    config = tomllib.loads(facility.client_file.read_text())
    async with unharmed(facility, "bridge", load), httpx.AsyncClient(base_url=config["url"], timeout=30) as http:
        client = Client(http, bytes.fromhex(config["key"]["data"]))
        for body in BODIES:
            for function in ("run", "status", "fetch_job", "send_result", "sync_offerings", "restart"):
                refusals = Refusals(facility, "bridge")
                answer = await client.post_text(function, body)
                if (function, body) in (("sync_offerings", "[]"), ("fetch_job", '"x"')):
                    continue
                assert answer.status_code == 400, (function, body[:50], answer.text)
                assert answer.json()["message"]
                assert len(refusals.found("refused with 400", f"/{function}")) == 1


async def test_requests_that_are_not_signed_or_too_long(facility: Facility, load: Load) -> None:
    url = f"http://{HOST}:{facility.http_port}"
    async with unharmed(facility, "bridge", load), httpx.AsyncClient(base_url=url, timeout=30) as http:
        for headers in NOT_SIGNED:
            refusals = Refusals(facility, "bridge")
            assert (await http.post("/run", content="{}", headers=headers)).status_code == 401
            await refusals.come(1, "refused with 401")
        for size in (2 * 1024 * 1024, 7 * 1024 * 1024):
            refusals = Refusals(facility, "bridge")
            assert (await http.post("/run", content=b"a" * size)).status_code == 413
            await refusals.come(1, "refused with 413")
        for path, status in (("/nothing", 404), ("/run", 405), ("/" + "a" * 5_000, 404)):
            assert (await http.get(path)).status_code == status


@pytest.mark.parametrize("name", ["bridge", "shared"])
async def test_bytes_that_are_no_request(facility: Facility, load: Load, name: str) -> None:
    """At the bridge's API, and where Prometheus asks an agent."""
    port = facility.http_port if name == "bridge" else load_config(facility.config(name)).metrics.port
    assert port is not None
    async with unharmed(facility, name, load):
        for data in (
            os.urandom(32 * 1024),
            b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
            b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST /run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
        ):
            answer = await spoken(port, data)
            assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:100]
