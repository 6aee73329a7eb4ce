"""The network between two agents in the middle fails without a word: in one direction, in both, and under a dead peer.

Packets between the instance and the platform are dropped in a network namespace of their own: nobody gets a FIN or a
RST. Jobs wait on the boards and go on by themselves when packets pass again. A link whose other end died in the silence
is made again. The kernels find the silence after NETWORK_DEAD_SECONDS, also if it is in one direction only and the
agents would wait for SILENCE_MAX_SECONDS. With `long`, the silence is longer than the jobs live.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.agents.sandbox.store import SandboxStore
from openportal.cli.facility import Facility
from openportal.paddington.link import NETWORK_DEAD_SECONDS
from openportal.paddington.session import SILENCE_MAX_SECONDS
from tests.faults.own_network import dropped, own_network
from tests.processes.load import Load
from tests.processes.test_kill import assert_effects_once
from tests.processes.waiting import lines, until_async

NAME, DIALLED = "shared", "clusters"
USERS = 10
SILENT_SECONDS = 5.0
FOUND_SECONDS = 2 * NETWORK_DEAD_SECONDS  # below the 120 s that jobs live, and far below SILENCE_MAX_SECONDS
WAYS = {"to the listener": ["dport"], "to the dialler": ["sport"], "both": ["dport", "sport"]}

pytestmark = [pytest.mark.processes, pytest.mark.systems]


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    with own_network(), Facility(tmp_path / "facility") as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        yield facility


def port_of(facility: Facility) -> int:
    """Where the listening one of the two listens."""
    return int(tomllib.loads(facility.config(DIALLED).read_text())["service"]["port"])


async def add_users(load: Load, name: str) -> None:
    for number in range(USERS):
        await load.run(f"add_user {name}{number}.demo.brics")


def connections(facility: Facility) -> int:
    """How often the listening one had a link to the other."""
    said = (line for line in lines(facility.log(DIALLED)) if '"event":"connected"' in line)
    return sum(f'"peer":"{NAME}@' in line for line in said)


def ends_that_gave_up(facility: Facility) -> set[str]:
    """Which of the two have given up the link."""
    ends = ((DIALLED, NAME), (NAME, DIALLED))
    return {
        name
        for name, other in ends
        for line in lines(facility.log(name))
        if '"event":"disconnected"' in line and f'"peer":"{other}@' in line
    }


def assert_all_well(facility: Facility, load: Load) -> None:
    assert load.accepted.keys() == load.ended.keys()
    assert [job for job in load.ended.values() if job["state"] != "Complete"] == []
    assert_effects_once(SandboxStore(facility.sandbox), load)


async def silent(load: Load, port: int, ways: list[str], seconds: float) -> None:
    """Users are added in the silence; nothing is heard of them until it is over."""
    with dropped(port, ways):
        await add_users(load, "u")
        await asyncio.sleep(seconds)
        assert len(load.accepted) == USERS
        assert load.ended == {}


@pytest.mark.parametrize("ways", ["to the dialler", "to the listener", "both"])
async def test_jobs_wait_until_packets_pass_again(facility: Facility, load: Load, ways: str) -> None:
    await silent(load, port_of(facility), WAYS[ways], SILENT_SECONDS)
    await load.wait_for_all(60)
    assert_all_well(facility, load)


async def test_an_end_that_died_in_the_silence_is_linked_again(facility: Facility, load: Load) -> None:
    """The listening one holds a link of which nobody at the other end knows any more."""
    before = connections(facility)
    with dropped(port_of(facility), WAYS["both"]):
        await add_users(load, "u")
        facility.kill([NAME])
        await asyncio.sleep(SILENT_SECONDS)
        facility.start([NAME])
    await until_async(lambda: connections(facility) > before, "the link is made again")
    await load.wait_for_all(60)
    assert_all_well(facility, load)


@pytest.mark.parametrize("ways", list(WAYS))
async def test_both_ends_find_the_silence_before_jobs_expire(facility: Facility, load: Load, ways: str) -> None:
    """Each of them by itself, busy or idle: what goes the other way is of no help to either."""
    before = connections(facility)
    with dropped(port_of(facility), WAYS[ways]):
        await add_users(load, "u")
        await until_async(lambda: ends_that_gave_up(facility) == {DIALLED, NAME}, "found", FOUND_SECONDS)
        assert load.ended == {}
    await until_async(lambda: connections(facility) > before, "the link is made again")
    await load.wait_for_all(60)
    assert_all_well(facility, load)


@pytest.mark.long
@pytest.mark.parametrize("ways", list(WAYS))
async def test_a_silence_that_jobs_do_not_outlive(facility: Facility, load: Load, ways: str) -> None:
    before = connections(facility)
    with dropped(port_of(facility), WAYS[ways]):
        await add_users(load, "u")
        await load.wait_for_all(SILENCE_MAX_SECONDS)
        assert load.accepted.keys() == load.ended.keys()
        assert {job["error"]["kind"] for job in load.ended.values()} == {"expired"}
        assert ends_that_gave_up(facility) == {DIALLED, NAME}
    await until_async(lambda: connections(facility) > before, "the link is made again")
    again = Load(facility.client_file)
    await add_users(again, "u")
    await again.wait_for_all(60)
    await again.close()
    assert_all_well(facility, again)
