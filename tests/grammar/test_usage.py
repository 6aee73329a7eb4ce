from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any

import pytest
from grammar_samples import check_answers, dates
from hypothesis import given, settings
from hypothesis import strategies as st
from usage_samples import FULL, OTHER_DAY, day, of_days, plain, seconds, usage_days

from openportal.errors import GrammarError
from openportal.grammar.dates import DateRange
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping
from openportal.grammar.quantities import Usage
from openportal.grammar.usage import UNKNOWN_USER, DailyProjectUsageReport, ProjectUsageReport, UsageReport

TODAY = date(2026, 11, 24)
PARSING_LIMIT_SECONDS = 0.6  # four times what it takes: the machine may be busy


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


def test_a_refusal_says_where() -> None:
    text = '{"project": "p.w", "reports": {"2024-01-15": {"num_jobs": -1}}}'
    with pytest.raises(GrammarError, match=r"the report of '2024-01-15': Expected .* at `\$\.num_jobs`"):
        ProjectUsageReport.from_json(text)


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


def test_a_reservation_that_nothing_was_used_of_is_told() -> None:
    report = of_days({"2024-01-15": {"reservation_reports": {"r": {}}}})
    assert report.total.reservations == report.to_usage_report().total.reservations == ("r",)
    assert "In reservations: 0 seconds across r" in str(report)


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


@settings(deadline=None)
@given(st.text() | st.text('{}[]":,projects.w', max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in (ProjectUsageReport, UsageReport):
        try:
            kind.from_json(text)
        except GrammarError as error:
            assert str(error)


usage_reports = st.builds(
    lambda days, used: UsageReport.from_wire(
        {"portal": "w", "reports": {"p.w": {"project": "p.w", "reports": days, "users": {"a.p.w": "alice"}}, **used}}
    ),
    st.dictionaries(dates.map(str), usage_days.map(DailyProjectUsageReport.to_wire), max_size=3),
    st.just({"q.w": {"project": "q.w", "reports": {}}}),
)


@settings(deadline=None, max_examples=50)
@given(usage_reports)
def test_a_report_is_read_back(report: UsageReport) -> None:
    assert UsageReport.from_json(report.to_json()) == UsageReport.from_wire(report.to_wire()) == report
    for project in report.reports.values():
        assert ProjectUsageReport.from_json(project.to_json()) == project
