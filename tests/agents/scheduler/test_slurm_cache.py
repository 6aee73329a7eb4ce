"""What is kept, what makes room, and that nothing is remembered as missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openportal.agents.scheduler.slurm.cache import Bounded

OPERATIONS = st.lists(st.tuples(st.sampled_from(["get", "put", "discard"]), st.integers(0, 6), st.integers()))


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
        elif operation == "put":
            kept.put(key, value)
            model = [*rest, (key, value)][-limit:]
        else:
            kept.discard(key)
            model = rest
        assert len(kept) == len(model) <= limit


async def test_a_look_is_made_once_and_what_it_finds_is_kept() -> None:
    kept: Bounded[str, str] = Bounded(10)
    looks = []

    async def look() -> str:
        looks.append(1)
        return "found"

    assert [await kept.find("a", look) for _ in range(3)] == ["found"] * 3
    assert len(looks) == 1


async def test_that_something_is_missing_is_not_remembered() -> None:
    kept: Bounded[str, str] = Bounded(10)
    answers = [None, None, "made"]

    async def look() -> str | None:
        return answers.pop(0)

    assert [await kept.find("a", look) for _ in range(4)] == [None, None, "made", "made"]
