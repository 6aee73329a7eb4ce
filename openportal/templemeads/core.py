"""What an agent decides: pure, so that the shell, the simulator and replay run the same code.

Every method takes what happened and `now` (Unix seconds) and leaves its consequences in a `Ready`: events to store,
then commands to send, then work to run. Events are applied to memory at once; `take` hands the Ready over. Jobs cross
an agent in one of three ways:

    forwarded      Received on the sender's board, Sent on the next: one unit
    worked on      Received, then a leaf runs it, or a saga asks others step by step (Sent with `step`)
    held           Received, and waits for the portal's software (at a bridge)

and in each the first terminal state is Ended on every board that the job is on, and goes back where it came from.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec

from openportal.errors import Expired, GrammarError, InvalidJob, JobError, OpenPortalError, Unavailable, Unroutable
from openportal.grammar.destination import Position
from openportal.grammar.instructions import parse_instruction, split_command
from openportal.templemeads.board import MAX_STORED_RESULT_BYTES, Board, Entry, words_of
from openportal.templemeads.erasure import owner_of
from openportal.templemeads.events import (
    AGENT_STREAM,
    Ended,
    Intended,
    Joined,
    Late,
    Observed,
    OfferingsSet,
    PeerKnown,
    Quarantined,
    Received,
    Sent,
    Started,
    StepRefused,
    board_stream,
)
from openportal.templemeads.job import MAX_VERSION, Job, State, Wire, from_wire
from openportal.templemeads.lanes import Lanes, conflict, project_of
from openportal.templemeads.ledger.format import Event
from openportal.templemeads.results import encode_result
from openportal.templemeads.role import Here, Role, Work
from openportal.templemeads.saga import Ask, AskFailed, Done, Driver, Finished, Outcome
from openportal.templemeads.state import AgentState

MAX_SYNC_BYTES = 256 * 1024
MAX_SYNC_JOBS = 10_000
MAX_CRASHED_ATTEMPTS = 3
RESUME_AFTER_SECONDS = 30
AGENT_WAIT_SECONDS = 10
MAX_IDLE_DEADLINES = 1_000
JOB_NAMESPACE = UUID("0b6a3a5e-5d3c-5c43-9a63-6f1c6a0c7d10")
SYNC_FRAME_BYTES = 32
AGENT_TYPES = frozenset(
    {"Portal", "Provider", "Platform", "Instance", "Bridge", "Account", "Filesystem", "Scheduler", "Virtual"}
)


@dataclass(slots=True)
class Ready:
    """What the shell does next, in this order; whatever leaves the process waits for the commit of `events`."""

    events: list[tuple[str, Event]] = field(default_factory=list)
    sends: list[tuple[str, Wire]] = field(default_factory=list)
    runs: list[tuple[str, str]] = field(default_factory=list)
    finished: list[Job] = field(default_factory=list)  # jobs of clients that ended
    held: list[Job] = field(default_factory=list)  # jobs for the portal's software
    ended: list[Job] = field(default_factory=list)  # for statistics
    steps: list[tuple[str, str, str, Outcome]] = field(default_factory=list)  # answers that a leaf waits for
    refused: list[tuple[str, str]] = field(default_factory=list)  # peer and why, for the log


@dataclass(slots=True, eq=False)
class Active:
    """Work in progress."""

    board: Board
    entry: Entry
    work: Work
    driver: Driver | None = None
    resumed: bool = True  # False after a start, until the sender's board has been seen
    begun: bool = False
    running: bool = False  # a leaf has it in hand
    parked: dict[str, Ask] = field(default_factory=dict)  # steps that no known agent can take yet
    parked_since: float = 0.0


class End(NamedTuple):
    """A terminal state on its way from board to board. `kind` None means complete."""

    result: str | None
    result_type: str | None = None
    kind: str | None = None
    version: int = 0


ENDED = Outcome("the job ended before this step", None, "expired")


class Core(AgentState):
    """The decisions of one agent."""

    def __init__(self, me: str, role: Role, neighbours: Iterable[str]) -> None:
        super().__init__(me, neighbours)
        self.role = role
        self.active: dict[tuple[str, str], Active] = {}
        self.overrun: dict[tuple[str, str], Active] = {}  # jobs that ended while a leaf had them in hand, and has still
        self.lanes: Lanes[Active] = Lanes()
        self.draining: str | None = None  # why no new job is taken
        self.rejected = 0
        self._parked: list[Active] = []
        self._resume_at: float | None = None
        self._ready = Ready()

    # --- what happened ------------------------------------------------------------------------------------------------

    def take_runs(self) -> list[tuple[str, str]]:
        """Work to run, ahead of the rest: a look that ends at once has its answer in the same unit."""
        runs, self._ready.runs = [key for key in self._ready.runs if key in self.active], []
        for key in runs:
            self.active[key].running = True
        return runs

    def peek_ended(self) -> list[Job]:
        """The jobs that ended, or were refused, since the last `take`."""
        return list(self._ready.ended)

    def take(self) -> Ready:
        """The consequences so far; the next call starts afresh."""
        ready, self._ready = self._ready, Ready()
        return ready

    def put(self, peer: str, wire: Any, now: float) -> None:
        """A neighbour puts a job on us."""
        job = self._readable(peer, wire)
        if job is not None:
            self._put(self.board(peer), job, now)

    def update(self, peer: str, wire: Any, now: float) -> None:
        """A neighbour tells how a job stands."""
        job = self._readable(peer, wire)
        if job is not None:
            self._update(self.board(peer), job, now)

    def sync(self, peer: str, wires: list[Any], now: float) -> None:
        """A neighbour tells what is on its side of the board."""
        board = self.board(peer)
        board.synced = True
        for wire in wires[:MAX_SYNC_JOBS]:
            job = self._readable(peer, wire)
            if job is None:
                continue
            try:
                position = split_command(job.command)[0].position(self.me, board.name)
            except GrammarError as error:
                self._reject(peer, f"job {job.id}: {error}")
                continue
            if position is Position.UPSTREAM:
                self._update(board, job, now)
            else:
                self._put(board, job, now)

    def registered(self, peer: str, agent_type: str, now: float) -> None:
        """A neighbour is there and has said what it is: it gets our side of the board and whatever waited for it."""
        board = self.board(peer)
        if self.types.get(peer) != agent_type:
            self._stage(AGENT_STREAM, PeerKnown(peer, agent_type), now)
        board.linked = True
        self._ready.sends.extend((peer, command) for command in self._sync_commands(board))
        board.unsent.clear()
        for active, steps in self._unparked():
            self._ask_again(active, steps, now)

    def disconnected(self, peer: str) -> None:
        """The link to a neighbour is gone."""
        board = self.board(peer)
        board.linked = board.synced = False

    def submit(self, peer: str, job: Job, client: str, now: float) -> None:
        """A client of ours asks `peer` for `job`. Raises Unavailable if the board is full or we are stopping."""
        if self.draining:
            raise Unavailable(self.draining)
        board = self.board(peer)
        board.check_room()
        self._send_out(board, job, now, client=client)

    def ran(self, peer: str, id: str, result: object, now: float, failure: OpenPortalError | None = None) -> None:
        """The work on a job came to an end: a value, or a failure."""
        active = self.active.get((peer, id))
        if active is not None:
            active.running = False
        if active is None:
            self._late(self.board(peer), id, failure is None, now)
            self._leave_overrun(peer, id, now)
        elif failure is not None:
            self._end(active.board, active.entry, End(sayable(str(failure)), None, kind_of(failure)), now)
        else:
            self._end(active.board, active.entry, self._result(active, result), now)

    def _result(self, active: Active, value: object) -> End:
        """What a leaf answered; one that no JSON can hold is a failure of the leaf."""
        instruction = active.work.instruction
        try:
            return End(*encode_result(value, instruction.result_type))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            message = f"{instruction.verb} was done at {self.me}, but what it answered cannot be told: {error}"
            return End(sayable(message), None, "run")

    def answered(self, peer: str, job: Job, now: float) -> None:
        """The portal's software answered a job that was held for it. Raises InvalidJob if it cannot be."""
        active = self.active.get((peer, job.id))
        if active is None or not active.work.held or not job.finished:
            raise InvalidJob(f"job {job.id} is not waiting for an answer, or this is none")
        kind = None if job.state is State.COMPLETE else job.error_kind
        self._end(active.board, active.entry, End(job.result, job.result_type, kind, job.version), now)

    def intend(self, peer: str, id: str, action: str, target: str, now: float) -> int:
        """An effect is about to happen; returns its number. Raises Expired if the job is not open any more."""
        entry = self.board(peer).open.get(id)
        if entry is None:
            raise Expired("the job ended before this step")
        number = entry.effects + 1
        self._stage_on(entry, peer, Intended(id, number, action, entry.subject, sayable(target)), now)
        return number

    def observe(self, peer: str, id: str, number: int, detail: str | None, now: float) -> None:
        """An effect happened (`detail` None), or failed as `detail` says."""
        job = self.board(peer).find(id)
        subject = subject_of(job.command.partition(" ")[2]) if job is not None else None
        detail = None if detail is None else sayable(detail)
        self._stage(board_stream(peer), Observed(id, number, detail is None, subject, detail), now)

    def offer(self, destinations: list[str], now: float) -> None:
        """The offerings of our portal's software are now these."""
        if destinations != self.offerings:
            self._stage(AGENT_STREAM, OfferingsSet(destinations), now)

    def tick(self, now: float) -> None:
        """Time passed: jobs expire, and what waited long enough goes on."""
        self._expire(now)
        self._forget_deadlines()
        self._give_up_on_agents(now)
        if self._resume_at is not None and now >= self._resume_at:
            self._resume_at = None
            self._resume_rest(now)

    # --- putting and forwarding ---------------------------------------------------------------------------------------

    def _put(self, board: Board, job: Job, now: float) -> None:
        held = board.find(job.id)
        if held is not None and (job.finished or not board.lacks_body(job.id)):
            self._repeated(board, held, job, now)
        elif not job.finished:
            try:
                self._accept(board, job, now)
            except (JobError, GrammarError) as error:
                self._refuse(board, job, error, now)

    def _repeated(self, board: Board, held: Job, job: Job, now: float) -> None:
        """A Put that we know: what it tells may be news, and if not, what we hold is the answer."""
        if job.finished:
            self._update(board, job, now)
            return
        entry = board.open.get(job.id)
        if entry is None:
            answer = msgspec.structs.replace(held, version=max(held.version, min(job.version + 1, MAX_VERSION)))
            self._ready.sends.append((board.peer, {"Update": {"job": answer.to_wire()}}))
        elif held.version > job.version:
            self._ready.sends.append((board.peer, {"Update": {"job": held.to_wire()}}))
        elif entry.inbound and job.version > held.version:  # we forgot the progress that we had shown
            entry.job = msgspec.structs.replace(held, version=job.version)
        active = self.active.get((board.peer, job.id))
        if active is not None and not active.resumed:
            active.resumed = True
            self._start(active, now)

    def _accept(self, board: Board, job: Job, now: float) -> None:
        board.check_room()
        if self.draining:
            raise Unavailable(self.draining)
        if job.expires <= now:
            raise Expired(
                f"the job expired {now - job.expires:.0f} s before it came to {self.me}:"
                " it waited too long on its way, or the clocks differ"
            )
        destination, text = split_command(job.command)
        position = destination.position(self.me, board.name)
        here = Here(self.me, board.name, board.zone, self.types.get(board.peer), destination, text, job)
        match position:
            case Position.HERE:
                self._begin(board, job, self.role.work(here), now)
            case Position.DOWNSTREAM:
                work = self.role.passing(here)
                if work is None:
                    self._forward(board, here, now)
                else:
                    self._begin(board, job, work, now)
            case Position.UPSTREAM:
                raise InvalidJob(
                    f"{destination} leads from {self.me} to {board.name}: a job is put in that direction only"
                )
            case _:
                raise Unroutable(f"{self.me} does not come straight after {board.name} in {destination}")

    def _forward(self, board: Board, here: Here, now: float) -> None:
        name = here.destination.next_after(self.me)
        onward = self.neighbour(name or "", board.zone, across=False)
        if onward is board or here.job.id in onward.open:
            raise Unroutable(f"{here.destination} leads from {self.me} to {onward.name} and back")
        onward.check_room()
        subject = subject_of(here.text)
        self._receive(board, here.job, subject, now)
        self._send_out(onward, here.job, now, subject=subject, via=board.peer)

    def _refuse(self, board: Board, job: Job, error: OpenPortalError, now: float) -> None:
        """A job that we do not take is answered, never skipped: silence would hang its sender until it expires."""
        self._reject(board.peer, f"job {job.id}: {error}")
        if job.state is State.CREATED:
            job = msgspec.structs.replace(job, state=State.PENDING)
        refused = job.failed(now, str(error), kind_of(error))
        self._ready.ended.append(refused)
        self._ready.sends.append((board.peer, {"Update": {"job": refused.to_wire()}}))

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
            self._ready.sends.append((board.peer, {"Put": {"job": board.open[job.id].job.to_wire()}}))

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

    # --- working ------------------------------------------------------------------------------------------------------

    def _begin(self, board: Board, job: Job, work: Work, now: float) -> None:
        entry = self._receive(board, job, work.subject, now)
        self._start(self._activate(board, entry, work), now)

    def _activate(self, board: Board, entry: Entry, work: Work) -> Active:
        active = self.active[board.peer, entry.job.id] = Active(board, entry, work)
        if work.changes and work.subject is not None:
            self.lanes.enter(active, work.subject)
        return active

    def _start(self, active: Active, now: float) -> None:
        """Start, unless it has to wait for the sender's board or for an earlier change."""
        work, entry = active.work, active.entry
        if active.begun or not active.resumed or entry.job.expires <= now:
            return
        if work.held:
            active.begun = True
            self._ready.held.append(entry.job)
            return
        if work.changes and work.subject is not None and not self.lanes.free(active, work.subject):
            return
        active.begun = True
        if work.changes:
            self._stage(board_stream(active.board.peer), Started(entry.job.id, entry.attempts + 1), now)
        if work.steps is not None:
            active.driver = Driver(work.steps())
            self._advance(active, now)
        elif entry.attempts > MAX_CRASHED_ATTEMPTS:
            self._quarantine(active, now)
        else:
            self._ready.runs.append((active.board.peer, entry.job.id))

    def _quarantine(self, active: Active, now: float) -> None:
        entry = active.entry
        self._stage(board_stream(active.board.peer), Quarantined(entry.job.id, entry.attempts), now)
        message = (
            f"{self.me} went down {MAX_CRASHED_ATTEMPTS} times while it worked on this job and will not try again:"
            " an operator has to look at it"
        )
        self._end(active.board, entry, End(message, None, "run"), now)

    def _advance(self, active: Active, now: float) -> None:
        """Let a saga go on as far as the known outcomes carry it."""
        driver, entry = active.driver, active.entry
        if driver is None:
            return
        try:
            missing = driver.advance(entry.outcomes)
        except Done as done:
            self._saga_done(active, done.value, now)
        except AskFailed as failed:
            self._end(active.board, entry, End(str(failed), None, failed.kind), now)
        except OpenPortalError as error:
            self._end(active.board, entry, End(str(error), None, kind_of(error)), now)
        except Exception as error:
            # A saga that stumbles over an answer ends its job: raised here, it would do so again at every start.
            message = f"{active.work.instruction.verb} failed at {self.me}: {type(error).__name__}: {error}"
            self._end(active.board, entry, End(message, None, "run"), now)
        else:
            refused = [self._ask(active, name, ask, now) for name, ask in missing]
            if any(refused):
                self._advance(active, now)

    def _saga_done(self, active: Active, value: object, now: float) -> None:
        finished = value if isinstance(value, Finished) else Finished(value)
        declared = active.work.instruction.result_type
        if finished.raw:
            end = End(finished.value, finished.result_type or declared)
        else:
            end = End(*encode_result(finished.value, finished.result_type or declared))
        if finished.event is not None:
            self._notify_back(active, *finished.event)
        self._end(active.board, active.entry, end, now)

    def _notify_back(self, active: Active, event: str, argument: str) -> None:
        """Tell the portal's side what changed: along the job's way, backwards. Fire and forget."""
        destination = split_command(active.entry.job.command)[0].reversed()
        id = uuid5(UUID(active.entry.job.id), event)
        notification = {"id": str(id), "destination": str(destination), "event": {event: argument}}
        if active.board.linked:
            self._ready.sends.append((active.board.peer, {"Notify": {"notification": notification}}))

    def _ask(self, active: Active, name: str, ask: Ask, now: float) -> bool:
        """Ask a step of whoever can take it; True if nobody ever can."""
        entry = active.entry
        asked = entry.asked.get(name)
        if asked is not None and any(asked in board.open for board in self.boards.values()):
            return False
        board = self._agent(ask.agent, active.board.zone)
        if board is None:
            return self._park(active, name, ask, now)
        job = self._step_job(entry, name, ask, board, asked, now)
        self._send_out(
            board, job, now, subject=subject_of(ask.instruction), via=active.board.peer, parent=entry.job.id, step=name
        )
        return False

    def _park(self, active: Active, name: str, ask: Ask, now: float) -> bool:
        """Nobody can take the step now; a kind of agent may still register, a name that is nobody's will not."""
        if ask.agent not in AGENT_TYPES:
            self._refuse_step(active, name, ask, now)
            return True
        if not active.parked:
            active.parked_since = now
            self._parked.append(active)
        active.parked[name] = ask
        return False

    def _refuse_step(self, active: Active, name: str, ask: Ask, now: float) -> None:
        event = StepRefused(active.entry.job.id, name, *self._why_nobody(ask.agent))
        self._stage(board_stream(active.board.peer), event, now)

    def _step_job(self, entry: Entry, name: str, ask: Ask, board: Board, before: str | None, now: float) -> Job:
        """The job that asks a step; its id is a function of the parent, the step and the attempt before this one."""
        parent = entry.job
        id = uuid5(UUID(before), "again") if before else uuid5(JOB_NAMESPACE, f"{parent.id} {name}")
        expires = parent.expires
        if ask.lifetime_seconds is not None:
            expires = min(expires, int(now) + ask.lifetime_seconds)
        onward = f".{ask.onward}" if ask.onward else ""
        destination = ask.destination or f"{self.me}.{board.name}{onward}"
        return Job(
            str(id), int(now), int(now), expires, 2, f"{destination} {ask.instruction}", State.PENDING,
            None, None, ask.forwarded_for, None, parent.domain, parent.domain_version,
        )  # fmt: skip

    def _agent(self, wanted: str, zone: str) -> Board | None:
        """The board of the agent of a type, or of a name."""
        typed = [peer for peer, agent_type in self.types.items() if agent_type == wanted]
        if typed:
            same_zone = [peer for peer in typed if peer.endswith(f"@{zone}")]
            return self.board((same_zone or typed)[0])
        try:
            return self.neighbour(wanted, zone)
        except Unroutable:
            return None

    def _unparked(self) -> list[tuple[Active, dict[str, Ask]]]:
        """Whoever waited for an agent, with the steps that it waits for."""
        parked, self._parked = self._parked, []
        waiting = [(active, active.parked) for active in parked]
        for active in parked:
            active.parked = {}
        return waiting

    def _ask_again(self, active: Active, steps: dict[str, Ask], now: float) -> None:
        if not self._is_live(active):
            self._tell_leaf(active, dict.fromkeys(steps, ENDED))
        elif active.driver is not None:
            self._advance(active, now)
        else:
            for name, ask in steps.items():
                self._ask(active, name, ask, now)

    def _is_live(self, active: Active) -> bool:
        return self.active.get((active.board.peer, active.entry.job.id)) is active

    def _tell_leaf(self, active: Active, outcomes: Mapping[str, Outcome]) -> None:
        """The answers of steps to a leaf that waits for them, even if its job has ended: it must not wait for ever."""
        peer, id = active.board.peer, active.entry.job.id
        self._ready.steps.extend((peer, id, name, outcome) for name, outcome in outcomes.items())

    def _give_up_on_agents(self, now: float) -> None:
        """Steps that nobody could take for long enough have failed."""
        for active in [a for a in self._parked if now >= a.parked_since + AGENT_WAIT_SECONDS]:
            self._parked.remove(active)
            steps, active.parked = active.parked, {}
            if not self._is_live(active):
                self._tell_leaf(active, dict.fromkeys(steps, ENDED))
                continue
            for name, ask in steps.items():
                self._refuse_step(active, name, ask, now)
            if active.driver is None:
                self._tell_leaf(active, {name: active.entry.outcomes[name] for name in steps})
            self._advance(active, now)

    def _why_nobody(self, agent: str) -> tuple[str, str]:
        if agent in AGENT_TYPES:
            return "unavailable", f"{self.me} has no {agent} agent: start one and connect it, then ask again"
        return "unroutable", f"{self.me} has no neighbour {agent!r}: it knows {self.known()}"

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def _update(self, board: Board, job: Job, now: float) -> None:
        entry = board.open.get(job.id)
        if entry is None:
            if job.finished:
                self._late(board, job.id, job.state is State.COMPLETE, now, job)
        elif job.finished:
            kind = None if job.state is State.COMPLETE else job.error_kind
            # An inbound job that ended at its sender (it expired there) needs no answer.
            self._end(board, entry, End(job.result, job.result_type, kind, job.version), now, tell=not entry.inbound)
        elif not entry.inbound and job.version > entry.job.version:
            self._progressed(board, entry, job, now)

    def _progressed(self, board: Board, entry: Entry, job: Job, now: float) -> None:
        """Progress is passed on and not stored: it is no promise."""
        entry.job = msgspec.structs.replace(
            entry.job, version=job.version, changed=job.changed, state=job.state, result=job.result
        )
        if entry.via is None or entry.step is not None:
            return
        back = self.board(entry.via)
        inbound = back.open.get(job.id)
        if inbound is not None and back.linked:
            version = max(job.version, inbound.job.version + 1)
            inbound.job = msgspec.structs.replace(
                inbound.job, version=version, changed=job.changed, state=job.state, result=job.result
            )
            self._ready.sends.append((back.peer, {"Update": {"job": inbound.job.to_wire()}}))

    def progress(self, peer: str, id: str, text: str, now: float) -> None:
        """Tell the sender of a job how far it is."""
        board = self.board(peer)
        entry = board.open.get(id)
        if entry is not None and board.linked:
            entry.job = entry.job.started(now, text)
            self._ready.sends.append((peer, {"Update": {"job": entry.job.to_wire()}}))

    def _end(self, board: Board, entry: Entry, end: End, now: float, tell: bool = True) -> None:
        """The first terminal state: recorded, answered, and passed on to whoever waits for it."""
        version = max(end.version, entry.job.terminal_version)
        owner = owner_of(entry.subject, entry.job.id, end.result, end.result_type)
        event = Ended(entry.job.id, version, owner, end.result, end.result_type, end.kind)
        if end.result is not None and len(end.result) > MAX_STORED_RESULT_BYTES:
            size, digest = len(end.result), sha256(end.result.encode()).hexdigest()
            event = msgspec.structs.replace(event, result=None, size=size, sha256=digest)
        self._stage(board_stream(board.peer), event, now)
        if event.size is not None:
            self._keep_body(board, entry, end)
        self._ready.ended.append(entry.job)
        if entry.inbound:
            self._answer(board, entry, now, tell)
        else:
            self._settle(board, entry, end, now)

    def _keep_body(self, board: Board, entry: Entry, end: End) -> None:
        error = None if end.kind is None else {"kind": end.kind, "message": end.result}
        entry.job = msgspec.structs.replace(entry.job, result=end.result, error=error)
        board.keep_body(entry.job)
        if entry.step is not None and entry.via is not None:
            parent = self.board(entry.via).open.get(entry.parent or "")
            if parent is not None:
                parent.outcomes[entry.step] = Outcome(end.result, end.result_type, end.kind)

    def _answer(self, board: Board, entry: Entry, now: float, tell: bool) -> None:
        if tell and board.linked:
            self._ready.sends.append((board.peer, {"Update": {"job": entry.job.to_wire()}}))
        elif tell:
            board.unsent.append(entry.job.id)
        active = self.active.pop((board.peer, entry.job.id), None)
        if active is None:
            return
        if active.driver is not None:
            active.driver.close()
        if active.running:  # the leaf cannot be called back: what comes after must wait until it is done
            self.overrun[board.peer, entry.job.id] = active
        else:
            self._leave_lane(active, now)

    def _leave_overrun(self, peer: str, id: str, now: float) -> None:
        active = self.overrun.pop((peer, id), None)
        if active is not None:
            self._leave_lane(active, now)

    def _leave_lane(self, active: Active, now: float) -> None:
        if active.work.changes and active.work.subject is not None:
            for behind in self.lanes.leave(active, active.work.subject):
                self._start(behind, now)

    def _settle(self, board: Board, entry: Entry, end: End, now: float) -> None:
        """An answer we waited for is there: whoever asked through us gets it, and those who joined."""
        self._deliver(entry, end, now)
        followers = [board.open[id] for id in entry.followers if id in board.open]
        if end.kind != "expired":
            for follower in followers:
                self._end(board, follower, end, now)
        elif followers and followers[0].job.expires > now and board.linked:  # it leads now
            self._ready.sends.append((board.peer, {"Put": {"job": followers[0].job.to_wire()}}))

    def _deliver(self, entry: Entry, end: End, now: float) -> None:
        if entry.client is not None:
            self._ready.finished.append(entry.job)
        if entry.via is None:
            return
        back = self.board(entry.via)
        if entry.step is None:
            inbound = back.open.get(entry.job.id)
            if inbound is not None:
                self._end(back, inbound, end._replace(version=entry.job.version), now)
            return
        parent = (entry.via, entry.parent or "")
        active = self.active.get(parent) or self.overrun.get(parent)
        if active is None or not active.begun:
            return
        if active.driver is None:
            self._tell_leaf(active, {entry.step: Outcome(end.result, end.result_type, end.kind)})
        else:
            self._advance(active, now)

    def ask_back(self, peer: str, id: str, step: str, ask: Ask, now: float) -> Outcome | None:
        """A leaf at work on a job asks another agent; the outcome if it is known already, else it comes in `steps`."""
        active = self.active.get((peer, id))
        if active is None:
            raise Expired("the job ended before this step")
        if step not in active.entry.outcomes:
            self._ask(active, step, ask, now)
        return active.entry.outcomes.get(step)

    def _late(self, board: Board, id: str, ok: bool, now: float, job: Job | None = None) -> None:
        ended = board.end_of(id)
        if ended is None or (job is not None and ended == job.state):
            return
        self._stage(board_stream(board.peer), Late(id, job.version if job is not None else 0, ok), now)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _expire(self, now: float) -> None:
        due: list[tuple[str, str]] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, peer, id = heapq.heappop(self._deadlines)
            due.append((peer, id))
        # Inbound first: a parent that expired must not go on because one of its steps did.
        due.sort(key=lambda key: not self._is_inbound(*key))
        for peer, id in due:
            entry = self.board(peer).open.get(id)
            if entry is not None and entry.job.expires <= now:
                self._end(self.board(peer), entry, End(self._why_expired(peer, entry), None, "expired"), now)

    def _forget_deadlines(self) -> None:
        """Most jobs end long before they expire: keep the deadlines of those that are open."""
        if len(self._deadlines) > MAX_IDLE_DEADLINES + 2 * sum(len(board.open) for board in self.boards.values()):
            self._deadlines = [(entry.job.expires, board.peer, entry.job.id) for board, entry in self.open_jobs()]
            heapq.heapify(self._deadlines)

    def _is_inbound(self, peer: str, id: str) -> bool:
        entry = self.board(peer).open.get(id)
        return entry is not None and entry.inbound

    def _why_expired(self, peer: str, entry: Entry) -> str:
        lived = entry.job.expires - entry.job.created
        if not entry.inbound:
            return f"the job expired after {lived} s: {self.me} had no answer from {self.board(peer).name}"
        if entry.relay is not None:
            return f"the job expired after {lived} s: {self.me} waited for {entry.relay.rpartition('@')[0]}"
        done = [step for step, outcome in entry.outcomes.items() if outcome.ok]
        steps = f"; done by then: {', '.join(done)}" if done else ""
        return f"the job expired after {lived} s at {self.me}{steps}"

    # --- recovery -----------------------------------------------------------------------------------------------------

    def recover(self, now: float) -> None:
        """After replay: take up what was open. Changes wait until their sender has shown that it still wants them."""
        pending = [
            (board, entry)
            for board in self.boards.values()
            for entry in board.open.values()
            if entry.inbound and entry.relay is None
        ]
        for board, entry in sorted(pending, key=lambda item: item[1].order):
            self._take_up(board, entry, now)
        self._resume_at = now + RESUME_AFTER_SECONDS
        for active in list(self.active.values()):
            self._start(active, now)

    def _take_up(self, board: Board, entry: Entry, now: float) -> None:
        try:
            destination, text = split_command(entry.job.command)
            here = Here(self.me, board.name, board.zone, self.types.get(board.peer), destination, text, entry.job)
            ends_here = destination.position(self.me, board.name) is Position.HERE
            work = self.role.work(here) if ends_here else self.role.passing(here)
            if work is None:
                raise Unroutable(f"{self.me} has no work for {entry.job.command.partition(' ')[0]} any more")
        except (JobError, GrammarError) as error:
            self._end(board, entry, End(str(error), None, kind_of(error)), now)
            return
        active = self._activate(board, entry, work)
        active.resumed = board.synced or not work.changes or work.held

    def _resume_rest(self, now: float) -> None:
        """Senders that came back without a job do not want it; for one that has not come back yet, we go on."""
        for active in list(self.active.values()):
            if active.resumed:
                continue
            if active.board.synced:
                message = f"{active.board.name} came back without this job: it is not carried on"
                self._end(active.board, active.entry, End(message, None, "expired"), now, tell=False)
            else:
                active.resumed = True
                self._start(active, now)

    # --- state --------------------------------------------------------------------------------------------------------

    def _stage(self, stream: str, event: Event, now: float) -> None:
        self.apply(stream, event, now)
        self._ready.events.append((stream, event))

    def _stage_on(self, entry: Entry, peer: str, event: Event, now: float) -> None:
        self._stage(board_stream(peer), event, now)

    def _sync_commands(self, board: Board) -> Iterator[Wire]:
        """Our side of the board: what we wait for, and what ended while the neighbour was away; in pieces."""
        jobs = [entry.job for entry in board.outbound()]
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


def subject_of(text: str) -> str | None:
    """Whom an instruction is about; None if it is about nobody, or in words that we do not know."""
    try:
        return parse_instruction(text).subject
    except GrammarError:
        return None
