"""An agent goes back to a backup of its ledger: nobody loses an outcome, and nothing is done twice.

A backup is made while users are added; 50 more are added; then the agent is killed in the middle of them, its ledger is
restored, and it starts. What an instance forgot, its neighbours know: jobs that were open are put again, and those that
had ended are not asked for. What a *bridge* forgot, nobody else tells its clients: it says that it does not know the
job, and the portal's software asks again, in the same words. That finds what was done.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.agents.sandbox.store import SETTINGS_FILE, SandboxStore
from openportal.cli.facility import Facility
from tests.processes.load import Load
from tests.processes.test_kill import assert_effects_once
from tests.processes.waiting import end_of, result_of

BEFORE, AFTER = 10, 50
SLOW_SECONDS = 0.3  # of each step, so that jobs are under way when the agent is killed
UNDER_WAY = 20  # of the jobs after the backup, so many are asked at once, just before the kill

pytestmark = [pytest.mark.processes, pytest.mark.systems]


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    with Facility(tmp_path / "facility") as facility:
        facility.lay_out()
        facility.sandbox.mkdir(mode=0o700)
        (facility.sandbox / SETTINGS_FILE).write_text(json.dumps({"slow_seconds": SLOW_SECONDS}))
        facility.start()
        facility.wait_ready()
        yield facility


async def ledger(*words: str | Path) -> str:
    """What `openportal ledger …` says, beside the running facility."""
    program = Path(sys.executable).with_name("openportal")
    done = await asyncio.to_thread(
        subprocess.run, [program, "ledger", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def add_users(load: Load, first: int, count: int) -> None:
    await asyncio.gather(*(load.run(f"add_user u{number}.demo.brics") for number in range(first, first + count)))


async def gone_back(facility: Facility, load: Load, name: str, backup: Path) -> None:
    """Back up while users are added, add more, kill the agent under way, restore, start."""
    said, _ = await asyncio.gather(ledger("backup", facility.config(name), backup), add_users(load, 0, BEFORE))
    assert "OK:" in said
    await add_users(load, BEFORE, AFTER - UNDER_WAY)
    await load.wait_for_all(30)
    await add_users(load, BEFORE + AFTER - UNDER_WAY, UNDER_WAY)
    assert len(load.ended) < len(load.accepted), "some are under way"
    facility.kill([name])
    assert "restored as generation 2" in await ledger("restore", facility.config(name), backup)
    facility.start([name])
    await asyncio.to_thread(facility.wait_ready)
    assert len(load.accepted) == BEFORE + AFTER


def assert_all_well(facility: Facility, load: Load) -> None:
    assert {id: what for id, what in load.accepted.items() if id not in load.ended} == {}
    assert [job for job in load.ended.values() if job["state"] != "Complete"] == []
    assert_effects_once(SandboxStore(facility.sandbox), load)


async def test_an_instance_goes_back(facility: Facility, load: Load, tmp_path: Path) -> None:
    await gone_back(facility, load, "shared", tmp_path / "backup")
    await load.wait_for_all(60)
    for id in load.accepted:
        assert result_of(await end_of(load, id)) == result_of(load.ended[id])
    assert_all_well(facility, load)


async def test_a_bridge_goes_back(facility: Facility, load: Load, tmp_path: Path) -> None:
    await gone_back(facility, load, "bridge", tmp_path / "backup")
    answers = {id: await load.call("status", {"job": id}) for id in load.accepted}
    assert {answer.status_code for answer in answers.values()} == {200, 404}
    forgotten = [id for id, answer in answers.items() if answer.status_code != 200]
    assert len(forgotten) >= AFTER - UNDER_WAY
    again = Load(facility.client_file)
    for id in forgotten:
        await again.run(load.accepted[id])
    await again.wait_for_all(60)
    for id in forgotten:
        del load.accepted[id]
        load.ended.pop(id, None)
    await load.wait_for_all(60)
    await again.close()
    assert_all_well(facility, load)
    assert_all_well(facility, again)
