from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from openportal.agents.account.freeipa import lane as lanes
from openportal.agents.account.freeipa.calls import Answer, Call, IpaDown, IpaNotFound
from openportal.agents.account.freeipa.entries import show_user
from openportal.agents.account.freeipa.lane import BATCH_MAX_SUBJECTS, MANY_NEW_MIN, Lane, subject_of
from openportal.agents.account.freeipa.plan import create, join, leave, switch
from openportal.agents.naming import local_user
from openportal.errors import RunError, Unavailable
from openportal.grammar.identifiers import UserIdentifier
from tests.agents.account.freeipa.double import Double


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
    await asyncio.gather(*(lane.call(show_user(str(number))) for number in range(3 * BATCH_MAX_SUBJECTS)))
    assert server.most <= 2
    assert [len(calls) for calls in server.requests] == [BATCH_MAX_SUBJECTS] * 3


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


def newcomers(count: int = 6, *groups: str) -> list[Call]:
    """What makes users and puts them into groups, as their plans order it."""
    people = [UserIdentifier.parse(f"u{number}.demo.brics") for number in range(count)]
    return [call for one in people for call in (create(one), *(join(local_user(one), group) for group in groups))]


async def test_many_new_users_are_put_into_a_group_by_one_write_after_the_first_of_them() -> None:
    site = Double()
    site.groups = {name: {"description": [""], "member_user": ["old"]} for name in "gh"}
    sent: list[list[Call]] = []

    async def send(calls: Sequence[Call]) -> list[Answer]:
        sent.append(list(calls))
        return await site.send(calls)

    lane = Lane(send, 1)
    await asyncio.gather(*map(lane.call, newcomers(6, "g", "h")))
    first, second = sent
    assert [call.method for call in first] == ["user_add"] * 6 + ["group_add_member"] * 2
    assert [call.members for call in first[6:]] == [("u0.demo",)] * 2
    assert [(call.method, call.name, len(call.members)) for call in second] == [
        ("group_mod", "g", 5),
        ("group_mod", "h", 5),
    ]
    assert all(site.of(f"u{number}.demo") == {"g", "h"} for number in range(6))


async def test_a_batch_is_so_many_users_however_many_groups_they_go_into() -> None:
    """A group is written twice for each batch of users, so the batches must not become small."""
    site = Double()
    site.groups = {name: {"description": [""], "member_user": ["old"]} for name in "ghi"}
    await asyncio.gather(*map(Lane(site.send, 1).call, newcomers(2 * BATCH_MAX_SUBJECTS, "g", "h", "i")))
    made = [methods.count("user_add") for methods in site.requests]
    assert [count for count in made if count] == [BATCH_MAX_SUBJECTS] * 2
    writes = sum(methods.count("group_add_member") + methods.count("group_mod") for methods in site.requests)
    assert writes == 2 * 2 * len(site.groups)


async def test_a_few_new_users_go_in_one_request() -> None:
    site = Double(groups={"g": {"description": [""], "member_user": []}})
    lane = Lane(site.send, 1)
    await asyncio.gather(*map(lane.call, newcomers(MANY_NEW_MIN - 1, "g")))
    assert [sorted(set(methods)) for methods in site.requests] == [["group_add_member", "user_add"]]


async def test_a_user_that_was_not_made_is_not_written_into_a_group() -> None:
    site = Double(groups={"g": {"description": [""], "member_user": []}})
    calls = newcomers(6, "g")
    calls[2] = replace(calls[2], name="u9.demo", method="user_show")  # the second user is never made
    found = await asyncio.gather(*map(Lane(site.send, 1).call, calls), return_exceptions=True)
    assert isinstance(found[3], IpaNotFound)
    assert "u1.demo" not in site.groups["g"]["member_user"]
    assert len(site.groups["g"]["member_user"]) == 5


@pytest.mark.parametrize("when", ["the first user was refused", "there is no such group"])
async def test_a_group_that_the_first_user_is_not_in_is_not_written_at_once(when: str) -> None:
    """It may be empty, and to write it then would lose what others write."""
    site = Double(groups={"g": {"description": [""], "member_user": []}})
    if "group" in when:
        site.groups.clear()
    else:
        site.users["u0.demo"] = {"uid": ["u0.demo"]}
        site.groups["g"]["member_user"].append("u0.demo")

    async def send(calls: Sequence[Call]) -> list[Answer]:
        answers = await site.send(calls)
        seeds = [call.members == ("u0.demo",) for call in calls]
        return [Answer(None, 4203, "busy") if seed else answer for seed, answer in zip(seeds, answers, strict=True)]

    found = await asyncio.gather(*map(Lane(send, 1).call, newcomers(6, "g")), return_exceptions=True)
    assert [method for methods in site.requests for method in methods if method == "group_mod"] == []
    assert sum(isinstance(each, IpaNotFound) for each in found) == (5 if "group" in when else 0)


async def test_a_group_of_many_is_not_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server compares each member with every other."""
    monkeypatch.setattr(lanes, "ONE_WRITE_MEMBERS_MAX", 3)
    site = Double(groups={name: {"description": [""], "member_user": ["old"]} for name in ("small", "large")})
    site.groups["large"]["member_user"] += ["older", "oldest"]
    await asyncio.gather(*map(Lane(site.send, 1).call, newcomers(6, "small", "large")))
    assert sorted(site.requests[1]) == ["group_add_member", "group_mod"]
    assert all(site.of(f"u{number}.demo") == {"small", "large"} for number in range(6))


@pytest.mark.parametrize(("code", "requests"), [(4002, 3), (2100, 3), (4202, 2)])
async def test_each_is_asked_for_by_itself_when_the_write_of_the_group_is_refused(code: int, requests: int) -> None:
    """Somebody else may have put one of them there between the server's look and its write."""
    site = Double(groups={"g": {"description": [""], "member_user": ["old"]}})

    async def send(calls: Sequence[Call]) -> list[Answer]:
        answers = await site.send([call for call in calls if call.method != "group_mod"])
        return answers or [Answer(None, code, "")]

    await asyncio.gather(*map(Lane(send, 1).call, newcomers(6, "g")))
    assert len(site.requests) == requests
    everybody = {"old", *(f"u{number}.demo" for number in range(6))}
    assert set(site.groups["g"]["member_user"]) == (everybody if requests == 3 else {"old", "u0.demo"})


async def test_a_change_of_a_group_that_puts_nobody_into_it_is_told_when_it_is_refused() -> None:
    with pytest.raises(IpaNotFound):
        await Lane(Double().send, 1).call(Call("group_mod", "g", {"description": "x"}, "describe group"))


async def test_everybody_is_told_when_the_second_request_fails() -> None:
    site = Double(groups={"g": {"description": [""], "member_user": []}})
    site.failing = lambda methods: IpaDown("away") if "group_mod" in methods else None
    found = await asyncio.gather(*map(Lane(site.send, 1).call, newcomers(6, "g")), return_exceptions=True)
    assert [str(each) for each in found if isinstance(each, IpaDown)] == ["away"] * 5
    assert site.groups["g"]["member_user"] == ["u0.demo"]


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


async def test_a_lane_that_is_closed_ends_what_is_under_way_and_what_waits() -> None:
    server = Server()
    lane = Lane(server.send, 1)
    server.go.clear()
    asked = [asyncio.ensure_future(lane.call(show_user("a")))]
    await server.reached.wait()
    asked.append(asyncio.ensure_future(lane.call(show_user("b"))))
    await asyncio.sleep(0)
    await lane.close()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError] * 2
    assert [[call.name for call in calls] for calls in server.requests] == [["a"]]
