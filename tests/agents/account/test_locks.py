from __future__ import annotations

import asyncio

from openportal.agents.account.locks import Locks


async def test_locks_are_dropped_when_nobody_holds_them() -> None:
    locks, order = Locks(), []

    async def hold(name: str) -> None:
        async with locks.hold("x"):
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(hold("a"), hold("b"))
    assert order == ["a in", "a out", "b in", "b out"]
    assert locks._held == {}
