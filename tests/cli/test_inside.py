"""An instance with its scheduler in the same process, in a whole facility of real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.cli.facility import MEMBERS, Facility, Member
from openportal.cli.inside import scheduler_config
from openportal.paddington.config import AgentConfig, load
from openportal.templemeads.events import Intended
from openportal.templemeads.ledger import Settings, open_reader
from tests.processes.load import Load
from tests.processes.waiting import ended, result_of, until

SHARED = Member("shared", "op-slurm", "Instance", ("clusters",))
TOGETHER = tuple(SHARED if member.name == "shared" else member for member in MEMBERS if member.name != "slurm")
READY_SECONDS = 90.0

pytestmark = pytest.mark.processes


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    with Facility(tmp_path, members=TOGETHER) as facility:
        facility.lay_out({"shared": {"extras": {"sandbox": str(facility.sandbox)}}})
        facility.start()
        facility.wait_ready(READY_SECONDS)
        yield facility


def effects(folder: Path) -> list[str]:
    with open_reader(Settings(path=folder), [Intended]) as reader:
        return [record.event.action for record in reader.records() if isinstance(record.event, Intended)]


async def test_it_does_the_work_of_both_and_each_keeps_its_ledger(facility: Facility) -> None:
    load = Load(facility.client_file)
    for instruction in ("add_project demo.brics", "add_user alice.demo.brics", "set_limit demo.brics 10"):
        result_of(await ended(load, f"brics.aip1.clusters.shared {instruction}", READY_SECONDS))
    assert result_of(await ended(load, "brics.aip1.clusters.shared get_limit demo.brics")) == {"seconds": 10}
    await load.close()
    facility.stop()
    inner = scheduler_config(file_of(facility)).ledger.path
    assert inner == facility.ledger("shared").with_name("shared.ledger.scheduler")
    assert inner is not None
    assert effects(inner) == ["create account", "add user to account", "set limit"]
    assert effects(facility.ledger("shared")) == []


async def test_a_kill_between_the_two_loses_nothing(facility: Facility) -> None:
    load = Load(facility.client_file)
    result_of(await ended(load, "brics.aip1.clusters.shared add_project demo.brics", READY_SECONDS))
    for number in range(3):
        await load.run(f"add_user user{number}.demo.brics")
        facility.kill(["shared"])
        facility.start(["shared"])
    await load.wait_for_all(READY_SECONDS)
    assert {job["state"] for job in load.ended.values()} == {"Complete"}
    await load.close()
    facility.stop()
    inner = scheduler_config(file_of(facility)).ledger.path
    assert inner is not None
    assert sorted(effects(inner)) == ["add user to account"] * 3 + ["create account"]


async def test_a_restart_asked_of_the_scheduler_is_one_of_the_process(facility: Facility) -> None:
    load = Load(facility.client_file)
    result_of(await ended(load, "brics.aip1.clusters.shared add_project demo.brics", READY_SECONDS))
    where = "brics.aip1.clusters.shared.shared-scheduler"
    answer = await load.call("restart", {"restart_type": "hard", "destination": where})
    assert answer.status_code == 200, answer.text
    process = facility.processes["shared"]
    until(lambda: process.poll() == 0, "the process ends to be started again", READY_SECONDS)
    facility.revive()
    result_of(await ended(load, "brics.aip1.clusters.shared add_user bob.demo.brics", READY_SECONDS))
    await load.close()


def file_of(facility: Facility) -> AgentConfig:
    return load(facility.config("shared"))


def test_the_file_of_a_scheduler_is_all_its_own(tmp_path: Path) -> None:
    facility = Facility(tmp_path / "other")
    facility.lay_out()
    config = load(facility.config("slurm"))
    assert scheduler_config(config) is config
