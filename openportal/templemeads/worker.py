"""How the jobs that stop at an agent are carried out: by a leaf, by a saga step by step, or held. Pure.

Work on one job is an `Active`. It waits for its sender's board after a start, for its place in the lane of its subject,
for the agents it asks. A saga whose job ends before its steps do is *abandoned*: it keeps its lane until what it
created is undone or somebody asks the same again. Work that took the agent down too often goes into *quarantine*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID, uuid5

from openportal.errors import Expired, InvalidJob, OpenPortalError, Unroutable
from openportal.grammar.destination import Position
from openportal.grammar.instructions import split_command, subject_of
from openportal.paddington.peer import AGENT_TYPES, LEAF_TYPES
from openportal.templemeads.board import Board, Entry
from openportal.templemeads.events import (
    Abandoned,
    Adopted,
    Operated,
    Quarantined,
    Settled,
    Started,
    StepRefused,
    UndoPostponed,
    board_stream,
)
from openportal.templemeads.job import Job, State
from openportal.templemeads.lanes import Lanes, conflict
from openportal.templemeads.outbox import Outbox, kind_of, sayable
from openportal.templemeads.results import encode_result
from openportal.templemeads.role import Here, Role, Work
from openportal.templemeads.saga import Ask, AskFailed, Done, Driver, Finished, Outcome

MAX_CRASHED_ATTEMPTS = 3
AGENT_WAIT_SECONDS = 10
ADOPTION_SECONDS = 30  # how long an abandoned saga waits for a repeat before it is undone
UNDO_SECONDS = 300
UNDO_AGAIN_SECONDS = 60  # after an undoing that nobody took
UNDO_FOR_SECONDS = 7 * 24 * 3600
NOT_TAKEN = frozenset({"expired", "unavailable"})
JOB_NAMESPACE = UUID("0b6a3a5e-5d3c-5c43-9a63-6f1c6a0c7d10")


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
    crashed: bool = False  # open when we went down otherwise than in good order
    undo_at: float = 0.0  # abandoned: when it is undone, unless somebody asks the same again
    undoing: bool = False


class End(NamedTuple):
    """A terminal state on its way from board to board. `kind` None means complete."""

    result: str | None
    result_type: str | None = None
    kind: str | None = None
    version: int = 0


ENDED = Outcome("the job ended before this step", None, "expired")


class Worker(Outbox):
    """The decisions on work in progress."""

    def __init__(self, me: str, role: Role, neighbours: Iterable[str]) -> None:
        super().__init__(me, neighbours)
        self.role = role
        self.active: dict[tuple[str, str], Active] = {}
        self.overrun: dict[tuple[str, str], Active] = {}  # jobs that ended while a leaf had them in hand, and has still
        self.abandoned: dict[tuple[str, str], Active] = {}  # sagas whose job ended before their steps, to be undone
        self.lanes: Lanes[Active] = Lanes()
        self._parked: list[Active] = []

    def _end(self, board: Board, entry: Entry, end: End, now: float, tell: bool = True) -> None:
        """The first terminal state: recorded, answered, and passed on to whoever waits for it."""
        raise NotImplementedError

    def _begin(self, board: Board, job: Job, work: Work, now: float) -> None:
        entry = self._receive(board, job, work.subject, now)
        self._meet_abandoned(board, entry, work, now)
        self._start(self._activate(board, entry, work), now)

    def _activate(self, board: Board, entry: Entry, work: Work) -> Active:
        active = self.active[board.peer, entry.job.id] = Active(board, entry, work)
        if work.changes and work.subject is not None:
            self.lanes.enter(active, work.subject)
        return active

    def _start(self, active: Active, now: float) -> None:
        """Start, unless it has to wait for the sender's board or for an earlier change."""
        work, entry = active.work, active.entry
        if active.begun or not active.resumed or (entry.job.expires <= now and not entry.quarantined):
            return
        if work.held:
            active.begun = True
            self._ready.held.append(entry.job)
            return
        if work.changes and work.subject is not None and not self.lanes.free(active, work.subject):
            return
        active.begun = True
        if work.changes or active.crashed:
            self._stage(board_stream(active.board.peer), Started(entry.job.id, entry.attempts + 1), now)
        if entry.attempts - entry.pardoned > MAX_CRASHED_ATTEMPTS:
            self._quarantine(active, now)
        elif work.steps is not None:
            active.driver = Driver(work.steps())
            self._advance(active, now)
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
            self._saga_failed(active, End(str(failed), None, failed.kind), now)
        except OpenPortalError as error:
            self._saga_failed(active, End(str(error), None, kind_of(error)), now)
        except Exception as error:
            # A saga that stumbles over an answer ends its job: raised here, it would do so again at every start.
            message = f"{active.work.instruction.verb} failed at {self.me}: {type(error).__name__}: {error}"
            self._saga_failed(active, End(message, None, "run"), now)
        else:
            refused = [self._ask(active, name, ask, now) for name, ask in missing]
            if any(refused):
                self._advance(active, now)

    def _saga_failed(self, active: Active, end: End, now: float) -> None:
        if active.entry.abandoned:
            self._settle_abandoned(active, now)
        elif active.entry.quarantined:
            self._settle_retry(active, end.result, now)
        else:
            self._end(active.board, active.entry, end, now)

    def _saga_done(self, active: Active, value: object, now: float) -> None:
        if active.entry.abandoned:
            self._settle_abandoned(active, now)
            return
        if active.entry.quarantined:
            self._settle_retry(active, None, now)
            return
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

    def _work_of(self, board: Board, entry: Entry) -> Work:
        """How a job that we know is carried out. Raises JobError or GrammarError."""
        destination, text = split_command(entry.job.command)
        here = Here(self.me, board.name, board.zone, self.types.get(board.peer), destination, text, entry.job)
        ends_here = destination.position(self.me, board.name) is Position.HERE
        work = self.role.work(here) if ends_here else self.role.passing(here)
        if work is None:
            raise Unroutable(f"{self.me} has no work for {entry.job.command.partition(' ')[0]} any more")
        return work

    def _leave_overrun(self, peer: str, id: str, now: float) -> None:
        active = self.overrun.pop((peer, id), None)
        if active is not None:
            self._leave_lane(active, now)

    def _leave_lane(self, active: Active, now: float) -> None:
        if active.work.changes and active.work.subject is not None:
            for behind in self.lanes.leave(active, active.work.subject):
                self._start(behind, now)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _ask(self, active: Active, name: str, ask: Ask, now: float) -> bool:
        """Ask a step of whoever can take it; True if nobody ever can."""
        entry = active.entry
        asked = entry.asked.get(name)
        if asked is not None and any(asked in board.open for board in self.boards.values()):
            return False
        if entry.abandoned and not ask.undo:
            self._refuse_step(active, name, "expired", "the job ended before this step", now)
            return True
        if entry.abandoned and not active.undoing:
            return False
        board = self._agent(ask.agent, active.board.zone)
        if board is None:
            return self._park(active, name, ask, now)
        is_leaf = (
            self.types.get(board.peer) in LEAF_TYPES
        )  # behind any other stand many systems, and one of them is slow
        if is_leaf and not ask.undo and not board.breaker.lets_through(now):
            why = f"{board.name} has not answered the last {board.breaker.expired} times: it is not asked for a while"
            self._refuse_step(active, name, "unavailable", why, now)
            return True
        job = self._step_job(entry, name, ask, board, asked, now)
        self._send_out(
            board, job, now, subject=subject_of(ask.instruction), via=active.board.peer, parent=entry.job.id, step=name
        )
        return False

    def _park(self, active: Active, name: str, ask: Ask, now: float) -> bool:
        """Nobody can take the step now; a kind of agent may still register, a name that is nobody's will not."""
        if ask.agent not in AGENT_TYPES:
            self._refuse_step(active, name, *self._why_nobody(ask.agent), now)
            return True
        if not active.parked:
            active.parked_since = now
            self._parked.append(active)
        active.parked[name] = ask
        return False

    def _refuse_step(self, active: Active, name: str, kind: str, why: str, now: float) -> None:
        self._stage(board_stream(active.board.peer), StepRefused(active.entry.job.id, name, kind, why), now)

    def _step_job(self, entry: Entry, name: str, ask: Ask, board: Board, before: str | None, now: float) -> Job:
        """The job that asks a step; its id is a function of the parent, the step and the attempt before this one."""
        parent = entry.job
        id = uuid5(UUID(before), "again") if before else uuid5(JOB_NAMESPACE, f"{parent.id} {name}")
        late = ask.undo or entry.quarantined  # its job has ended, or may end before this step
        expires = max(parent.expires, int(now) + UNDO_SECONDS) if late else parent.expires
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
        key = active.board.peer, active.entry.job.id
        return (self.active.get(key) or self.abandoned.get(key)) is active

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
                self._refuse_step(active, name, *self._why_nobody(ask.agent), now)
            if active.driver is None:
                self._tell_leaf(active, {name: active.entry.outcomes[name] for name in steps})
            self._advance(active, now)

    def _why_nobody(self, agent: str) -> tuple[str, str]:
        if agent in AGENT_TYPES:
            return "unavailable", f"{self.me} has no {agent} agent: start one and connect it, then ask again"
        return "unroutable", f"{self.me} has no neighbour {agent!r}: it knows {self.known()}"

    def ask_back(self, peer: str, id: str, step: str, ask: Ask, now: float) -> Outcome | None:
        """A leaf at work on a job asks another agent; the outcome if it is known already, else it comes in `steps`."""
        active = self.active.get((peer, id))
        if active is None:
            raise Expired("the job ended before this step")
        if step not in active.entry.outcomes:
            self._ask(active, step, ask, now)
        return active.entry.outcomes.get(step)

    # --- sagas whose job has ended ------------------------------------------------------------------------------------

    def _abandon(self, board: Board, entry: Entry, now: float) -> None:
        """A saga that has changed something keeps its lane when its job ends, until that is undone or adopted."""
        active = self.active.get((board.peer, entry.job.id))
        if active is None or active.work.steps is None or not active.work.changes or not entry.asked:
            return
        self._stage(board_stream(board.peer), Abandoned(entry.job.id), now)
        active.undo_at = now + ADOPTION_SECONDS
        if active.driver is None:  # it expired before it was taken up again
            active.begun = True
            active.driver = Driver(active.work.steps())

    def _take_up_abandoned(self, active: Active, now: float) -> None:
        key = active.board.peer, active.entry.job.id
        del self.active[key]
        self.abandoned[key] = active
        active.begun, active.undo_at = True, now + ADOPTION_SECONDS
        if active.work.steps is not None:
            active.driver = Driver(active.work.steps())

    def _meet_abandoned(self, board: Board, entry: Entry, work: Work, now: float) -> None:
        """A new change meets the abandoned saga before it: the same is its heir, any other hurries it."""
        if not work.changes or work.subject is None:
            return
        for key, active in list(self.abandoned.items()):
            if active.undoing or active.work.subject is None or not conflict(active.work.subject, work.subject):
                continue
            if str(active.work.instruction) == str(work.instruction):
                self._stage(
                    board_stream(active.board.peer), Adopted(active.entry.job.id, entry.job.id, board.peer), now
                )
                del self.abandoned[key]
                self._close_saga(active, now)
            else:
                self._undo(active, now)

    def _undo_abandoned(self, now: float) -> None:
        for active in list(self.abandoned.values()):
            if not active.undoing and now >= active.undo_at:
                self._undo(active, now)

    def _undo(self, active: Active, now: float) -> None:
        active.undoing = True
        self._advance(active, now)

    def _settle_abandoned(self, active: Active, now: float) -> None:
        """Nothing is left to do for an abandoned saga, unless nobody was there to undo it."""
        entry, undone = active.entry, [] if active.driver is None else active.driver.undo_steps
        not_taken = [step for step in undone if entry.outcomes[step].kind in NOT_TAKEN]
        if not_taken and now < entry.job.expires + UNDO_FOR_SECONDS:
            self._postpone_undo(active, not_taken, now)
            return
        failed = [f"{step}: {entry.outcomes[step].result}" for step in undone if not entry.outcomes[step].ok]
        how = "undo failed" if failed else "undone" if undone else "nothing to undo"
        detail = "; ".join(failed) or None
        self._stage(board_stream(active.board.peer), Settled(entry.job.id, how, entry.subject, detail), now)
        self.abandoned.pop((active.board.peer, entry.job.id), None)
        self._close_saga(active, now)

    def _postpone_undo(self, active: Active, steps: list[str], now: float) -> None:
        self._stage(board_stream(active.board.peer), UndoPostponed(active.entry.job.id, steps), now)
        active.undoing, active.undo_at = False, now + UNDO_AGAIN_SECONDS
        if active.work.steps is not None:
            active.driver = Driver(active.work.steps())
            self._advance(active, now)

    def _close_saga(self, active: Active, now: float) -> None:
        if active.driver is not None:
            active.driver.close()
        self._leave_lane(active, now)

    # --- what operators do --------------------------------------------------------------------------------------------

    def operate(self, action: str, peer: str, id: str, by: str, why: str, now: float) -> None:
        """`retry` or `resolve` a job in quarantine, `cancel` an open one. Raises InvalidJob."""
        board = self.board(peer)
        entry = board.open.get(id) if action == "cancel" else board.aside.get(id)
        if entry is None:
            wanted = "open" if action == "cancel" else "in quarantine"
            raise InvalidJob(f"no job {id} is {wanted} with {board.name}: `openportal job list` shows those that are")
        if action != "cancel" and (not entry.quarantined or (peer, id) in self.active):
            raise InvalidJob(f"job {id} is being worked on already: wait for the end of that")
        operated = Operated(id, action, by, sayable(why))
        match action:
            case "cancel":
                self._stage(board_stream(peer), operated, now)
                self._cancel(board, entry, by, why, now)
            case "retry":
                work = self._work_of(board, entry)
                self._stage(board_stream(peer), operated, now)
                active = self._activate(board, entry, work)
                self._start(active, now)
            case "resolve":
                self._stage(board_stream(peer), operated, now)
            case _:
                raise InvalidJob(f"{action!r} is not something to do with a job: retry, resolve or cancel")

    def _cancel(self, board: Board, entry: Entry, by: str, why: str, now: float) -> None:
        if entry.inbound:
            self._abandon(board, entry, now)
        reason = f": {why}" if why else ""
        self._end(board, entry, End(sayable(f"cancelled at {self.me} by {by}{reason}"), None, "run"), now)

    def _settle_retry(self, active: Active, failure: str | None, now: float) -> None:
        """A job that an operator took out of quarantine came to an end; its sender has its answer since long."""
        entry = active.entry
        how = "done after all" if failure is None else "failed again"
        detail = None if failure is None else sayable(failure)
        self._stage(board_stream(active.board.peer), Settled(entry.job.id, how, entry.subject, detail), now)
        self.active.pop((active.board.peer, entry.job.id), None)
        self._close_saga(active, now)
