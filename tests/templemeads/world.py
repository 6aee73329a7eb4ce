"""Cores in one process: links are queues, ledgers are lists, leaves are dictionaries. Time is what the test says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from openportal.errors import JobError
from openportal.grammar.instructions import Instruction
from openportal.templemeads.core import Core, Role
from openportal.templemeads.job import Job, State
from openportal.templemeads.ledger.format import Event

Leaf = Callable[[Instruction], object]


class Node:
    """One agent: a core, what it has on disk, and the leaf behind it."""

    def __init__(self, world: World, name: str, make_role: Callable[[Core | None], Role], leaf: Leaf | None) -> None:
        self.world = world
        self.name = name
        self.make_role = make_role
        self.leaf = leaf
        self.log: list[tuple[str, Event, float]] = []
        self.neighbours: list[str] = []
        self.finished: list[Job] = []
        self.held: list[Job] = []
        self.started = False

    def start(self) -> None:
        """Come up from what is on disk."""
        holder: list[Core] = []
        role = self.make_role(None)
        self.core = Core(self.name, role, [f"{n}@default" for n in self.neighbours])
        holder.append(self.core)
        for stream, event, at in self.log:
            self.core.apply(stream, event, at)
        self.started = True
        self.core.recover(self.world.now)
        self.flush()

    def crash(self) -> None:
        """Lose everything that is not on disk, links included."""
        self.started = False
        for other in self.neighbours:
            self.world.unlink(self.name, other)

    def received(self, sender: str, command: dict[str, Any]) -> None:
        peer, now = f"{sender}@default", self.world.now
        match next(iter(command)):
            case "Put":
                self.core.put(peer, command["Put"]["job"], now)
            case "Update":
                self.core.update(peer, command["Update"]["job"], now)
            case "Register":
                self.core.registered(peer, command["Register"]["agent"], now)
            case "Sync":
                self.core.sync(peer, command["Sync"]["state"]["jobs"], now)
        self.flush()

    def flush(self) -> None:
        """Store, then run and send, as the shell does."""
        while runs := self.core.take_runs():
            for peer, id in runs:
                self.run(peer, id)
        ready = self.core.take()
        self.log += [(stream, event, self.world.now) for stream, event in ready.events]
        self.finished += ready.finished
        self.held += ready.held
        for peer, command in ready.sends:
            self.world.send(self.name, peer.partition("@")[0], command)

    def run(self, peer: str, id: str) -> None:
        assert self.leaf is not None
        instruction = self.core.active[peer, id].work.instruction
        try:
            self.core.ran(peer, id, self.leaf(instruction), self.world.now)
        except JobError as error:
            self.core.ran(peer, id, None, self.world.now, error)


class World:
    """The nodes and the queues between them."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.nodes: dict[str, Node] = {}
        self.queues: dict[tuple[str, str], deque[dict[str, Any]]] = {}

    def add(self, name: str, make_role: Callable[[Core | None], Role], leaf: Leaf | None = None) -> Node:
        self.nodes[name] = node = Node(self, name, make_role, leaf)
        return node

    def neighbours(self, one: str, other: str) -> None:
        self.nodes[one].neighbours.append(other)
        self.nodes[other].neighbours.append(one)

    def start(self) -> None:
        for node in self.nodes.values():
            if not node.started:
                node.start()
        for one, node in self.nodes.items():
            for other in node.neighbours:
                if (one, other) not in self.queues:
                    self.link(one, other)

    def link(self, one: str, other: str) -> None:
        for sender, receiver in ((one, other), (other, one)):
            agent_type = self.nodes[sender].core.role.agent_type
            self.queues[sender, receiver] = deque([{"Register": {"agent": agent_type}}])

    def unlink(self, one: str, other: str) -> None:
        for pair in ((one, other), (other, one)):
            self.queues.pop(pair, None)
        for name, peer in ((one, other), (other, one)):
            if self.nodes[name].started:
                self.nodes[name].core.disconnected(f"{peer}@default")

    def send(self, sender: str, receiver: str, command: dict[str, Any]) -> None:
        queue = self.queues.get((sender, receiver))
        if queue is not None:
            queue.append(command)

    def deliver(self, pair: tuple[str, str]) -> None:
        self.nodes[pair[1]].received(pair[0], self.queues[pair].popleft())

    def settle(self, limit: int = 10_000) -> None:
        """Deliver until nothing is under way."""
        for _ in range(limit):
            pending = [pair for pair, queue in self.queues.items() if queue]
            if not pending:
                return
            self.deliver(pending[0])
        raise AssertionError("the world does not come to rest")

    def ask(self, node: str, peer: str, command: str, lifetime: int = 300) -> str:
        """A client of `node` asks `peer`; returns the job's id."""
        import uuid

        id, now = str(uuid.uuid4()), int(self.now)
        job = Job(id, now, now, now + lifetime, 2, command, State.PENDING)
        self.nodes[node].core.submit(f"{peer}@default", job, "default", self.now)
        self.nodes[node].flush()
        return id

    def outcome(self, node: str, id: str) -> Job:
        [job] = [job for job in self.nodes[node].finished if job.id == id]
        return job
