"""The instance and the account agent keep their event logs in PostgreSQL, and are killed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from openportal.agents.sandbox.store import SandboxStore
from openportal.cli.compose import schema_name
from openportal.cli.facility import CHAIN, Facility
from openportal.templemeads.ledger import Settings, open_reader
from openportal.templemeads.ledger.sqlite import FILE_NAME
from tests.postgres import cluster
from tests.processes.load import Load
from tests.processes.waiting import ended, result_of

IN_DATABASE = ("shared", "acct")
JOBS = 60
ROUNDS = 2

pytestmark = [pytest.mark.processes, pytest.mark.systems, pytest.mark.smoke]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with cluster() as url:
        yield url


@pytest.fixture(scope="module")
def facility(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    with Facility(tmp_path_factory.mktemp("facility")) as facility:
        facility.lay_out({name: {"ledger": {"url": url}} for name in IN_DATABASE})
        facility.start()
        facility.wait_ready()
        yield facility


async def asked(load: Load, number: int) -> None:
    for job in range(JOBS):
        await load.run(f"add_user r{number}u{job}.demo.brics")


async def killed(facility: Facility) -> None:
    await asyncio.sleep(0.2)
    facility.kill(IN_DATABASE)
    facility.start(IN_DATABASE)


async def test_users_exist_once_whatever_was_killed(facility: Facility, url: str) -> None:
    load = Load(facility.client_file)
    result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
    for number in range(ROUNDS):
        await asyncio.gather(asked(load, number), killed(facility))
    await load.wait_for_all(60)
    failed = {command: load.ended.get(id) for id, command in load.accepted.items() if not_complete(load, id)}
    assert failed == {}
    users = result_of(await ended(load, f"{CHAIN} get_users demo.brics"))
    await load.close()
    assert len(users) == len(load.accepted) == ROUNDS * JOBS
    facility.check()
    facility.stop()

    effects = Counter((effect.target, effect.action) for effect in SandboxStore(facility.sandbox).effects())
    assert {effect: count for effect, count in effects.items() if count != 1} == {}
    for name in IN_DATABASE:
        assert not (facility.ledger(name) / FILE_NAME).exists()
        with open_reader(Settings(url=url, schema=schema_name(name))) as reader:
            report = reader.verify()
        assert report.ok, report
        assert report.events > ROUNDS * JOBS


def not_complete(load: Load, id: str) -> bool:
    return id not in load.ended or load.ended[id]["state"] != "Complete"
