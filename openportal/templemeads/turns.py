"""Whose look goes out next: fairness between those who ask through one link. Pure.

Changes go out at once. Looks and reports take turns: of those on a link no more than `MAX_FLYING_LOOKS` are unanswered
at a time, and the next one is of the origin that has waited longest since its last turn. So ten thousand reports of one
origin stand in its own queue, at the first agent that took them, and not before the changes and looks of others. A look
that is unanswered for `SLOW_SECONDS` gives its place away: whoever has it is slow or away, and the others need not be.

Where changes go out too, in the last `CHANGE_SECONDS`, looks make room for them: only `FEW_FLYING_LOOKS` are unanswered
then. They keep the agents below about as busy; but a change finds a few looks before it at each, not thirty.

Nothing of this is stored: a job in the queue is on the board like any other.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_FLYING_LOOKS = 32
FEW_FLYING_LOOKS = 4
SLOW_SECONDS = 1.0
CHANGE_SECONDS = 1.0


class Turns:
    """The looks on one link: those that were sent, and those that wait."""

    def __init__(self) -> None:
        self.flying: dict[str, float] = {}  # id -> when it was sent, in that order
        self.waiting: OrderedDict[str, dict[str, None]] = (
            OrderedDict()
        )  # origin -> ids; the next turn is the first one's
        self.changed = -CHANGE_SECONDS  # when the last change went out

    def change(self, now: float) -> None:
        """A change goes out: for a while, looks make room."""
        self.changed = now

    def enter(self, id: str, origin: str, now: float) -> bool:
        """A look wants to go out; False if it has to wait for its turn."""
        if not self.waiting and self._room(now):
            self.flying[id] = now
            return True
        self.waiting.setdefault(origin, {})[id] = None
        return False

    def leave(self, id: str, origin: str) -> None:
        """A look has ended, wherever it stood."""
        self.flying.pop(id, None)
        queue = self.waiting.get(origin)
        if queue is not None:
            queue.pop(id, None)
            if not queue:
                del self.waiting[origin]

    def next(self, now: float) -> list[str]:
        """Those whose turn it is now."""
        if not self.waiting:
            return []
        for id in [id for id, sent in self.flying.items() if now - sent >= SLOW_SECONDS]:
            del self.flying[id]
        ids = []
        while self.waiting and self._room(now):
            origin, queue = next(iter(self.waiting.items()))
            id = next(iter(queue))
            del queue[id]
            self.flying[id] = now
            ids.append(id)
            del self.waiting[origin]
            if queue:
                self.waiting[origin] = queue
        return ids

    def clear(self) -> None:
        """The link is gone."""
        self.flying.clear()
        self.waiting.clear()

    def _room(self, now: float) -> bool:
        few = 0.0 <= now - self.changed < CHANGE_SECONDS  # not for a day if the clock is set back by one
        return len(self.flying) < (FEW_FLYING_LOOKS if few else MAX_FLYING_LOOKS)
