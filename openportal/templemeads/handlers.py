"""What a leaf offers, and what it is given to work with.

A handler answers one kind of instruction. One that only looks is a plain function; one that changes the world, or must
wait for a tool or a network, is a coroutine function. Both get a `Run` and the parsed instruction and return the result
as a value (None, bool, str, an identifier or mapping of the grammar, a list or a dict of those); the runtime prints it.

Every change goes through `Run.effect`, which makes the intent durable before the call and records what was observed
after it. Handlers are idempotent: look, then act, then look; a handler that runs again after a crash finds what its
earlier self did and answers the same. They raise `JobError` (or a subclass) for a failure with a reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from openportal.grammar.instructions import Instruction

T = TypeVar("T")


class Run(Protocol):
    """One job being carried out."""

    @property
    def job_id(self) -> str:
        """The job's UUID, in its printed form."""
        ...

    @property
    def sender(self) -> str:
        """The neighbour whose job this is, as `name@zone`."""
        ...

    async def effect(self, action: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        """Change something outside: `action` on `target` (words for the audit trail, never a secret) by `call`.

        Raises whatever `call` raises, after recording it.
        """
        ...

    def progress(self, text: str) -> None:
        """Tell whoever asked how far the job is, in words for people. It is passed on, and not stored."""
        ...

    async def ask(self, step: str, agent: str, instruction: str) -> object:
        """Ask the agent that sits beyond our sender (or is our peer) and return its decoded JSON result."""
        ...


Handler = Callable[[Run, Any], object]
"""(run, instruction) -> result, or an awaitable of it."""


class Leaf(Protocol):
    """The system behind a leaf agent: FreeIPA, local accounts, directories, Slurm, or a sandbox of one of them."""

    def handlers(self) -> Mapping[type[Instruction], Handler]:
        """The instructions it answers."""
        ...


async def close_nothing() -> None:
    """There is nothing to let go of."""


class System(NamedTuple):
    """A leaf as its agent has it: what it answers, and how to let go of what it holds open when the agent stops.

    `close` is called when all handlers have ended, cut off or not; one that runs a tool ends when the tool has.
    """

    handlers: Mapping[type[Instruction], Handler]
    close: Callable[[], Awaitable[None]] = close_nothing
