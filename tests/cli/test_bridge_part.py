"""What a bridge runs beside its agent, with a portal software that never answers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from openportal.bridge.signals import AT_ONCE_MAX_SIGNALS
from openportal.cli.bridge_part import BridgePart
from openportal.cli.compose import build_agent, parts_of
from openportal.cli.metrics_part import MetricsPart
from openportal.cli.operator_part import OperatorPart
from openportal.errors import ConfigError
from openportal.paddington import config
from openportal.paddington.config import AgentConfig, MetricsSection
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl

HOST = "127.0.0.1"
WAIT_SECONDS = 10.0
SECRET = "ab" * 32


def settings(folder: Path, signal_url: str, port: int = 1) -> AgentConfig:
    text = f"""
agent = "Bridge"
[service]
name = "bridge"
url = "ws://{HOST}:1"
ip = "{HOST}"
port = 1
[bridge]
url = "http://{HOST}:{port}"
ip = "{HOST}"
port = {port}
signal_url = "{signal_url}"
[bridge.key]
data = "{SECRET}"
"""
    return config.parse(text, folder / "bridge.toml")


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not what():  # noqa: ASYNC110  # what is waited for is anything
            await asyncio.sleep(0.005)


class Software:
    """Takes connections, and says nothing."""

    def __init__(self) -> None:
        self.called = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._called, HOST, 0)
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}/signal"

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.called += 1
        self._writers.append(writer)

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()


@pytest.fixture
async def software() -> AsyncIterator[Software]:
    software = Software()
    await software.start()
    yield software
    await software.stop()


class Portal:
    """Puts awards on the bridge."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.bridge = Peer("bridge", "default")
        self.updates: list[str] = []
        self.links = network.exchange("brics", [self.bridge], self)

    def connected(self, peer: Peer) -> None:
        self.links.send(self.bridge, '{"Register": {"agent": "Portal"}}')

    def disconnected(self, peer: Peer, reason: str) -> None:
        pass

    def received(self, peer: Peer, text: str) -> None:
        if "Update" in text:
            self.updates.append(text)

    def put(self, project: str) -> None:
        now = int(time.time())
        job = {"id": str(uuid4()), "created": now, "changed": now, "expires": now + 60, "version": 2}
        command = f"brics.bridge.cluster1 create_project {project} {{}}"
        self.links.send(self.bridge, json.dumps({"Put": {"job": {**job, "command": command, "state": "Pending"}}}))


def make(found: AgentConfig, network: MemoryNetwork) -> tuple[Agent, BridgePart]:
    peers = [Peer("brics", "default")]
    agent = build_agent(found, "op-bridge", lambda agent: network.exchange("bridge", peers, agent))
    agent.core.neighbours = ["brics@default"]
    agent.control = control = AgentControl(agent)
    return agent, BridgePart(found, agent, control)


async def test_jobs_that_the_software_is_being_told_of_outlive_a_stop(tmp_path: Path, software: Software) -> None:
    network = MemoryNetwork()
    portal = Portal(network)
    agent, part = make(settings(tmp_path, software.url), network)
    part._port = 0
    await agent.start()
    await part.start()
    await portal.links.start()
    await until(lambda: agent.core.types)
    count = AT_ONCE_MAX_SIGNALS + 8  # the last ones wait until the software is done with others
    for number in range(count):
        portal.put(f"p{number}.allocator")
    await until(lambda: software.called == AT_ONCE_MAX_SIGNALS)
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://{HOST}:{part.server.port}/")).text == "null"
    await part.stop()
    await agent.stop()
    await portal.links.stop()
    assert len(agent.core.board("brics@default").open) == count
    assert portal.updates == []


async def test_a_port_that_is_taken_is_told_and_a_stop_ends_what_began(tmp_path: Path, software: Software) -> None:
    with socket.create_server((HOST, 0)) as taken:
        agent, part = make(settings(tmp_path, software.url, taken.getsockname()[1]), MemoryNetwork())
        await agent.start()
        with pytest.raises(ConfigError, match="cannot listen on"):
            await part.start()
        await part.stop()
        await agent.stop()
        assert part._signaller._consumer is None


async def test_a_bridge_without_its_table_says_how_to_get_one(tmp_path: Path, software: Software) -> None:
    found = settings(tmp_path, software.url)
    agent, _ = make(found, MemoryNetwork())
    with pytest.raises(ConfigError, match=r"has no \[bridge\] table"):
        BridgePart(dataclasses.replace(found, bridge=None), agent, AgentControl(agent))


async def test_what_runs_beside_an_agent(tmp_path: Path, software: Software) -> None:
    found = settings(tmp_path, software.url)
    agent, _ = make(found, MemoryNetwork())
    control = AgentControl(agent)
    assert [type(part) for part in parts_of(found, agent, control)] == [OperatorPart, BridgePart]
    measured = dataclasses.replace(found, metrics=MetricsSection(port=9100))
    assert [type(part) for part in parts_of(measured, agent, control)] == [OperatorPart, MetricsPart, BridgePart]
    portal = dataclasses.replace(found, agent="Portal")
    assert [type(part) for part in parts_of(portal, agent, control)] == [OperatorPart]
