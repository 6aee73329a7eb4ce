"""The whole chain under load: bridge, portal, provider, platform, instance and three sandbox leaves, every hop durable.

    .venv/bin/python bench/chain.py                       one at a time, then 32 in flight, 20 s each
    .venv/bin/python bench/chain.py --seconds 300 --flight 32 --verb add_user
    .venv/bin/python bench/chain.py --open 2000           with 2,000 jobs open for an instance that is down
    .venv/bin/python bench/chain.py --localaccount        real useradd, in a mount namespace with its own /etc (root)
    .venv/bin/python bench/chain.py --restart             and at the end: kill all, start all, time to the first job

Prints jobs/s, latencies, and for every agent: CPU per job, memory, bytes of log per job. Each job is one signed POST
/run over a kept-alive connection (and /status if it was not finished by then); it counts when its result was read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import tomllib
import uuid
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import uvloop

from openportal.cli.facility import CHAIN, HOST, MEMBERS, Facility, Member
from openportal.signing import signed_headers

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
OWN_ETC = "OPENPORTAL_BENCH_OWN_ETC"
DOWN = Member("down", "op-cluster", "Instance", ("clusters",))


class Connection:
    """One kept-alive HTTP connection that signs its requests (version 2)."""

    def __init__(self, port: int, key: bytes) -> None:
        self._port, self._key = port, key
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(HOST, self._port)

    async def post(self, function: str, body: Any) -> Any:
        text = json.dumps(body)
        signed = signed_headers(self._key, "post", function, text, formatdate(usegmt=True), str(uuid.uuid4()))
        head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        self._writer.write(
            f"POST /{function} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n{head}"
            f"content-length: {len(text)}\r\n\r\n{text}".encode()
        )
        return await self._answer(function)

    async def _answer(self, function: str) -> Any:
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        if b" 200 " not in head[:20]:
            raise RuntimeError(f"/{function}: {head[:40]!r} {body[:300]!r}")
        return json.loads(body)


@dataclass
class Tally:
    """What one run measured."""

    latencies: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def quantile(self, q: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1e3


async def one_job(connection: Connection, command: str, tally: Tally) -> None:
    begin = time.perf_counter()
    job = await connection.post("run", {"command": f"{CHAIN} {command}"})
    while job["state"] not in ("Complete", "Error"):
        job = await connection.post("status", {"job": job["id"]})
    tally.latencies.append(time.perf_counter() - begin)
    if job["state"] == "Error":
        tally.failed.append(str(job["result"]))


async def load(port: int, key: bytes, verb: str, flight: int, seconds: float, tag: str) -> Tally:
    tally = Tally()
    end = time.perf_counter() + seconds
    counter = iter(range(10**9))

    async def worker() -> None:
        connection = Connection(port, key)
        await connection.open()
        while time.perf_counter() < end:
            await one_job(connection, command_for(verb, tag, next(counter)), tally)

    await asyncio.gather(*(worker() for _ in range(flight)))
    return tally


def command_for(verb: str, tag: str, number: int) -> str:
    """A different user each time, in one of 50 projects; or a question about one that is there."""
    if verb == "add_user":
        return f"add_user {tag}{number}.p{number % 50}.brics"
    return f"is_blocked_user u{number % 100}.p0.brics"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def log_bytes(folder: Path) -> int:
    """What the events take in the database, without the write-ahead log and the free pages."""
    with sqlite3.connect(f"file:{folder}/ledger.sqlite?mode=ro", uri=True) as database:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    database.close()
    return int((pages - free) * size)


def measure(facility: Facility, key: bytes, verb: str, flight: int, seconds: float, tag: str) -> Tally:
    pids = {name: process.pid for name, process in facility.processes.items()}
    cpu = {name: cpu_seconds(pid) for name, pid in pids.items()}
    logs = {name: log_bytes(facility.ledger(name)) for name in pids}
    mine = time.process_time()
    begin = time.perf_counter()
    tally = uvloop.run(load(facility.http_port, key, verb, flight, seconds, tag))
    wall = time.perf_counter() - begin
    jobs = len(tally.latencies)
    print(
        f"{verb}, {flight} in flight, {wall:.0f} s: {jobs / wall:.0f} jobs/s, p50 {tally.quantile(0.5):.1f} ms,"
        f" p99 {tally.quantile(0.99):.1f} ms, {len(tally.failed)} failed"
    )
    for name, pid in pids.items():
        used = (cpu_seconds(pid) - cpu[name]) / jobs * 1e6
        grown = (log_bytes(facility.ledger(name)) - logs[name]) / jobs
        print(f"  {name:9} {used:7.0f} µs CPU/job  {rss_megabytes(pid):5.0f} MB  {grown:6.0f} bytes of log/job")
    print(f"  {'client':9} {(time.process_time() - mine) / jobs * 1e6:7.0f} µs CPU/job")
    for text in tally.failed[:3]:
        print("  failed:", text)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--flight", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--verb", nargs="*", default=["add_user", "is_blocked_user"])
    parser.add_argument("--log-level", default="warning")
    parser.add_argument("--open", type=int, default=0)
    parser.add_argument("--localaccount", action="store_true")
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--commit", choices=["inline", "thread"], help="how every ledger commits (default: as shipped)")
    options = parser.parse_args()
    if options.localaccount:
        in_own_etc()
    with (
        tempfile.TemporaryDirectory(prefix="openportal-bench-") as folder,
        Facility(Path(folder), (*MEMBERS, DOWN), log_level=options.log_level) as facility,
    ):
        facility.lay_out(tables(options.localaccount, options.commit))
        key = bytes.fromhex(tomllib.loads(facility.client_file.read_text())["key"]["data"])
        facility.start([member.name for member in MEMBERS])
        print(f"ready after {facility.wait_ready():.1f} s")
        uvloop.run(warm_up(facility, key))
        if options.open:
            uvloop.run(open_jobs(facility.http_port, key, options.open))
        for verb in options.verb:
            for flight in options.flight:
                measure(facility, key, verb, flight, options.seconds, f"f{flight}u")
        if options.restart:
            restart(facility, key)


def tables(localaccount: bool, commit: str | None) -> dict[str, dict[str, Any]]:
    """What differs from the facility as it is laid out."""
    found: dict[str, dict[str, Any]] = {member.name: {} for member in MEMBERS}
    if commit is not None:
        for name in found:
            found[name]["ledger"] = {"commit": commit}
    if localaccount:
        found["acct"]["extras"] = {"sandbox": ""}
    return found


def in_own_etc() -> None:
    """Run this program again with a copy of /etc that it may change."""
    if os.environ.get(OWN_ETC):
        return
    with tempfile.TemporaryDirectory(prefix="openportal-etc-") as folder:
        script = f'cp -a /etc {folder}/etc && mount --bind {folder}/etc /etc && exec "$@"'
        command = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
            sys.executable,
            *sys.argv,
        ]
        sys.exit(subprocess.run(command, env={**os.environ, OWN_ETC: "1"}, check=False).returncode)


async def open_jobs(port: int, key: bytes, count: int) -> None:
    """Ask for jobs that stay open: their instance is known and down."""
    numbers = iter(range(count))

    async def worker() -> None:
        connection = Connection(port, key)
        await connection.open()
        for number in numbers:
            await connection.post("run", {"command": f"brics.aip1.clusters.{DOWN.name} get_users o{number}.brics"})

    begin = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(128)))
    print(f"{count} jobs opened in {time.perf_counter() - begin:.0f} s")


def restart(facility: Facility, key: bytes) -> None:
    """kill -9 of all, start of all: how long until a job has gone through."""
    names = list(facility.processes)
    facility.kill(names)
    begin = time.perf_counter()
    facility.start(names)
    facility.wait_ready()
    uvloop.run(warm_up(facility, key))
    print(f"killed all: first job done {time.perf_counter() - begin:.1f} s after they were started again")


async def warm_up(facility: Facility, key: bytes) -> None:
    connection = Connection(facility.http_port, key)
    await connection.open()
    while True:
        tally = Tally()
        try:
            await one_job(connection, "add_project p0.brics", tally)
        except RuntimeError:  # the portal has not connected yet
            await asyncio.sleep(0.05)
            connection = Connection(facility.http_port, key)
            await connection.open()
            continue
        if not tally.failed:
            return


if __name__ == "__main__":
    main()
