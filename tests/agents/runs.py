"""A `Run` in memory, for trying a leaf without an agent around it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from openportal.grammar.instructions import parse_instruction
from openportal.templemeads.handlers import Leaf

T = TypeVar("T")


@dataclass
class MemoryRun:
    """One job; it keeps the effects that were asked for, and may be killed before or after one of them."""

    sender: str = "shared@default"
    job_id: str = "bde2e518-0000-4000-8000-000000000000"
    effects: list[tuple[str, str]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    killed_before: str | None = None
    killed_after: str | None = None

    async def effect(self, action: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        if action == self.killed_before:
            raise Killed(action)
        self.effects.append((action, target))
        result = await call()
        if action == self.killed_after:
            raise Killed(action)
        return result

    def progress(self, text: str) -> None:
        self.told.append(text)

    async def ask(self, step: str, agent: str, instruction: str) -> object:
        raise AssertionError(f"no leaf of these asks anything, and this one asked {instruction}")


class Killed(BaseException):
    """The process ends here."""


async def answer(leaf: Leaf, text: str, run: MemoryRun | None = None) -> object:
    """What the leaf answers to an instruction, printed as the runtime prints it."""
    instruction = parse_instruction(text)
    result = leaf.handlers()[type(instruction)](run or MemoryRun(), instruction)
    return printed(await result if inspect.isawaitable(result) else result)


async def effects_of(leaf: Leaf, text: str, sender: str = "shared@default") -> list[tuple[str, str]]:
    """The effects that carrying out an instruction has."""
    run = MemoryRun(sender)
    await answer(leaf, text, run)
    return run.effects


def printed(value: object) -> object:
    """Identifiers and mappings as their text, inside lists and dicts too."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [printed(item) for item in value]
    if isinstance(value, dict):
        return {str(key): printed(item) for key, item in value.items()}
    return str(value)
