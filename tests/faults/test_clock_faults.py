"""The clock of one agent differs, or is set while it runs: nothing is lost silently, and everybody is told.

The instance runs with a clock of its own (libfaketime). One that differs by less than a job's life does no harm. One
that is a day off lets jobs end as expired, in words that name the clocks. Once it is right again, the same agent
carries on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openportal.agents.sandbox.store import SandboxStore
from openportal.cli.facility import Facility
from openportal.cli.status import concerns, health_of
from openportal.paddington.config import load as load_config
from tests.faked_time import FakedTime
from tests.faults.accounts import explained
from tests.processes.load import Load
from tests.processes.test_kill import assert_effects_once
from tests.processes.waiting import until_async

MEMBER = "shared"
SOME_SECONDS, DAY_SECONDS = 6, 86_400
USERS = 5

pytestmark = [pytest.mark.processes, pytest.mark.systems]


@contextmanager
def facility_with_clock(folder: Path, ahead_seconds: float) -> Iterator[tuple[Facility, FakedTime]]:
    """A facility whose instance has a clock of its own, and so much ahead from its start."""
    clock = FakedTime(folder / "clock")
    clock.set(ahead_seconds)
    with Facility(folder / "facility", environments={MEMBER: clock.environment()}) as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        yield facility, clock


def clock_concern(facility: Facility, name: str) -> str:
    """What `openportal status` says of a neighbour's clock."""
    health = health_of(load_config(facility.config(name))) or {"engine": "", "version": ""}
    return next((text for text in concerns(health) if text.startswith("the clock of")), "")


async def told(facility: Facility, name: str, words: str) -> None:
    """Until the status of an agent says this of a neighbour's clock."""
    await until_async(lambda: words in clock_concern(facility, name), f"{name} says: {words}")


async def added(load: Load, kind: str) -> None:
    """A project and users, all of which were accepted and have ended, in whatever way."""
    before = len(load.accepted)
    await load.run("add_project demo.brics")
    await load.wait_for_all(30)
    for number in range(USERS):
        await load.run(f"add_user {kind}{number}.demo.brics")
    await load.wait_for_all(30)
    assert len(load.accepted) - before == 1 + USERS
    assert load.accepted.keys() == load.ended.keys()


def errors(load: Load) -> list[dict[str, Any]]:
    return [job for job in load.ended.values() if job["state"] == "Error"]


@pytest.mark.parametrize("ahead_seconds", [SOME_SECONDS, -SOME_SECONDS])
async def test_a_clock_that_does_no_harm_is_told(tmp_path: Path, ahead_seconds: float) -> None:
    with facility_with_clock(tmp_path, ahead_seconds) as (facility, _):
        load = Load(facility.client_file)
        way, other = ("ahead", "behind") if ahead_seconds > 0 else ("behind", "ahead")
        await told(facility, "clusters", f"s {way}")
        await told(facility, "shared", f"s {other}")
        await added(load, "u")
        await load.close()
    assert errors(load) == []
    assert_effects_once(SandboxStore(facility.sandbox), load)


@pytest.mark.parametrize(
    ("ahead_seconds", "words"),
    [
        (DAY_SECONDS, "came to shared: it waited too long on its way, or the clocks differ; "),
        (-DAY_SECONDS, "came to acct: it waited too long on its way, or the clocks differ"),
    ],
)
async def test_a_clock_that_is_a_day_off(tmp_path: Path, ahead_seconds: float, words: str) -> None:
    """Jobs end as expired, in words that name the clocks; and go through once it is right."""
    with facility_with_clock(tmp_path, ahead_seconds) as (facility, clock):
        load, again = Load(facility.client_file), Load(facility.client_file)
        await told(facility, "shared", "s behind" if ahead_seconds > 0 else "s ahead")
        await added(load, "u")
        kinds = [job["error"]["kind"] for job in errors(load)]
        assert len(kinds) == 1 + USERS
        assert kinds[0] == "expired"
        assert set(kinds) <= {"expired", "unavailable"}  # a leaf that let five steps expire is not asked for a while
        assert words in explained(facility, "u0.demo.brics")
        clock.set(0)
        await added(again, "u")
        await load.close()
        await again.close()
    assert errors(again) == []
    assert_effects_once(SandboxStore(facility.sandbox), again)


async def test_a_clock_that_is_set_while_the_agent_works_loses_nothing(tmp_path: Path) -> None:
    """Users are added all the time while the instance's clock goes a day ahead and back."""
    with facility_with_clock(tmp_path, 0) as (facility, clock):
        load, again = Load(facility.client_file), Load(facility.client_file)
        await added(load, "before")
        for number in range(3 * USERS):
            if number == USERS:
                clock.set(DAY_SECONDS)
            if number == 2 * USERS:
                facility.kill(
                    ["clusters"]
                )  # a new link: clocks are looked at soon after it is made, then once a minute
                facility.start(["clusters"])
                await told(facility, "clusters", "s ahead")
                clock.set(0)
            await load.run(f"add_user during{number}.demo.brics")
        await load.wait_for_all(30)
        assert load.accepted.keys() == load.ended.keys()
        for instruction in load.accepted.values():
            await again.run(instruction)
        await again.wait_for_all(30)
        await load.close()
        await again.close()
    assert errors(load) != []
    assert {job["error"]["kind"] for job in errors(load)} == {"expired"}
    assert errors(again) == []
    assert again.accepted.keys() == again.ended.keys()
