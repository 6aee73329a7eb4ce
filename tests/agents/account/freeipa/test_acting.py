from __future__ import annotations

import pytest

from openportal.agents.account.freeipa.acting import carry_out, raise_first
from openportal.agents.account.freeipa.calls import IpaNotFound
from openportal.agents.account.freeipa.plan import join, make_group, switch
from openportal.errors import RunError
from tests.agents.account.freeipa.conftest import Realm
from tests.agents.runs import MemoryRun


async def test_the_calls_of_a_step_share_a_request_and_have_an_effect_each(realm: Realm) -> None:
    run = MemoryRun()
    steps = [(make_group("a"), make_group("b")), (make_group("c"),)]
    await carry_out(run, realm.servers.writer(), steps)
    assert realm.first.requests == [["group_add", "group_add"], ["group_add"]]
    assert run.effects == [("create group", "a"), ("create group", "b"), ("create group", "c")]


async def test_a_step_begins_when_the_one_before_succeeded(realm: Realm) -> None:
    steps = [(make_group("a"), join("ghost", "a")), (switch("ghost", True),)]
    with pytest.raises(IpaNotFound, match="no such entry"):
        await carry_out(MemoryRun(), realm.servers.writer(), steps)
    assert realm.first.requests == [["group_add", "group_add_member"]]


def test_the_first_error_is_raised() -> None:
    raise_first([1, None])
    with pytest.raises(IpaNotFound):
        raise_first([1, IpaNotFound("x"), RunError("y")])
