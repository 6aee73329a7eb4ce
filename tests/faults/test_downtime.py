"""The account agent is down for longer than the jobs live: every job ends as expired, and what was created is undone.

Half of the jobs are asked while it is away and wait for their first step. The other half lost it before their last one,
when there were already users, directories and associations. All agents share a clock that the test moves on
(libfaketime); with `long`, the account agent is away for ten minutes of real time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from openportal.agents.sandbox.account import REMOVED
from openportal.agents.sandbox.store import SandboxStore
from openportal.cli.facility import CHAIN, Facility
from openportal.templemeads.events import EVENTS, Sent, Settled, UndoPostponed
from openportal.templemeads.job import DEFAULT_LIFETIME_SECONDS
from openportal.templemeads.ledger import Settings, open_reader
from openportal.templemeads.worker import ADOPTION_SECONDS, UNDO_AGAIN_SECONDS, UNDO_SECONDS
from tests.faked_time import FakedTime
from tests.faults.accounts import explained
from tests.processes.load import Load
from tests.processes.waiting import PATIENCE_SECONDS, ended, result_of, until, until_async

USERS = 10
MARGIN_SECONDS = 5
DOWN_SECONDS = 600
Wait = Callable[[float], Awaitable[None]]

pytestmark = [pytest.mark.processes, pytest.mark.systems]


class MovedTime:
    """The time of a facility, which passes when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakedTime(folder / "clock")
        self.ahead_seconds = 0.0
        self.clock.set(0)

    def now(self) -> float:
        return time.time() + self.ahead_seconds

    async def wait(self, seconds: float) -> None:
        self.ahead_seconds += seconds
        self.clock.set(self.ahead_seconds)


@pytest.fixture
def moved(tmp_path: Path) -> MovedTime:
    return MovedTime(tmp_path)


def running(facility: Facility) -> Facility:
    facility.lay_out()
    facility.start()
    facility.wait_ready()
    return facility


async def test_jobs_outlived_by_a_downtime(tmp_path: Path, moved: MovedTime) -> None:
    with Facility(tmp_path / "facility", environment=moved.clock.environment()) as facility:
        await outlived(running(facility), Load(facility.client_file, clock=moved.now), moved.wait)


@pytest.mark.long
async def test_ten_minutes_down_in_real_time(tmp_path: Path) -> None:
    """It stays away from the end of its last job on; the undoing that nobody took meanwhile is asked again."""
    with Facility(tmp_path / "facility") as facility:
        load = Load(running(facility).client_file)
        began = time.monotonic()
        await expired(facility, load, asyncio.sleep, accounts=USERS)
        await asyncio.sleep(DOWN_SECONDS - (time.monotonic() - began))
        facility.start(["acct"])
        await all_settled(facility, UNDO_SECONDS + UNDO_AGAIN_SECONDS + PATIENCE_SECONDS)
        await asked_again(load)
        kinds = Counter(job["error"]["kind"] for id, job in load.ended.items() if "add_user" in load.accepted[id])
        print(f"{DOWN_SECONDS} s down: {kinds}; then {Counter(settled(facility).values())}")
        await load.close()


async def test_a_downtime_that_the_undo_does_not_outlive(tmp_path: Path, moved: MovedTime) -> None:
    """What could not be taken back yet is asked again, until the account agent is there."""
    with Facility(tmp_path / "facility", environment=moved.clock.environment()) as facility:
        load = Load(running(facility).client_file, clock=moved.now)
        await expired(facility, load, moved.wait)
        await moved.wait(ADOPTION_SECONDS + MARGIN_SECONDS)
        await until_async(lambda: undoing(facility) == USERS, "the undo has begun")
        await moved.wait(UNDO_SECONDS + MARGIN_SECONDS)
        await until_async(lambda: postponed(facility) == USERS, "the undo is put off")
        facility.start(["acct"])
        await moved.wait(UNDO_AGAIN_SECONDS + MARGIN_SECONDS)
        await all_settled(facility)
        await asked_again(load)
        await load.close()


async def outlived(facility: Facility, load: Load, wait: Wait) -> None:
    await expired(facility, load, wait)
    facility.start(["acct"])
    await wait(ADOPTION_SECONDS + MARGIN_SECONDS)
    await all_settled(facility)
    await asked_again(load)
    await load.close()


async def all_settled(facility: Facility, seconds: float = PATIENCE_SECONDS) -> None:
    """What the jobs had created is taken back, and what there was nothing to take back of is closed."""
    await until_async(lambda: len(settled(facility)) == 2 * USERS, "what was created is undone", seconds)
    assert Counter(settled(facility).values()) == {"undone": USERS, "nothing to undo": USERS}
    assert left(SandboxStore(facility.sandbox)) == []


async def expired(facility: Facility, load: Load, wait: Wait, accounts: int = 1) -> None:
    """Users are added to a facility that loses its account agent, until each of the jobs has expired.

    So many accounts of each kind are read; each is a program that opens eight logs.
    """
    result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
    await half_done(facility, load, SandboxStore(facility.sandbox))
    for number in range(USERS):
        await load.run(f"add_user waiting{number}.demo.brics")
    assert len(load.accepted) == 2 * USERS
    await wait(DEFAULT_LIFETIME_SECONDS + MARGIN_SECONDS)
    await load.wait_for_all(PATIENCE_SECONDS)
    check_accounts(facility, load, accounts)


async def asked_again(load: Load) -> None:
    """The same goes through, once the account agent is there and its breaker lets a job pass."""
    for kind in ("half0", "waiting0"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (job := await ended(load, f"{CHAIN} add_user {kind}.demo.brics"))["state"] != "Complete":
                assert job["error"]["kind"] == "unavailable", job


async def half_done(facility: Facility, load: Load, store: SandboxStore) -> None:
    """Users for whom all is there, and whose job waits for the account agent to be told their home directory."""
    facility.kill(["slurm"])
    for number in range(USERS):
        await load.run(f"add_user half{number}.demo.brics")
    await until_async(lambda: len(created(store, "users")) == USERS, "the accounts are there")
    await until_async(lambda: len(created(store, "directories")) == USERS, "the directories are there")
    facility.kill(["acct"])
    facility.start(["slurm"])
    await until_async(lambda: len(created(store, "associations")) == USERS, "the associations are there")


def created(store: SandboxStore, kind: str) -> set[str]:
    """What of a kind was made for the users, by now."""
    return {e.target for e in store.effects() if e.target.startswith(f"{kind}/") and "half" in e.target}


def check_accounts(facility: Facility, load: Load, accounts: int) -> None:
    """Every job is found, has ended as expired, and its account says how far it came.

    The portal's software reads `ExpirationError{}`, as from any portal; what was done is in the instance's log.
    """
    assert load.accepted.keys() == load.ended.keys()
    assert {job["error"]["kind"] for id, job in load.ended.items() if "add_user" in load.accepted[id]} == {"expired"}
    for kind, done in (("half", True), ("waiting", False)):
        for number in range(accounts):
            check_account(facility, f"{kind}{number}.demo.brics", done)


def check_account(facility: Facility, user: str, done: bool) -> None:
    until(lambda: "It is open" not in explained(facility, user), "the instance has ended it, too")
    account = explained(facility, user).splitlines()[-1]
    assert account.startswith(f"It ended at shared as expired: the job expired after {DEFAULT_LIFETIME_SECONDS} s")
    assert ("done by then" in account and "account.add_user#1" in account) is done


def settled(facility: Facility) -> dict[str, str]:
    """What became of the sagas that were set aside, by job."""
    with open_reader(Settings(path=facility.ledger("shared")), EVENTS) as reader:
        return {r.event.id: r.event.how for r in reader.records() if isinstance(r.event, Settled)}


def postponed(facility: Facility) -> int:
    """How many undoings wait for another try."""
    with open_reader(Settings(path=facility.ledger("shared")), EVENTS) as reader:
        return len({r.event.id for r in reader.records() if isinstance(r.event, UndoPostponed)})


def undoing(facility: Facility) -> int:
    """How many accounts the instance has asked to be taken back."""
    with open_reader(Settings(path=facility.ledger("shared")), EVENTS) as reader:
        return sum(isinstance(r.event, Sent) and "remove_user" in (r.event.command or "") for r in reader.records())


def left(store: SandboxStore) -> list[str]:
    """Who can still log in of those whose job expired; directories and associations stay, as after `remove_user`."""
    names = [target.rsplit("/", 1) for target in created(store, "users")]
    return sorted(name for kind, name in names if (store.get(kind, name) or {"state": REMOVED})["state"] != REMOVED)
