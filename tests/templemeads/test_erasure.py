"""Whose key seals an answer, where a name is found, and what is left of a checkpoint."""

from __future__ import annotations

import json

import pytest

from openportal.templemeads.erasure import names, naming, owner_of, owner_of_effect, redacted
from openportal.templemeads.events import Received
from openportal.templemeads.ledger import ERASED

ALICE = "alice.demo.brics"


@pytest.mark.parametrize(
    ("subject", "result", "result_type", "owner"),
    [
        (ALICE, '"alice"', "String", ALICE),
        ("demo.brics", "[]", "Vec", "job:j"),
        (None, "[]", "Vec", "job:j"),
        ("demo.brics", "true", "bool", "demo.brics"),
        ("demo.brics", None, "None", "demo.brics"),
        (None, None, None, None),
        ("demo.brics", "alice cannot be removed", None, "job:j"),
    ],
)
def test_an_answer_that_may_name_several_people_has_a_key_of_its_own(
    subject: str | None, result: str | None, result_type: str | None, owner: str | None
) -> None:
    assert owner_of(subject, "j", result, result_type) == owner


def test_an_effect_of_a_project_has_a_key_of_its_own() -> None:
    assert owner_of_effect(ALICE, "j") == ALICE
    assert owner_of_effect("demo.brics", "j") == "job:j"
    assert owner_of_effect(None, "j") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ALICE, True),
        (f'["{ALICE}:alice.demo:brics.demo"]', True),
        (f"there is no {ALICE}.", True),
        (f"a{ALICE}", False),
        (f"x.{ALICE}", False),
        (f"{ALICE}2", False),
        (f"{ALICE}.isambard", False),
        ("alice.demo", True),
        ("/home/demo/alice.demo", True),
        ("users/demo.brics/alice", True),
        ("users/demo.brics/alice2", False),
        ("xdemo.brics/alice", False),
        ("alice.demo2", False),
        ("alice", False),
    ],
)
def test_a_name_is_found_and_no_longer_one(text: str, found: bool) -> None:
    pattern = naming(ALICE)
    assert (pattern.search(text) is not None) == found
    assert names(Received("j", 0, 9, 1, None, text), pattern) == found


def test_a_checkpoint_is_rid_of_a_person() -> None:
    state = {"a": [f"add_user {ALICE}", "bob.demo.brics"], "b": {ALICE: 1, "c": None}, "d": {"result": f'["{ALICE}"]'}}
    told = json.loads(redacted(json.dumps(state).encode(), ALICE))
    assert told == {"a": [ERASED, "bob.demo.brics"], "b": {ERASED: 1, "c": None}, "d": {"result": ERASED}}
