"""Spans, days and hours; and what is read by the hour is what one question would have brought."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.agents.scheduler.slurm.attempts import RequeuePolicy
from openportal.agents.scheduler.slurm.reading import FAILURES_MAX, SPAN_DAYS, SPANS_AHEAD, DayRecords, Reader, spans
from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.agents.scheduler.slurm.transport import JobQuery
from openportal.agents.scheduler.slurm.usage import report
from openportal.agents.scheduler.slurm.windows import HOUR_SECONDS, Window
from openportal.errors import Unavailable
from tests.agents.scheduler.accounting import NODE, record
from tests.agents.scheduler.sources import Accounts

LONDON = ZoneInfo("Europe/London")
FIRST = date(2026, 10, 20)  # the 25th has 25 hours
DAYS = [FIRST + timedelta(days=number) for number in range(10)]
START = Window.of_day(FIRST, LONDON).start
LONG_AFTER = START + 100 * 86_400
POLICY = RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY


def requeued_jobs() -> list[JobRecord]:
    """A job every five hours that runs for four, is requeued, and runs for three more."""
    found = []
    for number in range(40):
        begin = START + number * 5 * HOUR_SECONDS + 123 * number
        middle, end = begin + 4 * HOUR_SECONDS, begin + 7 * HOUR_SECONDS + 120
        given = {"job_id": number, "user": f"u{number % 3}"}
        first = record(
            submitted=begin, eligible=begin, started=begin, ended=middle, states=("REQUEUED",), restarts=0, **given
        )
        again = record(submitted=middle, eligible=middle + 120, started=middle + 120, ended=end, restarts=1, **given)
        found += [first, again]
    return found


async def read(source: Accounts, days: list[date] = DAYS, now: int = LONG_AFTER) -> list[DayRecords]:
    reader = Reader(source, JobQuery(Window(0, 0), "c", ("proj",), "p"), LONDON, now)
    return [found async for found in reader.days(days)]


def shown(found: list[DayRecords]) -> list[object]:
    return [report(one.records.jobs, one.window, NODE, POLICY, LONG_AFTER) for one in found]


async def test_ten_days_are_two_questions() -> None:
    source = Accounts(requeued_jobs())
    found = await read(source)
    assert [one.day for one in found] == DAYS
    assert [query.window for query in source.asked] == [
        Window.of_days(DAYS[0], DAYS[6], LONDON),
        Window.of_days(DAYS[7], DAYS[9], LONDON),
    ]
    assert {(query.cluster, query.accounts, query.partition) for query in source.asked} == {("c", ("proj",), "p")}
    assert all(one.is_whole for one in found)


@pytest.mark.parametrize("seconds", [25 * HOUR_SECONDS, HOUR_SECONDS], ids=["by the day", "by the hour"])
async def test_smaller_questions_bring_the_same(seconds: int) -> None:
    small = Accounts(requeued_jobs(), lambda query: query.window.seconds > seconds)
    found = await read(small)
    assert shown(found) == shown(await read(Accounts(requeued_jobs())))
    assert all(one.is_whole for one in found)
    wanted = {Window.of_day(day, LONDON) for day in DAYS} if seconds > HOUR_SECONDS else None
    answered = [query.window for query in small.asked if query.window.seconds <= seconds]
    assert set(answered) == wanted if wanted else len(answered) == 10 * 24 + 1


async def test_an_hour_that_cannot_be_read_is_missing_and_the_others_are_not() -> None:
    bad = Window(START + 5 * HOUR_SECONDS, START + 6 * HOUR_SECONDS)
    source = Accounts(requeued_jobs(), lambda query: query.window.start <= bad.start < query.window.end)
    found = await read(source)
    assert [one.missing_hours for one in found] == [1, *[0] * 9]
    assert [one.is_whole for one in found] == [False, *[True] * 9]


async def test_when_nothing_can_be_read_the_error_is_raised_and_nobody_storms() -> None:
    source = Accounts([], lambda query: True)
    with pytest.raises(Unavailable, match="slurmdbd does not answer"):
        await read(source)
    assert len(source.asked) == FAILURES_MAX + SPANS_AHEAD - 1


async def test_today_is_asked_for_and_tomorrow_is_not() -> None:
    source = Accounts([])
    now = START + 86_400 + 5000
    found = await read(source, now=now)
    assert [one.day for one in found] == DAYS[:2]
    assert [query.window for query in source.asked] == [Window.of_days(DAYS[0], DAYS[1], LONDON)]
    assert found[1].window == Window.of_day(DAYS[1], LONDON)


async def test_a_record_that_cannot_be_read_makes_its_days_incomplete() -> None:
    found = await read(Accounts([], unreadable=["no job_id"]))
    assert [one.is_whole for one in found] == [False] * 10


@given(st.sets(st.integers(0, 40)))
def test_spans_hold_every_day_once_in_order_and_have_no_gaps(numbers: set[int]) -> None:
    days = [FIRST + timedelta(days=number) for number in sorted(numbers)]
    found = list(spans(days))
    assert [day for span in found for day in span] == days
    for span in found:
        assert 0 < len(span) <= SPAN_DAYS
        assert (span[-1] - span[0]).days == len(span) - 1
