"""A bridge for the tests: an agent in memory that keeps real state, real keys, and a client that signs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import formatdate
from typing import Any
from uuid import uuid4

import httpx

from openportal.bridge.auth import Verifier
from openportal.bridge.backend import Json, OfferingsAction
from openportal.bridge.http import Limits, bridge_app
from openportal.bridge.keys import KeyRing
from openportal.bridge.serve import HttpServer
from openportal.errors import GrammarError, InvalidJob, JobError, Unavailable
from openportal.signing import canonical_v1, sign, signed_headers

KEY = bytes(range(32))
SLOW_SECONDS = 0.6
OPEN_STATES = ("Created", "Pending", "Running")


@dataclass(frozen=True)
class Key:
    id: str = "waldur"
    key: bytes = KEY
    verbs: tuple[str, ...] | None = None
    destinations: tuple[str, ...] | None = None
    expires: datetime | None = None


def new_job(command: str, state: str = "Pending") -> Json:
    now = int(time.time())
    times = {"created": now, "changed": now, "expires": now + 120}
    return {
        "id": str(uuid4()), **times, "version": 2, "command": command, "state": state,
        "result": None, "result_type": None, "forwarded_for": None,
    }  # fmt: skip


HEALTH_COUNTS = """
    active_jobs pending_jobs running_jobs completed_jobs duplicate_jobs successful_jobs expired_jobs errored_jobs
    inflight_jobs queued_jobs worker_count memory_bytes system_memory_total system_cpus job_time_count
    total_completed total_failed total_expired total_slow uptime_seconds
"""


def health_of(name: str, agent_type: str, peers: Json) -> Json:
    times = ("start_time", "current_time", "last_updated")
    floats = ("cpu_percent", "job_time_min_ms", "job_time_max_ms", "job_time_mean_ms", "job_time_median_ms")
    return {
        "name": name, "agent_type": agent_type, "connected": True, **dict.fromkeys(HEALTH_COUNTS.split(), 3),
        **dict.fromkeys(floats, 1.5), **dict.fromkeys(times, "2026-11-24T07:35:08.945356669Z"),
        "engine": "templemeads", "version": "0.1.0", "peers": peers,
    }  # fmt: skip


def report_of(name: str) -> Json:
    moment = "2026-11-24T07:35:08Z"
    where = {"destination": "brics.aip1", "instruction": "get_users demo.brics"}
    failed = {**where, "error_message": "no such project", "count": 2, "first_seen": moment, "last_seen": moment}
    return {
        "agent_name": name, "generated_at": moment, "failed_jobs": [failed],
        "slowest_jobs": [{**where, "duration_ms": 1200, "completed_at": moment}],
        "expired_jobs": [{**where, "created_at": moment, "expired_at": moment, "count": 1}],
        "running_jobs": [{**where, "started_at": moment, "count": 1, "running_for_seconds": 7}],
        "warnings": ["the disk is nearly full"],
    }  # fmt: skip


@dataclass
class MemoryAgent:
    """A `Backend`. A command's project says what becomes of it: slow, hang, fail, full, crash, stall, else success."""

    name: str | None = "brics"
    jobs: dict[str, Json] = field(default_factory=dict)
    callers: dict[str, str] = field(default_factory=dict)
    to_software: dict[str, Json] = field(default_factory=dict)
    notifications: dict[str, Json] = field(default_factory=dict)
    offered: list[str] = field(default_factory=list)
    restarts: list[tuple[str, str]] = field(default_factory=list)
    notified: list[str] = field(default_factory=list)
    reachable: bool = True
    _finished: dict[str, asyncio.Event] = field(default_factory=dict)

    def portal(self) -> str | None:
        return self.name

    async def run(self, command: str, key_id: str) -> str:
        words = command.split()
        if len(words) < 2 or "." not in words[0]:
            raise GrammarError(f"'{command}' is not a command: write '<destination> <instruction>'.")
        fate = words[-1].partition(".")[0]
        if fate == "full":
            raise Unavailable("The board is full; try again later.")
        if fate == "crash":
            raise ZeroDivisionError("a secret of the implementation")
        if fate == "stall":
            await asyncio.sleep(60)
        job = new_job(command)
        self.jobs[job["id"]], self.callers[job["id"]] = job, key_id
        self._finished[job["id"]] = asyncio.Event()
        if fate == "slow":
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self.finish, job["id"])
        elif fate != "hang":
            self.finish(job["id"], fate == "fail")
        return str(job["id"])

    def finish(self, id: str, failed: bool = False) -> None:
        job = self.jobs[id]
        job["version"] += 1000
        if failed:
            error = {"kind": "award_pending", "message": "wait for the approval", "origin": "freeipa@secret"}
            job.update(state="Error", result="ManagedProjectPendingError: wait", result_type="Error", error=error)
        else:
            job.update(state="Complete", result='["alice.demo.brics"]', result_type="Vec<UserIdentifier>")
        self._finished[id].set()

    async def job(self, id: str, wait_seconds: float) -> Json | None:
        if id not in self.jobs:
            return None
        try:
            await asyncio.wait_for(self._finished[id].wait(), wait_seconds)
        except TimeoutError:
            pass
        return self.jobs[id]

    async def unfinished(self, wait_seconds: float) -> list[Json]:
        """Looks again while it waits: a test is in no hurry."""
        deadline = time.monotonic() + wait_seconds
        while not (found := [job for job in self.to_software.values() if job["state"] in OPEN_STATES]):
            if time.monotonic() >= deadline:
                break
            await asyncio.sleep(0.01)
        return found

    async def fetch_job(self, id: str) -> Json | None:
        return self.to_software.get(id)

    def fetch_notification(self, id: str) -> Json | None:
        return self.notifications.get(id)

    def put(self, command: str, state: str = "Pending") -> Json:
        job = {**new_job(command, state), "forwarded_for": "allocator.brics.cluster1"}
        self.to_software[job["id"]] = job
        return job

    async def send_result(self, job: Json) -> None:
        mine = self.to_software.get(job["id"])
        if mine is None:
            raise InvalidJob(f"There is no job {job['id']} here.")
        if mine["state"] not in OPEN_STATES or job["version"] <= mine["version"]:
            raise JobError(f"Job {job['id']} was answered before; only the first answer counts.")
        self.to_software[job["id"]] = job

    async def offerings(self, action: OfferingsAction, destinations: list[str]) -> list[str]:
        bad = [destination for destination in destinations if destination.count(".") < 2]
        if bad:
            raise GrammarError(f"'{bad[0]}' is not an offering: write '<resource>.<portal>.<allocator>'.")
        if action == "get":
            return self.offered
        kept = [] if action == "sync" else [each for each in self.offered if each not in destinations]
        self.offered = kept if action == "remove" else kept + destinations
        return destinations

    async def health(self) -> Json | None:
        peers = {"brics": health_of("brics", "Portal", {})}
        return health_of("bridge", "Bridge", peers) if self.reachable else None

    async def restart(self, restart_type: str, destination: str) -> str:
        self.restarts.append((restart_type, destination))
        return f"The {restart_type} restart is on its way to '{destination}'."

    async def diagnostics(self, destination: str) -> Json | None:
        return report_of(destination) if self.reachable else None

    async def notify(self, command: str) -> None:
        self.notified.append(command)


@dataclass
class Client:
    """A client that signs, as version 1 or 2."""

    http: httpx.AsyncClient
    key: bytes = KEY
    version: int = 2
    clock: Callable[[], float] = time.time

    def headers(self, method: str, function: str, body: str) -> dict[str, str]:
        nonce = str(uuid4())
        date = formatdate(self.clock(), usegmt=True)
        if self.version == 2:
            return signed_headers(self.key, method.lower(), function, body, date, nonce)
        given = sign(self.key, canonical_v1(method.lower(), date, function, body, nonce)).hex()
        return {"authorization": f"OpenPortal {given}", "date": date, "x-nonce": nonce}

    async def get(self, function: str, **headers: str) -> httpx.Response:
        signed = {**self.headers("get", function, ""), **headers}
        return await self.http.get(f"/{function}?openportal-version=0.1", headers=signed)

    async def post(self, function: str, body: Any, query: str = "", **headers: str) -> httpx.Response:
        text = json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        return await self.post_text(function, text, query, **headers)

    async def post_text(self, function: str, text: str, query: str = "", **headers: str) -> httpx.Response:
        signed = {**self.headers("post", function, text), "Content-Type": "application/json", **headers}
        url = f"/{function}?openportal-version=0.1{query}"
        return await self.http.post(url, content=text.encode("utf-8", "surrogatepass"), headers=signed)


@dataclass
class Bridge:
    agent: MemoryAgent
    client: Client
    url: str


@asynccontextmanager
async def serving(*keys: Key, limits: Limits | None = None, proxy: Any = None) -> AsyncIterator[Bridge]:
    """A bridge that listens on a port of its own."""
    ring = KeyRing(keys or (Key(),))
    agent, server = MemoryAgent(), HttpServer()
    await server.start(bridge_app(agent, Verifier(ring, time.time), ring, proxy, limits), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.port}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=35) as http:
            yield Bridge(agent, Client(http), url)
    finally:
        await server.stop()
