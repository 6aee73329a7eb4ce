"""A whole facility under a network, disks and leaves that do what a seed says.

Messages wait, links lose the end of what is under way and come back, agents crash with what they had not committed,
clocks differ, leaves are slow and fail, time passes. Then everything heals, and what was promised is checked: see
`Simulation.check`. One seed is one run, always the same; odd seeds are rough: more faults, more jobs, short lives.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from world import Node, System, World, facility, open_anywhere, peer_of, southbound, unaccounted

from openportal.errors import RunError
from openportal.templemeads.events import Abandoned, Adopted, Ended, Sent, Settled
from openportal.templemeads.job import Job
from openportal.templemeads.lanes import conflict

MAX_STEPS = 800
MAX_JOBS = 14
LIFETIMES_SECONDS = (300,)
ROUGH_MAX_JOBS = 25
ROUGH_LIFETIMES_SECONDS = (15, 40, 100, 300)
SKEW_SECONDS = 2.0
HEALING_SECONDS = 60
MARGIN_SECONDS = 15.0
USERS = ("alice.demo.brics", "bob.demo.brics")
PROJECT = "demo.brics"
FAULTS = ("run", "expired", "unavailable")  # what the faults of a simulation excuse
ACTIONS = {
    "deliver": 50,
    "commit": 25,
    "finish": 12,
    "progress": 2,
    "pass_time": 8,
    "submit": 6,
    "unlink": 2,
    "relink": 3,
    "crash": 1,
    "restart": 2,
    "checkpoint": 1,
}
ROUGH = {"unlink": 8, "relink": 14, "crash": 4, "restart": 8, "checkpoint": 4, "submit": 10}
QUESTIONS = (
    *(f"{verb} {user}" for verb in ("add_user", "add_user", "remove_user", "is_user_added") for user in USERS),
    *(f"{verb} {PROJECT}" for verb in ("add_project", "remove_project", "block_project")),
    *(f"{verb} {PROJECT}" for verb in ("get_usage_report", "get_users", "get_users")),
)


class Asked(NamedTuple):
    """What a client asked for, in the order of asking."""

    id: str
    verb: str
    subject: str
    changes: bool


class Simulation:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        rough = seed % 2 == 1
        self.actions = ACTIONS | ROUGH if rough else ACTIONS
        self.max_jobs = ROUGH_MAX_JOBS if rough else MAX_JOBS
        self.lifetimes = ROUGH_LIFETIMES_SECONDS if rough else LIFETIMES_SECONDS
        self.world: World = facility(auto=False)
        self.asked: list[Asked] = []
        for node in self.world.nodes.values():
            node.skew = self.random.uniform(-SKEW_SECONDS, SKEW_SECONDS)

    def run(self) -> None:
        names, weights = list(self.actions), list(self.actions.values())
        for action in self.random.choices(names, weights, k=MAX_STEPS):
            getattr(self, action)()
        self.heal()
        self.check()

    # --- what may happen ----------------------------------------------------------------------------------------------

    def alive(self) -> list[Node]:
        return [node for node in self.world.nodes.values() if node.alive]

    def deliver(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            pending = [pair for pair, queue in self.world.queues.items() if queue]
            if pending:
                self.world.deliver(self.random.choice(pending))

    def commit(self) -> None:
        for node in self.alive():
            if node.staged and self.random.random() < 0.7:
                node.commit()

    def finish(self) -> None:
        busy = [(node, running) for node in self.alive() for running in node.running]
        if busy:
            node, running = self.random.choice(busy)
            fails = self.random.random() < 0.1
            node.finish(running, RunError("the disk is full") if fails else None)

    def progress(self) -> None:
        for node in self.alive():
            for running in node.running:
                node.core.progress(running.peer, running.id, "half way", node.now)
                node.flush()

    def pass_time(self) -> None:
        self.world.now += self.random.choice((0.1, 0.2, 0.5, 0.5, 1.0, 3.0, 10.0))
        for node in self.alive():
            node.tick()

    def submit(self) -> None:
        if len(self.asked) >= self.max_jobs or not self.world["bridge"].alive:
            return
        text = self.random.choice(QUESTIONS)
        verb, _, subject = text.partition(" ")
        id = self.world.ask("bridge", "brics", southbound(text), self.random.choice(self.lifetimes))
        self.asked.append(Asked(id, verb, subject, verb.startswith(("add", "remove"))))

    def unlink(self) -> None:
        if self.world.queues:
            self.break_link(*self.random.choice(list(self.world.queues)))

    def break_link(self, one: str, other: str) -> None:
        """As TCP does it: a beginning of what is under way arrives, the rest is lost."""
        for pair in ((one, other), (other, one)):
            queue = self.world.queues.get(pair)
            for _ in range(self.random.randint(0, len(queue)) if queue else 0):
                self.world.deliver(pair)
        self.world.unlink(one, other)

    def relink(self) -> None:
        down = [pair for pair in self.world.pairs() if pair not in self.world.queues]
        up = [pair for pair in down if all(self.world[name].alive for name in pair)]
        if up:
            self.world.link(*self.random.choice(up))

    def crash(self) -> None:
        """One agent or several go down at once."""
        for node in self.random.sample(self.alive(), min(len(self.alive()), self.random.choice((1, 1, 1, 2, 3)))):
            for other in node.neighbours:
                if (node.name, other) in self.world.queues:
                    self.break_link(node.name, other)
            node.crash()

    def restart(self) -> None:
        down = [node for node in self.world.nodes.values() if not node.alive]
        if down:
            self.random.choice(down).start()

    def checkpoint(self) -> None:
        node = self.random.choice(list(self.world.nodes.values()))
        if node.alive and not node.staged:
            node.save_checkpoint()

    def heal(self) -> None:
        """Everything works again, for long enough that what can end has ended."""
        self.world.start()
        self.world.settle()
        self.world.advance(HEALING_SECONDS, step=2.0)

    # --- what must hold -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        assert not unaccounted(self.world), "something left before its commit"
        assert not open_anywhere(self.world, MARGIN_SECONDS), "something hangs though all is well"
        self.check_boards()
        self.world.advance(400, step=20.0)
        assert not [entry for node in self.alive() for _, entry in node.core.open_jobs()], "something never ends"
        self.check_clients()
        self.check_ends()
        self.check_leaves()
        self.check_abandoned()

    def check_boards(self) -> None:
        """What one side waits for, the other side works on, and the other way round."""
        for one, other in self.world.pairs():
            for here, there in ((one, other), (other, one)):
                ours = self.world[here].core.board(peer_of(there))
                theirs = self.world[there].core.board(peer_of(here))
                for entry in ours.open.values():
                    alive = entry.job.expires > self.world.now + MARGIN_SECONDS and entry.leader is None
                    assert not alive or entry.job.id in theirs.open, f"{there} does not know {entry.job.command}"

    def accepted(self) -> dict[str, Job]:
        """The jobs whose acceptance was committed, as their client sees them in the end."""
        bridge = self.world["bridge"]
        jobs = {event.id: bridge.core.board(peer_of("brics")).find(event.id) for event in bridge.events(Sent, "brics")}
        return {id: job for id, job in jobs.items() if job is not None}

    def check_clients(self) -> None:
        accepted = self.accepted()
        assert len(accepted) == len(self.world["bridge"].events(Sent, "brics"))
        for job in accepted.values():
            assert job.finished, f"{job.command} has not ended"
            assert job.error is None or job.error_kind in FAULTS, f"{job.command}: {job.result}"

    def check_ends(self) -> None:
        """Every job ends once on each board that it was on."""
        for node in self.world.nodes.values():
            ended = [(stream, event.id) for stream, event, _ in node.log if isinstance(event, Ended)]
            assert len(ended) == len(set(ended)), f"{node.name} has ended something twice"

    def check_leaves(self) -> None:
        """An add happens once; and where all went well, the last change of a subject is what stands."""
        systems = [self.world[name].leaf for name in ("account", "filesystem", "scheduler")]
        for system in systems:
            assert isinstance(system, System)
            for key, adds in system.adds.items():
                assert 0 <= adds - system.removes[key] <= 1, key
        accepted = self.accepted()
        changes = [asked for asked in self.asked if asked.changes and asked.id in accepted]
        for user in USERS:
            self.check_subject(user, [c for c in changes if conflict(c.subject, user)], accepted, systems)

    def check_abandoned(self) -> None:
        """Each abandoned saga is adopted or settled once, and what was undone is gone unless it was asked for again."""
        log = [event for _, event, _ in self.world["shared"].log]
        abandoned = [event.id for event in log if isinstance(event, Abandoned)]
        done = [event.id for event in log if isinstance(event, Adopted | Settled)]
        assert sorted(abandoned) == sorted(done), "an abandoned saga is forgotten, or settled twice"
        accounts = self.world["account"].leaf
        assert isinstance(accounts, System)
        for index, event in enumerate(log):
            if isinstance(event, Settled) and event.how == "undone" and event.subject is not None:
                asked = f" {event.subject}"
                again = [e for e in log[index:] if isinstance(e, Sent) and (e.command or "").endswith(asked)]
                assert again or event.subject not in accounts.present, f"{event.subject} was undone and is there"

    def check_subject(self, user: str, changes: list[Asked], jobs: dict[str, Job], systems: list[object]) -> None:
        if not changes or any(c.verb == "remove_project" or jobs[c.id].error is not None for c in changes):
            return
        own = [c for c in changes if c.subject == user]
        wanted = bool(own) and own[-1].verb == "add_user"
        for system in systems:
            assert isinstance(system, System)
            assert (user in system.present) is wanted, f"{user} should {'' if wanted else 'not '}be there"


def simulate(seed: int) -> None:
    """One run; raises AssertionError, with the seed, if anything promised does not hold."""
    try:
        Simulation(seed).run()
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
