"""Space on a filesystem: sizes, what is used, and limits.

    StorageSize     10.00 GB                                units of 1024, from B to PB
    StorageUsage    a size that is in use
    QuotaLimit      a size, or `unlimited`
    Quota           a limit, and what is used of it if that is known

A size is read leniently, as the network does: its digits and points make the number, what else is there makes the
unit, so `1 0GB` is 10 GB. It is printed in the largest unit in which it is more than 1, so 1 GB is `1024.00 MB`.
A Quota is read without its usage in a text and with it in JSON. Everything raises GrammarError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

from openportal.errors import GrammarError
from openportal.grammar.quantities import U64_MAX, is_count, saturate
from openportal.grammar.text import WHITESPACE, quote, trim

UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")
UNLIMITED: Final = "unlimited"

_WORDS: Final = ("BYTES", "KILOBYTES", "MEGABYTES", "GIGABYTES", "TERABYTES", "PETABYTES")
_BYTES: Final[Mapping[str, int]] = MappingProxyType(
    {name: 1024**power for names in (UNITS, _WORDS) for power, name in enumerate(names)}
)
_digits = re.compile(r"[0-9.]").findall
_drop_digits = re.compile(r"[0-9.]+").sub
_drop_digits_and_spaces = re.compile(rf"[0-9.{WHITESPACE}]+").sub


@dataclass(frozen=True, slots=True, order=True)
class StorageSize:
    """A number of bytes."""

    bytes: int

    def __post_init__(self) -> None:
        if not is_count(self.bytes):
            raise GrammarError(f"a size is a number of bytes between 0 and {U64_MAX}, not {self.bytes!r}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `10 GB`, `10.00GB` or `10 gigabytes`. Raises GrammarError."""
        return cls.of(*_number_and_unit(trim(text), text))

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """From a text, or from a whole number of bytes. Raises GrammarError."""
        if isinstance(value, str):
            return cls.parse(value)
        if is_count(value):
            return cls(value)  # type: ignore[arg-type]
        raise GrammarError(f"a size must be a text such as 10 GB or a number of bytes, not {quote(str(value))}")

    @classmethod
    def of(cls, amount: float, unit: str) -> Self:
        """`amount` of one of UNITS, bounded at both ends."""
        return cls(saturate(amount * _BYTES[unit]))

    @classmethod
    def from_bytes(cls, bytes: int) -> Self:
        return cls(bytes)

    @classmethod
    def from_kilobytes(cls, amount: float) -> Self:
        return cls.of(amount, "KB")

    @classmethod
    def from_megabytes(cls, amount: float) -> Self:
        return cls.of(amount, "MB")

    @classmethod
    def from_gigabytes(cls, amount: float) -> Self:
        return cls.of(amount, "GB")

    @classmethod
    def from_terabytes(cls, amount: float) -> Self:
        return cls.of(amount, "TB")

    @classmethod
    def from_petabytes(cls, amount: float) -> Self:
        return cls.of(amount, "PB")

    @property
    def kilobytes(self) -> float:
        return self.amount("KB")

    @property
    def megabytes(self) -> float:
        return self.amount("MB")

    @property
    def gigabytes(self) -> float:
        return self.amount("GB")

    @property
    def terabytes(self) -> float:
        return self.amount("TB")

    @property
    def petabytes(self) -> float:
        return self.amount("PB")

    def amount(self, unit: str) -> float:
        """How many of one of UNITS this is."""
        return float(self.bytes) / _BYTES[unit]

    def to_wire(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.bytes <= 1024:
            return f"{self.bytes} B"
        unit = [unit for unit in UNITS if _BYTES[unit] < self.bytes][-1]
        return f"{self.amount(unit):.2f} {unit}"


@dataclass(frozen=True, slots=True, order=True)
class StorageUsage:
    """How much is in use."""

    size: StorageSize

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(StorageSize.parse(text))

    @classmethod
    def from_wire(cls, value: object) -> Self:
        return cls(StorageSize.from_wire(value))

    @property
    def bytes(self) -> int:
        return self.size.bytes

    def to_wire(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return str(self.size)


@dataclass(frozen=True, slots=True)
class QuotaLimit:
    """At most how much may be used; no `size` is no limit."""

    size: StorageSize | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `unlimited` or a size. Raises GrammarError."""
        trimmed = trim(text)
        if trimmed.lower() == UNLIMITED:
            return cls()
        if not trimmed:
            raise GrammarError(f"a limit cannot be empty; it is a size such as 10 GB, or {UNLIMITED}")
        return cls(StorageSize.of(*_number_and_unit(trimmed, text, spaces=False)))

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """From a text; a limit may not be a number. Raises GrammarError."""
        if not isinstance(value, str):
            raise GrammarError(f"a limit must be a text such as 10 GB or {UNLIMITED}, not {quote(str(value))}")
        return cls.parse(value)

    @classmethod
    def limited(cls, size: StorageSize) -> Self:
        return cls(size)

    @classmethod
    def unlimited(cls) -> Self:
        return cls()

    @property
    def is_limited(self) -> bool:
        return self.size is not None

    @property
    def is_unlimited(self) -> bool:
        return self.size is None

    def to_wire(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return UNLIMITED if self.size is None else str(self.size)


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit, and what is used of it where that is known."""

    limit: QuotaLimit
    usage: StorageUsage | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the text of a limit. Raises GrammarError."""
        return cls(QuotaLimit.parse(text))

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """From `{"limit": "10.00 GB", "usage": "5.00 GB"}`, where `usage` may be left out. Raises GrammarError."""
        if not isinstance(value, dict) or "limit" not in value:
            raise GrammarError(f"a quota must be an object with a limit, not {quote(str(value))}")
        usage = value.get("usage")
        return cls(QuotaLimit.from_wire(value["limit"]), None if usage is None else StorageUsage.from_wire(usage))

    @classmethod
    def limited(cls, size: StorageSize) -> Self:
        return cls(QuotaLimit(size))

    @classmethod
    def unlimited(cls) -> Self:
        return cls(QuotaLimit())

    @classmethod
    def with_usage(cls, limit: QuotaLimit, usage: StorageUsage) -> Self:
        return cls(limit, usage)

    @property
    def is_unlimited(self) -> bool:
        return self.limit.is_unlimited

    @property
    def is_over_quota(self) -> bool:
        """Whether more is known to be used than the limit."""
        return self.usage is not None and self.limit.size is not None and self.usage.size > self.limit.size

    @property
    def percentage_used(self) -> float | None:
        """None where the usage is not known, or the limit is none or nothing."""
        if self.usage is None or self.limit.size is None or not self.limit.size.bytes:
            return None
        return float(self.usage.bytes) / float(self.limit.size.bytes) * 100.0

    def to_wire(self) -> dict[str, str]:
        usage = {} if self.usage is None else {"usage": str(self.usage)}
        return {"limit": str(self.limit), **usage}

    def __str__(self) -> str:
        if self.usage is None:
            return str(self.limit)
        percentage = self.percentage_used
        share = "" if percentage is None else f" | {percentage:.1f}%"
        return f"{self.usage} / {self.limit}{share}"


def _number_and_unit(trimmed: str, text: str, spaces: bool = True) -> tuple[float, str]:
    """The parts of a size. In the unit of a limit the network overlooks spaces, in that of a size it does not."""
    try:
        number = float("".join(_digits(trimmed)))
    except ValueError as error:
        raise GrammarError(f"{quote(text)} is not a size such as 10 GB: it holds no number") from error
    unit = (trim(_drop_digits("", trimmed)) if spaces else _drop_digits_and_spaces("", trimmed)).upper()
    if unit not in _BYTES:
        raise GrammarError(f"{quote(unit)} is not a unit of a size; these are: {', '.join(UNITS)}")
    return number, unit
