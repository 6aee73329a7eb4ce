"""What is asked of Slurm at the same time goes to it together.

While LANES calls are on their way, what comes in waits for the next one to go, and goes with all else of its group, at
most so many. Nobody waits for others to come: one alone goes at once. What is asked twice by then is asked once; what
is asked while the same is on its way is asked again, since the answer may have changed.

Nobody gets the failure of another. A call that could not reach Slurm failed for all who were in it; after any other
failure nobody knows whose it was, so each is asked alone and gets what comes of that.

Whoever gives up is dropped while it waits. Once its call is on the way, that is waited for: cut short, nobody would
know what it did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from openportal.errors import Unavailable

LANES: Final = 2
NAMES_PER_CALL_MAX: Final = 50
"""Of accounts or users in one call."""

G = TypeVar("G", bound=Hashable)
K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

Send = Callable[[G, Sequence[K]], Awaitable[Mapping[K, R]]]
"""Ask for some keys of one group in one call; what it says of each, in which every key is."""


@dataclass(slots=True)
class _Asked(Generic[R]):
    """The answer to come for a key, and how many wait for it."""

    answer: asyncio.Future[R]
    askers: int = 0


class Together(Generic[G, K, R]):
    """Asks by `send` for at most `most` keys at a time."""

    def __init__(self, send: Send[G, K, R], most: int) -> None:
        self._send = send
        self._most = most
        self._waiting: dict[G, dict[K, _Asked[R]]] = {}
        self._going: set[asyncio.Task[None]] = set()

    async def ask(self, group: G, key: K) -> R:
        """What Slurm says of one key. Raises JobError."""
        keys = self._waiting.setdefault(group, {})
        if key not in keys:
            keys[key] = _Asked(asyncio.get_running_loop().create_future())
        asked = keys[key]
        asked.askers += 1
        if len(self._going) < LANES:
            task = asyncio.create_task(self._work())
            self._going.add(task)
            task.add_done_callback(self._going.discard)
        try:
            return await asyncio.shield(asked.answer)
        except asyncio.CancelledError:
            await self._give_up(group, key, asked)
            raise

    async def _give_up(self, group: G, key: K, asked: _Asked[R]) -> None:
        """Drop what nobody waits for any more; what is on its way is waited for."""
        keys = self._waiting.get(group, {})
        if keys.get(key) is not asked:
            await asyncio.wait([asked.answer])
            return
        asked.askers -= 1
        if not asked.askers:
            del keys[key]

    async def _work(self) -> None:
        await asyncio.sleep(0)  # one turn for the others that begin now
        while self._waiting:
            group, keys = next(iter(self._waiting.items()))
            taken = {key: keys.pop(key) for key in [*keys][: self._most]}
            del self._waiting[group]
            if keys:
                self._waiting[group] = keys  # behind the other groups
            if taken:
                await self._carry(group, {key: asked.answer for key, asked in taken.items()})

    async def _carry(self, group: G, taken: Mapping[K, asyncio.Future[R]]) -> None:
        try:
            found = await self._send(group, tuple(taken))
        except Exception as error:
            if len(taken) > 1 and not isinstance(error, Unavailable):
                for key, answer in taken.items():
                    await self._carry(group, {key: answer})
                return
            for answer in taken.values():
                answer.set_exception(error)
                answer.exception()  # seen, also when nobody waits any more
            return
        for key, answer in taken.items():
            answer.set_result(found[key])
