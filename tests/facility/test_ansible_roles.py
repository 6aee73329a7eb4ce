"""Every role says what it takes: its defaults, its argument specs and its README name the same variables."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.facility.controller import ROOT

ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
INVENTORIES = sorted(path for path in (ROOT / "inventories").iterdir() if path.is_dir())


def specs(role: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return found


def defaults(role: Path) -> dict[str, Any]:
    return yaml.safe_load((role / "defaults/main.yml").read_text()) or {}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_specs_are_those_of_the_defaults(role: Path) -> None:
    for entry, spec in specs(role).items():
        said = {name: option.get("default") for name, option in spec["options"].items()}
        assert said == defaults(role), f"{role.name}, {entry}"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_part_of_a_role_that_is_called_has_a_spec(role: Path) -> None:
    texts = [path.read_text() for path in (ROOT / "ansible").rglob("*.yml")]
    pattern = rf"name: openportal\.facility\.{role.name}\n\s+tasks_from: (\w+)\.yml"
    called = {part for text in texts for part in re.findall(pattern, text)}
    assert called <= set(specs(role))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_readme_names_every_variable_with_its_default(role: Path) -> None:
    text = (role / "README.md").read_text()
    named = re.findall(rf"^\| `({role.name}_\w+)` \|", text, re.MULTILINE)
    assert named == list(defaults(role))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_begin_with_the_name_of_their_role(role: Path) -> None:
    assert [name for name in defaults(role) if not name.startswith(f"{role.name}_")] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_is_used(role: Path) -> None:
    parts = [path for path in role.rglob("*") if path.is_file() and path.parent.name in ("tasks", "templates")]
    text = "".join(path.read_text() for path in parts) + (role / "defaults/main.yml").read_text()
    assert [name for name in defaults(role) if len(re.findall(rf"\b{name}\b", text)) < 2] == []


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: path.name)
def test_inventories_are_right(inventory: Path) -> None:
    """What people copy must be a topology that is accepted."""
    from openportal.cli.rollout import of_inventory, read_inventory

    topology = of_inventory(read_inventory(inventory))
    bridges = [member for member in topology.members.values() if member.kind == "bridge"]
    assert bridges
    assert all(topology.paths(bridge) for bridge in bridges)


def test_operators_of_slurm_are_the_users_of_its_agents() -> None:
    from plugins.filter.topology import operators
    from tests.facility.controller import INVENTORIES as OF_TESTS

    hosts = yaml.safe_load((OF_TESTS / "ten.yml").read_text())
    agents, known = hosts["all"]["vars"]["openportal_agents"], hosts["openportal"]["hosts"]
    assert operators(agents, known) == ["op-slurm"]
    agents["slurm"]["system"] = "sandbox"
    assert operators(agents, known) == operators({}, known) == []


def test_filters_import_the_package_when_they_are_called() -> None:
    """Ansible loads them all in each of its processes, many hundreds of times in a rollout."""
    look = "import sys, plugins.filter.backups, plugins.filter.topology; print('openportal' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"


class Looked(dict[str, dict[str, str]]):
    """Variables of hosts that remember whose were looked at, which takes Ansible several milliseconds each."""

    def __init__(self, *hosts: str) -> None:
        super().__init__({host: {"ansible_host": f"10.0.0.{number}"} for number, host in enumerate(hosts, 1)})
        self.looked: list[str] = []

    def __getitem__(self, host: str) -> dict[str, str]:
        self.looked.append(host)
        return super().__getitem__(host)


def test_a_plan_looks_at_the_hosts_of_agents_alone_and_once() -> None:
    from plugins.filter.topology import plan
    from tests.facility.controller import INVENTORIES as OF_TESTS

    declared = yaml.safe_load((OF_TESTS / "ten.yml").read_text())
    with_agents = list(declared["openportal"]["hosts"])
    hosts = Looked(*with_agents, *(f"node{number}" for number in range(100)))
    assert plan(declared["all"]["vars"]["openportal_agents"], hosts, "ctl")["agents"][0]["name"] == "slurm"
    assert sorted(hosts.looked) == sorted(with_agents)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_has_a_scenario_that_runs_and_looks_at_it(role: Path) -> None:
    scenario = ROOT / "extensions/molecule" / role.name
    converge = (scenario / "converge.yml").read_text()
    assert f"openportal.facility.{role.name}\n" in converge
    assert "def test_" in (scenario / f"tests/test_{role.name}.py").read_text()
    assert (scenario / "molecule.yml").exists()
