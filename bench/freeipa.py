"""What FreeIPA costs: the calls of one add_user, and many users one by one, at once, and in bulk, on a real server.

    python -m bench.freeipa [USERS]

Boots the test bed's server (`tests/systems/freeipa`; built first if it is not there). `one by one` is an agent that
waits for each call, each a request of its own; `at once` is this agent given all instructions together.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Sequence

from openportal.agents.account.freeipa import plan
from openportal.agents.account.freeipa.calls import Call
from openportal.agents.account.freeipa.entries import show_user
from openportal.agents.account.freeipa.rpc import Session
from openportal.agents.account.policy import Standing
from openportal.grammar.identifiers import UserIdentifier
from tests.agents.runs import MemoryRun, answer
from tests.systems.freeipa.bed import Bed, running
from tests.systems.freeipa.site import Leaf, found_names, leaf, make_service_account

USERS = 1000
SINGLE_USERS = 100
GROUPS = ("brics.{}", "openportal", "op_shared_default")


def users(project: str, count: int) -> list[UserIdentifier]:
    return [UserIdentifier.parse(f"u{number}.{project}.brics") for number in range(count)]


async def timed(work: Awaitable[object]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


async def one_by_one(session: Session, project: str, people: Sequence[UserIdentifier]) -> None:
    """The same calls, each awaited, each in a request of its own."""
    for user in people:
        account = await session.send([show_user(f"{user.username}.{user.project}")])
        assert account[0].code != 0
        wanted = plan.to_add(user, None, Standing.ABSENT, [group.format(project) for group in GROUPS])
        assert wanted is not None
        for call in (call for step in plan.plan(user, None, wanted) for call in step):
            await session.call(call)


async def at_once(accounts: Leaf, people: Sequence[UserIdentifier]) -> None:
    await asyncio.gather(*(answer(accounts, f"add_user {user}") for user in people))


async def measure(bed: Bed, count: int) -> None:
    accounts = leaf(bed)
    session = accounts.servers.writer().session
    for project in ("warm", "single", "many"):
        await answer(accounts, f"add_project {project}.brics")
    await answer(accounts, "add_user first.warm.brics")

    before, run = session.requests, MemoryRun()
    took = await timed(answer(accounts, "add_user second.warm.brics", run))
    requests, changes = session.requests - before, len(run.effects)
    print(f"one add_user: 1 look and {changes} changes in {requests} requests, {took * 1000:.0f} ms")
    took = await timed(answer(accounts, "add_user second.warm.brics"))
    print(f"a repeat: 1 look, {took * 1000:.0f} ms")

    singles = users("single", min(count, SINGLE_USERS))
    took = await timed(one_by_one(session, "single", singles))
    slow = len(singles) / took
    print(f"one by one: {len(singles)} users in {took:.1f} s, {slow:.1f} users/s")

    people, before = users("many", count), session.requests
    took = await timed(at_once(accounts, people))
    print(f"at once: {count} users in {took:.1f} s, {count / took:.1f} users/s, {session.requests - before} requests")
    print(f"         {count / took / slow:.1f} times one by one")
    looks: list[Call] = [show_user(f"{user.username}.{user.project}") for user in people[:50]]
    alone = await timed(each(session, looks))
    together = await timed(session.send(looks))
    print(f"50 looks: {alone:.2f} s one by one, {together:.2f} s in a batch, {alone / together:.1f} times")
    await accounts.servers.close()


async def each(session: Session, calls: Sequence[Call]) -> None:
    for call in calls:
        await session.send([call])


if __name__ == "__main__":
    with running(("srv",)) as bed, found_names():
        make_service_account(bed)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        asyncio.run(measure(bed, int(sys.argv[1]) if len(sys.argv) > 1 else USERS))
