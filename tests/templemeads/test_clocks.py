"""How far clocks are apart, from round trips: what is certain, what the quickest says, what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from openportal.templemeads.clocks import MAX_PEERS, SAMPLES_KEPT, Clocks, Sample, seconds_of
from openportal.templemeads.health import moment

PEER = "aip1@default"


def health(at: float, **more: Any) -> dict[str, Any]:
    return {"current_time": moment(at).isoformat(), "engine": "templemeads", "version": "0.94.0", **more}


def test_a_clock_is_compared_with_the_middle_of_the_round_trip() -> None:
    clocks = Clocks()
    clocks.answered(PEER, health(1006.5), 1000.0, 1001.0)
    assert clocks.best(PEER) == Sample(1.0, 6.0)
    assert clocks.skew(PEER) == 5.5  # half a second may be the way
    clocks.answered(PEER, health(1004.05), 1010.0, 1010.1)
    assert clocks.skew(PEER) == pytest.approx(-5.95)
    assert clocks.told() == {
        PEER: {"engine": "templemeads", "version": "0.94.0", "skew_seconds": -6.0, "round_trip_ms": 100.0}
    }


def test_what_the_way_may_explain_is_no_skew() -> None:
    clocks = Clocks()
    clocks.answered(PEER, health(1000.9), 1000.0, 1001.0)
    assert clocks.skew(PEER) == 0.0
    assert clocks.skew("nobody@default") is None


def test_a_clock_that_was_set_is_seen_at_the_next_look() -> None:
    clocks = Clocks()
    clocks.answered(PEER, health(1000.0), 1000.0, 1000.001)
    clocks.answered(PEER, health(1060.0 + 86_400), 1060.0, 1060.002)
    assert clocks.skew(PEER) == pytest.approx(86_400, abs=0.1)


def test_old_round_trips_are_forgotten_and_all_with_the_link() -> None:
    clocks = Clocks()
    clocks.answered(PEER, health(1000.0), 1000.0, 1000.001)
    for _ in range(SAMPLES_KEPT):
        clocks.answered(PEER, health(1010.0), 1000.0, 1002.0)
    assert clocks.best(PEER) == Sample(2.0, 9.0)
    clocks.forget(PEER)
    assert clocks.skew(PEER) is None
    assert clocks.told()[PEER]["skew_seconds"] is None


@pytest.mark.parametrize("time", [None, "soon", 5, "9999999-01-01T00:00:00Z", []])
def test_a_time_that_cannot_be_read_says_nothing(time: Any) -> None:
    clocks = Clocks()
    clocks.answered(PEER, health(0.0, current_time=time, version=7), 1000.0, 1001.0)
    assert clocks.skew(PEER) is None
    assert clocks.seen[PEER].version == "7"
    assert seconds_of(time) is None


def test_our_own_clock_may_be_set_back_in_between() -> None:
    clocks = Clocks()
    clocks.answered(PEER, health(1000.0), 1000.0, 900.0)
    assert clocks.best(PEER) is None


def test_neighbours_are_bounded() -> None:
    clocks = Clocks()
    for number in range(MAX_PEERS + 5):
        clocks.answered(f"p{number}@default", health(1.0), 1.0, 1.0)
    assert len(clocks.seen) == MAX_PEERS
