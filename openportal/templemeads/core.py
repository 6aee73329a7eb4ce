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
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

import msgspec

from openportal.errors import Expired, GrammarError, InvalidJob, JobError, OpenPortalError, Unavailable, Unroutable
from openportal.grammar.destination import Position
from openportal.grammar.instructions import split_command, subject_of
from openportal.paddington.peer import LEAF_TYPES
from openportal.templemeads.board import MAX_STORED_RESULT_BYTES, Board, Entry
from openportal.templemeads.erasure import owner_of, owner_of_effect
from openportal.templemeads.events import (
    AGENT_STREAM,
    AgentStarted,
    AgentStopped,
    Ended,
    Intended,
    Late,
    Observed,
    OfferingsSet,
    PeerKnown,
    PeerLog,
    Restored,
    Settled,
    board_stream,
)
from openportal.templemeads.job import MAX_VERSION, Job, State
from openportal.templemeads.outbox import kind_of, sayable
from openportal.templemeads.results import encode_result
from openportal.templemeads.role import Here, Role
from openportal.templemeads.saga import Outcome
from openportal.templemeads.witness import LogMark, Verdict, judge, worth_keeping
from openportal.templemeads.worker import Active, End, Worker

MAX_SYNC_JOBS = 10_000
RESUME_AFTER_SECONDS = 30
MAX_IDLE_DEADLINES = 1_000


class Core(Worker):
    """The decisions of one agent."""

    def __init__(self, me: str, role: Role, neighbours: Iterable[str]) -> None:
        super().__init__(me, role, neighbours)
        self.draining: str | None = None  # why no new job is taken
        self.skew: Callable[[str], float | None] = lambda peer: None  # by how much a neighbour's clock is ahead
        self.full: str | None = None  # why no new job is taken, except what leaves ask in the middle of one
        self.doubts: dict[str, str] = {}  # peer -> what is odd about its log
        self._resume_at: float | None = None

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

    def judge_log(self, peer: str, said: LogMark, now: float) -> Verdict:
        """What to think of the log that a neighbour says it writes, before it is `registered`."""
        board = self.board(peer)
        return judge(self.logs.get(peer), said, 0.0 if board.linked else now - board.left_at)

    def registered(self, peer: str, agent_type: str, now: float, mark: LogMark | None = None) -> None:
        """A neighbour is there and has said what it is: it gets our side of the board and whatever waited for it."""
        board = self.board(peer)
        if mark is not None and worth_keeping(self.logs.get(peer), mark, now - self.log_kept.get(peer, 0.0)):
            self._stage(AGENT_STREAM, PeerLog(peer, mark.id, mark.generation, mark.units, mark.head), now)
        if self.types.get(peer) != agent_type:
            self._stage(AGENT_STREAM, PeerKnown(peer, agent_type), now)
        board.linked = True
        board.breaker.answered()
        self._ready.sends.extend((peer, command) for command in self._sync_commands(board, now))
        board.unsent.clear()
        for active, steps in self._unparked():
            self._ask_again(active, steps, now)

    def disconnected(self, peer: str, now: float) -> None:
        """The link to a neighbour is gone."""
        board = self.board(peer)
        if board.linked:
            board.left_at = now
        board.linked = board.synced = False
        board.turns.clear()

    def submit(self, peer: str, job: Job, client: str, now: float) -> None:
        """A client of ours asks `peer` for `job`. Raises Unavailable if the board is full or we are stopping."""
        board = self.board(peer)
        self._check_open(board)
        self._send_out(board, job, now, client=client)

    def ran(self, peer: str, id: str, result: object, now: float, failure: OpenPortalError | None = None) -> None:
        """The work on a job came to an end: a value, or a failure."""
        active = self.active.get((peer, id))
        if active is not None:
            active.running = False
        if active is None:
            self._late(self.board(peer), id, failure is None, now)
            self._leave_overrun(peer, id, now)
        elif active.entry.quarantined:
            self._settle_retry(active, None if failure is None else str(failure), now)
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
        entry = self.board(peer).entry(id)
        if entry is None:
            raise Expired("the job ended before this step")
        number = entry.effects + 1
        owner = owner_of_effect(entry.subject, id)
        self._stage(board_stream(peer), Intended(id, number, action, owner, sayable(target)), now)
        return number

    def observe(self, peer: str, id: str, number: int, detail: str | None, now: float) -> None:
        """An effect happened (`detail` None), or failed as `detail` says."""
        job = self.board(peer).find(id)
        subject = subject_of(job.command.partition(" ")[2]) if job is not None else None
        detail = None if detail is None else sayable(detail)
        owner = owner_of_effect(subject, id)
        self._stage(board_stream(peer), Observed(id, number, detail is None, owner, detail), now)

    def offer(self, destinations: list[str], now: float) -> None:
        """The offerings of our portal's software are now these."""
        if destinations != self.offerings:
            self._stage(AGENT_STREAM, OfferingsSet(destinations), now)

    def came_up(self, version: str, pid: int, now: float, generation: int = 1) -> None:
        """This process took the agent over, after `recover`; its log is of that generation."""
        if generation > self.generation:  # our neighbours have seen later versions of our jobs than we know
            self._stage(AGENT_STREAM, Restored(generation), now)
        self._stage(AGENT_STREAM, AgentStarted(version, pid), now)

    def went_down(self, reason: str, now: float) -> None:
        """This process stops in good order."""
        self._stage(AGENT_STREAM, AgentStopped(reason), now)

    def tick(self, now: float) -> None:
        """Time passed: jobs expire, and what waited long enough goes on."""
        self._expire(now)
        self._forget_deadlines()
        self._give_up_on_agents(now)
        self._undo_abandoned(now)
        for board in self.boards.values():
            self._next_turns(board, now)
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

    def _check_open(self, board: Board) -> None:
        """Raises Unavailable if no further job is taken. What a leaf asks back is part of one that was taken."""
        board.check_room()
        if self.draining:
            raise Unavailable(self.draining)
        if self.full and self.types.get(board.peer) not in LEAF_TYPES:
            raise Unavailable(self.full)

    def _accept(self, board: Board, job: Job, now: float) -> None:
        self._check_open(board)
        if job.expires <= now:
            raise Expired(
                f"the job expired {now - job.expires:.0f} s before it came to {self.me}:"
                f" it waited too long on its way, or the clocks differ{self._skew_words(board)}"
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
        if entry.via is None:
            return
        if entry.step is not None:
            self.progress(entry.via, entry.parent or "", job.result or "", now)
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
        if end.kind == "expired" and entry.inbound:
            self._abandon(board, entry, now)
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
            return
        if entry.step is not None and end.kind == "expired":
            board.breaker.no_answer(now)
        elif entry.step is not None:
            board.breaker.answered()
        if entry.takes_turns:
            board.turns.leave(entry.job.id, entry.origin)
            self._next_turns(board, now)
        self._settle(board, entry, end, now)

    def _keep_body(self, board: Board, entry: Entry, end: End) -> None:
        error = None if end.kind is None else {"kind": end.kind, "message": end.result}
        entry.job = msgspec.structs.replace(entry.job, result=end.result, error=error)
        board.keep_body(entry.job)
        if entry.step is not None and entry.via is not None:
            parent = self.board(entry.via).entry(entry.parent or "")
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
        if entry.abandoned:
            self.abandoned[board.peer, entry.job.id] = active
            self._advance(active, now)
            return
        if active.driver is not None:
            active.driver.close()
        if active.running:  # the leaf cannot be called back: what comes after must wait until it is done
            self.overrun[board.peer, entry.job.id] = active
        else:
            self._leave_lane(active, now)

    def _settle(self, board: Board, entry: Entry, end: End, now: float) -> None:
        """An answer we waited for is there: whoever asked through us gets it, and those who joined."""
        self._deliver(entry, end, now)
        followers = [board.open[id] for id in entry.followers if id in board.open]
        if end.kind != "expired":
            for follower in followers:
                self._end(board, follower, end, now)
        elif followers and followers[0].job.expires > now and board.linked:  # it leads now
            self._put_out(board, followers[0], now)

    def _deliver(self, entry: Entry, end: End, now: float) -> None:
        if entry.via is None:
            return
        back = self.board(entry.via)
        if entry.step is None:
            inbound = back.open.get(entry.job.id)
            if inbound is not None:
                self._end(back, inbound, end._replace(version=entry.job.version), now)
            return
        parent = (entry.via, entry.parent or "")
        active = self.active.get(parent) or self.overrun.get(parent) or self.abandoned.get(parent)
        if active is None or not active.begun:
            return
        if active.driver is None:
            self._tell_leaf(active, {entry.step: Outcome(end.result, end.result_type, end.kind)})
        else:
            self._advance(active, now)

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

    def _skew_words(self, board: Board) -> str:
        """What is known of a neighbour's clock, for a sentence about time."""
        skew = self.skew(board.peer)
        if skew is None:
            return ""
        if skew == 0:
            return f"; the clock of {board.name} agrees with ours"
        return f"; the clock of {board.name} is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} ours"

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
        waited_for = entry.relay if entry.inbound else peer
        if waited_for is not None:
            board = self.board(waited_for)
            verb = "waited for" if entry.inbound else "had no answer from"
            clocks = self._skew_words(board) if self.skew(waited_for) else ""
            return f"the job expired after {lived} s: {self.me} {verb} {board.name}{clocks}"
        done = [step for step, outcome in entry.outcomes.items() if outcome.ok]
        steps = f"; done by then: {', '.join(done)}" if done else ""
        return f"the job expired after {lived} s at {self.me}{steps}"

    # --- recovery -----------------------------------------------------------------------------------------------------

    def recover(self, now: float) -> None:
        """After replay: take up what was open. Changes wait until their sender has shown that it still wants them."""
        pending = [
            (board, entry)
            for board in self.boards.values()
            for entry in (*board.open.values(), *board.aside.values())
            if entry.inbound and entry.relay is None and not entry.quarantined
        ]
        for board, entry in sorted(pending, key=lambda item: item[1].order):
            self._take_up(board, entry, now)
        self._resume_at = now + RESUME_AFTER_SECONDS
        for board in self.boards.values():
            board.left_at = now
        for active in list(self.active.values()):
            self._start(active, now)
        for active in list(self.abandoned.values()):
            self._advance(active, now)

    def _take_up(self, board: Board, entry: Entry, now: float) -> None:
        try:
            work = self._work_of(board, entry)
        except (JobError, GrammarError) as error:
            if entry.abandoned:
                how = Settled(entry.job.id, "undo failed", entry.subject, sayable(str(error)))
                self._stage(board_stream(board.peer), how, now)
            else:
                self._end(board, entry, End(str(error), None, kind_of(error)), now)
            return
        active = self._activate(board, entry, work)
        active.crashed = not self.clean
        active.resumed = board.synced or not work.changes or work.held
        if entry.abandoned:
            self._take_up_abandoned(active, now)

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
