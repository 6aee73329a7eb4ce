"""Restarts in good order, and starts that must not be: jobs outlive the one, a sentence explains the other."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from openportal.agents.sandbox.store import SETTINGS_FILE
from openportal.cli.facility import CHAIN, MEMBERS, Facility
from tests.processes.load import Load
from tests.processes.waiting import end_of, ended, lines, result_of, until, until_async

JOBS = 20
SLOW_SECONDS = 0.2
WORDS = {"brics": "brics", "aip1": "brics.aip1", "clusters": "brics.aip1.clusters", "shared": CHAIN}
WAIT_MAX_SECONDS = 20

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    with Facility(tmp_path_factory.mktemp("facility")) as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        asyncio.run(project_made(facility))
        (facility.sandbox / SETTINGS_FILE).write_text(json.dumps({"slow_seconds": SLOW_SECONDS}))
        yield facility


async def project_made(facility: Facility) -> None:
    load = Load(facility.client_file)
    result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
    await load.close()


@pytest.fixture
async def load(facility: Facility) -> AsyncIterator[Load]:
    load = Load(facility.client_file)
    yield load
    await load.close()


async def asked(load: Load, name: str) -> list[str]:
    """Jobs that were accepted and are on their way."""
    answers = await asyncio.gather(
        *(load.call("run", {"command": f"{CHAIN} add_user {name}{n}.demo.brics"}) for n in range(JOBS))
    )
    assert [answer.status_code for answer in answers] == [200] * JOBS
    return [answer.json()["id"] for answer in answers]


async def all_end_well(load: Load, ids: list[str]) -> None:
    jobs = await asyncio.gather(*(end_of(load, id, seconds=60) for id in ids))
    assert [job["result"] for job in jobs if job["state"] != "Complete"] == []


async def restart(load: Load, kind: str, destination: str) -> str:
    answer = await load.call("restart", {"restart_type": kind, "destination": destination})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["message"])


@pytest.mark.parametrize("name", list(WORDS))
async def test_jobs_outlive_a_soft_restart(facility: Facility, load: Load, name: str) -> None:
    pid, before = facility.processes[name].pid, disconnections(facility, name)
    ids = await asked(load, f"soft{name}")
    assert name in await restart(load, "soft", WORDS[name])
    await until_async(lambda: disconnections(facility, name) > before, "its links went down")
    await all_end_well(load, ids)
    facility.check()
    assert facility.processes[name].pid == pid


def disconnections(facility: Facility, name: str) -> int:
    return sum("disconnected" in line for line in lines(facility.log(name)))


@pytest.mark.parametrize("name", ["shared", "brics"])
async def test_jobs_outlive_a_hard_restart(facility: Facility, load: Load, name: str) -> None:
    ids = await asked(load, f"hard{name}")
    await restart(load, "hard", WORDS[name])
    assert await code_of(facility, name) == 0
    facility.start([name])
    await all_end_well(load, ids)


async def test_the_bridge_itself_can_be_restarted(facility: Facility, load: Load) -> None:
    ids = await asked(load, "bridge")
    await restart(load, "hard", "")
    assert await code_of(facility, "bridge") == 0
    facility.start(["bridge"])
    await asyncio.to_thread(facility.wait_ready)
    await all_end_well(load, ids)


async def code_of(facility: Facility, name: str) -> int:
    """The exit code of a process that ends by itself."""
    return await asyncio.to_thread(facility.processes.pop(name).wait, WAIT_MAX_SECONDS)


async def test_a_signal_ends_every_agent_in_good_order_and_jobs_go_on_after(facility: Facility, load: Load) -> None:
    ids = await asked(load, "term")
    codes = {}
    for member in MEMBERS:
        facility.processes[member.name].send_signal(signal.SIGTERM)
        codes[member.name] = await code_of(facility, member.name)
    assert codes == dict.fromkeys(codes, 0)
    facility.start()
    await asyncio.to_thread(facility.wait_ready)
    await all_end_well(load, ids)


def refused_start(facility: Facility, name: str) -> str:
    """What a process says that must not start."""
    command = next(member.command for member in MEMBERS if member.name == name)
    words = [Path(sys.executable).with_name(command), "-c", facility.config(name), "run"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT_MAX_SECONDS, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


async def test_a_second_process_is_refused_and_told_of_the_first(facility: Facility, load: Load) -> None:
    pid = facility.processes["acct"].pid
    said = await asyncio.to_thread(refused_start, facility, "acct")
    assert f"process {pid};" in said
    assert result_of(await ended(load, f"{CHAIN} is_protected_user alice.demo.brics")) is False
    assert facility.processes["acct"].pid == pid


def change(facility: Facility, name: str, sql: str) -> int:
    """Change the log of an agent that is down behind its back; returns the position."""
    database = sqlite3.connect(facility.ledger(name) / "ledger.sqlite")
    try:
        [(position,)] = database.execute(f"SELECT {sql} FROM stored_events").fetchall()
        [(state,)] = database.execute("SELECT state FROM stored_events WHERE rowid = ?", (position,)).fetchall()
        changed = re.sub(rb"[0-9]", lambda digit: b"1" if digit[0] == b"2" else b"2", bytes(state), count=1)
        database.execute("UPDATE stored_events SET state = ? WHERE rowid = ?", (changed, position))
        database.execute("DELETE FROM checkpoints")
        database.commit()
    finally:
        database.close()
    return int(position)


@pytest.mark.parametrize("where", ["max(rowid) / 2", "max(rowid)"])
def test_a_log_that_was_changed_is_not_believed(tmp_path: Path, where: str) -> None:
    with Facility(tmp_path / "facility") as facility:
        facility.lay_out()
        for count in range(1, 5):
            facility.start(["acct"])
            until(lambda count=count: starts(facility, "acct") == count, "it is up")
            if count < 4:
                facility.stop(["acct"])
        facility.kill(["acct"])
        position = change(facility, "acct", where)
        said = refused_start(facility, "acct")
    assert said.startswith("op-localaccount: ")
    assert f"position {position}" in said


def starts(facility: Facility, name: str) -> int:
    return sum("started" in line for line in lines(facility.log(name)))
