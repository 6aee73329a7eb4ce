"""What an agent says has been done is on the disk: the system calls that put it there are counted.

The count is of fdatasync and fsync in a process that strace is attached to. That the count tells the difference is
shown beside it, with SQLite as the agents use it and with the setting that they must not use.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from openportal.cli.facility import CHAIN, HOST, Facility, free_ports
from tests.processes.load import Load
from tests.processes.waiting import ended, result_of, until_async

AGENTS = ("acct", "shared")
JOBS = 20
SYNC = re.compile(r"\b(?:fdatasync|fsync)\(\d+[^)]*\)\s+= 0\b|<\.\.\. (?:fdatasync|fsync) resumed>.*= 0\b")
COMMITS = """
import os, sqlite3, sys
mode, path, commits = sys.argv[1:]
database = sqlite3.connect(path)
database.execute("PRAGMA journal_mode=WAL")
database.execute(f"PRAGMA synchronous={mode}")
database.execute("CREATE TABLE events (id)")
for number in range(int(commits)):
    database.execute("INSERT INTO events VALUES (?)", (number,))
    database.commit()
os._exit(0)  # without the checkpoint of a close
"""

pytestmark = [pytest.mark.processes, pytest.mark.systems, pytest.mark.smoke]


@pytest.fixture(scope="module")
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        for words in (("update", "-q"), ("install", "-qy", "strace")):
            subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", *words], check=True)
        found = shutil.which("strace")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def metrics() -> dict[str, int]:
    return dict(zip(AGENTS, free_ports(len(AGENTS)), strict=True))


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory, metrics: dict[str, int]) -> Iterator[Facility]:
    with Facility(tmp_path_factory.mktemp("facility")) as facility:
        facility.lay_out({name: {"metrics": {"port": metrics[name]}} for name in AGENTS})
        facility.start()
        facility.wait_ready()
        yield facility


def counted(trace: Path) -> int:
    """The syncs in a trace that succeeded."""
    return len(SYNC.findall(trace.read_text()))


@asynccontextmanager
async def traced(strace: str, pid: int, trace: Path) -> AsyncIterator[None]:
    """The syncs of a running process, while inside, in a file."""
    words = [strace, "-f", "-e", "trace=fdatasync,fsync", "-o", str(trace), "-p", str(pid)]
    said = trace.with_suffix(".said")
    with said.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(*words, stderr=stderr)
    try:
        await until_async(lambda: "attached" in said.read_text() or process.returncode is not None, "strace is there")
        assert process.returncode is None, said.read_text()
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # strace lets go of the process, and ends
        await process.wait()


def commits(port: int) -> int:
    """Commits of an agent's ledger since it started, as it tells Prometheus."""
    text = httpx.get(f"http://{HOST}:{port}/metrics").text
    [value] = [line.split()[1] for line in text.splitlines() if line.startswith("openportal_ledger_commits_total ")]
    return int(float(value))


@pytest.mark.parametrize("name", AGENTS)
async def test_every_commit_is_synced(
    facility: Facility, metrics: dict[str, int], strace: str, tmp_path: Path, name: str
) -> None:
    load = Load(facility.client_file)
    result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
    async with traced(strace, facility.processes[name].pid, tmp_path / "trace"):
        before = commits(metrics[name])
        for number in range(JOBS):
            result_of(await ended(load, f"{CHAIN} add_user {name}{number}.demo.brics"))
        committed = commits(metrics[name]) - before
    await load.close()
    facility.check()
    assert committed >= 2 * JOBS, "an intent and an outcome of every user, one after the other"
    assert counted(tmp_path / "trace") >= committed


def test_the_count_would_tell_if_commits_were_not_synced(strace: str, tmp_path: Path) -> None:
    """The agents' setting passes the measure above, the one below it does not."""
    syncs = {}
    for mode in ("FULL", "NORMAL"):
        trace = tmp_path / mode
        words = [strace, "-f", "-e", "trace=fdatasync,fsync", "-o", str(trace)]
        script = [sys.executable, "-c", COMMITS, mode, str(tmp_path / f"{mode}.sqlite"), str(2 * JOBS)]
        subprocess.run([*words, *script], check=True)
        syncs[mode] = counted(trace)
    assert syncs["FULL"] >= 2 * JOBS
    assert syncs["NORMAL"] < 2 * JOBS
