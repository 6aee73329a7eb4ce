"""What is kept, and what makes room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openportal.agents.scheduler.slurm.cache import Bounded

OPERATIONS = st.lists(st.tuples(st.sampled_from(["get", "put"]), st.integers(0, 6), st.integers()))


@given(OPERATIONS, st.integers(1, 4))
def test_what_was_used_longest_ago_makes_room(operations: list[tuple[str, int, int]], limit: int) -> None:
    kept: Bounded[int, int] = Bounded(limit)
    model: list[tuple[int, int]] = []  # the least recently used first
    for operation, key, value in operations:
        found = dict(model).get(key)
        rest = [item for item in model if item[0] != key]
        if operation == "get":
            assert kept.get(key) == found
            model = rest if found is None else [*rest, (key, found)]
        else:
            kept.put(key, value)
            model = [*rest, (key, value)][-limit:]
        assert len(kept) == len(model) <= limit
