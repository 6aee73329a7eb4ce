"""Awards between two portals: one asks, the other's software grants, refuses or says that it has to wait.

client ── office ── allocator <── brics ── bridge ── portal software
                    (zone `allocator>brics`)
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from openportal.cli.facility import Facility
from openportal.cli.published import client_python
from tests.processes.load import Load
from tests.processes.software import PORTALS, Software
from tests.processes.waiting import PATIENCE_SECONDS, POLL_SECONDS, accepted, end_of, ended, result_of, until_async

OFFERING = "cluster1.brics.allocator"
THROUGH = "allocator.brics.cluster1"
RAISE = """
import sys, openportal as op
op.load_config(sys.argv[1])
try:
    op.get(sys.argv[2]).raise_for_error()
except op.ManagedProjectPermissionError as error:
    print(type(error).__name__, error)
"""

pytestmark = pytest.mark.processes


class Site:
    """The running facility, what its two portals' software was told, and a client of each bridge."""

    def __init__(self, facility: Facility, software: Software, office: Software) -> None:
        self.facility = facility
        self.software = software
        self.office = office
        self.ours = Load(facility.client_file)
        self.theirs = Load(facility.client_file_of("office"))

    async def close(self) -> None:
        await self.ours.close()
        await self.theirs.close()

    async def ask(self, instruction: str) -> str:
        """The allocator's software asks for something; returns the id of its job."""
        return await accepted(self.theirs, f"{THROUGH} {instruction}")

    def fetched(self, instruction: str) -> list[dict[str, Any]]:
        """The job of an instruction, once for every time that our software was told of it."""
        return [job for job in self.software.jobs if f" {instruction} " in f"{job.get('command')} "]

    async def told(self, instruction: str, times: int = 1) -> dict[str, Any]:
        """The job, after our software was told of it so often."""
        found = await until_async(
            lambda: self.fetched(instruction) if len(self.fetched(instruction)) >= times else None,
            f"{instruction} is signalled {times} times",
        )
        return found[-1]

    async def answer(self, job: dict[str, Any], **outcome: Any) -> int:
        body = {key: value for key, value in job.items() if key != "status"}
        body |= {"version": job["version"] + 1000, **outcome}
        return (await self.ours.call("send_result", body)).status_code

    async def grant(self, job: dict[str, Any], mapping: str) -> int:
        return await self.answer(job, state="Complete", result=f'"{mapping}"', result_type="ProjectMapping")

    async def event(self, name: str, argument: str) -> dict[str, Any]:
        """The notification that the allocator's software fetched."""

        def look() -> dict[str, Any] | None:
            return next((n for n in self.office.notifications if n.get("event") == {name: argument}), None)

        found = await until_async(look, f"{name} {argument} is signalled")
        assert found is not None
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Facility, Software, Software]]:
    facility = Facility(tmp_path_factory.mktemp("facility"), members=PORTALS)
    ours, theirs = Software(facility.client_file), Software(facility.client_file_of("office"))
    with facility, ours, theirs:
        facility.lay_out({"bridge": {"bridge": ours.table}, "office": {"bridge": theirs.table}})
        facility.start()
        facility.wait_ready()
        yield facility, ours, theirs


@pytest.fixture
async def site(running: tuple[Facility, Software, Software]) -> AsyncIterator[Site]:
    site = Site(*running)
    await offered(site)
    yield site
    await site.close()


async def offered(site: Site) -> None:
    """Our software has registered its offering; a portal that is not linked yet makes it try again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := await site.ours.call("sync_offerings", [OFFERING])).status_code != 200:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(POLL_SECONDS)


async def test_an_award_is_signalled_fetched_granted_and_told_of(site: Site) -> None:
    id = await site.ask('create_project a.allocator {"name": "A"}')
    job = await site.told("create_project a.allocator")
    assert job["status"] == 200
    assert job["command"].startswith("brics.bridge.cluster1 create_project a.allocator {")
    assert (job["forwarded_for"], job["state"]) == (THROUGH, "Pending")
    waiting = (await site.ours.call("fetch_jobs")).json()
    assert [each["id"] for each in waiting] == [job["id"]]

    assert await site.grant(job, "a.allocator:a.brics") == 200
    assert result_of(await end_of(site.theirs, id)) == "a.allocator:a.brics"
    assert (await site.ours.call("fetch_jobs")).json() == []
    assert await site.answer(job, state="Error", result="too late") == 400

    note = await site.event("AwardAdded", "a.allocator")
    assert (note["status"], note["destination"]) == (200, OFFERING)


async def test_what_changes_an_award_is_told_of(site: Site) -> None:
    changed = await site.ask('update_project b.allocator {"name": "B"}')
    await site.grant(await site.told("update_project b.allocator"), "b.allocator:b.brics")
    removed = await site.ask("remove_project b.allocator")
    await site.grant(await site.told("remove_project b.allocator"), "b.allocator:b.brics")
    for id in (changed, removed):
        assert result_of(await end_of(site.theirs, id)) == "b.allocator:b.brics"
    await site.event("AwardChanged", "b.allocator")
    await site.event("AwardRemoved", "b.allocator")


async def test_what_our_software_announces_comes_to_the_other_portal(site: Site) -> None:
    answer = await site.ours.call("notify", {"command": f"{OFFERING} award_accepted n.allocator"})
    assert answer.status_code == 200
    note = await site.event("AwardAccepted", "n.allocator")
    assert (note["status"], note["destination"]) == (200, OFFERING)


async def test_an_award_that_has_to_wait_raises_its_class_in_the_client(site: Site) -> None:
    id = await site.ask("create_project c.allocator {}")
    job = await site.told("create_project c.allocator")
    text = "ManagedProjectPendingError: a person has to look at it"
    assert await site.answer(job, state="Error", result=text, result_type="Error") == 200
    failed = await end_of(site.theirs, id)
    assert (failed["result"], failed["error"]["kind"]) == (f"RuntimeError{{{text}}}", "award_pending")
    said = await asyncio.to_thread(raised_in_the_client, site, id)
    assert said.startswith("ManagedProjectPendingError")
    assert "a person has to look at it" in said
    assert not [n for n in site.office.notifications if n.get("event") == {"AwardAdded": "c.allocator"}]


def raised_in_the_client(site: Site, id: str) -> str:
    command = [client_python("0.94.0"), "-I", "-c", RAISE, site.facility.client_file_of("office"), id]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


async def test_what_is_not_offered_is_refused_at_once(site: Site) -> None:
    job = await ended(site.theirs, "allocator.brics.cluster9 create_project d.allocator {}")
    assert (job["state"], job["error"]["kind"]) == ("Error", "unroutable")
    assert "cluster9.brics.allocator" in job["result"]


async def test_a_bridge_that_was_killed_signals_again_what_it_holds(site: Site) -> None:
    id = await site.ask("create_project e.allocator {}")
    before = await site.told("create_project e.allocator")
    site.facility.kill(["bridge"])
    away = await site.ask("create_project f.allocator {}")
    site.facility.start(["bridge"])
    site.facility.wait_ready()
    again = await site.told("create_project e.allocator", times=2)
    assert again["id"] == before["id"]
    assert await site.grant(again, "e.allocator:e.brics") == 200
    assert await site.grant(await site.told("create_project f.allocator"), "f.allocator:f.brics") == 200
    assert result_of(await end_of(site.theirs, id)) == "e.allocator:e.brics"
    assert result_of(await end_of(site.theirs, away)) == "f.allocator:f.brics"


@pytest.mark.parametrize("gone", [["brics"], ["allocator"], ["allocator", "brics", "bridge", "office"]])
async def test_an_award_outlives_every_agent_on_its_way(site: Site, gone: list[str]) -> None:
    name = f"g{len(gone)}{gone[0]}.allocator"
    id = await site.ask(f"create_project {name} {{}}")
    await site.told(f"create_project {name}")
    site.facility.kill(gone)
    site.facility.start(gone)
    site.facility.wait_ready()
    assert await site.grant(site.fetched(f"create_project {name}")[-1], f"{name}:g.brics") == 200
    assert result_of(await end_of(site.theirs, id)) == f"{name}:g.brics"
