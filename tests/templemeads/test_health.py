"""What an agent counts and tells about itself."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openportal.agents.roles import RelayRole
from openportal.grammar.health import AgentHealth, HealthInfo
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.core import Core
from openportal.templemeads.events import Quarantined
from openportal.templemeads.health import (
    MAX_PEERS_DEPTH,
    MAX_REMEMBERED_ENDS,
    TIMED_JOBS,
    JobTimes,
    ProcessUsage,
    Totals,
    checked,
    memory_bytes,
    moment,
    open_by_peer,
    open_files,
    open_jobs,
    outcome_of,
)
from openportal.templemeads.job import Job, State
from openportal.templemeads.ledger import Settings


def job(number: int = 1, state: State = State.PENDING, command: str = "aip1.clusters.shared get_users p.brics") -> Job:
    return Job(f"00000000-0000-4000-8000-{number:012d}", 100, 100, 200, 2, command, state)


async def test_health_of_a_relay(tmp_path: Path) -> None:
    """Everything is of the declared type, and a job on its way through is there once."""
    network, peers = MemoryNetwork(), [Peer("aip1", "default"), Peer("shared", "default")]
    agent = Agent(
        "clusters", RelayRole("Platform"), {}, Settings(path=tmp_path), peers,
        lambda agent: network.exchange("clusters", peers, agent), clock=lambda: 150.0,
    )  # fmt: skip
    control = agent.control = AgentControl(agent)
    await agent.start()
    agent.core.put("aip1@default", job().to_wire(), 150.0)
    agent.perform()
    told = control.own_health()
    assert msgspec.convert(json.loads(msgspec.json.encode(told)), HealthInfo).name == "clusters"
    assert (told["active_jobs"], told["pending_jobs"], told["inflight_jobs"], told["queued_jobs"]) == (1, 1, 0, 1)
    assert told["links"] == {"aip1@default": "down", "shared@default": "down"}
    assert (told["start_time"], told["uptime_seconds"]) == ("1970-01-01T00:02:30Z", 0)
    assert told["memory_bytes"] > 1024 * 1024 and told["system_memory_total"] > told["memory_bytes"]
    assert told["ledger"].keys() == {
        "id", "generation", "head", "position", "units", "last_commit_ms", "low_space", "free_bytes", "size_bytes",
        "growth_bytes_per_day",
    }  # fmt: skip
    assert (told["breakers"], told["stuck"]["jobs"], told["neighbours"]) == ([], 0, {})
    assert open_by_peer(agent.core)["aip1@default", "inbound"] == 1
    assert open_by_peer(agent.core)["shared@default", "outbound"] == 1
    control.staged([("board:aip1@default", Quarantined(job().id, 4))], 0.0)
    assert control.own_health()["quarantined"] == 1
    await agent.stop()


def test_open_jobs_of_an_empty_core() -> None:
    assert open_jobs(Core("aip1", RelayRole("Provider"), [])).active == 0


def test_job_times_are_of_a_window() -> None:
    times = JobTimes()
    assert set(times.summary().values()) == {0}
    for seconds in (0.1, 0.2, 0.6):
        times.add(seconds)
    summary = {name.removeprefix("job_time_"): round(value, 3) for name, value in times.summary().items()}
    assert summary == {"min_ms": 100, "max_ms": 600, "mean_ms": 300, "median_ms": 200, "count": 3}
    assert sum(times.buckets) == 3
    for _ in range(TIMED_JOBS):
        times.add(500.0)
    assert times.summary()["job_time_min_ms"] == 500_000
    assert (times.summary()["job_time_count"], times.count, times.buckets[-1]) == (1000, 1003, 1000)


def test_totals() -> None:
    totals = Totals()
    done = job(1).completed(101, "[]", "Vec<UserMapping>")
    assert totals.count(done, 0.5) == "completed"
    assert totals.count(job(2).failed(101, "no", "run"), 1.5) == "failed"
    assert totals.count(job(3).failed(101, "late", "expired"), None) == "expired"
    assert (totals.completed, totals.failed, totals.expired, totals.slow, totals.times.count) == (1, 1, 1, 1, 2)
    assert outcome_of(job(4, State.ERROR)) == "expired"  # as agents up to 0.32.2 say it: without a word


def test_a_job_ends_once() -> None:
    totals = Totals()
    assert totals.first_end("a") and not totals.first_end("a")
    for number in range(MAX_REMEMBERED_ENDS):
        totals.first_end(str(number))
    assert totals.first_end("a")  # forgotten: what is remembered is bounded


def good(name: str = "x", **more: Any) -> dict[str, Any]:
    times = dict.fromkeys(("start_time", "current_time", "last_updated"), "2026-11-24T07:35:08.945356669Z")
    words = {"name": name, "agent_type": "Platform", "engine": "templemeads", "version": "0.32.2", "connected": True}
    floats = {name: 0 for name, of in AgentHealth.__annotations__.items() if of == "float"}
    counts = {name: 0 for name, of in AgentHealth.__annotations__.items() if of == "Count"}
    return {**words, **times, **floats, **counts, **more}


@pytest.mark.parametrize(
    "wrong",
    [None, [], "x", {}, good(agent_type="platform"), good(memory_bytes=-1), good(cpu_percent="1"), good(peers=[])],
)
def test_health_that_nobody_could_read(wrong: Any) -> None:
    assert checked(wrong) is None


def test_health_of_others_is_passed_on_as_it_is() -> None:
    told = good("a", ours={"x": [1]}, peers={"b": good("b", peers={"c": {}})})
    assert checked(told) == good("a", ours={"x": [1]}, peers={"b": good("b", peers={})})
    deep = good()
    for _ in range(MAX_PEERS_DEPTH + 5):
        deep = good(peers={"x": deep})
    depth, told = 0, checked(deep) or {}
    while told["peers"]:
        depth, told = depth + 1, told["peers"]["x"]
    assert depth == MAX_PEERS_DEPTH
    assert checked(good(peers={str(n): good() for n in range(2000)})) == good(peers={})


def test_times_are_rfc_3339() -> None:
    assert msgspec.to_builtins(moment(0.25)) == "1970-01-01T00:00:00.250000Z"
    assert moment(1_800_000_000.0) == datetime.fromtimestamp(1_800_000_000, UTC)


def test_process_usage() -> None:
    usage = ProcessUsage()
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
    assert usage.cpu_percent() > 1
    assert memory_bytes() > 0 and open_files() > 2


def test_a_moment_is_no_earlier_than_a_question_asked_just_before() -> None:
    """0.32.2 drops a report whose time is not after that of its question, and a question travels in less than 1 ms."""
    asked, made = 1_800_000_000.000_4, 1_800_000_000.000_6
    assert moment(made) > datetime.fromtimestamp(asked, UTC)
