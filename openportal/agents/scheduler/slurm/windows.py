"""Stretches of time, and the days of a place as such.

A Window is half open: it holds its start and not its end, in whole seconds since 1970 in UTC. So windows that follow
each other share no second and leave none out, and a job's seconds can be dealt out to them without loss.

A day is that of the site's time zone. It begins at its first second and ends where the next one begins: 24 hours, or
23 or 25 (or 23.5) when clocks change, and none at all where a zone has left a day out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Final

HOUR_SECONDS: Final = 3600
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """From `start` to before `end`."""

    start: int
    end: int

    @classmethod
    def of_day(cls, day: date, zone: tzinfo) -> Window:
        """A day as the clocks of `zone` have it."""
        return cls(_first_second(day, zone), _first_second(day + _DAY, zone))

    @classmethod
    def of_days(cls, first: date, last: date, zone: tzinfo) -> Window:
        """From the first second of `first` to the last one of `last`."""
        return cls(_first_second(first, zone), _first_second(last + _DAY, zone))

    @property
    def seconds(self) -> int:
        return max(0, self.end - self.start)

    def until(self, now: int) -> Window:
        """What of it is over at `now`."""
        return Window(self.start, max(self.start, min(self.end, now)))

    def clip(self, start: int, end: int) -> Window:
        """The part of a stretch that lies in this window; of no length if there is none."""
        first = max(self.start, start)
        return Window(first, max(first, min(self.end, end)))

    def pieces(self, seconds: int) -> Iterator[Window]:
        """In pieces of this length, of which the last may be shorter."""
        for start in range(self.start, self.end, seconds):
            yield Window(start, min(start + seconds, self.end))


def _first_second(day: date, zone: tzinfo) -> int:
    """A midnight that clocks skip counts as the moment of the change; one that comes twice, as the first of them."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def local_day(moment: float, zone: tzinfo) -> date:
    """The day that it is in `zone`."""
    return datetime.fromtimestamp(moment, zone).date()
