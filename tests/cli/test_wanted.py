"""Which events an operator's filter picks, also those that do not say whom they are about."""

from __future__ import annotations

import pytest

from openportal.cli.wanted import Picker, Wanted
from openportal.templemeads.events import (
    AGENT_STREAM,
    AgentStarted,
    Ended,
    Intended,
    Joined,
    Observed,
    Received,
    Sent,
    Started,
    board_stream,
)
from openportal.templemeads.ledger import Event, Recorded

ALICE, BOB = "alice.demo.brics", "bob.other.brics"


def records(*events: tuple[float, str, Event]) -> list[Recorded]:
    """The ledger of one agent: time, stream and event of each."""
    return [Recorded(n, n, at, stream, n, event) for n, (at, stream, event) in enumerate(events, 1)]


def received(id: str, subject: str | None) -> Received:
    return Received(id, 0, 100, 1, subject, f"brics.aip1 add_user {subject}")


def sent(id: str, subject: str, client: str | None = None) -> Sent:
    return Sent(id, 0, 100, 1, subject, f"go {id}", client=client)


SHARED = board_stream("shared@default")
LOG = records(
    (1.0, SHARED, received("a1", ALICE)),
    (1.1, SHARED, Started("a1")),
    (1.2, SHARED, Intended("a1", 1, "create user", ALICE, "users/demo.brics/alice")),
    (1.3, SHARED, Observed("a1", 1)),
    (1.4, SHARED, received("p1", "demo.brics")),
    (1.5, SHARED, Joined("p1", "a1")),
    (1.6, SHARED, received("b1", BOB)),
    (1.7, SHARED, Ended("b1", 2, BOB)),
    (1.8, SHARED, received("n1", None)),
    (1.9, AGENT_STREAM, AgentStarted("1", 2)),
    (2.0, board_stream("brics@south"), sent("c1", ALICE, "reporting")),
    (2.1, board_stream("brics@south"), Ended("c1", 2, ALICE)),
)


@pytest.mark.parametrize(
    ("wanted", "positions"),
    [
        (Wanted(), list(range(1, 13))),
        (Wanted(jobs=["a1"]), [1, 2, 3, 4]),
        (Wanted(user=ALICE), [1, 2, 3, 4, 11, 12]),
        (Wanted(user="alice"), []),
        (Wanted(project="demo.brics"), [1, 2, 3, 4, 5, 6, 11, 12]),
        (Wanted(project="other.brics"), [7, 8]),
        (Wanted(project="emo.brics"), []),
        (Wanted(peer="shared"), list(range(1, 10))),
        (Wanted(peer="share"), []),
        (Wanted(peer="brics@south"), [11, 12]),
        (Wanted(peer="brics@north"), []),
        (Wanted(peer="agent"), []),
        (Wanted(key="reporting"), [11, 12]),
        (Wanted(key="default"), []),
        (Wanted(user=ALICE, jobs=["b1"]), []),
        (Wanted(user=ALICE, peer="shared", since=1.2), [3, 4]),
        (Wanted(since=1.2, until=1.4), [3, 4]),
        (Wanted(until=1.0), []),
    ],
)
def test_what_is_wanted(wanted: Wanted, positions: list[int]) -> None:
    picker = Picker(wanted)
    picker.learn(LOG)
    assert [one.position for one in LOG if picker.matches(one)] == positions


def test_what_a_key_asked_for_is_found_at_the_agents_beyond() -> None:
    picker = Picker(Wanted(key="reporting"))
    beyond = records((2.05, board_stream("bridge@default"), received("c1", ALICE)), (2.06, SHARED, Started("x1")))
    assert not any(map(picker.matches, beyond))
    picker.learn(LOG)
    assert [one.position for one in beyond if picker.matches(one)] == [1]
