"""How long `add_user` takes for one portal while another one has ten thousand reports wanted of the same cluster.

    .venv/bin/python bench/fairness.py                       three quiet and three flooded phases, one after the other
    .venv/bin/python bench/fairness.py --reports 2000 --rounds 5

Two portals with a bridge each above one provider. In a quiet phase users of the first portal are added, one at a time.
In a flooded one the second portal's software asks for all of its reports at once, each of another day, and users are
added all the same until the last report is there. Quiet and flooded phases alternate, so that other work on the machine
meets both alike. Prints p50 and p99 of both and the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
import tomllib
from collections.abc import Awaitable, Sequence
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import uvloop
from chain import Connection, Tally, cpu_seconds, one_job, warm_up

from openportal.cli.facility import MEMBERS, Facility, Member

OTHER_CHAIN = "other.aip1.clusters.shared"
TWO_PORTALS = (
    *(member for member in MEMBERS if member.name != "aip1"),
    Member("other", "op-portal", "Portal"),
    Member("flood", "op-bridge", "Bridge", ("other",)),
    Member("aip1", "op-provider", "Provider", ("brics", "other")),
)
FLOOD_CONNECTIONS = 128
PROJECTS = 50
QUIET_SECONDS = 20.0
FIRST_DAY = date(2000, 1, 1)
TERMINAL = ("Complete", "Error")


class Bench:
    """The software of both portals."""

    def __init__(self, facility: Facility, reports: int) -> None:
        self._facility = facility
        self._reports = reports
        self._users, self._asked = count(), count()
        self.quiet, self.flooded, self.answers = Tally(), Tally(), Tally()

    async def run(self, rounds: int) -> None:
        await warm_up(self._facility, self._key("bridge"))
        for number in range(PROJECTS):
            project = await self._ended(await self._connection("flood"), f"add_project p{number}.other")
            assert project["state"] == "Complete", project
        for number in range(rounds):
            await self._phase(f"quiet {number + 1}", self.quiet, asyncio.sleep(QUIET_SECONDS))
            await self._phase(f"flooded {number + 1}", self.flooded, self._flood())

    async def _phase(self, name: str, tally: Tally, meanwhile: Awaitable[Any]) -> None:
        """Users are added, one at a time, for as long as the other thing takes."""
        begin, busy = time.perf_counter(), self._busy_seconds()
        here = Tally()
        other = asyncio.ensure_future(meanwhile)
        connection = await self._connection("bridge")
        while not other.done():
            number = next(self._users)
            await one_job(connection, f"add_user f{number}.p{number % PROJECTS}.brics", here)
        await other
        wall, busy = time.perf_counter() - begin, self._busy_seconds() - busy
        print(
            f"{name:10} {told(here)}; {wall:.0f} s, agents {busy:.0f} s CPU, load {os.getloadavg()[0]:.1f}", flush=True
        )
        tally.latencies += here.latencies
        tally.failed += here.failed

    async def _flood(self) -> None:
        """All reports are asked for before the first of them is looked at."""
        connections = [await self._connection("flood") for _ in range(FLOOD_CONNECTIONS)]
        numbers = iter([next(self._asked) for _ in range(self._reports)])
        jobs = await asyncio.gather(*(self._ask(connection, numbers) for connection in connections))
        await asyncio.gather(*map(self._await, connections, jobs))

    async def _ask(self, connection: Connection, numbers: Any) -> list[dict[str, Any]]:
        commands = (f"{OTHER_CHAIN} {report(number)}" for number in numbers)
        return [await connection.post("run", {"command": command}) for command in commands]

    async def _await(self, connection: Connection, jobs: Sequence[dict[str, Any]]) -> None:
        for job in jobs:
            while job["state"] not in TERMINAL:
                job = await connection.post("status", {"job": job["id"]})
            self.answers.latencies.append(job["changed"] - job["created"])
            if job["state"] == "Error":
                self.answers.failed.append(str(job["result"]))

    async def _ended(self, connection: Connection, instruction: str) -> dict[str, Any]:
        job: dict[str, Any] = await connection.post("run", {"command": f"{OTHER_CHAIN} {instruction}"})
        while job["state"] not in TERMINAL:
            job = await connection.post("status", {"job": job["id"]})
        return job

    def _key(self, bridge: str) -> bytes:
        return bytes.fromhex(tomllib.loads(self._facility.client_file_of(bridge).read_text())["key"]["data"])

    async def _connection(self, bridge: str) -> Connection:
        connection = Connection(self._facility.http_ports[bridge], self._key(bridge))
        await connection.open()
        return connection

    def _busy_seconds(self) -> float:
        return sum(cpu_seconds(process.pid) for process in self._facility.processes.values())


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
    options = parser.parse_args()
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
    print(f"reports    {len(bench.answers.latencies)}, {len(bench.answers.failed)} failed {bench.answers.failed[:1]}")
    print(f"flooded against quiet: p50 {ratios[0]:.2f} times, p99 {ratios[1]:.2f} times")


if __name__ == "__main__":
    main()
