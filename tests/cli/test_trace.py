"""Events in words, the family and the account of a job, which jobs were resumed."""

from __future__ import annotations

import msgspec
import pytest

from openportal.cli import trace
from openportal.cli.trace import Resumed, family, line, resumed, timeline
from openportal.templemeads.events import (
    AGENT_STREAM,
    EVENTS,
    AgentStarted,
    Ended,
    Intended,
    Late,
    Observed,
    OfferingsSet,
    Received,
    Sent,
    Started,
    board_stream,
)
from openportal.templemeads.ledger import Event, Recorded
from openportal.templemeads.ledger.format import Unknown

ALICE, BOB = "alice.demo.brics", "bob.other.brics"
SAMPLES = {str: "x", int: 7, bool: True, list[str]: ["a.b", "c.d"]}


def sample(event: type[Event]) -> Event:
    """An event with every required field filled."""
    required = [field for field in msgspec.structs.fields(event) if field.required]
    return event(**{field.name: SAMPLES[field.type] for field in required})


def full(event: type[Event]) -> Event:
    """An event with every field filled."""
    values = {}
    for field in msgspec.structs.fields(event):
        optional = {str | None: str, int | None: int}
        values[field.name] = SAMPLES[optional.get(field.type, field.type)]
    return event(**values)


def recorded(event: Event, at: float = 1.0, peer: str = "aip1@default", position: int = 1) -> Recorded:
    return Recorded(position, position, at, board_stream(peer) if peer else AGENT_STREAM, position, event)


def records(*events: tuple[float, str, Event]) -> list[Recorded]:
    """The ledger of one agent: time, neighbour and event of each."""
    return [recorded(event, at, peer, n) for n, (at, peer, event) in enumerate(events, 1)]


def received(id: str, subject: str | None = None) -> Received:
    return Received(id, 0, 100, 1, subject, f"brics.aip1 add_user {subject}")


def sent(id: str, parent: str | None = None, step: str | None = None) -> Sent:
    return Sent(id, 0, 100, 1, None, f"go {id}", parent=parent, step=step)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
@pytest.mark.parametrize("make", [sample, full], ids=["required fields", "every field"])
def test_every_event_has_words_of_its_own(event: type[Event], make: type[Event]) -> None:
    one = make(event)
    found = line("brics", recorded(one))
    assert event in trace.WORDS
    assert found.words != str(one)
    assert found.event == event.TOPIC
    assert "None" not in found.words


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Received("j", 0, 9, 1, ALICE, "brics add_user alice.demo.brics"), "brics add_user alice.demo.brics"),
        (Received("j", 0, 9, 1), ""),
        (sent("k", "j", "account"), "go k (step account)"),
        (Sent("k", 0, 9, 1, None, "go", client="default"), "go (key default)"),
        (
            Intended("j", 1, "create user", ALICE, "users/demo.brics/alice"),
            "effect 1: create user users/demo.brics/alice",
        ),
        (Intended("j", 1, "create user"), "effect 1: create user"),
        (Observed("j", 1), "effect 1: done"),
        (Observed("j", 2, ok=False, detail="no room"), "effect 2: failed: no room"),
        (Ended("j", 2), "complete"),
        (Ended("j", 2, result='"x"', result_type="String"), 'complete: "x"'),
        (Ended("j", 2, result="it is full", kind="run"), "run: it is full"),
        (Ended("j", 2, kind="expired"), "expired"),
        (Ended("j", 2, size=2000000, sha256="ab"), "complete: 2000000 bytes, SHA-256 ab"),
        (Late("j", 2, ok=False), "failed, too late"),
        (OfferingsSet([]), "none"),
        (AgentStarted("0.1.0", 42), "version 0.1.0, process 42"),
    ],
)
def test_words(event: Event, words: str) -> None:
    assert line("brics", recorded(event)).words == words


def test_a_line_says_whose_board_it_is_and_which_job() -> None:
    found = line("brics", recorded(received("j", ALICE), 5.5, "aip1@south", 3))
    assert found[:6] == (5.5, "brics", 3, "aip1@south", "Received", "j")
    assert found.plain()["words"] == f"brics.aip1 add_user {ALICE}"
    assert line("brics", recorded(AgentStarted("1", 2), peer=""))[3:6] == ("", "AgentStarted", "")


def test_an_event_of_a_newer_version_is_shown_as_it_is() -> None:
    found = line("brics", recorded(Unknown("Moved", 2, {"id": "j", "to": "x"})))
    assert found.event == "Unknown"
    assert "Moved" in found.words
    assert "to" in found.words


# --- one job ----------------------------------------------------------------------------------------------------------

SHARED = records(
    (1.0, "clusters@default", received("job", ALICE)),
    (1.1, "clusters@default", Started("job")),
    (1.2, "acct@default", sent("step1", "job", "account")),
    (1.5, "acct@default", Ended("step1", 2)),
    (1.6, "fs@default", sent("step2", "job", "home")),
    (1.7, "clusters@default", received("other", BOB)),
    (1.8, "acct@default", sent("step3", "other", "account")),
)
ACCT = records(
    (1.3, "shared@default", received("step1", ALICE)),
    (1.4, "shared@default", Intended("step1", 1, "create user", ALICE, "users/demo.brics/alice")),
    (1.4, "shared@default", Observed("step1", 1)),
    (1.9, "shared@default", received("step3", BOB)),
)


def test_a_family_is_over_all_agents_and_all_generations() -> None:
    deep = {
        "a": records((0, "b@z", sent("k", "j"))),
        "b": records((0, "c@z", sent("m", "l")), (0, "c@z", sent("l", "k"))),
    }
    assert family(deep, "j") == {"j", "k", "l", "m"}
    assert family({"shared": SHARED, "acct": ACCT}, "job") == {"job", "step1", "step2"}
    assert family({}, "job") == {"job"}


def test_a_timeline_is_in_order_of_time_and_holds_the_family_only() -> None:
    lines = timeline({"shared": SHARED, "acct": ACCT}, "job")
    assert [(one.agent, one.event, one.job) for one in lines] == [
        ("shared", "Received", "job"),
        ("shared", "Started", "job"),
        ("shared", "Sent", "step1"),
        ("acct", "Received", "step1"),
        ("acct", "Intended", "step1"),
        ("acct", "Observed", "step1"),
        ("shared", "Ended", "step1"),
        ("shared", "Sent", "step2"),
    ]


def test_a_job_that_is_begun_again_is_told_with_where_it_went_on() -> None:
    found = resumed(records(*[(r.at, "x@z", r.event) for r in SHARED], (2, "x@z", Started("job", 2))))
    assert found == [Resumed("job", ALICE, 2, 1, "")]
    again = [
        *SHARED[:4],
        recorded(Started("job", 2)),
        recorded(sent("s", "job", "home")),
        recorded(sent("t", "job", "z")),
    ]
    assert resumed(again) == [Resumed("job", ALICE, 2, 1, "home")]
    assert resumed(SHARED) == []


def test_the_last_time_that_a_job_was_taken_up_counts() -> None:
    thrice = [
        *SHARED[:3],
        recorded(Started("job", 2)),
        recorded(Ended("step1", 2)),
        recorded(sent("s", "job", "home")),
        recorded(Started("job", 3)),
        recorded(sent("t", "job", "quota")),
    ]
    assert resumed(thrice) == [Resumed("job", ALICE, 3, 1, "quota")]
