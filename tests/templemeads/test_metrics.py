"""The Prometheus endpoint."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from importlib.metadata import version
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openportal.agents.roles import RelayRole
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.job import Job, State
from openportal.templemeads.ledger import Settings
from openportal.templemeads.metrics import MAX_CONNECTIONS, MAX_REQUEST_BYTES, Metrics

Samples = dict[tuple[str, ...], float]


def samples(text: str) -> Samples:
    """(name, values of the labels in the order of their names...) -> value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    network, peers = MemoryNetwork(), [Peer("aip1", "default"), Peer("shared", "default")]
    agent = Agent(
        "clusters", RelayRole("Platform"), {}, Settings(path=tmp_path), peers,
        lambda agent: network.exchange("clusters", peers, agent),
    )  # fmt: skip
    agent.control = AgentControl(agent)
    await agent.start()
    yield agent
    await agent.stop()


@pytest.fixture
async def metrics(agent: Agent) -> AsyncIterator[Metrics]:
    assert isinstance(agent.control, AgentControl)
    metrics = Metrics(agent, agent.control)
    await metrics.start("127.0.0.1", 0)
    yield metrics
    await metrics.stop()


async def ask(metrics: Metrics, request: bytes) -> tuple[bytes, str]:
    """Status line and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", metrics.port)
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], body.decode()


async def refused(answer: Awaitable[bytes | tuple[bytes, str]]) -> bool:
    """Whether the connection ends without an answer."""
    try:
        return await asyncio.wait_for(answer, 5) in (b"", (b"", ""))
    except ConnectionError:
        return True


def put(agent: Agent, number: int, command: str) -> None:
    now = int(agent.clock())
    id = f"00000000-0000-4000-8000-{number:012d}"
    wire = Job(id, now, now, now + 60, 2, command, State.PENDING).to_wire()
    agent.core.put("aip1@default", wire, agent.clock())
    agent.perform()


async def test_scrape(agent: Agent, metrics: Metrics) -> None:
    put(agent, 1, "aip1.clusters.shared get_users p.brics")
    put(agent, 2, "aip1.clusters get_users p.brics")
    await agent.committed()
    agent.links.stats.rejected["ReplayError"] += 2
    agent.effects["create account", "done"] += 3
    status, body = await ask(metrics, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == b"HTTP/1.1 200 OK"
    found = samples(body)
    assert found["openportal_build_info", "clusters", version("openportal-agents"), "Platform", "0.94.0"] == 1
    assert found["openportal_jobs_ended_total", "failed"] == 1
    assert found["openportal_effects_total", "create account", "done"] == 3
    assert found["openportal_open_jobs", "inbound", "aip1@default"] == 1
    assert found["openportal_open_jobs", "outbound", "shared@default"] == 1
    assert found["openportal_link_up", "aip1@default"] == 0
    assert found["openportal_frames_rejected_total", "ReplayError"] == 2
    assert found["openportal_ledger_position",] == agent.ledger.position > 0
    assert found["openportal_ledger_events_total",] == agent.ledger.stats.events
    assert found["openportal_process_resident_memory_bytes",] > 1024 * 1024
    assert found["openportal_process_open_fds",] > 2


async def test_names(metrics: Metrics) -> None:
    """Each begins with `openportal_`, says what it is, and ends with its unit or is a count."""
    text = metrics.render().decode()
    names = re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE)
    assert len(names) > 25 and len(set(names)) == len(names)
    for name, kind in names:
        assert name.startswith("openportal_")
        assert re.search(rf"^# HELP {name} \S.*\.$", text, re.MULTILINE)
        assert not re.search(r"_(ms|kb|minutes)(_total)?$", name)
        assert name.endswith("_total") == (kind == "counter")


async def test_job_durations(agent: Agent, metrics: Metrics) -> None:
    control = agent.control
    assert isinstance(control, AgentControl)
    for seconds in (0.001, 0.02, 500.0):
        control.totals.times.add(seconds)
    found = samples(metrics.render().decode())
    name = "openportal_job_duration_seconds"
    assert found[f"{name}_bucket", "0.001"] == 1
    assert found[f"{name}_bucket", "120.0"] == 2
    assert found[f"{name}_bucket", "+Inf"] == found[f"{name}_count",] == 3
    assert found[f"{name}_sum",] == pytest.approx(500.021)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics?name=x HTTP/1.1\r\n\r\n", 200),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", 200),
        (b"\xff\xfe\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (2 * MAX_REQUEST_BYTES), 400),
    ],
)
async def test_requests(metrics: Metrics, request_head: bytes, status: int) -> None:
    line, body = await ask(metrics, request_head)
    assert line.split()[1] == str(status).encode()
    assert bool(body) != request_head.startswith(b"HEAD")


async def test_connections_are_bounded_and_dropped_at_the_end(metrics: Metrics) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", metrics.port) for _ in range(MAX_CONNECTIONS)]
    await asyncio.sleep(0.05)
    assert await refused(ask(metrics, b"GET /metrics HTTP/1.1\r\n\r\n"))
    await metrics.stop()
    for reader, writer in idle:
        assert await refused(reader.read())
        writer.close()
    await metrics.stop()  # twice is no mistake


async def test_two_agents_in_one_process(agent: Agent, metrics: Metrics) -> None:
    """Each has a registry of its own, and none is the process's."""
    assert isinstance(agent.control, AgentControl)
    other = Metrics(agent, agent.control)
    await other.start("127.0.0.1", 0)
    assert (await ask(other, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == b"HTTP/1.1 200 OK"
    await other.stop()
