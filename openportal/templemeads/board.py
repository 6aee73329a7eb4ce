"""The board shared with one neighbour, as an event-sourced aggregate.

It changes by events only: one method each, no decisions (those are in `core.py`). What may be on a board is checked in
`check_room`. A finished job leaves `open` and is served from `recent`; one that has ended for its sender, but not for
us (an abandoned saga that is to be undone, a job in quarantine), is in `aside` besides.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from openportal.errors import Unavailable
from openportal.templemeads.breaker import Breaker
from openportal.templemeads.events import (
    Abandoned,
    Ended,
    Intended,
    Joined,
    Operated,
    Quarantined,
    Received,
    Sent,
    Settled,
    Started,
    StepRefused,
    UndoPostponed,
)
from openportal.templemeads.job import Job, State
from openportal.templemeads.lanes import project_of
from openportal.templemeads.ledger.format import ERASED
from openportal.templemeads.saga import Outcome
from openportal.templemeads.turns import Turns

MAX_OPEN_JOBS = 10_000
MAX_RECENT_JOBS = 10_000
MAX_PAST_JOBS = 2_000
MAX_ASIDE_JOBS = 1_000
MAX_STORED_RESULT_BYTES = 16 * 1024

Words: TypeAlias = tuple[str, str | None]


class Entry(msgspec.Struct, gc=False):
    """One open job on a board, and what hangs on it."""

    job: Job
    inbound: bool
    order: int  # place in the agent's order of acceptance
    subject: str | None = None
    via: str | None = None  # outbound: the board of the job that this one serves
    parent: str | None = None  # outbound: that job's id, if it is another one
    step: str | None = None  # outbound: the step of the parent
    client: str | None = None  # outbound: the bridge key that asked
    changes: bool = True  # whether it may change the world
    leader: str | None = None  # waits for the outcome of this job of the same board
    relay: str | None = None  # inbound: the board on which it was passed on
    attempts: int = 0
    effects: int = 0
    pardoned: int = 0  # of the attempts: those before the last stop in good order
    quarantined: bool = False
    abandoned: bool = False
    asked: dict[str, str] = msgspec.field(default_factory=dict)  # step -> id of the job that asks it
    outcomes: dict[str, Outcome] = msgspec.field(default_factory=dict)  # step -> how it ended
    followers: list[str] = msgspec.field(default_factory=list)

    @property
    def origin(self) -> str:
        """Who asked first: a key of the bridge, or the agent with which the path begins."""
        return self.client or self.job.command.partition(".")[0]

    @property
    def takes_turns(self) -> bool:
        """Whether it goes out in its turn: a look that is no step of another job."""
        return not self.changes and self.step is None


class BoardImage(msgspec.Struct):
    """A board as it is kept in a checkpoint."""

    peer: str
    open: list[Entry]
    recent: list[Job]
    dropped: list[str]
    closed: dict[str, int] = {}
    aside: list[Entry] = []


class Board:
    """The jobs we share with one neighbour."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.name, _, self.zone = peer.rpartition("@")
        self.open: dict[str, Entry] = {}
        self.aside: dict[str, Entry] = {}  # ended for the sender, not for us
        self.recent: OrderedDict[str, Job] = OrderedDict()  # finished, and somebody may still ask for it
        self.past: OrderedDict[str, State] = OrderedDict()  # finished, and only a late answer can still come
        self.dropped: set[str] = set()  # recent jobs whose body was too big for the log
        self.bodies: dict[str, Job] = {}  # those of them that we have in full, until the next start
        self.leaders: dict[Words, str] = {}  # what is asked -> id of the open outbound job that asks it
        self.closed: dict[str, int] = {}  # project -> order of the last change on it that ended here; "" of any
        # About the link, not stored:
        self.linked = False  # the neighbour has registered on a live link
        self.breaker = Breaker()  # of the steps that we ask
        self.turns = Turns()  # of the looks that we send
        self.unsent: list[str] = []  # ended here while it was not
        self.left_at = 0.0  # when the last link went down, or we started
        self.synced = False  # the neighbour has told us what it holds since we started

    def check_room(self) -> None:
        """Raises Unavailable if no further job may be opened."""
        if len(self.open) >= MAX_OPEN_JOBS:
            raise Unavailable(f"{len(self.open)} jobs are open with {self.name}: no more are taken until some finish")

    def find(self, id: str) -> Job | None:
        """The job as we last knew it, open or recently finished."""
        entry = self.open.get(id)
        return entry.job if entry is not None else self.bodies.get(id) or self.recent.get(id)

    def entry(self, id: str) -> Entry | None:
        """What hangs on a job that is open or set aside."""
        return self.open.get(id) or self.aside.get(id)

    def lacks_body(self, id: str) -> bool:
        """Whether the job ended here with more than we know any more."""
        return id in self.dropped and id not in self.bodies

    def outbound(self) -> Iterator[Entry]:
        """Open jobs whose answer we wait for, without those that wait for another of them."""
        return (entry for entry in self.open.values() if not entry.inbound and entry.leader is None)

    def received(self, event: Received, at: float, order: int, subject: str | None) -> Entry:
        entry = Entry(_job(event, at), True, order, subject, changes=changes_something(event.command or ""))
        self._put(entry)
        return entry

    def sent(self, event: Sent, at: float, order: int, subject: str | None) -> Entry:
        entry = Entry(_job(event, at), False, order, subject, event.via, event.parent, event.step, event.client)
        entry.changes = changes_something(entry.job.command)
        self._put(entry)
        self.leaders[words_of(entry.job)] = event.id
        return entry

    def joined(self, event: Joined) -> None:
        entry = self.open[event.id]
        entry.leader = event.leader
        self.leaders[words_of(entry.job)] = event.leader
        self.open[event.leader].followers.append(event.id)

    def started(self, event: Started) -> None:
        entry = self.entry(event.id)
        if entry is not None:
            entry.attempts = event.attempt

    def pardon(self) -> None:
        """We stop in good order: whatever is at work now did not take us down."""
        for entry in self.open.values():
            entry.pardoned = entry.attempts

    def intended(self, event: Intended) -> None:
        entry = self.entry(event.id)
        if entry is not None:
            entry.effects = event.n

    def step_refused(self, event: StepRefused) -> None:
        entry = self.entry(event.id)
        if entry is not None:
            entry.outcomes[event.step] = Outcome(event.detail, None, event.kind)

    def quarantined(self, event: Quarantined) -> None:
        self.open[event.id].quarantined = True

    def abandoned(self, event: Abandoned) -> None:
        self.open[event.id].abandoned = True

    def operated(self, event: Operated) -> None:
        entry = self.entry(event.id)
        if entry is not None and event.action == "retry":
            entry.pardoned = entry.attempts
        elif event.action == "resolve":
            self.aside.pop(event.id, None)

    def undo_postponed(self, event: UndoPostponed) -> None:
        entry = self.aside.get(event.id)
        if entry is not None:
            entry.outcomes = {step: outcome for step, outcome in entry.outcomes.items() if step not in event.steps}

    def settled(self, event: Settled) -> None:
        self.aside.pop(event.id, None)

    def ended(self, event: Ended, at: float, order: int) -> Entry:
        entry = self.open.pop(event.id)
        if self.leaders.get(words_of(entry.job)) == event.id:
            del self.leaders[words_of(entry.job)]
        if event.kind == "expired":
            self._promote(entry)
        if entry.changes:
            self._close(entry.subject, order)
        if entry.abandoned or entry.quarantined:
            self._set_aside(entry)
        if entry.job.state is State.CREATED:
            entry.job = msgspec.structs.replace(entry.job, state=State.PENDING)
        entry.job = finished(entry.job, event, at)
        if entry.inbound or entry.client is not None:
            self._remember(entry.job, dropped=event.size is not None)
        else:
            self._pass(entry.job)
        return entry

    def _set_aside(self, entry: Entry) -> None:
        self.aside[entry.job.id] = entry
        if len(self.aside) > MAX_ASIDE_JOBS:
            del self.aside[next(iter(self.aside))]

    def end_of(self, id: str) -> State | None:
        """How a finished job ended, as long as we know it."""
        job = self.recent.get(id)
        return job.state if job is not None else self.past.get(id)

    def _pass(self, job: Job) -> None:
        self.past[job.id] = job.state
        if len(self.past) > MAX_PAST_JOBS:
            self.past.popitem(last=False)

    def _promote(self, expired: Entry) -> None:
        """Those who joined a job that expired before them: the first asks for itself and the rest join it."""
        followers = [id for id in expired.followers if id in self.open]
        if not followers:
            return
        first, *rest = followers
        self.open[first].leader = None
        self.open[first].followers = rest
        self.leaders.setdefault(words_of(expired.job), first)
        for id in rest:
            self.open[id].leader = first

    def _close(self, subject: str | None, order: int) -> None:
        for key in ("",) if subject is None else ("", project_of(subject)):
            self.closed.pop(key, None)
            self.closed[key] = order
        if len(self.closed) > MAX_RECENT_JOBS:
            del self.closed[next(iter(self.closed))]

    def keep_body(self, job: Job) -> None:
        """Have the full result of a job at hand that the log has only the hash of."""
        if job.id in self.recent:
            self.bodies[job.id] = job

    def _put(self, entry: Entry) -> None:
        self.open[entry.job.id] = entry
        if self.recent.pop(entry.job.id, None) is not None:
            self._forget_body(entry.job.id)

    def _forget_body(self, id: str) -> None:
        self.dropped.discard(id)
        self.bodies.pop(id, None)

    def _remember(self, job: Job, dropped: bool) -> None:
        self.recent[job.id] = job
        if dropped:
            self.dropped.add(job.id)
        while len(self.recent) > MAX_RECENT_JOBS:
            oldest, _ = self.recent.popitem(last=False)
            self._forget_body(oldest)

    def forget_expired(self, now: float) -> None:
        """Drop results that nobody can ask for any more."""
        while self.recent:
            job = next(iter(self.recent.values()))
            if job.expires + RECENT_GRACE_SECONDS > now:
                return
            del self.recent[job.id]
            self._forget_body(job.id)

    def image(self) -> BoardImage:
        """The board as the log has it: without the bodies that are in memory only."""
        open, recent, aside = list(self.open.values()), list(self.recent.values()), list(self.aside.values())
        return BoardImage(self.peer, open, recent, sorted(self.dropped), dict(self.closed), aside)

    def restore(self, image: BoardImage) -> None:
        self.open = {entry.job.id: entry for entry in image.open}
        self.recent = OrderedDict((job.id, job) for job in image.recent)
        self.dropped = set(image.dropped)
        self.closed = dict(image.closed)
        self.aside = {entry.job.id: entry for entry in image.aside}
        self.leaders = {words_of(entry.job): entry.job.id for entry in self.outbound()}


RECENT_GRACE_SECONDS = 600


def words_of(job: Job) -> Words:
    """What makes two jobs the same question: the words, and for whom they are asked."""
    return job.command, job.forwarded_for


def changes_something(command: str) -> bool:
    """Whether carrying out a command may change the world; a word that we do not know may."""
    words = command.split(" ", 2)
    while len(words) == 3 and words[1] == "submit":
        words = words[2].split(" ", 2)
    return len(words) < 2 or not words[1].startswith(("is_", "get_", "list_"))


def _job(event: Received | Sent, at: float) -> Job:
    known = event.extra if event.extra != ERASED else None
    extra: dict[str, Any] | None = msgspec.json.decode(known) if known else None
    return Job(
        event.id, event.created, int(at), event.expires, event.version, event.command or "", State.PENDING,
        None, None, event.forwarded_for, None, event.domain, event.domain_version, extra,
    )  # fmt: skip


def finished(job: Job, event: Ended, at: float) -> Job:
    """`job` in the terminal state that the event tells."""
    if event.kind is None:
        return job.completed(at, event.result, event.result_type or "None", event.version)
    return job.failed(at, event.result or "", event.kind, event.version)
