"""An agent: the core under asyncio, with links before it, a ledger beneath it and a leaf behind it.

    link ──received──> Core ──Ready──> Ledger.submit(events, then=release)
                                          └─ committed ─> release: send, answer

What the core decides is staged and submitted in the same turn of the loop; everything that leaves the process does so
from `_release`, which the ledger calls when the unit is on the disk. A leaf's effects wait for their intent
(`Working.effect`).
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import msgspec
import structlog

from openportal.errors import CommitFailed, Expired, JobError, LedgerError, OpenPortalError, RunError, TransportError
from openportal.grammar.instructions import Instruction
from openportal.paddington.peer import Links, Peer
from openportal.templemeads.core import Core
from openportal.templemeads.events import EVENTS
from openportal.templemeads.handlers import Handler, close_nothing
from openportal.templemeads.job import Job, State
from openportal.templemeads.ledger import Event, Ledger, Settings
from openportal.templemeads.outbox import Ready
from openportal.templemeads.role import Role
from openportal.templemeads.saga import Ask, Outcome
from openportal.templemeads.state import StateImage
from openportal.templemeads.witness import LogMark, read_mark

ENGINE = "templemeads"
PROTOCOL_VERSION = "0.94.0"
DOMAIN = "greatwestern"
TICK_SECONDS = 1.0
MAX_RUNNING = 64
MAX_REFUSALS_LOGGED = 16  # of one turn, so that no neighbour fills a disk
MAX_REASON_CHARACTERS = 500
CLOSE_LEAF_SECONDS = 5.0
DISK_FULL = "the disk with the ledger of {} is nearly full: no new jobs are taken until there is room"

T = TypeVar("T")
log = structlog.get_logger("openportal.agent")


class Control(Protocol):
    """Takes the commands that are not about jobs: health, diagnostics, restart, notifications."""

    def received(self, peer: str, kind: str, body: Any) -> None: ...

    def staged(self, events: Sequence[tuple[str, Event]], at: float) -> None: ...

    def ended(self, job: Job, seconds: float) -> None: ...

    def registered(self, peer: str) -> None: ...

    def disconnected(self, peer: str) -> None: ...


class Agent:
    """One running agent. `connect` makes its links, so that tests and colocated agents can use memory links."""

    def __init__(
        self,
        name: str,
        role: Role,
        handlers: Mapping[type[Instruction], Handler],
        ledger: Settings,
        neighbours: list[Peer],
        connect: Callable[[Agent], Links],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.role = role
        self.clock = clock
        self.peers = {str(peer): peer for peer in neighbours}
        self.core = Core(name, role, self.peers)
        self.links = connect(self)
        self.control: Control | None = None
        self.declared: Mapping[str, str] = {}  # peer -> the agent type that our configuration gives it
        self.effects: Counter[tuple[str, str]] = Counter()  # (action, `done` or `failed`), since the start
        self.close_leaf: Callable[[], Awaitable[None]] = close_nothing
        self.failed: asyncio.Future[str] | None = None
        self._handlers = handlers
        self._settings = ledger
        self._ledger: Ledger | None = None
        self._replayed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = asyncio.Semaphore(MAX_RUNNING)
        self._steps: dict[tuple[str, str, str], asyncio.Future[Outcome]] = {}
        self._gates: set[asyncio.Future[None]] = set()  # who waits for a commit
        self._waiters: dict[str, list[asyncio.Future[Job]]] = {}
        self.on_held: Callable[[Job], None] = lambda job: None
        self._since_checkpoint = 0

    # --- life ---------------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        assert self._ledger is not None, "the agent has not been started"
        return self._ledger

    async def start(self) -> None:
        """Open the ledger, take up what was open, and connect."""
        self.failed = asyncio.get_running_loop().create_future()
        self._ledger = Ledger.open(self._settings, EVENTS)
        self._replay()
        self._replayed = True
        self._ledger.on_failure = self._commit_failed
        await self.committed()
        await self.links.start()
        self._spawn(self._ticks())
        if self.ledger.unfinalised:
            log.info("upgrade not finalised", agent=self.name, events=sorted(self.ledger.unfinalised))
        log.info("started", agent=self.name, ledger=self.ledger.ledger_id, open=sum(1 for _ in self.core.open_jobs()))

    def _replay(self) -> None:
        state = self.ledger.checkpoint()
        if state is not None:
            self.core.restore(msgspec.json.decode(state, type=StateImage))
        for recorded in self.ledger.replay():
            self.core.apply(recorded.stream, recorded.event, recorded.at)
            self._since_checkpoint += 1
        now = self.clock()
        self.core.recover(now)
        self.core.came_up(PROTOCOL_VERSION, os.getpid(), now, self.ledger.generation)
        self.perform()

    async def stop(self, reason: str = "stopped") -> None:
        """Go down in good order: what is open stays open in the ledger."""
        await self.links.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_leaf()
        if self._ledger is None:
            return
        if not self._replayed:  # memory is not what the log says, and must not be written into it
            self.ledger.fail(LedgerError("the log was not replayed"))
        try:
            await self._store_the_rest(reason)
        except LedgerError as error:
            log.error("stopped without a last commit", agent=self.name, reason=str(error))
        finally:
            self.ledger.close()

    async def _close_leaf(self) -> None:
        """Let go of the system behind us; what goes wrong with that must not cost the last commit."""
        try:
            async with asyncio.timeout(CLOSE_LEAF_SECONDS):
                await self.close_leaf()
        except Exception as error:
            log.warning("the leaf was not closed", agent=self.name, reason=str(error) or type(error).__name__)

    async def _store_the_rest(self, reason: str) -> None:
        """What handlers observed before they were cut off, and where the log ends."""
        if self.ledger.failed:
            return
        self.core.went_down(reason, self.clock())
        self.perform()
        await self.ledger.drain()
        self._checkpoint()

    def _commit_failed(self, error: CommitFailed) -> None:
        """Nothing that was staged may be believed: close the links at once and let the owner start us anew."""
        log.error("commit failed", agent=self.name, reason=str(error))
        self.links.pause_new_links(True)
        for peer in self.links.connected_peers():
            self.links.drop(peer, "the ledger failed")
        waiting: list[asyncio.Future[Any]] = [*self._gates, *chain.from_iterable(self._waiters.values())]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        if self.failed is not None and not self.failed.done():
            self.failed.set_result(str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self._tick()
            except LedgerError as error:
                log.error("no checkpoint", agent=self.name, reason=str(error))
            except Exception as error:  # a clock that stands still would let no job expire any more
                log.error("tick failed", agent=self.name, exc_info=error)

    async def _tick(self) -> None:
        self.core.full = DISK_FULL.format(self.name) if self.ledger.low_space else None
        self.core.tick(self.clock())
        self.perform()
        for board in self.core.boards.values():
            board.forget_expired(self.clock())
        if self._since_checkpoint >= self._settings.checkpoint_every:
            await self.ledger.drain()
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self.ledger.idle:
            self._since_checkpoint = 0  # also if it fails: the next attempt is not a second later
            self.ledger.save_checkpoint(msgspec.json.encode(self.core.image()), self.clock())

    # --- links --------------------------------------------------------------------------------------------------------

    def connected(self, peer: Peer) -> None:
        """A link is up: say who we are. Jobs wait until the peer has done the same."""
        self.peers.setdefault(str(peer), peer)
        register = {
            "agent": self.role.agent_type,
            "engine": ENGINE,
            "version": PROTOCOL_VERSION,
            "domain": DOMAIN,
            "domain_version": PROTOCOL_VERSION,
            "supports_structured_errors": True,
            "ledger": {
                "id": self.ledger.ledger_id,
                "generation": self.ledger.generation,
                "units": self.ledger.units,
                "head": self.ledger.head,
            },
        }
        self.send(str(peer), {"Register": register})
        log.info("connected", agent=self.name, peer=str(peer))

    def disconnected(self, peer: Peer, reason: str) -> None:
        """A link is down: its jobs stay on their boards."""
        self.core.disconnected(str(peer), self.clock())
        if self.control is not None:
            self.control.disconnected(str(peer))
        log.info("disconnected", agent=self.name, peer=str(peer), reason=reason)

    def received(self, peer: Peer, text: str) -> None:
        """One command of a neighbour. What cannot be read or taken is counted and logged, and the link stays."""
        try:
            kind, body = next(iter(msgspec.json.decode(text).items()))
        except (msgspec.DecodeError, RecursionError, AttributeError, StopIteration):
            log.warning("unreadable command", agent=self.name, peer=str(peer), size=len(text))
            self.core.rejected += 1
            return
        try:
            self._dispatch(str(peer), kind, body)
        except OpenPortalError as error:
            log.warning("command refused", agent=self.name, peer=str(peer), command=kind, reason=str(error))
            self.core.rejected += 1
        except Exception as error:  # a mistake of ours; what was decided until then is in memory, and must be stored
            log.error("command failed", agent=self.name, peer=str(peer), command=kind, exc_info=error)
            self.core.rejected += 1
        self.perform()

    def _dispatch(self, peer: str, kind: str, body: Any) -> None:
        now = self.clock()
        if not isinstance(body, dict):
            body = {}
        match kind:
            case "Put":
                self.core.put(peer, body.get("job"), now)
            case "Update":
                self.core.update(peer, body.get("job"), now)
            case "Delete":
                log.info("delete ignored", agent=self.name, peer=peer)
            case "Register":
                self._register(peer, str(body.get("agent", "")), read_mark(body.get("ledger")), now)
            case "Sync":
                state = body.get("state")
                jobs = state.get("jobs") if isinstance(state, dict) else None
                self.core.sync(peer, jobs if isinstance(jobs, list) else [], now)
            case "Error":
                log.warning("peer reports an error", agent=self.name, peer=peer, reason=str(body.get("error"))[:500])
            case _ if self.control is not None:
                self.control.received(peer, kind, body)

    def _register(self, peer: str, agent_type: str, mark: LogMark | None, now: float) -> None:
        """A peer says what it is; one that we know as something else, or that must not be, is sent away."""
        declared = self.declared.get(peer)
        if declared is not None and declared != agent_type:
            log.error("wrong agent type", agent=self.name, peer=peer, declared=declared, registered=agent_type)
            self.links.drop(self.peers[peer], f"it registered as {agent_type}, and is configured as {declared}")
            return
        if mark is not None and not self._trusts(peer, mark, now):
            return
        self.core.registered(peer, agent_type, now, mark)
        if self.control is not None:
            self.control.registered(peer)

    def _trusts(self, peer: str, mark: LogMark, now: float) -> bool:
        verdict = self.core.judge_log(peer, mark, now)
        if verdict.refused is not None:
            log.error("replica refused", agent=self.name, peer=peer, reason=verdict.refused)
            self.links.drop(self.peers[peer], verdict.refused)
            return False
        if verdict.warning is not None:
            log.error("odd log", agent=self.name, peer=peer, reason=verdict.warning)
            self.core.doubts[peer] = verdict.warning
        return True

    def send(self, peer: str, command: dict[str, Any]) -> None:
        """Send a command now. A link that is gone or stuck is no error: what matters is on the board."""
        try:
            self.links.send(self.peers[peer], msgspec.json.encode(command).decode())
        except (KeyError, TransportError) as error:
            log.debug("not sent", agent=self.name, peer=peer, reason=str(error))

    # --- decide, stage, commit, act -----------------------------------------------------------------------------------

    def perform(self) -> None:
        """Store what was decided, then let it out."""
        began = time.perf_counter()
        while runs := self.core.take_runs():
            for peer, id in runs:
                self._run(peer, id)
        ready = self.core.take()
        for peer, id, step, outcome in ready.steps:
            waiting = self._steps.pop((peer, id, step), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(outcome)
        self._tell_refusals(ready.refused)
        self._since_checkpoint += len(ready.events)
        leaves = ready.sends or ready.held or (ready.ended and self._waiters)
        if leaves or ready.events:
            try:
                self.ledger.submit(ready.events, self.clock(), partial(self._release, ready) if leaves else None)
            except CommitFailed as error:
                log.debug("not stored", agent=self.name, reason=str(error))
                return
            except Exception as error:  # the log cannot hold it, and memory does: memory must not be believed
                self.ledger.fail(error)
                return
        if self.control is not None and ready.events:
            self.control.staged(ready.events, began)
        if self.control is not None and ready.ended:
            now = self.clock()
            for job in ready.ended:
                self.control.ended(job, now - job.created)

    def _tell_refusals(self, refused: list[tuple[str, str]]) -> None:
        for peer, reason in refused[:MAX_REFUSALS_LOGGED]:
            log.warning("job refused", agent=self.name, peer=peer, reason=reason[:MAX_REASON_CHARACTERS])
        if len(refused) > MAX_REFUSALS_LOGGED:
            log.warning("more jobs refused", agent=self.name, count=len(refused) - MAX_REFUSALS_LOGGED)

    def _release(self, ready: Ready) -> None:
        for peer, command in ready.sends:
            self.send(peer, command)
        for job in ready.ended if self._waiters else ():
            for waiter in self._waiters.pop(job.id, ()):
                if not waiter.done():
                    waiter.set_result(job)
        for job in ready.held:
            self.on_held(job)

    def committed(self) -> asyncio.Future[None]:
        """Done when everything staged so far is on the disk; CommitFailed if it cannot be had there."""
        self.perform()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gates.add(future)
        future.add_done_callback(self._gates.discard)
        self.ledger.submit([], self.clock(), partial(_resolve, future))
        return future

    # --- leaf work ----------------------------------------------------------------------------------------------------

    def _run(self, peer: str, id: str) -> None:
        active = self.core.active.get((peer, id))
        if active is None:
            return
        instruction = active.work.instruction
        try:
            value = self._handlers[type(instruction)](Working(self, peer, id), instruction)
        except Exception as error:
            self.core.ran(peer, id, None, self.clock(), self._failure(error, instruction))
            return
        if inspect.isawaitable(value):
            task = self._spawn(self._finish(peer, id, instruction, value))
            if inspect.iscoroutine(value):  # one that stop() cuts off in the queue has never begun
                task.add_done_callback(lambda _: value.close())
        else:
            self.core.ran(peer, id, value, self.clock())

    async def _finish(self, peer: str, id: str, instruction: Instruction, work: Awaitable[object]) -> None:
        value, failure = None, None
        async with self._running:
            try:
                value = await work
            except Exception as error:
                failure = self._failure(error, instruction)
        self.core.ran(peer, id, value, self.clock(), failure)
        self.perform()

    def _failure(self, error: Exception, instruction: Instruction) -> OpenPortalError:
        if isinstance(error, OpenPortalError):
            return error
        log.error("handler failed", agent=self.name, verb=instruction.verb, exc_info=error)
        return RunError(f"{instruction.verb} failed at {self.name}: {type(error).__name__}: {error}")

    async def asked(self, peer: str, id: str, step: str, ask: Ask) -> Outcome:
        """The outcome of a step that a leaf asks, known already or yet to come. Raises Expired."""
        known = self.core.ask_back(peer, id, step, ask, self.clock())
        if known is not None:
            self.perform()
            return known
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._steps[peer, id, step] = future
        self.perform()
        return await future

    # --- clients ------------------------------------------------------------------------------------------------------

    async def submit(self, peer: str, command: str, client: str, lifetime_seconds: int) -> str:
        """Ask `peer` for something on behalf of a client; returns the job's id once it is on the disk."""
        now = self.clock()
        job = Job(
            str(uuid4()), int(now), int(now), int(now) + lifetime_seconds, 2, command, State.PENDING,
            domain=DOMAIN, domain_version=PROTOCOL_VERSION,
        )  # fmt: skip
        self.core.submit(peer, job, client, now)
        await self.committed()
        return job.id

    async def finished(self, peer: str, id: str, wait_seconds: float) -> Job | None:
        """The job as it is on the disk; waits for its end for at most that long. Raises CommitFailed."""
        board = self.core.board(peer)
        job = board.find(id)
        if job is not None and not job.finished and wait_seconds > 0:
            ended = await self._end_of(id, wait_seconds)
            if ended is not None:
                return ended
            job = board.find(id)
        if job is not None and job.finished:
            await self.committed()
        return job

    async def _end_of(self, id: str, wait_seconds: float) -> Job | None:
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(id, []).append(future)
        try:
            return await asyncio.wait_for(future, wait_seconds)
        except TimeoutError:
            return None
        finally:
            self._forget_waiter(id, future)

    def _forget_waiter(self, id: str, future: asyncio.Future[Job]) -> None:
        waiters = self._waiters.get(id, [])
        if future in waiters:
            waiters.remove(future)
            if not waiters:
                del self._waiters[id]


class Working:
    """A job being worked on by a leaf: what its handler is given."""

    def __init__(self, agent: Agent, peer: str, id: str) -> None:
        self._agent = agent
        self._peer = peer
        self._id = id

    @property
    def job_id(self) -> str:
        return self._id

    @property
    def sender(self) -> str:
        return self._peer

    async def effect(self, action: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        """Change something outside: the intent is on the disk before, what was observed is staged after."""
        agent = self._agent
        number = agent.core.intend(self._peer, self._id, action, target, agent.clock())
        await agent.committed()
        try:
            value = await call()
        except Exception as error:
            agent.effects[action, "failed"] += 1
            agent.core.observe(self._peer, self._id, number, str(error) or type(error).__name__, agent.clock())
            raise
        agent.effects[action, "done"] += 1
        agent.core.observe(self._peer, self._id, number, None, agent.clock())
        return value

    def progress(self, text: str) -> None:
        """Tell whoever asked how far the job is."""
        self._agent.core.progress(self._peer, self._id, text, self._agent.clock())
        self._agent.perform()

    async def ask(self, step: str, agent: str, instruction: str) -> object:
        """Ask another agent, through our sender, and wait for its answer."""
        outcome = await self._agent.asked(self._peer, self._id, step, Ask(agent, instruction))
        if outcome.kind == "expired":
            raise Expired(outcome.result or "the question expired")
        if outcome.kind is not None:
            raise JobError(outcome.result or "", outcome.kind)
        return outcome.value


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
