"""Days and projects for the tests of usage, and a strategy for days."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from openportal.grammar.daily_usage import DailyProjectUsageReport
from openportal.grammar.quantities import U64_MAX
from openportal.grammar.usage import ProjectUsageReport


def plain(value: Any) -> Any:
    """A value as the recorded answers show it."""
    if isinstance(value, bool | int | float | None):
        return value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)


def seconds(**used: int) -> dict[str, Any]:
    return {user: {"seconds": number} for user, number in used.items()}


def day(**wire: Any) -> DailyProjectUsageReport:
    return DailyProjectUsageReport.from_wire(wire)


def of_days(days: dict[str, Any], users: dict[str, str] | None = None, project: str = "p.w") -> ProjectUsageReport:
    return ProjectUsageReport.from_wire({"project": project, "reports": days, "users": users or {}})


# A day in which every field says something; its answers are those of the published client.
DAY: dict[str, Any] = {
    "reports": seconds(alice=7200, bob=3600, zed=10),
    "components": {"gpu": seconds(alice=3600, bob=60), "cpu": seconds(bob=100)},
    "user_job_counts": {"alice": 10, "bob": 5},
    "user_wait_seconds": {"alice": 1200, "bob": 600},
    "num_jobs": 15,
    "total_wait_seconds": 1800,
    "user_expansion_milli": {"alice": 15000, "bob": 9000},
    "total_expansion_milli": 24000,
    "user_runtime_seconds": {"alice": 5000, "bob": 3000},
    "total_runtime_seconds": 8000,
    "user_expansion_jobs": {"alice": 9, "bob": 4},
    "num_expansion_jobs": 13,
    "user_allocated_cpus": {"alice": 100, "bob": 10},
    "total_allocated_cpus": 110,
    "user_allocated_gpus": {"alice": 4},
    "total_allocated_gpus": 4,
    "requeue_reports": seconds(alice=100, carl=7),
    "requeue_components": {"gpu": seconds(alice=50), "tpu": seconds(bob=3)},
    "user_requeue_events": {"alice": 2, "carl": 1},
    "num_requeue_events": 3,
    "user_requeue_wait_seconds": {"alice": 31},
    "requeue_wait_seconds": 31,
    "requeue_states": {"NODE_FAIL": 2, "PREEMPTED": 1},
    "requeue_state_usage": seconds(NODE_FAIL=100, OTHER=7),
    "charged_requeue_reports": seconds(bob=1000, dave=11),
    "charged_requeue_components": {"gpu": seconds(bob=500), "xpu": seconds(bob=5)},
    "user_charged_requeue_events": {"bob": 4},
    "num_charged_requeue_events": 4,
    "user_charged_requeue_wait_seconds": {"bob": 77},
    "charged_requeue_wait_seconds": 77,
    "charged_requeue_states": {"PREEMPTED": 4, "CANCELLED": 2},
    "charged_requeue_state_usage": seconds(PREEMPTED=1000),
    "reservation_reports": {"res1": seconds(alice=100, bob=50), "res2": seconds(eve=5)},
    "reservation_requeue_usage": {"res1": seconds(alice=9), "res3": seconds(bob=8)},
    "reservation_jobs": {"res1": 3, "res4": 1},
    "is_complete": True,
}
OTHER_DAY = {"reports": seconds(alice=1800, unknown=900), "num_jobs": 2, "num_charged_requeue_events": 1}


FULL = of_days({"2024-01-15": DAY, "2024-01-16": OTHER_DAY}, {"alice.p.w": "alice", "bob.p.w": "bob"})


names = st.sampled_from(["alice", "bob", "unknown"])
counts = st.dictionaries(names, st.integers(0, U64_MAX), max_size=3)
usages = st.dictionaries(names, st.integers(0, U64_MAX).map(lambda number: {"seconds": number}), max_size=3)
nested = st.dictionaries(names, usages, max_size=2)
LIKE = {bool: st.booleans(), int: st.integers(0, U64_MAX)}


def like(value: Any) -> st.SearchStrategy[Any]:
    if not isinstance(value, dict):
        return LIKE[type(value)]
    inner = next(iter(value.values()))
    return counts if isinstance(inner, int) else usages if "seconds" in inner else nested


usage_days = st.fixed_dictionaries({}, optional={name: like(value) for name, value in DAY.items()}).map(
    lambda wire: day(**wire)
)
