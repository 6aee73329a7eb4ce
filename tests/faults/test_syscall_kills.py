"""kill -9 at every system call by which an agent touches its ledger, a socket or a leaf's files, during one add_user.

strace counts the calls of each agent while a user is added; then another user is added for each of them, and the agent
is killed on entering that call. It starts again, and what there is in the end has to be what there is without a kill.
In `make test` a sample of the points is swept, in `make test-long` all; the number is printed.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from openportal.agents.sandbox.store import SandboxStore
from openportal.cli.facility import CHAIN, MEMBERS, Facility
from openportal.templemeads.events import EVENTS
from openportal.templemeads.ledger import Settings, open_reader
from tests.processes.load import TERMINAL, Load
from tests.processes.waiting import accepted, end_of, ended, result_of
from tests.tracing import strace, traced

CALLS = (
    "pwrite64,pwritev,write,writev,sendto,sendmsg,fdatasync,fsync,rename,renameat,renameat2,unlink,unlinkat,ftruncate,"
    "mkdir,mkdirat,shutdown,close"
)
OPTIONS = ("-e", f"trace={CALLS}")
FEW, SAMPLE = 1, 6
SEED = 20261124
NAMES = [member.name for member in MEMBERS]
NEIGHBOURS = [(member.name, other) for member in MEMBERS for other in member.dials]

pytestmark = [pytest.mark.processes, pytest.mark.systems]


class Sweep:
    """A facility in which users are added while agents die."""

    def __init__(self, facility: Facility, folder: Path) -> None:
        self.facility = facility
        self.load = Load(facility.client_file)
        self.folder = folder
        self.users = 0
        self.swept: Counter[str] = Counter()

    async def add_user(self) -> str:
        """Ask for a new user; returns its name once it is there."""
        user, id = await self.ask()
        result_of(await self.outcome(id))
        return user

    async def ask(self) -> tuple[str, str]:
        self.users += 1
        user = f"u{self.users}"
        while True:
            try:
                return user, await accepted(self.load, f"{CHAIN} add_user {user}.demo.brics", 60)
            except httpx.HTTPError:  # the bridge died under the question, and did or did not take it: ask again
                await asyncio.sleep(0.05)

    async def outcome(self, id: str) -> dict[str, Any]:
        while True:
            try:
                return await end_of(self.load, id, 60)
            except httpx.HTTPError:
                await asyncio.sleep(0.05)

    async def has_ended(self, id: str) -> bool:
        try:
            answer = await self.load.call("status", {"job": id})
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and answer.json()["state"] in TERMINAL

    async def points(self, name: str) -> int:
        """How many of the calls an agent makes while a user is added."""
        trace = self.folder / f"{name}.count"
        async with traced(self.facility.processes[name].pid, trace, OPTIONS):
            await self.add_user()
        return len(re.findall(rf"\b(?:{CALLS.replace(',', '|')})\(", trace.read_text()))

    async def kill_at(self, names: Sequence[str], point: int, again_at: int | None = None) -> str:
        """Add a user while each of the agents dies on entering its `point`-th call; and once more as it comes back."""
        inject = (*OPTIONS, "-e", f"inject={CALLS}:signal=KILL:when={point}")
        async with AsyncExitStack() as tracing:
            for name in names:
                trace = self.folder / f"{name}.kill"
                await tracing.enter_async_context(traced(self.facility.processes[name].pid, trace, inject))
            asking = asyncio.ensure_future(self.ask())
            await self.dead_or_done(names, asking)
        for name in names:
            await self.come_back(name, again_at)
        user, id = await asking
        result_of(await self.outcome(id))
        self.swept["+".join(names)] += 1
        return user

    async def dead_or_done(self, names: Sequence[str], asking: asyncio.Future[tuple[str, str]]) -> None:
        """Until the agents are dead, or the job ended before one of them came to that call."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 20
        while loop.time() < deadline and any(self.facility.processes[name].poll() is None for name in names):
            if asking.done() and len(names) == 1 and await self.has_ended(asking.result()[1]):
                return
            await asyncio.sleep(0.02)

    async def come_back(self, name: str, again_at: int | None) -> None:
        self.facility.kill([name])
        if again_at is not None:
            await self.die_while_recovering(name, again_at)
        self.facility.start([name])

    async def die_while_recovering(self, name: str, point: int) -> None:
        self.facility.start([name])
        pid = self.facility.processes[name].pid
        trace = self.folder / f"{name}.again"
        async with traced(pid, trace, (*OPTIONS, "-e", f"inject={CALLS}:signal=KILL:when={point}")):
            for _ in range(100):
                if self.facility.processes[name].poll() is not None:
                    break
                await asyncio.sleep(0.02)
        self.facility.kill([name])

    def state_of(self, user: str) -> dict[str, object]:
        """What the leaves have of a user, with another name for it."""
        store = SandboxStore(self.facility.sandbox)
        targets = {effect.target for effect in store.effects() if re.search(rf"\b{user}\b", effect.target)}
        found = {target: store.get(*target.rsplit("/", 1)) for target in targets}
        text = re.sub(rf"\b{user}\b", "USER", json.dumps(found, sort_keys=True, default=str))
        state: dict[str, object] = json.loads(text)
        return state

    async def check(self, users: Sequence[str], like: str) -> None:
        """Nothing differs from the user that was added without a kill, no effect happened twice, every log is whole."""
        await self.load.close()
        self.facility.stop()
        wanted = self.state_of(like)
        assert wanted, "the sandbox has nothing of a user: this would compare nothing with nothing"
        assert {user: state for user in users if (state := self.state_of(user)) != wanted} == {}
        effects = Counter((e.target, e.action) for e in SandboxStore(self.facility.sandbox).effects())
        assert {what: count for what, count in effects.items() if count > 1} == {}
        for name in NAMES:
            with open_reader(Settings(path=self.facility.ledger(name)), EVENTS) as reader:
                assert reader.verify().ok, name


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    strace()
    with Facility(tmp_path / "facility") as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        yield facility


@pytest.fixture
async def sweep(facility: Facility, tmp_path: Path) -> AsyncIterator[Sweep]:
    sweep = Sweep(facility, tmp_path)
    result_of(await ended(sweep.load, f"{CHAIN} add_project demo.brics"))
    yield sweep
    print(f"points swept: {sum(sweep.swept.values())} ({dict(sweep.swept)})")


async def swept(sweep: Sweep, names: Sequence[str], sample: int | None) -> None:
    like, rng = await sweep.add_user(), random.Random(SEED)
    users = []
    for name in names:
        count = await sweep.points(name)
        points = range(1, count + 1) if sample is None else sorted(rng.sample(range(1, count + 1), min(sample, count)))
        users += [await sweep.kill_at([name], point) for point in points]
    await sweep.check(users, like)


@pytest.mark.parametrize("sample", [pytest.param(FEW, marks=pytest.mark.smoke), SAMPLE])
async def test_killed_at_a_system_call(sweep: Sweep, sample: int) -> None:
    await swept(sweep, NAMES, sample)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
async def test_killed_at_every_system_call(sweep: Sweep, name: str) -> None:
    await swept(sweep, [name], None)


async def test_both_ends_are_killed_and_again_while_they_recover(sweep: Sweep) -> None:
    like, rng = await sweep.add_user(), random.Random(SEED)
    users = [
        await sweep.kill_at(pair, rng.randint(1, 25), rng.choice((None, rng.randint(1, 40)))) for pair in NEIGHBOURS
    ]
    await sweep.check(users, like)
