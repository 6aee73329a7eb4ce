"""What is asked at once goes in one call; nobody gets the failure of another, and nobody is asked about in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.agents.scheduler.slurm.together import LANES, Together
from openportal.errors import RunError, Unavailable

MOST = 4


class Source:
    """Says of each number its square; `bad` numbers fail whatever call they are in."""

    def __init__(self, bad: Sequence[int] = (), error: type[Exception] = RunError) -> None:
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self.let_go = asyncio.Event()
        self.ended = 0
        self._bad = bad
        self._error = error

    async def send(self, group: str, numbers: Sequence[int]) -> Mapping[int, int]:
        self.asked.append((group, tuple(numbers)))
        await self.let_go.wait()
        self.ended += 1
        if wrong := [number for number in numbers if number in self._bad]:
            raise self._error(f"not {wrong}")
        return {number: number * number for number in numbers}


async def begun(together: Together[str, int, int], *asked: tuple[str, int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.ensure_future(together.ask(group, number)) for group, number in asked]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def outcomes(tasks: Sequence[asyncio.Task[int]]) -> list[object]:
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [str(one) if isinstance(one, Exception) else one for one in found]


async def test_groups_go_apart_and_no_call_is_larger_than_it_may_be() -> None:
    source = Source()
    together = Together(source.send, MOST)
    tasks = await begun(together, *[("a", number) for number in range(6)], ("b", 1), ("a", 0))
    assert source.asked == [("a", (0, 1, 2, 3)), ("b", (1,))]
    source.let_go.set()
    assert await outcomes(tasks) == [0, 1, 4, 9, 16, 25, 1, 0]
    assert source.asked[2:] == [("a", (4, 5))]


async def test_one_alone_goes_at_once_and_what_is_asked_meanwhile_is_asked_anew() -> None:
    source = Source()
    together = Together(source.send, MOST)
    tasks = [*await begun(together, ("a", 1)), *await begun(together, ("a", 1)), *await begun(together, ("a", 1))]
    assert source.asked == [("a", (1,))] * LANES
    source.let_go.set()
    assert await outcomes(tasks) == [1, 1, 1]
    assert source.asked == [("a", (1,))] * 3, "an answer that was on its way may be an old one"


async def test_a_failure_is_that_of_whom_it_belongs_to() -> None:
    source = Source(bad=(2,))
    source.let_go.set()
    tasks = await begun(Together(source.send, MOST), ("a", 1), ("a", 2), ("a", 3))
    assert await outcomes(tasks) == [1, "not [2]", 9]
    assert source.asked == [("a", numbers) for numbers in ((1, 2, 3), (1,), (2,), (3,))]


async def test_what_cannot_be_reached_is_not_asked_for_each() -> None:
    source = Source(bad=(2,), error=Unavailable)
    source.let_go.set()
    tasks = await begun(Together(source.send, MOST), ("a", 1), ("a", 2), ("a", 3))
    assert await outcomes(tasks) == ["not [2]"] * 3
    assert len(source.asked) == 1


async def test_who_gives_up_while_it_waits_is_dropped_unless_another_waits_too() -> None:
    source = Source()
    together = Together(source.send, MOST)
    first = [task for number in range(LANES) for task in await begun(together, ("a", number))]
    dropped, shared, stays = await begun(together, ("a", 7), ("a", 8), ("a", 8))
    dropped.cancel()
    shared.cancel()
    source.let_go.set()
    assert await outcomes([*first, stays]) == [0, 1, 64]
    assert ("a", (8,)) in source.asked


async def test_who_gives_up_what_is_on_its_way_is_told_when_that_has_ended() -> None:
    source = Source()
    [task] = await begun(Together(source.send, MOST), ("a", 1))
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    source.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.ended == 1


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=30), st.sets(st.integers(0, 9)))
def test_everybody_gets_what_one_alone_would_get(asked: list[tuple[str, int]], bad: set[int]) -> None:
    async def main() -> list[object]:
        source = Source(bad=tuple(bad))
        source.let_go.set()
        return await outcomes(await begun(Together(source.send, MOST), *asked))

    assert asyncio.run(main()) == [f"not [{number}]" if number in bad else number**2 for _, number in asked]
