"""What is remembered of jobs that ended, and the report made of it."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog

from openportal.agents.roles import RelayRole
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.diagnostics import MAX_INSTRUCTION_CHARACTERS, MAX_ROWS, Memory, checked
from openportal.templemeads.health import moment
from openportal.templemeads.job import Job, State
from openportal.templemeads.ledger import Settings
from openportal.templemeads.logs import Handler, configure


def job(number: int = 1, command: str = "aip1.clusters get_users p.brics") -> Job:
    return Job(f"00000000-0000-4000-8000-{number:012d}", 100, 100, 200, 2, command, State.PENDING)


def test_the_same_failure_is_one_row() -> None:
    memory = Memory()
    for at in (110.0, 120.0):
        memory.ended(job().failed(at, "the disk is full", "run"), 0.1, at)
    memory.ended(job().failed(130, "another", "run"), 0.1, 130.0)
    newest, row = memory.failed()
    assert (newest.error_message, newest.count) == ("another", 1)
    assert (row.destination, row.instruction, row.count) == ("aip1.clusters", "get_users p.brics", 2)
    assert (row.first_seen, row.last_seen) == (moment(110.0), moment(120.0))


def test_expired_jobs() -> None:
    memory = Memory()
    for at in (110.0, 120.0):
        memory.ended(job().failed(at, "too late", "expired"), None, at)
    [row] = memory.expired()
    assert (row.count, row.created_at, row.expired_at) == (
        2,
        moment(100.0),
        moment(120.0),
    )
    assert memory.failed() == [] and memory.slowest() == []


def test_everything_is_bounded() -> None:
    memory = Memory()
    for number in range(3 * MAX_ROWS):
        one = job(number, f"aip1.clusters get_users p{number}.brics")
        memory.ended(one.failed(110, "x" * 10_000, "run"), float(number), 110.0)
        memory.ended(one.failed(110, "", "expired"), None, 110.0)
    assert [len(rows) for rows in (memory.failed(), memory.expired(), memory.slowest())] == [MAX_ROWS] * 3
    assert memory.failed()[0].instruction == f"get_users p{3 * MAX_ROWS - 1}.brics"
    slowest = [row.duration_ms for row in memory.slowest()]
    assert slowest == [1000 * number for number in range(3 * MAX_ROWS - 1, 2 * MAX_ROWS - 1, -1)]
    memory.ended(job(1, "a.b " + "x" * 100_000).failed(110, "no", "run"), 1e6, 110.0)
    assert len(memory.failed()[0].instruction) == len(memory.slowest()[0].instruction) == MAX_INSTRUCTION_CHARACTERS


@pytest.fixture
def lines() -> Any:
    stream = io.StringIO()
    configure("info", stream)
    yield stream
    structlog.reset_defaults()
    for handler in [each for each in logging.getLogger().handlers if isinstance(each, Handler)]:
        logging.getLogger().removeHandler(handler)


async def test_report(tmp_path: Path, lines: Any) -> None:
    network, peers = MemoryNetwork(), [Peer("aip1", "default")]
    agent = Agent(
        "clusters", RelayRole("Platform"), {}, Settings(path=tmp_path), peers,
        lambda agent: network.exchange("clusters", peers, agent),
    )  # fmt: skip
    control = agent.control = AgentControl(agent)
    await agent.start()
    agent.core.draining = "maintenance until noon"
    structlog.get_logger("openportal.agent").error("it broke", agent="clusters", reason="a cable")
    structlog.get_logger("openportal.agent").error("somewhere else", agent="another")
    now = int(agent.clock())
    wire = job().to_wire() | {"created": now, "expires": now + 60}
    agent.core.put("aip1@default", wire, agent.clock())
    agent.perform()
    report = await control.diagnostics("clusters") or {}
    assert checked(report) == report
    assert "there is no link to aip1@default" in report["warnings"]
    assert "no new jobs are taken: maintenance until noon" in report["warnings"]
    [failed] = report["failed_jobs"]
    assert failed["error_message"] == "maintenance until noon"
    logged = [entry for entry in report["recent_logs"] if entry["message"] == "it broke: a cable"]
    assert [(entry["level"], entry["target"]) for entry in logged] == [("ERROR", "openportal.agent")]
    assert {entry["level"] for entry in report["recent_logs"]} <= {"WARN", "ERROR"}
    assert not any("somewhere else" in entry["message"] for entry in report["recent_logs"])
    assert report["notification_statistics"] == {"total_received": 0, "total_sent": 0, "total_failed": 0}
    await agent.stop()


@pytest.mark.parametrize("wrong", [None, [], "x", {}, {"agent_name": "x"}])
def test_a_report_that_nobody_could_read(wrong: Any) -> None:
    assert checked(wrong) is None


def test_reports_of_older_agents_can_be_read() -> None:
    where = {"destination": "a.b", "instruction": "get_users p.b"}
    report = {
        "agent_name": "x", "generated_at": "2026-11-24T07:35:08Z", "failed_jobs": [], "expired_jobs": [],
        "running_jobs": [{**where, "started_at": "2026-11-24T07:35:08Z", "count": 1, "running_for_seconds": 7}],
        "slowest_jobs": [{**where, "duration_ms": 1200.5, "completed_at": "2026-11-24T07:35:08Z"}], "warnings": ["x"],
    }  # fmt: skip
    assert checked(report) == report
