"""The path that a job walks: `portal.provider.platform.instance`, from the agent that puts it to the one that runs it.

A name may occur more than once. Questions about *the* place of a name are about its first occurrence, except that
`position` takes the first occurrence that fits the sender.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final, Self

from openportal.errors import GrammarError
from openportal.grammar.text import WHITESPACE, quote, trim

AGENTS_MINIMUM: Final = 2

_is_agent = re.compile(rf"[^.{WHITESPACE}]+").fullmatch


class Position(Enum):
    """Where an agent stands on a destination, as seen from the neighbour that sent the job."""

    HERE = "here"  # the sender is just before me and I am the last: mine to run
    DOWNSTREAM = "downstream"  # the sender is just before me and others follow: mine to pass on
    UPSTREAM = "upstream"  # the sender is just after me: the job comes back to me
    OFF_ROUTE = "off-route"  # neither: the job must not be here


@dataclass(frozen=True, slots=True)
class Destination:
    """Two or more names of agents. A name holds neither dots nor whitespace; all else is free."""

    agents: tuple[str, ...]

    def __post_init__(self) -> None:
        for agent in self.agents:
            if not _is_agent(agent):
                raise GrammarError(
                    f"the name {quote(agent)} in a destination is empty or contains whitespace or a dot:"
                    f" {quote('.'.join(self.agents))}"
                )
        if len(self.agents) < AGENTS_MINIMUM:
            raise GrammarError(
                f"a destination needs at least {AGENTS_MINIMUM} agents, such as portal.provider:"
                f" {quote('.'.join(self.agents))}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `a.b.c`. Empty pieces are dropped, so `a..b` and `.a.b.` are `a.b`. Raises GrammarError."""
        return cls(tuple([piece for piece in text.split(".") if piece]))

    @property
    def first(self) -> str:
        return self.agents[0]

    @property
    def last(self) -> str:
        return self.agents[-1]

    def next_after(self, name: str) -> str | None:
        """The agent after the first occurrence of `name`; None at the end or if it does not occur."""
        return next((after for before, after in pairwise(self.agents) if before == name), None)

    def previous_before(self, name: str) -> str | None:
        """The agent before the first occurrence of `name`; None at the start or if it does not occur."""
        if name not in self.agents or name == self.first:
            return None
        return self.agents[self.agents.index(name) - 1]

    def reversed(self) -> Destination:
        """The way back."""
        return Destination(self.agents[::-1])

    def position(self, me: str, sender: str) -> Position:
        """Where `me` stands, given that the neighbour `sender` sent the job.

        The way forward is looked at before the way back: in `a.b.a`, what `a` sends to `b` goes on downstream.
        """
        agents = self.agents
        for index, pair in enumerate(pairwise(agents), start=1):
            if pair == (sender, me):
                return Position.HERE if index == len(agents) - 1 else Position.DOWNSTREAM
        return Position.UPSTREAM if (me, sender) in pairwise(agents) else Position.OFF_ROUTE

    def __str__(self) -> str:
        return ".".join(self.agents)


@dataclass(frozen=True, slots=True)
class Destinations:
    """Any number of different destinations, in order.

    The printed form is that of the network, and it is not exact for names with square brackets at their outer ends:
    `[[a.b]]` is one destination with the agents `[a` and `b]`, which prints as `[a.b]`.
    """

    destinations: tuple[Destination, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.destinations)) != len(self.destinations):
            raise GrammarError(f"a destination is listed twice: {quote(str(self))}")
        for destination in self.destinations:
            if any("," in agent for agent in destination.agents):
                raise GrammarError(f"a destination in a list cannot contain a comma: {quote(str(destination))}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `[a.b, c.d]`; empty and repeated items are dropped. GrammarError.

        The brackets may be missing. One that is not closed belongs to the first name.
        """
        listed = trim(text)
        items = (listed[:-1].removeprefix("[") if listed.endswith("]") else listed).split(",")
        return cls(tuple(dict.fromkeys(Destination.parse(item) for item in map(trim, items) if item)))

    def __str__(self) -> str:
        if len(self.destinations) == 1:
            return str(self.destinations[0])
        return f"[{', '.join(map(str, self.destinations))}]"
