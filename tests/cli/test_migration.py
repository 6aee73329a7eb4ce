"""Files as released agents 0.32.2 wrote them are taken over with their keys, and handed back with those of then."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from openportal.cli.migration import differences, hand_back, read_old, take_over
from openportal.cli.site import keys_of
from openportal.cli.site_migration import COMMANDS
from openportal.cli.topology import Topology
from openportal.errors import ConfigError
from openportal.paddington.config import load
from tests.cli.test_rollout_commands import run
from tests.facility.secrets_seen import secrets_in

RECORDED = Path(__file__).parent.parent / "vectors" / "agents-0.32.2"
ADDRESSES = {"portal": "10.87.0.11", "site": "10.87.0.12"}
BRIDGE = {
    "url": "http://127.0.0.1:3000/", "ip": "127.0.0.1", "port": 3000,
    "signal_url": "http://127.0.0.1:8000/signal", "notification_url": "http://localhost/notification",
}  # fmt: skip
HOME = {"roots": ["/home"], "subpath": "{project}/{user}", "permissions": "0755", "is_home": True}
PROJECTS = {"roots": ["/projects"], "subpath": "{project}", "permissions": "2770"}
AGENTS: dict[str, Any] = {
    "brics": {"kind": "portal", "host": "portal"},
    "bridge": {"kind": "bridge", "host": "portal", "under": "brics", "settings": {"bridge": BRIDGE}},
    "aip1": {"kind": "provider", "host": "site", "under": "brics"},
    "clusters": {"kind": "platform", "host": "site", "under": "aip1"},
    "shared": {"kind": "instance", "host": "site", "under": "clusters"},
    "acct": {"kind": "account", "host": "site", "under": "shared", "system": "local"},
    "fs": {
        "kind": "filesystem", "host": "site", "under": "shared",
        "settings": {"user_volumes": {"home": HOME}, "project_volumes": {"projects": PROJECTS}},
    },
}  # fmt: skip


def plans(**change: Any) -> dict[str, Any]:
    topology = Topology.declared({**AGENTS, **change}, ADDRESSES)
    return {agent["name"]: agent for host in ADDRESSES for agent in topology.plan(host)["agents"]}


def old(name: str) -> dict[str, Any]:
    return read_old(RECORDED / f"{name}.toml")


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_is_taken_over_with_its_keys(tmp_path: Path, name: str) -> None:
    agent = plans()[name]
    assert list(differences(agent, old(name), {})) == []
    assert take_over(agent, old(name), tmp_path)
    config = load(tmp_path / f"{name}.toml")
    assert (config.agent, config.service.name) == (agent["agent"], name)
    written = tomllib.loads((tmp_path / f"{name}.toml").read_text())
    assert keys_of(name, written) == keys_of(name, old(name)) != {}
    assert set(secrets_in(written)) == set(secrets_in(old(name)))
    assert not take_over(agent, old(name), tmp_path)


@pytest.mark.parametrize("name", AGENTS)
def test_there_and_back_leaves_the_old_file_as_it_was(tmp_path: Path, name: str) -> None:
    file = tmp_path / "old.toml"
    file.write_bytes((RECORDED / f"{name}.toml").read_bytes())
    take_over(plans()[name], read_old(file), tmp_path)
    assert not hand_back(name, tmp_path, file)
    assert file.read_bytes() == (RECORDED / f"{name}.toml").read_bytes()


def test_keys_that_changed_meanwhile_go_back(tmp_path: Path) -> None:
    file = tmp_path / "old.toml"
    file.write_bytes((RECORDED / "aip1.toml").read_bytes())
    take_over(plans()["aip1"], read_old(file), tmp_path)
    ours = tmp_path / "aip1.toml"
    before = old("aip1")["service"]["servers"][0]["inner_key"]["data"]
    ours.write_text(ours.read_text().replace(before, "ab" * 32))
    assert hand_back("aip1", tmp_path, file)
    assert file.read_text() == (RECORDED / "aip1.toml").read_text().replace(before, "ab" * 32)


def test_without_keys_for_a_peer_nobody_is_handed_back(tmp_path: Path) -> None:
    file = tmp_path / "old.toml"
    file.write_bytes((RECORDED / "shared.toml").read_bytes())
    agents = plans()
    lonely = {**agents["shared"], "clients": agents["shared"]["clients"][:1]}
    take_over(lonely, read_old(file), tmp_path)
    with pytest.raises(ConfigError, match="there are no keys for shared<fs@default any more"):
        hand_back("shared", tmp_path, file)
    assert file.read_bytes() == (RECORDED / "shared.toml").read_bytes()


DIFFERENT: list[tuple[str, dict[str, Any], str]] = [
    ("aip1", {"aip1": {**AGENTS["aip1"], "port": 9999}}, "reach it at ws://127.0.0.1:8041/, and the topology says"),
    ("shared", {"fs": {**AGENTS["fs"], "under": "other"}, "other": {**AGENTS["shared"], "port": 9998}},
     "does not know its peer in shared<fs@default"),
    ("shared", {"slurm": {"kind": "scheduler", "host": "site", "under": "shared", "system": "sandbox"}},
     "no keys for shared<slurm@default"),
    ("bridge", {"bridge": {**AGENTS["bridge"], "settings": {}}}, "has bridge.signal_url, and the topology not so"),
    ("fs", {"fs": {**AGENTS["fs"], "settings": {}}}, "has the table user_volumes, and the topology not so"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "words"), DIFFERENT)
def test_what_the_topology_says_otherwise_is_told(name: str, change: dict[str, Any], words: str) -> None:
    assert words in " ".join(differences(plans(**change)[name], old(name), {}))


def test_a_file_of_another_agent_is_told() -> None:
    said = list(differences(plans()["aip1"], old("clusters"), {}))
    assert said[:2] == [
        "aip1: the old file is of the type Platform, and the topology says Provider.",
        "aip1: the old file is of the name clusters, and the topology says aip1.",
    ]


def test_secrets_have_to_be_told_anew() -> None:
    sealed = {**old("acct"), "extras": {"token": "ab" * 60}}
    sealed["service"] = {**sealed["service"], "encryption": {"Environment": {"key": "X"}}}
    (words,) = differences(plans()["acct"], sealed, {})
    assert "only the old agent opens its secret token" in words
    assert list(differences(plans()["acct"], sealed, {"token": "canary"})) == []


# --- the commands -----------------------------------------------------------------------------------------------------


def told(*names: str) -> dict[str, Any]:
    files = {name: str(RECORDED / f"{name}.toml") for name in names}
    return {"plan": {"agents": list(plans().values())}, "from": files}


def test_the_commands_there_and_back(tmp_path: Path) -> None:
    assert [command.name for command in COMMANDS] == ["take-over", "hand-back"]
    look = run("site", "take-over", "--look", "--folder", str(tmp_path), told=told("aip1"))
    assert (look.exit_code, json.loads(look.output)["waiting"], list(tmp_path.iterdir())) == (0, [], [])
    taken = run("site", "take-over", "--folder", str(tmp_path), told=told("aip1"))
    assert json.loads(taken.output) == {"changed": ["aip1"]}
    (tmp_path / "old").mkdir()
    file = tmp_path / "old" / "aip1.toml"
    file.write_bytes((RECORDED / "aip1.toml").read_bytes())
    back = run("site", "hand-back", "--folder", str(tmp_path), told={"from": {"aip1": str(file)}})
    assert json.loads(back.output) == {"changed": []}


def test_an_agent_that_is_not_of_this_host_is_refused(tmp_path: Path) -> None:
    said = run("site", "take-over", "--folder", str(tmp_path), told={"plan": {"agents": []}, "from": {"x": "/x"}})
    assert (said.exit_code, "puts no agent 'x' on this host" in said.output) == (1, True)
