"""What FreeIPA costs: the calls of one add_user, and many users one by one and at once, on a real server.

    python -m bench.freeipa [USERS [no-compat]]

Boots the test bed's server (`tests/systems/freeipa`; built first if it is not there), with its compatibility tree
unless told otherwise. `one by one` is an agent that waits for each call, each a request of its own in one session, for
as many users, whose groups grow alike; `at once` is this agent given all instructions together. The CPU time is what
the processes of the server used: unlike the rates it hardly depends on what else the machine does.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

from openportal.agents.account.freeipa import plan
from openportal.agents.account.freeipa.calls import Call
from openportal.agents.account.freeipa.entries import show_user
from openportal.agents.account.freeipa.rpc import Session
from openportal.agents.account.policy import Standing
from openportal.grammar.identifiers import UserIdentifier
from tests.agents.runs import MemoryRun, answer
from tests.systems.freeipa.bed import Bed, running
from tests.systems.freeipa.machine import children
from tests.systems.freeipa.site import Leaf, found_names, leaf, make_service_account

USERS = 1000
TICKS = os.sysconf("SC_CLK_TCK")
GROUPS = ("brics.{}", "openportal", "op_shared_default")


def users(project: str, count: int) -> list[UserIdentifier]:
    return [UserIdentifier.parse(f"u{number}.{project}.brics") for number in range(count)]


async def timed(work: Awaitable[object]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


def cpu_seconds(pid: int) -> float:
    """What a process and all below it have used so far; what ended and was not waited for is missing."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        below = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in children(pid, task.name)]
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(map(cpu_seconds, below))


async def rate(bed: Bed, label: str, count: int, work: Awaitable[object]) -> tuple[float, float]:
    """Users a second, and the server's CPU seconds for each; both are printed."""
    root = bed.hosts["srv"].init()
    assert root is not None
    before = cpu_seconds(root)
    took = await timed(work)
    used = (cpu_seconds(root) - before) / count
    print(f"{label}: {count} users in {took:.1f} s, {count / took:.1f} users/s, {used * 1000:.0f} ms CPU a user")
    return count / took, used


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

    slow, dear = await rate(bed, "one by one", count, one_by_one(session, "single", users("single", count)))
    people, before = users("many", count), session.requests
    fast, cheap = await rate(bed, "at once", count, at_once(accounts, people))
    requests = session.requests - before
    print(f"         {requests} requests; {fast / slow:.1f} times the rate, {dear / cheap:.1f} times less CPU")
    looks: list[Call] = [show_user(f"{user.username}.{user.project}") for user in people[:50]]
    alone = await timed(each(session, looks))
    together = await timed(session.send(looks))
    print(f"50 looks: {alone:.2f} s one by one, {together:.2f} s in a batch, {alone / together:.1f} times")
    await accounts.servers.close()


async def each(session: Session, calls: Sequence[Call]) -> None:
    for call in calls:
        await session.send([call])


def without_compat(bed: Bed) -> None:
    """As `ipa-compat-manage disable` makes it."""
    bed.hosts["srv"].run("ipa-compat-manage", "disable", text="DMSecret123\n")
    bed.hosts["srv"].run("systemctl", "restart", "dirsrv@IPA-TEST")
    bed.wait_login("srv")


if __name__ == "__main__":
    with running(("srv",)) as bed, found_names():
        make_service_account(bed)
        if "no-compat" in sys.argv:
            without_compat(bed)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        asyncio.run(measure(bed, int(sys.argv[1]) if len(sys.argv) > 1 else USERS))
