"""Days of many zones, against a clock that is read every minute."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.agents.scheduler.slurm.windows import HOUR_SECONDS, Window, local_day

ZONES = (
    "UTC",
    "Europe/London",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Asia/Beirut",
)
MINUTE = 60
WINDOWS = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(lambda w: Window(*sorted(w)))


def minutes_of(day: date, zone: ZoneInfo) -> list[int]:
    """The minutes at which clocks in `zone` show this day, found by looking at every one of four days."""
    noon = int(datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo("UTC")).timestamp())
    around = range(noon - 48 * HOUR_SECONDS, noon + 48 * HOUR_SECONDS, MINUTE)
    return [minute for minute in around if datetime.fromtimestamp(minute, zone).date() == day]


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize(
    "day",
    [
        date(2026, 3, 29),  # clocks go forward in Europe, at midnight in Lebanon
        date(2026, 10, 25),  # and back
        date(2026, 4, 5),  # back by half an hour on Lord Howe
        date(2018, 11, 4),  # forward at midnight in São Paulo
        date(2018, 2, 17),  # back at midnight there
        date(2011, 12, 29),
        date(2011, 12, 30),  # a day that Samoa did not have
        date(2011, 12, 31),
        date(2026, 12, 31),
    ],
)
def test_a_day_is_what_the_clocks_of_the_place_show(name: str, day: date) -> None:
    zone = ZoneInfo(name)
    window = Window.of_day(day, zone)
    assert list(range(window.start, window.end, MINUTE)) == minutes_of(day, zone)


@given(st.dates(date(1971, 1, 1), date(2199, 12, 30)), st.sampled_from(ZONES))
def test_days_follow_each_other_without_a_gap(day: date, name: str) -> None:
    zone = ZoneInfo(name)
    window, following = (Window.of_day(each, zone) for each in (day, day + timedelta(days=1)))
    assert window.end == following.start
    assert Window.of_days(day, day + timedelta(days=1), zone) == Window(window.start, following.end)


@given(st.integers(0, 2**32), st.sampled_from(ZONES))
def test_a_moment_is_in_its_local_day(moment: int, name: str) -> None:
    zone = ZoneInfo(name)
    window = Window.of_day(local_day(moment, zone), zone)
    assert window.start <= moment < window.end


@given(WINDOWS, st.integers(-60, 60), st.integers(-60, 60))
def test_a_clip_holds_the_seconds_of_both(window: Window, start: int, end: int) -> None:
    both = set(range(window.start, window.end)) & set(range(start, end))
    clipped = window.clip(start, end)
    assert set(range(clipped.start, clipped.end)) == both
    assert clipped.seconds == len(both)


@given(WINDOWS, st.integers(-60, 60))
def test_until_now_is_what_is_over(window: Window, now: int) -> None:
    past = window.until(now)
    assert list(range(past.start, past.end)) == [second for second in range(window.start, window.end) if second < now]


@given(WINDOWS, st.integers(1, 30))
def test_pieces_make_up_the_whole(window: Window, seconds: int) -> None:
    pieces = list(window.pieces(seconds))
    assert [second for piece in pieces for second in range(piece.start, piece.end)] == [
        *range(window.start, window.end)
    ]
    assert all(piece.seconds == seconds for piece in pieces[:-1])
    assert all(0 < piece.seconds <= seconds for piece in pieces)
