"""What every agent that only passes jobs on, or only works at the end of the line, has in common."""

from __future__ import annotations

from collections.abc import Mapping

from openportal.errors import Unroutable, Unsupported
from openportal.grammar.instructions import Instruction, parse_instruction
from openportal.templemeads.handlers import Handler
from openportal.templemeads.role import Here, Work


class RelayRole:
    """A provider or a platform: passes jobs on and carries out none."""

    def __init__(self, agent_type: str) -> None:
        self.agent_type = agent_type

    def work(self, here: Here) -> Work:
        raise Unsupported(f"{here.me} is a {self.agent_type.lower()}: it passes jobs on and carries out none itself")

    def passing(self, here: Here) -> Work | None:
        return None


class LeafRole:
    """An account, filesystem or scheduler agent: carries out what its leaf has a handler for."""

    def __init__(self, agent_type: str, handlers: Mapping[type[Instruction], Handler]) -> None:
        self.agent_type = agent_type
        self._handlers = handlers

    def work(self, here: Here) -> Work:
        instruction = parse_instruction(here.text)
        if type(instruction) not in self._handlers:
            raise Unsupported(f"{here.me}, the {self.agent_type.lower()} agent, does not answer {instruction.verb}")
        return Work(instruction, subject=instruction.subject, changes=instruction.changes)

    def passing(self, here: Here) -> Work | None:
        raise Unroutable(f"{here.me} is the end of the line: {here.destination} cannot lead through it")
