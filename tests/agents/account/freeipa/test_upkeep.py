from __future__ import annotations

import pytest

from openportal.agents.account.freeipa.adopt import parse_mappings
from openportal.agents.account.freeipa.upkeep import Upkeep, one_instance
from openportal.errors import RunError
from tests.agents.account.freeipa.conftest import Realm
from tests.agents.runs import Killed, MemoryRun, answer

PEERS = ["shared@default"]


@pytest.fixture
def upkeep(realm: Realm) -> Upkeep:
    return Upkeep(realm.directory, realm.servers)


async def test_drift_is_found_repaired_and_gone(realm: Realm, upkeep: Upkeep) -> None:
    await answer(realm, "add_user bob.climate.brics")
    await answer(realm, "add_user ann.climate.brics")
    assert await upkeep.find_drift(PEERS) == []
    realm.first.groups["brics.climate"]["member_user"].remove("bob.climate")
    with pytest.raises(Killed):
        await answer(realm, "add_user eve.climate.brics", MemoryRun(killed_before="finish user"))
    found = await upkeep.find_drift(PEERS)
    assert [one.account for one in found] == ["bob.climate", "eve.climate"]
    for one in found:
        await upkeep.carry_out(MemoryRun(), one.steps)
    assert await upkeep.find_drift(PEERS) == []
    assert realm.first.of("eve.climate") == {"openportal"}
    assert "brics.climate" in realm.first.of("bob.climate")


async def test_a_site_is_adopted(realm: Realm, upkeep: Upkeep) -> None:
    realm.first.users["bob.climate"] = {"uid": ["bob.climate"], "cn": ["Bob"], "nsaccountlock": False}
    realm.first.groups["brics.climate"] = {"description": ["The climate"], "member_user": []}
    lines = parse_mappings("bob.climate.brics:bob.climate:brics.climate\nclimate.brics:brics.climate\n")
    for adoption in await upkeep.find_adoptions(lines, PEERS[0]):
        assert adoption.steps
        await upkeep.carry_out(MemoryRun(), adoption.steps)
    realm.directory.known.forget("brics.climate")
    assert [one.steps for one in await upkeep.find_adoptions(lines, PEERS[0])] == [(), ()]
    assert await answer(realm, "get_users climate.brics") == ["bob.climate.brics:bob.climate:brics.climate"]
    assert await answer(realm, "is_protected_user bob.climate.brics") is False


def test_the_only_neighbour() -> None:
    assert one_instance(PEERS) == "shared@default"
    with pytest.raises(RunError, match="not one neighbour but none"):
        one_instance([])
    with pytest.raises(RunError, match="a@x, b@y"):
        one_instance(["a@x", "b@y"])
