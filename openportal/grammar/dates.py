"""Days and moments.

    date          2024-01-31          years 1970 to 2200; single digits and a sign are accepted
    DateRange     2024-01-01:2024-01-31, both days included; one date; or a word of WORDS such as this_week
    Timestamp     2024-01-15T10:30:00Z, to the nanosecond; any offset is accepted and UTC is printed

Nothing here knows what day it is: `today` is an argument, the caller's local date. Weeks begin on Monday.
`DateRange.parse` keeps the order that is written, so a range can hold no days at all, and takes five years at most;
`DateRange.between` sorts. Everything raises GrammarError.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Final, Self

from openportal.errors import GrammarError
from openportal.grammar.text import WHITESPACE, quote, trim

YEAR_FIRST: Final = 1970
YEAR_LAST: Final = 2200
SPAN_LIMIT_DAYS: Final = 1830
NANOSECONDS: Final = 1_000_000_000

_DAY: Final = timedelta(days=1)
_S = f"[{WHITESPACE}]*"
_read_date = re.compile(rf"([+-][0-9]+|[0-9]{{1,4}})-{_S}([0-9]{{1,2}})-{_S}([0-9]{{1,2}})").fullmatch
_read_timestamp = re.compile(
    rf"{_S}([+-][0-9]+|[0-9]{{1,4}}){_S}-{_S}([0-9]{{1,2}}){_S}-{_S}([0-9]{{1,2}})[Tt ]"
    rf"{_S}([0-9]{{1,2}}){_S}:{_S}([0-9]{{1,2}}){_S}:{_S}([0-9]{{1,2}})(?:\.([0-9]+))?"
    rf"{_S}(?:[Zz]|[Uu][Tt][Cc]|([+\-\u2212])([0-9]{{2}}){_S}:?{_S}([0-9]{{2}})){_S}"
).fullmatch


def parse_date(text: str) -> date:
    """From `2024-01-31`. Raises GrammarError."""
    found = _read_date(text) or _read_date(trim(text))
    if found is None:
        raise GrammarError(f"{quote(text)} is not a date such as 2024-01-31")
    year, month, day = map(int, found.groups())
    if not YEAR_FIRST <= year <= YEAR_LAST:
        raise GrammarError(f"the year of {quote(text)} is not between {YEAR_FIRST} and {YEAR_LAST}")
    try:
        return date(year, month, day)
    except ValueError as error:
        raise GrammarError(f"{quote(text)} is not a date: {error}") from error


@dataclass(frozen=True, slots=True)
class DateRange:
    """The days from `start_date` to `end_date`; none if they are the other way round."""

    start_date: date
    end_date: date

    @classmethod
    def parse(cls, text: str, today: date) -> Self:
        """From one date, two with a colon between them, or a word of WORDS in any case. Raises GrammarError."""
        word = trim(text).lower()
        if word in WORDS:
            return cls.named(word, today)
        start, colon, end = word.partition(":")
        made = cls(parse_date(start), parse_date(end if colon else start))
        if abs(made.end_date - made.start_date).days > SPAN_LIMIT_DAYS:
            raise GrammarError(f"a range can span at most {SPAN_LIMIT_DAYS} days: {quote(text)}")
        return made

    @classmethod
    def between(cls, one: date, other: date) -> Self:
        """The days between two, in either order."""
        return cls(min(one, other), max(one, other))

    @classmethod
    def named(cls, word: str, today: date) -> Self:
        """One of WORDS, or next_week, next_month or next_year, as seen from `today`."""
        when, _, unit = _SYNONYMS.get(word, word).partition("_")
        first, last = _UNITS[unit](today)
        if when == "last":
            first, last = _UNITS[unit](first - _DAY)
        elif when == "next":
            first, last = _UNITS[unit](last + _DAY)
        return cls(first, last)

    @classmethod
    def week(cls, day: date) -> Self:
        return cls(*_week(day))

    @classmethod
    def month(cls, day: date) -> Self:
        return cls(*_month(day))

    @classmethod
    def year(cls, day: date) -> Self:
        return cls(*_year(day))

    @property
    def start_time(self) -> datetime:
        """Midnight before the first day, without a zone."""
        return datetime(self.start_date.year, self.start_date.month, self.start_date.day)

    @property
    def end_time(self) -> datetime:
        """Midnight after the last day, without a zone."""
        end = self.end_date + _DAY
        return datetime(end.year, end.month, end.day)

    @property
    def days(self) -> tuple[date, ...]:
        first = self.start_date.toordinal()
        return tuple(date.fromordinal(day) for day in range(first, self.end_date.toordinal() + 1))

    @property
    def weeks(self) -> tuple[DateRange, ...]:
        """The whole weeks that have days in this range."""
        return tuple(self._whole("week"))

    @property
    def months(self) -> tuple[DateRange, ...]:
        return tuple(self._whole("month"))

    @property
    def years(self) -> tuple[DateRange, ...]:
        return tuple(self._whole("year"))

    def __contains__(self, day: date) -> bool:
        return self.start_date <= day <= self.end_date

    def __str__(self) -> str:
        return f"{self.start_date}:{self.end_date}"

    def _whole(self, unit: str) -> Iterator[DateRange]:
        day = self.start_date
        while day <= self.end_date:
            first, last = _UNITS[unit](day)
            yield DateRange(first, last)
            day = last + _DAY


def _day(day: date) -> tuple[date, date]:
    return day, day


def _week(day: date) -> tuple[date, date]:
    monday = day - timedelta(days=day.weekday())
    return monday, monday + timedelta(days=6)


def _month(day: date) -> tuple[date, date]:
    return day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1])


def _year(day: date) -> tuple[date, date]:
    return date(day.year, 1, 1), date(day.year, 12, 31)


_UNITS: Final = MappingProxyType({"day": _day, "week": _week, "month": _month, "year": _year})
_SYNONYMS: Final[Mapping[str, str]] = MappingProxyType(
    {"yesterday": "last_day", "today": "this_day", "tomorrow": "next_day"}
)
WORDS: Final = frozenset(
    {"yesterday", "today", "this_day", "tomorrow", "this_week", "last_week", "this_month", "last_month"}
    | {"this_year", "last_year"}
)
"""What may stand for a range in a text."""


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment: its second in UTC, and the nanoseconds into it, which reach two seconds for a leap second."""

    second: datetime
    nanosecond: int = 0

    def __post_init__(self) -> None:
        if self.second.tzinfo is not UTC or self.second.microsecond or not 0 <= self.nanosecond < 2 * NANOSECONDS:
            raise GrammarError(f"a timestamp is a whole second in UTC and its nanoseconds, not {self.second!r}")

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """From a datetime with a zone."""
        if moment.tzinfo is None:
            raise GrammarError(f"a moment needs a zone: {moment}")
        return cls(moment.astimezone(UTC).replace(microsecond=0), moment.microsecond * 1000)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `2024-01-15T10:30:00+01:00` as RFC 3339 has it, and as loosely as the network does."""
        found = _read_timestamp(text)
        if found is None:
            raise GrammarError(f"{quote(text)} is not a time such as 2024-01-15T10:30:00Z")
        *parts, fraction, sign, hours, minutes = found.groups()
        year, month, day, hour, minute, second = map(int, parts)
        leap = second == 60
        try:
            zone = _zone(sign, int(hours or 0), int(minutes or 0))
            moment = datetime(year, month, day, hour, minute, second - leap, tzinfo=zone).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise GrammarError(f"{quote(text)} is not a time: {error}") from error
        return cls(moment, int((fraction or "0")[:9].ljust(9, "0")) + leap * NANOSECONDS)

    def to_datetime(self) -> datetime:
        """To the microsecond; a leap second is the one before it."""
        return self.second.replace(microsecond=self.nanosecond % NANOSECONDS // 1000)

    @property
    def date(self) -> str:
        """The day, such as `2024-01-15`."""
        return str(self.second.date())

    @property
    def time(self) -> str:
        """The time of day to the second, such as `10:30:00`; a leap second is the 60th."""
        return f"{self.second:%H:%M}:{self.second.second + self.nanosecond // NANOSECONDS:02d}"

    def __str__(self) -> str:
        fraction = self.nanosecond % NANOSECONDS
        text = f"{self.date}T{self.time}"
        if fraction:
            digits = next(count for count in (3, 6, 9) if fraction % 10 ** (9 - count) == 0)
            text += f".{fraction:09d}"[: digits + 1]
        return f"{text}Z"


def _zone(sign: str | None, hours: int, minutes: int) -> timezone:
    if minutes > 59:
        raise ValueError("an offset has less than 60 minutes")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(offset if sign in (None, "+") else -offset)
