"""The leaf by itself on a real Slurm: every instruction, cut short everywhere, and daemons that do not answer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from openportal.agents.scheduler.slurm.accounts import Accounts
from openportal.agents.scheduler.slurm.agent import SlurmScheduler
from openportal.agents.scheduler.slurm.commands import Commands
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.zones import site_zone
from openportal.errors import InvalidJob, RunError, Unavailable
from openportal.grammar.identifiers import ProjectMapping
from tests.agents.runs import Killed, MemoryRun, answer, effects_of
from tests.processes.waiting import until, until_async
from tests.systems.slurm.cluster import NAME, Cluster
from tests.systems.slurm.site import (
    accounted,
    associations,
    node_seconds,
    reason_of,
    slurm_extras,
    state_of,
    submit,
    wait_for,
)

pytestmark = pytest.mark.systems

SHORT_SECONDS = "2"
LIMITED = "billing=96000,cpu=38400,gres/gpu=2400,mem=75000G"


def leaf_of(cluster: Cluster, limits: dict[str, int] | None = None, **more: str) -> SlurmScheduler:
    """A leaf whose ledger tells of these limits, by mapping."""
    settings = Settings.of(slurm_extras(cluster, **{"account-wait": "1", **more}))
    commands = Commands(settings)
    known = [(ProjectMapping.parse(mapping), seconds) for mapping, seconds in (limits or {}).items()]
    return SlurmScheduler(commands, commands, settings, site_zone("UTC", {}), lambda: known, time.time)


async def done(leaf: SlurmScheduler, *texts: str) -> list[object]:
    return [await answer(leaf, text) for text in texts]


# --- accounts ---------------------------------------------------------------------------------------------------------


async def test_a_second_run_changes_nothing(cluster: Cluster) -> None:
    leaf = leaf_of(cluster)
    texts = (
        "add_local_project one.brics:brics.one",
        "add_local_user alice.one.brics:alice:brics.one",
        "set_local_limit one.brics:brics.one 10 hours",
    )
    first = [await effects_of(leaf, text) for text in texts]
    assert [[action for action, _ in effects] for effects in first] == [
        ["create account"],
        ["add user to account"],
        ["set limit"],
    ]
    assert [await effects_of(leaf_of(cluster), text) for text in texts] == [[], [], []]
    assert associations(cluster, "brics.one") == [["brics.one", "", "root", LIMITED], ["brics.one", "alice", "", ""]]


async def test_names_are_slurms(cluster: Cluster) -> None:
    """A legacy group is the account without its prefix; everything is in lower case."""
    leaf = leaf_of(cluster)
    await done(leaf, "add_local_project Two.brics:group.Two", "add_local_user Bob.Two.brics:BOB:group.Two")
    assert [row[:2] for row in associations(cluster, "two")] == [["two", ""], ["two", "bob"]]
    assert await done(leaf, "is_local_user_added Bob.Two.brics:BOB:group.Two") == [True]


async def test_a_project_is_placed_beneath_its_parent_and_moved_when_that_changes(cluster: Cluster) -> None:
    cluster.shell("sacctmgr -i add account name=facility cluster=testcl organization=site description=top")
    text = "add_local_project three.brics:brics.three"
    assert [action for action, _ in await effects_of(leaf_of(cluster), text)] == ["create account"]
    beneath = leaf_of(cluster, **{"parent-account": "facility"})
    assert [action for action, _ in await effects_of(beneath, text)] == ["move account"]
    assert associations(cluster, "brics.three")[0][2] == "facility"
    assert await effects_of(beneath, text) == []
    with pytest.raises(InvalidJob, match="parent of all"):
        await answer(beneath, "add_local_project facility.brics:facility")


async def test_a_parent_that_is_not_there_is_named(cluster: Cluster) -> None:
    with pytest.raises(RunError, match="nowhere"):
        await answer(leaf_of(cluster, **{"parent-account": "nowhere"}), "add_local_project four.brics:brics.four")
    assert associations(cluster, "brics.four") == []


async def test_a_user_comes_back_to_the_project_that_asks(cluster: Cluster) -> None:
    """Somebody made another account the default."""
    leaf = leaf_of(cluster)
    text = "add_local_user bob.five.brics:bob:brics.five"
    await answer(leaf, text)
    cluster.shell("sacctmgr -i add account name=elsewhere cluster=testcl organization=site description=x")
    cluster.shell("sacctmgr -i add user name=bob cluster=testcl account=elsewhere defaultaccount=elsewhere")
    cluster.shell("sacctmgr -i modify user bob set defaultaccount=elsewhere where cluster=testcl")
    assert await done(leaf, "is_local_user_added bob.five.brics:bob:brics.five") == [False]
    assert [action for action, _ in await effects_of(leaf, text)] == ["set default account"]
    assert await done(leaf, "is_local_user_added bob.five.brics:bob:brics.five") == [True]


async def test_the_account_of_another_project_or_organisation_is_left(cluster: Cluster) -> None:
    leaf = leaf_of(cluster)
    await answer(leaf, "add_local_project six.brics:six")
    cluster.shell("sacctmgr -i add account name=theirs cluster=testcl organization=physics description=theirs")
    run = MemoryRun()
    for text, why in (
        ("add_local_project six.other:six", "is that of six.brics"),
        ("set_local_limit six.other:six 10", "is that of six.brics"),
        ("get_local_usage_report six.other:six", "is that of six.brics"),
        ("add_local_project theirs.brics:theirs", "organisation 'physics'"),
        ("add_local_user alice.theirs.brics:alice:theirs", "organisation 'physics'"),
        ("set_local_limit theirs.brics:theirs 10", "organisation 'physics'"),
        ("remove_local_project theirs.brics:theirs", "organisation 'physics'"),
        ("set_local_limit seven.brics:seven 10", "no Slurm account seven"),
    ):
        with pytest.raises(RunError, match=why):
            await answer(leaf, text, run)
    assert run.effects == []
    with pytest.raises(InvalidJob, match="Slurm's own"):
        await answer(leaf, "add_local_project root.brics:root")


async def test_what_was_never_added_is_removed(cluster: Cluster) -> None:
    leaf = leaf_of(cluster)
    texts = ("remove_local_project zero.brics:zero", "remove_local_user alice.zero.brics:alice:zero")
    assert [await effects_of(leaf, text) for text in texts] == [[], []]
    checks = ("is_local_project_removed zero.brics:zero", "is_local_project_added zero.brics:zero")
    assert await done(leaf, *checks) == [True, False]


async def test_jobs_that_run_are_left_and_named(cluster: Cluster) -> None:
    """In the audit trail, and to whoever asked."""
    leaf = leaf_of(cluster)
    await answer(leaf, "add_local_user bob.runs.brics:bob:brics.runs")
    job = submit(cluster, "bob", "-A", "brics.runs", "-t", "5", command="sleep 600")
    wait_for(cluster, job, "RUNNING")
    run = MemoryRun()
    await answer(leaf, "remove_local_user bob.runs.brics:bob:brics.runs", run)
    assert run.effects == [("leave running jobs", f"brics.runs of bob: {job}")]
    assert run.told == [f"left to end in account brics.runs of bob: {job}"]
    assert state_of(cluster, job) == "RUNNING"
    cluster.shell(f"scancel {job}")


async def test_users_that_come_at_once_are_each_told_of_their_own(cluster: Cluster) -> None:
    """They go to Slurm together; one whom the machine does not know keeps nobody else out."""
    leaf = leaf_of(cluster)
    users = [f"many{number}" for number in range(12)]
    cluster.shell("; ".join(f"useradd -M {user}" for user in users))
    await answer(leaf, "add_local_project many.brics:brics.many")
    texts = [f"add_local_user {user}.many.brics:{user}:brics.many" for user in [*users, "stranger"]]
    found = await asyncio.gather(*(effects_of(leaf, text) for text in texts), return_exceptions=True)
    added = [[("add user to account", f"{user} in brics.many on testcl")] for user in users]
    assert found[:-1] == added
    assert isinstance(found[-1], Unavailable)
    assert [row[1] for row in associations(cluster, "brics.many")] == ["", *sorted(users)]
    assert all(await done(leaf, *(text.replace("add_local_user", "is_local_user_added") for text in texts[:-1])))


async def test_an_association_waits_for_the_account_of_the_machine(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    leaf = leaf_of(cluster)
    text = "add_local_user late.eight.brics:late:brics.eight"
    with caplog.at_level("INFO"), pytest.raises(Unavailable, match="does not know the user late"):
        await answer(leaf, text)
    assert "Waiting until the scheduler's machine knows the user late" in caplog.text
    assert [user for _, user, _, _ in associations(cluster, "brics.eight")] == [""]
    cluster.shell("useradd -M late")
    await answer(leaf, text)
    job = submit(cluster, "late", "-t", "1", command="true")
    wait_for(cluster, job, "COMPLETED")


async def test_an_association_made_too_early_is_why(cluster: Cluster) -> None:
    """With the check turned off: every job of the user bounces, also when the account is there at last."""
    leaf = leaf_of(cluster, getent="")
    await answer(leaf, "add_local_user early.nine.brics:early:brics.nine")
    cluster.shell("useradd -M early")
    with pytest.raises(RuntimeError, match="Invalid account"):
        submit(cluster, "early", "-t", "1", command="true")


async def test_a_cluster_is_found_or_must_be_named(cluster: Cluster) -> None:
    settings = Settings.of(slurm_extras(cluster))
    commands = Commands(settings)
    assert await Accounts(commands, commands, settings).cluster() == "testcl"
    cluster.shell("sacctmgr -i add cluster second")
    try:
        with pytest.raises(RunError, match=r"(second, testcl|testcl, second)\. Set slurm-cluster"):
            await Accounts(commands, commands, settings).cluster()
        named = Settings.of(slurm_extras(cluster, **{"slurm-cluster": "testcl"}))
        assert await Accounts(commands, commands, named).cluster() == "testcl"
    finally:
        cluster.shell("sacctmgr -i delete cluster second")


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_a_limit_that_drifted_is_set_again(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """By whatever looks at it next, as the portal asked, also in another life."""
    mapping = "drift.brics:brics.drift"
    await done(leaf_of(cluster), f"add_local_project {mapping}", f"set_local_limit {mapping} 36000")
    cluster.shell("sacctmgr -i modify account brics.drift set GrpTRESMins=cpu=1 where cluster=testcl")
    leaf = leaf_of(cluster, {mapping: 36_000})
    assert await done(leaf, f"get_local_limit {mapping}") == [{"seconds": 36_000}]
    assert "The limit of brics.drift is not as it should be" in caplog.text
    assert associations(cluster, "brics.drift")[0][3] == LIMITED
    cluster.shell("sacctmgr -i modify account brics.drift set GrpTRESMins=cpu=-1 where cluster=testcl")
    assert [action for action, _ in await effects_of(leaf, f"get_local_usage_report {mapping}")] == ["set limit"]
    assert associations(cluster, "brics.drift")[0][3] == LIMITED


async def test_a_limit_that_nobody_asked_for_is_slurms(cluster: Cluster) -> None:
    mapping = "own.brics:brics.own"
    leaf = leaf_of(cluster)
    assert await done(leaf, f"add_local_project {mapping}", f"get_local_limit {mapping}") == [None, {"seconds": 0}]
    cluster.shell("sacctmgr -i modify account brics.own set GrpTRESMins=cpu=3840 where cluster=testcl")
    run = MemoryRun()
    assert await answer(leaf, f"get_local_limit {mapping}", run) == {"seconds": 3600}
    assert run.effects == []


async def test_nothing_is_a_limit(cluster: Cluster) -> None:
    mapping = "nothing.brics:brics.nothing"
    leaf = leaf_of(cluster)
    await done(leaf, f"add_local_user bob.{mapping.replace(':', ':bob:')}", f"set_local_limit {mapping} 0")
    assert associations(cluster, "brics.nothing")[0][3] == "billing=0,cpu=0,gres/gpu=0,mem=0"
    assert await done(leaf, f"get_local_limit {mapping}") == [{"seconds": 0}]
    job = submit(cluster, "bob", "-A", "brics.nothing", "-t", "1")
    cluster.shell("sleep 4")
    assert state_of(cluster, job) == "PENDING"
    assert reason_of(cluster, job).startswith("AssocGrp")
    await answer(leaf, f"remove_local_project {mapping}")
    assert state_of(cluster, job) == "CANCELLED"


async def test_what_the_site_bears_is_added_to_the_limit_also_in_another_life(cluster: Cluster) -> None:
    mapping, policy = "borne.brics:brics.borne", {"requeue-policy": "no_charge"}
    leaf = leaf_of(cluster, **policy)
    await done(leaf, f"add_local_user alice.{mapping.replace(':', ':alice:')}", f"set_local_limit {mapping} 36000")
    once = '[ -n "$SLURM_RESTART_COUNT" ] || sleep 60'
    job = submit(cluster, "alice", "-A", "brics.borne", "-n", "64", "-t", "5", "--requeue", command=once)
    wait_for(cluster, job, "RUNNING")
    cluster.shell(f"sleep 2; scontrol requeue {job}")
    cluster.start_again(job)
    wait_for(cluster, job, "COMPLETED")
    [lost, _] = until(lambda: two_attempts(cluster, "brics.borne"), "both attempts are accounted for")
    borne = node_seconds(lost)
    assert borne >= 2

    leaf = leaf_of(cluster, {mapping: 36_000}, **policy)
    assert await done(leaf, f"get_local_limit {mapping}") == [{"seconds": 36_000}]
    allowed = cluster.shell("sacctmgr -nP show assoc where account=brics.borne user='' format=GrpTRESMins")
    assert f"cpu={(36_000 + borne) * 64 // 60}" in allowed
    assert await effects_of(leaf_of(cluster, {mapping: 36_000}, **policy), f"get_local_limit {mapping}") == []


def two_attempts(cluster: Cluster, account: str) -> list[dict[str, str]]:
    """The attempts of a job that was requeued once, when slurmdbd has both ends."""
    rows = accounted(cluster, account)
    return rows if len(rows) == 2 else []


# --- cut short --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["killed_before", "killed_after"])
async def test_what_was_cut_short_is_completed_once(cluster: Cluster, when: str) -> None:
    """The process ends before or after each effect, and what runs again finds what its earlier self did."""
    name = f"cut{when.removeprefix('killed_')}"
    mapping = f"{name}.brics:brics.{name}"
    for text, action in (
        (f"add_local_project {mapping}", "create account"),
        (f"add_local_user alice.{name}.brics:alice:brics.{name}", "add user to account"),
        (f"set_local_limit {mapping} 36000", "set limit"),
    ):
        with pytest.raises(Killed):
            await answer(leaf_of(cluster), text, MemoryRun(**{when: action}))
        again = await effects_of(leaf_of(cluster), text)
        assert [done for done, _ in again] == ([action] if when == "killed_before" else [])
    assert associations(cluster, f"brics.{name}") == [
        [f"brics.{name}", "", "root", LIMITED],
        [f"brics.{name}", "alice", "", ""],
    ]


# --- what does not answer ---------------------------------------------------------------------------------------------

CALLS = (
    "add_local_project {p}", "add_local_user alice.down.brics:alice:brics.down", "set_local_limit {p} 10",
    "get_local_limit {p}", "is_local_project_added {p}", "get_local_usage_report {p}", "remove_local_project {p}",
)  # fmt: skip
MAPPING = "down.brics:brics.down"


async def fails(leaf: SlurmScheduler, text: str, kind: type[Exception], why: str) -> None:
    run = MemoryRun()
    with pytest.raises(kind, match=why):
        await answer(leaf, text.format(p=MAPPING), run)
    assert run.effects == []


async def test_without_slurmdbd_everything_is_unavailable_and_nothing_changes(cluster: Cluster) -> None:
    await answer(leaf_of(cluster), f"add_local_project {MAPPING}")
    before = associations(cluster, "brics.down")
    with cluster.without("slurmdbd", cluster.dbd_answers):
        for text in CALLS:
            await fails(leaf_of(cluster), text, Unavailable, "does not reach Slurm: .*Connection refused")
    assert associations(cluster, "brics.down") == before


async def test_without_its_database_slurmdbd_is_unavailable(cluster: Cluster) -> None:
    with cluster.without("mariadbd", cluster.dbd_answers):
        await fails(leaf_of(cluster), CALLS[0], Unavailable, "Unable to connect to database")


async def test_a_question_that_the_database_does_not_finish_is_unavailable(cluster: Cluster) -> None:
    """It waits for a lock while its connection is ended; of that, the tools speak in words about priorities."""
    mariadb = "mariadb -S /run/mysqld/mysqld.sock slurm_acct_db"

    def connection(state: str) -> str:
        return cluster.shell(f"{mariadb} -Ne 'SHOW PROCESSLIST' | grep '{state}' | cut -f 1").strip()

    statements = f"LOCK TABLES {NAME}_assoc_table WRITE; SELECT SLEEP(600)"
    cluster.shell(f"{mariadb} -e '{statements}' </dev/null >/dev/null 2>&1 &")
    lock = until(lambda: connection("User sleep"), "the table is locked")
    asked = asyncio.ensure_future(fails(leaf_of(cluster), CALLS[3], Unavailable, "does not reach Slurm"))
    question = await until_async(lambda: connection("Waiting for table"), "the question waits for it")
    cluster.shell(f"{mariadb} -e 'KILL {question}'")
    await asked
    cluster.shell(f"{mariadb} -e 'KILL {lock}'")
    until(cluster.dbd_answers, "the table is free again")


async def test_without_slurmctld_accounts_are_made_and_queues_are_not_known(cluster: Cluster) -> None:
    with cluster.without("slurmctld", cluster.ctld_answers):
        leaf = leaf_of(cluster)
        await answer(leaf, "add_local_project headless.brics:brics.headless")
        await fails(leaf, "remove_local_project {p}", Unavailable, "Unable to contact slurm controller")


async def test_slurm_that_does_not_answer_in_time_is_unavailable(cluster: Cluster) -> None:
    with cluster.held("slurmdbd"):
        leaf = leaf_of(cluster, **{"slurm-timeout": SHORT_SECONDS})
        await fails(leaf, CALLS[0], Unavailable, f"did not finish within {SHORT_SECONDS} s .slurm-timeout.")
    until(lambda: cluster.shell("pgrep -x sacctmgr || true") == "", "what was given up is ended")


# --- tools that lie ---------------------------------------------------------------------------------------------------


def with_tool(cluster: Cluster, folder: Path, script: str) -> SlurmScheduler:
    """A leaf whose sacctmgr is a shell script; `$REAL` is the real one."""
    program = folder / "sacctmgr"
    program.write_text(f'#!/bin/sh\nREAL="{cluster.prefix} sacctmgr"\n{script}\n')
    program.chmod(0o755)
    return leaf_of(cluster, sacctmgr=str(program), getent="", **{"slurm-cluster": "testcl"})


@pytest.mark.parametrize(
    ("script", "kind", "why"),
    [
        ("echo what; echo ever", RunError, "cannot be read: 'what' has not 3 fields"),
        ("echo 'a|b|c|d=e=f'", RunError, "cannot be read"),
        ("head -c 20000 /dev/urandom", RunError, "cannot be read"),
        ("exit 1", Unavailable, "exit code 1 and gave no reason"),
        ("kill -9 $$", Unavailable, "exit code -9 and gave no reason"),
        ("echo 'Access/permission denied' >&2; exit 1", RunError, "exit code 1: Access/permission denied"),
    ],
)
async def test_a_tool_that_answers_nonsense_changes_nothing(
    cluster: Cluster, tmp_path: Path, script: str, kind: type[Exception], why: str
) -> None:
    await fails(with_tool(cluster, tmp_path, script), CALLS[0], kind, why)


async def test_a_change_that_slurm_does_not_show_is_not_done(cluster: Cluster, tmp_path: Path) -> None:
    leaf = with_tool(cluster, tmp_path, '[ "$1" = -i ] && exit 0; exec $REAL "$@"')
    with pytest.raises(RunError, match="took the change and does not show it: create account"):
        await answer(leaf, "add_local_project lost.brics:brics.lost")


async def test_an_empty_answer_removes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """A tool that finds nothing though it is there: the change is tried, and is in vain."""
    await answer(leaf_of(cluster), "add_local_project empty.brics:brics.empty")
    leaf = with_tool(cluster, tmp_path, '[ "$1" = -i ] && exec $REAL "$@"; exit 0')
    with pytest.raises(RunError):
        await answer(leaf, "add_local_project empty.brics:brics.empty")
    assert len(associations(cluster, "brics.empty")) == 1


async def test_a_tool_that_is_not_there_is_named(cluster: Cluster) -> None:
    leaf = leaf_of(cluster, sacctmgr="/nowhere/sacctmgr", getent="")
    await fails(leaf, CALLS[0], RunError, "/nowhere/sacctmgr cannot be started .* see extras.sacctmgr")
