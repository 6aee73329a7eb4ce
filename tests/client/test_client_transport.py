"""The client speaks with a bridge of ours, and with servers that do what a bridge of ours does not."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import openportal
from openportal.client import connection, default, errors, exchange
from openportal.client.aio import AsyncClient
from openportal.client.client import Client
from openportal.client.config import Config
from openportal.client.connection import Connections
from openportal.client.operations import HealthInfo
from openportal.signing import CANONICAL, sign
from tests.bridge.support import KEY, SLOW_SECONDS, Bridge, Key, serving

COMMAND = "brics.aip1 get_users demo.brics"
HANGING = "brics.aip1 get_users hang.brics"
SLOW = "brics.aip1 get_users slow.brics"


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    async with serving(Key(), Key(id="limited", key=b"l" * 32, verbs=("get_users",))) as bridge:
        yield bridge


@pytest.fixture
def client(bridge: Bridge) -> Iterator[Client]:
    with Client(Config(bridge.url, KEY)) as client:
        yield client


# --- a bridge of ours -------------------------------------------------------------------------------------------------


async def test_a_job_is_run_and_found_again(client: Client) -> None:
    job = await asyncio.to_thread(client.run, COMMAND)
    assert (job.is_finished, [str(user) for user in job.result]) == (True, ["alice.demo.brics"])
    for again in (await asyncio.to_thread(client.status, job), await asyncio.to_thread(client.get, job.id)):
        assert again == job
    job.update()  # needs no bridge: it is finished


async def test_waiting_ends_when_the_job_does(client: Client) -> None:
    job = await asyncio.to_thread(client.run, SLOW)
    assert not job.is_finished
    begin = time.monotonic()
    assert await asyncio.to_thread(job.wait, 20_000)
    assert time.monotonic() - begin < SLOW_SECONDS * 10


async def test_waiting_ends_when_its_time_is_over(client: Client) -> None:
    job = await asyncio.to_thread(client.run, HANGING, 300)
    assert not job.is_finished
    assert not await asyncio.to_thread(job.wait, 50)
    assert not await asyncio.to_thread(client.wait, job, 0)


async def test_the_same_connection_is_used_again(client: Client, bridge: Bridge) -> None:
    await asyncio.to_thread(client.run, COMMAND)
    [(kept, _)] = client._connections._idle
    port = kept.sock.getsockname()
    await asyncio.to_thread(client.run, COMMAND)
    assert client._connections._idle[0][0].sock.getsockname() == port
    client.close()
    assert (await asyncio.to_thread(client.run, COMMAND)).is_finished


async def test_a_connection_that_the_bridge_closed_is_not_used(client: Client) -> None:
    await asyncio.to_thread(client.run, COMMAND)
    [(kept, _)] = client._connections._idle
    kept.sock.shutdown(socket.SHUT_RDWR)
    assert (await asyncio.to_thread(client.run, COMMAND)).is_finished


async def test_threads_do_not_wait_for_each_other(client: Client) -> None:
    begin = time.monotonic()
    jobs = await asyncio.gather(*(asyncio.to_thread(client.run, SLOW, 10_000) for _ in range(4)))
    assert all(job.is_finished for job in jobs)
    assert time.monotonic() - begin < 4 * SLOW_SECONDS


async def test_what_waits_for_the_software_is_answered(client: Client, bridge: Bridge) -> None:
    asyncio.get_running_loop().call_later(0.1, bridge.agent.put, "brics.bridge.c1 get_project p.alloc")
    [job] = await asyncio.to_thread(client.fetch_jobs, 20.0)
    assert await asyncio.to_thread(client.fetch_job, job) == job
    await asyncio.to_thread(client.send_result, job.completed("done"))
    assert bridge.agent.to_software[str(job.id)]["result"] == '"done"'
    assert await asyncio.to_thread(client.fetch_jobs) == []
    with pytest.raises(openportal.BridgeError, match="answered before"):
        await asyncio.to_thread(client.send_result, job.errored("again"))


async def test_offerings(client: Client) -> None:
    one, two = openportal.Destination("c1.brics.alloc"), openportal.Destination("c2.brics.alloc")
    assert await asyncio.to_thread(client.sync_offerings, [one, one]) == [one]
    assert await asyncio.to_thread(client.add_offerings, [two]) == [two]
    assert await asyncio.to_thread(client.get_offerings) == [one, two]
    assert await asyncio.to_thread(client.remove_offerings, [one]) == [one]


async def test_operations(client: Client, bridge: Bridge) -> None:
    health = await asyncio.to_thread(client.health)
    assert health.is_healthy() and health.keys() == ["bridge"] and health["bridge"].keys() == ["brics"]
    below = health["bridge"]["brics"]
    assert isinstance(below, HealthInfo) and below.agent_type == "Portal" and below.peers() == {} and below.x is below
    assert str(health).split("\n")[1:] == [
        "bridge (bridge 0.1.0): connected, up 3 s, jobs 3 active, 3 failed, 3 expired",
        "  brics (portal 0.1.0): connected, up 3 s, jobs 3 active, 3 failed, 3 expired",
    ]
    for tree in (health, health["bridge"]):
        with pytest.raises(OSError, match="no agent 'nobody' here; there are: b"):
            _ = tree["nobody"]
    found = await asyncio.to_thread(client.diagnostics, "brics.aip1")
    assert found.detail is not None and found.detail.failed_jobs[0].count == 2 and found.logs() == []
    assert [str(entry[0]) for entry in entries_of(found.detail)] == [
        'brics.aip1 get_users demo.brics: "no such project" (2 occurrences)',
        "brics.aip1 get_users demo.brics: 1200.0ms (completed at 2026-11-24 07:35:08)",
        "brics.aip1 get_users demo.brics (1 occurrence) - Created: 2026-11-24 07:35:08, Expired: 2026-11-24 07:35:08",
        "brics.aip1 get_users demo.brics (1 instance) - started at 2026-11-24 07:35:08, running for 7s",
    ]
    assert str(found.detail.notification_statistics) == "NotificationStatistics(received=0, sent=0, failed=0)"
    assert "DiagnosticsReport(agent_name: brics.aip1" in str(found.detail)
    assert (await asyncio.to_thread(client.restart, "soft", "brics.aip1")).is_ok()
    assert bridge.agent.restarts == [("soft", "brics.aip1")]
    await asyncio.to_thread(client.notify, "a.b user_added u.p.a")
    assert bridge.agent.notified == ["a.b user_added u.p.a"]
    assert await asyncio.to_thread(client.get_portal) == "brics"


def entries_of(report: openportal.DiagnosticsReport) -> list[Any]:
    return [report.failed_jobs, report.slowest_jobs, report.expired_jobs, report.running_jobs]


async def test_notifications(client: Client, bridge: Bridge) -> None:
    id = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
    event = {"UserAdded": "alice.demo.brics"}
    bridge.agent.notifications[id] = {"id": id, "destination": "bridge.brics", "event": event}
    note = await asyncio.to_thread(client.fetch_notification, openportal.Uuid(id))
    assert (note.event_type, note.event_argument) == ("user_added", "alice.demo.brics")


async def test_the_bridge_says_why_it_refuses(client: Client, bridge: Bridge) -> None:
    with pytest.raises(openportal.BridgeError, match="is not a command") as refused:
        await asyncio.to_thread(client.run, "nonsense")
    assert refused.value.status == 400
    with Client(Config(bridge.url, b"x" * 32)) as stranger, Client(Config(bridge.url, b"l" * 32)) as limited:
        with pytest.raises(openportal.BridgeError, match="belongs to no key") as unknown:
            await asyncio.to_thread(stranger.run, COMMAND)
        with pytest.raises(openportal.BridgeError) as forbidden:
            await asyncio.to_thread(limited.run, "brics.aip1 add_user alice.demo.brics")
    assert (unknown.value.status, forbidden.value.status) == (401, 403)


async def test_several_bridges_at_once(client: Client) -> None:
    async with serving(Key(key=b"o" * 32)) as other:
        with Client(Config(other.url, b"o" * 32)) as second:
            jobs = await asyncio.gather(*(asyncio.to_thread(one.run, COMMAND) for one in (client, second)))
            assert [str(job.id) in other.agent.jobs for job in jobs] == [False, True]
            assert await asyncio.to_thread(second.status, jobs[1]) == jobs[1]


async def test_the_client_for_asyncio(bridge: Bridge, tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text(f'url = "{bridge.url}"\n[key]\ndata = "{KEY.hex()}"\n')
    async with AsyncClient(file, calls_max=8) as there:
        jobs = await asyncio.gather(*(there.run(SLOW) for _ in range(8)))
        assert not any(job.is_finished for job in jobs)
        assert await asyncio.gather(*(there.wait(job, 10_000) for job in jobs)) == [True] * 8
        assert await there.get(jobs[0].id) == await there.status(jobs[0]) == jobs[0]
        assert await there.get_portal() == "brics"
        assert (await there.health()).is_healthy()
        assert (await there.diagnostics("")).is_healthy()
        assert (await there.restart("soft", "")).is_ok()
        one = [openportal.Destination("c1.brics.alloc")]
        assert await there.sync_offerings(one) == await there.get_offerings() == one
        assert await there.add_offerings([]) == [] == await there.remove_offerings([])
        await there.notify("a.b user_added u.p.a")
        bridge.agent.put("brics.bridge.c1 get_project p.alloc")
        [job] = await there.fetch_jobs()
        await there.send_result((await there.fetch_job(job)).completed_none())
        with pytest.raises(openportal.BridgeError, match="no notification"):
            await there.fetch_notification(job.id)


async def test_the_functions_of_the_module(bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default.DEFAULT, "client", default._NotLoaded())
    assert not openportal.is_config_loaded()
    with pytest.raises(OSError, match="load_config"):
        openportal.run(COMMAND)
    with pytest.raises(TypeError):
        openportal.status(5)  # type: ignore[arg-type]
    file = tmp_path / "bridge.toml"
    file.write_text(f'url = "{bridge.url}"\n[key]\ndata = "{KEY.hex()}"\n')
    openportal.load_config(file)
    with pytest.raises(OSError, match="nowhere"):
        openportal.load_config(tmp_path / "nowhere")
    assert openportal.is_config_loaded()
    openportal.initialize_tracing()
    job = await asyncio.to_thread(openportal.run, SLOW)
    copy = pickle.loads(pickle.dumps(job))
    assert copy == job and await asyncio.to_thread(copy.wait, 10_000)
    await asyncio.to_thread(job.update)
    assert job.is_finished and copy == job
    default.DEFAULT.client.close()


# --- other servers ----------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers each request with the next of `answers`, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = list(answers), list[tuple[str, str, dict[str, str], bytes]]()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def config(self) -> Config:
        return Config(f"http://127.0.0.1:{self.server_port}/pre/", KEY)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, text = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        server.shutdown()
        server.server_close()


def start(servers: list[Server], *answers: tuple[int, bytes]) -> Server:
    servers.append(Server(*answers))
    return servers[-1]


def test_what_is_sent(servers: list[Server]) -> None:
    server = start(servers, (200, b'"brics"'), (200, b"{}"))
    with Client(server.config) as client:
        client.get_portal()
        client.notify("a.b user_added é.p.w")
    (get, path, headers, _), (post, target, signed, body) = server.asked
    assert (get, path) == ("GET", "/pre/get_portal?openportal-version=0.1")
    assert (post, target, body) == (
        "POST",
        "/pre/notify?openportal-version=0.1",
        '{"command":"a.b user_added é.p.w"}'.encode(),
    )
    assert headers["x-nonce"] != signed["x-nonce"]
    text = CANONICAL["2"]("post", signed["date"], "notify", body.decode(), signed["x-nonce"])
    assert signed["authorization"] == f"OpenPortal {sign(KEY, text).hex()}"


JOB = {
    "id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890", "created": 1700000000, "changed": 1700000005, "expires": 4102444800,
    "version": 2, "command": "a.b get_offerings", "state": "Pending", "result": None, "result_type": None,
}  # fmt: skip
PENDING, DONE = (json.dumps({**JOB, "state": state}).encode() for state in ("Pending", "Complete"))


def test_a_bridge_that_does_not_wait_is_polled(servers: list[Server]) -> None:
    server = start(servers, *((200, PENDING),) * 4, (200, DONE))
    with Client(server.config) as client:
        assert client.run("a.b get_offerings", 20_000).is_finished
    assert len(server.asked) == 5
    assert "wait=" in server.asked[1][1]


def test_who_is_told_to_wait_asks_again_signed_anew(servers: list[Server]) -> None:
    server, pauses = start(servers, (429, b""), (429, b""), (200, b'"brics"')), list[float]()
    request, connections = exchange.asking("get_portal"), Connections(server.config, sleep=pauses.append)
    assert connections.call(request) == b'"brics"'
    assert pauses == [0.1, 0.2]
    assert len({headers["x-nonce"] for _, _, headers, _ in server.asked}) == 3
    server.answers, pauses[:] = [(429, b'{"message":"too often"}')], []
    with pytest.raises(errors.BridgeError, match="too often"):
        connections.call(request)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6]
    connections.close()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"", "knows only the first version of signatures"),
        (401, b'{"message":"the clock is off"}', "the clock is off"),
        (302, b"", "gives no reason"),
        (500, b"<h1>Bad</h1>", "<h1>Bad</h1>"),
        (200, b"nonsense", "not JSON"),
        (200, b"5", "not the name of a portal"),
        (200, b'"a.b"', "contains '.'"),
    ],
)
def test_answers_that_are_none(servers: list[Server], status: int, body: bytes, said: str) -> None:
    with Client(start(servers, (status, body)).config) as client, pytest.raises(OSError, match=said):
        client.get_portal()


@pytest.mark.parametrize("function", ["fetch_jobs", "get_offerings", "health", "get"])
def test_answers_of_another_kind(servers: list[Server], function: str) -> None:
    arguments = ["x"] if function == "get" else []
    with Client(start(servers, (200, b'"x"')).config) as client, pytest.raises(OSError):
        getattr(client, function)(*arguments)


def test_a_bridge_that_is_not_there() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        config = Config(f"http://127.0.0.1:{nobody.getsockname()[1]}", KEY)
        with pytest.raises(openportal.BridgeError, match="cannot be reached") as failed:
            Client(config).get_portal()
    assert failed.value.status is None


def test_a_bridge_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(Config(f"http://127.0.0.1:{silent.getsockname()[1]}", KEY), timeout_seconds=0.05)
        with pytest.raises(openportal.BridgeError, match="did not answer in time"):
            client.get_portal()


def test_other_threads_run_while_a_call_waits() -> None:
    """The published client holds the interpreter: no other thread moves."""
    ticks = list[float]()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(Config(f"http://127.0.0.1:{silent.getsockname()[1]}", KEY), timeout_seconds=0.5)

        def call() -> None:
            with pytest.raises(OSError):
                client.get_portal()

        calling = threading.Thread(target=call)
        calling.start()
        while calling.is_alive():
            ticks.append(time.monotonic())
            time.sleep(0.01)
    assert len(ticks) > 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "not TOML"),
        ("", "url must be a text"),
        ('url = "http://x"', "key must be a table"),
        ('url = "http://x"\nkey = "00"', "key must be a table"),
        ('url = "http://x"\n[key]\ndata = "00"', "exactly 32 bytes"),
        ('url = "http://x"\n[key]\ndata = "xy"', "hexadecimal"),
        (f'url = "ftp://x"\n[key]\ndata = "{KEY.hex()}"', "URL of a bridge"),
    ],
)
def test_config_files_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text(text)
    with pytest.raises(OSError, match=said):
        Client(file)


def test_the_key_is_not_shown() -> None:
    config = Config("http://x", KEY)
    assert KEY.hex() not in repr(config) and repr(KEY) not in repr(config)
    assert config.path_of("run") == "/run"
    assert Config("http://x/pre", KEY).path_of("run") == "/run"


def test_idle_connections_are_few(servers: list[Server]) -> None:
    server = start(servers, (200, b"1"))
    connections = Connections(server.config)
    opened = [connections._open() for _ in range(connection.IDLE_MAX_CONNECTIONS + 2)]
    for one in opened:
        connections._give_back(one)
    assert len(connections._idle) == connection.IDLE_MAX_CONNECTIONS
    connections.close()
    assert connections._idle == []
