"""The whole chain while the agent is killed, the server stops, the password expires or the certificate is not trusted.

What the portal was promised is there in the end, and nothing half-made is left that nobody was told of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.templemeads.events import Intended, Observed
from openportal.templemeads.ledger import Settings, open_reader
from tests.processes.load import Load
from tests.processes.waiting import accepted, end_of, ended, result_of, until_async
from tests.systems.freeipa.bed import Bed
from tests.systems.freeipa.site import AGENT, IpaFacility

pytestmark = pytest.mark.systems
START_SECONDS = 120.0
CHAIN = "brics.aip1.clusters.shared"
DIRSRV = "dirsrv@IPA-TEST.service"
JOB_SECONDS = 90.0
USUAL = {"ipausers", "openportal", "op_shared_default"}


@pytest.fixture
def running(facility: IpaFacility) -> Iterator[IpaFacility]:
    facility.lay_out_with()
    facility.start()
    facility.wait_ready(START_SECONDS)
    yield facility


def groups_of(bed: Bed, user: str) -> set[str]:
    shown = bed.ipa("user-show", user)
    [line] = [line for line in shown.splitlines() if "Member of groups:" in line]
    return set(line.partition(":")[2].strip().split(", "))


def members_of(bed: Bed, group: str) -> set[str]:
    [line] = [line for line in bed.ipa("group-show", group).splitlines() if "Member users:" in line]
    return set(line.partition(":")[2].strip().split(", "))


def unfinished(bed: Bed, project: str) -> str:
    """Accounts of a project that are not complete, as FreeIPA lists them."""
    found = bed.hosts["srv"].run(
        "ipa", "-n", "user-find", "--class", "openportal.unfinished", "--last", project, "--pkey-only", check=False
    )
    return "\n".join(line for line in found.stdout.splitlines() if "User login:" in line)


def effects(folder: Path, kind: type[Intended] | type[Observed]) -> list[str]:
    """What the account agent's log holds of a kind of event, while it runs or after."""
    with open_reader(Settings(path=folder), [Intended, Observed]) as reader:
        return [getattr(r.event, "action", "") for r in reader.records() if isinstance(r.event, kind)]


@pytest.mark.parametrize("place", range(1, 6))
async def test_an_agent_that_is_killed_at_its_nth_call(bed: Bed, running: IpaFacility, place: int) -> None:
    """kill -9 as soon as the intent of the call is on the disk; the job goes on where it stopped."""
    load, user, log = Load(running.client_file), f"kil.kill{place}.brics", running.ledger("acct")
    result_of(await ended(load, f"{CHAIN} add_project kill{place}.brics"))
    before = len(effects(log, Intended))
    job = await accepted(load, f"{CHAIN} add_user {user}")
    await until_async(lambda: len(effects(log, Intended)) >= before + place, "the intent is recorded")
    running.kill(["acct"])
    running.start(["acct"])
    name = f"kil.kill{place}"
    assert result_of(await end_of(load, job, JOB_SECONDS)) == f"{user}:{name}:brics.kill{place}"
    assert groups_of(bed, name) == USUAL | {f"brics.kill{place}"}
    assert unfinished(bed, f"kill{place}") == ""
    await load.close()


async def test_the_server_stops_in_the_middle(bed: Bed, running: IpaFacility) -> None:
    load, users = Load(running.client_file), [f"u{number}.stop.brics" for number in range(40)]
    result_of(await ended(load, f"{CHAIN} add_project stop.brics"))
    for user in users:
        await load.run(f"add_user {user}")
    log = running.ledger("acct")
    await until_async(lambda: len(effects(log, Observed)) > 20, "the work is under way")
    host = bed.hosts["srv"]
    await asyncio.to_thread(host.run, "systemctl", "stop", DIRSRV)
    await asyncio.sleep(3.0)
    await asyncio.to_thread(host.run, "systemctl", "start", DIRSRV)
    await load.wait_for_all(JOB_SECONDS)
    assert [id for id in load.accepted if id not in load.ended] == []
    failed = [load.accepted[id] for id, job in load.ended.items() if job["state"] == "Error"]
    for instruction in failed:  # they were told; whoever is told asks again
        result_of(await ended(load, f"{CHAIN} {instruction}", JOB_SECONDS))
    wanted = {user.removesuffix(".brics") for user in users}
    for group in ("brics.stop", "openportal", "op_shared_default"):
        assert wanted - members_of(bed, group) == set()
    assert unfinished(bed, "stop") == ""
    await load.close()


async def test_a_server_that_stays_away_is_told_to_the_portal(bed: Bed, running: IpaFacility) -> None:
    load, host = Load(running.client_file), bed.hosts["srv"]
    result_of(await ended(load, f"{CHAIN} add_project away.brics"))
    await asyncio.to_thread(host.run, "systemctl", "stop", DIRSRV)
    try:
        job = await ended(load, f"{CHAIN} add_user una.away.brics", JOB_SECONDS)
    finally:
        await asyncio.to_thread(host.run, "systemctl", "start", DIRSRV)
        await asyncio.to_thread(bed.wait_login)
    assert job["state"] == "Error"
    assert "srv.ipa.test answers 500" in job["result"]
    assert result_of(await ended(load, f"{CHAIN} add_user una.away.brics", JOB_SECONDS))
    assert groups_of(bed, "una.away") == USUAL | {"brics.away"}
    await load.close()


async def test_a_password_that_expired(bed: Bed, running: IpaFacility) -> None:
    load = Load(running.client_file)
    bed.ipa("user-mod", AGENT, "--password-expiration", "20200101000000Z")
    try:
        job = await ended(load, f"{CHAIN} add_project late.brics", JOB_SECONDS)
    finally:
        bed.ipa("user-mod", AGENT, "--password-expiration", "20361231235959Z")
    assert job["state"] == "Error"
    assert "password has expired" in job["result"]
    assert "secret command" in job["result"]
    await load.close()


async def test_a_certificate_that_is_not_trusted(bed: Bed, facility: IpaFacility) -> None:
    facility.lay_out_with(freeipa_ca_file="")
    facility.start()
    facility.wait_ready(START_SECONDS)
    load = Load(facility.client_file)
    job = await ended(load, f"{CHAIN} add_user tom.trust.brics", JOB_SECONDS)
    assert job["state"] == "Error"
    assert "is not trusted" in job["result"]
    assert "freeipa-ca-file" in job["result"]
    assert bed.hosts["srv"].run("ipa", "-n", "user-show", "tom.trust", check=False).returncode != 0
    await load.close()
