import json
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from time import process_time
from typing import Any

import pytest
from grammar_samples import check_answers
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.dates import DateRange
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from openportal.grammar.quantities import U64_MAX, Usage
from openportal.grammar.usage import UNKNOWN_USER, DailyProjectUsageReport, ProjectUsageReport, UsageReport

TODAY = date(2026, 11, 24)
PARSING_LIMIT_SECONDS = 0.6  # four times what it takes: the machine may be busy


def plain(value: Any) -> Any:
    """A value as the recorded answers show it."""
    if isinstance(value, bool | int | float | None):
        return value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)


# What the published client asks of a report is in another place here: of the sum of its days, or under another name.
OF_USERS: dict[str, Callable[[Any], Any]] = {
    "user_mapping": lambda users: users,
    "users": lambda users: tuple(sorted(users, key=str)),
}


def prop(report: Any, name: str) -> Any:
    if name in OF_USERS:
        return plain(OF_USERS[name](report.users))
    if name == "requeue_states":
        return plain(tuple(sorted(report.total.requeue_states.items())))
    return plain(getattr(report if hasattr(report, name) else report.total, name))


def read(kind: Any, answer: dict[str, Any]) -> dict[str, Any]:
    report = kind.from_json(answer["input"])
    names = answer["output"]["props"] if answer["ok"] else ()
    return {"props": {name: prop(report, name) for name in names}, "json": report.to_wire()}


def project(text: str) -> ProjectUsageReport:
    return ProjectUsageReport.from_json(text)


def on_report(change: Callable[[ProjectUsageReport, dict[str, Any]], ProjectUsageReport]) -> Callable[..., Any]:
    return lambda answer: change(ProjectUsageReport.from_wire(answer["input"]["report"]), answer["input"]).to_wire()


def on_text(change: Callable[[ProjectUsageReport], Any]) -> Callable[..., Any]:
    return lambda answer: change(project(answer["input"]))


def built(_: object) -> dict[str, Any]:
    day = (
        DailyProjectUsageReport()
        .add_usage("alice", Usage(100))
        .add_usage(UNKNOWN_USER, Usage(5))
        .add_component_usage("gpu", "alice", Usage(50))
        .add_component_usage("gpu", UNKNOWN_USER, Usage(1))
        .set_complete()
    )
    report = ProjectUsageReport(ProjectIdentifier.parse("p.w"))
    report = report.add_mapping(UserMapping.parse("alice.p.w:alice:grp"))
    return report.set_report(date(2024, 1, 2), day).to_wire()


RECORDED: dict[tuple[str, str], tuple[int, Callable[[dict[str, Any]], Any]]] = {
    ("ProjectUsageReport", "from_json"): (16, partial(read, ProjectUsageReport)),
    ("ProjectUsageReport", "str_sorted_lines"): (3, on_text(lambda report: sorted(str(report).split("\n")))),
    ("ProjectUsageReport", "in_hours_sorted_lines"): (3, on_text(lambda report: sorted(report.in_hours().split("\n")))),
    ("ProjectUsageReport", "daily_reports_str_sorted_lines"): (
        3,
        on_text(lambda report: [sorted(str(day).split("\n")) for day in report.daily_reports()]),
    ),
    ("ProjectUsageReport", "mul_0.5"): (2, on_text(lambda report: (report * 0.5).to_wire())),
    ("ProjectUsageReport", "add_self"): (4, on_text(lambda report: (report + report).to_wire())),
    ("ProjectUsageReport", "to_usage_report"): (3, on_text(lambda report: report.to_usage_report().to_wire())),
    ("ProjectUsageReport", "get_component_gpu"): (3, on_text(lambda report: report.get_component("gpu").to_wire())),
    ("ProjectUsageReport", "filter"): (
        3,
        on_report(lambda report, given: report.filter(DateRange.parse(given["range"], TODAY))),
    ),
    ("ProjectUsageReport", "remap_project"): (
        3,
        on_report(lambda report, given: report.remap_project(ProjectIdentifier.parse(given["to"]))),
    ),
    ("ProjectUsageReport", "built"): (1, built),
    ("UsageReport", "from_json"): (9, partial(read, UsageReport)),
    ("UsageReport", "str_sorted_lines"): (
        2,
        lambda answer: sorted(str(UsageReport.from_json(answer["input"])).split("\n")),
    ),
}


@pytest.mark.parametrize(("kind", "op"), RECORDED)
def test_every_recorded_answer_is_ours_too(kind: str, op: str) -> None:
    check_answers(kind, op, *RECORDED[kind, op])


def seconds(**used: int) -> dict[str, Any]:
    return {user: {"seconds": number} for user, number in used.items()}


def charged(used: int) -> dict[str, Any]:
    return {"charged_requeue_reports": seconds(b=1), "reports": seconds(c=used)}


def in_reservation(user: str) -> dict[str, Any]:
    return {"reservation_requeue_usage": {"r": seconds(a=5)}, "reservation_reports": {"r": {user: {"seconds": 5}}}}


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


def day(**wire: Any) -> DailyProjectUsageReport:
    return DailyProjectUsageReport.from_wire(wire)


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
        ({"charged_requeue_state_usage": seconds(a=1), "charged_requeue_reports": seconds(b=1)}, False),
        ({"charged_requeue_state_usage": seconds(a=1), **charged(used=2)}, True),
        (charged(used=0), False),
        (charged(used=1), False),
        ({"reservation_requeue_usage": {"r": seconds(a=5)}, "requeue_reports": seconds(b=5)}, False),
        ({**in_reservation("a"), "requeue_reports": seconds(b=5)}, True),
        ({**in_reservation("b"), "requeue_reports": seconds(b=5)}, False),
        ({**in_reservation("a"), "requeue_reports": seconds(b=4)}, False),
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


def test_a_refusal_says_where() -> None:
    text = '{"project": "p.w", "reports": {"2024-01-15": {"num_jobs": -1}}}'
    with pytest.raises(GrammarError, match="the report of '2024-01-15': num_jobs: must be a whole number"):
        ProjectUsageReport.from_json(text)


def of_days(days: dict[str, Any], users: dict[str, str] | None = None, project: str = "p.w") -> ProjectUsageReport:
    return ProjectUsageReport.from_wire({"project": project, "reports": days, "users": users or {}})


FULL = of_days({"2024-01-15": DAY, "2024-01-16": OTHER_DAY}, {"alice.p.w": "alice", "bob.p.w": "bob"})


def test_a_project_is_the_sum_of_its_days() -> None:
    assert plain(FULL.total_usage) == "3.753 hours"
    assert FULL.total.average_cpus_per_job == 6.470588235294118
    assert FULL.unmapped_users == ("unknown", "zed")
    assert plain(FULL.unmapped_usage) == "15.167 minutes"
    assert plain(FULL.usage(UserIdentifier.parse("alice.p.w"))) == "2.500 hours"
    assert FULL.usage(UserIdentifier.parse("zed.p.w")) == Usage()
    assert FULL.get_report(date(2024, 1, 16)).to_wire()["reports"].keys() == {"2024-01-16"}
    assert not FULL.is_complete
    assert FULL.set_complete().is_complete


def test_the_text_of_a_project() -> None:
    text = str(
        of_days({"2024-01-15": {**OTHER_DAY, "reservation_reports": {"r": seconds(alice=7)}}}, {"alice.p.w": "alice"})
    )
    assert text.split("\n") == [
        "p.w",
        "2024-01-15",
        "  alice.p.w: 30.000 minutes",
        "  unknown - unknown: 15.000 minutes",
        "Number of jobs: 2",
        "Reservation r: 7 seconds | 0 jobs",
        "Daily total: 45.000 minutes",
        "-" * 40,
        "=" * 40,
        "Number of jobs: 2",
        "In reservations: 7 seconds across r",
        "Total: 45.000 minutes",
        "",
    ]
    assert str(day(num_jobs=2, total_wait_seconds=1, num_requeue_events=1)).split("\n") == [
        "Number of jobs: 2 | Average wait: 0 seconds",
        "Requeued: 1 event | 0 seconds | Average requeue wait: 0 seconds",
        "Total: 0 seconds - incomplete",
        "",
    ]


def test_a_day_that_is_added_to_is_not_complete() -> None:
    one = of_days({"2024-01-15": {"is_complete": True}, "2024-01-17": {"is_complete": True}}, {"a.p.w": "a"})
    both = one + of_days({"2024-01-15": {"is_complete": True}, "2024-01-16": {}}, {"a.p.w": "z", "b.p.w": "b"})
    assert [report.is_complete for _, report in sorted(both.reports.items())] == [False, False, True]
    assert plain(both.users) == {"a.p.w": "a", "b.p.w": "b"}


def test_local_names_are_changed_everywhere() -> None:
    alice, nobody = UserIdentifier.parse("alice.p.w"), UserIdentifier.parse("nobody.p.w")
    report = FULL.remap_users({alice: "al", nobody: "n"})
    assert plain(report.users) == {"alice.p.w": "al", "bob.p.w": "bob"}
    assert report.total.reports == {"al": 9000, "bob": 3600, "zed": 10, "unknown": 900}


@pytest.mark.parametrize("to", [{"alice.p.w": "bob"}, {"alice.p.w": "x", "bob.p.w": "x"}])
def test_two_users_cannot_have_one_local_name(to: dict[str, str]) -> None:
    with pytest.raises(GrammarError, match="same local name"):
        FULL.remap_users({UserIdentifier.parse(user): name for user, name in to.items()})
    swapped = {UserIdentifier.parse("alice.p.w"): "bob", UserIdentifier.parse("bob.p.w"): "alice"}
    assert FULL.remap_users(swapped).total.reports["bob"] == FULL.total.reports["alice"]


@pytest.mark.parametrize(
    ("wire", "of_day", "shown"),
    [
        ({"num_requeue_events": 1}, True, True),
        ({"requeue_reports": seconds(a=1)}, True, True),
        ({"num_charged_requeue_events": 1}, False, True),
        ({"charged_requeue_reports": seconds(a=1)}, False, True),
        ({"requeue_states": {"a": 1}}, False, False),
    ],
)
def test_jobs_that_had_to_run_again_are_told_of(wire: dict[str, Any], of_day: bool, shown: bool) -> None:
    """The text of a day tells of those that the site bears; a project has both kinds."""
    report = of_days({"2024-01-15": wire})
    assert (day(**wire).has_requeues, len(report.daily_reports())) == (of_day, of_day)
    assert report.has_requeues is report.to_usage_report().has_requeues is shown
    assert ("Requeued" in str(report)) is ("2024-01-15" in str(report)) is of_day


def test_reports_of_others_are_not_added() -> None:
    """The published client leaves out the second one without a word."""
    with pytest.raises(GrammarError, match=r"q\.w cannot be added to one of p\.w"):
        FULL + of_days({}, project="q.w")
    with pytest.raises(GrammarError, match="z cannot be added to one of w"):
        UsageReport(PortalIdentifier("w")) + UsageReport(PortalIdentifier("z"))
    for kind in (ProjectUsageReport, UsageReport):
        with pytest.raises(GrammarError, match="no reports"):
            kind.combine([])
    with pytest.raises(GrammarError, match="not a user of"):
        FULL.add_mapping(UserMapping.parse("a.q.w:a:g"))


def test_a_portal_is_the_sum_of_its_projects() -> None:
    other = of_days({"2024-01-16": OTHER_DAY}, project="q.w")
    report = UsageReport.combine([FULL.to_usage_report(), other.to_usage_report(), other.to_usage_report()])
    assert report.get_report(other.project) == other + other
    assert report.get_report(ProjectIdentifier.parse("x.w")).reports == {}
    assert report.total.num_jobs == 17 + 4
    assert report.filter(DateRange(date(2024, 1, 15), date(2024, 1, 15))).total.num_jobs == 15
    assert (report * 2.0).total_usage == report.total_usage * 2.0
    assert report.remap_portal(PortalIdentifier("z")).to_wire()["reports"].keys() == {"p.z", "q.z"}
    assert report.remap_users({UserIdentifier.parse("bob.p.w"): "b"}).users[UserIdentifier.parse("bob.p.w")] == "b"
    assert report.get_component("cpu").total_usage == Usage(100)


def test_a_project_becomes_another_that_is_not_there() -> None:
    old, new, away = map(ProjectIdentifier.parse, ("p.w", "q.w", "p.z"))
    report = FULL.to_usage_report()
    assert report.remap_project(old, new).get_report(new) == FULL.remap_project(new)
    assert report.remap_project(new, old) == report
    both = report + of_days({}, project="q.w").to_usage_report()
    for target in (new, away):
        with pytest.raises(GrammarError):
            both.remap_project(old, target)


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


days = st.fixed_dictionaries({}, optional={name: like(value) for name, value in DAY.items()}).map(
    lambda wire: day(**wire)
)


@settings(deadline=None, max_examples=50)
@given(days, days, days)
def test_days_are_read_back_and_added_in_any_order(one: DailyProjectUsageReport, other: Any, third: Any) -> None:
    assert DailyProjectUsageReport.from_wire(one.to_wire()) == one
    assert (one + other).total_usage == (other + one).total_usage
    assert ((one + other) + third).reports == (one + (other + third)).reports
    assert str(one)
    assert one.in_hours()


@settings(deadline=None)
@given(st.text() | st.text('{}[]":,projects.w', max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in (ProjectUsageReport, UsageReport):
        try:
            kind.from_json(text)
        except GrammarError as error:
            assert str(error)


def test_a_year_of_many_users_is_read_quickly() -> None:
    users = [f"user{number}" for number in range(500)]
    one = {"reports": seconds(**{user: 3600 + number for number, user in enumerate(users)}), "is_complete": True}
    year = {str(date(2024, 1, 1) + timedelta(days=number)): one for number in range(365)}
    text = json.dumps({"project": "p.w", "reports": year, "users": {f"{user}.p.w": user for user in users}})
    start = process_time()
    report = ProjectUsageReport.from_json(text)
    assert process_time() - start < PARSING_LIMIT_SECONDS
    assert report.total_usage.seconds == 365 * sum(range(3600, 4100))
