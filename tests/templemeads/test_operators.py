"""The operators' socket of a running agent: who may, what is answered, what is recorded, and what it survives."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from openportal.agents.roles import RelayRole
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.events import EVENTS, Operated
from openportal.templemeads.job import Job, State
from openportal.templemeads.ledger import Settings, open_reader
from openportal.templemeads.operators import (
    MAX_CONNECTIONS,
    MAX_REQUEST_BYTES,
    SOCKET_NAME,
    Answer,
    Operator,
    Request,
    ask,
    short_name,
)

ABOVE, BELOW = "aip1@default", "shared@default"
ID = "6f2c1c8e-52a4-4c3e-9a57-0c4b7f1c2d3e"


class Running:
    """A platform agent with its operators' socket, and one job that it passed on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        network, peers = MemoryNetwork(), [Peer("aip1", "default"), Peer("shared", "default")]
        self.agent = Agent(
            "clusters", RelayRole("Platform"), {}, Settings(path=folder), peers,
            lambda agent: network.exchange("clusters", peers, agent),
        )  # fmt: skip
        self.control = AgentControl(self.agent)
        self.agent.control = self.control
        self.operator = Operator(self.agent, self.control.own_health, folder)

    async def ask(self, *words: str) -> Answer:
        return await asyncio.to_thread(ask, self.folder, Request(*words))  # type: ignore[arg-type]

    async def raw(self, text: bytes) -> bytes:
        with short_name(self.folder) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        writer.write(text)
        answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    made = Running(tmp_path / ("deep" * 40))  # longer than what the kernel takes as the name of a socket
    await made.agent.start()
    await made.operator.start()
    now = int(made.agent.clock())
    job = Job(ID, now, now, now + 120, 2, "aip1.clusters.shared add_user alice.demo.brics", State.PENDING)
    made.agent.core.put(ABOVE, job.to_wire(), now)
    await made.agent.committed()
    yield made
    await made.operator.stop()
    await made.agent.stop()


async def test_only_the_agents_own_user_finds_it(running: Running) -> None:
    path = running.folder / SOCKET_NAME
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(running.folder.stat().st_mode) == 0o700
    await running.operator.stop()
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        await running.ask("health")


async def test_health_is_told(running: Running) -> None:
    answer = await running.ask("health")
    assert answer.ok
    assert (answer.said["name"], answer.said["active_jobs"]) == ("clusters", 1)


async def test_a_job_that_was_passed_on_is_cancelled_on_both_boards_and_recorded(running: Running) -> None:
    answer = await running.ask("cancel", ID, "olga", "asked by mistake")
    assert answer == Answer(True, f"cancel: job {ID} at clusters, shared with {BELOW}")
    boards = running.agent.core.boards
    assert not boards[ABOVE].open
    assert not boards[BELOW].open
    with open_reader(Settings(path=running.folder), EVENTS) as reader:
        done = [one.event for one in reader.records() if isinstance(one.event, Operated)]
    assert done == [Operated(ID, "cancel", f"olga (uid {os.getuid()})", "asked by mistake")]
    ended = boards[ABOVE].find(ID)
    assert ended is not None
    assert "cancelled at clusters by olga" in str(ended.result)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("cancel", "nothing"), "no job nothing is open at clusters"),
        (("retry", ID), f"no job {ID} is in quarantine at clusters"),
        (("resolve", ID), f"no job {ID} is in quarantine at clusters"),
    ],
)
async def test_what_cannot_be_done_is_said(running: Running, words: Any, sentence: str) -> None:
    assert await running.ask(*words) == Answer(False, None, sentence)
    assert ID in running.agent.core.boards[ABOVE].open


@pytest.mark.parametrize(
    "text", [b"\n", b"no json\n", b"[]\n", b'{"do":"erase"}\n', b'{"do":"health","and":"more"}\n', b'{"do":1}\n']
)
async def test_what_is_no_request_is_refused(running: Running, text: bytes) -> None:
    assert b'"ok":false' in await running.raw(text)
    assert (await running.ask("health")).ok


async def test_too_much_and_too_many_are_cut_off(running: Running) -> None:
    assert await running.raw(b"x" * (2 * MAX_REQUEST_BYTES)) == b""
    held = []
    for _ in range(MAX_CONNECTIONS):
        with short_name(running.folder) as name:
            held.append(await asyncio.open_unix_connection(name))
    await asyncio.sleep(0.05)
    assert not await answers(running)
    for _, writer in held:
        writer.close()
    async with asyncio.timeout(5):
        while not await answers(running):  # noqa: ASYNC110  # it frees a place when it sees them gone
            await asyncio.sleep(0.01)


async def answers(running: Running) -> bool:
    try:
        return (await running.ask("health")).ok
    except ConnectionError:
        return False


async def test_the_socket_of_an_agent_that_was_killed_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / SOCKET_NAME))
    made = Running(folder)
    await made.agent.start()
    await made.operator.start()
    assert (await made.ask("health")).ok
    await made.operator.stop()
    await made.agent.stop()
