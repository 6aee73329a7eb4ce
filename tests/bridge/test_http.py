"""Every function of the API, over a real connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from openportal.bridge.auth import Verifier
from openportal.bridge.http import BODY_MAX_BYTES, Limits, bridge_app
from openportal.bridge.keys import KeyRing
from openportal.bridge.serve import HEAD_MAX_BYTES, HttpServer
from openportal.errors import ConfigError
from tests.bridge.support import Bridge, Client, Key, MemoryAgent, health_of, report_of, serving

NOWHERE = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    async with serving() as it:
        yield it


@pytest.fixture(params=[1, 2])
def version(request: pytest.FixtureRequest, bridge: Bridge) -> int:
    bridge.client.version = request.param
    return int(request.param)


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["message"]
    return str(body["message"])


async def test_root_needs_no_key(bridge: Bridge) -> None:
    answer = await bridge.client.http.get("/")
    assert (answer.status_code, answer.text) == (200, "null")
    assert (await bridge.client.http.head("/")).text == ""
    assert "GET" in problem(await bridge.client.http.post("/"), 405)


async def test_health(bridge: Bridge, version: int) -> None:
    expected = health_of("bridge", "Bridge", {"brics": health_of("brics", "Portal", {})})
    assert (await bridge.client.get("health")).json() == {"status": "ok", "health": expected}
    bridge.agent.reachable = False
    assert (await bridge.client.get("health")).json() == {"status": "error"}


async def test_get_portal(bridge: Bridge, version: int) -> None:
    assert (await bridge.client.get("get_portal")).text == '"brics"'
    bridge.agent.name = None
    assert "No portal" in problem(await bridge.client.get("get_portal"), 503)


async def test_offerings(bridge: Bridge, version: int) -> None:
    one, two, three = "c1.brics.alloc", "c2.brics.alloc", "c3.brics.alloc"
    assert (await bridge.client.get("get_offerings")).json() == []
    assert (await bridge.client.post("sync_offerings", [one, two])).json() == [one, two]
    assert (await bridge.client.post("add_offerings", [three])).json() == [three]
    assert (await bridge.client.post("remove_offerings", [one])).json() == [one]
    assert (await bridge.client.get("get_offerings")).json() == [two, three]
    assert (await bridge.client.post("sync_offerings", [])).json() == []
    assert bridge.agent.offered == []
    assert "is not an offering" in problem(await bridge.client.post("add_offerings", ["a"]), 400)
    assert '["cluster1.' in problem(await bridge.client.post("add_offerings", "[a.b.c]"), 400)


async def test_run_answers_with_the_finished_job(bridge: Bridge, version: int) -> None:
    began = time.monotonic()
    answer = await bridge.client.post("run", {"command": "brics.aip1 get_users démo.brics"})
    assert answer.status_code == 200
    assert time.monotonic() - began < 0.15
    job = answer.json()
    assert (job["state"], job["result"], job["version"]) == ("Complete", '["alice.demo.brics"]', 1002)
    assert job["command"] == "brics.aip1 get_users démo.brics"
    assert list(job)[:5] == ["id", "created", "changed", "expires", "version"]
    assert bridge.agent.callers[job["id"]] == "waldur"


async def test_run_and_status_linger_and_wait(bridge: Bridge) -> None:
    began = time.monotonic()
    job = (await bridge.client.post("run", {"command": "brics.aip1 get_users slow.brics"})).json()
    assert job["state"] == "Pending"
    assert 0.15 < time.monotonic() - began < 0.5
    began = time.monotonic()
    assert (await bridge.client.post("status", {"job": job["id"]})).json()["state"] == "Pending"
    assert 0.08 < time.monotonic() - began < 0.25
    waited = await bridge.client.post("status", {"job": job["id"].upper()}, "&wait=5")
    assert waited.json()["state"] == "Complete"
    assert time.monotonic() - began < 2


async def test_run_waits_as_long_as_it_is_asked_to(bridge: Bridge) -> None:
    answer = await bridge.client.post("run", {"command": "brics.aip1 get_users slow.brics"}, "&wait=5")
    assert answer.json()["state"] == "Complete"


async def test_fetch_jobs_waits_for_a_job(bridge: Bridge) -> None:
    assert (await bridge.client.http.get("/fetch_jobs?wait=0.05", headers=fetch(bridge))).json() == []
    asyncio.get_running_loop().call_later(0.1, bridge.agent.put, "brics.bridge.c1 get_project p.alloc")
    [job] = (await bridge.client.http.get("/fetch_jobs?wait=20", headers=fetch(bridge))).json()
    assert job["command"] == "brics.bridge.c1 get_project p.alloc"
    assert len((await bridge.client.http.get("/fetch_jobs?wait=20", headers=fetch(bridge))).json()) == 1
    problem(await bridge.client.http.get("/fetch_jobs?wait=26", headers=fetch(bridge)), 400)


def fetch(bridge: Bridge) -> dict[str, str]:
    return bridge.client.headers("get", "fetch_jobs", "")


@pytest.mark.parametrize("wait", ["26", "-1", "nan", "inf", "soon"])
async def test_wait_out_of_bounds(bridge: Bridge, wait: str) -> None:
    assert "0 to 25" in problem(await bridge.client.post("status", {"job": NOWHERE}, f"&wait={wait}"), 400)


async def test_run_refusals(bridge: Bridge) -> None:
    assert "is not a command" in problem(await bridge.client.post("run", {"command": "nonsense"}), 400)
    full = await bridge.client.post("run", {"command": "brics.aip1 get_users full.brics"})
    assert "full" in problem(full, 503)
    assert full.headers["retry-after"] == "1"
    assert '{"command":' in problem(await bridge.client.post("run", {"order": "x"}), 400)
    assert "command" in problem(await bridge.client.post("run", {"command": 7}), 400)
    assert "JSON" in problem(await bridge.client.post_text("run", "{"), 400)
    assert "JSON" in problem(await bridge.client.post_text("run", ""), 400)


async def test_errors_lose_their_origin(bridge: Bridge) -> None:
    job = (await bridge.client.post("run", {"command": "brics.aip1 get_users fail.brics"})).json()
    assert job["error"] == {"kind": "award_pending", "message": "wait for the approval"}
    assert (await bridge.client.post("status", {"job": job["id"]})).json()["error"] == job["error"]
    assert "origin" in bridge.agent.jobs[job["id"]]["error"]
    theirs = bridge.agent.put("brics.bridge.c1 create_project p.alloc {}")
    theirs["error"] = {"kind": "run", "message": "no", "origin": "x"}
    assert "origin" not in (await bridge.client.get("fetch_jobs")).text
    assert "origin" not in (await bridge.client.post("fetch_job", theirs["id"])).text


async def test_unknown_ids(bridge: Bridge, version: int) -> None:
    for function in ("fetch_job", "fetch_notification"):
        assert NOWHERE in problem(await bridge.client.post(function, NOWHERE), 404)
    assert NOWHERE in problem(await bridge.client.post("status", {"job": NOWHERE}), 404)
    assert "anything" in problem(await bridge.client.post("status", {"job": "anything"}), 404)


async def test_the_portal_software_answers_a_job(bridge: Bridge, version: int) -> None:
    job = bridge.agent.put("brics.bridge.c1 create_project p.alloc {}")
    assert (await bridge.client.get("fetch_jobs")).json() == [job]
    assert (await bridge.client.post("fetch_job", job["id"])).json() == job
    answer = {
        **job,
        "version": 1002,
        "state": "Complete",
        "result": '"p.alloc:p.brics"',
        "result_type": "ProjectMapping",
    }
    answer["future"] = {"a": 1}
    assert (await bridge.client.post("send_result", answer)).json() == {"status": "ok"}
    del answer["future"]
    assert bridge.agent.to_software[job["id"]] == answer
    assert (await bridge.client.get("fetch_jobs")).json() == []
    assert "answered before" in problem(await bridge.client.post("send_result", answer), 400)
    assert "no job" in problem(await bridge.client.post("send_result", {**answer, "id": NOWHERE}), 400)
    assert "state" in problem(await bridge.client.post("send_result", {**answer, "state": "complete"}), 400)
    assert "version" in problem(await bridge.client.post("send_result", {**answer, "version": 2**64}), 400)


async def test_fetch_notification(bridge: Bridge, version: int) -> None:
    id = str(uuid4())
    note = {"id": id, "destination": "bridge.brics", "event": {"UserAdded": "alice.demo.brics"}}
    bridge.agent.notifications[id] = note
    assert (await bridge.client.post("fetch_notification", id)).json() == note


async def test_restart_diagnostics_notify(bridge: Bridge, version: int) -> None:
    answer = await bridge.client.post("restart", {"destination": "brics.aip1", "restart_type": "soft"})
    assert answer.json() == {"status": "ok", "message": "The soft restart is on its way to 'brics.aip1'."}
    assert bridge.agent.restarts == [("soft", "brics.aip1")]
    bad = await bridge.client.post("restart", {"destination": "", "restart_type": "lukewarm"})
    assert "hard" in problem(bad, 400)
    diagnosis = await bridge.client.post("diagnostics", {"destination": "aip1"})
    assert diagnosis.json() == {"status": "ok", "report": report_of("aip1")}
    bridge.agent.reachable = False
    assert (await bridge.client.post("diagnostics", {"destination": ""})).json() == {"status": "error"}
    assert (await bridge.client.post("notify", {"command": "a.b user_added u.p.a"})).json() == {"status": "ok"}
    assert bridge.agent.notified == ["a.b user_added u.p.a"]


async def test_only_what_there_is(bridge: Bridge) -> None:
    assert "metrics" in problem(await bridge.client.http.get("/metrics"), 404)
    assert problem(await bridge.client.http.get("/run/"), 404)
    assert "POST" in problem(await bridge.client.http.get("/run"), 405)
    assert "GET" in problem(await bridge.client.http.put("/health"), 405)


async def test_callers_write_no_lines_of_the_log(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    await bridge.client.post("status", {"job": "x\nGET '/health' from 192.0.2.1"})
    await bridge.client.http.get("/x%0Ay")
    assert len(caplog.messages) == 2
    assert not any("\n" in line for line in caplog.messages)


async def test_a_bug_shows_nothing_of_itself(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    message = problem(await bridge.client.post("run", {"command": "brics.aip1 get_users crash.brics"}), 500)
    assert "secret" not in message
    assert message.rstrip(".").split()[-1] in caplog.text
    assert "a secret of the implementation" in caplog.text


async def test_unsigned_requests(bridge: Bridge) -> None:
    answer = await bridge.client.http.get("/health")
    assert "Authorization header is missing" in problem(answer, 401)
    assert answer.headers["www-authenticate"] == "OpenPortal"
    bridge.client.key = bytes(32)
    assert "no key" in problem(await bridge.client.get("health"), 401)


async def test_a_request_is_good_once(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    headers = bridge.client.headers("get", "health", "")
    assert (await bridge.client.http.get("/health", headers=headers)).status_code == 200
    assert "used before" in problem(await bridge.client.http.get("/health", headers=headers), 401)
    assert [line for line in caplog.messages if "used before" in line and "/health" in line and "127.0.0.1" in line]
    assert len(caplog.messages) == 1


async def test_clock_is_told(bridge: Bridge) -> None:
    bridge.client.clock = lambda: time.time() - 47
    assert "behind" in problem(await bridge.client.get("health"), 401)


async def test_a_body_that_is_not_text(bridge: Bridge) -> None:
    headers = bridge.client.headers("post", "run", "")
    answer = await bridge.client.http.post("/run", content=b"\xff\xfe", headers=headers)
    assert "UTF-8" in problem(answer, 400)


async def test_body_limit(bridge: Bridge) -> None:
    padding = "x" * (BODY_MAX_BYTES - len('{"command":""}'))
    assert problem(await bridge.client.post("run", {"command": padding}), 400).startswith("'xxx")
    assert "1048576" in problem(await bridge.client.post("run", {"command": padding + "x"}), 413)
    long = await bridge.client.post_text("run", "x" * (3 * BODY_MAX_BYTES))
    assert problem(long, 413)
    assert long.headers["connection"] == "close"


async def test_at_most_so_many_at_once() -> None:
    async with serving(limits=Limits(in_flight_max_requests=4)) as bridge:
        waiting = [
            asyncio.create_task(bridge.client.post("run", {"command": "brics.a get_users hang.brics"}))
            for _ in range(4)
        ]
        await asyncio.sleep(0.1)
        assert "as many requests" in problem(await bridge.client.get("health"), 503)
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
        assert (await bridge.client.get("health")).status_code == 200


async def test_no_request_lasts_for_ever() -> None:
    async with serving(limits=Limits(request_max_seconds=0.2)) as bridge:
        assert "0.2 s" in problem(await bridge.client.post("run", {"command": "brics.a get_users stall.brics"}), 408)
        reader, writer = await asyncio.open_connection(*bridge.url.removeprefix("http://").split(":"))
        writer.write(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 2)
        writer.close()


async def test_keys_are_limited_in_what_they_do() -> None:
    readers = Key("readers", b"r" * 32, verbs=("get_users",), destinations=("brics.aip1",))
    async with serving(Key(), readers) as bridge:
        bridge.client.key = readers.key
        assert (await bridge.client.post("run", {"command": "brics.aip1.x get_users p.brics"})).status_code == 200
        verb = problem(await bridge.client.post("run", {"command": "brics.aip1 remove_user a.p.brics"}), 403)
        assert "'readers'" in verb
        assert "get_users, at brics.aip1" in verb
        assert "'brics.aip10'" in problem(await bridge.client.post("run", {"command": "brics.aip10 get_users p"}), 403)
        for function, body in {
            "restart": {"restart_type": "soft", "destination": "brics.aip1"},
            "diagnostics": {"destination": "brics.aip1"},
            "notify": {"command": "brics.aip1 user_added a.p.b"},
            "sync_offerings": ["a.b.c"],
            "fetch_job": NOWHERE,
            "fetch_notification": NOWHERE,
            "send_result": {},
        }.items():
            assert function in problem(await bridge.client.post(function, body), 403)
        assert "fetch_jobs" in problem(await bridge.client.get("fetch_jobs"), 403)
        assert (await bridge.client.get("health")).status_code == 200
        assert bridge.agent.restarts == []


async def test_two_keys_while_one_replaces_the_other() -> None:
    async with serving(Key("old", b"o" * 32), Key("new", b"n" * 32)) as bridge:
        for id in ("old", "new"):
            bridge.client.key = id[:1].encode() * 32
            job = (await bridge.client.post("run", {"command": "brics.aip1 get_users p"})).json()
            assert bridge.agent.callers[job["id"]] == id


class Proxies:
    def allows(self, address: str, /) -> bool:
        return address in ("127.0.0.1", "10.0.0.1")


async def test_forwarded_addresses_count_only_from_a_proxy(caplog: pytest.LogCaptureFixture) -> None:
    forwarded = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7, 10.0.0.1"}
    async with serving() as bridge:
        await bridge.client.http.get("/health", headers=forwarded)
    assert "from 127.0.0.1 refused" in caplog.text
    caplog.clear()
    async with serving(proxy=Proxies()) as bridge:
        await bridge.client.http.get("/health", headers=forwarded)
    assert "from 192.0.2.7 refused" in caplog.text


async def test_answers_are_not_held_back(bridge: Bridge) -> None:
    began = time.monotonic()
    for _ in range(30):
        assert (await bridge.client.get("get_portal")).status_code == 200
    assert time.monotonic() - began < 30 * 0.03


async def test_the_address_must_be_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot listen on 127"):
            await HttpServer().start(None, "127.0.0.1", taken.getsockname()[1])


async def test_the_head_of_a_request_is_bounded(bridge: Bridge) -> None:
    _, writer = await asyncio.open_connection(*bridge.url.removeprefix("http://").split(":"))
    writer.write(b"GET / HTTP/1.1\r\n")
    with pytest.raises(ConnectionError):
        for _ in range(100 + HEAD_MAX_BYTES // 1024):
            writer.write(b"X-A: " + b"a" * 1024 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)
    writer.close()
    assert (await bridge.client.http.get("/")).status_code == 200


async def test_a_refused_request_need_not_be_heard_out(bridge: Bridge) -> None:
    reader, writer = await asyncio.open_connection(*bridge.url.removeprefix("http://").split(":"))
    writer.write(b"PUT /run HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n123")
    assert b" 405 " in await asyncio.wait_for(reader.read(), 2)
    writer.close()


async def test_requests_may_be_sent_ahead(bridge: Bridge) -> None:
    reader, writer = await asyncio.open_connection(*bridge.url.removeprefix("http://").split(":"))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    for _ in range(3):
        assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        assert await reader.readexactly(4) == b"null"
    writer.close()


async def test_stop_lets_requests_finish() -> None:
    agent, ring, server = MemoryAgent(), KeyRing([Key()]), HttpServer()
    await server.start(bridge_app(agent, Verifier(ring, time.time), ring), "127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
        waiting = asyncio.create_task(Client(http).post("run", {"command": "brics.a get_users hang.brics"}))
        await asyncio.sleep(0.05)
        await server.stop()
        assert (await waiting).json()["state"] == "Pending"
        with pytest.raises(httpx.ConnectError):
            await Client(http).get("health")
    await server.stop()
