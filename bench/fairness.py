"""How long `add_user` takes for one portal while another one has ten thousand reports wanted of the same cluster.

    .venv/bin/python bench/fairness.py                       three quiet and three flooded phases, one after the other
    .venv/bin/python bench/fairness.py --reports 2000 --rounds 5

Two portals with a bridge each above one provider. In a quiet phase users of the first portal are added, one at a time.
In a flooded one the second portal's software, a process of its own, asks for all of its reports at once, each of
another day, and users are added all the same until the last report is there. Quiet and flooded phases alternate, so
that other work on the machine meets both alike. Prints p50 and p99 of both and the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Awaitable, Iterator, Sequence
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import uvloop
from chain import Connection, Tally, cpu_seconds, one_job, warm_up

from openportal.cli.facility import MEMBERS, Facility, Member

Job = dict[str, Any]
OTHER_CHAIN = "other.aip1.clusters.shared"
TWO_PORTALS = (
    *(member for member in MEMBERS if member.name != "aip1"),
    Member("other", "op-portal", "Portal"),
    Member("flood", "op-bridge", "Bridge", ("other",)),
    Member("aip1", "op-provider", "Provider", ("brics", "other")),
)
FLOOD_CONNECTIONS = 64
PROJECTS = 50
QUIET_SECONDS = 15.0
POLL_SECONDS = 0.05
LOOK_SECONDS = 0.1  # between the looks of a connection at a report: a bridge takes 10,000 requests in 10 s
FIRST_DAY = date(2000, 1, 1)


class Bench:
    """The software of the first portal, which adds users; that of the second runs in a process of its own."""

    def __init__(self, facility: Facility, reports: int) -> None:
        self._facility = facility
        self._reports = reports
        self._users = count()
        self._asked = 0
        self.quiet, self.flooded = Tally(), Tally()
        self.failed_reports = 0

    async def run(self, rounds: int) -> None:
        await warm_up(self._facility, self._key("bridge"))
        other = await self._other_portal()
        for number in range(PROJECTS):
            project = await ended(other, await asked(other, f"add_project p{number}.other"))
            assert project["state"] == "Complete", project
        for number in range(rounds):
            await self._phase(f"quiet {number + 1}", self.quiet, asyncio.sleep(QUIET_SECONDS))
            await self._phase(f"flooded {number + 1}", self.flooded, self._flood())

    async def _other_portal(self) -> Connection:
        """A connection to its bridge, once the portal is linked with it."""
        while True:
            connection = await connected(self._facility.http_ports["flood"], self._key("flood"))
            try:
                await asked(connection, "get_users p0.other")
            except RuntimeError:
                await asyncio.sleep(POLL_SECONDS)
            else:
                return connection

    async def _phase(self, name: str, tally: Tally, meanwhile: Awaitable[None]) -> None:
        """Users are added, one at a time, for as long as the other thing takes."""
        begin, busy = time.perf_counter(), self._busy_seconds()
        here = Tally()
        other = asyncio.ensure_future(meanwhile)
        connection = await connected(self._facility.http_port, self._key("bridge"))
        while not other.done():
            number = next(self._users)
            await one_job(connection, f"add_user f{number}.p{number % PROJECTS}.brics", here)
        await other
        wall, busy = time.perf_counter() - begin, self._busy_seconds() - busy
        load = os.getloadavg()[0]
        print(f"{name:10} {told(here)}; {wall:.0f} s, agents {busy:.0f} s CPU, load {load:.1f}", flush=True)
        tally.latencies += here.latencies
        tally.failed += here.failed

    async def _flood(self) -> None:
        """All reports are asked for before the first of them is looked at."""
        first, self._asked = self._asked, self._asked + self._reports
        where = (str(self._facility.http_ports["flood"]), self._key("flood").hex())
        command = [sys.executable, __file__, "--flood", *where, str(first), "--reports", str(self._reports)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        assert process.returncode == 0, f"the flood ended with {process.returncode}"
        self.failed_reports += int(said)

    def _key(self, bridge: str) -> bytes:
        return bytes.fromhex(tomllib.loads(self._facility.client_file_of(bridge).read_text())["key"]["data"])

    def _busy_seconds(self) -> float:
        return sum(cpu_seconds(process.pid) for process in self._facility.processes.values())


async def connected(port: int, key: bytes) -> Connection:
    connection = Connection(port, key)
    await connection.open()
    return connection


async def asked(connection: Connection, instruction: str) -> Job:
    job: Job = await connection.post("run", {"command": f"{OTHER_CHAIN} {instruction}"})
    return job


async def ended(connection: Connection, job: Job) -> Job:
    while job["state"] not in ("Complete", "Error"):
        await asyncio.sleep(LOOK_SECONDS)
        job = await connection.post("status", {"job": job["id"]})
    return job


async def flood(port: int, key: bytes, numbers: Iterator[int]) -> int:
    """The software of the second portal: how many of its reports failed."""

    async def ask(connection: Connection) -> list[Job]:
        return [await asked(connection, report(number)) for number in numbers]

    async def failures(connection: Connection, jobs: Sequence[Job]) -> int:
        return sum([(await ended(connection, job))["state"] == "Error" for job in jobs])

    connections = [await connected(port, key) for _ in range(FLOOD_CONNECTIONS)]
    jobs = await asyncio.gather(*map(ask, connections))
    return sum(await asyncio.gather(*map(failures, connections, jobs)))


def report(number: int) -> str:
    """No two in the same words: those that are would be asked once."""
    return f"get_usage_report p{number % PROJECTS}.other {FIRST_DAY + timedelta(days=number // PROJECTS)}"


def told(tally: Tally) -> str:
    return (
        f"{len(tally.latencies)} users, p50 {tally.quantile(0.5):.1f} ms, p99 {tally.quantile(0.99):.1f} ms,"
        f" {len(tally.failed)} failed"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reports", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flood", nargs=3, metavar=("PORT", "KEY", "FIRST"), help="how it calls itself")
    options = parser.parse_args()
    if options.flood:
        port, key, first = options.flood
        numbers = iter(range(int(first), int(first) + options.reports))
        print(uvloop.run(flood(int(port), bytes.fromhex(key), numbers)))
        return
    with (
        tempfile.TemporaryDirectory(prefix="openportal-fairness-") as folder,
        Facility(Path(folder), TWO_PORTALS, log_level="warning") as facility,
    ):
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        bench = Bench(facility, options.reports)
        uvloop.run(bench.run(options.rounds))
    ratios = [bench.flooded.quantile(q) / bench.quiet.quantile(q) for q in (0.5, 0.99)]
    print(f"quiet      {told(bench.quiet)}\nflooded    {told(bench.flooded)}")
    print(f"reports    {options.rounds * options.reports}, {bench.failed_reports} failed")
    print(f"flooded against quiet: p50 {ratios[0]:.2f} times, p99 {ratios[1]:.2f} times")


if __name__ == "__main__":
    main()
