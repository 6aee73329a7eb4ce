"""slurmrestd of both versions, over a unix socket and over TCP, with every API version that it serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from openportal.agents.scheduler.slurm.rest import CHANGES_SINCE, Rest, client_of
from openportal.agents.scheduler.slurm.token import CommandTokens, SignedTokens, Tokens
from openportal.agents.scheduler.slurm.transport import Account, Association, JobQuery, QueuedJob
from openportal.agents.scheduler.slurm.windows import Window
from openportal.errors import RunError, Unavailable, Unsupported
from tests.systems.slurm.cluster import NAME, REST_PORT, Cluster

pytestmark = pytest.mark.systems

SECONDS = 20.0
RUNNERS = 5
WAIT_SECONDS = 90.0
HOUR = 3600


def key_of(cluster: Cluster) -> Path:
    """The site's key, where we can read it."""
    path = cluster.folder / "jwt.key"
    path.write_text(cluster.shell("cat /etc/slurm/jwt.key"))
    return path


def tokens_of(cluster: Cluster, user: str = "root", lifespan: int = 600) -> Tokens:
    return Tokens(SignedTokens(key_of(cluster), user, lifespan, time.time), lifespan, time.monotonic)


Connect = Callable[..., Rest]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes transports to a cluster, and closes them."""
    made_here: list[Rest] = []

    def make(cluster: Cluster, server: str = "", user: str = "root", **given: Any) -> Rest:
        client = client_of(server or f"unix:{cluster.rest_socket}", user)
        arguments = {"tokens": tokens_of(cluster, user), "seconds": SECONDS, "runners": RUNNERS, **given}
        made_here.append(Rest(client, **arguments))
        return made_here[-1]

    yield make
    for rest in made_here:
        await rest.close()


@pytest.fixture
async def rest_24(connect: Connect, slurm_24: Cluster) -> Rest:
    return connect(slurm_24)


@pytest.fixture
async def rest_22(connect: Connect, slurm_22: Cluster) -> Rest:
    return connect(slurm_22)


@pytest.fixture(params=["24.11", "22.05"])
def either(request: pytest.FixtureRequest) -> Cluster:
    """Each of the versions."""
    cluster: Cluster = request.getfixturevalue({"24.11": "slurm_24", "22.05": "slurm_22"}[request.param])
    return cluster


async def eventually(check: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not check():
        assert time.monotonic() < until, "it did not come to be"
        await asyncio.sleep(0.2)


def made(cluster: Cluster, account: str, *users: str) -> None:
    """An account with users, by the commands."""
    cluster.shell(f"sacctmgr -i add account name={account} cluster={NAME} organization=openportal description=made")
    for user in users:
        cluster.shell(f"sacctmgr -i add user name={user} cluster={NAME} account={account} </dev/null")


def submit(cluster: Cluster, user: str, account: str, options: str, command: str) -> int:
    return int(cluster.shell(f"cd /tmp; sbatch --parsable -A {account} -n 1 {options} --wrap '{command}'", user))


def as_sacctmgr_has_it(cluster: Cluster, account: str, fields: str) -> list[str]:
    shown = cluster.shell(f"sacctmgr -nP show assoc where account={account} cluster={NAME} format={fields}")
    return sorted(shown.split())


# --- which version ----------------------------------------------------------------------------------------------------


async def test_the_newest_api_that_is_there_is_used(rest_24: Rest, rest_22: Rest) -> None:
    assert [await rest.api() for rest in (rest_24, rest_22)] == [42, 38]


async def test_over_tcp(connect: Connect, slurm_24: Cluster, slurm_22: Cluster) -> None:
    for cluster in (slurm_24, slurm_22):
        rest = connect(cluster, f"http://{cluster.rest_address}:{REST_PORT}/")
        assert await rest.clusters() == (NAME,)


# --- looks, the same of both versions ---------------------------------------------------------------------------------


async def test_looks(either: Cluster, connect: Connect) -> None:
    cluster = either
    made(cluster, "looked", "alice", "bob")
    cluster.shell(f"sacctmgr -i modify account looked set GrpTRESMins=cpu=7,gres/gpu=5,mem=9000 where cluster={NAME}")
    rest = connect(cluster)
    assert await rest.clusters() == (NAME,)
    account = Account("looked", "made", "openportal")
    assert await rest.account("looked") == account
    assert account in await rest.accounts()
    its = {one.user: one for one in await rest.associations(NAME, "looked")}
    assert set(its) == {"", "alice", "bob"}
    assert its[""] == Association(NAME, "looked", "", "root", False, {"cpu": 7, "gres/gpu": 5, "mem": 9000})
    assert its["alice"].account in {one.account for one in await rest.associations(NAME)}
    user = await rest.user("alice")
    assert user is not None
    shown = cluster.shell("sacctmgr -nP show user alice format=defaultaccount").strip()
    assert (user.name, user.default_account) == ("alice", shown)
    assert "looked" in {one.account for one in user.associations}


async def test_what_is_not_there(either: Cluster, connect: Connect) -> None:
    rest = connect(either)
    assert await rest.account("no/such account") is None
    assert await rest.user("nobody-here") is None
    assert await rest.associations(NAME, ("nothere",)) == ()
    assert await rest.queue("nothere") == ()
    window = Window(int(time.time()) - 2 * HOUR, int(time.time()))
    assert (await rest.jobs(JobQuery(window, NAME, ("nothere",)))).jobs == ()


async def test_records_are_those_of_sacct(either: Cluster, connect: Connect) -> None:
    cluster = either
    made(cluster, "counted", "alice")
    cluster.shell("scontrol create reservation ReservationName=mine StartTime=now Duration=5 Nodes=n2 Accounts=counted")
    await eventually(lambda: "mine" in cluster.shell("sacctmgr -nP show reservation format=name"))
    await asyncio.sleep(1.1)  # slurmdbd names the reservation of a job only if the job starts in a later second
    numbers = [
        submit(cluster, "alice", "counted", "--gres=gpu:2", "sleep 1"),
        submit(cluster, "alice", "counted", "--reservation=mine", "sleep 1"),
        submit(cluster, "alice", "counted", "", "exit 3"),
    ]
    again = submit(cluster, "alice", "counted", "--requeue", "sleep 60")
    await eventually(lambda: cluster.shell(f"squeue -h -j {again} -o %T").strip() == "RUNNING")
    await asyncio.sleep(1.1)
    cluster.shell(f"scontrol requeue {again}")
    await asyncio.to_thread(cluster.start_again, again)
    await asyncio.sleep(1.1)
    cluster.shell(f"scancel {again}")
    show = "sacct -nPXaD -A counted --format=JobIDRaw,State -S now-1hour -E now+1hour"
    wanted = sorted([*numbers, again, again])
    await eventually(
        lambda: sorted(int(line.split("|")[0]) for line in cluster.shell(show).split("\n") if line) == wanted
    )
    await eventually(lambda: "RUNNING" not in cluster.shell(show) and "PENDING" not in cluster.shell(show))
    rest = connect(cluster)
    now = int(time.time())
    query = JobQuery(Window(now - HOUR, now + HOUR), NAME, ("counted", "looked"), "main")
    found = await rest.jobs(query)
    assert found.unreadable == ()
    form = "--format=JobIDRaw,Submit,Eligible,Start,End,ElapsedRaw"
    told = cluster.shell(
        f"SLURM_TIME_FORMAT=%s sacct -nPXaD -A counted -S uts{now - HOUR} -E uts{now + HOUR} {form}"
    ).split()
    assert sorted(told) == sorted(
        f"{job.job_id}|{job.submitted}|{job.eligible}|{job.started or 'Unknown'}|{job.ended}|{job.elapsed}"
        for job in found.jobs
    )
    by_number = {job.job_id: job for job in found.jobs}
    assert by_number[numbers[0]].gpus == 2
    assert by_number[numbers[1]].reservation.startswith("mine" if either.version == "24.11" else "#")
    assert any("REQUEUED" in job.states for job in found.jobs if job.job_id == again)
    assert {job.account for job in found.jobs} == {"counted"}


async def test_only_what_waits_is_cancelled(either: Cluster, connect: Connect) -> None:
    cluster = either
    made(cluster, "queued", "alice", "bob")
    running = submit(cluster, "alice", "queued", "", "sleep 300")
    waiting = submit(cluster, "alice", "queued", "--begin=now+1hour", "true")
    others = submit(cluster, "bob", "queued", "--begin=now+1hour", "true")
    rest = connect(cluster)
    await eventually(lambda: cluster.shell(f"squeue -h -j {running} -o %T").strip() == "RUNNING")
    mine = {job.job_id: job for job in await rest.queue("queued", "alice")}
    assert set(mine) == {running, waiting}
    assert mine[waiting] == QueuedJob(waiting, "alice", "queued", "PENDING", "BeginTime")
    assert {job.job_id for job in await rest.queue("queued")} == {running, waiting, others}
    await rest.cancel((running, waiting, 999_999))
    await rest.cancel((waiting,))
    assert {job.job_id for job in await rest.queue("queued")} == {running, others}
    cluster.shell(f"scancel {running} {others}")


# --- changes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", [42, 41, 40])
async def test_an_account_its_users_and_its_limits(
    connect: Connect, slurm_24: Cluster, api: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openportal.agents.scheduler.slurm.rest.VERSIONS", (api,))
    rest = connect(slurm_24)
    assert await rest.api() == api
    name, parent, other = f"rest{api}", f"parent{api}", f"other{api}"
    made(slurm_24, parent)
    made(slurm_24, other, "bob")
    account = Account(name, "Account for OpenPortal project demo.brics", "openportal")
    for _ in range(2):  # a second time changes nothing
        await rest.add_account(NAME, account, parent)
        await rest.add_user(NAME, name, "bob")
    assert await rest.account(name) == account
    lineages = as_sacctmgr_has_it(slurm_24, name, "account,user,parentname,qos,lineage")
    assert lineages == [f"{name}|bob||normal|/{parent}/{name}/0-bob/", f"{name}||{parent}|normal|/{parent}/{name}/"]
    assert await default_of(rest) == name
    await rest.set_default_account(NAME, "bob", other)
    assert await default_of(rest) == other
    await rest.move_account(NAME, name, "root")
    assert as_sacctmgr_has_it(slurm_24, name, "parentname,lineage")[0] == f"root|/{name}/"
    wanted: dict[str, int] = {}
    for minutes in ({"cpu": 10, "gres/gpu": 20, "mem": 3000}, {"cpu": 11, "gres/gpu": 0, "billing": 40}, {}):
        await rest.set_minutes(NAME, name, minutes)
        wanted = {**wanted, **minutes} if minutes else {}
        its = {one.user: one.minutes for one in await rest.associations(NAME, name)}
        assert its == {"": wanted, "bob": {}}


@pytest.mark.parametrize("api", [42, 41, 40])
async def test_what_an_administrator_has_set_stays(
    connect: Connect, slurm_24: Cluster, api: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """slurmrestd drops every limit by resource that is not sent with a change."""
    monkeypatch.setattr("openportal.agents.scheduler.slurm.rest.VERSIONS", (api,))
    rest = connect(slurm_24)
    name = f"kept{api}"
    made(slurm_24, name, "bob")
    limits = "GrpTRESMins=node=77 GrpTRES=node=3 GrpTRESRunMins=cpu=99 MaxTRES=cpu=44,gres/gpu=2 MaxTRESPerNode=cpu=16 "
    limits += "MaxTRESMins=cpu=1234 GrpJobs=10 MaxJobs=4 fairshare=7"
    slurm_24.shell(f"sacctmgr -i modify account {name} set {limits} where cluster={NAME}")
    slurm_24.shell(f"sacctmgr -i modify user bob set {limits} where account={name} cluster={NAME}")
    shown = "user,grptresmins,grptres,grptresrunmins,maxtres,maxtrespernode,maxtresmins,grpjobs,maxjobs,fairshare"
    of_bob, of_account = before = as_sacctmgr_has_it(slurm_24, name, shown)
    await rest.move_account(NAME, name, "root")
    await rest.set_default_account(NAME, "bob", name)
    assert as_sacctmgr_has_it(slurm_24, name, shown) == before
    await rest.set_minutes(NAME, name, {"cpu": 5})
    assert as_sacctmgr_has_it(slurm_24, name, shown) == sorted([of_account.replace("node=77", "cpu=5,node=77"), of_bob])
    await rest.set_minutes(NAME, name, {})
    assert as_sacctmgr_has_it(slurm_24, name, shown) == sorted([of_account.replace("node=77", ""), of_bob])


async def test_a_limit_of_what_is_not_there_is_refused(connect: Connect, slurm_24: Cluster) -> None:
    with pytest.raises(RunError, match="account nowhere is not on cluster testcl"):
        await connect(slurm_24).set_minutes(NAME, "nowhere", {"cpu": 5})


async def default_of(rest: Rest) -> str:
    user = await rest.user("bob")
    assert user is not None
    return user.default_account


async def test_a_user_whom_slurm_does_not_know_yet(slurm_24: Cluster, rest_24: Rest) -> None:
    made(slurm_24, "fresh")
    await rest_24.add_user(NAME, "fresh", "newcomer")
    user = await rest_24.user("newcomer")
    assert user is not None
    assert user.default_account == "fresh"


async def test_an_old_slurmrestd_is_not_trusted_with_changes(slurm_22: Cluster, rest_22: Rest) -> None:
    changes = [
        rest_22.add_account(NAME, Account("old", "old", "openportal"), "root"),
        rest_22.move_account(NAME, "root", "root"),
        rest_22.add_user(NAME, "root", "alice"),
        rest_22.set_default_account(NAME, "alice", "root"),
        rest_22.set_minutes(NAME, "root", {"cpu": 1}),
    ]
    for change in changes:
        with pytest.raises(Unsupported, match=rf"v0\.0\.38 cannot make .* or later \(v0\.0\.{CHANGES_SINCE}\)"):
            await change
    assert await rest_22.account("old") is None


async def test_an_old_slurmrestd_has_the_commands_for_changes(
    connect: Connect, slurm_22: Cluster, slurm_24: Cluster
) -> None:
    """Whatever makes changes: here, another cluster's slurmrestd shows that it was asked."""
    newer = connect(slurm_24)
    rest = connect(slurm_22, commands=newer)
    await rest.add_account(NAME, Account("routed", "d", "openportal"), "root")
    await rest.add_user(NAME, "routed", "alice")
    await rest.set_minutes(NAME, "routed", {"cpu": 5})
    await rest.move_account(NAME, "routed", "root")
    await rest.set_default_account(NAME, "alice", "routed")
    assert (await rest.account("routed"), await newer.account("routed")) == (
        None,
        Account("routed", "d", "openportal"),
    )
    its = {one.user: one for one in await newer.associations(NAME, "routed")}
    assert (its[""].minutes, its["alice"].is_default) == ({"cpu": 5}, True)


async def test_a_change_that_slurm_refuses_is_an_error_with_its_sentence(rest_24: Rest) -> None:
    with pytest.raises(RunError, match="slurmrestd refuses POST"):
        await rest_24.add_account(NAME, Account("orphan", "d", "openportal"), "no-such-parent")
    assert await rest_24.account("orphan") is None


async def test_what_a_user_may_not_do_is_refused(connect: Connect, slurm_24: Cluster) -> None:
    made(slurm_24, "forbidden")
    rest = connect(slurm_24, user="alice")
    with pytest.raises(RunError, match="Access/permission denied"):
        await rest.set_minutes(NAME, "forbidden", {"cpu": 1})


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_token_of_scontrol(connect: Connect, slurm_24: Cluster) -> None:
    command = [*slurm_24.prefix.split(), "scontrol", "token"]
    tokens = Tokens(CommandTokens(command, "root", 60), 60, time.monotonic)
    rest = connect(slurm_24, tokens=tokens)
    assert await rest.account("root") is not None


class Stale(Tokens):
    """Begins with a token that has ended already."""

    def __init__(self, cluster: Cluster, fresh: int) -> None:
        super().__init__(SignedTokens(key_of(cluster), "root", fresh, time.time), 600, time.monotonic)
        self._token, self._until = "", float("inf")
        self.made = 0

    async def current(self) -> str:
        if self.made == 0:
            self.made = 1
            self._token = await SignedTokens(self._maker._key, "root", -10, time.time).make()  # type: ignore[attr-defined]
            self._until = float("inf")
        return await super().current()

    def refused(self, token: str) -> None:
        self.made += 1
        super().refused(token)


async def test_a_token_that_has_ended_is_exchanged_once(either: Cluster, connect: Connect) -> None:
    cluster = either
    tokens = Stale(cluster, fresh=600)
    rest = connect(cluster, tokens=tokens)
    assert await rest.account("root") is not None
    assert tokens.made == 2


async def test_a_token_that_is_refused_twice_is_an_error_to_try_again(either: Cluster, connect: Connect) -> None:
    rest = connect(either, tokens=Stale(either, fresh=-5))
    with pytest.raises(Unavailable, match="refuses our token, and a new one too") as found:
        await rest.account("root")
    assert (found.value.kind, found.value.retry) == ("unavailable", True)


# --- Slurm is not well ------------------------------------------------------------------------------------------------


async def test_without_slurmdbd(either: Cluster, connect: Connect) -> None:
    cluster = either
    rest = connect(cluster)
    await rest.api()
    cluster.signal("slurmdbd", "KILL")
    try:
        with pytest.raises(Unavailable, match=r"slurmrestd does not reach Slurm: .*Unable to connect to database"):
            await rest.account("root")
    finally:
        cluster.daemon("slurmdbd", cluster.dbd_answers)
    assert await rest.account("root") is not None


async def test_a_slurmdbd_that_hangs(connect: Connect, slurm_24: Cluster) -> None:
    rest = connect(slurm_24, seconds=1.0)
    await rest.api()
    slurm_24.signal("slurmdbd", "STOP")
    try:
        with pytest.raises(Unavailable, match=r"did not answer GET /slurmdb/v0\.0\.42/account/root in 1 s"):
            await rest.account("root")
    finally:
        slurm_24.signal("slurmdbd", "CONT")


async def test_without_slurmctld(either: Cluster, connect: Connect) -> None:
    cluster = either
    rest = connect(cluster)
    await rest.api()
    cluster.signal("slurmctld", "KILL")
    try:
        with pytest.raises(Unavailable, match="slurmrestd does not reach Slurm"):
            await rest.queue("root")
        assert await rest.account("root") is not None  # the database is another daemon
    finally:
        cluster.daemon("slurmctld", cluster.ctld_answers)


async def test_a_slurmrestd_that_is_not_there(connect: Connect, slurm_24: Cluster, tmp_path: Path) -> None:
    for server in (f"unix:{tmp_path / 'socket'}", f"http://{slurm_24.rest_address}:1"):
        rest = connect(slurm_24, server)
        with pytest.raises(Unavailable, match="cannot be reached at"):
            await rest.clusters()
