"""`add_user` through the whole chain onto a real Slurm: what the chain adds to the cost of Slurm's own calls.

    PYTHONPATH=.:bench .venv/bin/python bench/slurm.py                   24.11: 50 one at a time, then 1,000 in one go
    PYTHONPATH=.:bench .venv/bin/python bench/slurm.py --version 22.05 --jobs 100

As root: it starts the Slurm of the tests in namespaces of its own. Accounts and directories are sandboxes, and `getent`
is off. What Slurm's calls cost is measured on the leaf alone: the same looks and changes, without agents and links.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import uvloop
from chain import Connection, Tally, cpu_seconds, one_job

from openportal.agents.scheduler.slurm.agent import SlurmScheduler
from openportal.agents.scheduler.slurm.commands import Commands
from openportal.agents.scheduler.slurm.settings import NODE_EXAMPLE, Settings
from openportal.cli.facility import Facility
from openportal.grammar import instructions as op
from openportal.grammar.identifiers import UserMapping
from tests.systems.slurm.cluster import Cluster
from tests.systems.slurm.roots import SUITES, slurm_root

ONE_AT_A_TIME = 50
TURN = 10
TOGETHER = 1_000
FLIGHT = 32
PROJECTS = 50
TOOLS = ("sacctmgr", "sacct", "scontrol", "scancel")
READY_SECONDS = 120.0

T = TypeVar("T")


class Run:
    """A job without an agent: effects happen at once, and are written down nowhere."""

    job_id, sender = "bench", "shared@default"

    async def effect(self, action: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        return await call()

    def progress(self, text: str) -> None:
        pass

    async def ask(self, step: str, agent: str, instruction: str) -> object:
        raise NotImplementedError(instruction)


def extras(cluster: Cluster) -> dict[str, str]:
    tools = {tool: f"{cluster.prefix} {tool}" for tool in TOOLS}
    return {"slurm-default-node": NODE_EXAMPLE, "slurm-cluster": "testcl", "sandbox": "", "getent": "", **tools}


async def alone(cluster: Cluster, first: int, jobs: int) -> list[float]:
    """Milliseconds of each add_local_user on the leaf alone, of users with numbers from `first` on."""
    settings = Settings.of(extras(cluster))
    commands = Commands(settings)
    leaf = SlurmScheduler(commands, commands, settings, ZoneInfo("UTC"), list, time.time)
    handler = leaf.handlers()[op.AddLocalUser]
    found = []
    for number in (0, *range(first + 1, first + jobs + 1)):
        mapping = UserMapping.parse(f"a{number}.alone.brics:a{number}.alone:brics.alone")
        begin = time.perf_counter()
        await handler(Run(), op.AddLocalUser(mapping))  # type: ignore[misc]
        found.append((time.perf_counter() - begin) * 1e3)
    return found[1:]  # the first one makes the account


async def in_the_chain(facility: Facility, names: list[str], flight: int) -> Tally:
    """Each user added by a job of its own, so many at a time."""
    client = tomllib.loads(facility.client_file.read_text())
    tally, left = Tally(), iter(names)

    async def worker() -> None:
        connection = Connection(facility.http_port, bytes.fromhex(client["key"]["data"]))
        await connection.open()
        for name in left:
            await one_job(connection, f"add_user {name}", tally)

    await asyncio.gather(*(worker() for _ in range(flight)))
    if tally.failed:
        raise SystemExit(f"{len(tally.failed)} failed, the first with: {tally.failed[0]}")
    return tally


def agents_cpu(facility: Facility) -> float:
    """CPU seconds of all agents so far, without the commands that they run."""
    return sum(cpu_seconds(process.pid) for process in facility.processes.values())


async def in_turns(cluster: Cluster, facility: Facility) -> None:
    """The leaf alone and the whole chain, a few jobs of each in turn, so that both meet the same machine."""
    await in_the_chain(facility, ["first.one.brics"], 1)
    direct: list[float] = []
    chained: list[float] = []
    cpu = 0.0
    for number in range(0, ONE_AT_A_TIME, TURN):
        direct += await alone(cluster, number, TURN)
        before = agents_cpu(facility)
        names = [f"b{one}.one.brics" for one in range(number, number + TURN)]
        chained += (await in_the_chain(facility, names, 1)).latencies
        cpu += agents_cpu(facility) - before
    own, all_in_all = statistics.median(direct), statistics.median(chained) * 1e3
    print(f"Slurm {cluster.version}, one at a time, p50 of {ONE_AT_A_TIME}, load {os.getloadavg()[0]:.0f}:")
    print(f"  the leaf alone {own:.0f} ms, the whole chain {all_in_all:.0f} ms: {all_in_all - own:.0f} ms above, ")
    print(f"  {all_in_all / own:.2f} times it; {cpu / ONE_AT_A_TIME * 1e3:.1f} ms CPU a job in all seven agents")


async def measure(cluster: Cluster, facility: Facility, together: int) -> None:
    await in_turns(cluster, facility)
    before = agents_cpu(facility)
    begin = time.perf_counter()
    users = [f"c{number}.p{number % PROJECTS}.brics" for number in range(together)]
    tally = await in_the_chain(facility, users, FLIGHT)
    took = time.perf_counter() - begin
    print(
        f"{together} in one go, {FLIGHT} in flight, {PROJECTS} new projects: {took:.1f} s, {together / took:.1f} jobs/s"
    )
    print(f"  {(agents_cpu(facility) - before) / together * 1e3:.1f} ms CPU a job in all seven agents")
    print(f"  p50 {tally.quantile(0.5):.0f} ms, p99 {tally.quantile(0.99):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", choices=SUITES, default="24.11")
    parser.add_argument("--jobs", type=int, default=TOGETHER)
    given = parser.parse_args()
    root = slurm_root(given.version)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Cluster(folder / "slurm", root, given.version) as cluster, Facility(folder / "facility") as facility:
            facility.lay_out({"slurm": {"extras": extras(cluster)}})
            facility.start()
            facility.wait_ready(READY_SECONDS)
            uvloop.run(measure(cluster, facility, given.jobs))


if __name__ == "__main__":
    main()
