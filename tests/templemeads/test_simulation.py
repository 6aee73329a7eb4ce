"""Whole facilities under faults, one per seed."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import image_of
from simulation import Simulation, simulate

from openportal.templemeads.state import StateImage

SEEDS = 2_000
LONG_SEEDS = 40_000
BATCHES = 20


@pytest.mark.parametrize("batch", range(BATCHES))
def test_nothing_is_lost_whatever_happens(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        simulate(seed)


@pytest.mark.long
@pytest.mark.parametrize("batch", range(BATCHES))
def test_nothing_is_lost_in_many_more_worlds(batch: int) -> None:
    for seed in range(SEEDS + batch, LONG_SEEDS, BATCHES):
        simulate(seed)


def test_a_seed_is_one_run() -> None:
    def trace(seed: int) -> list[object]:
        simulation = Simulation(seed)
        simulation.run()
        return [(sender, receiver, *command) for sender, receiver, command in simulation.world.sent]

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(1_000, 2_000), steps=st.integers(50, 600), cut=st.floats(0, 1))
def test_a_checkpoint_and_the_rest_of_the_log_are_as_good_as_the_log(seed: int, steps: int, cut: float) -> None:
    """Replaying everything, or a checkpoint taken anywhere and what follows it, gives the same state."""
    simulation = Simulation(seed)
    choose = random.Random(seed)
    actions = ["deliver"] * 6 + ["commit"] * 3 + ["finish", "submit", "pass_time", "unlink", "relink"]
    for _ in range(steps):
        getattr(simulation, choose.choice(actions))()
    for node in simulation.alive():
        node.commit()
        position = int(len(node.log) * cut)
        early = node.fresh()
        for stream, event, at in node.log[:position]:
            early.apply(stream, event, at)
        late = node.fresh()
        late.restore(msgspec.json.decode(msgspec.json.encode(early.image()), type=StateImage))
        for stream, event, at in node.log[position:]:
            late.apply(stream, event, at)
        whole = node.replayed(use_checkpoint=False)
        assert image_of(late) == image_of(whole) == image_of(node.core)
