"""Looks take turns, by origin."""

from __future__ import annotations

import random

import pytest
from simulation import simulate

from openportal.templemeads import turns as turns_module
from openportal.templemeads.turns import CHANGE_SECONDS, FEW_FLYING_LOOKS, MAX_FLYING_LOOKS, SLOW_SECONDS, Turns

SEEDS = 300


def full(origin: str = "flood", more: int = 0) -> Turns:
    turns = Turns()
    for n in range(MAX_FLYING_LOOKS + more):
        assert turns.enter(f"{origin}{n}", origin, 0.0) is (n < MAX_FLYING_LOOKS)
    return turns


def test_no_more_than_so_many_are_unanswered() -> None:
    turns = full(more=2)
    assert turns.next(0.0) == []
    turns.leave("flood3", "flood")
    assert turns.next(0.0) == [f"flood{MAX_FLYING_LOOKS}"]
    assert turns.next(0.0) == []


def test_origins_take_turns() -> None:
    turns = full(more=5)
    for n in range(2):
        assert not turns.enter(f"b{n}", "b", 0.0)
    assert not turns.enter("c0", "c", 0.0)
    sent = []
    for n in range(6):
        turns.leave(f"flood{n}", "flood")
        sent += turns.next(0.0)
    first = MAX_FLYING_LOOKS
    assert sent == [f"flood{first}", "b0", "c0", f"flood{first + 1}", "b1", f"flood{first + 2}"]


def test_who_waits_is_not_overtaken() -> None:
    turns = full(more=1)
    turns.leave("flood0", "flood")
    assert not turns.enter("late", "flood", 0.0)
    assert turns.next(0.0) == [f"flood{MAX_FLYING_LOOKS}"]


def test_looks_make_room_for_changes_and_take_it_back() -> None:
    turns = Turns()
    turns.change(0.0)
    sent = [turns.enter(str(n), "a", 0.0) for n in range(MAX_FLYING_LOOKS)]
    assert sent == [n < FEW_FLYING_LOOKS for n in range(MAX_FLYING_LOOKS)]
    turns.leave("0", "a")
    assert turns.next(CHANGE_SECONDS / 2) == [str(FEW_FLYING_LOOKS)]
    turns.leave("1", "a")
    assert len(turns.next(CHANGE_SECONDS)) >= MAX_FLYING_LOOKS - FEW_FLYING_LOOKS - 1
    assert not turns.waiting


def test_looks_that_fly_when_a_change_comes_are_not_sent_again() -> None:
    turns = full(more=1)
    turns.change(0.0)
    for n in range(MAX_FLYING_LOOKS - FEW_FLYING_LOOKS):
        turns.leave(f"flood{n}", "flood")
        assert turns.next(0.0) == []
    turns.leave(f"flood{MAX_FLYING_LOOKS - 1}", "flood")
    assert turns.next(0.0) == [f"flood{MAX_FLYING_LOOKS}"]


def test_a_slow_one_gives_its_place_away() -> None:
    turns = full(more=1)
    assert turns.next(SLOW_SECONDS / 2) == []
    assert turns.next(SLOW_SECONDS) == [f"flood{MAX_FLYING_LOOKS}"]


def test_one_that_ends_while_it_waits_is_not_sent() -> None:
    turns = full(more=1)
    turns.leave(f"flood{MAX_FLYING_LOOKS}", "flood")
    turns.leave("flood0", "flood")
    assert turns.next(0.0) == []
    assert not turns.waiting


def test_a_new_link_begins_afresh() -> None:
    turns = full(more=3)
    turns.clear()
    assert turns.enter("x", "x", 0.0)


def test_each_is_sent_once_and_nobody_is_forgotten() -> None:
    choose = random.Random(7)
    turns, out, n = Turns(), [], 0
    while n < 3_000 or turns.waiting:
        if n < 3_000 and choose.random() < 0.6:
            n, id, origin = n + 1, str(n), choose.choice("abc")
            out += [id] if turns.enter(id, origin, 0.0) else []
        elif turns.flying:
            turns.leave(choose.choice(list(turns.flying)), "a")
        out += turns.next(0.0)
    assert sorted(out, key=int) == [str(id) for id in range(3_000)]


@pytest.mark.parametrize("limit", [1, 2])
def test_nothing_is_lost_while_looks_take_turns(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "MAX_FLYING_LOOKS", limit)
    for seed in range(SEEDS):
        simulate(seed)
