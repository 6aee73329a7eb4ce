"""Cores in one process: links are queues, ledgers are lists, leaves are sets. Time is what the test says.

A commit is a step of its own: what a core decides is staged first, and a crash loses what was staged and not yet
committed, together with everything that would have left with it. With `auto` a world commits at once and lets leaves
finish at once; the simulator (`simulation.py`) decides each of these steps by its seed.
"""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from openportal.agents.instance import InstanceRole
from openportal.agents.portal import PortalRole
from openportal.agents.roles import LeafRole, RelayRole
from openportal.errors import JobError, OpenPortalError, RunError
from openportal.grammar.instructions import VERBS, Instruction, SyncOfferings, parse_instruction
from openportal.templemeads.core import Core
from openportal.templemeads.events import Received, Sent
from openportal.templemeads.job import Job, State
from openportal.templemeads.lanes import conflict
from openportal.templemeads.ledger.format import Event
from openportal.templemeads.outbox import Ready
from openportal.templemeads.role import Here, Role, Work
from openportal.templemeads.state import StateImage

Command = dict[str, Any]
Leaf = Callable[[Instruction], object]
START = 1_000_000.0


def peer_of(name: str) -> str:
    return f"{name}@default"


def name_of(peer: str) -> str:
    return peer.partition("@")[0]


# --- leaves -----------------------------------------------------------------------------------------------------------


class System:
    """A leaf: what is present in it, and how often it was really changed."""

    def __init__(self) -> None:
        self.present: set[str] = set()
        self.adds: Counter[str] = Counter()
        self.removes: Counter[str] = Counter()

    def __call__(self, instruction: Instruction) -> object:
        verb = instruction.verb.replace("_local", "")
        answer = getattr(self, verb, None)
        return f"{instruction}" if answer is None else answer(instruction)

    def add(self, key: str) -> None:
        if key not in self.present:
            self.adds[key] += 1
            self.present.add(key)

    def remove(self, key: str) -> None:
        if key in self.present:
            self.removes[key] += 1
            self.present.remove(key)

    def add_user(self, i: Any) -> object:
        self.add(str(i.subject))
        return None

    def remove_user(self, i: Any) -> object:
        self.remove(str(i.subject))
        return None

    add_project, remove_project = add_user, remove_user

    def is_user_added(self, i: Any) -> object:
        return i.subject in self.present

    def is_user_removed(self, i: Any) -> object:
        return i.subject not in self.present

    is_project_added, is_project_removed = is_user_added, is_user_removed

    def get_home_dir(self, i: Any) -> object:
        return f"/home/{i.mapping.local_user}"


class Accounts(System):
    """The account system: it makes the mappings."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked: set[str] = set()
        self.protected: set[str] = set()

    def mapping(self, i: Any) -> str:
        parts = str(i.subject).split(".")
        return f"{i.subject}:{'.'.join(parts[:2])}:{parts[-2]}" if len(parts) == 3 else f"{i.subject}:{parts[0]}"

    def add_user(self, i: Any) -> object:
        self.add(str(i.subject))
        return self.mapping(i)

    def remove_user(self, i: Any) -> object:
        self.remove(str(i.subject))
        return self.mapping(i)

    add_project = add_user

    def remove_project(self, i: Any) -> object:
        for key in [key for key in self.present if key.endswith(f".{i.subject}") and key not in self.protected]:
            self.remove(key)
        return self.remove_user(i)

    def get_user_mapping(self, i: Any) -> object:
        if i.subject not in self.present:
            raise RunError(f"User does not exist: {i.subject}")
        return self.mapping(i)

    get_project_mapping = get_user_mapping

    def is_existing_user(self, i: Any) -> object:
        return i.subject in self.present

    is_existing_project = is_existing_user

    def is_blocked_user(self, i: Any) -> object:
        return i.subject in self.blocked

    def is_protected_user(self, i: Any) -> object:
        return i.subject in self.protected

    def get_users(self, i: Any) -> object:
        users = sorted(key for key in self.present if key.endswith(f".{i.subject}"))
        return [self.mapping(parse_instruction(f"get_user_mapping {user}")) for user in users]

    def update_homedir(self, i: Any) -> object:
        return i.path


# --- roles ------------------------------------------------------------------------------------------------------------


class SoftwareRole:
    """A bridge, as the portal sees it: all but what is offered is held for the portal's software."""

    agent_type = "Bridge"

    def work(self, here: Here) -> Work:
        instruction = parse_instruction(here.text)
        if isinstance(instruction, SyncOfferings):
            return Work(instruction, changes=False)
        return Work(instruction, None, True, instruction.subject, instruction.changes)

    def passing(self, here: Here) -> Work | None:
        return self.work(here)


def portal(node: Node) -> Role:
    role = PortalRole(lambda: node.core.offerings, lambda offered: node.core.offer(offered, node.now))
    handlers = role.handlers()
    node.leaf = lambda instruction: handlers[type(instruction)](None, instruction)  # type: ignore[arg-type]
    return role


def bridge(node: Node) -> Role:
    node.leaf = lambda instruction: [str(destination) for destination in instruction.offerings.destinations]
    return SoftwareRole()


def instance(node: Node) -> Role:
    return InstanceRole()


def relay(agent_type: str) -> Callable[[Node], Role]:
    return lambda node: RelayRole(agent_type)


def leaf(agent_type: str) -> Callable[[Node], Role]:
    return lambda node: LeafRole(agent_type, dict.fromkeys(VERBS.values(), lambda run, i: None))


# --- nodes ------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Running:
    """A change that a leaf carries out: its intent is staged, its effect waits for the commit."""

    peer: str
    id: str
    instruction: Instruction
    number: int | None
    unit: int


class Node:
    """One agent: a core, what it has on disk, and the leaf behind it."""

    def __init__(self, world: World, name: str, make_role: Callable[[Node], Role], leaf: Leaf | None) -> None:
        self.world = world
        self.name = name
        self.make_role = make_role
        self.leaf = leaf
        self.skew = 0.0
        self.neighbours: list[str] = []
        self.log: list[tuple[str, Event, float]] = []
        self.checkpoint: tuple[bytes, int] | None = None
        self.finished: list[Job] = []
        self.held: list[Job] = []
        self.alive = False
        self.core: Core
        self._forget()

    def _forget(self) -> None:
        self.staged: list[tuple[Ready, float]] = []
        self.running: list[Running] = []
        self.units = 0
        self.committed = 0

    @property
    def now(self) -> float:
        return self.world.now + self.skew

    def fresh(self) -> Core:
        return Core(self.name, self.make_role(self), [peer_of(name) for name in self.neighbours])

    def replayed(self, use_checkpoint: bool = True) -> Core:
        """A core as it would come up from what is on disk, not yet recovered."""
        core, tail = self.fresh(), self.log
        if use_checkpoint and self.checkpoint is not None:
            image, position = self.checkpoint
            core.restore(msgspec.json.decode(image, type=StateImage))
            tail = self.log[position:]
        for stream, event, at in tail:
            core.apply(stream, event, at)
        return core

    def start(self) -> None:
        """Come up from what is on disk."""
        self._forget()
        self.core = self.replayed()
        self.alive = True
        self.core.recover(self.now)
        self.flush()

    def save_checkpoint(self) -> None:
        """Keep the state, as an agent does when nothing is pending."""
        assert not self.staged
        self.checkpoint = (msgspec.json.encode(self.core.image()), len(self.log))

    def crash(self) -> None:
        """Lose everything that is not on disk, links included."""
        for other in self.neighbours:
            self.world.unlink(self.name, other)
        self.alive = False
        self._forget()

    def received(self, sender: str, command: Command) -> None:
        peer, (kind, body) = peer_of(sender), next(iter(command.items()))
        match kind:
            case "Put":
                self.core.put(peer, body["job"], self.now)
            case "Update":
                self.core.update(peer, body["job"], self.now)
            case "Register":
                self.core.registered(peer, body["agent"], self.now)
            case "Sync":
                self.core.sync(peer, body["state"]["jobs"], self.now)
        self.flush()

    def tick(self) -> None:
        self.core.tick(self.now)
        self.flush()

    def flush(self) -> None:
        """Run what looks only, stage what was decided; with `auto` commit it and let changes happen."""
        while runs := self.core.take_runs():
            for peer, id in runs:
                self.run(peer, id)
        self.stage(self.core.take())
        self.check_lanes()
        while self.world.auto and (self.staged or self.running):
            self.commit()
            for running in list(self.running):
                self.finish(running)

    def stage(self, ready: Ready) -> None:
        if ready.events or ready.sends or ready.held:
            self.units += 1
            self.staged.append((ready, self.now))

    def commit(self) -> None:
        """Everything staged is on the disk: what waited for it goes out."""
        staged, self.staged = self.staged, []
        for ready, at in staged:
            self.log += [(stream, event, at) for stream, event in ready.events]
        self.committed += len(staged)
        for ready, _ in staged:
            self.release(ready)

    def release(self, ready: Ready) -> None:
        self.finished += ready.ended
        self.held += ready.held
        for peer, command in ready.sends:
            self.world.send(self.name, name_of(peer), command)

    def run(self, peer: str, id: str) -> None:
        active = self.core.active.get((peer, id))
        if active is None:
            return
        instruction = active.work.instruction
        if not instruction.changes or self.leaf is None:
            self.core.ran(peer, id, *self.answer(instruction))
            return
        number = self.core.intend(peer, id, instruction.verb, str(instruction.subject), self.now)
        self.running.append(Running(peer, id, instruction, number, self.units + 1))

    def answer(self, instruction: Instruction) -> tuple[object, float, OpenPortalError | None]:
        assert self.leaf is not None
        try:
            return self.leaf(instruction), self.now, None
        except JobError as error:
            return None, self.now, error

    def finish(self, running: Running, failure: OpenPortalError | None = None) -> None:
        """The effect happens, if its intent is on the disk and it did not fail before."""
        if running.unit > self.committed or running not in self.running:
            return
        self.running.remove(running)
        value, now, error = (None, self.now, failure) if failure else self.answer(running.instruction)
        if running.number is not None:
            self.core.observe(running.peer, running.id, running.number, str(error) if error else None, now)
        self.core.ran(running.peer, running.id, value, now, error)
        self.flush()

    def check_lanes(self) -> None:
        """No two changes of conflicting subjects are at work, those included whose job has ended meanwhile."""
        actives = [a for a in self.core.active.values() if a.begun and a.work.changes and not a.work.held]
        busy = [(a.entry.job.id, a.work.subject) for a in actives if a.work.subject is not None]
        known = {id for id, _ in busy}
        busy += [(r.id, r.instruction.subject) for r in self.running if r.id not in known]
        for index, (_, one) in enumerate(busy):
            for _, other in busy[index + 1 :]:
                assert one is None or other is None or not conflict(one, other), f"{self.name}: {one} beside {other}"

    def events(self, kind: type[Event], neighbour: str | None = None) -> list[Any]:
        """What is on the disk of one kind."""
        stream = f"board:{peer_of(neighbour)}" if neighbour else None
        return [event for name, event, _ in self.log if isinstance(event, kind) and stream in (None, name)]

    def open(self, neighbour: str) -> list[Job]:
        return [entry.job for entry in self.core.board(peer_of(neighbour)).open.values()]


# --- the world --------------------------------------------------------------------------------------------------------


class World:
    """The nodes and the queues between them."""

    def __init__(self, auto: bool = True) -> None:
        self.auto = auto
        self.now = START
        self.nodes: dict[str, Node] = {}
        self.queues: dict[tuple[str, str], deque[bytes]] = {}
        self.shown: dict[tuple[str, str], dict[str, tuple[int, str]]] = {}
        self.sent: list[tuple[str, str, Command]] = []

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def add(self, name: str, make_role: Callable[[Node], Role], leaf: Leaf | None = None) -> Node:
        self.nodes[name] = node = Node(self, name, make_role, leaf)
        return node

    def neighbours(self, one: str, other: str) -> None:
        self.nodes[one].neighbours.append(other)
        self.nodes[other].neighbours.append(one)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every pair of neighbours once."""
        for one, node in self.nodes.items():
            yield from ((one, other) for other in node.neighbours if one < other)

    def start(self) -> None:
        """Start what is down and link what is not linked."""
        for node in self.nodes.values():
            if not node.alive:
                node.start()
        for pair in self.pairs():
            if pair not in self.queues:
                self.link(*pair)

    def link(self, one: str, other: str) -> None:
        for sender, receiver in ((one, other), (other, one)):
            agent_type = self.nodes[sender].core.role.agent_type
            self.queues[sender, receiver] = deque()
            self.shown[sender, receiver] = {}
            self.send(sender, receiver, {"Register": {"agent": agent_type}})

    def unlink(self, one: str, other: str) -> None:
        """The link fails: what is under way is lost."""
        if (one, other) not in self.queues:
            return
        for sender, receiver in ((one, other), (other, one)):
            del self.queues[sender, receiver]
            if self.nodes[receiver].alive:
                self.nodes[receiver].core.disconnected(peer_of(sender), self.now)

    def send(self, sender: str, receiver: str, command: Command) -> None:
        self.sent.append((sender, receiver, command))
        queue = self.queues.get((sender, receiver))
        if queue is not None:
            queue.append(msgspec.json.encode(command))

    def deliver(self, pair: tuple[str, str]) -> None:
        command = msgspec.json.decode(self.queues[pair].popleft())
        if "Update" in command:
            self.check_version(pair, command["Update"]["job"])
        self.nodes[pair[1]].received(pair[0], command)

    def check_version(self, pair: tuple[str, str], job: Command) -> None:
        """On one link a job never goes back, and has one terminal state."""
        seen, state = self.shown[pair].get(job["id"], (0, ""))
        assert job["version"] >= seen, f"{pair}: {job['id']} goes back from {seen} to {job['version']}"
        assert state not in ("Complete", "Error") or state == job["state"], f"{pair}: {job['id']} ends twice"
        self.shown[pair][job["id"]] = (job["version"], job["state"])

    def settle(self, limit: int = 20_000) -> None:
        """Deliver, commit and finish until nothing is under way."""
        for _ in range(limit):
            pending = [pair for pair, queue in self.queues.items() if queue]
            busy = [node for node in self.nodes.values() if node.alive and (node.staged or node.running)]
            if not pending and not busy:
                return
            for pair in pending:
                if self.queues.get(pair):
                    self.deliver(pair)
            for node in busy:
                node.commit()
                for running in list(node.running):
                    node.finish(running)
        raise AssertionError("the world does not come to rest")

    def advance(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, settling after each tick."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            for node in self.nodes.values():
                if node.alive:
                    node.tick()
            self.settle()

    def ask(self, node: str, peer: str, command: str, lifetime: int = 300) -> str:
        """A client of `node` asks `peer`; returns the job's id."""
        job = new_job(command, self.nodes[node].now, lifetime)
        self.nodes[node].core.submit(peer_of(peer), job, "default", self.nodes[node].now)
        self.nodes[node].flush()
        return job.id

    def outcome(self, node: str, id: str) -> Job:
        [job] = [job for job in self.nodes[node].finished if job.id == id]
        return job

    def told(self, sender: str, receiver: str, kind: str) -> list[Any]:
        """The bodies of the commands of one kind that one node sent another."""
        return [c[kind] for s, r, c in self.sent if (s, r) == (sender, receiver) and kind in c]


def new_job(command: str, now: float, lifetime: int = 300, id: str | None = None, version: int = 2) -> Job:
    at = int(now)
    return Job(id or str(uuid.uuid4()), at, at, at + lifetime, version, command, State.PENDING)


def facility(auto: bool = True, started: bool = True) -> World:
    """bridge, brics (portal), aip1 (provider), clusters (platform), shared (instance) and its three leaves."""
    world = World(auto)
    for name, role in (("bridge", bridge), ("brics", portal), ("aip1", relay("Provider"))):
        world.add(name, role)
    world.add("clusters", relay("Platform"))
    world.add("shared", instance)
    world.add("account", leaf("Account"), Accounts())
    world.add("filesystem", leaf("Filesystem"), System())
    world.add("scheduler", leaf("Scheduler"), System())
    for one, other in (("bridge", "brics"), ("brics", "aip1"), ("aip1", "clusters"), ("clusters", "shared")):
        world.neighbours(one, other)
    for name in ("account", "filesystem", "scheduler"):
        world.neighbours("shared", name)
    if started:
        world.start()
        world.settle()
    return world


def southbound(instruction: str) -> str:
    """What a bridge's client asks of the machine of `facility`."""
    return f"bridge.brics submit brics.aip1.clusters.shared {instruction}"


def open_anywhere(world: World, at_least_seconds: float = 0.0) -> list[str]:
    """Jobs that are open and live that long still, as `node: command`."""
    return [
        f"{node.name}: {entry.job.command}"
        for node in world.nodes.values()
        for _, entry in node.core.open_jobs()
        if entry.job.expires > node.now + at_least_seconds
    ]


def unaccounted(world: World) -> list[str]:
    """Jobs that one node has on its disk as received and whose sender has no record of having sent them."""
    sent = {(n.name, e.id, s) for n in world.nodes.values() for s, e, _ in n.log if isinstance(e, Sent)}
    return [
        f"{node.name}: {event.command}"
        for node in world.nodes.values()
        for stream, event, _ in node.log
        if isinstance(event, Received)
        and (name_of(stream.removeprefix("board:")), event.id, f"board:{peer_of(node.name)}") not in sent
    ]
