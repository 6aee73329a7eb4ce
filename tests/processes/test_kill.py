"""kill -9 of agents, of neighbours and of all, at random moments under a load of add_user.

Every 200 of the bridge ends in exactly one terminal state that the client can read, and sandbox effects happen once.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.agents.sandbox.store import SandboxStore
from openportal.cli.facility import MEMBERS, Facility
from openportal.templemeads.events import Ended
from openportal.templemeads.ledger import Settings, open_reader
from tests.processes.load import Load

ROUNDS = 10
JOBS_A_ROUND = 25
SEED = 20261124
LONG_SEEDS = 30

NAMES = [member.name for member in MEMBERS]
NEIGHBOURS = [(member.name, other) for member in MEMBERS for other in member.dials]

pytestmark = pytest.mark.processes


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    with Facility(tmp_path) as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        yield facility


def victims(rng: random.Random, number: int) -> list[str]:
    """Each kind of kill in turn: one agent, two neighbours, everybody."""
    match number % 3:
        case 0:
            return [rng.choice(NAMES)]
        case 1:
            return list(rng.choice(NEIGHBOURS))
        case _:
            return list(NAMES)


async def one_round(facility: Facility, load: Load, rng: random.Random, number: int) -> None:
    async def ask() -> None:
        for job in range(JOBS_A_ROUND):
            await asyncio.gather(load.run(f"add_user r{number}u{job}.demo.brics"), asyncio.sleep(rng.uniform(0, 0.04)))

    async def kill() -> None:
        await asyncio.sleep(rng.uniform(0.05, 0.8))
        gone = victims(rng, number)
        facility.kill(gone)
        await asyncio.sleep(rng.uniform(0, 0.5))
        facility.start(gone)

    await asyncio.gather(ask(), kill())
    facility.wait_ready()


def ends_per_job(folder: Path) -> Counter[str]:
    """How often each job ended, as the ledger of an agent tells."""
    with open_reader(Settings(path=folder), [Ended]) as reader:
        return Counter(r.event.id for r in reader.records() if isinstance(r.event, Ended))


async def test_every_accepted_job_ends_once(facility: Facility) -> None:
    await kill_and_count(facility, SEED)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(LONG_SEEDS))
async def test_every_accepted_job_ends_once_over_and_over(facility: Facility, seed: int) -> None:
    await kill_and_count(facility, seed)


async def kill_and_count(facility: Facility, seed: int) -> None:
    load = Load(facility.client_file)
    rng = random.Random(seed)
    await load.run("add_project demo.brics")
    await load.wait_for_all(30)
    for number in range(ROUNDS):
        await one_round(facility, load, rng, number)
        await load.wait_for_all(60)
    await load.close()

    lost = {id: what for id, what in load.accepted.items() if id not in load.ended}
    assert lost == {}, f"seed {seed}"
    assert len(load.accepted) > ROUNDS * JOBS_A_ROUND // 2, "the bridge was away most of the time"
    failed = {job["command"]: job["result"] for job in load.ended.values() if job["state"] == "Error"}
    assert failed == {}, f"seed {seed}"

    facility.stop()
    ends = ends_per_job(facility.ledger("bridge"))
    assert {id: ends[id] for id in load.accepted if ends[id] != 1} == {}
    assert_effects_once(SandboxStore(facility.sandbox), load)


def assert_effects_once(store: SandboxStore, load: Load) -> None:
    """Every user that was promised was made, and nothing was made twice."""
    counts = Counter((effect.target, effect.action) for effect in store.effects())
    assert {what: count for what, count in counts.items() if count != 1} == {}
    made = {target for target, _ in counts}
    for instruction in load.accepted.values():
        verb, _, who = instruction.partition(" ")
        if verb == "add_user":
            user, _, project = who.partition(".")
            assert f"users/{project}/{user}" in made, f"{who} is missing"
