"""A disk that is full, that refuses to write or to sync, under an agent in the middle and under the bridge.

Full: no new jobs are taken, in words that say why; those under way end from the reserve; with room again, all goes on.
Failing: the agent drops its links and starts again, in the same process, from what is on the disk; whatever was
accepted ends. strace injects the errors; a limit on the size of files makes the kernel write half a page.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from openportal.agents.sandbox.store import SETTINGS_EVERY_SECONDS, SETTINGS_FILE, SandboxStore
from openportal.cli.facility import CHAIN, Facility
from openportal.templemeads.events import EVENTS
from openportal.templemeads.ledger import Settings, open_reader
from openportal.templemeads.ledger.settings import LOW_SPACE_BYTES
from tests.processes.load import Load
from tests.processes.test_kill import assert_effects_once
from tests.processes.waiting import PATIENCE_SECONDS, POLL_SECONDS, ended, lines, result_of, until_async
from tests.tracing import traced

DISK_BYTES = 2 * LOW_SPACE_BYTES
CHUNK_BYTES = 1024 * 1024
SLOW_SECONDS = 0.5
HALF_A_PAGE_BYTES = 2048
USERS = 10
FAULTS = {
    "sync": "inject=fdatasync:error=EIO:when=3",
    "write": "inject=pwrite64:error=EIO:when=7",
    "full": "inject=pwrite64:error=ENOSPC:when=5+",  # also the second attempt, after the reserve was given up
}
HALF_WRITE = "half a write"

pytestmark = [pytest.mark.processes, pytest.mark.systems]


# --- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path) -> Path:
    """Leave not a byte; returns the file that takes it all."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(CHUNK_BYTES)) == CHUNK_BYTES:
                pass
        except OSError:
            pass
    return filler


@pytest.mark.parametrize("name", ["shared", "bridge"])
async def test_a_disk_that_is_full(tmp_path: Path, disk: Path, name: str) -> None:
    with Facility(tmp_path / "facility") as facility:
        facility.lay_out({name: {"ledger": {"path": str(disk / "ledger")}}})
        facility.sandbox.mkdir(mode=0o700)
        facility.start()
        facility.wait_ready()
        load = Load(facility.client_file)
        result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
        (facility.sandbox / SETTINGS_FILE).write_text(json.dumps({"slow_seconds": SLOW_SECONDS}))
        await asyncio.sleep(2 * SETTINGS_EVERY_SECONDS)  # until the sandbox has read that
        await asyncio.gather(*(load.run(f"add_user u{number}.demo.brics") for number in range(USERS)))
        assert len(load.ended) < len(load.accepted) == USERS, "they are under way"
        filler = fill(disk)
        words = f"the disk with the ledger of {name} is nearly full: no new jobs are taken until there is room"
        await refused(load, words)
        await load.wait_for_all(60)
        assert_complete(load)
        filler.unlink()
        await taken_again(load)
        await load.close()
        facility.check()
        facility.stop()
        with open_reader(Settings(path=disk / "ledger"), EVENTS) as reader:
            assert reader.verify().ok
    assert_effects_once(SandboxStore(facility.sandbox), load)


async def said(load: Load) -> tuple[str, str]:
    """The kind and the words with which a new job is refused, at the door or on its way; empty if it is taken."""
    answer = await load.call("run", {"command": f"{CHAIN} is_protected_user alice.demo.brics"})
    if answer.status_code != 200:
        return str(answer.status_code), answer.text
    job = answer.json()
    if job["state"] != "Error":
        return "", ""
    return str(job["error"]["kind"]), str(job["result"])


async def refused(load: Load, words: str) -> None:
    """Until new jobs are refused; the agent looks at its disk once a second."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        kind, text = await said(load)
        while words not in text:
            await asyncio.sleep(POLL_SECONDS)
            kind, text = await said(load)
    assert kind in ("unavailable", "503"), text


async def taken_again(load: Load) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(await said(load)):  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(POLL_SECONDS)
    before = len(load.accepted)
    await load.run("add_user after.demo.brics")
    await load.wait_for_all(PATIENCE_SECONDS)
    assert len(load.accepted) == before + 1
    assert_complete(load)


def assert_complete(load: Load) -> None:
    """Every job that was accepted has ended well."""
    assert load.accepted.keys() == load.ended.keys()
    assert [job for job in load.ended.values() if job["state"] != "Complete"] == []


# --- a failing disk ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    with Facility(tmp_path_factory.mktemp("facility")) as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        yield facility


def fault(facility: Facility, name: str, kind: str) -> AbstractAsyncContextManager[None]:
    """While inside, the disk of an agent fails in this way."""
    pid = facility.processes[name].pid
    if kind == HALF_WRITE:
        return half_written(pid, (facility.ledger(name) / "ledger.sqlite-wal").stat().st_size)
    call = FAULTS[kind].partition("=")[2].partition(":")[0]
    return traced(pid, facility.folder / f"{name}.trace", ("-e", f"trace={call}", "-e", FAULTS[kind]))


@asynccontextmanager
async def half_written(pid: int, size_bytes: int) -> AsyncIterator[None]:
    """No file of a process may grow beyond the middle of the page that comes next in one of this size."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes + HALF_A_PAGE_BYTES, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def count(facility: Facility, name: str, event: str) -> int:
    return sum(f'"event":"{event}"' in line for line in lines(facility.log(name)))


@pytest.mark.parametrize("kind", [*FAULTS, HALF_WRITE])
@pytest.mark.parametrize("name", ["shared", "bridge"])
async def test_a_disk_that_fails(facility: Facility, load: Load, name: str, kind: str) -> None:
    pid = facility.processes[name].pid
    failed, started = count(facility, name, "commit failed"), count(facility, name, "started")
    word = f"{name}{kind.replace(' ', '')}"
    async with fault(facility, name, kind), asyncio.timeout(PATIENCE_SECONDS):
        number = 0
        while count(facility, name, "commit failed") == failed:
            number += 1
            await load.run(f"add_user {word}{number}.demo.brics")
    await until_async(lambda: count(facility, name, "started") > started, "it starts again")
    await asyncio.to_thread(facility.wait_ready)
    facility.check()
    assert facility.processes[name].pid == pid
    await load.wait_for_all(60)
    assert_complete(load)
    result_of(await ended(load, f"{CHAIN} add_user {word}.demo.brics"))
    assert_effects_once(SandboxStore(facility.sandbox), load)
    with open_reader(Settings(path=facility.ledger(name)), EVENTS) as reader:
        assert reader.verify().ok
