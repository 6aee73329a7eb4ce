"""What operators are told is what projects are told, summed up another way."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from hypothesis import given

from openportal.agents.scheduler.slurm.attempts import RequeuePolicy
from openportal.agents.scheduler.slurm.operator_reports import Requeued, Reserved, requeues, reservation
from openportal.agents.scheduler.slurm.reading import DayRecords
from openportal.agents.scheduler.slurm.records import JobRecord, JobRecords
from openportal.agents.scheduler.slurm.reports import UsageRules
from openportal.agents.scheduler.slurm.usage import report
from openportal.agents.scheduler.slurm.windows import Window
from tests.agents.scheduler.accounting import NODE, SPAN_SECONDS, histories, record

RULES = UsageRules(NODE, ZoneInfo("UTC"))
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
LATER = 10**6
CHARGE = RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY


def days(*records: JobRecord, missing: int = 0) -> list[DayRecords]:
    """Two days, of which the first ends at 5000."""
    found = JobRecords(records)
    return [
        DayRecords(MONDAY, Window(0, 5000), found, missing),
        DayRecords(TUESDAY, Window(5000, 90_000), found, missing),
    ]


def attempt(number: int, ending: str, start: int, seconds: int, restarts: int = 0, **given: object) -> JobRecord:
    times = {"submitted": start, "eligible": start, "started": start, "ended": start + seconds}
    return record(job_id=number, states=(ending,), restarts=restarts, **{**times, **given})


def lost(number: int, ending: str, seconds: int, **given: object) -> list[JobRecord]:
    """An attempt on Monday and a minute on Monday after it."""
    again = attempt(number, "COMPLETED", 1000 + seconds, 60, 1, **given)
    return [attempt(number, ending, 1000, seconds, **given), again]


def test_a_reservation_by_account_and_by_day() -> None:
    mine = {"reservation": "Interactive"}
    records = [
        attempt(1, "COMPLETED", 4000, 2000, **mine),
        *lost(2, "NODE_FAIL", 600, account="other", user="bob", **mine),
        attempt(3, "COMPLETED", 100, 50, reservation="another"),
        attempt(4, "COMPLETED", 100, 50),
    ]
    made = reservation("interactive", days(*records, missing=2), RULES, LATER)
    assert made.name == "Interactive"
    assert made.accounts == {"proj": Reserved(1, 2000, 0), "other": Reserved(1, 660, 600)}
    assert list(made.accounts) == ["proj", "other"]
    assert made.days == {MONDAY: Reserved(2, 1660, 600), TUESDAY: Reserved(0, 1000, 0)}
    assert made.total == Reserved(2, 2660, 600)
    assert made.missing_hours == 4


def test_a_reservation_that_nobody_used() -> None:
    made = reservation("nobody", days(attempt(1, "COMPLETED", 1, 1)), RULES, LATER)
    assert (made.name, made.accounts, made.total) == ("nobody", {}, Reserved())
    assert list(made.days) == [MONDAY, TUESDAY]


def test_requeues_of_an_account_by_user() -> None:
    records = [
        *lost(1, "REQUEUED", 300),
        *lost(2, "NODE_FAIL", 200, failed_node="n7"),
        *lost(3, "PREEMPTED", 100, user="bob"),
    ]
    made = requeues(days(*records), RULES, LATER, by_account=False)
    assert made.endings == {
        "REQUEUED": Requeued(1, 300, 0),
        "NODE_FAIL": Requeued(1, 0, 200),
        "PREEMPTED": Requeued(1, 0, 100),
    }
    assert list(made.endings) == ["REQUEUED", "NODE_FAIL", "PREEMPTED"]
    assert made.who == {"alice": Requeued(2, 300, 200), "bob": Requeued(1, 0, 100)}
    assert made.days == {MONDAY: Requeued(3, 300, 300), TUESDAY: Requeued()}
    assert made.nodes == {"n7": Requeued(1, 0, 200)}
    assert made.used_seconds == 600 + 3 * 60


def test_requeues_of_a_cluster_by_account() -> None:
    records = [*lost(1, "REQUEUED", 300), *lost(2, "NODE_FAIL", 200, account="other")]
    made = requeues(days(*records), RULES, LATER, by_account=True)
    assert made.who == {"proj": Requeued(1, 300, 0), "other": Requeued(1, 0, 200)}
    assert made.nodes == {"not named": Requeued(1, 0, 200)}


@given(histories())
def test_the_sums_are_those_of_the_project(history: tuple[list[JobRecord], int]) -> None:
    records, now = history
    window = Window(0, 2 * SPAN_SECONDS)
    read = [DayRecords(MONDAY, window, JobRecords(tuple(records)))]
    project = report(records, window, NODE, CHARGE, now)
    made = requeues(read, RULES, now, by_account=False)
    events = project.num_requeue_events + project.num_charged_requeue_events
    charged = sum(project.charged_requeue_reports.values())
    whole = Requeued(events, charged, project.total_requeue_usage.seconds)
    assert made.total == sum(made.endings.values(), Requeued()) == sum(made.who.values(), Requeued()) == whole
    assert made.used_seconds == project.total_usage_including_requeues.seconds
    assert sum(made.nodes.values(), Requeued()) == made.endings.get("NODE_FAIL", Requeued())
    reserved = reservation("interactive", read, RULES, now)
    assert reserved.total.seconds == project.total_reservation_usage.seconds
