"""Reports of projects: what is kept, what is read again, and what is said of failed nodes."""

from __future__ import annotations

import logging
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from openportal.agents.scheduler.slurm.attempts import RequeuePolicy
from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.agents.scheduler.slurm.reports import UsageReports, UsageRules
from openportal.agents.scheduler.slurm.usage import SETTLING_SECONDS
from openportal.agents.scheduler.slurm.windows import HOUR_SECONDS, Window
from openportal.errors import Unavailable
from openportal.grammar.dates import DateRange
from openportal.grammar.identifiers import ProjectIdentifier
from openportal.grammar.usage import ProjectUsageReport
from tests.agents.scheduler.accounting import NODE, record
from tests.agents.scheduler.sources import Accounts

LONDON = ZoneInfo("Europe/London")
PROJECT = ProjectIdentifier.parse("demo.brics")
DAYS = DateRange(date(2026, 10, 24), date(2026, 10, 26))
WINDOWS = [Window.of_day(day, LONDON) for day in DAYS.days]
RULES = UsageRules(NODE, LONDON, RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY, "main")
LONG_AFTER = WINDOWS[-1].end + 86_400


def on(number: int, **given: object) -> JobRecord:
    """A job of an hour on one of DAYS."""
    start = WINDOWS[number].start + 100
    times = {"submitted": start, "eligible": start, "started": start, "ended": start + HOUR_SECONDS}
    return record(**{"job_id": number, **times, **given})


class Site:
    """Reports on an accounting database that can change, and the time."""

    def __init__(self, *records: JobRecord, now: int = LONG_AFTER) -> None:
        self.now = now
        self.source = Accounts(records)
        self.reports = UsageReports(self.source, "c", RULES, lambda: self.now)

    async def report(self, days: DateRange = DAYS, account: str = "proj") -> ProjectUsageReport:
        return await self.reports.project(PROJECT, account, days)


def used(report: ProjectUsageReport) -> list[int]:
    return [day.total_usage.seconds for _, day in sorted(report.reports.items())]


async def test_a_report_has_every_day() -> None:
    site = Site(on(0), on(2), on(2, job_id=5, user="bob"))
    report = await site.report()
    assert report.project == PROJECT
    assert report.dates == DAYS.days
    assert used(report) == [3600, 0, 7200]
    assert report.is_complete
    [query] = site.source.asked
    assert (query.cluster, query.accounts, query.partition) == ("c", ("proj",), "main")


async def test_complete_days_are_not_read_again() -> None:
    site = Site(on(0))
    first = await site.report()
    assert await site.report() == first
    assert len(site.source.asked) == 1


async def test_days_of_another_account_are_others() -> None:
    site = Site(on(0), on(0, account="other", user="bob", job_id=9))
    reports = [await site.report(account=account) for account in ("proj", "other")]
    assert [report.total.reports for report in reports] == [{"alice": 3600}, {"bob": 3600}]


async def test_a_day_with_a_running_job_is_read_again_until_it_has_ended() -> None:
    start = WINDOWS[1].start
    running = on(1, started=start, ended=0, elapsed=5, states=("RUNNING",))
    site = Site(running)
    report = await site.report()
    assert [day.is_complete for day in report.reports.values()] == [True, False, False]
    site.source.records = [on(1, started=start, ended=start + 1000)]
    assert used(await site.report()) == [0, 1000, 0]
    assert site.source.asked[-1].window == Window(WINDOWS[1].start, WINDOWS[2].end)


async def test_today_is_read_again_and_tomorrow_is_left_out() -> None:
    site = Site(on(0), now=WINDOWS[1].start + 60)
    report = await site.report()
    assert report.dates == DAYS.days[:2]
    assert not report.is_complete
    site.source.records.append(on(1, ended=WINDOWS[1].start + 200))
    site.now = WINDOWS[1].start + 3000
    assert used(await site.report()) == [3600, 100]


async def test_yesterday_settles_before_it_is_kept() -> None:
    site = Site(now=WINDOWS[0].end + SETTLING_SECONDS - 1)
    first = DateRange(DAYS.start_date, DAYS.start_date)
    assert not (await site.report(first)).is_complete
    site.source.records.append(on(0))
    site.now += 1
    assert used(await site.report(first)) == [3600]


async def test_what_could_not_be_read_whole_is_not_kept() -> None:
    site = Site(on(0))
    site.source.unreadable = ("no job_id",)
    report = await site.report()
    assert used(report) == [3600, 0, 0]
    assert not report.is_complete
    site.source.unreadable = ()
    assert (await site.report()).is_complete
    assert len(site.source.asked) == 2


async def test_a_database_that_is_down_is_no_report_of_nothing() -> None:
    reports = UsageReports(Accounts([], lambda query: True), "c", RULES, lambda: LONG_AFTER)
    with pytest.raises(Unavailable):
        await reports.project(PROJECT, "proj", DAYS)


async def test_a_range_of_no_days_asks_nothing() -> None:
    site = Site()
    report = await site.report(DateRange(DAYS.end_date, DAYS.start_date))
    assert (report.reports, site.source.asked) == ({}, [])


async def test_a_failed_node_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    lost = on(0, states=("REQUEUED", "NODE_FAIL"), failed_node="n17")
    site = Site(lost, now=WINDOWS[0].end - 1)
    for _ in range(2):
        await site.report()
    [told] = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert "n17 lost job 0 of alice in account proj after 3600 seconds" in told.getMessage()
