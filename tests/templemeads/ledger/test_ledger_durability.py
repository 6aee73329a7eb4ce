"""Nothing that was acknowledged is lost: killed writers, sync calls counted in the kernel's trace, and full disks."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from ledger_samples import EVENTS, Received, execute, fill, open_ledger, unit

from openportal.errors import CommitFailed
from openportal.templemeads.ledger import Ledger, Settings, open_reader
from openportal.templemeads.ledger.tables import SpaceFull

CHILD = Path(__file__).with_name("ledger_child.py")
KILLS = 6
FOREVER = 10**9
TURNS = 40
MEBIBYTE = 1024 * 1024


def child(settings: Settings, turns: int, units: int, *more: str) -> list[str]:
    mode = "thread" if settings.url else settings.commit
    place = [str(settings.path or ""), settings.url or "", settings.schema]
    return [sys.executable, str(CHILD), mode, *place, str(turns), str(units), *more]


def test_a_killed_writer_loses_nothing_it_acknowledged(settings: Settings) -> None:
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(KILLS):
        with subprocess.Popen(child(settings, FOREVER, 3), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            os.set_blocking(process.stdout.fileno(), True)
            end = time.monotonic() + chance.uniform(0.01, 0.4)
            lines = []
            while time.monotonic() < end:
                lines.append(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        acknowledged = max(acknowledged, *(int(line) for line in lines if line.endswith(b"\n")))
        assert_holds(settings, acknowledged)
    assert acknowledged > KILLS


def assert_holds(settings: Settings, acknowledged: int) -> None:
    ledger = open_ledger(settings)
    events = [recorded.event for recorded in ledger.replay()]
    assert ledger.units >= acknowledged
    received = [event.number for event in events if isinstance(event, Received)]
    assert received == list(range(1, ledger.units + 1))
    ledger.close()


def strace() -> str:
    if shutil.which("strace") is None:
        subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-qy", "strace"], check=True)
    return shutil.which("strace") or "strace"


def syncs_and_acknowledgements(settings: Settings, trace: Path, *pragma: str) -> tuple[list[str], int]:
    """What the kernel saw, in order: "sync" of the write-ahead log or "ack"; and the number of commits."""
    arguments = [strace(), "-f", "-y", "-o", str(trace), "-e", "trace=fdatasync,fsync,write"]
    done = subprocess.run([*arguments, *child(settings, TURNS, 1, *pragma)], capture_output=True, text=True, check=True)
    commits = re.search(r"commits (\d+)", done.stdout)
    assert commits is not None
    seen = []
    for line in trace.read_text().splitlines():
        if re.search(r"(fdatasync|fsync)\(\d+<[^>]*ledger\.sqlite-wal>", line):
            seen.append("sync")
        elif re.search(r'write\(1<[^>]*>, "\d', line):
            seen.append("ack")
    return seen, int(commits.group(1))


def test_every_commit_is_synced_before_its_acknowledgement(sqlite_settings: Settings, tmp_path: Path) -> None:
    seen, commits = syncs_and_acknowledgements(sqlite_settings, tmp_path / "trace")
    assert seen.count("ack") == TURNS
    assert seen.count("sync") >= commits
    if sqlite_settings.commit == "inline":
        assert commits == TURNS
        assert all(before == "sync" for before, now in pairwise(seen) if now == "ack")


def test_the_count_tells_full_from_normal(tmp_path: Path) -> None:
    """The test above would see synchronous=NORMAL: the acknowledged commits are then not synced."""
    settings = Settings(path=tmp_path / "ledger")
    seen, commits = syncs_and_acknowledgements(settings, tmp_path / "trace", "PRAGMA synchronous=NORMAL")
    assert seen.count("sync") < commits / 2


def test_a_sync_that_fails_acknowledges_nothing(sqlite_settings: Settings, tmp_path: Path) -> None:
    """The kernel refuses every sync from a thread's thirtieth on, as a dying disk does."""
    trace = tmp_path / "trace"
    inject = ["-f", "-o", str(trace), "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=30+"]
    done = subprocess.run([strace(), *inject, *child(sqlite_settings, FOREVER, 2)], capture_output=True, text=True)
    assert done.returncode != 0 and "CommitFailed" in done.stderr
    acknowledged = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
    good = sum("INJECTED" not in line and "fdatasync(" in line for line in trace.read_text().splitlines())
    assert acknowledged == list(range(1, len(acknowledged) + 1))
    if sqlite_settings.commit == "inline":
        assert 0 < len(acknowledged) <= 2 * good
    assert_holds(sqlite_settings, len(acknowledged))


def test_the_server_is_told_to_sync_whatever_its_default(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE ledger SET synchronous_commit = off")
    ledger = open_ledger(Settings(url=postgres_url, schema="synced"))
    try:
        assert ledger._backend._write.execute("SHOW synchronous_commit").fetchone() == ("on",)  # type: ignore[attr-defined]
    finally:
        ledger.close()
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("ALTER DATABASE ledger RESET synchronous_commit")


async def test_the_reserve_is_given_up_once(sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = open_ledger(sqlite_settings)
    backend = ledger._backend
    reserve = (sqlite_settings.path or Path()) / "reserve"
    commit, full = backend.commit, [True]

    def refuse() -> None:
        if (full and reserve.exists()) or len(full) > 1:
            backend._write.rollback()  # type: ignore[attr-defined]
            raise SpaceFull("full")
        commit()

    monkeypatch.setattr(backend, "commit", refuse)
    await fill(ledger, 3)
    assert not reserve.exists()
    full.append(True)
    ledger.submit(unit(4), 0.0)
    with pytest.raises(CommitFailed, match="full"):
        await ledger.drain()
    ledger.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "openportal-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def test_a_full_disk(small_disk: Path, sqlite_settings: Settings) -> None:
    settings = Settings(path=small_disk / "l", commit=sqlite_settings.commit, low_space_bytes=10 * MEBIBYTE)
    ledger = open_ledger(settings)
    assert not ledger.low_space
    filler = small_disk / "filler"
    filler.write_bytes(bytes(12 * MEBIBYTE))
    await asyncio.sleep(1.05)
    assert ledger.low_space
    acknowledged: list[int] = []
    await write_until_full(ledger, acknowledged)
    assert not (small_disk / "l" / "reserve").exists()
    assert ledger.stats.bytes > 4 * MEBIBYTE, "the reserve was not used"
    ledger.close()
    filler.unlink()
    ledger = open_ledger(settings)
    assert sum(1 for _ in ledger.replay()) >= 2 * acknowledged[-1]
    assert not ledger.low_space
    await fill(ledger, 1)
    ledger.close()
    with open_reader(settings) as reader:
        assert reader.verify().ok


async def write_until_full(ledger: Ledger, acknowledged: list[int]) -> None:
    with pytest.raises(CommitFailed, match="full"):
        for number in range(1, 1_000_000):
            ledger.submit(unit(number), 0.0, lambda n=number: acknowledged.append(n))
            if number % 200 == 0:
                await ledger.drain()


async def test_space_is_looked_up_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = open_ledger(Settings(path=tmp_path, low_space_bytes=2**62))
    calls: list[object] = []
    real = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: calls.append(path) or real(path))
    assert all(ledger.low_space for _ in range(100))
    assert len(calls) == 1
    monkeypatch.undo()
    ledger.close()


def test_rows_are_as_the_library_makes_them(tmp_path: Path) -> None:
    """The library's own recorder reads what we wrote."""
    from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

    ledger = open_ledger(Settings(path=tmp_path))
    asyncio.run(fill(ledger, 2))
    ledger.close()
    datastore = SQLiteDatastore(str(tmp_path / "ledger.sqlite"))
    recorder = SQLiteApplicationRecorder(datastore)
    notifications = recorder.select_notifications(1, 10)
    assert [n.topic for n in notifications] == [event.TOPIC for event in EVENTS] * 2
    assert [n.originator_version for n in notifications] == [1, 1, 2, 2]
    assert recorder.max_notification_id() == 4
    datastore.close()
    assert execute(tmp_path, "PRAGMA journal_mode") == [("wal",)]
