"""An hour of a whole facility at a moderate rate: do memory, write-ahead logs and descriptors stay as they are?

    .venv/bin/python bench/soak.py                         one hour at 20 jobs/s
    .venv/bin/python bench/soak.py --seconds 600 --rate 50
    .venv/bin/python bench/soak.py --samples soak.csv      keep every sample

Users of 50 projects are added, looked at, blocked, unblocked and removed, over and over: what the leaves hold is the
same after an hour as after ten minutes, and so must be what the agents hold. A job is due each 1/rate seconds whether
the last one is done or not. Every ten seconds each agent is looked at.

The rule. The first half is for filling up: outcomes are held for a while, the interpreter's arenas grow to size, and
leaves that get few jobs take longest. Over the rest a straight line is fitted through the samples of each agent (least
squares). It is flat if the line climbs, from the first to the last of them, by no more than

    resident memory   2 % of its mean
    descriptors       2

SQLite writes its write-ahead log over and over in a file that keeps the size of the largest burst, so that one has a
limit instead: 32 MiB at any time, twice what it is emptied at.

The log itself must grow; it is flat per job: the last third of the run may take 5 % more bytes per job than the middle
one. Ends with code 1 if something is not flat.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import sys
import tempfile
import time
import tomllib
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

import uvloop
from chain import Connection, Tally, log_bytes, one_job, rss_megabytes, warm_up

from openportal.cli.facility import Facility

SAMPLE_SECONDS = 10.0
TELL_SAMPLES = 30  # a line each five minutes
FLIGHT_MAX = 32
PROJECTS = 50
USERS = 2_000
QUESTION = "is_blocked_user"
LIFE = ("add_user", QUESTION, "block_user", "get_home_dir", "unblock_user", "is_protected_user", "remove_user")
FILL_SHARE = 0.5
RSS_CLIMB_SHARE = 0.02
WAL_MAX_KIBIBYTES = 32 * 1024
DESCRIPTORS_CLIMB = 2
BYTES_PER_JOB_CLIMB_SHARE = 0.05


@dataclass(frozen=True)
class Sample:
    """What one agent held at a moment."""

    seconds: float  # since the begin
    agent: str
    jobs: int  # that had ended by then
    rss_megabytes: float
    wal_bytes: int
    log_bytes: int
    descriptors: int


@dataclass
class Soak:
    """One run: its jobs and its samples."""

    facility: Facility
    key: bytes
    rate: float
    seconds: float
    tally: Tally = field(default_factory=Tally)
    samples: list[Sample] = field(default_factory=list)
    latest_seconds: float = 0.0  # by how much the latest job was begun after it was due
    _next: int = 0

    async def run(self) -> None:
        self._begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            for _ in range(FLIGHT_MAX):
                group.create_task(self._ask())

    async def _ask(self) -> None:
        """One connection: takes the next job, waits until it is due, and for its end."""
        connection = Connection(self.facility.http_port, self.key)
        await connection.open()
        while (due := self._next / self.rate) < self.seconds:
            number, self._next = self._next, self._next + 1
            await asyncio.sleep(self._begin + due - time.perf_counter())
            self.latest_seconds = max(self.latest_seconds, time.perf_counter() - self._begin - due)
            await one_job(connection, command_of(number), self.tally)

    async def _watch(self) -> None:
        for count in range(int(self.seconds / SAMPLE_SECONDS)):
            await asyncio.sleep(self._begin + count * SAMPLE_SECONDS - time.perf_counter())
            self.facility.check()
            now = time.perf_counter() - self._begin
            taken = [self._look(name, process.pid, now) for name, process in self.facility.processes.items()]
            self.samples += taken
            if count % TELL_SAMPLES == 0:
                tell(taken)

    def _look(self, agent: str, pid: int, now: float) -> Sample:
        folder = self.facility.ledger(agent)
        return Sample(
            round(now, 1),
            agent,
            len(self.tally.latencies),
            rss_megabytes(pid),
            (folder / "ledger.sqlite-wal").stat().st_size,
            log_bytes(folder),
            len(list(Path(f"/proc/{pid}/fd").iterdir())),
        )


def command_of(number: int) -> str:
    """A step of the life of every user in turn; they begin one after the other, so that all steps are mixed."""
    turn, user = divmod(number, USERS)
    age = turn - user % len(LIFE)
    step = LIFE[age % len(LIFE)] if age >= 0 else QUESTION
    return f"{step} s{user}.p{user % PROJECTS}.brics"


def tell(taken: list[Sample]) -> None:
    print(f"{taken[0].seconds / 60:5.1f} min {taken[0].jobs:7} jobs", end="")
    for sample in taken:
        print(f"  {sample.agent} {sample.rss_megabytes:.1f} MB {sample.descriptors} fds", end="")
    print(flush=True)


def climb(points: list[tuple[float, float]]) -> float:
    """By how much the straight line through the points rises from the first to the last."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
    return slope * (points[-1][0] - points[0][0])


@dataclass(frozen=True)
class Verdict:
    """One quantity of one agent over the run, after the filling up."""

    what: str
    mean: float
    climbs: float
    allowed: float

    @property
    def flat(self) -> bool:
        return self.climbs <= self.allowed

    def __str__(self) -> str:
        word = "flat" if self.flat else "NOT FLAT"
        return f"{self.what} {self.mean:,.1f} {self.climbs:+,.2f} of {self.allowed:,.2f}: {word}"


def verdicts(samples: list[Sample], seconds: float) -> list[Verdict]:
    """Of one agent's samples."""
    later = [sample for sample in samples if sample.seconds >= FILL_SHARE * seconds]

    def judged(what: str, values: list[float], share: float, least: float) -> Verdict:
        mean = sum(values) / len(values)
        points = list(zip([sample.seconds for sample in later], values, strict=True))
        return Verdict(what, mean, climb(points), max(share * mean, least))

    return [
        judged("MB resident", [sample.rss_megabytes for sample in later], RSS_CLIMB_SHARE, 0.0),
        highest("KiB of WAL", [sample.wal_bytes / 1024 for sample in samples], WAL_MAX_KIBIBYTES),
        judged("descriptors", [float(sample.descriptors) for sample in later], 0.0, DESCRIPTORS_CLIMB),
        growth(samples),
    ]


def highest(what: str, values: list[float], limit: float) -> Verdict:
    """What may move up to a limit: how far it went above nothing."""
    return Verdict(what, sum(values) / len(values), max(values), limit)


def growth(samples: list[Sample]) -> Verdict:
    """Bytes of log per job, in the middle third and in the last one."""
    first, second, last = (samples[round(share * (len(samples) - 1))] for share in (1 / 3, 2 / 3, 1))
    middle, end = per_job(first, second), per_job(second, last)
    return Verdict("bytes of log a job", end, end - middle, BYTES_PER_JOB_CLIMB_SHARE * middle)


def per_job(first: Sample, last: Sample) -> float:
    return (last.log_bytes - first.log_bytes) / max(1, last.jobs - first.jobs)


def report(soak: Soak) -> bool:
    """Print what was found; whether all is flat."""
    tally = soak.tally
    print(
        f"{len(tally.latencies)} jobs in {soak.seconds:.0f} s, p50 {tally.quantile(0.5):.1f} ms,"
        f" p99 {tally.quantile(0.99):.1f} ms, {len(tally.failed)} failed, begun at most"
        f" {soak.latest_seconds:.2f} s late; load average {os.getloadavg()[2]:.1f}"
    )
    for text in tally.failed[:3]:
        print("  failed:", text)
    flat = not tally.failed
    for agent in soak.facility.processes:
        print(f"  {agent}")
        for verdict in verdicts([sample for sample in soak.samples if sample.agent == agent], soak.seconds):
            print(f"    {verdict}")
            flat = flat and verdict.flat
    print("flat" if flat else "NOT FLAT")
    return flat


def keep(samples: list[Sample], file: Path) -> None:
    with file.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(column.name for column in fields(Sample))
        writer.writerows(map(astuple, samples))


async def soaked(soak: Soak) -> None:
    await warm_up(soak.facility, soak.key)
    await soak.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--rate", type=float, default=20, help="jobs a second")
    parser.add_argument("--samples", type=Path, help="write every sample to this file, as CSV")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="openportal-soak-") as folder,
        Facility(Path(folder), log_level="warning") as facility,
    ):
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        key = bytes.fromhex(tomllib.loads(facility.client_file.read_text())["key"]["data"])
        soak = Soak(facility, key, options.rate, options.seconds)
        try:
            uvloop.run(soaked(soak))
        finally:
            if options.samples is not None:
                keep(soak.samples, options.samples)
        sys.exit(0 if report(soak) else 1)


if __name__ == "__main__":
    main()
