"""What a leaf agent's file makes of it, and the Prometheus endpoint of an agent that wants one."""

from __future__ import annotations

import dataclasses
import socket
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from openportal.cli.compose import NoLeaf, make_agent
from openportal.cli.facility import HOST, Facility, free_ports
from openportal.cli.leaves import leaf_system
from openportal.errors import ConfigError
from openportal.grammar import instructions as op
from openportal.paddington import config
from openportal.paddington.config import DEFAULTS, AgentConfig
from openportal.paddington.memory import MemoryNetwork
from openportal.templemeads.handlers import System
from tests.processes.waiting import until

VOLUMES = {"user_volumes": {"home": {"roots": ["/home"]}}}
WAIT_MAX_SECONDS = 30


def leaf(name: str, extras: Mapping[str, str], tables: Mapping[str, Any] | None = None) -> AgentConfig:
    """The file of a leaf agent."""
    service = f'[service]\nname = "x"\nurl = "ws://x:1"\nip = "::1"\nport = {DEFAULTS[name].port}\n'
    found = config.parse(f'agent = "{DEFAULTS[name].agent}"\n{service}', Path("/x.toml"))
    return dataclasses.replace(found, extras=extras, tables=tables or {})


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("localaccount", op.AddUser),
        ("freeipa", op.AddUser),
        ("filesystem", op.AddLocalUser),
        ("slurm", op.GetLocalUsageReport),
    ],
)
def test_a_sandbox_makes_every_leaf(tmp_path: Path, name: str, verb: type[op.Instruction]) -> None:
    for tables in ({}, VOLUMES):
        handlers = leaf_system(leaf(name, {"sandbox": str(tmp_path)}, tables), DEFAULTS[name].command).handlers
        assert verb in handlers


def test_leaves_with_systems_of_their_own() -> None:
    assert op.AddUser in leaf_system(leaf("localaccount", {}), "op-localaccount").handlers
    assert op.AddLocalUser in leaf_system(leaf("filesystem", {}, VOLUMES), "op-filesystem").handlers
    assert op.SetLocalLimit in leaf_system(leaf("slurm", {"slurm-default-node": '{"cpus": 64}'}), "op-slurm").handlers


def test_a_filesystem_agent_has_to_manage_something() -> None:
    with pytest.raises(ConfigError, match=r"/x\.toml has no \[user_volumes\.NAME\]"):
        leaf_system(leaf("filesystem", {}), "op-filesystem")


@pytest.mark.parametrize("name", ["freeipa"])
def test_leaves_without_a_system_are_told_how_to_get_a_sandbox(name: str) -> None:
    with pytest.raises(NoLeaf, match=f"{DEFAULTS[name].command} has no leaf system .* --key sandbox"):
        leaf_system(leaf(name, {}), DEFAULTS[name].command)


def test_a_scheduler_agent_has_to_know_what_a_node_is() -> None:
    with pytest.raises(ConfigError, match=r"slurm-default-node is missing.*--key sandbox"):
        leaf_system(leaf("slurm", {}), "op-slurm")


def is_listening(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), WAIT_MAX_SECONDS).close()
    except OSError:
        return False
    return True


@pytest.mark.processes
def test_metrics_are_served_where_the_file_says(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with Facility(tmp_path / "facility") as facility:
        facility.lay_out({"acct": {"metrics": {"port": port}}})
        facility.start(["acct"])
        until(lambda: is_listening(port), "it listens")
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=WAIT_MAX_SECONDS) as answer:
            assert b"openportal_" in answer.read()
        facility.stop(["acct"])
        assert not is_listening(port)


@pytest.mark.processes
def test_a_port_for_metrics_that_is_taken_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken, Facility(tmp_path / "facility") as facility:
        port = taken.getsockname()[1]
        facility.lay_out({"acct": {"metrics": {"port": port}}})
        facility.start(["acct"])
        assert facility.processes["acct"].wait(WAIT_MAX_SECONDS) == 2
        said = facility.log("acct").read_text()
        assert f"op-localaccount: [metrics] cannot listen on {HOST} port {port}: " in said
        assert "address already in use" in said
        assert "Traceback" not in said


async def test_an_agent_that_stops_lets_go_of_its_leaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    async def close() -> None:
        closed.append("leaf")

    monkeypatch.setattr("openportal.cli.leaves.leaf_system", lambda config, command: System({}, close))
    found = leaf("freeipa", {})
    found = dataclasses.replace(found, ledger=dataclasses.replace(found.ledger, path=tmp_path))
    network = MemoryNetwork()
    agent = make_agent(found, "op-freeipa", [], lambda agent: network.exchange("x", [], agent))
    await agent.start()
    await agent.stop()
    assert closed == ["leaf"]
