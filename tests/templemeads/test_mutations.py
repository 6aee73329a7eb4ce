"""Does anything here bite? Each of these mistakes in the core must be noticed by a scenario or within a few seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from scenarios import SCENARIOS
from scenarios_aside import ASIDE
from simulation import simulate
from world import Node

from openportal.templemeads import state as state_module
from openportal.templemeads import worker as worker_module
from openportal.templemeads.board import Board
from openportal.templemeads.core import Core
from openportal.templemeads.events import Ended, Sent
from openportal.templemeads.job import Job
from openportal.templemeads.lanes import Lanes
from openportal.templemeads.outbox import Ready
from openportal.templemeads.saga import Driver

SEEDS = 120
Patch = pytest.MonkeyPatch
Mutation = Callable[[Patch], None]


def replaced(owner: type, name: str, make: Callable[[Any], Any]) -> Mutation:
    """`owner.name` becomes what `make` makes of it."""
    return lambda patch: patch.setattr(owner, name, make(getattr(owner, name)))


def nothing(owner: type, name: str, value: Any = None) -> Mutation:
    """`owner.name` does nothing and returns `value`."""
    return replaced(owner, name, lambda original: lambda *args, **kwargs: value)


def evolved(kind: type, change: Callable[[Core, Board, Any, float], None]) -> Mutation:
    return lambda patch: patch.setitem(state_module.EVOLVE, kind, change)  # type: ignore[arg-type]


def send_before_the_commit(original: Any) -> Any:
    def stage(node: Node, ready: Any) -> None:
        for peer, command in ready.sends:
            node.world.send(node.name, peer.partition("@")[0], command)
        original(node, msgspec_free(ready))

    return stage


def msgspec_free(ready: Any) -> Any:
    """The same without what leaves."""
    return Ready(ready.events, [], [], ready.held, ready.ended, ready.steps)


def forget_followers(original: Any) -> Any:
    def joined(board: Board, event: Any) -> None:
        original(board, event)
        board.open[event.leader].followers.clear()

    return joined


def resume_at_once(original: Any) -> Any:
    def take_up(core: Core, board: Board, entry: Any, now: float) -> None:
        original(core, board, entry, now)
        active = core.active.get((board.peer, entry.job.id))
        if active is not None:
            active.resumed = True

    return take_up


def without(attribute: str) -> Callable[[Any], Any]:
    """The method, but what it left in that list of the board is gone."""

    def make(original: Any) -> Any:
        def method(core: Core, board: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(core, board, *args, **kwargs)
            getattr(board if isinstance(board, Board) else core.board(board), attribute).clear()
            return result

        return method

    return make


def join_whatever_lies_between(original: Any) -> Any:
    return lambda core, board, job, subject: board.leaders.get((job.command, job.forwarded_for))


def outcome_not_recorded(original: Any) -> Any:
    def ended(core: Core, board: Board, event: Any, at: float) -> None:
        board.ended(event, at, core._next_order())

    return ended


def relay_not_recorded(original: Any) -> Any:
    def sent(core: Core, board: Board, event: Any, at: float) -> None:
        original(core, board, event, at)
        if event.via is not None and event.step is None and (asker := core.board(event.via).open.get(event.id)):
            asker.relay = None

    return sent


def silent(original: Any) -> Any:
    """The method decides as before, and what it would send is forgotten."""

    def method(core: Core, *args: Any, **kwargs: Any) -> Any:
        sends = len(core._ready.sends)
        result = original(core, *args, **kwargs)
        del core._ready.sends[sends:]
        return result

    return method


def backwards(original: Any) -> Any:
    def recover(core: Core, now: float) -> None:
        for _, entry in core.open_jobs():
            entry.order = -entry.order
        original(core, now)

    return recover


def other_ids(original: Any) -> Any:
    return lambda *args: msgspec.structs.replace(original(*args), id=str(uuid4()))


def nothing_in_sync(original: Any) -> Any:
    return lambda core, board, now: iter([{"Sync": {"state": {"jobs": []}}}])


def ends_again(original: Any) -> Any:
    """A later terminal state is passed on as if it were the first."""

    def late(core: Core, board: Board, id: str, ok: bool, now: float, job: Job | None = None) -> None:
        original(core, board, id, ok, now, job)
        if job is not None:
            for other in core.boards.values():
                other.recent.pop(id, None)
                core._ready.sends.append((other.peer, {"Update": {"job": job.to_wire()}}))

    return late


def only_the_first_step(original: Any) -> Any:
    return lambda driver, outcomes: original(driver, outcomes)[:1]


def free_the_lane_too_early(original: Any) -> Any:
    def answer(core: Core, board: Board, entry: Any, now: float, tell: bool) -> None:
        active = core.active.get((board.peer, entry.job.id))
        if active is not None:
            active.running = False
        original(core, board, entry, now, tell)

    return answer


def frees_its_lane(original: Any) -> Any:
    def abandon(core: Core, board: Board, entry: Any, now: float) -> None:
        original(core, board, entry, now)
        if entry.abandoned:
            core._leave_lane(core.active[board.peer, entry.job.id], now)

    return abandon


def all_followers_lead(original: Any) -> Any:
    def promote(board: Board, expired: Any) -> None:
        for id in expired.followers:
            if id in board.open:
                board.open[id].leader = None

    return promote


def expired_is_fine(original: Any) -> Any:
    def accept(core: Core, board: Board, job: Job, now: float) -> None:
        original(core, board, job, min(now, job.expires - 1))

    return accept


def link_always_up(original: Any) -> Any:
    return lambda core, peer: None


MUTATIONS: dict[str, Mutation] = {
    "send before the commit": replaced(Node, "stage", send_before_the_commit),
    "forget who joined": replaced(Board, "joined", forget_followers),
    "nobody leads when the leader expires": nothing(Board, "_promote"),
    "everybody leads when the leader expires": replaced(Board, "_promote", all_followers_lead),
    "resume without the sender's board": replaced(Core, "_take_up", resume_at_once),
    "never resume": nothing(Core, "recover"),
    "no resuming after half a minute": nothing(Core, "_resume_rest"),
    "no note of a late outcome": nothing(Core, "_late"),
    "a later outcome goes out": replaced(Core, "_late", ends_again),
    "lanes are always free": nothing(Lanes, "free", True),
    "nobody starts when a lane gets free": nothing(Lanes, "leave", []),
    "a lane is left while the leaf is busy": replaced(Core, "_answer", free_the_lane_too_early),
    "forget what ended while the sender was away": replaced(Core, "_answer", without("unsent")),
    "the version does not jump": lambda patch: patch.setattr(Job, "terminal_version", property(lambda j: j.version)),
    "join over a change": replaced(Core, "_leader", join_whatever_lies_between),
    "never join": nothing(Core, "_leader"),
    "outcomes of steps are not recorded": lambda patch: patch.setitem(
        state_module.EVOLVE,  # type: ignore[arg-type]
        Ended,
        outcome_not_recorded(None),
    ),
    "the relay is not recorded": lambda patch: patch.setitem(
        state_module.EVOLVE,  # type: ignore[arg-type]
        Sent,
        relay_not_recorded(Core._evolve_sent),
    ),
    "repeats are not answered": replaced(Core, "_repeated", silent),
    "refusals are not answered": replaced(Core, "_refuse", silent),
    "outcomes are not told": replaced(Core, "_answer", silent),
    "Sync is empty": replaced(Core, "_sync_commands", nothing_in_sync),
    "Sync is not read": nothing(Core, "sync"),
    "nothing expires": nothing(Core, "_expire"),
    "expired jobs are taken": replaced(Core, "_accept", expired_is_fine),
    "recovery in the wrong order": replaced(Core, "recover", backwards),
    "a step has another id every time": replaced(Core, "_step_job", other_ids),
    "outcomes are not passed on": nothing(Core, "_deliver"),
    "only one step of several is asked": replaced(Driver, "advance", only_the_first_step),
    "a lost link goes unnoticed": replaced(Core, "disconnected", link_always_up),
    "nothing is quarantined": lambda patch: patch.setattr(worker_module, "MAX_CRASHED_ATTEMPTS", 99),
    "effects without intents": lambda patch: patch.setattr(Core, "intend", lambda *args: None),
    "big bodies are forgotten at once": nothing(Board, "keep_body"),
    "changes are not remembered": nothing(Board, "_close"),
    "nothing is undone": nothing(Core, "_undo_abandoned"),
    "nothing is abandoned": nothing(Core, "_abandon"),
    "a start forgets what is to be undone": nothing(Core, "_take_up_abandoned"),
    "an undoing that nobody took is forgotten": nothing(Core, "_postpone_undo"),
    "nobody adopts": nothing(Core, "_meet_abandoned"),
    "an heir is not told what was there before": lambda patch: patch.setattr(
        state_module, "is_look", lambda step: False
    ),
    "an abandoned saga frees its lane": replaced(Core, "_abandon", frees_its_lane),
    "stops in good order count as crashes": nothing(Board, "pardon"),
    "an undoing lives no longer than its job": lambda patch: patch.setattr(worker_module, "UNDO_SECONDS", -(10**6)),
}


def attempts() -> Iterator[Callable[[], None]]:
    yield from (*SCENARIOS, *ASIDE)
    for seed in range(SEEDS):
        yield lambda seed=seed: simulate(seed)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mistake_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[name](monkeypatch)
    for attempt in attempts():
        try:
            attempt()
        except Exception:
            return
    pytest.fail(f"{name}: nobody noticed")
