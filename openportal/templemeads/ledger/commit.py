"""Group commit: units staged in one turn of the loop, or while a commit runs, become durable together.

Nothing that somebody waits for lingers. A unit that nobody waits for (no `then`) rides along with the next one, or is
written after LAZY_SECONDS.

    add, gate ──> pending ──flush──> batch ──stage, commit──> delivered, in order

One batch is under way at a time. A commit that fails ends it all: nothing pending is written and no `then` is called.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import NamedTuple

import msgspec

from openportal.errors import CommitFailed
from openportal.templemeads.ledger.format import Mark, Row
from openportal.templemeads.ledger.tables import Backend, Batch, SpaceFull, Statement

LAZY_SECONDS = 0.02

Then = Callable[[], None]
Outcome = Exception | None


class Stats(msgspec.Struct):
    """Counts since the ledger was opened."""

    commits: int = 0
    events: int = 0
    units: int = 0
    bytes: int = 0
    """Of states, before the database adds its own."""
    last_commit_seconds: float = 0.0
    biggest_batch: int = 0
    """In events."""


class Pending(NamedTuple):
    """One unit that waits, or a gate (no rows)."""

    rows: list[Row]
    mark: Mark
    then: Then | None


class Worker:
    """One thread that runs one call at a time and reports to the loop it was asked from."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], None], Callable[[Outcome], None], asyncio.AbstractEventLoop] | None]
        self._calls = SimpleQueue()
        self.last: Outcome = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def run(self, call: Callable[[], None], done: Callable[[Outcome], None]) -> None:
        self._calls.put((call, done, asyncio.get_running_loop()))

    def stop(self) -> None:
        """Returns when the call under way has ended; its outcome is then in `last`."""
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            call, done, loop = item
            self.last = attempt(call)
            try:
                loop.call_soon_threadsafe(done, self.last)
            except RuntimeError:  # the loop was closed meanwhile: `stop` collects the outcome
                pass


def attempt(call: Callable[[], None]) -> Outcome:
    try:
        call()
    except Exception as error:
        return error
    return None


class GroupCommit:
    """The queue between the units an agent stages and the database."""

    def __init__(self, backend: Backend, threaded: bool, mark: Mark) -> None:
        self.committed = mark
        self.stats = Stats()
        self.failure: CommitFailed | None = None
        self.new_statements: Callable[[], list[Statement]] = list
        self.on_mark: Callable[[Mark], None] = lambda _: None
        self.on_failure: Callable[[CommitFailed], None] = lambda _: None
        self._backend = backend
        self._worker = Worker() if threaded else None
        self._pending: deque[Pending] = deque()
        self._flying: list[Pending] | None = None
        self._started = 0.0
        self._batch = Batch([], [])
        self._scheduled = False
        self._lazy: asyncio.TimerHandle | None = None
        self._thens: deque[Then] = deque()
        self._delivering = False
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def idle(self) -> bool:
        return not (self._pending or self._flying or self._thens)

    def add(self, rows: list[Row], mark: Mark, then: Then | None) -> None:
        self._pending.append(Pending(rows, mark, then))
        if self._scheduled or self._flying is not None:
            return
        if then is not None:
            self._schedule()
        elif self._lazy is None:
            self._lazy = asyncio.get_running_loop().call_later(LAZY_SECONDS, self._flush)

    def gate(self, then: Then | None) -> None:
        if then is None:
            return
        if self._pending or self._flying is not None:
            self._pending.append(Pending([], self.committed, then))
            if not self._scheduled and self._flying is None:
                self._schedule()
        elif self._thens or self._delivering:
            self._thens.append(then)
        else:
            then()

    async def drain(self) -> None:
        """Returns when everything added so far is durable; raises CommitFailed if it is not."""
        if self.failure:
            raise self.failure
        if self._pending or self._flying is not None:
            done = asyncio.get_running_loop().create_future()
            self._waiters.append(done)
            self.gate(lambda: None if done.done() else done.set_result(None))
            try:
                await done
            finally:
                self._waiters.remove(done)

    def settle(self) -> None:
        """Write everything pending, waiting for it, and call no `then` any more. For closing."""
        if self._worker is not None:
            self._worker.stop()
            if self._flying is not None:
                self._finish(self._worker.last, self._flying, deliver=False)
            self._worker = None
        while self._pending and self.failure is None:
            self._flush(deliver=False)
        self._thens.clear()

    def _schedule(self) -> None:
        """Flush after the next turn: work that this one set going (a leaf's first intent) joins the same batch."""
        self._scheduled = True
        asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self, deliver: bool = True) -> None:
        self._scheduled = False
        if self._lazy is not None:
            self._lazy.cancel()
            self._lazy = None
        if self._flying is not None or not self._pending:
            return
        flying = self._flying = self._take()
        self._started = perf_counter()
        rows = [row for unit in flying for row in unit.rows]
        if not rows:  # gates only: what they waited for is durable
            self._finish(None, flying, deliver)
            return
        self._batch = Batch(rows, self.new_statements())
        outcome = attempt(partial(self._backend.stage, self._batch))
        if outcome is None and self._worker is not None:
            self._worker.run(self._backend.commit, partial(self._finish, flying=flying))
            return
        if outcome is None:
            outcome = attempt(self._backend.commit)
        self._finish(outcome, flying, deliver)

    def _take(self) -> list[Pending]:
        """As many units as fit into one batch, and at least one."""
        pending, limit = self._pending, self._backend.batch_events
        taken = [pending.popleft()]
        events = len(taken[0].rows)
        while pending and events + len(pending[0].rows) <= limit:
            events += len(pending[0].rows)
            taken.append(pending.popleft())
        return taken

    def _finish(self, outcome: Outcome, flying: list[Pending], deliver: bool = True) -> None:
        if flying is not self._flying:
            return
        if isinstance(outcome, SpaceFull) and self._backend.give_up_reserve():
            outcome = attempt(self._again)
        self._flying = None
        if outcome is not None:
            self.fail(outcome)
            return
        self._count(flying)
        self._thens.extend(unit.then for unit in flying if unit.then is not None)
        if self._pending and not self._scheduled and deliver:
            self._schedule()
        if deliver:
            self._deliver()

    def _again(self) -> None:
        self._backend.stage(self._batch)
        self._backend.commit()

    def _count(self, flying: list[Pending]) -> None:
        rows, stats = self._batch.rows, self.stats
        self._batch = Batch([], [])
        if not rows:
            return
        stats.last_commit_seconds = perf_counter() - self._started
        stats.commits += 1
        stats.events += len(rows)
        stats.bytes += sum([len(row[4]) for row in rows])
        stats.biggest_batch = max(stats.biggest_batch, len(rows))
        for unit in flying:
            if unit.rows:
                stats.units += 1
                self.committed = unit.mark
                self.on_mark(unit.mark)

    def _deliver(self) -> None:
        """Call what waits, in order; a `then` may submit, and what that lets through is called after the others."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._thens:
                then = self._thens.popleft()
                try:
                    then()
                except Exception as error:
                    report(error)
        finally:
            self._delivering = False

    def fail(self, outcome: Exception) -> None:
        """End it: nothing that waits is written, and no `then` is called any more."""
        self.failure = CommitFailed(f"the ledger could not commit: {outcome}; the agent reloads from what is stored")
        self.failure.__cause__ = outcome
        self._pending.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self.failure)
        self.on_failure(self.failure)


def report(error: Exception) -> None:
    """A `then` that raises is a mistake in its caller; the log goes on."""
    context = {"message": "a callback of the ledger failed", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)
