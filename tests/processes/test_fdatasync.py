"""What an agent says has been done is on the disk: the system calls that put it there are counted.

The count is of fdatasync and fsync in a process that strace is attached to. That the count tells the difference is
shown beside it, with SQLite as the agents use it and with the setting that they must not use.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from openportal.cli.facility import CHAIN, HOST, Facility, free_ports
from tests.processes.load import Load
from tests.processes.waiting import ended, result_of
from tests.tracing import strace, traced

AGENTS = ("acct", "shared")
JOBS = 20
SYNCS = ("-e", "trace=fdatasync,fsync")
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


def commits(port: int) -> int:
    """Commits of an agent's ledger since it started, as it tells Prometheus."""
    text = httpx.get(f"http://{HOST}:{port}/metrics").text
    [value] = [line.split()[1] for line in text.splitlines() if line.startswith("openportal_ledger_commits_total ")]
    return int(float(value))


@pytest.mark.parametrize("name", AGENTS)
async def test_every_commit_is_synced(facility: Facility, metrics: dict[str, int], tmp_path: Path, name: str) -> None:
    load = Load(facility.client_file)
    result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
    async with traced(facility.processes[name].pid, tmp_path / "trace", SYNCS):
        before = commits(metrics[name])
        for number in range(JOBS):
            result_of(await ended(load, f"{CHAIN} add_user {name}{number}.demo.brics"))
        committed = commits(metrics[name]) - before
    await load.close()
    facility.check()
    assert committed >= 2 * JOBS, "an intent and an outcome of every user, one after the other"
    assert counted(tmp_path / "trace") >= committed


def test_the_count_would_tell_if_commits_were_not_synced(tmp_path: Path) -> None:
    """The agents' setting passes the measure above, the one below it does not."""
    syncs = {}
    for mode in ("FULL", "NORMAL"):
        trace = tmp_path / mode
        words = [strace(), "-f", *SYNCS, "-o", str(trace)]
        script = [sys.executable, "-c", COMMITS, mode, str(tmp_path / f"{mode}.sqlite"), str(2 * JOBS)]
        subprocess.run([*words, *script], check=True)
        syncs[mode] = counted(trace)
    assert syncs["FULL"] >= 2 * JOBS
    assert syncs["NORMAL"] < 2 * JOBS
