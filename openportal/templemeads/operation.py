"""What an operator changes with a command of the leaf's own, such as adopting accounts, written into the ledger.

    Operated    who began what
    Intended    before each call: its number, what is done, to whom
    Observed    after it: done, or what went wrong

All on the agent's own stream, with one id, as no neighbour asked for it. Whom a call is about owns what names them.

The ledger has one writer, so the agent must be stopped: jobs wait for it, and nobody else changes the same accounts
meanwhile. A running agent could write in our place, or do the work itself. But it would have to be given the operator's
password, and to answer over its socket for as long as the work takes: much that can go wrong, for something rare.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar
from uuid import uuid4

from openportal.errors import JobError
from openportal.templemeads.erasure import owner_of_effect
from openportal.templemeads.events import AGENT_STREAM, Intended, Observed, Operated
from openportal.templemeads.ledger import Event, Ledger
from openportal.templemeads.outbox import sayable

SENDER = "operator@here"

T = TypeVar("T")


class Operation:
    """One command, from its beginning; `tell` is given a line for what becomes of each call."""

    def __init__(self, ledger: Ledger, action: str, by: str, tell: Callable[[str], None]) -> None:
        self.id = str(uuid4())
        self.tell = tell
        self._ledger = ledger
        self._numbers = count(1)
        self.write(Operated(self.id, action, by))

    def about(self, subject: str) -> OperatorRun:
        """Carries out calls that are about `subject`: a user or a project."""
        return OperatorRun(self, subject)

    def intend(self, action: str, owner: str | None, target: str) -> int:
        number = next(self._numbers)
        self.write(Intended(self.id, number, action, owner, sayable(target)))
        return number

    def write(self, event: Event) -> None:
        self._ledger.submit([(AGENT_STREAM, event)], time.time())

    async def committed(self) -> None:
        """Returns when all that was written is on the disk. Raises CommitFailed."""
        await self._ledger.drain()


class OperatorRun:
    """The `Run` of calls about one user or project."""

    sender = SENDER

    def __init__(self, operation: Operation, subject: str) -> None:
        self._operation = operation
        self._owner = owner_of_effect(subject, operation.id)

    @property
    def job_id(self) -> str:
        return self._operation.id

    async def effect(self, action: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        """Change something outside: the intent is on the disk before, what was observed is written after."""
        operation = self._operation
        number = operation.intend(action, self._owner, target)
        await operation.committed()
        operation.tell(f"{action}: {target} …")
        try:
            result = await call()
        except Exception as error:
            why = str(error) or type(error).__name__
            operation.write(Observed(operation.id, number, False, self._owner, sayable(why)))
            operation.tell(f"{action}: {target}: FAILED: {why}")
            raise
        operation.write(Observed(operation.id, number, True, self._owner))
        operation.tell(f"{action}: {target}: done")
        return result

    def progress(self, text: str) -> None:
        self._operation.tell(text)

    async def ask(self, step: str, agent: str, instruction: str) -> object:
        raise JobError(f"nobody can be asked {instruction} here")
