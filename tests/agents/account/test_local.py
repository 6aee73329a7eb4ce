from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from openportal.agents.account import local
from openportal.agents.account.local import LocalAccounts
from openportal.errors import ConfigError, InvalidJob, RunError, Unavailable
from tests.agents.account.conftest import Machine
from tests.agents.runs import Killed, MemoryRun, answer, effects_of

BOB = "bob.climate.brics"
MAPPING = "bob.climate.brics:bob.climate:brics.climate"
GROUPS = {"brics.climate", "openportal", "op_shared_default"}

RECORDED = [
    ("is_existing_project climate.brics", False),
    ("add_project climate.brics", "climate.brics:brics.climate"),
    (f"is_blocked_user {BOB}", False),
    (f"is_existing_user {BOB}", False),
    (f"is_protected_user {BOB}", False),
    (f"add_user {BOB}", MAPPING),
    (f"update_homedir {BOB} /srv/opfs/home/climate/bob.climate", "/srv/opfs/home/climate/bob.climate"),
    ("add_project demo.brics", "demo.brics:brics.demo"),
    ("get_users demo.brics", []),
    ("get_project_mapping demo.brics", "demo.brics:brics.demo"),
    ("is_protected_user alice.demo.brics", False),
    ("remove_user alice.demo.brics", "alice.demo.brics:alice.demo:brics.demo"),
    (f"is_existing_user {BOB}", True),
    (f"add_user {BOB}", MAPPING),
    (f"block_user {BOB}", MAPPING),
    (f"is_blocked_user {BOB}", True),
    (f"unblock_user {BOB}", MAPPING),
    (f"get_user_mapping {BOB}", MAPPING),
    ("get_projects brics", ["climate.brics:brics.climate", "demo.brics:brics.demo"]),
    ("get_users climate.brics", [MAPPING]),
    (f"remove_user {BOB}", MAPPING),
    ("remove_project climate.brics", "climate.brics:brics.climate"),
    ("get_users climate.brics", []),
]


@pytest.fixture
def leaf(machine: Machine) -> LocalAccounts:
    return LocalAccounts(machine.extras())


async def test_the_recorded_conversation(leaf: LocalAccounts) -> None:
    for text, expected in RECORDED:
        assert await answer(leaf, text) == expected, text


async def test_the_recorded_conversation_with_the_plain_tools(machine: Machine) -> None:
    texts = [text for text, _ in RECORDED]
    script = str(Path(__file__).with_name("inside.py"))
    root = str(Path(__file__).parents[3])
    printed = await asyncio.to_thread(machine.run, "env", f"PYTHONPATH={root}", sys.executable, script, *texts)
    answers = [json.loads(line) for line in printed.splitlines()]
    assert [found for found, _ in answers] == [expected for _, expected in RECORDED]
    changes = {text: effects for text, (_, effects) in zip(texts, answers, strict=True) if effects}
    assert changes == {
        "add_project climate.brics": ["create group"],
        "add_project demo.brics": ["create group"],
        f"add_user {BOB}": ["create group", "create group", "create user"],
        f"update_homedir {BOB} /srv/opfs/home/climate/bob.climate": ["set home directory"],
        f"block_user {BOB}": ["create group", "block user"],
        f"unblock_user {BOB}": ["unlock user", "unblock user"],
        f"remove_user {BOB}": ["create group", "disable user"],
        "remove_project climate.brics": ["delete group"],
    }


async def test_an_added_user(machine: Machine) -> None:
    leaf = LocalAccounts(machine.extras(**{"system-groups": "staff", "instance-groups": "shared:mpi,other:gpu"}))
    assert await effects_of(leaf, f"add_user {BOB}") == [
        ("create group", "brics.climate"),
        ("create group", "openportal"),
        ("create group", "op_shared_default"),
        ("create group", "mpi"),
        ("create user", "bob.climate"),
    ]
    assert machine.groups_of("bob.climate") == GROUPS | {"staff", "mpi"}
    entry = machine.entry("passwd", "bob.climate")
    assert entry is not None
    assert entry[4:] == [BOB, "/home/bob.climate", "/bin/bash"]
    assert "bob.climate" not in machine.run("ls", "/home").split()
    assert await answer(leaf, f"is_local_user_added {MAPPING}") is True
    assert await answer(leaf, f"is_local_user_removed {MAPPING}") is False
    assert await answer(leaf, "is_local_project_added climate.brics:brics.climate") is True
    assert await answer(leaf, "is_local_project_removed climate.brics:brics.climate") is False


async def test_every_change_twice_has_its_effects_once(leaf: LocalAccounts) -> None:
    for text, count in [
        ("add_project climate.brics", 1),
        (f"add_user {BOB}", 3),
        (f"update_homedir {BOB} /srv/bob", 1),
        (f"block_user {BOB}", 2),
        (f"unblock_user {BOB}", 2),
        (f"remove_user {BOB}", 2),
        (f"add_user {BOB}", 1),
        ("remove_project climate.brics", 2),
    ]:
        assert len(await effects_of(leaf, text)) == count, text
        assert await effects_of(leaf, text) == [], text


async def test_a_second_instance_adds_its_group(leaf: LocalAccounts, machine: Machine) -> None:
    await answer(leaf, f"add_user {BOB}")
    other = "second@default"
    assert await answer(leaf, f"is_local_user_added {MAPPING}", MemoryRun(other)) is False
    assert [action for action, _ in await effects_of(leaf, f"add_user {BOB}", other)] == [
        "create group",
        "add user to groups",
    ]
    assert machine.groups_of("bob.climate") == GROUPS | {"op_second_default"}
    assert await answer(leaf, f"is_local_user_added {MAPPING}", MemoryRun(other)) is True


async def test_removed_and_added_again(leaf: LocalAccounts, machine: Machine) -> None:
    await answer(leaf, f"add_user {BOB}")
    uid = (machine.entry("passwd", "bob.climate") or [])[2]
    await answer(leaf, f"remove_user {BOB}")
    assert machine.groups_of("bob.climate") == {"openportal", "openportal.removed"}
    assert machine.is_shut("bob.climate")
    assert await answer(leaf, f"is_existing_user {BOB}") is False
    assert await answer(leaf, f"is_protected_user {BOB}") is False
    assert await answer(leaf, f"get_user_mapping {BOB}") == MAPPING
    assert await answer(leaf, f"is_local_user_removed {MAPPING}") is True
    assert await answer(leaf, f"is_local_user_added {MAPPING}") is False
    assert await effects_of(leaf, f"add_user {BOB}") == [("enable user", "bob.climate")]
    assert machine.groups_of("bob.climate") == GROUPS
    assert not machine.is_shut("bob.climate")
    assert (machine.entry("passwd", "bob.climate") or [])[2] == uid


async def test_blocked(leaf: LocalAccounts, machine: Machine) -> None:
    await answer(leaf, f"add_user {BOB}")
    await answer(leaf, f"block_user {BOB}")
    assert machine.is_shut("bob.climate")
    assert await effects_of(leaf, f"add_user {BOB}") == []
    assert await answer(leaf, f"is_existing_user {BOB}") is True
    assert await answer(leaf, f"is_local_user_added {MAPPING}") is False
    assert await answer(leaf, "get_users climate.brics") == [MAPPING]
    await answer(leaf, f"unblock_user {BOB}")
    assert not machine.is_shut("bob.climate")
    assert machine.groups_of("bob.climate") == GROUPS


async def test_somebody_elses_account_is_left_alone(leaf: LocalAccounts, machine: Machine) -> None:
    await asyncio.to_thread(machine.run, "useradd", "-M", "-c", "Bob", "bob.climate")
    await answer(leaf, "add_project climate.brics")
    before = {file: (machine.etc / file).read_text() for file in ("passwd", "group", "shadow")}
    assert await answer(leaf, f"is_protected_user {BOB}") is True
    for verb in ("add_user", "remove_user", "block_user", "unblock_user"):
        assert await answer(leaf, f"{verb} {BOB}", MemoryRun("shared@default")) == MAPPING
    with pytest.raises(RunError, match="not managed by OpenPortal"):
        await answer(leaf, f"update_homedir {BOB} /srv/bob")
    assert await answer(leaf, f"is_local_user_added {MAPPING}") is False
    assert await answer(leaf, f"is_local_user_removed {MAPPING}") is False
    after = {file: (machine.etc / file).read_text() for file in before}
    assert after["passwd"] == before["passwd"] and after["shadow"] == before["shadow"]
    assert machine.groups_of("bob.climate") == set()


async def test_the_same_login_name_of_two_portals(leaf: LocalAccounts, machine: Machine) -> None:
    await answer(leaf, f"add_user {BOB}")
    other = "bob.climate.other"
    assert await answer(leaf, f"is_existing_user {other}") is False
    with pytest.raises(RunError, match=r"belongs to bob\.climate\.brics"):
        await answer(leaf, f"add_user {other}")
    with pytest.raises(RunError, match=r"User does not exist: bob\.climate\.other"):
        await answer(leaf, f"get_user_mapping {other}")
    assert await effects_of(leaf, f"remove_user {other}") == []
    assert "other.climate" not in machine.groups_of("bob.climate")


async def test_a_project_with_a_protected_member_keeps_its_group(leaf: LocalAccounts, machine: Machine) -> None:
    await answer(leaf, f"add_user {BOB}")
    await asyncio.to_thread(machine.run, "useradd", "-M", "-G", "brics.climate", "eve.climate")
    await answer(leaf, "remove_project climate.brics")
    assert (machine.entry("group", "brics.climate") or [])[3] == "eve.climate"
    assert await answer(leaf, "get_users climate.brics") == ["eve.climate.brics:eve.climate:brics.climate"]
    assert await answer(leaf, "is_local_project_removed climate.brics:brics.climate") is True
    assert machine.is_shut("bob.climate")


async def test_groups_of_the_system_are_no_projects(leaf: LocalAccounts, machine: Machine) -> None:
    await asyncio.to_thread(machine.run, "groupadd", "-g", "950", "brics.low")
    for text in ("add_project low.brics", "add_user bob.low.brics"):
        with pytest.raises(RunError, match="belongs to the system"):
            await answer(leaf, text)
    assert await effects_of(leaf, "remove_project low.brics") == []
    assert machine.entry("group", "brics.low") is not None
    for text in ("add_project docker.system", "add_user a.docker.system", "remove_project root.instance"):
        with pytest.raises(InvalidJob, match="internal portal"):
            await answer(leaf, text)


async def test_the_private_group_of_a_user_is_no_project(leaf: LocalAccounts) -> None:
    await answer(leaf, "add_user alice.demo.brics")
    with pytest.raises(RunError, match="private group"):
        await answer(leaf, "add_project demo.alice")


@pytest.mark.parametrize("action", ["create group", "create user"])
async def test_killed_while_adding(leaf: LocalAccounts, machine: Machine, action: str) -> None:
    for run in (MemoryRun(killed_before=action), MemoryRun(killed_after=action)):
        with pytest.raises(Killed):
            await answer(leaf, f"add_user {BOB}", run)
    assert await answer(leaf, f"add_user {BOB}") == MAPPING
    assert machine.groups_of("bob.climate") == GROUPS
    assert await effects_of(leaf, f"add_user {BOB}") == []


async def test_killed_between_unlocking_and_unblocking(leaf: LocalAccounts, machine: Machine) -> None:
    await answer(leaf, f"add_user {BOB}")
    await answer(leaf, f"block_user {BOB}")
    with pytest.raises(Killed):
        await answer(leaf, f"unblock_user {BOB}", MemoryRun(killed_after="unlock user"))
    assert await answer(leaf, f"is_blocked_user {BOB}") is True
    await answer(leaf, f"unblock_user {BOB}")
    assert await answer(leaf, f"is_blocked_user {BOB}") is False


async def test_many_at_once(leaf: LocalAccounts, machine: Machine) -> None:
    users = [f"u{number}.climate.brics" for number in range(8)]
    await asyncio.gather(*(answer(leaf, f"add_user {user}") for user in users + users))
    assert len(list(await answer(leaf, "get_users climate.brics"))) == 8  # type: ignore[call-overload]
    names = [line.split(":")[0] for line in (machine.etc / "passwd").read_text().splitlines()]
    assert sorted(name for name in names if name.endswith(".climate")) == [f"u{number}.climate" for number in range(8)]


async def test_the_error_of_a_tool(leaf: LocalAccounts) -> None:
    long = "a" * 40
    with pytest.raises(RunError, match=r"useradd failed for a+\.p with exit code 3: useradd: invalid user name"):
        await answer(leaf, f"add_user {long}.p.brics")


async def test_a_tool_that_is_not_there(machine: Machine) -> None:
    leaf = LocalAccounts(machine.extras(groupadd="/nowhere/groupadd"))
    with pytest.raises(RunError, match=r"/nowhere/groupadd cannot be started .* see extras\.groupadd"):
        await answer(leaf, "add_project demo.brics")


async def test_a_tool_that_does_not_end(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "TOOL_SECONDS", 0.2)
    script = machine.etc / "slow"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    leaf = LocalAccounts(machine.extras(groupadd=str(script)))
    with pytest.raises(Unavailable, match="groupadd did not finish"):
        await answer(leaf, "add_project demo.brics")


async def test_files_that_are_locked_by_somebody_else(machine: Machine) -> None:
    script = machine.etc / "locked"
    script.write_text("#!/bin/sh\necho 'groupadd: cannot lock /etc/group; try again later.' >&2\nexit 10\n")
    script.chmod(0o755)
    leaf = LocalAccounts(machine.extras(groupadd=str(script)))
    with pytest.raises(Unavailable, match="try again later"):
        await answer(leaf, "add_project demo.brics")


async def test_look_ups_that_could_not_tell(machine: Machine) -> None:
    script = machine.etc / "down"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    leaf = LocalAccounts(machine.extras(getent=str(script)))
    with pytest.raises(Unavailable, match="getent passwd"):
        await answer(leaf, f"is_existing_user {BOB}")


async def test_a_cancelled_job_waits_for_its_tool(machine: Machine) -> None:
    script = machine.etc / "late"
    script.write_text(f'#!/bin/sh\nsleep 0.3\nexec {" ".join(machine.prefix)} groupadd "$@"\n')
    script.chmod(0o755)
    leaf = LocalAccounts(machine.extras(groupadd=str(script)))
    task = asyncio.create_task(answer(leaf, "add_project demo.brics"))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert machine.entry("group", "brics.demo") is not None


async def test_an_email_address_is_refused(leaf: LocalAccounts) -> None:
    with pytest.raises(InvalidJob, match="e-mail"):
        await answer(leaf, f"is_local_user_added {BOB}:bob@example.org:brics.climate")


async def test_a_mapping_that_is_not_ours_is_not_added(leaf: LocalAccounts) -> None:
    await answer(leaf, f"add_user {BOB}")
    assert await answer(leaf, f"is_local_user_added {BOB}:bob.climate:other") is False
    assert await answer(leaf, "is_local_project_added climate.brics:other") is False


def test_settings_that_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"extras\.useradd is empty"):
        LocalAccounts({"useradd": " "})
    with pytest.raises(ConfigError, match="not a group name"):
        LocalAccounts({"managed-group": "-x"})


def test_our_settings_are_not_shown_to_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENPORTAL_PASSWORD", "secret")
    assert "OPENPORTAL_PASSWORD" not in local._environment()
