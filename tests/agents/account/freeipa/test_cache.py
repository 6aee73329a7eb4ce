from __future__ import annotations

from openportal.agents.account.freeipa.cache import KnownGroups
from openportal.agents.account.freeipa.entries import Group


def test_the_one_that_was_not_used_for_longest_goes_first() -> None:
    known = KnownGroups(2)
    known.put(Group("a"))
    known.put(Group("b"))
    assert known.get("a") == Group("a")
    known.put(Group("c"))
    assert known.get("b") is None
    assert known.get("a") is not None
    assert len(known) == 2


def test_one_is_forgotten_and_the_others_stay() -> None:
    known = KnownGroups()
    known.put(Group("a", "old"))
    known.put(Group("a", "new"))
    known.put(Group("b"))
    known.forget("b")
    known.forget("never there")
    assert known.get("a") == Group("a", "new")
    assert known.get("b") is None
