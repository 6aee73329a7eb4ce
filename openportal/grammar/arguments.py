"""Arguments that have a form of their own in an instruction, unlike the same thing in a document.

Word            /home/alice          one word, carried as it is
WrittenRange    this_week            a range of dates, as it was written: what a word means depends on the day
UsageLimit      10 hours             a limit on usage, which is printed in seconds: 36000
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final, Self

from openportal.errors import GrammarError
from openportal.grammar.dates import DateRange
from openportal.grammar.quantities import SECONDS, U64_MAX, Usage
from openportal.grammar.text import WHITESPACE, quote, trim

_ANY_DAY: Final = date(2000, 1, 1)
_UNIT_SECONDS: Final[Mapping[str, int]] = MappingProxyType(
    {
        spelling: SECONDS[unit]
        for unit in ("second", "minute", "hour", "day")
        for spelling in (unit[0], unit, f"{unit}s")
    }
)
_read_limit = re.compile(
    rf"\+?0*([0-9]{{1,20}})(?:[{WHITESPACE}]+([A-Za-z]+)(?:[{WHITESPACE}].*)?)?", re.DOTALL
).fullmatch


@dataclass(frozen=True, slots=True)
class Word:
    """A text without spaces that is carried as it is, such as the path of a home directory."""

    text: str

    def __post_init__(self) -> None:
        if not trim(self.text):
            raise GrammarError("a word cannot be empty")
        if " " in self.text:
            raise GrammarError(f"{quote(self.text)} must be one word without spaces")

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class WrittenRange:
    """A range of dates in the words of whoever wrote it; `on` tells which days are meant."""

    text: str

    def __post_init__(self) -> None:
        if " " in self.text:
            raise GrammarError(f"{quote(self.text)} must be one word without spaces")
        DateRange.parse(self.text, _ANY_DAY)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From what `DateRange.parse` reads. Raises GrammarError."""
        return cls(text)

    def on(self, today: date) -> DateRange:
        """The days that are meant if this was written on `today`."""
        return DateRange.parse(self.text, today)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class UsageLimit:
    """How much may be used."""

    usage: Usage

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a whole number and a unit: seconds (which may be left out), minutes, hours or days.

        Words after the unit mean nothing, and a limit above the largest usage is that: so the network has it. Raises
        GrammarError.
        """
        found = _read_limit(trim(text))
        factor = _UNIT_SECONDS.get((found[2] or "second").lower()) if found else None
        if found is None or factor is None:
            raise GrammarError(
                f"a limit is a whole number of seconds, minutes, hours or days, such as 10 hours, not {quote(text)}"
            )
        if (amount := int(found[1])) > U64_MAX:
            raise GrammarError(f"a limit cannot be more than {U64_MAX}: {quote(text)}")
        return cls(Usage(min(U64_MAX, amount * factor)))

    def __str__(self) -> str:
        return str(self.usage.seconds)
