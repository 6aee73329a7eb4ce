from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from openportal.agents.account.freeipa import lane as lanes
from openportal.agents.account.freeipa.calls import Answer, Call, IpaNotFound
from openportal.agents.account.freeipa.entries import show_user
from openportal.agents.account.freeipa.lane import BATCH_MAX, Lane, subject_of
from openportal.agents.account.freeipa.plan import join, leave, switch
from openportal.errors import RunError, Unavailable


class Server:
    """Answers each call with its name, and holds requests back until it is let go."""

    def __init__(self) -> None:
        self.requests: list[list[Call]] = []
        self.at_once = self.most = 0
        self.go, self.reached = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def send(self, calls: Sequence[Call]) -> list[Answer]:
        self.requests.append(list(calls))
        self.reached.set()
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.go.wait()
        self.at_once -= 1
        return [Answer({"result": call.name}) for call in calls]


async def test_one_call_goes_at_once_and_what_comes_meanwhile_goes_together() -> None:
    server = Server()
    lane = Lane(server.send, 1)
    server.go.clear()
    first = asyncio.ensure_future(lane.call(show_user("a")))
    await server.reached.wait()
    rest = [asyncio.ensure_future(lane.call(show_user(name))) for name in "bcd"]
    await asyncio.sleep(0)
    server.go.set()
    assert [(await each)["result"] for each in (first, *rest)] == ["a", "b", "c", "d"]
    assert [[call.name for call in calls] for calls in server.requests] == [["a"], ["b", "c", "d"]]


async def test_calls_for_a_group_become_one_and_a_question_is_asked_once() -> None:
    server = Server()
    lane = Lane(server.send, 1)
    calls = [leave("a", "g"), switch("b", True), join("a", "g"), show_user("a"), join("b", "g"), show_user("a")]
    await asyncio.gather(*map(lane.call, calls))
    [sent] = server.requests
    assert [(call.method, call.name, call.members) for call in sent] == [
        ("group_add_member", "g", ("a", "b")),
        ("user_disable", "b", ()),
        ("group_remove_member", "g", ("a",)),
        ("user_show", "a", ()),
    ]


async def test_changes_that_are_equal_are_not_joined() -> None:
    server = Server()
    lane = Lane(server.send, 1)
    await asyncio.gather(lane.call(switch("a", True)), lane.call(switch("a", True)))
    assert len(server.requests[0]) == 2


async def test_no_more_at_once_than_allowed_and_no_batch_too_long() -> None:
    server = Server()
    lane = Lane(server.send, 2)
    await asyncio.gather(*(lane.call(show_user(str(number))) for number in range(3 * BATCH_MAX)))
    assert server.most <= 2
    assert [len(calls) for calls in server.requests] == [BATCH_MAX] * 3


async def test_what_is_done_to_a_user_is_never_under_way_in_two_requests() -> None:
    """Or it would be put into a group before it is there."""
    server, under_way = Server(), Counter[str]()

    async def send(calls: Sequence[Call]) -> list[Answer]:
        users = {subject_of(each) for call in calls for each in ([call] if not call.members else split(call))}
        under_way.update(users)
        assert max(under_way.values()) == 1
        await asyncio.sleep(0.001)
        under_way.subtract(users)
        return await server.send(calls)

    lane = Lane(send, 3)
    steps = ([switch(f"u{number}", True), join(f"u{number}", "g"), join(f"u{number}", "h")] for number in range(60))
    await asyncio.gather(*(lane.call(call) for step in steps for call in step))
    assert len(server.requests) > 1


def split(call: Call) -> list[Call]:
    return [join(member, call.name) for member in call.members]


async def test_everybody_is_told_of_a_request_that_failed_and_the_next_goes_on() -> None:
    server, failures = Server(), [RunError("away")]

    async def send(calls: Sequence[Call]) -> list[Answer]:
        if failures:
            raise failures.pop()
        return await server.send(calls)

    lane = Lane(send, 1)
    found = await asyncio.gather(lane.call(show_user("a")), lane.call(show_user("b")), return_exceptions=True)
    assert [str(each) for each in found] == ["away", "away"]
    assert (await lane.call(show_user("c")))["result"] == "c"


async def test_the_member_that_failed_is_told_and_not_the_others() -> None:
    async def send(calls: Sequence[Call]) -> list[Answer]:
        return [Answer({"failed": {"member": {"user": [["ghost", "no such entry"]]}}, "completed": 1})]

    lane = Lane(send, 1)
    fine, failed = await asyncio.gather(
        lane.call(join("a", "g")), lane.call(join("ghost", "g")), return_exceptions=True
    )
    assert isinstance(fine, dict)
    assert isinstance(failed, IpaNotFound)


async def test_whoever_no_longer_waits_is_not_served() -> None:
    server = Server()
    lane = Lane(server.send, 1)
    gone = asyncio.ensure_future(lane.call(show_user("a")))
    await asyncio.sleep(0)
    gone.cancel()
    await lane.call(show_user("b"))
    assert [call.name for call in server.requests[0]] == ["b"]


async def test_the_queue_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WAITING_MAX", 1)
    lane = Lane(Server().send, 1)
    first = asyncio.ensure_future(lane.call(show_user("a")))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="try again later"):
        await lane.call(show_user("b"))
    await first
