"""The leaf by slurmrestd: the same engine, the same effects, the same answers as by the commands.

24.11 is reached by slurmrestd alone. That of 22.05 cannot be trusted with changes, so there the commands are beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openportal.agents.scheduler.slurm.agent import SlurmScheduler
from openportal.agents.scheduler.slurm.commands import Commands
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.zones import site_zone
from openportal.cli.scheduler import slurm_for_now
from openportal.errors import RunError, Unavailable
from tests.agents.runs import answer, effects_of
from tests.systems.slurm.cluster import Cluster
from tests.systems.slurm.site import (
    DEFAULT_NODE,
    accounted,
    associations,
    node_seconds,
    rest_extras,
    slurm_extras,
    state_of,
    submit,
    wait_for,
)

pytestmark = pytest.mark.systems

MAPPING = "rested.brics:brics.rested"
ALICE = "alice.rested.brics:alice:brics.rested"


@pytest.fixture
async def leaf(cluster: Cluster, tmp_path: Path) -> AsyncIterator[SlurmScheduler]:
    beside = slurm_extras(cluster) if cluster.version < "23" else {"slurm-default-node": DEFAULT_NODE}
    settings = Settings.of({**beside, **rest_extras(cluster, tmp_path)})
    commands = Commands(settings)
    async with slurm_for_now(settings, commands) as slurm:
        yield SlurmScheduler(slurm, commands, settings, site_zone("UTC", {}), list, time.time)


async def test_the_flow_of_an_account(cluster: Cluster, leaf: SlurmScheduler) -> None:
    texts = (f"add_local_project {MAPPING}", f"add_local_user {ALICE}", f"set_local_limit {MAPPING} 10 hours")
    made = ["create account", "add user to account", "set limit"]
    assert [[action for action, _ in await effects_of(leaf, text)] for text in texts] == [[one] for one in made]
    assert [await effects_of(leaf, text) for text in texts] == [[], [], []]
    assert associations(cluster, "brics.rested") == [
        ["brics.rested", "", "root", "billing=96000,cpu=38400,gres/gpu=2400,mem=75000G"],
        ["brics.rested", "alice", "", ""],
    ]
    for check in (f"is_local_project_added {MAPPING}", f"is_local_user_added {ALICE}"):
        assert await answer(leaf, check) is True
    assert await answer(leaf, f"get_local_limit {MAPPING}") == {"seconds": 36_000}

    job = await asyncio.to_thread(submit, cluster, "alice", "-A", "brics.rested", "-n", "2", "--gres=gpu:1", "-t", "5")
    await asyncio.to_thread(wait_for, cluster, job, "COMPLETED")
    [row] = accounted(cluster, "brics.rested")
    day = row["Start"][:10]
    report = await answer(leaf, f"get_local_usage_report {MAPPING} {day}")
    assert isinstance(report, dict)
    assert report["reports"][day]["reports"] == {"alice": {"seconds": node_seconds(row)}}

    waits = submit(cluster, "alice", "-A", "brics.rested", "--begin=now+1hour")
    assert await answer(leaf, f"is_local_user_removed {ALICE}") is False
    await answer(leaf, f"remove_local_user {ALICE}")
    assert state_of(cluster, waits) == "CANCELLED"
    assert await answer(leaf, f"is_local_user_removed {ALICE}") is True


async def test_users_that_come_at_once_are_all_there(cluster: Cluster, leaf: SlurmScheduler) -> None:
    users = [f"throng{number}" for number in range(8)]
    cluster.shell("; ".join(f"useradd -M {user}" for user in users))
    await answer(leaf, "add_local_project throng.brics:brics.throng")
    texts = [f"add_local_user {user}.throng.brics:{user}:brics.throng" for user in users]
    await asyncio.gather(*(answer(leaf, text) for text in texts))
    assert [row[1] for row in associations(cluster, "brics.throng")] == ["", *users]
    assert [await effects_of(leaf, text) for text in texts] == [[]] * len(texts)


async def test_what_is_not_ours_is_left(cluster: Cluster, leaf: SlurmScheduler) -> None:
    cluster.shell("sacctmgr -i add account name=rest.theirs cluster=testcl organization=physics description=theirs")
    with pytest.raises(RunError, match="organisation 'physics'"):
        await answer(leaf, "set_local_limit theirs.rest:rest.theirs 10")
    assert associations(cluster, "rest.theirs")[0][3] == ""


async def test_without_slurmdbd_everything_is_unavailable(cluster: Cluster, leaf: SlurmScheduler) -> None:
    with cluster.without("slurmdbd", cluster.dbd_answers), pytest.raises(Unavailable):
        await answer(leaf, "add_local_project gone.brics:brics.gone")
    await answer(leaf, "add_local_project gone.brics:brics.gone")
    assert len(associations(cluster, "brics.gone")) == 1
