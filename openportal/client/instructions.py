"""Instructions as the published client shows them: a range of days is written out, seen from today.

Agents carry a range as it was written (`this_week`, or nothing at all); a portal's software wants to see the days that
it asks for. Without a range, usage is of this week and storage of today.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from openportal.grammar.dates import DateRange
from openportal.grammar.instructions import Instruction, Submit, parse_instruction


def parse(text: str) -> Instruction:
    """From a verb and its arguments. Raises GrammarError."""
    return settled(parse_instruction(text))


def settled(instruction: Instruction) -> Instruction:
    """With its range of days, if it has one, written out."""
    changed: Any = instruction  # a dataclass, which the base of all verbs is not
    if isinstance(instruction, Submit):
        return replace(instruction, instruction=settled(instruction.instruction))
    for argument in instruction.arguments:
        if argument.name == "range":
            days = DateRange.parse(str(changed.range or _usual_range(instruction.verb)), date.today())
            return replace(changed, range=argument.kind.parse(str(days)))  # type: ignore[no-any-return, attr-defined]
    return instruction


def _usual_range(verb: str) -> str:
    return "this_week" if "_usage_" in verb else "today"
