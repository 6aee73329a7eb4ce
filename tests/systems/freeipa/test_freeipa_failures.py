"""The whole chain while the agent is killed, the server stops, the password expires or the certificate is not trusted.

What the portal was promised is there in the end, and nothing half-made is left that nobody was told of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from openportal.templemeads.events import Intended, Observed
from openportal.templemeads.ledger import Settings, open_reader
from tests.processes.load import Load
from tests.processes.waiting import accepted, end_of, ended, result_of, until_async
from tests.systems.freeipa.bed import Bed
from tests.systems.freeipa.holding import Holding
from tests.systems.freeipa.machine import ADDRESSES
from tests.systems.freeipa.site import AGENT, IpaFacility

pytestmark = pytest.mark.systems
START_SECONDS = 120.0
CHAIN = "brics.aip1.clusters.shared"
DIRSRV = "dirsrv@IPA-TEST.service"
JOB_SECONDS = 90.0
USUAL = {"ipausers", "openportal", "op_shared_default"}
DETOUR = "127.213.0.1"
MARK, DISABLED, OWN = "openportal.unfinished", "Account disabled: True", "op_shared_default"


@pytest.fixture(scope="module")
def running(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpaFacility]:
    """One facility for all that leaves it running."""
    with IpaFacility(tmp_path_factory.mktemp("failures"), bed) as facility:
        yield started(facility)


def started(facility: IpaFacility, **more: str) -> IpaFacility:
    facility.lay_out_with(**more)
    facility.start()
    facility.wait_ready(START_SECONDS)
    return facility


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


def observed(folder: Path) -> int:
    """How many calls the account agent knows the outcome of, while it runs or after."""
    with open_reader(Settings(path=folder), [Observed]) as reader:
        return sum(isinstance(recorded.event, Observed) for recorded in reader.records())


def in_the_dark(folder: Path) -> set[str]:
    """The calls whose intent is in the account agent's log, and of which it does not know what came of them."""
    calls: dict[tuple[str, int], str] = {}
    with open_reader(Settings(path=folder), [Intended, Observed]) as reader:
        for event in (recorded.event for recorded in reader.records()):
            if isinstance(event, Intended):
                calls[event.id, event.n] = event.action
            elif isinstance(event, Observed):
                del calls[event.id, event.n]
    return set(calls.values())


def shown(bed: Bed, kind: str, name: str) -> str:
    """What FreeIPA has of a user or group; empty if there is none."""
    return bed.hosts["srv"].run("ipa", "-n", f"{kind}-show", name, "--all", check=False).stdout


@dataclass(frozen=True)
class Death:
    """What is asked, the call whose answer the agent does not live to see, and what shows that it was carried out."""

    asked: str
    action: str
    shows: tuple[str, str]
    is_done: Callable[[str], bool]


DEATHS = [
    Death("add_project kil.brics", "create group", ("group", "brics.kil"), bool),
    Death("add_user ann.kil.brics", "create user", ("user", "ann.kil"), lambda found: "op_shared_default" in found),
    Death(
        "add_user bob.kil.brics", "finish user", ("user", "bob.kil"), lambda found: bool(found) and MARK not in found
    ),
    Death("block_user bob.kil.brics", "disable user", ("user", "bob.kil"), lambda found: DISABLED in found),
    Death("unblock_user bob.kil.brics", "enable user", ("user", "bob.kil"), lambda found: DISABLED not in found),
    Death("remove_user bob.kil.brics", "take user out of group", ("user", "bob.kil"), lambda found: OWN not in found),
]


async def test_an_agent_that_is_killed_between_a_call_and_its_event(bed: Bed, tmp_path: Path) -> None:
    """kill -9 when FreeIPA has carried out the call and its answer is on the way; the job goes on where it stopped."""
    with IpaFacility(tmp_path, bed, srv=DETOUR) as facility:
        async with Holding(DETOUR, ADDRESSES["srv"]) as way:
            started(facility)
            load = Load(facility.client_file)
            result_of(await ended(load, f"{CHAIN} add_project warm.brics", JOB_SECONDS))
            result_of(await ended(load, f"{CHAIN} add_user una.warm.brics", JOB_SECONDS))
            for death in DEATHS:
                await die(bed, facility, way, load, death)
            await load.close()
    assert groups_of(bed, "ann.kil") == USUAL | {"brics.kil"}
    assert groups_of(bed, "bob.kil") == {"ipausers", "openportal"}
    assert unfinished(bed, "kil") == ""


async def die(bed: Bed, facility: IpaFacility, way: Holding, load: Load, death: Death) -> None:
    log = facility.ledger("acct")
    way.keep = lambda: death.action in in_the_dark(log)
    job = await accepted(load, f"{CHAIN} {death.asked}")
    await until_async(lambda: death.action in in_the_dark(log), f"{death.action} is intended", JOB_SECONDS)
    await until_async(lambda: death.is_done(shown(bed, *death.shows)), f"{death.action} is carried out", JOB_SECONDS)
    facility.kill(["acct"])
    assert death.action in in_the_dark(log)
    way.keep = lambda: False
    way.cut()
    facility.start(["acct"])
    result_of(await end_of(load, job, JOB_SECONDS))


async def test_the_server_stops_in_the_middle(bed: Bed, running: IpaFacility) -> None:
    load, users = Load(running.client_file), [f"u{number}.stop.brics" for number in range(40)]
    result_of(await ended(load, f"{CHAIN} add_project stop.brics"))
    log = running.ledger("acct")
    before = observed(log)
    for user in users:
        await load.run(f"add_user {user}")
    await until_async(lambda: observed(log) > before + 20, "the work is under way")
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
    running.stop(["acct"])  # a session that it has is good for a while
    bed.ipa("user-mod", AGENT, "--password-expiration", "20200101000000Z")
    running.start(["acct"])
    try:
        job = await ended(load, f"{CHAIN} add_project late.brics", JOB_SECONDS)
    finally:
        bed.ipa("user-mod", AGENT, "--password-expiration", "20361231235959Z")
    assert job["state"] == "Error"
    assert "password has expired" in job["result"]
    assert "secret command" in job["result"]
    await load.close()


async def test_a_certificate_that_is_not_trusted(bed: Bed, facility: IpaFacility) -> None:
    started(facility, freeipa_ca_file="")
    load = Load(facility.client_file)
    job = await ended(load, f"{CHAIN} add_user tom.trust.brics", JOB_SECONDS)
    assert job["state"] == "Error"
    assert "is not trusted" in job["result"]
    assert "freeipa-ca-file" in job["result"]
    assert bed.hosts["srv"].run("ipa", "-n", "user-show", "tom.trust", check=False).returncode != 0
    await load.close()
