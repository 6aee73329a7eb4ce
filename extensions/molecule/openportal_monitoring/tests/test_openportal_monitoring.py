"""Prometheus's own checker takes the rules, every agent is a target, and other hosts were left alone."""

import json

import pytest
import testinfra
from testinfra.host import Host

testinfra_hosts = ["ansible://keeper"]
FOLDER = "/etc/prometheus"
AGENTS = {"brics", "bridge", "aip1", "clusters", "shared", "acct", "fs", "slurm"}


def test_the_rules_are_taken(host: Host) -> None:
    assert "SUCCESS" in host.check_output(f"promtool check rules {FOLDER}/openportal.rules.yml")


def test_the_job_is_taken_and_finds_every_agent(host: Host) -> None:
    file = f"{FOLDER}/openportal.scrape.yml"
    assert "SUCCESS" in host.check_output(f"promtool check config --syntax-only {file}")
    assert f"files: [{FOLDER}/openportal.targets.json]" in host.file(file).content_string
    targets = json.loads(host.file(f"{FOLDER}/openportal.targets.json").content_string)
    assert {target["labels"]["instance"] for target in targets} == AGENTS
    assert len({address for target in targets for address in target["targets"]}) == len(AGENTS)


def test_other_hosts_have_none_of_it(request: pytest.FixtureRequest) -> None:
    one = testinfra.get_host("ansible://one", ansible_inventory=request.config.getoption("--ansible-inventory"))
    assert not one.file(FOLDER).exists
