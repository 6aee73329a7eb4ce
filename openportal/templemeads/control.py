"""The commands between agents that are not about jobs, and what an agent keeps count of for them.

    HealthCheck {visited, alone}     -> HealthResponse {health}       to everyone not visited, each hop adds itself;
                                                                      `alone` (ours) means the one that is asked only
    DiagnosticsRequest {destination} -> DiagnosticsResponse {report}  along a path, each hop strips its first element
    Restart {restart_type, destination}                               along a path, nobody answers
    Notify {notification}                                             along a path, nobody answers (notifications.py)

Those paths are relative to whoever receives them: "" and its own name both mean itself. The last hop is sent its own
name, since some agents refuse "" from a neighbour.

Nobody waits long. A health check asks all neighbours at once and waits HEALTH_WAIT_SECONDS at most, a little less at
each hop, so that what is below a silent agent is missing and not what is above it. Leaves ask nobody; portals neither
ask nor answer nor restart each other.

A soft restart drops all links, which are then dialled again. Our jobs stay on their boards and go on when the
neighbours are back; agents up to 0.32.2 answer theirs as cancelled. A hard restart commits what is staged and sets
`restart_requested`; the owner of the process then ends it, with success.

What is told to a neighbour whose link is down (Restart, Notify) waits for it, HOLD_SECONDS at most and in memory only.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any

import msgspec
import structlog

from openportal.errors import GrammarError, InvalidJob, LedgerError, OpenPortalError, Unavailable, Unroutable
from openportal.grammar.notifications import Notification, from_wire, parse
from openportal.paddington.peer import LEAF_TYPES
from openportal.templemeads import diagnostics, health
from openportal.templemeads.agent import Agent
from openportal.templemeads.board import Board
from openportal.templemeads.clocks import SKEW_TOLD_SECONDS, Clocks
from openportal.templemeads.diagnostics import Memory
from openportal.templemeads.events import Quarantined, Received, Sent
from openportal.templemeads.health import Json, ProcessUsage, Totals
from openportal.templemeads.job import Job
from openportal.templemeads.ledger.format import Event
from openportal.templemeads.notifications import Arrived, Deliver, Place, ToBridge, ToNext, forward, route

HEALTH_WAIT_SECONDS = 0.5
HEALTH_WAIT_LESS_PER_HOP_SECONDS = 0.08
HEALTH_WAIT_MIN_SECONDS = 0.1
FIRST_LOOK_SECONDS = 5.0
LOOK_EVERY_SECONDS = 60.0
CLOCK_WAIT_SECONDS = 2.0
DIAGNOSTICS_WAIT_PER_HOP_SECONDS = 0.5
DIAGNOSTICS_WAIT_MAX_SECONDS = 3.0
COMMIT_WAIT_SECONDS = 5.0
HOLD_SECONDS = 30.0
MAX_HELD = 1_000
MAX_HELD_BYTES = 64 * 1024
MAX_VISITED = 100
MAX_PATH_ELEMENTS = 32
MAX_PENDING = 64
MAX_TIMED_JOBS = 200_000
RESTART_TYPES = ("soft", "hard")
DEFAULT_ZONE = "default"

Key = tuple[str, str, str]  # what was asked, of which peer, about which agent

log = structlog.get_logger("openportal.control")


class AgentControl:
    """The control plane of one agent. Make it before the agent starts, and set it as `agent.control`."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.totals = Totals()
        self.memory = Memory()
        self.usage = ProcessUsage()
        self.notifications: Counter[str] = Counter()  # received, sent, failed
        self.clocks = Clocks()
        agent.core.skew = self.clocks.skew
        self.started = agent.clock()
        self.restart_requested = asyncio.Event()
        self.on_notification: Callable[[Json], None] = lambda notification: None
        self._log = log.bind(agent=agent.name)
        self._began: dict[str, float] = {}  # open job -> when we took it, by perf_counter
        self._asked: dict[Key, list[asyncio.Future[Json | None]]] = {}
        self._held: dict[str, deque[tuple[float, Json]]] = {}  # peer -> (until when, command)
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks: dict[str, asyncio.TimerHandle] = {}  # peer -> when we look at its clock next

    # --- what the agent tells -----------------------------------------------------------------------------------------

    def received(self, peer: str, kind: str, body: Any) -> None:
        """A command of a neighbour. Raises OpenPortalError to refuse it."""
        match kind:
            case "HealthCheck":
                self._health_asked(peer, body.get("visited"), body.get("alone") is True)
            case "HealthResponse":
                self._answered("health", peer, health.checked(body.get("health")), "name")
            case "DiagnosticsRequest":
                self._diagnostics_asked(peer, body.get("destination"))
            case "DiagnosticsResponse":
                self._answered("diagnostics", peer, diagnostics.checked(body.get("report")), "agent_name")
            case "Restart":
                self._restart_asked(peer, body.get("restart_type"), body.get("destination"))
            case "Notify":
                self._notified(peer, body.get("notification"))
            case "PortalRoutes":
                self._log.debug("portal routes ignored", peer=peer)
            case _:
                raise GrammarError(f"{kind[:100]!r} is not a command of this network")

    def staged(self, events: Sequence[tuple[str, Event]], at: float) -> None:
        """These events were decided in the turn that began `at` (perf_counter)."""
        began = self._began
        for _, event in events:
            kind = type(event)
            if kind is Received or kind is Sent:
                if len(began) < MAX_TIMED_JOBS:
                    began.setdefault(event.id, at)  # type: ignore[attr-defined]  # both have one
            elif kind is Quarantined:
                self.totals.quarantined += 1

    def ended(self, job: Job, seconds: float) -> None:
        """A job ended on a board; `seconds` is since it was created, to whole seconds."""
        began = self._began.pop(job.id, None)
        if not self.totals.first_end(job.id):
            return
        taken = None if began is None else perf_counter() - began
        self.totals.count(job, taken)
        self.memory.ended(job, taken, self.agent.clock())
        path, _, text = job.command.partition(" ")
        agents = path.split(".")
        self._log.info(
            "job ended",
            job=job.id,
            state=job.state.value,
            kind=None if job.error is None else job.error.get("kind"),
            seconds=round(seconds if taken is None else taken, 6),
            verb=text.partition(" ")[0],
            peer=self._other(agents),
            origin=agents[0],
        )

    def _other(self, agents: list[str]) -> str | None:
        """The neighbour on a job's path: where it came from, or if it began here where it went."""
        if self.agent.name not in agents:
            return None
        index = agents.index(self.agent.name)
        return agents[index - 1] if index else next(iter(agents[1:]), None)

    def registered(self, peer: str) -> None:
        """A neighbour is there: it is told what waited for it, and its clock is looked at now and then."""
        self._look_later(peer, FIRST_LOOK_SECONDS)
        held = self._held.pop(peer, None)
        if held is not None:
            self._drop_old(peer, held)
            for _, command in held:
                self.agent.send(peer, command)

    def disconnected(self, peer: str) -> None:
        """The link is gone, and with it what was asked over it."""
        self.clocks.forget(peer)
        look = self._looks.pop(peer, None)
        if look is not None:
            look.cancel()
        for key, waiting in self._asked.items():
            if key[1] == peer:
                for future in waiting:
                    resolve(future, None)

    # --- clocks -------------------------------------------------------------------------------------------------------

    def _look_later(self, peer: str, seconds: float) -> None:
        if not self._may_look(peer):
            return
        before = self._looks.get(peer)
        if before is not None:
            before.cancel()
        loop = asyncio.get_running_loop()
        self._looks[peer] = loop.call_later(seconds, lambda: self._spawn(self._look_at_clock(peer)))

    def _may_look(self, peer: str) -> bool:
        """A leaf looks at agents of ours only: others would ask the whole chain above it for its sake."""
        is_ours = peer in self.agent.core.logs
        return not self._is_other_portal(peer) and (is_ours or self.agent.role.agent_type not in LEAF_TYPES)

    async def _look_at_clock(self, peer: str) -> None:
        """Ask a neighbour alone for its health. Ours then answer at once, others once those below them have."""
        board, agent = self.agent.core.board(peer), self.agent
        visited = list(dict.fromkeys((agent.name, *(known.name for known in agent.core.boards.values()))))
        visited.remove(board.name)
        command = {"HealthCheck": {"visited": visited[:MAX_VISITED], "alone": True}}
        sent = agent.clock()
        answer = await self._ask(("health", peer, board.name), command, CLOCK_WAIT_SECONDS)
        if answer is not None:
            self.clocks.answered(peer, answer, sent, agent.clock())
            self._tell_skew(peer)
        if board.linked:
            self._look_later(peer, LOOK_EVERY_SECONDS)

    def _tell_skew(self, peer: str) -> None:
        skew = self.clocks.skew(peer)
        if skew is not None and abs(skew) >= SKEW_TOLD_SECONDS:
            self._log.warning("clocks differ", peer=peer, ahead_seconds=round(skew, 3))

    # --- telling ------------------------------------------------------------------------------------------------------

    def _tell(self, board: Board, command: Json) -> None:
        """Send a command that nobody answers, now or when the neighbour is back. Raises Unavailable for too many."""
        if board.linked:
            self.agent.send(board.peer, command)
            return
        held = self._held.setdefault(board.peer, deque())
        self._drop_old(board.peer, held)
        if len(held) >= MAX_HELD or len(msgspec.json.encode(command)) > MAX_HELD_BYTES:
            raise Unavailable(f"there is no link to {board.name}, and too much waits for it already")
        held.append((self.agent.clock() + HOLD_SECONDS, command))

    def _drop_old(self, peer: str, held: deque[tuple[float, Json]]) -> None:
        """Forget what has waited too long."""
        now, dropped = self.agent.clock(), 0
        while held and held[0][0] < now:
            dropped += "Notify" in held.popleft()[1]
        if dropped:
            self.notifications["failed"] += dropped
            self._log.warning("notifications lost", peer=peer, count=dropped, reason="the neighbour was away too long")

    # --- questions ----------------------------------------------------------------------------------------------------

    async def _ask(self, key: Key, command: Json, wait_seconds: float) -> Json | None:
        """Ask a neighbour; None if no answer comes in time."""
        future: asyncio.Future[Json | None] = asyncio.get_running_loop().create_future()
        waiting = self._asked.setdefault(key, [])
        waiting.append(future)
        self.agent.send(key[1], command)
        try:
            return await asyncio.wait_for(future, wait_seconds)
        except TimeoutError:
            return None
        finally:
            waiting.remove(future)
            if not waiting and self._asked.get(key) is waiting:
                del self._asked[key]

    def _answered(self, what: str, peer: str, answer: Json | None, about: str) -> None:
        """Give an answer to whoever has waited for it longest."""
        if answer is None:
            raise InvalidJob(f"{peer} sent {what} that lacks a field or has a wrong one")
        for future in self._asked.get((what, peer, answer[about]), ()):
            if not future.done():
                future.set_result(answer)
                return
        self._log.debug("answer too late", peer=peer, answer=what)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_other_portal(self, peer: str) -> bool:
        return self.agent.role.agent_type == "Portal" and self.agent.core.types.get(peer) == "Portal"

    # --- health -------------------------------------------------------------------------------------------------------

    async def health(self, visited: Sequence[str] = ()) -> Json:
        """How this agent is, and in `peers` how those are that have not been visited."""
        wait_seconds = max(
            HEALTH_WAIT_MIN_SECONDS, HEALTH_WAIT_SECONDS - HEALTH_WAIT_LESS_PER_HOP_SECONDS * len(visited)
        )
        command = {"HealthCheck": {"visited": list(dict.fromkeys((*visited, self.agent.name)))}}
        answers = await asyncio.gather(
            *(self._ask(("health", board.peer, board.name), command, wait_seconds) for board in self._below(visited))
        )
        return self.own_health() | {"peers": {answer["name"]: answer for answer in answers if answer is not None}}

    def own_health(self) -> Json:
        """How this agent alone is."""
        return health.own_health(self.agent, self.totals, self.usage, self.started, self.clocks)

    def _below(self, visited: Sequence[str]) -> list[Board]:
        """Whom to ask for their health."""
        if self.agent.role.agent_type in LEAF_TYPES or len(visited) >= MAX_VISITED:
            return []
        return [
            board
            for board in self.agent.core.boards.values()
            if board.linked and board.name not in visited and not self._is_other_portal(board.peer)
        ]

    def _health_asked(self, peer: str, visited: Any, alone: bool) -> None:
        if self._is_other_portal(peer):
            self._log.debug("portals do not ask portals for health", peer=peer)
            return
        asker = peer.rpartition("@")[0]
        names = [name for name in visited if isinstance(name, str)] if isinstance(visited, list) else []
        names = list(dict.fromkeys((*names[:MAX_VISITED], asker)))
        if not alone and self._below(names) and len(self._tasks) < MAX_PENDING:
            self._spawn(self._answer_health(peer, names))
        else:
            self.agent.send(peer, {"HealthResponse": {"health": self.own_health()}})

    async def _answer_health(self, peer: str, visited: list[str]) -> None:
        self.agent.send(peer, {"HealthResponse": {"health": await self.health(visited)}})

    # --- diagnostics --------------------------------------------------------------------------------------------------

    async def diagnostics(self, destination: str, zone: str = DEFAULT_ZONE) -> Json | None:
        """The report of the agent at the end of a path; None if it cannot be had in time. Raises Unroutable."""
        path = self._path(destination)
        if not path:
            return diagnostics.report(self.agent, self.memory, self.totals, self.notifications)
        board = self._next(path[0], zone)
        if not board.linked:
            return None
        wait_seconds = min(DIAGNOSTICS_WAIT_MAX_SECONDS, DIAGNOSTICS_WAIT_PER_HOP_SECONDS * len(path))
        command = {"DiagnosticsRequest": {"destination": remainder(path)}}
        return await self._ask(("diagnostics", board.peer, path[-1]), command, wait_seconds)

    def _diagnostics_asked(self, peer: str, destination: Any) -> None:
        if self._is_other_portal(peer):
            self._log.debug("portals do not ask portals for diagnostics", peer=peer)
        elif len(self._tasks) >= MAX_PENDING:
            raise Unavailable(f"{len(self._tasks)} reports are being fetched: no more until they are there")
        else:
            self._spawn(self._answer_diagnostics(peer, destination if isinstance(destination, str) else ""))

    async def _answer_diagnostics(self, peer: str, destination: str) -> None:
        try:
            report = await self.diagnostics(destination, peer.rpartition("@")[2])
        except OpenPortalError as error:
            self._log.warning("no diagnostics", peer=peer, destination=destination[:500], reason=str(error))
            return
        if report is not None:
            self.agent.send(peer, {"DiagnosticsResponse": {"report": report}})

    def _path(self, destination: str) -> list[str]:
        """What is left of a path after us; empty if we are meant. Raises Unroutable."""
        path = [name for name in destination.split(".") if name]
        if len(path) > MAX_PATH_ELEMENTS:
            raise Unroutable(f"the path has {len(path)} elements, more than {MAX_PATH_ELEMENTS}")
        return path[1:] if path[:1] == [self.agent.name] else path

    def _next(self, name: str, zone: str) -> Board:
        """The neighbour to pass something on to. Raises Unroutable."""
        board = self.agent.core.neighbour(name, zone)
        if self._is_other_portal(board.peer):
            raise Unroutable(f"{name} is another portal, which is none of our business")
        return board

    # --- restart ------------------------------------------------------------------------------------------------------

    async def restart(self, restart_type: str, destination: str) -> str:
        """Restart the agent at the end of a path; returns a sentence about what was done.

        Raises InvalidJob for an unknown type, or Unroutable.
        """
        return self._restart(restart_type, self._path(destination), DEFAULT_ZONE)

    def _restart_asked(self, peer: str, restart_type: Any, destination: Any) -> None:
        if self._is_other_portal(peer):
            raise Unroutable("portals do not restart portals")
        if not isinstance(destination, str):
            raise InvalidJob("a restart without a destination is nobody's")
        path = self._path(destination)
        self._log.warning("restart asked for", peer=peer, type=str(restart_type)[:20], path=".".join(path)[:500])
        self._restart(str(restart_type), path, peer.rpartition("@")[2])

    def _restart(self, restart_type: str, path: list[str], zone: str) -> str:
        if restart_type not in RESTART_TYPES:
            raise InvalidJob(f"{restart_type[:20]!r} is no type of restart: it is one of {', '.join(RESTART_TYPES)}")
        if path:
            board = self._next(path[0], zone)
            self._tell(board, {"Restart": {"restart_type": restart_type, "destination": remainder(path)}})
            when = "was asked" if board.linked else f"is away; if it is back within {HOLD_SECONDS:.0f} s it is asked"
            return f"{board.name} {when} for a {restart_type} restart of {path[-1]}"
        if restart_type == "soft":
            asyncio.get_running_loop().call_soon(self._drop_links)
            return f"{self.agent.name} drops its links and connects again; its jobs stay"
        self._spawn(self._end_process())
        return f"{self.agent.name} stores what is pending and exits"

    def _drop_links(self) -> None:
        for peer in self.agent.links.connected_peers():
            self.agent.links.drop(peer, "a soft restart was asked for")

    async def _end_process(self) -> None:
        try:
            await asyncio.wait_for(self.agent.committed(), COMMIT_WAIT_SECONDS)
        except (LedgerError, TimeoutError) as error:
            self._log.error("restarting without a last commit", reason=str(error) or type(error).__name__)
        self.restart_requested.set()

    # --- notifications ------------------------------------------------------------------------------------------------

    def notify_from_bridge(self, command: str) -> None:
        """Hand `<destination> <event> <argument>` to our portal. Raises GrammarError, or Unavailable without one."""
        inner = parse(command)
        portals = self._boards_of("Portal")
        if not portals:
            self.notifications["failed"] += 1
            raise Unavailable(f"no portal has ever connected to {self.agent.name}: the notification was not sent")
        self._send_notification(portals[0], forward(inner, self.agent.name, portals[0].name))

    def _boards_of(self, agent_type: str) -> list[Board]:
        """The neighbours that are of a type: those that are linked, else those that were."""
        core = self.agent.core
        boards = [board for board in core.boards.values() if core.types.get(board.peer) == agent_type]
        return [board for board in boards if board.linked] or boards

    def _notified(self, peer: str, wire: Any) -> None:
        self.notifications["received"] += 1
        try:
            self._pass_on(peer, from_wire(wire))
        except OpenPortalError:
            self.notifications["failed"] += 1
            raise

    def _pass_on(self, peer: str, notification: Notification) -> None:
        core = self.agent.core
        sender, _, zone = peer.rpartition("@")
        place = Place(self.agent.name, self.agent.role.agent_type, sender, core.types.get(peer), core.offerings)
        match route(place, notification):
            case ToNext(name, onward):
                self._send_notification(core.neighbour(name, zone), onward)
            case ToBridge(onward):
                self._send_to_bridges(onward)
            case Deliver(delivered):
                self.on_notification(delivered.to_wire())
            case Arrived(arrived):
                self._log.info("notification", peer=peer, change=arrived.name, destination=str(arrived.destination))

    def _send_to_bridges(self, notification: Notification) -> None:
        bridges = self._boards_of("Bridge")
        if not bridges:
            raise Unavailable(f"{self.agent.name} has no bridge: a notification for its software is lost")
        for bridge in bridges:
            self._send_notification(bridge, notification)

    def _send_notification(self, board: Board, notification: Notification) -> None:
        self._tell(board, {"Notify": {"notification": notification.to_wire()}})
        self.notifications["sent"] += 1


def remainder(path: list[str]) -> str:
    """A path as its first element is sent it: what follows that, or its own name at the end."""
    return ".".join(path[1:] or path)


def resolve(future: asyncio.Future[Json | None], answer: Json | None) -> None:
    if not future.done():
        future.set_result(answer)
