from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from grammar_samples import check_inputs
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.dates import NANOSECONDS, SPAN_LIMIT_DAYS, WORDS, DateRange, Timestamp, parse_date

TODAY = date(2026, 11, 24)
RANGES_SHOWN_LIMIT = 60


def shown(days: DateRange) -> dict[str, Any]:
    whole = {
        name: [str(part) for part in getattr(days, name)][:RANGES_SHOWN_LIMIT] for name in ("weeks", "months", "years")
    }
    ends = {name: getattr(days, name).isoformat() for name in ("start_date", "end_date", "start_time", "end_time")}
    return {"str": str(days), "n_days": len(days.days), **whole, **ends}


def around(unit: str) -> Callable[[str], dict[str, str]]:
    return lambda day: {"str": str(getattr(DateRange, unit)(date.fromisoformat(day)))}


RECORDED: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "parse": (57, lambda text: shown(DateRange.parse(text, TODAY))),
    "static": (10, lambda word: {"str": str(DateRange.named(word, TODAY))}),
    "new": (3, lambda ends: {"str": str(DateRange.between(*map(date.fromisoformat, ends)))}),
    "week": (5, around("week")),
    "month": (6, around("month")),
    "year": (5, around("year")),
}


@pytest.mark.parametrize("op", RECORDED)
def test_every_recorded_answer_is_ours_too(op: str) -> None:
    check_inputs("DateRange", op, *RECORDED[op])


@given(st.dates(date(1980, 1, 1), date(2190, 12, 31)), st.integers(-SPAN_LIMIT_DAYS, SPAN_LIMIT_DAYS))
def test_a_range_is_read_back(one: date, span: int) -> None:
    other = one + timedelta(days=span)
    days = DateRange(one, other)
    assert DateRange.parse(str(days), TODAY) == days
    assert all(day in days for day in days.days[:3])
    assert len(DateRange.between(one, other).days) == abs(span) + 1


@pytest.mark.parametrize("text", ["2000-01-01:2005-01-05", "2005-01-05:2000-01-01"])
def test_a_range_is_not_endless(text: str) -> None:
    """As the published client answers; one day less it takes."""
    with pytest.raises(GrammarError, match="at most 1830 days"):
        DateRange.parse(text, TODAY)
    assert DateRange.parse(text.replace("05-01-05", "05-01-04"), TODAY)


@given(st.sampled_from(sorted(WORDS)), st.dates(date(1970, 1, 1), date(2200, 12, 31)))
def test_words_are_about_today(word: str, today: date) -> None:
    days = DateRange.parse(f" {word.upper()} ", today)
    assert (today in days) is (word == "today" or word.startswith("this"))
    assert len(days.days) in {1, 7, 28, 29, 30, 31, 365, 366}


@given(st.text() | st.text("0123456789-:+ _today\n", max_size=22))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (lambda text: DateRange.parse(text, TODAY), parse_date, Timestamp.parse):
        try:
            parse(text)
        except GrammarError as error:
            assert str(error)


# As the published client answers.
@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-1-1", "2024-01-01"),
        ("+02024-01-01", "2024-01-01"),
        ("2024- 01-\t1", "2024-01-01"),
        (" 2200-12-31\u00a0", "2200-12-31"),
        *(
            (text, None)
            for text in ("2024 -01-01", "02024-01-01", "2024-001-01", "24-01-01", "2201-01-01", "1969-12-31")
        ),
        *((text, None) for text in ("２０２４-01-01", "-2024-01-01", "2024-02-30", "today", "")),
    ],
)
def test_dates_are_read_as_loosely_as_the_network_does(text: str, day: str | None) -> None:
    if day is not None:
        assert str(parse_date(text)) == day
    else:
        with pytest.raises(GrammarError):
            parse_date(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("2024-01-15T10:30:00Z", "2024-01-15T10:30:00Z"),
        ("2024-01-15t10:30:00z", "2024-01-15T10:30:00Z"),
        ("2024-01-15 10:30:00 utc", "2024-01-15T10:30:00Z"),
        ("2024-1-5T1:3:0Z", "2024-01-05T01:03:00Z"),
        ("2024-01-15T10:30:00+23:59", "2024-01-14T10:31:00Z"),
        ("2024-01-15T10:30:00-00:00", "2024-01-15T10:30:00Z"),
        ("2024-01-15T10:30:00+0100", "2024-01-15T09:30:00Z"),
        ("2024-01-15T10:30:00.5+05:30", "2024-01-15T05:00:00.500Z"),
        ("2024-01-15T10:30:00.1234Z", "2024-01-15T10:30:00.123400Z"),
        ("2024-01-15T10:30:00.1234567899Z", "2024-01-15T10:30:00.123456789Z"),
        ("2024-12-31T23:59:60.5Z", "2024-12-31T23:59:60.500Z"),
        *((f"2024-01-15T10:30:00{rest}", None) for rest in ("", ".Z", "+01", "+1:00", "+24:00", "+01:60", "+01:00:00")),
        *((text, None) for text in ("2024-01-15", "2024-01-15T10:30Z", "2024-02-30T10:30:00Z", "2024-01-15T24:00:00Z")),
        *((text, None) for text in ("12024-01-15T10:30:00Z", "2024-01-15\t10:30:00Z", "2024-01-15T10:30:61Z", "x")),
    ],
)
def test_moments_are_read_loosely_and_printed_in_one_way(text: str, normal: str | None) -> None:
    if normal is not None:
        assert str(Timestamp.parse(text)) == normal
    else:
        with pytest.raises(GrammarError):
            Timestamp.parse(text)


@pytest.mark.parametrize("text", ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "-0001-01-15T10:30:00Z"])
def test_moments_beyond_the_calendar_are_refused(text: str) -> None:
    """The published client takes them; no agent has ever been there."""
    with pytest.raises(GrammarError):
        Timestamp.parse(text)


@given(
    st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0)),
    st.integers(0, NANOSECONDS - 1),
)
def test_a_moment_is_read_back(second: datetime, nanosecond: int) -> None:
    moment = Timestamp(second, nanosecond)
    assert Timestamp.parse(str(moment)) == moment
    assert Timestamp.of(moment.to_datetime()).second == second


def test_a_moment_needs_a_zone() -> None:
    moment = datetime(2024, 1, 15, 10, 30, 0, 500, tzinfo=timezone(timedelta(hours=1)))
    assert str(Timestamp.of(moment)) == "2024-01-15T09:30:00.000500Z"
    for make in (Timestamp.of, Timestamp):
        with pytest.raises(GrammarError):
            make(moment.replace(tzinfo=None))
