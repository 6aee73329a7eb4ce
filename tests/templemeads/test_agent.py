"""The runtime: what leaves an agent is on its disk first, and what its disk knows survives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from openportal.agents.roles import LeafRole
from openportal.errors import CommitFailed, InvalidJob
from openportal.grammar.instructions import AddProject, Instruction, IsExistingProject
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.events import EVENTS, AgentStarted, Intended, Observed, Started
from openportal.templemeads.handlers import Handler, Run
from openportal.templemeads.job import Job
from openportal.templemeads.ledger import Event, Settings, open_reader

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

    def failing() -> None:
        raise OSError("no space left on the device")

    pong.ledger._backend.commit = failing  # type: ignore[method-assign]
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

    def failing() -> None:
        raise OSError("gone")

    ping.ledger._backend.commit = failing  # type: ignore[method-assign]
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
