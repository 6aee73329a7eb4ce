"""Which of several masters is asked. Pure: `now` comes in.

All writes, and the reads that decide them, go to one master, or a user that was just made on one is missing on another.

    known down   refused a connection or a login, or left three calls in a row unanswered; never after one
    away         the usual master is known down: the next one in the list that is not
    back         when the usual master has answered for a whole replication window, so that it has caught up

An answer of the usual master while we are away is the beginning of that window; a failure begins it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

UNANSWERED_MAX = 3
PROBE_SECONDS = 5.0


@dataclass
class Master:
    """What is known of one."""

    name: str
    unanswered: int = 0
    down: bool = False
    up_since: float | None = None
    asked_at: float = float("-inf")


class Masters:
    """The choice of the master that is written to."""

    def __init__(self, names: Sequence[str], usual: str, window_seconds: float) -> None:
        self._all = {name: Master(name) for name in names}
        self._usual = usual
        self._current = usual
        self._window = window_seconds

    def writer(self, now: float) -> str:
        """Whom to write to."""
        if self._current != self._usual and self._is_back(now):
            self._current = self._usual
        if self._all[self._current].down:
            self._current = self._next()
        return self._current

    def others(self, name: str) -> list[str]:
        """The other masters, in their order."""
        return [other for other in self._all if other != name]

    def is_down(self, name: str) -> bool:
        return self._all[name].down

    def probes(self, now: float) -> list[str]:
        """Whom to ask whether they are back: those that are down, and the usual one while we are away."""
        due = [master for master in self._all.values() if self._is_due(master, now)]
        for master in due:
            master.asked_at = now
        return [master.name for master in due]

    def _is_due(self, master: Master, now: float) -> bool:
        waited_for = master.down or master.name == self._usual
        return waited_for and master.name != self._current and now >= master.asked_at + PROBE_SECONDS

    def answered(self, name: str, now: float) -> None:
        """It answered, whatever the answer."""
        master = self._all[name]
        if master.down or master.up_since is None:
            master.up_since = now
        master.down, master.unanswered = False, 0

    def failed(self, name: str, certain: bool) -> None:
        """It gave no answer; `certain` when it refused a connection or a login."""
        master = self._all[name]
        master.unanswered += 1
        master.up_since = None
        master.down = master.down or certain or master.unanswered >= UNANSWERED_MAX

    def _is_back(self, now: float) -> bool:
        usual = self._all[self._usual]
        return not usual.down and usual.up_since is not None and now >= usual.up_since + self._window

    def _next(self) -> str:
        """The next master that is not known to be down; the usual one when there is none."""
        names = list(self._all)
        at = names.index(self._current)
        ring = [name for name in (*names[at + 1 :], *names[:at]) if name != self._usual]
        return next((name for name in ring if not self._all[name].down), self._usual)
