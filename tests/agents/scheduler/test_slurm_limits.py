"""Limits in node seconds, and as Slurm counts them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openportal.agents.scheduler.slurm.limits import (
    LIMIT_MAX_SECONDS,
    MINUTES_MAX,
    Limit,
    is_applied,
    minutes_of,
    seconds_of,
)
from openportal.grammar.quantities import Node

NODE = Node(cpus=64, gpus=4, memory_mb=128_000, billing=160)
seconds = st.integers(0, LIMIT_MAX_SECONDS)
nodes = st.builds(
    Node, cpus=st.integers(0, 512), gpus=st.integers(0, 16), memory_mb=st.integers(0, 4_000_000),
    billing=st.integers(0, 10_000),
)  # fmt: skip


def test_only_what_a_node_has_is_limited() -> None:
    assert minutes_of(3600, NODE) == {"cpu": 3840, "gres/gpu": 240, "mem": 7_680_000, "billing": 9600}
    assert minutes_of(3600, Node(cpus=8)) == {"cpu": 480}
    assert minutes_of(0, Node(gpus=4)) == {"gres/gpu": 0}


@given(seconds, nodes)
def test_no_number_is_too_large_for_slurm(limit: int, node: Node) -> None:
    assert all(0 <= amount <= MINUTES_MAX for amount in minutes_of(limit, node).values())


@given(st.integers(0, 10**12), nodes.filter(lambda node: any((node.cpus, node.gpus, node.memory_mb, node.billing))))
def test_what_slurm_allows_is_what_was_asked_for_but_for_a_minute(limit: int, node: Node) -> None:
    allowed = seconds_of(minutes_of(limit, node), node)
    assert allowed is not None
    assert limit - 60 < allowed <= limit


def test_the_scarcest_resource_decides() -> None:
    assert seconds_of({"cpu": 3840, "gres/gpu": 1, "node": 7}, NODE) == 15
    assert seconds_of({"node": 7}, NODE) is None
    assert seconds_of({}, NODE) is None
    assert seconds_of({"cpu": 0}, NODE) == 0


def test_limits_on_other_resources_do_not_matter() -> None:
    wanted = {"cpu": 3840}
    assert is_applied({"cpu": 3840, "node": 1}, wanted)
    assert not is_applied({"cpu": 3841}, wanted)
    assert not is_applied({}, wanted)


def test_what_the_site_bears_is_added_and_only_rises_within_a_month() -> None:
    limit = Limit(1000).corrected(300, "2026-11")
    assert (limit.requested, limit.applied) == (1000, 1300)
    assert limit.corrected(200, "2026-11").applied == 1300
    assert limit.corrected(400, "2026-11").applied == 1400
    assert limit.corrected(50, "2026-12").applied == 1050
    assert limit.asking(2000).applied == 2300


def test_nothing_stays_nothing() -> None:
    assert Limit(0).corrected(300, "2026-11").applied == 0


@given(seconds, seconds)
def test_a_sum_does_not_overflow(one: int, other: int) -> None:
    assert Limit(one).corrected(other, "2026-11").applied <= LIMIT_MAX_SECONDS
