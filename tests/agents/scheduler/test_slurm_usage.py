"""The usage algebra against an oracle that looks at every second, and the cases that sites complain of, one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from openportal.agents.scheduler.slurm import usage
from openportal.agents.scheduler.slurm.attempts import RequeuePolicy
from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.agents.scheduler.slurm.usage import SETTLING_SECONDS, node_seconds, report
from openportal.agents.scheduler.slurm.windows import HOUR_SECONDS, Window
from openportal.grammar.quantities import U64_MAX, Node
from openportal.grammar.usage import DailyProjectUsageReport
from tests.agents.scheduler.accounting import NODE, SPAN_SECONDS, histories, record
from tests.agents.scheduler.usage_oracle import figures

CHARGE, ABSORB = RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY, RequeuePolicy.NO_CHARGE
LONDON = ZoneInfo("Europe/London")
LATER = 4 * 10**9
NODES = st.builds(
    Node,
    cpus=st.integers(0, 128),
    cores_per_cpu=st.just(0),
    gpus=st.integers(0, 8),
    memory_mb=st.integers(0, 200_000),
    billing=st.integers(0, 900),
)
WINDOWS = st.tuples(st.integers(0, SPAN_SECONDS), st.integers(0, SPAN_SECONDS)).map(lambda w: Window(*sorted(w)))
POLICIES = st.sampled_from(RequeuePolicy)


def flat(of: DailyProjectUsageReport) -> Counter[str]:
    """Every figure of a report that is not nothing, by `field/key/key`."""

    def walk(path: str, value: object) -> Counter[str]:
        if isinstance(value, Mapping):
            return sum((walk(f"{path}/{key}", inner) for key, inner in value.items()), Counter())
        return Counter({path.strip("/"): int(value)} if value else {})

    names = (name for name in of.__struct_fields__ if name != "is_complete")
    return sum((walk(name, getattr(of, name)) for name in names), Counter())


def day(*records: JobRecord, window: Window, policy: RequeuePolicy = CHARGE, now: int = LATER) -> Any:
    return report(records, window, NODE, policy, now)


@settings(max_examples=200)
@given(histories(), WINDOWS, NODES, POLICIES)
def test_every_figure_is_that_of_the_oracle(
    history: tuple[list[JobRecord], int], window: Window, node: Node, policy: RequeuePolicy
) -> None:
    records, now = history
    assert flat(report(records, window, node, policy, now)) == figures(records, window, node, policy is CHARGE, now)


@given(histories(), WINDOWS)
def test_totals_are_those_of_their_maps(history: tuple[list[JobRecord], int], window: Window) -> None:
    records, now = history
    made = report(records, window, NODE, ABSORB, now)
    assert made.is_consistent
    assert DailyProjectUsageReport.from_wire(made.to_wire()) == made


@given(histories(), st.lists(st.integers(0, 2 * SPAN_SECONDS), max_size=6), POLICIES)
def test_components_do_not_depend_on_how_time_is_cut(
    history: tuple[list[JobRecord], int], cuts: list[int], policy: RequeuePolicy
) -> None:
    records, now = history
    edges = sorted({0, *cuts, 2 * SPAN_SECONDS})
    parts = [Window(start, end) for start, end in pairwise(edges)]
    whole = every_component(report(records, Window(0, edges[-1]), NODE, policy, now))
    assert sum((every_component(report(records, part, NODE, policy, now)) for part in parts), Counter()) == whole


def every_component(of: DailyProjectUsageReport) -> Counter[str]:
    """B + C + A by component and user."""
    found: Counter[str] = Counter()
    for components in (of.components, of.requeue_components):
        for component, users in components.items():
            found.update({f"{component}/{user}": seconds for user, seconds in users.items()})
    return +found


@given(histories(), st.lists(st.integers(0, 2 * SPAN_SECONDS), max_size=6))
def test_a_job_is_counted_once_however_time_is_cut(history: tuple[list[JobRecord], int], cuts: list[int]) -> None:
    records, now = history
    once = [one for one in records if len([other for other in records if other.job_id == one.job_id]) == 1]
    edges = sorted({0, *cuts, 2 * SPAN_SECONDS})
    parts = [Window(start, end) for start, end in pairwise(edges)]
    counted = sum(report(once, part, NODE, CHARGE, now).num_jobs for part in parts)
    assert counted == report(once, Window(0, edges[-1]), NODE, CHARGE, now).num_jobs


@given(histories(numbers_used_once=True), st.lists(st.integers(0, 2 * SPAN_SECONDS), max_size=6), POLICIES)
def test_a_requeue_is_counted_once_at_most(
    history: tuple[list[JobRecord], int], cuts: list[int], policy: RequeuePolicy
) -> None:
    records, now = history
    edges = sorted({0, *cuts, 2 * SPAN_SECONDS})
    parts = [Window(start, end) for start, end in pairwise(edges)]
    events = sum(requeues(report(records, part, NODE, policy, now)) for part in parts)
    assert events <= requeues(report(records, Window(0, edges[-1]), NODE, policy, now))


def requeues(of: DailyProjectUsageReport) -> int:
    return of.num_requeue_events + of.num_charged_requeue_events


@given(histories(), WINDOWS)
def test_the_policy_moves_usage_and_makes_none(history: tuple[list[JobRecord], int], window: Window) -> None:
    records, now = history
    charged, absorbed = (report(records, window, NODE, policy, now) for policy in (CHARGE, ABSORB))
    assert charged.total_usage_including_requeues == absorbed.total_usage_including_requeues
    assert absorbed.charged_requeue_reports == {}
    taken_over = sum(charged.charged_requeue_reports.values())
    assert charged.total_usage.seconds == absorbed.total_usage.seconds + taken_over


@given(histories(), WINDOWS)
def test_what_does_not_belong_to_the_window_changes_nothing(
    history: tuple[list[JobRecord], int], window: Window
) -> None:
    records, now = history
    belonging = list(usage.belonging(records, window))
    assert report(belonging, window, NODE, CHARGE, now) == report(records, window, NODE, CHARGE, now)


@given(histories(), WINDOWS)
def test_what_is_complete_stays(history: tuple[list[JobRecord], int], window: Window) -> None:
    """Records that had ended stay, those that had not end, and new ones come: a complete window is the same."""
    records, now = history
    made = report(records, window, NODE, CHARGE, now)
    if made.is_complete:
        ended = [one if one.ended or not one.started else replace(one, ended=now + 7) for one in records]
        assert report(ended, window, NODE, CHARGE, now + 1000) == made


# --- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ({"cpus": 64}, 60),
        ({"cpus": 128}, 120),
        ({"cpus": 1}, 1),
        ({"cpus": 1, "gpus": 1}, 15),
        ({"cpus": 1, "memory_mb": 64_000}, 30),
        ({"cpus": 1, "billing": 192}, 45),
        ({"cpus": 0}, 1),
        ({"cpus": 65}, 61),
    ],
)
def test_a_job_is_billed_by_its_largest_share_of_a_node(held: dict[str, int], expected: int) -> None:
    assert node_seconds(record(**{"billing": 0, **held}), 60, NODE) == expected


def test_what_did_not_run_uses_nothing() -> None:
    assert node_seconds(record(), 0, NODE) == 0


def test_shares_are_exact() -> None:
    """0.1 as a float is more than a tenth, and 30 times that would be rounded up to 4."""
    assert node_seconds(record(cpus=1, billing=0), 30, Node(cpus=10)) == 3


def test_a_job_over_midnight_is_in_both_days_and_both_months() -> None:
    midnight = Window.of_day(date(2026, 9, 30), LONDON).end
    job = record(submitted=midnight - 700, eligible=midnight - 700, started=midnight - 600, ended=midnight + 300)
    before = day(job, window=Window.of_day(date(2026, 9, 30), LONDON))
    after = day(job, window=Window.of_day(date(2026, 10, 1), LONDON))
    assert (before.reports, after.reports) == ({"alice": 600}, {"alice": 300})
    assert (before.num_jobs, after.num_jobs) == (1, 0)
    assert (before.total_wait_seconds, after.total_wait_seconds) == (100, 0)
    assert before.total_runtime_seconds == 900  # the whole of it, where it is counted


@pytest.mark.parametrize(("when", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_a_job_that_runs_all_day_uses_the_hours_that_the_day_has(when: date, hours: int) -> None:
    window = Window.of_day(when, LONDON)
    job = record(submitted=1, eligible=1, started=1, ended=window.end + 5)
    assert day(job, window=window, now=window.end + 10**6).reports == {"alice": hours * HOUR_SECONDS}


def test_each_task_of_an_array_is_a_job() -> None:
    tasks = [record(job_id=number, submitted=1000, cpus=32, billing=0) for number in range(10, 20)]
    made = day(*tasks, window=Window(0, 5000))
    assert (made.num_jobs, made.reports, made.total_allocated_cpus) == (10, {"alice": 300}, 320)


def requeued(ending: tuple[str, ...], **last: Any) -> list[JobRecord]:
    """A job of an hour and then a minute."""
    first = record(submitted=1000, eligible=1000, started=1000, ended=4600, states=ending, restarts=0)
    given = {"submitted": 4600, "eligible": 4720, "started": 4750, "ended": 4810, "restarts": 1, **last}
    return [first, record(**given)]


def test_an_attempt_that_was_put_off_and_started_all_the_same_takes_the_place_of_the_one_before() -> None:
    made = day(*requeued(("NODE_FAIL",), eligible=9100), window=Window(0, 86_400), now=9000)
    assert made.requeue_reports == {"alice": 3600}
    assert made.reports == {"alice": 60}


def test_an_attempt_that_starts_in_the_second_of_the_question_takes_the_place_of_the_one_before() -> None:
    made = day(*requeued(("NODE_FAIL",), eligible=9000, started=9000, ended=0), window=Window(0, 86_400), now=9000)
    assert (made.requeue_reports, made.reports) == ({"alice": 3600}, {})


def test_a_requeue_that_the_user_asked_for_is_charged() -> None:
    made = day(*requeued(("REQUEUED",)), window=Window(0, 9000))
    assert made.reports == {"alice": 3660}
    assert made.charged_requeue_reports == {"alice": 3600}
    assert made.charged_requeue_states == {"REQUEUED": 1}
    assert (made.num_jobs, made.requeue_reports, made.num_requeue_events) == (1, {}, 0)
    assert made.total_wait_seconds == 30  # of the attempt that counts, and after the hold


@pytest.mark.parametrize("ending", ["NODE_FAIL", "PREEMPTED", "BOOT_FAIL"])
def test_a_requeue_for_the_site_is_absorbed(ending: str) -> None:
    made = day(*requeued(("REQUEUED", ending)), window=Window(0, 9000))
    assert (made.reports, made.requeue_reports) == ({"alice": 60}, {"alice": 3600})
    assert made.requeue_state_usage == {ending: 3600}
    assert made.total_usage_including_requeues.seconds == 3660


def test_what_nobody_can_name_is_not_charged() -> None:
    assert day(*requeued(("VANISHED",)), window=Window(0, 9000)).requeue_states == {"OTHER": 1}


def test_a_job_whose_last_attempt_never_ran_still_used_what_it_used() -> None:
    records = requeued(("NODE_FAIL",), started=0, ended=0, states=("PENDING",))
    made = day(*records, window=Window(0, 9000))
    assert (made.reports, made.requeue_reports, made.num_jobs) == ({}, {"alice": 3600}, 0)


def test_a_requeue_over_midnight_is_one_event() -> None:
    records = requeued(("REQUEUED",))
    days = [day(*records, window=window) for window in (Window(0, 2000), Window(2000, 9000))]
    assert [made.num_charged_requeue_events for made in days] == [0, 1]
    assert [made.num_jobs for made in days] == [1, 1]  # the first day cannot know
    assert sum(made.total_usage.seconds for made in days) == 3660


@pytest.mark.parametrize(("midnight", "events"), [(4599, [0, 1]), (4600, [0, 0]), (4719, [0, 0]), (4721, [1, 0])])
def test_a_requeue_at_midnight_is_not_counted_where_no_day_shows_both_attempts(
    midnight: int, events: list[int]
) -> None:
    """The attempt ends at 4600; what takes its place is held back until 4720, and is not told of before."""
    records = requeued(("REQUEUED",))
    days = [day(*records, window=window) for window in (Window(0, midnight), Window(midnight, 9000))]
    assert [made.num_charged_requeue_events for made in days] == events
    assert sum(made.total_usage.seconds for made in days) == 3660


@pytest.mark.parametrize(("midnight", "events"), [(4720, 0), (4721, 1)])
def test_the_moment_a_window_ends_is_not_in_it(midnight: int, events: int) -> None:
    assert day(*requeued(("REQUEUED",)), window=Window(0, midnight)).num_charged_requeue_events == events


def test_a_number_that_is_given_out_again_is_another_job() -> None:
    jobs = [record(submitted=1000, restarts=0), record(submitted=3000, started=3000, ended=3060, restarts=0)]
    made = day(*jobs, window=Window(0, 9000))
    assert (made.num_jobs, made.num_charged_requeue_events, made.reports) == (2, 0, {"alice": 120})


def test_reservations_count_every_attempt() -> None:
    records = [replace(one, reservation="interactive") for one in requeued(("NODE_FAIL",))]
    made = day(*records, window=Window(0, 9000))
    assert made.reservation_reports == {"interactive": {"alice": 3660}}
    assert made.reservation_requeue_usage == {"interactive": {"alice": 3600}}
    assert made.reservation_jobs == {"interactive": 1}


def test_expansion_is_turnaround_over_run_time() -> None:
    made = day(record(submitted=10, eligible=1000, started=1060, ended=1180), window=Window(0, 5000))
    assert (made.total_expansion_milli, made.average_expansion_factor) == (1500, 1.5)


def test_a_running_job_makes_its_days_incomplete_and_has_no_expansion_yet() -> None:
    window = Window(0, 5000)
    running = record(started=1000, ended=0, elapsed=9000, states=("RUNNING",))
    made = day(running, window=window, now=10_000)
    assert (made.reports, made.num_jobs, made.num_expansion_jobs) == ({"alice": 4000}, 1, 0)
    assert not made.is_complete
    assert not day(running, window=Window(5000, 6000), now=10_000).is_complete
    assert day(running, window=Window(0, 900), now=10_000).is_complete


def test_today_is_counted_up_to_now_and_is_not_complete() -> None:
    running = record(started=1000, ended=0, elapsed=500, states=("RUNNING",))
    made = day(running, window=Window(0, 86_400), now=1500)
    assert (made.reports, made.is_complete) == ({"alice": 500}, False)


def test_a_day_that_has_not_begun_is_empty() -> None:
    assert day(record(), window=Window(2000, 3000), now=1500) == DailyProjectUsageReport()


def test_a_window_settles_before_it_is_complete() -> None:
    assert [day(window=Window(0, 100), now=100 + after).is_complete for after in (0, SETTLING_SECONDS)] == [False, True]


def test_usage_of_nobody_is_that_of_unknown() -> None:
    assert day(record(user=""), window=Window(0, 5000)).reports == {"unknown": 60}


def test_sums_end_at_what_the_network_carries() -> None:
    made = day(record(billing=2**62), record(job_id=2, billing=2**62), window=Window(0, 5000))
    assert made.components["billing"] == {"alice": U64_MAX}
