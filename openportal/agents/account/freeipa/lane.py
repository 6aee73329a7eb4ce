"""Calls that go to a server together, without lingering.

While a request is under way the calls that come in gather, and the next request takes them all. So one user alone waits
for nobody, and two hundred at once become a few batches. In a batch, calls that put users into the same group become
one, a question that is asked twice is asked once, and the order is that of their kinds (groups, users, memberships,
enabling and disabling, leaving), which is the order of every plan. What is about one user is never under way in two
requests: it would be put into a group before it is there.

The directory takes some 40 ms to write a group, and `group_add_member` writes it once for each user. So where many
users are new, a second request puts them into each group by one write of it:

    request 1    the new users; the first of them into each group by group_add_member
    request 2    the others into each group by group_mod, and whatever else is to be done
    request 3    by group_add_member, which tells of each user by itself, what request 2 was refused

So each batch writes each group twice, and holds as many users as it may, however many calls each of them needs.

The write of a group does not ask whether its members are there: only users whose making was answered are in it, and
whoever of them is deleted meanwhile is missed by the call that finishes its making. It would lose what others write at
the same time if the group were empty: hence the first user before the others. And what it costs the server grows with
the square of the members, so a group that has many is not written so: the answer for the first user tells how many.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from openportal.agents.account.freeipa.calls import (
    ADD_MEMBER,
    LOOK,
    Answer,
    Call,
    in_one_write,
    merged,
    result_of,
    telling_members,
)
from openportal.agents.account.freeipa.entries import group_of
from openportal.errors import JobError, Unavailable

BATCH_MAX_SUBJECTS = 50
WAITING_MAX = 10_000
MANY_NEW_MIN = 4
ONE_WRITE_MEMBERS_MAX = 1000
MAKE_USER = "user_add"
RANKS = ("group_add", MAKE_USER, ADD_MEMBER, "user_enable", "user_disable", "group_remove_member", "user_mod")

Send = Callable[[Sequence[Call]], Awaitable[list[Answer]]]
Waiting = tuple[Call, "asyncio.Future[dict[str, Any]]"]
Bundle = tuple[Call, list[Waiting]]  # what is sent, and those that it stands for


class Lane:
    """Sends calls by `send`, at most `at_once` requests at a time."""

    def __init__(self, send: Send, at_once: int) -> None:
        self._send = send
        self._at_once = at_once
        self._waiting: deque[Waiting] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self._busy: set[str] = set()

    async def call(self, call: Call) -> dict[str, Any]:
        """The result of a call. Raises JobError."""
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable(f"{WAITING_MAX} calls wait for FreeIPA already; try again later.")
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, future))
        if len(self._working) < self._at_once:
            task = asyncio.create_task(self._work())
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return await future

    async def close(self) -> None:
        """End the requests that are under way; whoever waits for one, or for its turn, is cancelled."""
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        for _, future in self._waiting:
            future.cancel()

    async def _work(self) -> None:
        await asyncio.sleep(0)  # one turn for the other calls of whoever made the first
        while taken := self._take():
            subjects = {subject_of(call) for call, _ in taken}
            self._busy |= subjects
            try:
                await self._carry(taken)
            finally:
                self._busy -= subjects

    def _take(self) -> list[Waiting]:
        """The next calls that may go: all that is about the next users or groups, as many as a batch may have."""
        taken: list[Waiting] = []
        left: deque[Waiting] = deque()
        subjects: set[str] = set()
        for waiting in self._waiting:
            subject = subject_of(waiting[0])
            if waiting[1].done():
                continue
            if subject in self._busy or (len(subjects) >= BATCH_MAX_SUBJECTS and subject not in subjects):
                left.append(waiting)
            else:
                taken.append(waiting)
                subjects.add(subject)
        self._waiting = left
        return taken

    async def _carry(self, taken: list[Waiting]) -> None:
        try:
            await self._exchange(taken)
        except Exception as error:
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
        finally:
            for _, future in taken:
                future.cancel()  # of those that are not done, when we are closed

    async def _exchange(self, taken: list[Waiting]) -> None:
        """Every call of a batch, in one request, or in two or three where many users are made."""
        first = makers(taken)
        if not first:
            await self._send_all(gather(taken))
            return
        await self._send_all(gather(first))
        names, groups = made(first)
        gone = {id(future) for _, future in first}
        rest = [waiting for waiting in taken if id(waiting[1]) not in gone]
        refused = await self._send_all(gather(rest, names, groups))
        await self._send_all(gather(refused))

    async def _send_all(self, bundles: list[Bundle]) -> list[Waiting]:
        """Send them in one request and tell those that wait; the others' write of the group was refused."""
        if not bundles:
            return []
        refused = []
        answers = await self._send([call for call, _ in bundles])
        for (sent, group), answer in zip(bundles, answers, strict=True):
            if sent.is_one_write and answer.code != 0 and answer.code not in sent.accept:
                refused += group
                continue
            for call, future in group:
                settle(replace(call, accept=sent.accept), answer, future)
        return refused


def makers(taken: Sequence[Waiting]) -> list[Waiting]:
    """What goes first where many users are new: what makes them, and one of them into each group; else nothing."""
    first = [waiting for waiting in taken if rank(waiting[0]) <= RANKS.index(MAKE_USER)]
    new = {call.name for call, _ in first if call.method == MAKE_USER}
    if len(new) < MANY_NEW_MIN:
        return []
    seeds: dict[str, Waiting] = {}
    for call, future in taken:
        if call.method == ADD_MEMBER and subject_of(call) in new:
            seeds.setdefault(call.name, (telling_members(call), future))
    return [*first, *seeds.values()]


def made(first: Sequence[Waiting]) -> tuple[dict[str, str], set[str]]:
    """The users that were made, with their names in the directory, and the groups to put them into by one write."""
    names, groups = {}, set()
    for call, future in first:
        if future.cancelled() or future.exception() is not None:
            continue
        if call.method == MAKE_USER:
            names[call.name] = str(future.result()["result"]["dn"])
        elif call.method == ADD_MEMBER and suits_one_write(future.result()["result"]):
            groups.add(call.name)
    return names, groups


def suits_one_write(group: Mapping[str, Any]) -> bool:
    """Whether others can be put into a group by one write: it holds somebody, and not too many."""
    return 0 < len(group_of(group).members) <= ONE_WRITE_MEMBERS_MAX


def gather(
    waiting: Sequence[Waiting], names: Mapping[str, str] = MappingProxyType({}), groups: Collection[str] = ()
) -> list[Bundle]:
    """Those that are one call for the server, together, in the order to send them.

    Users of `names` are put into the groups of `groups` by one write each.
    """
    together: dict[tuple[str, bool], list[Waiting]] = {}
    for one in sorted(waiting, key=lambda one: rank(one[0])):
        call = one[0]
        at_once = call.method == ADD_MEMBER and call.name in groups and subject_of(call) in names
        together.setdefault((sameness(call), at_once), []).append(one)
    bundles = []
    for (_, at_once), bundle in together.items():
        call = merged([call for call, _ in bundle])
        bundles.append((in_one_write(call, names) if at_once else call, bundle))
    return bundles


def subject_of(call: Call) -> str:
    """The user that a call is about, or the group."""
    return call.members[0] if call.members else call.name


def rank(call: Call) -> int:
    return RANKS.index(call.method) if call.method in RANKS else len(RANKS)


def sameness(call: Call) -> str:
    """Equal for calls that one call can stand for."""
    if call.members or call.action == LOOK:
        return f"{call.method} {call.name} {json.dumps(call.options, sort_keys=True)}"
    return f"{id(call)}"


def settle(call: Call, answer: Answer, future: asyncio.Future[dict[str, Any]]) -> None:
    """Give whoever waits for a call its result or its error."""
    if future.done():
        return
    try:
        future.set_result(result_of(call, answer))
    except JobError as error:
        future.set_exception(error)
