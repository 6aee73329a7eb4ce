"""What distinguishes the kinds of agents: how they carry out the jobs that stop at them, or pass through. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from openportal.grammar.destination import Destination
from openportal.grammar.instructions import Instruction
from openportal.templemeads.job import Job
from openportal.templemeads.saga import Steps


class Here(NamedTuple):
    """A job at this agent, as a role looks at it."""

    me: str
    sender: str
    zone: str
    sender_type: str | None
    destination: Destination
    text: str  # the instruction
    job: Job


class Work(NamedTuple):
    """How a job that stops here is carried out: by a leaf's handler, by a saga, or held for the portal's software."""

    instruction: Instruction
    steps: Callable[[], Steps] | None = None
    held: bool = False
    subject: str | None = None
    changes: bool = True


class Role(Protocol):
    """What an agent of one kind does with jobs. Both methods raise JobError to refuse."""

    agent_type: str

    def work(self, here: Here) -> Work:
        """How to carry out a job whose destination ends here."""
        ...

    def passing(self, here: Here) -> Work | None:
        """How to carry out a job on its way through; None means that it is passed on."""
        ...
