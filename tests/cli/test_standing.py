"""How an agent stood: its boards, jobs and steps, for programs and for people."""

from __future__ import annotations

from openportal.cli.standing import lines, plain
from openportal.templemeads.events import (
    AGENT_STREAM,
    Ended,
    Intended,
    Joined,
    PeerKnown,
    Received,
    Sent,
    Started,
    StepRefused,
    board_stream,
)
from openportal.templemeads.ledger import Event
from openportal.templemeads.state import AgentState

ALICE = "alice.demo.brics"
ABOVE, ACCT = "clusters@default", "acct@default"


def sent(id: str, step: str, command: str) -> Sent:
    return Sent(id, 0, 100, 2, ALICE, command, via=ABOVE, parent="job", step=step)


def state_of(*events: tuple[str, Event]) -> AgentState:
    state = AgentState("shared", [])
    for stream, event in events:
        state.apply(stream, event, 1.0)
    return state


STATE = state_of(
    (AGENT_STREAM, PeerKnown(ACCT, "Account")),
    (board_stream(ABOVE), Received("job", 0, 100, 1, ALICE, "clusters.shared add_user alice.demo.brics")),
    (board_stream(ABOVE), Started("job", 2)),
    (board_stream(ABOVE), Intended("job", 1, "x")),
    (board_stream(ACCT), sent("s1", "account.is_existing_user#1", "shared.acct is_existing_user alice.demo.brics")),
    (board_stream(ACCT), Ended("s1", 3, ALICE, "false", "bool")),
    (board_stream(ACCT), sent("s2", "account.add_user#1", "shared.acct add_user alice.demo.brics")),
    (board_stream(ABOVE), StepRefused("job", "scheduler.add_user#1", "unavailable", "nobody is there")),
    (board_stream(ACCT), sent("s3", "account.add_user#2", "shared.acct add_user alice.demo.brics")),
    (board_stream(ACCT), Joined("s3", "s2")),
)


def test_for_people() -> None:
    assert list(lines(STATE)) == [
        "shared",
        "  acct@default (Account): 2 open",
        "    to it s2 Pending: shared.acct add_user alice.demo.brics",
        "    to it s3 Pending, waits for the outcome of s2: shared.acct add_user alice.demo.brics",
        "  clusters@default (never registered): 1 open",
        "    from it job Pending, attempt 2, 1 effects: clusters.shared add_user alice.demo.brics",
        "      account.is_existing_user#1: complete: false",
        "      account.add_user#1: asked, no answer yet",
        "      account.add_user#2: asked, no answer yet",
        "      scheduler.add_user#1: unavailable: nobody is there",
    ]


def test_for_programs() -> None:
    told = plain(STATE)
    assert told["neighbours"] == {ACCT: "Account"}
    assert told["ended"] == {ABOVE: 0, ACCT: 1}
    [job] = told["boards"][ABOVE]
    assert (job["job"], job["direction"], job["attempts"], job["effects"]) == ("job", "inbound", 2, 1)
    assert job["steps"] == [
        {"step": "account.is_existing_user#1", "job": "s1", "outcome": "complete", "result": "false"},
        {"step": "account.add_user#1", "job": "s2", "outcome": None, "result": None},
        {"step": "account.add_user#2", "job": "s3", "outcome": None, "result": None},
        {"step": "scheduler.add_user#1", "job": None, "outcome": "unavailable", "result": "nobody is there"},
    ]
    assert [(one["job"], one["waits_for"], one["parent"]) for one in told["boards"][ACCT]] == [
        ("s2", None, "job"),
        ("s3", "s2", "job"),
    ]
