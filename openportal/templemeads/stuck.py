"""The jobs that an operator should know of: open for long, in a leaf's hands too long, set aside. Pure."""

from __future__ import annotations

import msgspec

from openportal.templemeads.core import Core

STUCK_SECONDS = 60


class Stuck(msgspec.Struct):
    """Counts of this moment; a job that passes through counts once."""

    jobs: int = 0
    """Open for more than STUCK_SECONDS."""
    oldest_seconds: int = 0
    """Age of the oldest open job; 0 if none is open."""
    overrun: int = 0
    """Ended, and a leaf is still at work on them."""
    in_quarantine: int = 0
    """Took the agent down too often; wait for an operator's `retry` or `resolve`."""
    to_be_undone: int = 0
    """Ended before their steps were done."""


def stuck(core: Core, now: float) -> Stuck:
    found = Stuck(overrun=len(core.overrun))
    for _, entry in core.open_jobs():
        if not entry.inbound and entry.via is not None and entry.step is None:
            continue  # the same job is on the board that it came from
        age = max(0, int(now - entry.job.created))
        found.jobs += age > STUCK_SECONDS
        found.oldest_seconds = max(found.oldest_seconds, age)
    for board in core.boards.values():
        for entry in board.aside.values():
            found.in_quarantine += entry.quarantined
            found.to_be_undone += not entry.quarantined
    return found
