"""The bridge agent: what a client asks over HTTP becomes a job for the portal, and what the portal asks of its software
waits here until the software has answered.

    client ── run "brics.aip1… add_user …" ──> `bridge.brics submit brics.aip1… add_user …` ──> portal
    portal ── `brics.bridge.<offering> create_project …` ──> held, signalled; fetch_job, send_result ──> portal
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import structlog

from openportal.bridge.backend import Json, OfferingsAction
from openportal.bridge.signals import Signaller
from openportal.errors import InvalidJob, JobError, RunError, Unavailable, Unsupported
from openportal.grammar.destination import Destination, Destinations
from openportal.grammar.instructions import (
    Instruction,
    SyncOfferings,
    parse_command,
    parse_instruction,
)
from openportal.templemeads.agent import Agent
from openportal.templemeads.handlers import Handler, Run
from openportal.templemeads.job import DEFAULT_LIFETIME_SECONDS, SUBMIT_LIFETIME_SECONDS, Job, from_wire
from openportal.templemeads.role import Here, Work

MAX_NOTIFICATIONS = 1_000
OFFERINGS_WAIT_SECONDS = 20.0

log = structlog.get_logger("openportal.bridge")


class Control(Protocol):
    """What the bridge needs of an agent's control plane."""

    async def health(self) -> Json | None: ...

    async def diagnostics(self, destination: str) -> Json | None: ...

    async def restart(self, restart_type: str, destination: str) -> str: ...

    def notify_from_bridge(self, command: str) -> None: ...


class BridgeRole:
    """Jobs from the portal: one for an offering waits for the software; only sync_offerings is answered here."""

    agent_type = "Bridge"

    def __init__(self, offerings: Callable[[], list[str]]) -> None:
        self._offerings = offerings

    def handlers(self) -> dict[type[Instruction], Handler]:
        return {SyncOfferings: self._sync}

    def work(self, here: Here) -> Work:
        instruction = parse_instruction(here.text)
        if not isinstance(instruction, SyncOfferings):
            raise Unsupported(f"{here.me} is a bridge: its portal may only ask it to sync_offerings")
        return Work(instruction, changes=False)

    def passing(self, here: Here) -> Work | None:
        if here.sender_type != "Portal":
            raise Unsupported(f"{here.me} is a bridge: it takes jobs from its portal only")
        instruction = parse_instruction(here.text)
        return Work(instruction, held=True, subject=instruction.subject, changes=instruction.changes)

    def _sync(self, run: Run, instruction: SyncOfferings) -> list[str]:
        return self._offerings()


class BridgeBackend:
    """Answers the HTTP API from the agent's boards. See `backend.Backend` for the methods."""

    def __init__(self, agent: Agent, control: Control) -> None:
        self._agent = agent
        self._control = control
        self._notifications: OrderedDict[str, Json] = OrderedDict()
        self._signals: set[asyncio.Task[bool]] = set()
        self._came = asyncio.Event()  # set when a job comes, and another one takes its place
        self.signaller: Signaller | None = None
        agent.on_held = self.held

    # --- the portal's software ----------------------------------------------------------------------------------------

    def begin(self, signaller: Signaller) -> None:
        """From now on the software is told, first of what waits for it already."""
        self.signaller = signaller
        for board, entry in self._agent.core.open_jobs():
            if self._is_held(board.peer, entry):
                self.held(entry.job)

    async def end(self) -> None:
        """From now on the software is told nothing. Its jobs stay open: that we stop is no failure of theirs."""
        self.signaller = None
        for task in self._signals:
            task.cancel()
        await asyncio.gather(*self._signals, return_exceptions=True)

    def held(self, job: Job) -> None:
        """A job waits for the software: tell it, unless nobody is to be told."""
        self._came.set()
        self._came = asyncio.Event()
        if self.signaller is not None:
            task = asyncio.get_running_loop().create_task(self.signaller.job(job.id))
            self._signals.add(task)
            task.add_done_callback(self._signals.discard)

    def gave_up(self, job_id: str, problem: str) -> None:
        """The software could not be told of a job: its sender has to know."""
        agent = self._agent
        for board in agent.core.boards.values():
            if job_id in board.open:
                failure = RunError(f"the portal's software could not be told of this job: {problem}")
                agent.core.ran(board.peer, job_id, None, agent.clock(), failure)
                agent.perform()
                return

    def notified(self, notification: Json) -> None:
        """An event for the software: kept while it is fetched."""
        self._notifications[str(notification.get("id"))] = notification
        while len(self._notifications) > MAX_NOTIFICATIONS:
            self._notifications.popitem(last=False)
        if self.signaller is not None:
            self.signaller.notification(str(notification.get("id")))

    def told(self, id: str, sent: bool) -> None:
        """A notification has been sent, or nobody will be told of it. It can still be fetched for a while."""
        if not sent:
            log.warning("notification not delivered", notification=id)

    async def unfinished(self, wait_seconds: float = 0.0) -> list[Json]:
        """What is not on the disk yet is not told: the answer waits for it."""
        jobs = self._held_jobs()
        if not jobs and wait_seconds > 0:
            await self._next_held(wait_seconds)
            jobs = self._held_jobs()
        await self._agent.committed()
        return jobs

    def _held_jobs(self) -> list[Json]:
        core = self._agent.core
        return [entry.job.to_wire() for board, entry in core.open_jobs() if self._is_held(board.peer, entry)]

    async def _next_held(self, wait_seconds: float) -> None:
        came = self._came
        try:
            async with asyncio.timeout(wait_seconds):
                await came.wait()
        except TimeoutError:
            pass

    def _is_held(self, peer: str, entry: Any) -> bool:
        active = self._agent.core.active.get((peer, entry.job.id))
        return active is not None and active.work.held

    async def fetch_job(self, id: str) -> Json | None:
        job = self._find(id)
        await self._agent.committed()
        return None if job is None else job.to_wire()

    def fetch_notification(self, id: str) -> Json | None:
        return self._notifications.get(id)

    async def send_result(self, job: Json) -> None:
        answer = from_wire(job)
        if not answer.finished:
            raise InvalidJob(f"job {answer.id} is {answer.state}: complete it or mark it as failed, then send it")
        core = self._agent.core
        for board in core.boards.values():
            entry = board.open.get(answer.id)
            if entry is not None and self._is_held(board.peer, entry):
                core.answered(board.peer, answer, self._agent.clock())
                await self._agent.committed()
                return
        raise InvalidJob(f"job {answer.id} is not waiting for an answer: it was answered before, or it expired")

    # --- clients ------------------------------------------------------------------------------------------------------

    def portal(self) -> str | None:
        peer = self._portal_peer()
        return None if peer is None else peer.rpartition("@")[0]

    def _portal_peer(self, linked: bool = True) -> str | None:
        core = self._agent.core
        peers = [peer for peer, kind in core.types.items() if kind == "Portal"]
        live = [peer for peer in peers if core.board(peer).linked]
        return live[0] if live else None if linked or not peers else peers[0]

    def _need_portal(self) -> str:
        peer = self._portal_peer(linked=False)
        if peer is None:
            raise Unavailable(f"no portal has ever connected to {self._agent.name}: start it, or wait for it")
        return peer

    async def run(self, command: str, key_id: str) -> str:
        destination, instruction = parse_command(command)
        peer = self._need_portal()
        portal = peer.rpartition("@")[0]
        text, lifetime = self._for_portal(destination, instruction, portal)
        return await self._agent.submit(peer, text, key_id, lifetime)

    def _for_portal(self, destination: Destination, instruction: Instruction, portal: str) -> tuple[str, int]:
        """The command for the portal, and how long it lives: straight to it, or wrapped in a submit."""
        me = self._agent.name
        agents = destination.agents
        if agents == (me, portal):
            return f"{destination} {instruction}", DEFAULT_LIFETIME_SECONDS
        if agents[0] == me and len(agents) > 2:
            destination = Destination(agents[1:])
        if destination.first != portal:
            raise InvalidJob(f"{destination} has to begin with {portal} (the portal), or with {me}.{portal}")
        owner = instruction.owning_portal
        if owner is not None and owner != portal:
            raise InvalidJob(
                f"Commands involving '{instruction.subject or owner}' can only be issued via the portal '{owner}',"
                f" not '{portal}'."
            )
        return f"{me}.{portal} submit {destination} {instruction}", SUBMIT_LIFETIME_SECONDS

    async def job(self, id: str, wait_seconds: float) -> Json | None:
        for board in self._agent.core.boards.values():
            if board.find(id) is not None:
                job = await self._agent.finished(board.peer, id, wait_seconds)
                return None if job is None else job.to_wire()
        return None

    def _find(self, id: str) -> Job | None:
        for board in self._agent.core.boards.values():
            job = board.find(id)
            if job is not None:
                return job
        return None

    async def offerings(self, action: OfferingsAction, destinations: list[str]) -> list[str]:
        """Ask the portal, which keeps the offerings; what it accepted is remembered for when it asks."""
        portal = self._need_portal()
        asked = Destinations(tuple(Destination.parse(text) for text in destinations))
        words = f"{action}_offerings" if action == "get" else f"{action}_offerings {asked}"
        command = f"{self._agent.name}.{portal.rpartition('@')[0]} {words}"
        id = await self._agent.submit(portal, command, "offerings", DEFAULT_LIFETIME_SECONDS)
        job = await self._agent.finished(portal, id, OFFERINGS_WAIT_SECONDS)
        if job is None or not job.finished:
            raise Unavailable(f"{portal.rpartition('@')[0]} has not answered about the offerings yet: try again")
        if job.error is not None:
            raise JobError(job.result or "the portal gave no reason", job.error_kind)
        return self._accepted(job)

    def _accepted(self, job: Job) -> list[str]:
        try:
            accepted = msgspec.json.decode(job.result or "[]", type=list[str])
        except msgspec.DecodeError as error:
            raise RunError(f"the portal's answer about the offerings cannot be read: {error}") from error
        self._agent.core.offer(accepted, self._agent.clock())
        self._agent.perform()
        return accepted

    # --- the control plane --------------------------------------------------------------------------------------------

    async def health(self) -> Json | None:
        return await self._control.health()

    async def diagnostics(self, destination: str) -> Json | None:
        return await self._control.diagnostics(destination)

    async def restart(self, restart_type: str, destination: str) -> str:
        return await self._control.restart(restart_type, destination)

    async def notify(self, command: str) -> None:
        self._control.notify_from_bridge(command)
