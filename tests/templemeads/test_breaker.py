"""A leaf that does not answer is not asked for a while."""

from __future__ import annotations

from scenarios_aside import ALICE
from world import facility, southbound

from openportal.templemeads.breaker import OPEN_SECONDS, TRIP_AFTER, Breaker


def tripped() -> Breaker:
    breaker = Breaker()
    for _ in range(TRIP_AFTER):
        assert breaker.lets_through(0.0)
        breaker.no_answer(0.0)
    return breaker


def test_it_opens_after_so_many_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(TRIP_AFTER - 1):
        breaker.no_answer(0.0)
    breaker.answered()
    breaker.no_answer(0.0)
    assert breaker.lets_through(0.0)
    assert not breaker.is_open(0.0)
    assert not tripped().lets_through(OPEN_SECONDS - 1)
    assert tripped().is_open(OPEN_SECONDS - 1)


def test_one_step_tries_it_out() -> None:
    breaker = tripped()
    assert breaker.lets_through(OPEN_SECONDS)
    assert not breaker.lets_through(OPEN_SECONDS)
    breaker.no_answer(OPEN_SECONDS + 10)
    assert not breaker.lets_through(OPEN_SECONDS + 11)
    assert breaker.lets_through(2 * OPEN_SECONDS)
    breaker.answered()
    assert breaker.lets_through(2 * OPEN_SECONDS)
    assert breaker.lets_through(2 * OPEN_SECONDS)


def test_a_clock_that_is_set_back_does_not_keep_it_open() -> None:
    breaker = Breaker()
    for _ in range(TRIP_AFTER):
        breaker.no_answer(86_400.0)
    assert breaker.lets_through(1_000.0)
    assert not breaker.lets_through(1_000.0)


def test_a_facility_learns_at_once_that_its_scheduler_is_away() -> None:
    world = facility()
    world.unlink("shared", "scheduler")
    for n in range(TRIP_AFTER):
        world.ask("bridge", "brics", southbound(f"add_user user{n}.demo.brics"), 10)
    world.settle()
    world.advance(12)
    asked = world.ask("bridge", "brics", southbound(f"add_user {ALICE}"), 300)
    world.settle()
    job = world.outcome("bridge", asked)
    assert job.error_kind == "unavailable"
    assert "scheduler has not answered" in (job.result or "")
    world.link("shared", "scheduler")
    world.settle()
    asked = world.ask("bridge", "brics", southbound(f"add_user {ALICE}"), 300)
    world.settle()
    assert world.outcome("bridge", asked).error is None
