"""The rows of figures are those of the published client; the words around them are ours."""

from collections.abc import Callable

import pytest
from usage_samples import FULL, of_days, seconds

from openportal.grammar.usage import ProjectUsageReport, UsageReport
from openportal.grammar.usage_summaries import expansion_factor_report, requeue_report, reservation_report

EMPTY = of_days({}, project="q.w")
SUMMARIES = (requeue_report, expansion_factor_report, reservation_report)
Summary = Callable[[ProjectUsageReport | UsageReport], str]


def test_what_ran_again() -> None:
    rows = [line for line in requeue_report(FULL).split("\n") if line.startswith("  ")]
    assert rows == [
        "  NODE_FAIL           2 events     0.028 hours  (0.7%)",
        "  OTHER               0 events     0.002 hours  (0.1%)",
        "  PREEMPTED           1 event      0.000 hours  (0.0%)",
        "  PREEMPTED           4 events     0.278 hours  (7.3%)",
        "  CANCELLED           2 events     0.000 hours  (0.0%)",
        "  2024-01-15          3 events     0.030 hours  (charged 3.003 hours)",
        "  alice.p.w                   2 events     0.028 hours",
        "  carl - unknown              1 event      0.002 hours",
    ]
    assert "3 requeues borne by the site, 5 charged" in requeue_report(FULL)


def test_how_jobs_were_served() -> None:
    page = expansion_factor_report(FULL)
    assert [line for line in page.split("\n") if line.startswith("  ")] == [
        "  user                      jobs  overall      mean  run (h) wait (h)   cores  gpus",
        "  alice.p.w                   10     1.24      1.67    0.154    0.033    10.0   0.4",
        "  bob.p.w                      5     1.20      2.25    0.208    0.033     2.0   0.0",
        "  day                       jobs  overall      mean  run (h) wait (h)   cores  gpus",
        "  2024-01-15                  15     1.23      1.85    0.171    0.033     7.3   0.3",
        "  2024-01-16                   2        -         -        -        -       -   0.0",
    ]
    assert "17 jobs | mean expansion factor 1.85 | overall 1.23" in page


@pytest.mark.parametrize(
    ("milli", "remark"), [(6000, None), (6200, "short jobs waited long"), (1000, "the long jobs that waited")]
)
def test_who_waited_is_remarked_on_where_it_is_plain(milli: int, remark: str | None) -> None:
    """Where the published client says so too."""
    jobs = {"num_jobs": 2, "total_wait_seconds": 100, "total_runtime_seconds": 100, "total_expansion_milli": milli}
    page = expansion_factor_report(of_days({"2024-01-15": jobs}))
    assert [text in page for text in ("short jobs waited long", "the long jobs that waited")] == [
        remark == text for text in ("short jobs waited long", "the long jobs that waited")
    ]


def test_run_times_may_not_be_known() -> None:
    page = expansion_factor_report(of_days({"2024-01-15": {"num_jobs": 5, "total_wait_seconds": 100}}))
    assert "5 jobs | mean wait 0.006 hours\nHow long they ran is not known." in page


def test_what_ran_in_reservations() -> None:
    assert [line for line in reservation_report(FULL).split("\n") if line.startswith("  ")] == [
        "  res1                         3 jobs     0.042 hours  (1.1%)",
        "                                          0.003 hours   of which was discarded",
        "  res2                         0 jobs     0.001 hours  (0.0%)",
        "  res4                         1 job      0.000 hours  (0.0%)",
        "  2024-01-15   res1                         3 jobs     0.042 hours",
        "  2024-01-15   res2                         0 jobs     0.001 hours",
        "  2024-01-15   res4                         1 job      0.000 hours",
        "  res1                     alice.p.w                   0.028 hours",
        "  res1                     bob.p.w                     0.014 hours",
        "  res2                     eve - unknown               0.001 hours",
    ]


@pytest.mark.parametrize("summary", SUMMARIES)
def test_a_portal_has_a_page_for_each_project_that_has_something_to_say(summary: Summary) -> None:
    assert summary(EMPTY).count("\n") == 4
    both = FULL.to_usage_report() + EMPTY.to_usage_report()
    assert summary(both) == summary(FULL)
    nothing = summary(EMPTY.to_usage_report())
    assert nothing.startswith("No jobs")
    assert nothing.strip() in summary(EMPTY)


def test_what_the_project_bears_is_told_too() -> None:
    page = requeue_report(of_days({"2024-01-15": {"reports": seconds(a=7200), "num_charged_requeue_events": 1}}))
    assert "0 requeues borne by the site, 1 charged" in page
    assert "By day" not in page
