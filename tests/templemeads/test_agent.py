"""The runtime: what leaves an agent is on its disk first, and what its disk knows survives it."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from openportal.agents.roles import LeafRole
from openportal.errors import CommitFailed, InvalidJob, JobError
from openportal.grammar.instructions import AddProject, Instruction, IsExistingProject
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import MAX_RUNNING, Agent
from openportal.templemeads.board import MAX_OPEN_JOBS
from openportal.templemeads.events import (
    EVENTS,
    AgentStarted,
    AgentStopped,
    Ended,
    Intended,
    Observed,
    OfferingsSet,
    Started,
)
from openportal.templemeads.handlers import Handler, Run
from openportal.templemeads.job import Job
from openportal.templemeads.ledger import Event, Settings, open_reader
from openportal.templemeads.ledger.store import EVENTS_PER_UNIT
from openportal.templemeads.witness import REPLICA_SECONDS, LogMark

WAIT_SECONDS = 5.0
LOOK = "is_existing_project demo.brics"
CHANGE = "add_project demo.brics"
Handlers = Mapping[type[Instruction], Handler]


def look(run: Run, instruction: IsExistingProject) -> bool:
    return True


async def nothing() -> None:
    pass


async def change(run: Run, instruction: AddProject) -> str:
    await run.effect("add project", str(instruction.project), nothing)
    return "demo.brics:brics.demo"


class Pair:
    """`ping` asks, `pong` has the leaf; each has a ledger in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = MemoryNetwork()
        self.agents: dict[str, Agent] = {}

    def make(self, name: str, peer: str, agent_type: str, handlers: Handlers) -> Agent:
        peers = [Peer(peer, "default")]
        settings = Settings(path=self.folder / name, owner=name)
        role = LeafRole(agent_type, handlers)
        agent = Agent(name, role, handlers, settings, peers, lambda one: self.network.exchange(name, peers, one))
        self.agents[name] = agent
        return agent

    async def start(self, handlers: Handlers) -> tuple[Agent, Agent]:
        pong, ping = self.make("pong", "ping", "Account", handlers), self.make("ping", "pong", "Instance", {})
        await pong.start()
        await ping.start()
        return ping, pong

    async def ask(self, instruction: str) -> Job:
        ping = self.agents["ping"]
        id = await ping.submit("pong@default", f"ping.pong {instruction}", "test", 60)
        job = await ping.finished("pong@default", id, WAIT_SECONDS)
        assert job is not None
        return job

    def log(self, name: str) -> list[Event]:
        """What is on the disk of an agent."""
        with open_reader(Settings(path=self.folder / name), EVENTS) as reader:
            return [recorded.event for recorded in reader.records()]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    for agent in pair.agents.values():
        await agent.stop()


def watched(agent: Agent) -> list[str]:
    """Commits and sends of an agent, in the order in which they happen."""
    seen: list[str] = []
    backend: Any = agent.ledger._backend
    commit, send = backend.commit, agent.links.send

    def committing() -> None:
        commit()
        seen.append("commit")

    def sending(peer: Peer, text: str) -> None:
        seen.append(text.split('"', 2)[1])
        send(peer, text)

    backend.commit, agent.links.send = committing, sending  # type: ignore[method-assign]
    return seen


def break_disk(agent: Agent) -> None:
    def failing() -> None:
        raise OSError("no space left on the device")

    agent.ledger._backend.commit = failing  # type: ignore[method-assign]


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not what():  # noqa: ASYNC110  # what is waited for is anything
            await asyncio.sleep(0.005)


async def test_a_look_is_one_commit_and_its_answer_comes_after(pair: Pair) -> None:
    _, pong = await pair.start({IsExistingProject: look})
    await pair.ask(LOOK)
    seen = watched(pong)
    assert (await pair.ask(LOOK)).result == "true"
    assert seen == ["commit", "Update"]


async def test_a_change_is_two_commits(pair: Pair) -> None:
    _, pong = await pair.start({AddProject: change, IsExistingProject: look})
    await pair.ask(LOOK)
    seen = watched(pong)
    assert (await pair.ask(CHANGE)).result_type == "ProjectMapping"
    assert seen == ["commit", "commit", "Update"]


async def test_an_effect_waits_until_its_intent_is_on_the_disk(pair: Pair) -> None:
    found: list[list[str]] = []

    async def effect() -> None:
        found.append([event.target or "" for event in pair.log("pong") if isinstance(event, Intended)])

    async def handler(run: Run, instruction: AddProject) -> str:
        await run.effect("add project", "demo.brics", effect)
        return "demo.brics:brics.demo"

    await pair.start({AddProject: handler})
    await pair.ask(CHANGE)
    assert found == [["demo.brics"]]
    assert [event.ok for event in pair.log("pong") if isinstance(event, Observed)] == [True]
    assert pair.agents["pong"].effects == {("add project", "done"): 1}


async def test_what_went_wrong_is_recorded_and_told(pair: Pair) -> None:
    async def broken() -> None:
        raise OSError("the disk is on fire")

    async def handler(run: Run, instruction: AddProject) -> None:
        await run.effect("add project", "demo.brics", broken)

    def refusing(run: Run, instruction: IsExistingProject) -> bool:
        raise InvalidJob("not this one")

    await pair.start({AddProject: handler, IsExistingProject: refusing})
    job = await pair.ask(CHANGE)
    assert (job.error_kind, "the disk is on fire" in (job.result or "")) == ("run", True)
    [observed] = [event for event in pair.log("pong") if isinstance(event, Observed)]
    assert (observed.ok, observed.detail) == (False, "the disk is on fire")
    assert pair.agents["pong"].effects == {("add project", "failed"): 1}
    assert (await pair.ask(LOOK)).error == {"kind": "invalid", "message": "not this one"}


async def test_work_that_was_cut_off_is_done_again(pair: Pair) -> None:
    begun, runs = asyncio.Event(), []

    async def slow_at_first(run: Run, instruction: AddProject) -> str:
        runs.append(run.job_id)
        begun.set()
        if len(runs) == 1:
            await asyncio.Event().wait()
        return "demo.brics:brics.demo"

    handlers = {AddProject: slow_at_first}
    ping, pong = await pair.start(handlers)
    id = await ping.submit("pong@default", f"ping.pong {CHANGE}", "test", 60)
    await asyncio.wait_for(begun.wait(), WAIT_SECONDS)
    await pong.stop()
    await pair.make("pong", "ping", "Account", handlers).start()
    job = await ping.finished("pong@default", id, WAIT_SECONDS)
    assert job is not None and job.result == '"demo.brics:brics.demo"'
    assert runs == [id, id]
    assert [event.attempt for event in pair.log("pong") if isinstance(event, Started)] == [1, 2]


async def test_a_commit_that_fails_lets_nothing_out(pair: Pair) -> None:
    ping, pong = await pair.start({AddProject: change, IsExistingProject: look})
    await pair.ask(LOOK)
    effects: list[str] = []

    break_disk(pong)
    seen: list[str] = []
    pong.links.send = lambda peer, text: seen.append(text)  # type: ignore[method-assign]
    id = await ping.submit("pong@default", f"ping.pong {CHANGE}", "test", 60)
    assert pong.failed is not None
    assert "no space left" in await asyncio.wait_for(pong.failed, WAIT_SECONDS)
    assert (seen, effects, pong.links.connected_peers()) == ([], [], ())
    with pytest.raises(CommitFailed):
        await pong.committed()
    await pong.stop()
    await pair.make("pong", "ping", "Account", {AddProject: change}).start()
    job = await ping.finished("pong@default", id, WAIT_SECONDS)
    assert job is not None and job.result == '"demo.brics:brics.demo"'


async def test_whoever_waits_for_a_commit_is_told_that_it_failed(pair: Pair) -> None:
    ping, _ = await pair.start({IsExistingProject: look})
    break_disk(ping)
    with pytest.raises(CommitFailed):
        await asyncio.wait_for(ping.submit("pong@default", f"ping.pong {LOOK}", "test", 60), WAIT_SECONDS)


async def test_jobs_wait_for_a_peer_that_is_away(pair: Pair) -> None:
    ping = pair.make("ping", "pong", "Instance", {})
    await ping.start()
    id = await ping.submit("pong@default", f"ping.pong {LOOK}", "test", 60)
    waiting = await ping.finished("pong@default", id, 0.05)
    assert waiting is not None and not waiting.finished
    await pair.make("pong", "ping", "Account", {IsExistingProject: look}).start()
    job = await ping.finished("pong@default", id, WAIT_SECONDS)
    assert job is not None and job.result == "true"


async def test_a_peer_of_another_type_is_turned_away(pair: Pair) -> None:
    pong = pair.make("pong", "ping", "Account", {IsExistingProject: look})
    pong.declared = {"ping@default": "Portal"}
    await pong.start()
    await pair.make("ping", "pong", "Instance", {}).start()
    await until(lambda: not pong.links.connected_peers())
    assert "ping@default" not in pong.core.types


async def test_what_cannot_be_read_leaves_the_link(pair: Pair) -> None:
    ping, pong = await pair.start({IsExistingProject: look})
    await pair.ask(LOOK)
    for text in (
        "",
        "[]",
        "{",
        '{"Put": 3}',
        '{"Put": {"job": {}}}',
        '{"Nothing": {}}',
        "null",
        '{"Sync": {"state": []}}',
    ):
        ping.links.send(Peer("pong", "default"), text)
    assert (await pair.ask(LOOK)).result == "true"
    assert pong.core.rejected >= 5


async def test_a_slow_job_holds_up_no_other(pair: Pair) -> None:
    let_go = asyncio.Event()

    async def slow(run: Run, instruction: AddProject) -> str:
        await let_go.wait()
        return "demo.brics:brics.demo"

    await pair.start({AddProject: slow, IsExistingProject: look})
    asking: Awaitable[Job] = asyncio.ensure_future(pair.ask(CHANGE))
    assert (await pair.ask(LOOK)).result == "true"
    let_go.set()
    assert (await asking).result == '"demo.brics:brics.demo"'


async def test_a_start_is_on_the_disk_before_it_is_told(pair: Pair) -> None:
    await pair.make("pong", "ping", "Account", {}).start()
    assert [type(event) for event in pair.log("pong")] == [AgentStarted]


async def test_a_stopped_agent_starts_from_its_checkpoint(pair: Pair) -> None:
    _, pong = await pair.start({IsExistingProject: look})
    job = await pair.ask(LOOK)
    await pong.stop()
    again = pair.make("pong", "ping", "Account", {IsExistingProject: look})
    await again.start()
    assert again.ledger.checkpoint() is not None
    found = again.core.board("ping@default").find(job.id)
    assert found is not None and found.result == "true"


# --- who waits for a commit -------------------------------------------------------------------------------------------


async def test_a_client_is_told_of_an_end_that_is_on_the_disk(pair: Pair) -> None:
    await pair.start({IsExistingProject: look})
    job = await pair.ask(LOOK)
    assert job.id in [event.id for event in pair.log("ping") if isinstance(event, Ended)]


async def test_a_client_whose_wait_is_over_is_told_no_end_that_is_not_on_the_disk(pair: Pair) -> None:
    ping, _ = await pair.start({IsExistingProject: look})
    gate = HeldBack(ping)
    id = await ping.submit("pong@default", f"ping.pong {LOOK}", "test", 60)
    board = ping.core.board("pong@default")

    async def too_long(id: str, wait_seconds: float) -> None:
        gate.close()
        await until(lambda: (job := board.find(id)) is not None and job.finished)

    ping._end_of = too_long  # type: ignore[method-assign, assignment]
    asking = asyncio.ensure_future(ping.finished("pong@default", id, WAIT_SECONDS))
    await until(lambda: gate.waiting)
    assert not asking.done()
    gate.open()
    job = await asking
    assert job is not None and job.result == "true"


class HeldBack:
    """Puts the commits of an agent off, between `close` and `open`."""

    def __init__(self, agent: Agent) -> None:
        self.waiting: list[Callable[[], None]] = []
        self._commits = agent.ledger._commits
        self._flush = self._commits._flush

    def close(self) -> None:
        self._commits._flush = lambda deliver=True: self.waiting.append(self._flush)  # type: ignore[method-assign]

    def open(self) -> None:
        self._commits._flush = self._flush  # type: ignore[method-assign]
        self._flush()


async def test_a_client_that_waits_for_an_end_is_told_when_the_disk_fails(pair: Pair) -> None:
    ping = pair.make("ping", "pong", "Instance", {})
    await ping.start()
    id = await ping.submit("pong@default", f"ping.pong {LOOK}", "test", 60)
    asking = asyncio.ensure_future(ping.finished("pong@default", id, WAIT_SECONDS))
    await asyncio.sleep(0)
    break_disk(ping)
    ping.core.offer(["cluster.brics.other"], 0.0)
    ping.perform()
    with pytest.raises(CommitFailed):
        await asking


async def test_what_the_log_cannot_hold_is_not_believed_either(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _, pong = await pair.start({IsExistingProject: look})
    await pair.ask(LOOK)
    monkeypatch.setattr("openportal.templemeads.ledger.store.EVENTS_PER_UNIT", 0)
    seen = watched(pong)
    pong.core.offer(["cluster.brics.other"], 0.0)
    pong.perform()
    assert pong.failed is not None and "split it" in await asyncio.wait_for(pong.failed, WAIT_SECONDS)
    assert (seen, pong.links.connected_peers()) == ([], ())
    with pytest.raises(CommitFailed):
        await pong.committed()
    monkeypatch.undo()
    await pong.stop()
    again = pair.make("pong", "ping", "Account", {IsExistingProject: look})
    await again.start()
    assert again.core.offerings == []


def test_a_unit_holds_the_end_of_every_job_of_several_boards() -> None:
    assert EVENTS_PER_UNIT >= 10 * MAX_OPEN_JOBS


async def test_an_agent_stops_on_a_disk_that_fails(pair: Pair) -> None:
    _, pong = await pair.start({IsExistingProject: look})
    break_disk(pong)
    await pong.stop()
    await pair.make("pong", "ping", "Account", {IsExistingProject: look}).start()
    assert (await pair.ask(LOOK)).result == "true"


# --- handlers ---------------------------------------------------------------------------------------------------------


async def test_a_leaf_asks_back(pair: Pair) -> None:
    said: list[object] = []

    async def asking(run: Run, instruction: AddProject) -> str:
        said.append(await run.ask("there", "Instance", LOOK))
        for step, agent in (("refused", "Instance"), ("nobody", "nobody")):
            try:
                await run.ask(step, agent, "is_existing_user alice.demo.brics")
            except JobError as error:
                said.append(error.wire_kind)
        return "demo.brics:brics.demo"

    pong, ping = pair.make("pong", "ping", "Account", {AddProject: asking}), pair.make("ping", "pong", "Instance", {})
    ping.role = ping.core.role = LeafRole("Instance", {IsExistingProject: look})
    ping._handlers = {IsExistingProject: look}
    await pong.start()
    await ping.start()
    assert (await pair.ask(CHANGE)).error is None
    assert said == [True, "unsupported", "unroutable"]
    assert pong._steps == {}


async def test_a_leaf_tells_how_far_it_is(pair: Pair) -> None:
    told = asyncio.Event()

    async def working(run: Run, instruction: AddProject) -> str:
        run.progress("half way")
        await told.wait()
        return "demo.brics:brics.demo"

    ping, _ = await pair.start({AddProject: working})
    asking = asyncio.ensure_future(pair.ask(CHANGE))
    await until(lambda: any(entry.job.result == "half way" for _, entry in ping.core.open_jobs()))
    told.set()
    assert (await asking).error is None


async def test_a_second_replica_with_a_log_of_its_own_is_sent_away(pair: Pair, tmp_path: Path) -> None:
    ping, pong = await pair.start({IsExistingProject: look})
    assert (await pair.ask(LOOK)).error is None
    await pong.stop()
    twin = pair.make("pong", "ping", "Account", {IsExistingProject: look})
    twin._settings = Settings(path=tmp_path / "twin", owner="pong")
    await twin.start()
    await until(lambda: not twin.links.connected_peers())
    assert not ping.core.board("pong@default").linked
    ping.clock = lambda: time.time() + REPLICA_SECONDS + 1
    verdict = ping.core.judge_log("pong@default", LogMark(twin.ledger.ledger_id, 1, 1, ""), ping.clock())
    assert verdict.warning is not None


async def test_a_disk_that_is_nearly_full_takes_no_new_jobs(pair: Pair) -> None:
    _, pong = await pair.start({IsExistingProject: look})
    pong._ledger._settings = dataclasses.replace(pong._settings, low_space_bytes=2**62)  # type: ignore[union-attr]
    pong._ledger._space_checked = -10.0  # type: ignore[union-attr]
    await pong._tick()
    job = await pair.ask(LOOK)
    assert job.error_kind == "unavailable"
    assert "nearly full" in (job.result or "")
    pong.core.types["ping@default"] = "Scheduler"  # what a leaf asks in the middle of a job passes
    assert (await pair.ask("is_existing_project other.brics")).error is None


async def test_a_question_that_was_answered_is_not_asked_again(pair: Pair) -> None:
    answers: list[object] = []

    async def asking(run: Run, instruction: AddProject) -> str:
        answers.append(await run.ask("there", "Instance", LOOK))
        if len(answers) == 1:
            await asyncio.Event().wait()
        return "demo.brics:brics.demo"

    looks: list[str] = []
    pong, ping = pair.make("pong", "ping", "Account", {AddProject: asking}), pair.make("ping", "pong", "Instance", {})
    ping.role = ping.core.role = LeafRole("Instance", {IsExistingProject: look})
    ping._handlers = {IsExistingProject: lambda run, instruction: looks.append(run.job_id) or True}
    await pong.start()
    await ping.start()
    id = await ping.submit("pong@default", f"ping.pong {CHANGE}", "test", 60)
    await until(lambda: answers)
    await pong.stop()
    again = pair.make("pong", "ping", "Account", {AddProject: asking})
    await again.start()
    job = await ping.finished("pong@default", id, WAIT_SECONDS)
    assert job is not None and job.error is None
    assert (answers, len(looks), again._steps) == ([True, True], 1, {})


async def test_what_was_observed_before_a_stop_is_on_record(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openportal.templemeads.agent.TICK_SECONDS", 3600)
    done = asyncio.Event()

    async def handler(run: Run, instruction: AddProject) -> None:
        await run.effect("add project", "demo.brics", nothing)
        done.set()
        await asyncio.Event().wait()

    ping, pong = await pair.start({AddProject: handler})
    await ping.submit("pong@default", f"ping.pong {CHANGE}", "test", 60)
    await done.wait()
    await pong.stop()
    assert [event.ok for event in pair.log("pong") if isinstance(event, Observed)] == [True]


@pytest.mark.parametrize("value", ["\ud800", float], ids=["text", "object"])
async def test_a_result_that_cannot_be_told_is_a_failure(pair: Pair, value: object) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no words for it")

    async def handler(run: Run, instruction: AddProject) -> object:
        return Odd() if value is float else value

    await pair.start({AddProject: handler, IsExistingProject: lambda run, i: Odd() if value is float else value})
    for instruction in (CHANGE, LOOK):
        job = await pair.ask(instruction)
        assert job.error_kind == "run"
        assert "what it answered cannot be told" in (job.result or "")


async def test_names_that_are_no_text_are_told_as_far_as_they_can_be(pair: Pair) -> None:
    name = os.fsdecode(b"/scratch/\xff")

    async def broken() -> None:
        raise PermissionError(13, "Permission denied", name)

    async def handler(run: Run, instruction: AddProject) -> None:
        await run.effect("remove", name, broken)

    _, pong = await pair.start({AddProject: handler})
    job = await pair.ask(CHANGE)
    assert job.error_kind == "run" and "/scratch/\\udcff" in (job.result or "")
    assert pong.failed is not None and not pong.failed.done()


async def test_no_more_than_so_many_changes_run_at_once(pair: Pair) -> None:
    begun, let_go = [], asyncio.Event()

    async def slow(run: Run, instruction: AddProject) -> str:
        begun.append(str(instruction.project))
        await let_go.wait()
        return f"{instruction.project}:x"

    ping, _ = await pair.start({AddProject: slow, IsExistingProject: look})
    ids = [
        await ping.submit("pong@default", f"ping.pong add_project p{number}.brics", "test", 60)
        for number in range(MAX_RUNNING + 3)
    ]
    assert (await pair.ask(LOOK)).result == "true"
    await until(lambda: len(begun) >= MAX_RUNNING)
    assert (await pair.ask(LOOK)).result == "true"
    assert len(begun) == MAX_RUNNING
    let_go.set()
    for id in ids:
        job = await ping.finished("pong@default", id, WAIT_SECONDS)
        assert job is not None and job.error is None
    assert len(begun) == len(ids)


async def test_work_that_never_began_is_dropped_without_a_word(pair: Pair) -> None:
    async def slow(run: Run, instruction: AddProject) -> None:
        await asyncio.Event().wait()

    ping, pong = await pair.start({AddProject: slow})
    for number in range(MAX_RUNNING + 3):
        await ping.submit("pong@default", f"ping.pong add_project p{number}.brics", "test", 60)
    await until(lambda: len(pong._tasks) == MAX_RUNNING + 4)
    await pong.stop()
    gc.collect()  # a coroutine that was never awaited would be warned of here
    assert sum(1 for _ in pong.core.open_jobs()) == MAX_RUNNING + 3


# --- neighbours -------------------------------------------------------------------------------------------------------


class Neighbour:
    """A peer of `ping` that says what the test wants, and keeps the kinds of what it hears."""

    def __init__(self, pair: Pair, name: str = "pong") -> None:
        self.heard: list[str] = []
        self.peer = Peer("ping", "default")
        self.links = pair.network.exchange(name, [self.peer], self)

    def connected(self, peer: Peer) -> None:
        pass

    def disconnected(self, peer: Peer, reason: str) -> None:
        self.heard.append("disconnected")

    def received(self, peer: Peer, text: str) -> None:
        self.heard.append(text.split('"', 2)[1])

    def say(self, text: str) -> None:
        self.links.send(self.peer, text)


async def test_jobs_wait_until_a_peer_has_said_what_it_is(pair: Pair) -> None:
    ping, pong = pair.make("ping", "pong", "Instance", {}), Neighbour(pair)
    await ping.start()
    await pong.links.start()
    await ping.submit("pong@default", f"ping.pong {LOOK}", "test", 60)
    await until(lambda: pong.heard)
    assert pong.heard == ["Register"]
    pong.say('{"Register": {"agent": "Account"}}')
    await until(lambda: len(pong.heard) > 1)
    await ping.submit("pong@default", f"ping.pong {CHANGE}", "test", 60)
    await until(lambda: len(pong.heard) > 2)
    assert pong.heard == ["Register", "Sync", "Put"]
    await pong.links.stop()


class Told:
    """A control plane that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def received(self, peer: str, kind: str, body: Any) -> None:
        self.seen.append(kind)

    def staged(self, events: Any, at: float) -> None:
        self.seen.append("staged")

    def ended(self, job: Job, seconds: float) -> None:
        self.seen.append(f"ended {job.state}")

    def registered(self, peer: str) -> None:
        self.seen.append("registered")

    def disconnected(self, peer: str) -> None:
        self.seen.append("disconnected")


async def test_what_waits_for_a_peer_is_not_told_to_one_that_is_turned_away(pair: Pair) -> None:
    ping, pong = pair.make("ping", "pong", "Instance", {}), Neighbour(pair)
    ping.declared, ping.control = {"pong@default": "Account"}, Told()
    await ping.start()
    await pong.links.start()
    pong.say('{"Register": {"agent": "Portal"}}')
    await until(lambda: "disconnected" in ping.control.seen)
    assert "registered" not in ping.control.seen
    await until(lambda: pong.heard.count("Register") == 2)  # it may come again
    pong.say('{"Register": {"agent": "Account"}}')
    await until(lambda: "registered" in ping.control.seen)
    await pong.links.stop()


async def test_what_was_not_stored_is_not_counted(pair: Pair) -> None:
    _, pong = await pair.start({IsExistingProject: look})
    await pair.ask(LOOK)
    break_disk(pong)
    pong.core.offer(["cluster.brics.other"], 0.0)
    pong.perform()
    assert pong.failed is not None
    await asyncio.wait_for(pong.failed, WAIT_SECONDS)
    pong.control = control = Told()
    put = {"id": str(uuid4()), "created": 1, "changed": 1, "expires": 1 << 33, "version": 2, "state": "Pending"}
    command = {"command": f"ping.pong {LOOK}"}
    pong.received(Peer("ping", "default"), json.dumps({"Put": {"job": put | command}}))
    assert control.seen == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", "{}", "[" * 100_000, '{"Put":' * 5_000, '{"Put": 3}', '{"Update": {"job": []}}'],
    ids=lambda text: text[:10],
)
async def test_what_cannot_be_read_is_counted(pair: Pair, text: str) -> None:
    _, pong = await pair.start({IsExistingProject: look})
    before = pong.core.rejected
    pong.received(Peer("ping", "default"), text)
    assert pong.core.rejected == before + 1
    assert (await pair.ask(LOOK)).result == "true"


@pytest.mark.parametrize("state", ["[1]", "3", '"x"', '{"jobs": 3}', "null"])
async def test_a_sync_without_jobs_is_an_empty_one(pair: Pair, state: str) -> None:
    _, pong = await pair.start({IsExistingProject: look})
    pong.core.board("ping@default").synced = False
    pong.received(Peer("ping", "default"), f'{{"Sync": {{"state": {state}}}}}')
    assert pong.core.board("ping@default").synced


@pytest.mark.parametrize("error", [ZeroDivisionError("a mistake"), InvalidJob("no")], ids=["ours", "theirs"])
async def test_a_command_that_we_stumble_over_is_counted_and_what_was_decided_is_stored(
    pair: Pair, error: Exception
) -> None:
    _, pong = await pair.start({IsExistingProject: look})
    await pair.ask(LOOK)
    before = pong.core.rejected

    def stumble(peer: str, wire: Any, now: float) -> None:
        pong.core.offer(["cluster.brics.other"], now)
        raise error

    pong.core.update = stumble  # type: ignore[method-assign]
    pong.received(Peer("ping", "default"), '{"Update": {}}')
    await pong.committed()
    assert OfferingsSet in [type(event) for event in pair.log("pong")]
    assert pong.core.rejected == before + 1
    assert (await pair.ask(LOOK)).result == "true"


# --- time -------------------------------------------------------------------------------------------------------------


async def test_a_checkpoint_is_written_when_it_is_due_and_a_start_goes_on_from_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openportal.templemeads.agent.TICK_SECONDS", 0.001)
    _, pong = await pair.start({IsExistingProject: look})
    pong._settings = dataclasses.replace(pong._settings, checkpoint_every=2)
    await pair.ask(LOOK)
    await until(lambda: pong.ledger._checkpoint_position)
    assert pong._since_checkpoint < 2


async def test_a_checkpoint_that_fails_and_a_tick_that_fails_stop_no_clock(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openportal.templemeads.agent.TICK_SECONDS", 0.001)
    _, pong = await pair.start({IsExistingProject: look})
    saves, ticks, tick = [], [], pong.core.tick

    def failing_save(state: bytes, at: float | None = None) -> None:
        saves.append(state)
        raise CommitFailed("no space left on the device")

    def failing_tick(now: float) -> None:
        ticks.append(now)
        raise ZeroDivisionError("a mistake")

    pong.ledger.save_checkpoint = failing_save  # type: ignore[method-assign]
    pong._settings = dataclasses.replace(pong._settings, checkpoint_every=1)
    await until(lambda: saves)
    pong.core.tick = failing_tick  # type: ignore[method-assign]
    await until(lambda: len(ticks) > 1)
    pong.core.tick = tick  # type: ignore[method-assign]
    pong.ledger.save_checkpoint = lambda state, at=None: None  # type: ignore[method-assign]
    id = await pair.agents["ping"].submit("pong@default", f"ping.pong {LOOK}", "test", 60)
    job = await pair.agents["ping"].finished("pong@default", id, WAIT_SECONDS)
    assert job is not None and job.result == "true"


async def test_the_leaf_is_let_go_of_when_its_handlers_have_ended(pair: Pair) -> None:
    happened: list[str] = []
    begun = asyncio.Event()

    async def handler(run: Run, instruction: AddProject) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("the handler ended")

    async def close() -> None:
        happened.append("the leaf was closed")

    ping, pong = await pair.start({AddProject: handler})
    pong.close_leaf = close
    await ping.submit("pong@default", f"ping.pong {CHANGE}", "test", 60)
    await begun.wait()
    await pong.stop()
    assert happened == ["the handler ended", "the leaf was closed"]


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_leaf_that_does_not_close_costs_no_commit(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("openportal.templemeads.agent.CLOSE_LEAF_SECONDS", 0.01)

    async def close() -> None:
        if how == "raises":
            raise OSError("the connection is stuck")
        await asyncio.Event().wait()

    _, pong = await pair.start({IsExistingProject: look})
    pong.close_leaf = close
    await pong.stop("asked to")
    assert pair.log("pong")[-1] == AgentStopped("asked to")
