"""What leaves an agent: jobs that it passes on, asks or refuses, and its side of a board. Pure.

Whatever is decided is left in a `Ready`, in the order in which the shell carries it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from openportal.errors import InvalidJob, JobError, OpenPortalError
from openportal.grammar.instructions import subject_of
from openportal.templemeads.board import Board, Entry, words_of
from openportal.templemeads.events import (
    Joined,
    Received,
    Sent,
    board_stream,
)
from openportal.templemeads.job import Job, State, Wire, from_wire
from openportal.templemeads.lanes import conflict, project_of
from openportal.templemeads.ledger.format import Event
from openportal.templemeads.saga import Outcome
from openportal.templemeads.state import AgentState

MAX_SYNC_BYTES = 256 * 1024
SYNC_FRAME_BYTES = 32


@dataclass(slots=True)
class Ready:
    """What the shell does next, in this order; whatever leaves the process waits for the commit of `events`."""

    events: list[tuple[str, Event]] = field(default_factory=list)
    sends: list[tuple[str, Wire]] = field(default_factory=list)
    runs: list[tuple[str, str]] = field(default_factory=list)
    held: list[Job] = field(default_factory=list)  # jobs for the portal's software
    ended: list[Job] = field(default_factory=list)  # for statistics
    steps: list[tuple[str, str, str, Outcome]] = field(default_factory=list)  # answers that a leaf waits for
    refused: list[tuple[str, str]] = field(default_factory=list)  # peer and why, for the log


class Outbox(AgentState):
    """The state of an agent, and the decisions on what to send to whom."""

    def __init__(self, me: str, neighbours: Iterable[str]) -> None:
        super().__init__(me, neighbours)
        self.rejected = 0
        self._ready = Ready()

    def take(self) -> Ready:
        """The consequences so far; the next call starts afresh."""
        ready, self._ready = self._ready, Ready()
        return ready

    def _stage(self, stream: str, event: Event, now: float) -> None:
        self.apply(stream, event, now)
        self._ready.events.append((stream, event))

    def _receive(self, board: Board, job: Job, subject: str | None, now: float) -> Entry:
        extra = msgspec.json.encode(job.extra).decode() if job.extra else None
        event = Received(
            job.id, job.created, job.expires, job.version, subject, job.command, extra,
            job.forwarded_for, job.domain, job.domain_version,
        )  # fmt: skip
        self._stage(board_stream(board.peer), event, now)
        entry = board.open[job.id]
        entry.subject = subject
        return entry

    def _send_out(
        self,
        board: Board,
        job: Job,
        now: float,
        *,
        subject: str | None = None,
        via: str | None = None,
        parent: str | None = None,
        step: str | None = None,
        client: str | None = None,
    ) -> None:
        if client is not None:
            subject = subject_of(job.command.partition(" ")[2])
        leader = self._leader(board, job, subject)
        extra = msgspec.json.encode(job.extra).decode() if job.extra else None
        event = Sent(
            job.id, job.created, job.expires, job.version, subject, job.command, extra,
            job.forwarded_for, job.domain, job.domain_version, via, parent, step, client,
        )  # fmt: skip
        self._stage(board_stream(board.peer), event, now)
        if leader is not None:
            self._stage(board_stream(board.peer), Joined(job.id, leader), now)
        elif board.linked:
            self._put_out(board, board.open[job.id], now)

    def _put_out(self, board: Board, entry: Entry, now: float) -> None:
        """Send a job to a neighbour that is there, now or in its turn."""
        if entry.changes:
            board.turns.change(now)
        if not entry.takes_turns or board.turns.enter(entry.job.id, entry.origin, now):
            self._ready.sends.append((board.peer, {"Put": {"job": entry.job.to_wire()}}))

    def _next_turns(self, board: Board, now: float) -> None:
        for id in board.turns.next(now):
            self._ready.sends.append((board.peer, {"Put": {"job": board.open[id].job.to_wire()}}))

    def _leader(self, board: Board, job: Job, subject: str | None) -> str | None:
        """The open job whose outcome answers this one too: the same words, and nothing has changed in between."""
        id = board.leaders.get(words_of(job))
        if id is None:
            return None
        leader = board.open[id]
        if board.closed.get("" if subject is None else project_of(subject), -1) > leader.order:
            return None
        for entry in board.open.values():
            newer = entry.changes and entry.order > leader.order and entry.job.command != job.command
            if newer and (entry.subject is None or subject is None or conflict(entry.subject, subject)):
                return None
        return id

    def _refuse(self, board: Board, job: Job, error: OpenPortalError, now: float) -> None:
        """A job that we do not take is answered, never skipped: silence would hang its sender until it expires."""
        self._reject(board.peer, f"job {job.id}: {error}")
        if job.state is State.CREATED:
            job = msgspec.structs.replace(job, state=State.PENDING)
        refused = job.failed(now, str(error), kind_of(error))
        self._ready.ended.append(refused)
        self._ready.sends.append((board.peer, {"Update": {"job": refused.to_wire()}}))

    def _sync_commands(self, board: Board, now: float) -> Iterator[Wire]:
        """Our side of the board: what we wait for, and what ended while the neighbour was away; in pieces.

        Looks beyond their turn are not in it. The neighbour may have them from before; it goes on with those by itself.
        """
        board.turns.clear()
        jobs = [
            entry.job
            for entry in board.outbound()
            if not entry.takes_turns or board.turns.enter(entry.job.id, entry.origin, now)
        ]
        jobs += [job for id in board.unsent if (job := board.find(id)) is not None]
        piece: list[Wire] = []
        size = 0
        for job in jobs:
            wire = job.to_wire()
            weight = len(msgspec.json.encode(wire)) + 1
            if piece and size + weight > MAX_SYNC_BYTES - SYNC_FRAME_BYTES:
                yield {"Sync": {"state": {"jobs": piece}}}
                piece, size = [], 0
            piece.append(wire)
            size += weight
        yield {"Sync": {"state": {"jobs": piece}}}

    def _readable(self, peer: str, wire: Any) -> Job | None:
        try:
            return from_wire(wire)
        except InvalidJob as error:
            self._reject(peer, str(error))
            return None

    def _reject(self, peer: str, why: str) -> None:
        self.rejected += 1
        self._ready.refused.append((peer, why))


def kind_of(error: OpenPortalError) -> str:
    """The wire's kind for an error."""
    return error.wire_kind if isinstance(error, JobError) else error.kind


def sayable(text: str) -> str:
    """Text as JSON can hold it: a file's name may have bytes that are no text, and an error speaks of it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
