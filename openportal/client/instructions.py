"""Instructions as the published client shows them: a range of days is written out, seen from today."""

from __future__ import annotations

from datetime import date

from openportal.grammar.instructions import Instruction, dated, parse_instruction


def parse(text: str) -> Instruction:
    """From a verb and its arguments. Raises GrammarError."""
    return settled(parse_instruction(text))


def settled(instruction: Instruction) -> Instruction:
    """With its range of days, if it has one, written out."""
    return dated(instruction, date.today())
