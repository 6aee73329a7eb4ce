"""One change at a time per subject, in the order of acceptance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.templemeads.lanes import Lanes, conflict, project_of

SUBJECTS = ["alice.demo.brics", "bob.demo.brics", "demo.brics", "alice.other.brics", "other.brics", "demo.site"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("alice.demo.brics", "alice.demo.brics", True),
        ("alice.demo.brics", "bob.demo.brics", False),
        ("alice.demo.brics", "demo.brics", True),
        ("demo.brics", "demo.brics", True),
        ("demo.brics", "demo.site", False),
        ("alice.demo.brics", "alice.other.brics", False),
    ],
)
def test_conflict(one: str, other: str, expected: bool) -> None:
    assert conflict(one, other) is conflict(other, one) is expected


def test_the_project_of_a_subject() -> None:
    assert project_of("alice.demo.brics") == project_of("demo.brics") == "demo.brics"


def test_a_change_waits_for_an_earlier_one() -> None:
    lanes: Lanes[int] = Lanes()
    lanes.enter(1, "alice.demo.brics")
    lanes.enter(2, "demo.brics")
    lanes.enter(3, "bob.demo.brics")
    assert [lanes.free(1, "alice.demo.brics"), lanes.free(2, "demo.brics"), lanes.free(3, "bob.demo.brics")] == [
        True,
        False,
        False,
    ]
    assert lanes.leave(1, "alice.demo.brics") == [2]
    assert lanes.free(2, "demo.brics")
    assert lanes.leave(2, "demo.brics") == [3]
    assert lanes.free(3, "bob.demo.brics")
    assert lanes.leave(3, "bob.demo.brics") == []
    with pytest.raises(KeyError):
        lanes.free(3, "bob.demo.brics")


def test_users_of_a_project_go_side_by_side() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.enter("a", "alice.demo.brics")
    lanes.enter("b", "bob.demo.brics")
    assert lanes.free("b", "bob.demo.brics")


@given(st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=12), st.data())
def test_whatever_leaves_conflicting_work_goes_in_order(subjects: list[str], data: st.DataObject) -> None:
    lanes: Lanes[int] = Lanes()
    for work, subject in enumerate(subjects):
        lanes.enter(work, subject)
    started = {work for work, subject in enumerate(subjects) if lanes.free(work, subject)}
    left: set[int] = set()
    while len(left) < len(subjects):
        work = data.draw(st.sampled_from(sorted(started - left)))
        earlier = [w for w in range(work) if w not in left and conflict(subjects[w], subjects[work])]
        assert not earlier
        left.add(work)
        started |= {held for held in lanes.leave(work, subjects[work]) if lanes.free(held, subjects[held])}
    assert started == left
