"""The commands of a rollout: JSON in, JSON out, one sentence and an exit code if something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from openportal.cli.facility import free_ports
from openportal.cli.openportal import main
from openportal.cli.rollout import address_of, of_inventory
from openportal.cli.topology import Topology
from openportal.errors import ConfigError
from tests.cli.sites import ADDRESSES, SITE


def run(*words: str, told: Any = None) -> Result:
    return CliRunner().invoke(main, words, input=None if told is None else json.dumps(told))


@pytest.fixture
def plans() -> dict[str, Any]:
    agents = {**SITE, "bridge": {**SITE["bridge"], "client_file": None}}
    topology = Topology.declared(agents, ADDRESSES)
    return {host: topology.plan(host) for host in ADDRESSES}


def options(folder: Path) -> tuple[str, ...]:
    return ("--folder", str(folder), "--box", str(folder / ".box"))


def test_two_hosts_are_introduced(tmp_path: Path, plans: dict[str, Any]) -> None:
    looks = {}
    for host in ("p", "s"):
        (tmp_path / host).mkdir()
        said = json.loads(run("site", "configure", *options(tmp_path / host), told=plans[host]).output)
        looks[host] = said["look"]
    pair = "brics<aip1@default"
    told = {"plan": plans["p"], "wanted": [{"pair": pair, "box": looks["s"]["box"]}]}
    sealed = json.loads(run("site", "invite", *options(tmp_path / "p"), told=told).output)["sealed"]
    told = {"plan": plans["s"], "sealed": sealed}
    assert json.loads(run("site", "accept", *options(tmp_path / "s"), told=told).output) == {"changed": ["aip1"]}
    again = json.loads(run("site", "configure", *options(tmp_path / "s"), told=plans["s"]).output)
    assert again["changed"] == []
    other = json.loads(run("site", "configure", *options(tmp_path / "p"), told=plans["p"]).output)
    assert again["look"]["pairs"][pair]["dialler"] == other["look"]["pairs"][pair]["listener"]


def test_a_check_writes_nothing(tmp_path: Path, plans: dict[str, Any]) -> None:
    said = json.loads(run("site", "configure", "--check", *options(tmp_path), told=plans["s"]).output)
    assert said["changed"] == ["aip1", "clusters", "shared", "slurm"]
    assert list(tmp_path.iterdir()) == []


def test_a_bridge_gets_a_new_key(tmp_path: Path, plans: dict[str, Any]) -> None:
    run("site", "configure", *options(tmp_path), told=plans["p"])
    before = (tmp_path / "bridge.toml").read_text()
    assert json.loads(run("site", "rotate", "--folder", str(tmp_path), told=plans["p"]).output) == {
        "changed": ["bridge"]
    }
    assert 'id = "before"' in (tmp_path / "bridge.toml").read_text() != before


def test_agents_that_do_not_run_are_not_ready(plans: dict[str, Any]) -> None:
    plan = {"agents": [agent for agent in plans["n"]["agents"] if agent["name"] == "acct"]}
    plan["agents"][0]["tables"]["metrics"]["port"] = free_ports(1)[0]
    found = run("site", "ready", "--seconds", "0", told=plan)
    assert found.exit_code == 1
    assert json.loads(found.output)["waiting"] == ["acct does not answer."]


def test_what_is_no_json_is_refused() -> None:
    found = CliRunner().invoke(main, ["site", "ready"], input="x")
    assert (found.exit_code, found.output) == (
        1,
        "Error: Standard input must hold one JSON object; this command is run by the rollout.\n",
    )


# --- inventories ------------------------------------------------------------------------------------------------------

INVENTORY = """
all:
  vars:
    openportal_agents:
      brics: { kind: portal, host: one }
      bridge: { kind: bridge, host: one, under: brics }
openportal:
  hosts:
    one: { ansible_host: 10.0.0.1 }
"""


def test_an_inventory_is_drawn(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY)
    assert run("topology", str(inventory)).output.splitlines() == [
        "brics      portal      one  127.0.0.1:8040",
        "└─ bridge  bridge      one",
    ]
    drawing = tmp_path / "site.svg"
    assert run("topology", str(inventory), "--svg", str(drawing)).output == f"The drawing is {drawing}.\n"
    assert drawing.read_text().startswith("<svg")


def test_an_inventory_that_is_wrong_is_refused(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY.replace("under: brics", "under: nobody"))
    found = run("topology", str(inventory))
    assert found.exit_code == 1
    assert "bridge: there is no agent 'nobody' for it to be under." in found.output
    inventory.write_text("- nothing\n")
    assert run("topology", str(inventory)).exit_code == 1


def test_addresses_of_hosts() -> None:
    assert address_of("h", {"openportal_address": "::1", "ansible_host": "h.example.org"}) == "::1"
    assert address_of("h", {"ansible_host": "10.0.0.1"}) == "10.0.0.1"
    assert address_of("h", {}) == "h"
    with pytest.raises(ConfigError, match="must be a table of agents"):
        of_inventory({"h": {}})
