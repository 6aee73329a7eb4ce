"""How much: time on a machine, what an award allows of it, and the node that converts one into the other.

    Usage         a whole number of seconds             {"seconds": 3600}           1.000 hour
    Allocation    a size and its units, or none         "1000 node hours"           1000 NHR
    Node          what one node of a machine holds      2 CPUs of 64 cores, 4 GPUs, 512 GB

A Usage is an unsigned 64-bit number on the network, so arithmetic ends at its bounds instead of running over them, and
a product is cut to whole seconds. An Allocation keeps units that nobody knows in lower case; six are known, each by
its abbreviation and by its words. Everything raises GrammarError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import copysign, inf, isfinite, nan
from types import MappingProxyType
from typing import Final, Self

from openportal.errors import GrammarError
from openportal.grammar.text import WHITESPACE, quote, trim

U64_MAX: Final = 2**64 - 1
U32_MAX: Final = 2**32 - 1

SECONDS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "second": 1,
        "minute": 60,
        "hour": 3_600,
        "day": 86_400,
        "week": 604_800,
        "month": 2_628_000,
        "year": 31_536_000,
    }
)
"""A month is a twelfth of a year of 365 days."""

_SHOWN_FROM_SECONDS: Final[Mapping[str, int]] = MappingProxyType({"month": 2_721_600})
"""From where on a unit is printed, if not from one: a month is 4.5 weeks then."""

NODE_HOURS, GPU_HOURS, CPU_HOURS, CORE_HOURS, GB_HOURS, BILLING_HOURS = "NHR", "GPUHR", "CPUHR", "COREHR", "GBHR", "BHR"

_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        spelling: units
        for what, units in (
            ("node", NODE_HOURS),
            ("gpu", GPU_HOURS),
            ("cpu", CPU_HOURS),
            ("core", CORE_HOURS),
            ("gb", GB_HOURS),
            ("billing", BILLING_HOURS),
        )
        for spelling in (units.lower(), f"{what} hour", f"{what} hours")
    }
)
_NOTHING: Final = frozenset({"none", "no allocation"})
_is_size = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_words = re.compile(rf"[^{WHITESPACE}]+").findall


def saturate(value: float) -> int:
    """`value` cut to a whole number between 0 and the largest that the network carries; 0 for what is no number."""
    if not value > 0:
        return 0
    return U64_MAX if value >= U64_MAX else int(value)


def is_count(value: object) -> bool:
    """Whether a value from a JSON document is an unsigned 64-bit number."""
    return type(value) is int and 0 <= value <= U64_MAX


@dataclass(frozen=True, slots=True, order=True)
class Usage:
    """Time used, in whole seconds."""

    seconds: int = 0

    def __post_init__(self) -> None:
        if not is_count(self.seconds):
            raise GrammarError(f"a usage is a number of seconds between 0 and {U64_MAX}, not {self.seconds!r}")

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """From `{"seconds": 3600}`. Raises GrammarError."""
        if not isinstance(value, dict) or not is_count(value.get("seconds")):
            raise GrammarError(f"a usage must be an object with a whole number of seconds, not {quote(str(value))}")
        return cls(value["seconds"])

    @classmethod
    def of(cls, amount: float, unit: str) -> Self:
        """`amount` of one of SECONDS, such as 1.5 of `hour`; cut to whole seconds, bounded at both ends."""
        return cls(saturate(amount * SECONDS[unit]))

    def to_wire(self) -> dict[str, int]:
        return {"seconds": self.seconds}

    def amount(self, unit: str) -> float:
        """How many of one of SECONDS this is."""
        return float(self.seconds) / SECONDS[unit]

    @classmethod
    def from_seconds(cls, seconds: int) -> Self:
        return cls(seconds)

    @classmethod
    def from_minutes(cls, minutes: float) -> Self:
        return cls.of(minutes, "minute")

    @classmethod
    def from_hours(cls, hours: float) -> Self:
        return cls.of(hours, "hour")

    @classmethod
    def from_days(cls, days: float) -> Self:
        return cls.of(days, "day")

    @classmethod
    def from_weeks(cls, weeks: float) -> Self:
        return cls.of(weeks, "week")

    @classmethod
    def from_months(cls, months: float) -> Self:
        return cls.of(months, "month")

    @classmethod
    def from_years(cls, years: float) -> Self:
        return cls.of(years, "year")

    @property
    def minutes(self) -> float:
        return self.amount("minute")

    @property
    def hours(self) -> float:
        return self.amount("hour")

    @property
    def days(self) -> float:
        return self.amount("day")

    @property
    def weeks(self) -> float:
        return self.amount("week")

    @property
    def months(self) -> float:
        return self.amount("month")

    @property
    def years(self) -> float:
        return self.amount("year")

    def in_hours(self) -> str:
        """In hours, whatever its size: `0.025 hours`."""
        return f"{self.hours:.3f} hours"

    def __add__(self, other: Usage) -> Usage:
        return Usage(min(U64_MAX, self.seconds + other.seconds))

    def __sub__(self, other: Usage) -> Usage:
        return Usage(max(0, self.seconds - other.seconds))

    def __mul__(self, factor: float) -> Usage:
        return Usage(saturate(float(self.seconds) * factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Usage:
        """Over nothing it is nothing."""
        return Usage(saturate(float(self.seconds) / divisor if divisor else 0.0))

    def __str__(self) -> str:
        if self.seconds < SECONDS["minute"]:
            return f"{self.seconds} second" if self.seconds == 1 else f"{self.seconds} seconds"
        unit = [unit for unit in SECONDS if _SHOWN_FROM_SECONDS.get(unit, SECONDS[unit]) <= self.seconds][-1]
        amount = f"{self.amount(unit):.3f}"
        return f"{amount} {unit}" if amount == "1.000" else f"{amount} {unit}s"


@dataclass(frozen=True, slots=True)
class Node:
    """What one node holds. `billing` is the site's own weight of a node."""

    cpus: int = 0
    cores_per_cpu: int = 0
    gpus: int = 0
    memory_mb: int = 0
    billing: int = 0

    def __post_init__(self) -> None:
        for count in (self.cpus, self.cores_per_cpu, self.gpus, self.memory_mb, self.billing):
            if type(count) is not int or not 0 <= count <= U32_MAX:
                raise GrammarError(f"what a node holds is counted from 0 to {U32_MAX}, not {count!r}")

    @classmethod
    def construct(cls, cpus: int, cores_per_cpu: int, gpus: int, memory_mb: int, billing: int) -> Self:
        return cls(cpus, cores_per_cpu, gpus, memory_mb, billing)

    @property
    def cores(self) -> int:
        return self.cpus * self.cores_per_cpu

    @property
    def memory_gb(self) -> float:
        return self.memory_mb / 1024

    def __str__(self) -> str:
        return (
            f"Node(cpus: {self.cpus}, cores_per_cpu: {self.cores_per_cpu}, gpus: {self.gpus},"
            f" memory: {_plain(self.memory_gb)} GB, billing: {self.billing})"
        )


@dataclass(frozen=True, slots=True)
class Allocation:
    """How much an award allows: a size and its units, or neither."""

    size: float | None = None
    units: str | None = None

    def __post_init__(self) -> None:
        if (self.size is None) != (self.units is None):
            raise GrammarError("an allocation has a size and units, or neither")
        if self.size is not None and (not isfinite(self.size) or self.size < 0):
            raise GrammarError(f"the size of an allocation must be a finite number from 0, not {self.size}")
        if self.units is not None and self.canonicalize(self.units) != self.units:
            raise GrammarError(f"{quote(self.units)} is not how these units are written")
        if self.units == "":
            raise GrammarError("the units of an allocation cannot be empty")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `1000 NHR`, `10.5 node hours` or `none`. Raises GrammarError."""
        words = _words(text)
        if trim(text).lower() in _NOTHING:
            return cls()
        if len(words) < 2:
            raise GrammarError(f"an allocation is a size and units, such as 1000 NHR: {quote(text)}")
        if not _is_size(words[0]):
            raise GrammarError(f"the size of an allocation must be a number: {quote(words[0])}")
        return cls.from_size_and_units(float(words[0]), " ".join(words[1:]))

    @classmethod
    def from_size_and_units(cls, size: float, units: str) -> Self:
        return cls(size, cls.canonicalize(units))

    @staticmethod
    def canonicalize(units: str) -> str:
        """The abbreviation of units that are known; others in lower case."""
        known = trim(units).lower()
        return _UNITS.get(known, known)

    @classmethod
    def from_node_hours(cls, usage: Usage) -> Self:
        return cls(usage.hours, NODE_HOURS)

    @classmethod
    def from_cpu_hours(cls, usage: Usage, node: Node) -> Self:
        """The node hours in which a node of that kind gives so many CPU hours."""
        return cls(_divide(usage.hours, node.cpus), NODE_HOURS)

    @classmethod
    def from_core_hours(cls, usage: Usage, node: Node) -> Self:
        return cls(_divide(usage.hours, node.cores), NODE_HOURS)

    @classmethod
    def from_gpu_hours(cls, usage: Usage, node: Node) -> Self:
        return cls(_divide(usage.hours, node.gpus), NODE_HOURS)

    @classmethod
    def from_gb_hours(cls, usage: Usage, node: Node) -> Self:
        return cls(_divide(usage.hours, node.memory_gb), NODE_HOURS)

    @classmethod
    def from_billing_hours(cls, usage: Usage, node: Node) -> Self:
        """Unlike the others, in units of billing hours: so the network has it."""
        return cls(_divide(usage.hours, node.billing), BILLING_HOURS)

    @property
    def is_empty(self) -> bool:
        return self.size is None

    @property
    def is_node_hours(self) -> bool:
        return self.units == NODE_HOURS

    @property
    def is_gpu_hours(self) -> bool:
        return self.units == GPU_HOURS

    @property
    def is_cpu_hours(self) -> bool:
        return self.units == CPU_HOURS

    @property
    def is_core_hours(self) -> bool:
        return self.units == CORE_HOURS

    @property
    def is_gb_hours(self) -> bool:
        return self.units == GB_HOURS

    @property
    def is_billing_hours(self) -> bool:
        return self.units == BILLING_HOURS

    def to_node_hours(self, node: Node) -> Usage:
        """The time on whole nodes. CPU hours count as core hours: so the network has it. Raises GrammarError."""
        per_node = {
            NODE_HOURS: 1,
            GPU_HOURS: node.gpus,
            CPU_HOURS: node.cores,
            CORE_HOURS: node.cores,
            GB_HOURS: node.memory_gb,
            BILLING_HOURS: node.billing,
        }.get(self.units or "")
        if self.size is None or per_node is None:
            raise GrammarError(f"{quote(str(self))} cannot be converted to node hours")
        if not per_node:
            raise GrammarError(f"a node has nothing that is counted in {self.units}: {node}")
        return Usage.from_hours(self.size / per_node)

    def to_cpu_hours(self, node: Node) -> Usage:
        return self.to_node_hours(node) * node.cpus

    def to_core_hours(self, node: Node) -> Usage:
        return self.to_node_hours(node) * node.cores

    def to_gpu_hours(self, node: Node) -> Usage:
        return self.to_node_hours(node) * node.gpus

    def to_gb_hours(self, node: Node) -> Usage:
        return self.to_node_hours(node) * node.memory_gb

    def to_billing_hours(self, node: Node) -> Usage:
        return self.to_node_hours(node) * node.billing

    def __str__(self) -> str:
        return "No allocation" if self.size is None else f"{_plain(self.size)} {self.units}"


def _divide(amount: float, by: float) -> float:
    if by:
        return amount / by
    return copysign(inf, amount) if amount else nan


def _plain(number: float) -> str:
    """The shortest decimal that reads back as `number`, without an exponent or a point that says nothing."""
    return format(Decimal(repr(float(number))), "f").removesuffix(".0")
