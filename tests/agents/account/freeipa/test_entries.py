from __future__ import annotations

import json
from pathlib import Path

from openportal.agents.account.freeipa.entries import (
    Account,
    Group,
    account_of,
    find_groups,
    find_users,
    group_of,
    show_group,
    show_user,
)

ANSWERS = json.loads(Path(__file__).with_name("answers.json").read_text())["answers"]


def test_a_user_as_it_was_recorded() -> None:
    found = account_of(ANSWERS["user"]["result"]["result"])
    assert found == Account(
        "rec.here",
        "rec.here.brics",
        "/home/rec.here",
        False,
        frozenset({"ipausers", "rec.group"}),
        frozenset({"openportal"}),
    )
    assert str(found.user) == "rec.here.brics"


def test_a_disabled_user_as_it_was_recorded() -> None:
    assert account_of(ANSWERS["disabled user"]["result"]["result"]).disabled is True


def test_a_group_as_it_was_recorded() -> None:
    found = group_of(ANSWERS["group"]["result"]["result"])
    assert found == Group("rec.group", "group.rec | words")
    assert str(found.project) == "group.rec"
    [listed] = ANSWERS["groups"]["result"]["result"]
    assert group_of(listed).members == {"rec.here", "rec.twice"}


def test_texts_that_name_nobody() -> None:
    assert account_of({"uid": ["x"], "cn": ["Alice Smith"], "nsaccountlock": ["TRUE"]}).user is None
    assert account_of({"uid": ["x"], "nsaccountlock": ["TRUE"]}).disabled is True
    assert group_of({"cn": ["x"], "description": ["The staff | 3"]}).project is None
    assert group_of({"cn": "x"}) == Group("x")


def test_the_calls_of_a_look() -> None:
    assert show_user("x").options == {"all": True}
    assert show_group("x").options == {"no_members": True}
    assert find_users(in_group=["x"]).options["sizelimit"] == 0
    assert find_groups("brics.").name == "brics."
