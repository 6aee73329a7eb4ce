"""The handlers on a FreeIPA in memory; `tests/systems/freeipa` asks a real one the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from openportal.agents.account.freeipa.agent import FreeIpaAccounts
from openportal.agents.account.freeipa.calls import IpaBusy, IpaDown, IpaLogin
from openportal.agents.account.policy import Policy
from openportal.agents.sandbox.account import SandboxAccounts
from openportal.agents.sandbox.store import SandboxStore
from openportal.errors import RunError
from tests.agents.account.freeipa.conftest import Realm, make_realm
from tests.agents.account.freeipa.conversation import CONVERSATION
from tests.agents.runs import Killed, MemoryRun, answer, effects_of

BOB = "bob.climate.brics"
MAPPING = "bob.climate.brics:bob.climate:brics.climate"
USUAL = {"brics.climate", "openportal", "op_shared_default"}


async def test_the_conversation_that_a_real_server_had(realm: Realm) -> None:
    for text, expected in CONVERSATION:
        assert await answer(realm, text) == expected, text


async def test_a_new_user_takes_three_requests_and_a_repeat_one(realm: Realm) -> None:
    await answer(realm, "add_user ann.climate.brics")
    realm.first.requests.clear()
    await answer(realm, f"add_user {BOB}")
    joins = ["group_add_member"] * 3
    assert realm.first.requests == [["user_show"], ["user_add", *joins], ["user_mod"]]
    realm.first.requests.clear()
    assert await effects_of(realm, f"add_user {BOB}") == []
    assert realm.first.requests == [["user_show"]]


async def test_users_at_once_share_requests(realm: Realm) -> None:
    await answer(realm, "add_project climate.brics")
    realm.first.requests.clear()
    await asyncio.gather(*(answer(realm, f"add_user u{number}.climate.brics") for number in range(100)))
    assert len(realm.first.requests) < 60
    assert all(realm.first.of(f"u{number}.climate") == USUAL for number in range(100))
    assert all(user["userclass"] == ["openportal"] for user in realm.first.users.values())


@pytest.mark.parametrize("action", ["create group", "create user", "add user to group", "finish user"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_agent_that_dies_and_comes_back(realm: Realm, action: str, when: str) -> None:
    with pytest.raises(Killed):
        await answer(realm, f"add_user {BOB}", MemoryRun(**{f"killed_{when}": action}))
    again = make_realm()
    again.first.users, again.first.groups = realm.first.users, realm.first.groups
    assert await answer(again, f"add_user {BOB}") == MAPPING
    assert again.first.of("bob.climate") == USUAL
    assert again.first.users["bob.climate"]["userclass"] == ["openportal"]


async def test_an_unfinished_account_is_said_not_to_exist(realm: Realm) -> None:
    with pytest.raises(Killed):
        await answer(realm, f"add_user {BOB}", MemoryRun(killed_before="finish user"))
    assert await answer(realm, f"is_existing_user {BOB}") is False
    assert await answer(realm, f"is_protected_user {BOB}") is False
    with pytest.raises(RunError, match="cut short"):
        await answer(realm, f"block_user {BOB}")
    await answer(realm, f"remove_user {BOB}")
    assert realm.first.users["bob.climate"]["nsaccountlock"] is True


async def test_a_member_that_could_not_be_added_leaves_the_user_unfinished(realm: Realm) -> None:
    await answer(realm, "add_project climate.brics")
    await answer(realm, "add_user ann.climate.brics")
    del realm.first.groups["op_shared_default"]  # behind our back; the agent remembers it
    assert await answer(realm, f"add_user {BOB}") == MAPPING
    assert realm.first.of("bob.climate") == USUAL


@pytest.mark.usefixtures("no_pauses")
async def test_a_server_that_comes_back_is_waited_for(realm: Realm) -> None:
    down = [IpaDown("away"), IpaBusy("busy"), IpaDown("away")]
    realm.first.failing = lambda methods: down.pop() if down else None
    assert await answer(realm, f"add_user {BOB}") == MAPPING
    assert down == []


async def test_a_refused_login_is_not_tried_again(realm: Realm) -> None:
    realm.first.failing = lambda methods: IpaLogin("wrong")
    with pytest.raises(IpaLogin):
        await answer(realm, f"add_user {BOB}")
    assert len(realm.first.requests) == 1


async def test_users_of_one_name_one_after_the_other(realm: Realm) -> None:
    both = await asyncio.gather(answer(realm, f"add_user {BOB}"), answer(realm, f"add_user {BOB}"))
    assert both == [MAPPING, MAPPING]
    assert sum(methods.count("user_add") for methods in realm.first.requests) == 1


async def test_system_and_instance_groups() -> None:
    realm = make_realm(policy=Policy(system=("hpc",), by_instance={"shared": ("mpi",)}))
    await answer(realm, f"add_user {BOB}")
    assert realm.first.of("bob.climate") == USUAL | {"hpc", "mpi"}
    await answer(realm, f"remove_user {BOB}")
    assert realm.first.of("bob.climate") == {"openportal"}


async def test_removing_a_project_tells_the_first_error(realm: Realm) -> None:
    await answer(realm, f"add_user {BOB}")
    realm.first.failing = lambda methods: RunError("no") if "user_disable" in methods else None
    with pytest.raises(RunError, match="no"):
        await answer(realm, "remove_project climate.brics")


def test_every_instruction_of_an_account_agent(realm: Realm, tmp_path: Path) -> None:
    sandbox = SandboxAccounts(SandboxStore(tmp_path)).handlers()
    assert FreeIpaAccounts(realm.directory).handlers().keys() == sandbox.keys()
