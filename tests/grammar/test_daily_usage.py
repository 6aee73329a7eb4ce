import json
from typing import Any

import pytest
from hypothesis import given, settings
from usage_samples import DAY, day, of_days, plain, seconds, usage_days

from openportal.errors import GrammarError
from openportal.grammar.daily_usage import DailyProjectUsageReport
from openportal.grammar.quantities import U64_MAX, Usage
from openportal.grammar.usage import ProjectUsageReport


def charged(used: int) -> dict[str, Any]:
    return {"charged_requeue_reports": seconds(b=1), "reports": seconds(c=used)}


def in_reservation(user: str) -> dict[str, Any]:
    return {"reservation_requeue_usage": {"r": seconds(a=5)}, "reservation_reports": {"r": {user: {"seconds": 5}}}}


def test_every_field_is_written_in_order_as_it_is_read() -> None:
    assert json.dumps(day(**DAY).to_wire()) == json.dumps(DAY)
    assert set(DailyProjectUsageReport.__slots__) == set(DAY)
    assert day().to_wire() == {"reports": {}, "is_complete": False}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total_usage", "3.003 hours"),
        ("total_requeue_usage", "1.783 minutes"),
        ("total_reservation_usage", "2.583 minutes"),
        ("total_usage_including_requeues", "3.033 hours"),
        ("usage_outside_reservations", "2.989 hours"),
        ("average_wait_seconds", 120),
        ("average_requeue_wait_seconds", 10),
        ("average_wait_seconds_including_requeues", 122),
        ("average_runtime_seconds", 615),
        ("average_expansion_factor", 1.8461538461538463),
        ("aggregate_expansion_factor", 1.225),
        ("average_cpus_per_job", 7.333333333333333),
        ("average_gpus_per_job", 0.26666666666666666),
        ("reservations", ["res1", "res2", "res4"]),
        ("has_requeues", True),
        ("has_reservations", True),
        ("is_consistent", False),
        (
            "requeue_state_summary",
            [["NODE_FAIL", 2, "1.667 minutes"], ["OTHER", 0, "7 seconds"], ["PREEMPTED", 1, "0 seconds"]],
        ),
    ],
)
def test_a_full_day_adds_up(name: str, value: object) -> None:
    assert plain(getattr(day(**DAY), name)) == value


def test_a_component_is_shown_in_place_of_all() -> None:
    component = day(**DAY).get_component("gpu").to_wire()
    dropped = {"components", "requeue_components", "charged_requeue_components", "requeue_states", "reservation_jobs"}
    dropped |= {"requeue_state_usage", "charged_requeue_states", "charged_requeue_state_usage"}
    dropped |= {"reservation_reports", "reservation_requeue_usage"}
    assert component == {
        **{name: value for name, value in DAY.items() if name not in dropped},
        "reports": DAY["components"]["gpu"],
        "requeue_reports": DAY["requeue_components"]["gpu"],
        "charged_requeue_reports": DAY["charged_requeue_components"]["gpu"],
    }


def test_only_usages_are_scaled() -> None:
    scaled = (day(**DAY) * 0.3).to_wire()
    changed = {name for name, value in DAY.items() if scaled[name] != value}
    assert changed == {name for name, value in DAY.items() if '"seconds"' in json.dumps(value)}
    assert scaled["requeue_components"] == {"gpu": seconds(alice=15), "tpu": seconds(bob=0)}
    assert (float("nan") * day(reports=seconds(a=5))).total_usage == Usage()


def test_users_who_come_to_have_one_name_are_added() -> None:
    renamed = day(**DAY).renamed({"alice": "bob", "NODE_FAIL": "x", "res1": "y"}).to_wire()
    assert renamed["reports"] == seconds(bob=10800, zed=10)
    assert renamed["reservation_reports"] == {"res1": seconds(bob=150), "res2": seconds(eve=5)}
    for name in ("requeue_states", "requeue_state_usage", "reservation_jobs"):
        assert renamed[name] == DAY[name]


@pytest.mark.parametrize(
    ("wire", "jobs", "runtime", "factor"),
    [
        ({"num_jobs": 2, "total_runtime_seconds": 4000, "total_expansion_milli": 4000}, 2, 2000, 2.0),
        ({"num_jobs": 2, "total_expansion_milli": 4000}, 2, 0, 2.0),
        ({"num_jobs": 2, "num_expansion_jobs": 1}, 1, 0, 0.0),
        ({"num_jobs": 2}, 0, 0, 0.0),
    ],
)
def test_run_times_are_of_all_jobs_where_nothing_else_is_said(
    wire: dict[str, int], jobs: int, runtime: int, factor: float
) -> None:
    report = day(**wire)
    assert (report.expansion_jobs, report.average_runtime_seconds, report.average_expansion_factor) == (
        jobs,
        runtime,
        factor,
    )
    of_project = of_days({"2024-01-01": wire, "2024-01-02": {"num_jobs": 7}}).total
    assert (of_project.expansion_jobs, of_project.average_runtime_seconds) == (jobs, runtime)


@pytest.mark.parametrize(
    ("wire", "consistent"),
    [
        ({"user_job_counts": {"a": 1}}, False),
        ({"user_job_counts": {"a": 1}, "num_jobs": 1}, True),
        ({"num_jobs": 5}, True),
        ({"user_expansion_milli": {"a": 1}}, True),
        ({"requeue_states": {"a": 1}, "num_requeue_events": 2}, False),
        ({"requeue_state_usage": seconds(a=1), "requeue_reports": seconds(b=1)}, True),
        ({"charged_requeue_state_usage": seconds(a=1), "charged_requeue_reports": seconds(b=1)}, True),
        ({"charged_requeue_state_usage": seconds(a=1), **charged(used=2)}, True),
        (charged(used=0), True),
        ({"charged_requeue_reports": seconds(b=2), "reports": seconds(b=1)}, True),
        ({"charged_requeue_reports": seconds(b=3), "reports": seconds(b=1)}, False),
        ({"charged_requeue_reports": seconds(b=2), "reports": seconds(c=5)}, False),
        ({"reservation_requeue_usage": {"r": seconds(a=5)}, "requeue_reports": seconds(b=5)}, False),
        ({**in_reservation("a"), "requeue_reports": seconds(b=5)}, True),
        ({**in_reservation("b"), "requeue_reports": seconds(b=5)}, False),
        ({**in_reservation("a"), "requeue_reports": seconds(b=4)}, True),
        ({**in_reservation("a"), "requeue_reports": seconds(b=3)}, False),
        ({"reservation_reports": {"r": seconds(a=2, b=2)}, "reports": seconds(c=2)}, True),
        ({"reservation_reports": {"r": seconds(a=2, b=2)}, "reports": seconds(c=1)}, False),
        ({"user_job_counts": {"a": U64_MAX, "b": 1}, "num_jobs": U64_MAX}, True),
    ],
)
def test_totals_go_with_their_maps(wire: dict[str, Any], consistent: bool) -> None:
    assert day(**wire).is_consistent is consistent


@pytest.mark.parametrize(
    "wire",
    [
        *({"num_jobs": value} for value in (1.0, 2**64, -1, None, "1", True)),
        *(
            {"reports": value}
            for value in (None, [], {"a": 5}, {"a": {}}, {"a": {"seconds": 1.0}}, {"a": {"seconds": -1}})
        ),
        *({"reports": {"a": {"seconds": value}}} for value in (True, None, 2**64, "1")),
        *({"components": value} for value in (None, {"gpu": None}, {"gpu": {"a": 1}})),
        *({"requeue_states": value} for value in ({"X": -1}, {"X": True}, {"X": None}, None)),
        *({"is_complete": value} for value in (1, None, "true")),
        [],
    ],
)
def test_a_day_of_another_shape_is_refused(wire: object) -> None:
    with pytest.raises(GrammarError):
        ProjectUsageReport.from_json(json.dumps({"project": "p.w", "reports": {"2024-01-15": wire}}))


def test_what_is_not_known_is_dropped() -> None:
    assert day(reports={"a": {"seconds": 1, "more": 2}}, more=1) == day(reports=seconds(a=1))


def test_the_text_of_a_day() -> None:
    assert str(day(num_jobs=2, total_wait_seconds=1, num_requeue_events=1)).split("\n") == [
        "Number of jobs: 2 | Average wait: 0 seconds",
        "Requeued: 1 event | 0 seconds | Average requeue wait: 0 seconds",
        "Total: 0 seconds - incomplete",
        "",
    ]


@settings(deadline=None, max_examples=50)
@given(usage_days, usage_days, usage_days)
def test_days_are_read_back_and_added_in_any_order(one: DailyProjectUsageReport, other: Any, third: Any) -> None:
    assert DailyProjectUsageReport.from_wire(one.to_wire()) == one
    assert (one + other).total_usage == (other + one).total_usage
    assert ((one + other) + third).reports == (one + (other + third)).reports
    assert str(one)
    assert one.in_hours()


def test_a_user_is_a_day_of_its_own() -> None:
    alice = day(**DAY).of_user("alice")
    assert (alice.num_jobs, alice.total_usage, alice.total_requeue_usage) == (10, Usage(7200), Usage(100))
    assert (alice.average_wait_seconds, alice.average_runtime_seconds) == (120, 555)
    assert (alice.average_expansion_factor, alice.aggregate_expansion_factor) == (15 / 9, 1.24)
    assert (alice.average_cpus_per_job, alice.average_gpus_per_job) == (10.0, 0.4)
    assert (alice.num_requeue_events, alice.requeue_wait_seconds) == (2, 31)
    assert day(**DAY).of_user("nobody") == day()


def test_reservations_are_told_the_busiest_first() -> None:
    assert plain(day(**DAY).reservation_summary) == [
        ["res1", 3, "2.500 minutes", "9 seconds"],
        ["res2", 0, "5 seconds", "0 seconds"],
        ["res4", 1, "0 seconds", "0 seconds"],
    ]


def test_over_nothing_is_nothing() -> None:
    assert (day(reports=seconds(a=7)) / 2).total_usage == Usage(3)
    assert (day(reports=seconds(a=7)) / 0).total_usage == Usage()
