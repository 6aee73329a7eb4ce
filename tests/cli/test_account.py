"""One job over several agents as a tree: what is printed of it, and which hop is said to have decided it."""

from __future__ import annotations

from typing import Any

import pytest

from openportal.cli.account import build, lines, why
from openportal.templemeads.events import (
    Ended,
    Intended,
    Joined,
    Late,
    Observed,
    Quarantined,
    Received,
    Sent,
    Started,
    StepRefused,
    board_stream,
)
from openportal.templemeads.ledger import Event, Recorded

ALICE = "alice.demo.brics"
ADD = f"add_user {ALICE}"


def log(*events: tuple[float, str, Event]) -> list[Recorded]:
    """The ledger of one agent: time, neighbour and event of each."""
    return [Recorded(n, n, at, board_stream(f"{peer}@default"), n, e) for n, (at, peer, e) in enumerate(events, 1)]


def received(id: str, command: str) -> Received:
    return Received(id, 0, 100, 1, ALICE, command)


def sent(id: str, command: str, **more: Any) -> Sent:
    return Sent(id, 0, 100, 1, ALICE, command, **more)


def facility(end: Ended | None, leaf: list[tuple[float, str, Event]], step_end: Ended | None) -> dict[str, Any]:
    """A bridge, an instance and its account agent; `end` is how the job ended at all of them."""
    ends: list[Any] = [] if end is None else [end]
    return {
        "bridge": log((1.0, "shared", sent("j", ADD, client="default")), *[(1.9, "shared", e) for e in ends]),
        "shared": log(
            (1.1, "bridge", received("j", ADD)),
            (1.2, "bridge", Started("j")),
            (1.3, "acct", sent("s", ADD, parent="j", step="account.add_user#1")),
            (1.4, "bridge", Started("j", 2)),
            *([(1.7, "acct", step_end)] if step_end else []),
            *[(1.8, "bridge", e) for e in ends],
        ),
        "acct": log(*leaf),
    }


WORKED: list[tuple[float, str, Event]] = [
    (1.5, "shared", received("s", ADD)),
    (1.5, "shared", Started("s")),
    (1.55, "shared", Intended("s", 1, "create user", ALICE, "users/alice")),
]
DONE = [*WORKED, (1.6, "shared", Observed("s", 1)), (1.65, "shared", Ended("s", 2, ALICE, '"alice"'))]


def test_a_job_that_went_well_hop_by_hop() -> None:
    [root] = build(facility(Ended("j", 2, ALICE, '"alice"'), DONE, Ended("s", 2, ALICE, '"alice"')))
    assert list(lines(root)) == [
        f"    +0.000 bridge: {ADD} (asked by the key default)",
        f"    +0.100   shared: {ADD}, begun 2 times",
        "    +0.300     account.add_user#1: asked of acct",
        f"    +0.500       acct: {ADD}",
        "    +0.550         effect 1: create user users/alice: done in 50 ms",
        '    +0.650       acct: complete: "alice"',
        "    +0.400     attempt 2",
        '    +0.800   shared: complete: "alice"',
        '    +0.900 bridge: complete: "alice"',
    ]
    assert why(root) == 'It is complete: "alice"'


def test_the_hop_that_failed_first_is_named_with_its_effect() -> None:
    failed = [
        *WORKED,
        (1.6, "shared", Observed("s", 1, False, ALICE, "no space")),
        (1.65, "shared", Ended("s", 2, ALICE, "useradd failed", kind="run")),
    ]
    ended, step = Ended("j", 2, ALICE, "account: useradd failed", kind="run"), Ended("s", 2, ALICE, "x", kind="run")
    [root] = build(facility(ended, failed, step))
    assert why(root) == (
        "It ended at acct as run: useradd failed (effect 1: create user users/alice: failed after 50 ms: no space)"
    )


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        ([], "shared waits for acct, whose log does not tell of it; see that it runs and has its link."),
        (
            WORKED[:1],
            "acct has it and has not begun: an earlier change of the same subject, or its sender, holds it up.",
        ),
        (WORKED, "acct is at work on it, attempt 1."),
    ],
)
def test_what_an_open_job_waits_for(leaf: list[tuple[float, str, Event]], words: str) -> None:
    [root] = build(facility(None, leaf, None))
    assert why(root) == f"It is open: {words}"
    assert ("nobody knows what came of it" in "\n".join(lines(root))) == (leaf == WORKED)


def test_a_neighbour_that_never_saw_it_is_named() -> None:
    late = Ended("j", 2, ALICE, "no answer from acct", kind="expired")
    [root] = build(facility(late, [], Ended("s", 2, ALICE, "no answer", kind="expired")))
    assert why(root) == (
        "It ended at shared as expired: no answer from acct It had asked acct, whose log does not tell of it."
    )
    assert "    +0.300     account.add_user#1: asked of acct, whose log does not tell of it" in list(lines(root))


def test_everything_else_is_noted_where_it_happened() -> None:
    events: list[tuple[float, str, Event]] = [
        (1.0, "shared", received("j", ADD)),
        (1.1, "shared", StepRefused("j", "scheduler.add_user#1", "unavailable", "nobody is there")),
        (1.2, "shared", Quarantined("j", 4)),
        (1.3, "shared", Joined("j", "k")),
        (1.4, "shared", Ended("j", 2, ALICE, size=20000, sha256="ab")),
        (1.5, "shared", Late("j", 3, True)),
        (1.6, "shared", Late("unknown", 3, True)),
    ]
    [root] = build({"acct": log(*events)})
    assert list(lines(root))[1:] == [
        "    +0.100   scheduler.add_user#1 could not be asked: nobody is there",
        "    +0.200   in quarantine after attempt 4",
        "    +0.300   not sent: it gets the outcome of k, which asks the same",
        "    +0.500   another outcome came later (complete): not used",
        "    +0.400 acct: complete: 20000 characters, SHA-256 ab",
    ]


def test_jobs_of_several_trees_are_in_order_of_time() -> None:
    second = log((2.0, "x", received("b", ADD)), (1.0, "x", received("a", ADD)))
    assert [root.job for root in build({"acct": second})] == ["a", "b"]
