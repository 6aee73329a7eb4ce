"""How far the neighbours' clocks are from ours, estimated from round trips. Pure.

    we ask at `sent`, they answer with the time `theirs`, we have it at `received`

Their clock stood somewhere between the two when they looked at it, so it is `theirs - (sent + received) / 2` ahead of
ours, give or take half of the round trip. Of the last few round trips the quickest says most.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Any, NamedTuple

SAMPLES_KEPT = 8
MAX_PEERS = 1_000
SKEW_TOLD_SECONDS = 2.0
DRIFT_SECONDS = 0.5  # what clocks may go apart by themselves over the round trips that are kept


class Sample(NamedTuple):
    """One round trip; `skew_seconds` is positive if their clock is ahead of ours."""

    round_trip_seconds: float
    skew_seconds: float


class Seen(NamedTuple):
    """What a neighbour says of itself."""

    engine: str
    version: str


class Clocks:
    """What is known of each neighbour (`name@zone`)."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[Sample]] = {}
        self.seen: dict[str, Seen] = {}

    def answered(self, peer: str, health: dict[str, Any], sent: float, received: float) -> None:
        """A neighbour's health came back; one without a time that can be read says nothing of its clock."""
        if peer not in self.seen and len(self.seen) >= MAX_PEERS:
            return
        self.seen[peer] = Seen(str(health.get("engine", ""))[:64], str(health.get("version", ""))[:64])
        theirs = seconds_of(health.get("current_time"))
        if theirs is None or received < sent:  # our own clock was set back in between
            return
        sample = Sample(received - sent, theirs - (sent + received) / 2)
        samples = self._samples.setdefault(peer, deque(maxlen=SAMPLES_KEPT))
        if any(contradict(sample, earlier) for earlier in samples):  # a clock was set
            samples.clear()
        samples.append(sample)

    def best(self, peer: str) -> Sample | None:
        """The quickest of the last round trips; None if there was none yet."""
        return min(self._samples.get(peer, ()), default=None)

    def skew(self, peer: str) -> float | None:
        """By how much the neighbour's clock is at least ahead of ours (negative: behind); None if it is not known."""
        sample = self.best(peer)
        if sample is None:
            return None
        doubt = sample.round_trip_seconds / 2
        if abs(sample.skew_seconds) <= doubt:
            return 0.0
        return sample.skew_seconds - doubt if sample.skew_seconds > 0 else sample.skew_seconds + doubt

    def forget(self, peer: str) -> None:
        """The link was lost: what comes next may be another machine."""
        self._samples.pop(peer, None)

    def told(self) -> dict[str, Any]:
        """What health says, by neighbour."""
        return {peer: self._told(peer, seen) for peer, seen in self.seen.items()}

    def _told(self, peer: str, seen: Seen) -> dict[str, Any]:
        sample = self.best(peer)
        return {
            "engine": seen.engine,
            "version": seen.version,
            "skew_seconds": None if sample is None else round(sample.skew_seconds, 3),
            "round_trip_ms": None if sample is None else round(sample.round_trip_seconds * 1000, 3),
        }


def contradict(one: Sample, other: Sample) -> bool:
    """Whether no single difference of two clocks explains both."""
    doubt = (one.round_trip_seconds + other.round_trip_seconds) / 2
    return abs(one.skew_seconds - other.skew_seconds) > doubt + DRIFT_SECONDS


def seconds_of(text: Any) -> float | None:
    """Seconds since 1970 of an RFC 3339 time; None if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
