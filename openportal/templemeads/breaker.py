"""A leaf that does not answer is not asked for a while. Pure.

    closed ──TRIP_AFTER steps in a row expired──> open ──OPEN_SECONDS──> one step is let through ──answered──> closed
                                                   ^                                │
                                                   └──────────── expired ───────────┘

Any answer closes it, an error too, and so does a new link. While it is open, steps are refused at once with the kind
`unavailable`: a portal learns in a moment what it would otherwise learn when its job expires, and no lane is held up.
"""

from __future__ import annotations

TRIP_AFTER = 5
OPEN_SECONDS = 30


class Breaker:
    """What we know of one neighbour's answers to steps."""

    def __init__(self) -> None:
        self.expired = 0  # steps in a row
        self.closed_again_at = 0.0

    def is_open(self, now: float) -> bool:
        """Whether steps are refused; a time further ahead than was ever set is of a clock that was put back since."""
        return self.expired >= TRIP_AFTER and 0 < self.closed_again_at - now <= OPEN_SECONDS

    def lets_through(self, now: float) -> bool:
        """Whether a step may be asked now; one that is let through an open breaker is the only one for a while."""
        if self.expired < TRIP_AFTER:
            return True
        if self.is_open(now):
            return False
        self.closed_again_at = now + OPEN_SECONDS
        return True

    def no_answer(self, now: float) -> None:
        """A step expired."""
        self.expired += 1
        if self.expired == TRIP_AFTER:
            self.closed_again_at = now + OPEN_SECONDS

    def answered(self) -> None:
        """A step was answered, or the neighbour has come back."""
        self.expired = 0
