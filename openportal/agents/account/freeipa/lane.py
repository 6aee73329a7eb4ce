"""Calls that go to a server together, without lingering.

While a request is under way the calls that come in gather, and the next request takes them all. So one user alone waits
for nobody, and two hundred at once become a few batches. In a batch, calls that put users into the same group become
one, a question that is asked twice is asked once, and the order is that of their kinds (groups, users, memberships,
enabling and disabling, leaving), which is the order of every plan. What is about one user is never under way in two
requests: it would be put into a group before it is there.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from openportal.agents.account.freeipa.calls import LOOK, Answer, Call, merged, result_of
from openportal.errors import JobError, Unavailable

BATCH_MAX = 50
WAITING_MAX = 10_000
RANKS = ("group_add", "user_add", "group_add_member", "user_enable", "user_disable", "group_remove_member", "user_mod")

Send = Callable[[Sequence[Call]], Awaitable[list[Answer]]]
Waiting = tuple[Call, "asyncio.Future[dict[str, Any]]"]


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

    async def _work(self) -> None:
        await asyncio.sleep(0)  # one turn for the other calls of whoever made the first
        while taken := self._take():
            subjects = {subject_of(call) for call, _ in taken}
            self._busy |= subjects
            try:
                await self._carry(gather(taken))
            finally:
                self._busy -= subjects

    def _take(self) -> list[Waiting]:
        """The next calls that may go: a full batch, and what else is about the same users."""
        taken: list[Waiting] = []
        left: deque[Waiting] = deque()
        subjects: set[str] = set()
        for waiting in self._waiting:
            subject = subject_of(waiting[0])
            if waiting[1].done():
                continue
            if subject in self._busy or (len(taken) >= BATCH_MAX and subject not in subjects):
                left.append(waiting)
            else:
                taken.append(waiting)
                subjects.add(subject)
        self._waiting = left
        return taken

    async def _carry(self, together: list[list[Waiting]]) -> None:
        try:
            answers = await self._send([merged([call for call, _ in group]) for group in together])
        except Exception as error:
            for _, future in (waiting for group in together for waiting in group):
                if not future.done():
                    future.set_exception(error)
            return
        for group, answer in zip(together, answers, strict=True):
            for call, future in group:
                settle(call, answer, future)


def gather(waiting: Sequence[Waiting]) -> list[list[Waiting]]:
    """Those that are one call for the server, together, in the order to send them."""
    groups: dict[str, list[Waiting]] = {}
    for one in sorted(waiting, key=lambda one: rank(one[0])):
        groups.setdefault(sameness(one[0]), []).append(one)
    return list(groups.values())


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
