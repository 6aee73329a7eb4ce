"""How much: time that was used, what an award allows of it, nodes, and ranges of days.

    Usage(3600)   Usage.from_hours(1.5)   Allocation("1000 NHR" with `parse`)   Node.construct(2, 64, 4, 524288, 100)
    DateRange(start, end)   DateRange.parse("2024-01-01:2024-01-31")   DateRange.this_month()

A day that depends on today depends on the day it is here, in the local zone.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any, Self, final

from openportal.client.arguments import U32_MAX, count, day, instance, real, text, told
from openportal.client.wrapper import Read, Same, Wrapper, each
from openportal.grammar import dates, quantities


@final
class Usage(Wrapper[quantities.Usage]):
    """Time used on a machine, in whole seconds. Sums and products stay within what the network carries."""

    __slots__ = ()

    def __new__(cls, usage: int) -> Self:
        return cls._of(quantities.Usage(count(usage, "usage")))

    @staticmethod
    def from_seconds(seconds: int) -> Usage:
        return Usage._of(quantities.Usage(count(seconds, "seconds")))

    @staticmethod
    def from_minutes(minutes: float) -> Usage:
        return Usage._of(quantities.Usage.from_minutes(real(minutes, "minutes")))

    @staticmethod
    def from_hours(hours: float) -> Usage:
        return Usage._of(quantities.Usage.from_hours(real(hours, "hours")))

    @staticmethod
    def from_days(days: float) -> Usage:
        return Usage._of(quantities.Usage.from_days(real(days, "days")))

    @staticmethod
    def from_weeks(weeks: float) -> Usage:
        return Usage._of(quantities.Usage.from_weeks(real(weeks, "weeks")))

    @staticmethod
    def from_months(months: float) -> Usage:
        """A month is a twelfth of a year of 365 days."""
        return Usage._of(quantities.Usage.from_months(real(months, "months")))

    @staticmethod
    def from_years(years: float) -> Usage:
        return Usage._of(quantities.Usage.from_years(real(years, "years")))

    seconds: Read[int] = Read()
    minutes: Read[float] = Read()
    hours: Read[float] = Read()
    days: Read[float] = Read()
    weeks: Read[float] = Read()
    months: Read[float] = Read()
    years: Read[float] = Read()

    def in_hours(self) -> str:
        """In hours, whatever its size: `0.025 hours`."""
        return self._value.in_hours()

    def __add__(self, other: Usage) -> Usage:
        return Usage._of(self._value + other._value) if isinstance(other, Usage) else NotImplemented

    def __radd__(self, other: Usage) -> Usage:
        return NotImplemented

    def __sub__(self, other: Usage) -> Usage:
        return Usage._of(self._value - other._value) if isinstance(other, Usage) else NotImplemented

    def __rsub__(self, other: Usage) -> Usage:
        return NotImplemented

    def __mul__(self, factor: float) -> Usage:
        return Usage._of(self._value * factor) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__

    def __div__(self, other: float) -> Usage:
        return Usage._of(self._value / real(other, "other"))

    def __iadd__(self, other: Usage) -> Self:
        if not isinstance(other, Usage):
            return NotImplemented
        self._value += other._value
        return self

    def __isub__(self, other: Usage) -> Self:
        if not isinstance(other, Usage):
            return NotImplemented
        self._value -= other._value
        return self

    def __imul__(self, factor: float) -> Self:
        if not isinstance(factor, int | float):
            return NotImplemented
        self._value *= factor
        return self

    def __idiv__(self, other: float) -> None:
        self._value /= real(other, "other")


@final
class Node(Wrapper[quantities.Node]):
    """What one node of a machine holds."""

    __slots__ = ()

    def __new__(cls) -> Self:
        return cls._of(quantities.Node())

    @staticmethod
    def construct(cpus: int, cores_per_cpu: int, gpus: int, memory_mb: int, billing: int) -> Node:
        return Node._of(
            quantities.Node(
                count(cpus, "cpus", U32_MAX),
                count(cores_per_cpu, "cores_per_cpu", U32_MAX),
                count(gpus, "gpus", U32_MAX),
                count(memory_mb, "memory_mb", U32_MAX),
                count(billing, "billing", U32_MAX),
            )
        )

    cores: Read[int] = Read()
    memory_gb: Read[float] = Read()

    @property
    def cpus(self) -> int:
        return self._value.cpus

    @cpus.setter
    def cpus(self, value: int) -> None:
        self._value = replace(self._value, cpus=count(value, "cpus", U32_MAX))

    @property
    def cores_per_cpu(self) -> int:
        return self._value.cores_per_cpu

    @cores_per_cpu.setter
    def cores_per_cpu(self, value: int) -> None:
        self._value = replace(self._value, cores_per_cpu=count(value, "cores_per_cpu", U32_MAX))

    @property
    def gpus(self) -> int:
        return self._value.gpus

    @gpus.setter
    def gpus(self, value: int) -> None:
        self._value = replace(self._value, gpus=count(value, "gpus", U32_MAX))

    @property
    def memory_mb(self) -> int:
        return self._value.memory_mb

    @memory_mb.setter
    def memory_mb(self, value: int) -> None:
        self._value = replace(self._value, memory_mb=count(value, "memory_mb", U32_MAX))

    @property
    def billing(self) -> int:
        """The site's own weight of a node."""
        return self._value.billing

    @billing.setter
    def billing(self, value: int) -> None:
        self._value = replace(self._value, billing=count(value, "billing", U32_MAX))


@final
class Allocation(Same[quantities.Allocation]):
    """How much an award allows: a size and its units, or nothing."""

    __slots__ = ()

    def __new__(cls) -> Self:
        return cls._of(quantities.Allocation())

    @staticmethod
    def parse(allocation: str) -> Allocation:
        """From `1000 NHR` or `10.5 node hours`."""
        return Allocation._of(told(quantities.Allocation.parse, text(allocation, "allocation")))

    @staticmethod
    def from_string(allocation: str) -> Allocation:
        return Allocation.parse(allocation)

    @staticmethod
    def from_size_and_units(size: float, units: str) -> Allocation:
        return Allocation._of(told(quantities.Allocation.from_size_and_units, real(size, "size"), text(units, "units")))

    @staticmethod
    def canonicalize(units: str) -> str:
        """The abbreviation of units that are known; others in lower case."""
        return quantities.Allocation.canonicalize(text(units, "units"))

    @staticmethod
    def from_node_hours(usage: Usage) -> Allocation:
        return Allocation._of(told(quantities.Allocation.from_node_hours, instance(usage, Usage, "usage")._value))

    @staticmethod
    def from_cpu_hours(usage: Usage, node: Node) -> Allocation:
        return _from_hours(quantities.Allocation.from_cpu_hours, usage, node)

    @staticmethod
    def from_core_hours(usage: Usage, node: Node) -> Allocation:
        return _from_hours(quantities.Allocation.from_core_hours, usage, node)

    @staticmethod
    def from_gpu_hours(usage: Usage, node: Node) -> Allocation:
        return _from_hours(quantities.Allocation.from_gpu_hours, usage, node)

    @staticmethod
    def from_gb_hours(usage: Usage, node: Node) -> Allocation:
        return _from_hours(quantities.Allocation.from_gb_hours, usage, node)

    @staticmethod
    def from_billing_hours(usage: Usage, node: Node) -> Allocation:
        return _from_hours(quantities.Allocation.from_billing_hours, usage, node)

    size: Read[float | None] = Read()
    units: Read[str | None] = Read()
    is_empty: Read[bool] = Read()
    is_node_hours: Read[bool] = Read()
    is_core_hours: Read[bool] = Read()
    is_gpu_hours: Read[bool] = Read()
    is_cpu_hours: Read[bool] = Read()
    is_gb_hours: Read[bool] = Read()
    is_billing_hours: Read[bool] = Read()

    def to_string(self) -> str:
        return str(self)

    def to_node_hours(self, node: Node) -> Usage:
        return _to_hours(self._value.to_node_hours, node)

    def to_core_hours(self, node: Node) -> Usage:
        return _to_hours(self._value.to_core_hours, node)

    def to_gpu_hours(self, node: Node) -> Usage:
        return _to_hours(self._value.to_gpu_hours, node)

    def to_cpu_hours(self, node: Node) -> Usage:
        return _to_hours(self._value.to_cpu_hours, node)

    def to_gb_hours(self, node: Node) -> Usage:
        return _to_hours(self._value.to_gb_hours, node)

    def to_billing_hours(self, node: Node) -> Usage:
        return _to_hours(self._value.to_billing_hours, node)


def _from_hours(convert: Any, usage: Usage, node: Node) -> Allocation:
    return Allocation._of(told(convert, instance(usage, Usage, "usage")._value, instance(node, Node, "node")._value))


def _to_hours(convert: Any, node: Node) -> Usage:
    return Usage._of(told(convert, instance(node, Node, "node")._value))


@final
class DateRange(Same[dates.DateRange]):
    """The days from one to another, both included."""

    __slots__ = ()

    def __new__(cls, start_date: date, end_date: date) -> Self:
        return cls._of(dates.DateRange.between(day(start_date, "start_date"), day(end_date, "end_date")))

    @staticmethod
    def parse(date_range: str) -> DateRange:
        """From one date, two with a colon between them, or a word such as `this_week`."""
        return DateRange._of(told(dates.DateRange.parse, text(date_range, "date_range"), date.today()))

    @staticmethod
    def yesterday() -> DateRange:
        return _seen_from_today("yesterday")

    @staticmethod
    def today() -> DateRange:
        return _seen_from_today("today")

    @staticmethod
    def tomorrow() -> DateRange:
        return _seen_from_today("tomorrow")

    @staticmethod
    def last_month() -> DateRange:
        return _seen_from_today("last_month")

    @staticmethod
    def next_month() -> DateRange:
        return _seen_from_today("next_month")

    @staticmethod
    def this_month() -> DateRange:
        return _seen_from_today("this_month")

    @staticmethod
    def this_week() -> DateRange:
        return _seen_from_today("this_week")

    @staticmethod
    def last_week() -> DateRange:
        return _seen_from_today("last_week")

    @staticmethod
    def next_week() -> DateRange:
        return _seen_from_today("next_week")

    @staticmethod
    def last_year() -> DateRange:
        return _seen_from_today("last_year")

    @staticmethod
    def next_year() -> DateRange:
        return _seen_from_today("next_year")

    @staticmethod
    def this_year() -> DateRange:
        return _seen_from_today("this_year")

    @staticmethod
    def week(date: date) -> DateRange:
        """The week, from Monday to Sunday, that has this day."""
        return DateRange._of(dates.DateRange.week(day(date, "date")))

    @staticmethod
    def month(date: date) -> DateRange:
        return DateRange._of(dates.DateRange.month(day(date, "date")))

    @staticmethod
    def year(date: date) -> DateRange:
        return DateRange._of(dates.DateRange.year(day(date, "date")))

    start_date: Read[date] = Read()
    end_date: Read[date] = Read()
    start_time: Read[datetime] = Read(doc="Midnight before the first day, without a zone.")
    end_time: Read[datetime] = Read(doc="Midnight after the last day, without a zone.")
    days: Read[list[date]] = Read(list)

    @property
    def weeks(self) -> list[DateRange]:
        """The whole weeks that have days in this range."""
        return each(DateRange)(self._value.weeks)

    @property
    def months(self) -> list[DateRange]:
        return each(DateRange)(self._value.months)

    @property
    def years(self) -> list[DateRange]:
        return each(DateRange)(self._value.years)


def _seen_from_today(word: str) -> DateRange:
    return DateRange._of(dates.DateRange.named(word, date.today()))
