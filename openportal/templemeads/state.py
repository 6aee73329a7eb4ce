"""What an agent knows, and how each event changes it: the same when it is staged and when it is replayed. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from openportal.errors import Unavailable, Unroutable
from openportal.templemeads.board import Board, BoardImage, Entry
from openportal.templemeads.events import (
    AGENT_STREAM,
    Abandoned,
    Adopted,
    AgentStarted,
    AgentStopped,
    Ended,
    Intended,
    Joined,
    Late,
    Observed,
    OfferingsSet,
    Operated,
    PeerKnown,
    PeerLog,
    Quarantined,
    Received,
    Restored,
    Sent,
    Settled,
    Started,
    StepRefused,
    UndoPostponed,
)
from openportal.templemeads.job import MAX_VERSION
from openportal.templemeads.ledger.format import Event
from openportal.templemeads.saga import Outcome, is_look
from openportal.templemeads.witness import LogMark

MAX_BOARDS = 1_000
RESTORED_VERSION_STEP = 10_000  # more than a job's versions can have grown since the backup


class StateImage(msgspec.Struct):
    """The whole state as it is kept in a checkpoint."""

    boards: list[BoardImage]
    types: dict[str, str]
    offerings: list[str]
    order: int
    clean: bool = True
    logs: dict[str, LogMark] = {}
    generation: int = 1


class AgentState:
    """The boards of one agent, and what it knows of its neighbours."""

    def __init__(self, me: str, neighbours: Iterable[str]) -> None:
        self.me = me
        self.neighbours = list(neighbours)  # `name@zone` of everyone in our configuration
        self.boards: dict[str, Board] = {}
        self.types: dict[str, str] = {}  # peer -> agent type
        self.logs: dict[str, LogMark] = {}  # peer -> how far its log had come
        self.log_kept: dict[str, float] = {}  # peer -> when that was stored, since we started
        self.offerings: list[str] = []
        self.clean = True  # we are new, or stopped in good order
        self.generation = 1  # of our log
        self._order = 0
        self._deadlines: list[tuple[int, str, str]] = []

    def board(self, peer: str) -> Board:
        """The board shared with a peer, made when first needed."""
        board = self.boards.get(peer)
        if board is None:
            if len(self.boards) >= MAX_BOARDS:
                raise Unavailable(f"{self.me} has {MAX_BOARDS} boards and makes no more")
            board = self.boards[peer] = Board(peer)
        return board

    def neighbour(self, name: str, zone: str, across: bool = True) -> Board:
        """The board of the neighbour of that name, of the zone first and then, `across` zones, of any other.

        What is passed on stays in the zone in which it came. Raises Unroutable.
        """
        same_zone = f"{name}@{zone}"
        if same_zone in self.neighbours:
            return self.board(same_zone)
        found = [peer for peer in self.neighbours if peer.rpartition("@")[0] == name]
        if not found:
            raise Unroutable(f"{self.me} has no neighbour {name!r}: it knows {self.known()}")
        if not across:
            raise Unroutable(f"{self.me} has no neighbour {name!r} in zone {zone!r}, from which this job came")
        return self.board(found[0])

    def known(self) -> str:
        return ", ".join(sorted({peer.rpartition("@")[0] for peer in self.neighbours})) or "nobody"

    def open_jobs(self) -> Iterator[tuple[Board, Entry]]:
        """Every open job of every board."""
        for board in self.boards.values():
            for entry in board.open.values():
                yield board, entry

    def apply(self, stream: str, event: Event, at: float) -> None:
        """How the state changes by one event: the same when it is staged and when it is replayed."""
        if stream == AGENT_STREAM:
            self._apply_own(event, at)
        else:
            EVOLVE[type(event)](self, self.board(stream.removeprefix("board:")), event, at)

    def _apply_own(self, event: Event, at: float) -> None:
        if isinstance(event, PeerKnown):
            self.types[event.peer] = event.agent_type
        elif isinstance(event, PeerLog):
            self.logs[event.peer] = LogMark(event.ledger, event.generation, event.units, event.head)
            self.log_kept[event.peer] = at
        elif isinstance(event, OfferingsSet):
            self.offerings = list(event.destinations)
        elif isinstance(event, Restored):
            for _, entry in self.open_jobs():
                version = entry.job.version + RESTORED_VERSION_STEP * (event.generation - self.generation)
                entry.job = msgspec.structs.replace(entry.job, version=min(version, MAX_VERSION))
            self.generation = event.generation
        elif isinstance(event, AgentStarted):
            self.clean = False
        elif isinstance(event, AgentStopped):
            self.clean = True
            for board in self.boards.values():
                board.pardon()

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    def _evolve_received(self, board: Board, event: Received, at: float) -> None:
        board.received(event, at, self._next_order(), event.subject)
        heapq.heappush(self._deadlines, (event.expires, board.peer, event.id))

    def _evolve_sent(self, board: Board, event: Sent, at: float) -> None:
        board.sent(event, at, self._next_order(), event.subject)
        heapq.heappush(self._deadlines, (event.expires, board.peer, event.id))
        if event.via is None:
            return
        asker = self.board(event.via).entry(event.parent or event.id)
        if asker is None:
            return
        if event.step is not None:
            asker.asked[event.step] = event.id
        else:
            asker.relay = board.peer

    def _evolve_ended(self, board: Board, event: Ended, at: float) -> None:
        entry = board.ended(event, at, self._next_order())
        if entry.step is None or entry.via is None or event.size is not None:
            return
        parent = self.board(entry.via).entry(entry.parent or "")
        if parent is not None:
            parent.outcomes[entry.step] = Outcome(event.result, event.result_type, event.kind)

    def _evolve_adopted(self, board: Board, event: Adopted, at: float) -> None:
        """What the abandoned saga saw before its first change is what was there before us: its heir must know."""
        abandoned = board.aside.pop(event.id, None)
        heir = self.board(event.peer).open.get(event.by)
        if abandoned is not None and heir is not None:
            looks = {step: outcome for step, outcome in abandoned.outcomes.items() if is_look(step)}
            heir.outcomes = looks | heir.outcomes

    def image(self) -> StateImage:
        """The state for a checkpoint."""
        boards = [board.image() for board in self.boards.values()]
        return StateImage(
            boards, dict(self.types), list(self.offerings), self._order, self.clean, dict(self.logs), self.generation
        )

    def restore(self, image: StateImage) -> None:
        """Take the state of a checkpoint; only on a fresh core."""
        self.types, self.offerings, self._order = dict(image.types), list(image.offerings), image.order
        self.clean, self.logs, self.generation = image.clean, dict(image.logs), image.generation
        for board_image in image.boards:
            board = self.board(board_image.peer)
            board.restore(board_image)
            for entry in board.open.values():
                heapq.heappush(self._deadlines, (entry.job.expires, board.peer, entry.job.id))


EVOLVE: Mapping[type[Event], Callable[[AgentState, Board, Any, float], object]] = {
    Received: AgentState._evolve_received,
    Sent: AgentState._evolve_sent,
    Ended: AgentState._evolve_ended,
    Joined: lambda state, board, event, at: board.joined(event),
    Started: lambda state, board, event, at: board.started(event),
    Intended: lambda state, board, event, at: board.intended(event),
    Observed: lambda state, board, event, at: None,
    StepRefused: lambda state, board, event, at: board.step_refused(event),
    Late: lambda state, board, event, at: None,
    Quarantined: lambda state, board, event, at: board.quarantined(event),
    Abandoned: lambda state, board, event, at: board.abandoned(event),
    Adopted: AgentState._evolve_adopted,
    UndoPostponed: lambda state, board, event, at: board.undo_postponed(event),
    Operated: lambda state, board, event, at: board.operated(event),
    Settled: lambda state, board, event, at: board.settled(event),
}
