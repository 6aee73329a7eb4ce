"""Locks by name."""

from __future__ import annotations

import asyncio

from openportal.agents.locks import Locks


async def test_one_name_is_held_by_one_at_a_time_and_others_are_free() -> None:
    locks, order = Locks(), []

    async def work(name: str, tag: str) -> None:
        async with locks.hold(name):
            order.append(f"{tag} begins")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            order.append(f"{tag} ends")

    await asyncio.gather(work("a", "one"), work("a", "two"), work("b", "other"))
    assert order.index("one ends") < order.index("two begins")
    assert order.index("other begins") < order.index("one ends")


async def test_a_lock_is_forgotten_with_its_last_user() -> None:
    locks = Locks()
    async with locks.hold("a"):
        assert "a" in locks._held
    assert locks._held == {}
