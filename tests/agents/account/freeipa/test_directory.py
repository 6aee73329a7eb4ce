from __future__ import annotations

import pytest

from openportal.agents.account.freeipa.calls import Answer, IpaBusy, IpaDown, IpaExists, IpaNotFound
from openportal.agents.account.freeipa.directory import Directory
from openportal.agents.account.freeipa.entries import show_group
from openportal.errors import RunError
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier
from tests.agents.account.freeipa.conftest import Realm, make_realm
from tests.agents.runs import answer

BOB = UserIdentifier.parse("bob.climate.brics")
CLIMATE = ProjectIdentifier.parse("climate.brics")
PEER = "shared@default"


async def test_a_survey_is_one_request(realm: Realm) -> None:
    assert isinstance(realm.directory, Directory)
    found = await realm.directory.survey(realm.servers.writer(), BOB, PEER)
    assert found.missing == ("brics.climate", "openportal", "op_shared_default")
    assert realm.first.requests == [["user_show", *["group_show"] * 4]]


async def test_groups_that_are_known_are_not_asked_for(realm: Realm) -> None:
    await answer(realm, f"add_user {BOB}")
    realm.first.requests.clear()
    await realm.directory.survey(realm.servers.writer(), BOB, PEER)
    assert realm.first.requests == [["user_show"]]


async def test_a_project_that_somebody_deleted_is_not_said_to_exist(realm: Realm) -> None:
    assert await answer(realm, "add_project climate.brics") == "climate.brics:brics.climate"
    del realm.first.groups["brics.climate"]
    assert await realm.directory.project(CLIMATE) is None
    assert await answer(realm, "is_existing_project climate.brics") is False
    assert await answer(realm, "add_project climate.brics") == "climate.brics:brics.climate"
    assert "brics.climate" in realm.first.groups


async def test_what_only_another_master_has_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    realm = make_realm(("one", "two"))
    realm.masters["two"].users["bob.climate"] = {"uid": ["bob.climate"]}
    with pytest.raises(IpaBusy, match="not on one yet"):
        await realm.directory.look_user(realm.servers.writer(), BOB)


async def test_patience_ends(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0

    async def attempt(server: object) -> None:
        nonlocal tried
        tried += 1
        realm.now[0] += 10.0
        raise IpaDown("away")

    monkeypatch.setattr("openportal.agents.account.freeipa.directory.FIRST_PAUSE_SECONDS", 0.0)
    with pytest.raises(IpaDown):
        await realm.directory.until_done(attempt)
    assert tried == 4  # from the first failure on


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("error", [IpaNotFound("x", "brics.climate"), IpaExists("x", "brics.climate")])
async def test_what_changed_under_our_hands_is_forgotten_and_looked_at_again(
    realm: Realm, error: IpaNotFound | IpaExists
) -> None:
    await answer(realm, "add_project climate.brics")
    tried = 0

    async def attempt(server: object) -> None:
        nonlocal tried
        tried += 1
        raise error

    with pytest.raises(type(error)):
        await realm.directory.until_done(attempt)
    assert tried == 3
    assert realm.directory.known.get("brics.climate") is None


async def test_an_answer_that_was_cut_short(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realm.first, "_user_find", lambda call: Answer({"result": [], "count": 0, "truncated": True}))
    with pytest.raises(RunError, match="search limits"):
        await realm.directory.accounts(["openportal"])


async def test_members_are_those_of_the_instance_and_those_that_are_not_ours(realm: Realm) -> None:
    await answer(realm, f"add_user {BOB}")
    await answer(realm, "add_user ann.climate.brics")
    await answer(realm, "remove_user ann.climate.brics")
    first = realm.first
    for name, cn in (("eve.climate", "Eve"), ("x.other", "x.other.brics"), ("strange", "bob.climate.brics")):
        first.users[name] = {"uid": [name], "cn": [cn], "nsaccountlock": False}
        first.groups["brics.climate"]["member_user"].append(name)
    found = await realm.directory.members(CLIMATE, PEER)
    assert [account.name for _, account, _ in found] == ["bob.climate", "eve.climate"]
    assert [account.name for _, account, _ in await realm.directory.members(CLIMATE, "gpu@default")] == ["eve.climate"]


async def test_projects_are_those_with_a_user_of_the_instance(realm: Realm) -> None:
    await answer(realm, f"add_user {BOB}")
    await answer(realm, "add_project empty.brics")
    await answer(realm, "add_user x.y.other")
    found = await realm.directory.projects(PortalIdentifier("brics"), PEER)
    assert [(str(project), group.name) for project, group in found.items()] == [("climate.brics", "brics.climate")]
    assert await realm.directory.projects(PortalIdentifier("brics"), "gpu@default") == {}


async def test_what_is_remembered(realm: Realm) -> None:
    assert realm.directory.remember({}) is None
    await answer(realm, "add_project climate.brics")
    result = await realm.servers.writer().look(show_group("brics.climate"))
    assert realm.directory.remember(result) == realm.directory.known.get("brics.climate")
