from __future__ import annotations

from openportal.agents.account.freeipa.masters import PROBE_SECONDS, UNANSWERED_MAX, Masters

WINDOW = 30.0


def three() -> Masters:
    return Masters(["a", "b", "c"], "b", WINDOW)


def test_writes_go_to_the_usual_master_and_nobody_is_probed() -> None:
    masters = three()
    assert masters.writer(0.0) == "b"
    assert masters.others("b") == ["a", "c"]
    assert masters.probes(0.0) == []


def test_one_timeout_moves_nothing_and_three_in_a_row_do() -> None:
    masters = three()
    for _ in range(UNANSWERED_MAX - 1):
        masters.failed("b", certain=False)
        assert masters.writer(0.0) == "b"
    masters.answered("b", 0.0)
    for _ in range(UNANSWERED_MAX - 1):
        masters.failed("b", certain=False)
        assert masters.writer(0.0) == "b"
    masters.failed("b", certain=False)
    assert masters.writer(0.0) == "c"
    assert masters.is_down("b")


def test_a_refusal_moves_at_once_to_the_next_in_the_list() -> None:
    masters = three()
    masters.failed("b", certain=True)
    assert masters.writer(0.0) == "c"
    masters.failed("c", certain=True)
    assert masters.writer(0.0) == "a"
    masters.failed("a", certain=True)
    assert masters.writer(0.0) == "b"  # none is left, so the usual one is asked


def test_it_is_back_when_it_has_answered_for_a_window() -> None:
    masters = three()
    masters.failed("b", certain=True)
    assert masters.writer(0.0) == "c"
    masters.answered("b", 100.0)
    assert masters.writer(100.0 + WINDOW - 1) == "c"
    masters.failed("b", certain=False)  # the window begins anew
    masters.answered("b", 120.0)
    assert masters.writer(120.0 + WINDOW - 1) == "c"
    assert masters.writer(120.0 + WINDOW) == "b"


def test_who_is_away_is_asked_now_and_then() -> None:
    masters = three()
    masters.failed("b", certain=True)
    masters.failed("a", certain=True)
    assert masters.writer(0.0) == "c"
    assert masters.probes(0.0) == ["a", "b"]
    assert masters.probes(PROBE_SECONDS - 1) == []
    assert masters.probes(PROBE_SECONDS) == ["a", "b"]
    masters.answered("a", 6.0)
    masters.answered("b", 6.0)
    assert masters.probes(2 * PROBE_SECONDS) == ["b"]  # the usual one, until it is written to again


def test_one_master_alone_is_never_left() -> None:
    masters = Masters(["a"], "a", WINDOW)
    masters.failed("a", certain=True)
    assert masters.writer(0.0) == "a"
    assert masters.probes(100.0) == []
