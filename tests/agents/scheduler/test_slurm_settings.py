"""The settings of a Slurm agent, from the extras of its file."""

from __future__ import annotations

import pytest

from openportal.agents.scheduler.slurm.attempts import RequeuePolicy
from openportal.agents.scheduler.slurm.settings import NODE_EXAMPLE, Settings, parse_node
from openportal.errors import ConfigError
from openportal.grammar.quantities import Node

NEEDED = {"slurm-default-node": NODE_EXAMPLE}


def test_what_is_left_out_has_the_networks_defaults() -> None:
    settings = Settings.of(NEEDED)
    assert settings.node == Node(cpus=64, gpus=4, memory_mb=128_000, billing=64)
    assert (settings.parent, settings.cluster, settings.partition, settings.server) == ("root", "", "", "")
    assert (settings.runners, settings.token_lifespan_seconds) == (5, 1800)
    assert settings.policy is RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY
    assert {name: " ".join(words) for name, words in settings.commands.items()} == {
        name: name for name in ("sacctmgr", "sacct", "scontrol", "scancel", "squeue", "getent")
    }


def test_what_todays_files_do_not_name_runs_where_its_neighbour_does() -> None:
    prefixed = {"sacctmgr": "docker exec ctl /opt/slurm/bin/sacctmgr", "scancel": "ssh ctl /opt/slurm/bin/scancel"}
    commands = Settings.of({**NEEDED, **prefixed}).commands
    assert commands["getent"] == ("docker", "exec", "ctl", "getent")
    assert commands["squeue"] == ("ssh", "ctl", "/opt/slurm/bin/squeue")
    named = Settings.of({**NEEDED, **prefixed, "getent": "ssh login getent", "squeue": "squeue"}).commands
    assert (named["getent"], named["squeue"]) == (("ssh", "login", "getent"), ("squeue",))


@pytest.mark.parametrize(
    ("extras", "command"),
    [
        ({"slurm-server": "http://ctl:6820"}, ()),
        ({"slurm-server": "http://ctl:6820", "getent": "ssh ctl getent"}, ("ssh", "ctl", "getent")),
        ({"slurm-server": "http://ctl:6820", "sacctmgr": "ssh ctl sacctmgr"}, ("ssh", "ctl", "getent")),
        ({"getent": ""}, ()),
    ],
)
def test_accounts_are_looked_for_where_there_is_a_place_to_look(
    extras: dict[str, str], command: tuple[str, ...]
) -> None:
    assert Settings.of({**NEEDED, **extras}).commands["getent"] == command


def test_commands_stand_beside_slurmrestd_only_where_they_are_set() -> None:
    server = {**NEEDED, "slurm-server": "unix:/run/slurmrestd/socket"}
    assert not Settings.of(server).has_commands
    assert Settings.of({**server, "sacctmgr": "sacctmgr"}).has_commands
    assert Settings.of(NEEDED).has_commands


def test_slurms_names_are_in_lower_case_as_it_keeps_them() -> None:
    settings = Settings.of({**NEEDED, "slurm-cluster": "Main", "parent-account": "OpenPortal"})
    assert (settings.cluster, settings.parent) == ("main", "openportal")


def test_a_node_needs_not_have_everything() -> None:
    assert parse_node('{"cpus": 8}') == Node(cpus=8)
    assert parse_node('{"gpus": 4, "mem": 1000, "comment": "of the new partition"}') == Node(gpus=4, memory_mb=1000)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("slurm-default-node", "", "slurm-default-node is missing"),
        ("slurm-default-node", "64 cpus", "must be a JSON object such as"),
        ("slurm-default-node", "[64]", "must be a JSON object such as"),
        ("slurm-default-node", '{"cpus": -1}', "must be a JSON object such as"),
        ("slurm-default-node", '{"cpus": "64"}', "must be a JSON object such as"),
        ("slurm-default-node", '{"cores": 64}', "holds nothing"),
        ("requeue-policy", "charge_all", "requeue-policy is"),
        ("max-slurm-runners", "0", "max-slurm-runners is a whole number from 1 to 256"),
        ("max-slurm-runners", "many", "max-slurm-runners is a whole number"),
        ("token-lifespan", "9", "token-lifespan is a whole number from 10"),
        ("slurm-timeout", "0", "slurm-timeout is a whole number from 1 to 600"),
        ("account-wait", "-1", "account-wait is a whole number from 0 to 600"),
        ("sacctmgr", " ", "extras.sacctmgr is empty"),
        ("squeue", "", "extras.squeue is empty"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Settings.of({**NEEDED, name: value})
