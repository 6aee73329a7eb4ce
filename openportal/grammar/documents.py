"""Arguments that hold a document of their own: awards, limits, quotas and date ranges.

They are carried as the text that came in, so a hop that only routes prints exactly what it read. The typed documents
(which also check what is written in them) take the place of these classes in the declarations of the verbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from openportal.errors import GrammarError
from openportal.grammar.text import quote, trim


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A text that is carried as it is; it may hold spaces but must hold something else too."""

    text: str

    def __post_init__(self) -> None:
        if not trim(self.text):
            raise GrammarError("a document cannot be empty")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Any text with at least one character that is not whitespace. Raises GrammarError otherwise."""
        return cls(text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Word(Verbatim):
    """A verbatim text without spaces: a date range, or the path of a home directory."""

    def __post_init__(self) -> None:
        # Not super(): a slotted dataclass is a second class, which the implicit cell of super() does not know.
        Verbatim.__post_init__(self)
        if " " in self.text:
            raise GrammarError(f"{quote(self.text)} must be one word without spaces")
