"""Reading the accounting records of many days, in as few questions as Slurm can bear.

    span      up to SPAN_DAYS days that follow each other, in one question
    day       each day of a span that failed
    hour      each hour of a day that failed
    missing   an hour that failed: there is nothing smaller to ask for

A question that fails is mostly one that asks for too much: it takes too long, is cut off, or its answer is too big;
all of them look different and mean the same. If FAILURES_MAX fail one after the other, size is not the reason, and
the error of the last is raised: a report of nothing must not be taken for one of no usage.

The next span is asked for while one is summed up: so Slurm and we work side by side, and few records are held.

Today is asked for to its end, which Slurm does not mind: so all who ask, ask the same.

Records come in more than one answer where a job waited or ran in more than one hour. They are merged, so that a day
read by the hour holds what one question for the day would have brought, and a requeue is told by the same records.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, tzinfo
from typing import Final

from openportal.agents.scheduler.slurm.records import JobRecords
from openportal.agents.scheduler.slurm.transport import JobQuery, JobSource
from openportal.agents.scheduler.slurm.windows import HOUR_SECONDS, Window
from openportal.errors import JobError

log = logging.getLogger(__name__)

SPAN_DAYS: Final = 7
SPANS_AHEAD: Final = 2
FAILURES_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class DayRecords:
    """The records that tell of a day, and perhaps of its neighbours; how many of its hours could not be read."""

    day: date
    window: Window
    records: JobRecords
    missing_hours: int = 0

    @property
    def is_whole(self) -> bool:
        return not self.missing_hours and not self.records.unreadable


class Reader:
    """One reading of some days. What it asks for beside the window is that of `query`."""

    def __init__(self, source: JobSource, query: JobQuery, zone: tzinfo, now: int) -> None:
        self._source = source
        self._query = query
        self._zone = zone
        self._now = now
        self._failures = 0

    async def days(self, days: Sequence[date]) -> AsyncIterator[DayRecords]:
        """Every day of them that has begun, in order. Raises JobError if Slurm cannot be asked."""
        begun = [day for day in sorted(days) if Window.of_day(day, self._zone).start < self._now]
        ahead: deque[asyncio.Task[list[DayRecords]]] = deque()
        try:
            for span in spans(begun):
                ahead.append(asyncio.ensure_future(self._span(span)))
                if len(ahead) == SPANS_AHEAD:
                    for read in await ahead.popleft():
                        yield read
            while ahead:
                for read in await ahead.popleft():
                    yield read
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _span(self, days: Sequence[date]) -> list[DayRecords]:
        records = await self._ask(Window.of_days(days[0], days[-1], self._zone))
        if records is None:
            return [await self._day(day) for day in days]
        return [DayRecords(day, Window.of_day(day, self._zone), records) for day in days]

    async def _day(self, day: date) -> DayRecords:
        window = Window.of_day(day, self._zone)
        records = await self._ask(window)
        if records is not None:
            return DayRecords(day, window, records)
        hours = [await self._ask(hour) for hour in window.until(self._now).pieces(HOUR_SECONDS)]
        found = [hour for hour in hours if hour is not None]
        if missing := len(hours) - len(found):
            log.warning("%d of %d hours of %s could not be read from Slurm's accounting", missing, len(hours), day)
        return DayRecords(day, window, JobRecords.merge(found), missing)

    async def _ask(self, window: Window) -> JobRecords | None:
        """The records of a window; None if the question failed and smaller ones may not."""
        try:
            records = await self._source.jobs(replace(self._query, window=window))
        except JobError as error:
            self._failures += 1
            if self._failures >= FAILURES_MAX:
                raise
            log.warning("Accounting of %d seconds from %d could not be read: %s", window.seconds, window.start, error)
            return None
        self._failures = 0
        for unreadable in records.unreadable:
            log.warning("An accounting record could not be read, and is not in any report: %s", unreadable)
        return records


def spans(days: Sequence[date]) -> Iterator[Sequence[date]]:
    """Days in order, cut where one is left out and after SPAN_DAYS."""
    begin = 0
    for index in range(1, len(days) + 1):
        ends = index == len(days) or days[index].toordinal() != days[index - 1].toordinal() + 1
        if ends or index - begin == SPAN_DAYS:
            yield days[begin:index]
            begin = index
