"""What an agent made, from the events of its ledger."""

from __future__ import annotations

from openportal.agents.scheduler.slurm.made import made_of
from openportal.grammar.identifiers import ProjectMapping, UserMapping
from openportal.templemeads.events import Ended, Received, Started
from openportal.templemeads.ledger import Recorded

PROJECT = ProjectMapping.parse("demo.brics:brics.demo")
ALICE = UserMapping.parse("alice.demo.brics:alice:brics.demo")
BOARD = "board:shared@default"


def ledger(*told: tuple[str | None, str | None]) -> list[Recorded]:
    """Jobs one after the other, by instruction (None if it was erased) and the kind of failure."""
    events = []
    for number, (instruction, kind) in enumerate(told):
        command = None if instruction is None else f"shared.slurm {instruction}"
        id = f"job-{number}"
        events += [Received(id, 0, 0, 2, command=command), Started(id), Ended(id, 3, kind=kind)]
    return [Recorded(position, position, 0.0, BOARD, position, event) for position, event in enumerate(events, 1)]


def test_what_was_carried_out_counts_in_order() -> None:
    made = made_of(
        ledger(
            (f"add_local_project {PROJECT}", None),
            (f"add_local_user {ALICE}", None),
            (f"set_local_limit {PROJECT} 10", None),
            (f"set_local_limit {PROJECT} 2 hours", None),
            (f"get_local_limit {PROJECT}", None),
        )
    )
    assert (made.projects, made.users, made.limits) == ({PROJECT: True}, {ALICE: True}, {PROJECT: 7200})


def test_a_user_comes_with_the_project() -> None:
    assert made_of(ledger((f"add_local_user {ALICE}", None))).projects == {PROJECT: True}


def test_what_was_removed_is_remembered_as_that() -> None:
    told = [f"add_local_user {ALICE}", f"remove_local_user {ALICE}", f"remove_local_project {PROJECT}"]
    made = made_of(ledger(*((text, None) for text in told)))
    assert (made.projects, made.users) == ({PROJECT: False}, {ALICE: False})


def test_what_failed_or_is_unknown_does_not_count() -> None:
    made = made_of(
        ledger(
            (f"add_local_project {PROJECT}", "unavailable"),
            (None, None),
            ("sing_local_song demo.brics:brics.demo", None),
            (f"set_local_limit {PROJECT} some", None),
        )
    )
    assert (made.projects, made.users, made.limits) == ({}, {}, {})


def test_a_job_that_has_not_ended_does_not_count() -> None:
    assert made_of(ledger((f"add_local_project {PROJECT}", None))[:-1]).projects == {}
