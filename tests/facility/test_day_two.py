"""A site that runs, and what becomes of it: releases, good and bad, new keys, reboots, lost and moved hosts, its end.

The portal's software goes on asking for users meanwhile, with the published client. What it was promised must be there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from openportal.cli.bundle import make_bundle
from tests.facility.controller import INVENTORIES, ROOT, Controller
from tests.facility.hosts.bed import Bed
from tests.facility.secrets_seen import ProcessList, leaked, secrets_in, seen_by_nobody, spellings

pytestmark = [pytest.mark.systems, pytest.mark.facility]

HOSTS = ("portal", "site", "node")
SPARE = "spare"  # a host that is added to the site, and taken out of it
CHAIN = "brics.aip1.clusters.shared"
CLIENT_FILE = "/etc/openportal-client/client.toml"
DRIVER = Path(__file__).with_name("load_driver.py")
OLD, NEW, BAD = "0.1.0", "0.1.1", "0.1.2"
JOBS_MIN = 5
UNCHANGED = dict.fromkeys(HOSTS, 0)
# The steps of a rollout, where each is taken, and how many tasks have something to do: what is missing on the node is
# written, and the agent that it is about is started again.
STEPS = (("install", "node", 0), ("peering", "portal", 0), ("configure", "node", 1), ("run", "node", 1))


@dataclass(frozen=True)
class Site:
    """The hosts of a running site, and who rolls out there."""

    bed: Bed
    controller: Controller

    def of(self, version: str) -> Controller:
        """The same site with another release declared."""
        bundle = self.bed.folder / "dist" / f"openportal-agents-{version}-bundle.tar"
        chosen = {"openportal_version": version, "openportal_bundle": str(bundle)}
        return replace(self.controller, variables=chosen)

    @contextmanager
    def under_load(self) -> Iterator[list[dict[str, Any]]]:
        """The jobs that were accepted meanwhile, the last of them after the block; complete when it has ended."""
        self.bed.ssh("portal", "rm -f /root/stop")
        words = f"/opt/client/bin/python -I /root/load.py {CLIENT_FILE} {CHAIN} /root/stop"
        ssh = [*self.bed.enter, "ssh", *self.bed.ssh_options, f"root@{self.bed.addresses['portal']}", words]
        jobs: list[dict[str, Any]] = []
        with subprocess.Popen(ssh, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdout is not None
            try:
                yield jobs
            finally:
                self.bed.ssh("portal", "touch /root/stop")
                jobs.extend(json.loads(line) for line in load.stdout)

    def declared(
        self, inventory: Path, change: Callable[[dict[str, Any]], None], hosts: Sequence[str] = ()
    ) -> Controller:
        """Another inventory of the same site: the agents changed, and further hosts."""
        declared = yaml.safe_load((INVENTORIES / "three.yml").read_text())
        change(declared["all"]["vars"]["openportal_agents"])
        declared["openportal"]["hosts"] |= {host: {"ansible_host": self.bed.addresses[host]} for host in hosts}
        inventory.write_text(yaml.safe_dump(declared))
        return replace(self.of(OLD), inventory=inventory)

    def files(self) -> list[dict[str, Any]]:
        """What the agents' files say."""
        paths = [path for host in HOSTS for path in (self.bed.disk(host) / "etc/openportal").glob("*.toml")]
        return [tomllib.loads(path.read_text()) for path in paths]

    def keys(self) -> set[str]:
        return set(secrets_in(self.files()))

    def bridge_keys(self) -> set[str]:
        return set(secrets_in([file.get("bridge", {}) for file in self.files()]))

    def releases(self, host: str) -> set[str]:
        """What the processes of a host's agents are started from."""
        text = self.bed.ssh(host, "ps -eo args | grep -o '/opt/openportal/releases/[^/]*/bin/op-' || true")
        return {line.split("/")[4] for line in text.splitlines()}


def bare_site(bed: Bed, inventory: str, bundle: Path, client_wheel: Path) -> Site:
    """Bare hosts with what a rollout finds there, and the portal's software on that of the portal."""
    (bed.folder / "dist").mkdir()
    shutil.copy(bundle, bed.folder / "dist")
    bed.ssh("node", "mkdir /projects")
    bed.put("portal", client_wheel, f"/root/{client_wheel.name}")
    bed.put("portal", DRIVER, "/root/load.py")
    bed.ssh("portal", "python3 -m venv /opt/client && /opt/client/bin/pip install -q --no-index /root/*.whl")
    return Site(bed, Controller(bed, INVENTORIES / inventory, {}))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, bundle: Path, client_wheel: Path) -> Iterator[Site]:
    with Bed(tmp_path_factory.mktemp("bed"), (*HOSTS, SPARE)) as bed:
        found = bare_site(bed, "three.yml", bundle, client_wheel)
        found.of(OLD).play("ansible/site.yml")
        yield found


@pytest.fixture(scope="module")
def releases(site: Site) -> None:
    """A newer release, and one whose leaves do not start."""
    for version, spoil in ((NEW, ""), (BAD, '\nraise RuntimeError("this release is bad")\n')):
        tree = site.bed.folder / f"tree-{version}"
        shutil.copytree(ROOT / "openportal", tree / "openportal", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("README.md", "LICENSE"):
            shutil.copy(ROOT / name, tree)
        project = (ROOT / "pyproject.toml").read_text()
        (tree / "pyproject.toml").write_text(project.replace(f'version = "{OLD}"', f'version = "{version}"', 1))
        with (tree / "openportal/cli/leaves.py").open("a") as leaves:
            leaves.write(spoil)
        make_bundle(str(tree), ["agents"], site.bed.folder / "dist")


def assert_nothing_lost(site: Site, jobs: list[dict[str, Any]]) -> None:
    """Every job that was accepted was completed, and what it was to make is there."""
    assert len(jobs) >= JOBS_MIN
    assert {job["state"] for job in jobs} == {"complete"}, [job for job in jobs if job["state"] != "complete"]
    users = {job["instruction"].split()[1].removesuffix(".brics") for job in jobs}
    there = {line.partition(":")[0] for line in site.bed.ssh("node", "getent passwd").splitlines()}
    assert users - there == set()


def assert_nobody_saw(site: Site, keys: set[str], seen: list[bytes]) -> None:
    """None of these keys is in what was seen, in a journal, or in a file that anybody can read."""
    secrets = {spelling for key in keys for spelling in spellings(key)}
    journals = [site.bed.ssh(host, "journalctl --output=export --all").encode() for host in HOSTS]
    assert not any(leaked(secrets, data) for data in [*seen, *journals])
    assert [seen_by_nobody(site.bed, host, secrets)[0] for host in HOSTS] == [[]] * len(HOSTS)


def ledger_of_instance(site: Site, host: str) -> tuple[str, int]:
    """Its identity and its generation: what would be another if it had begun anew, or been restored."""
    command = "/opt/openportal/current/bin/openportal ledger stats --json /etc/openportal/shared.toml"
    (found,) = json.loads(site.bed.ssh(host, command))
    return found["ledger_id"], found["generation"]


@pytest.mark.usefixtures("releases")
def test_another_release_and_back_without_losing_a_job(site: Site) -> None:
    refused = site.of(NEW).try_play("ansible/site.yml")
    assert refused.code != 0
    assert f"{OLD} is installed here and {NEW} is declared: run upgrade.yml" in " ".join(refused.output.split())
    for version, other in ((NEW, OLD), (OLD, NEW)):
        with site.under_load() as jobs:
            site.of(version).play("ansible/upgrade.yml")
        assert_nothing_lost(site, jobs)
        assert [site.releases(host) for host in HOSTS] == [{version}] * len(HOSTS)
        kept = {path.name for path in (site.bed.disk("node") / "opt/openportal/releases").iterdir()}
        assert kept == {version, other}


@pytest.mark.usefixtures("releases")
def test_a_bad_release_is_taken_back_where_it_fails_first(site: Site) -> None:
    with site.under_load() as jobs:
        run = site.of(BAD).try_play("ansible/upgrade.yml", "-e", "openportal_agent_ready_seconds=8")
    assert run.code != 0
    assert f"did not become ready with {BAD} and run {OLD} again" in " ".join(run.output.split())
    assert_nothing_lost(site, jobs)
    assert [site.releases(host) for host in HOSTS] == [{OLD}] * len(HOSTS)


def test_new_keys_for_everybody_without_losing_a_job(site: Site) -> None:
    before = site.keys()
    with site.under_load() as jobs, ProcessList() as processes:
        rotated = site.of(OLD).play("ansible/rotate.yml", "--diff", "-vvv")
    assert_nothing_lost(site, jobs)
    after = site.keys()
    assert_nobody_saw(site, before | after, [rotated.output.encode(), *processes.seen])
    assert len(before & after) == 1  # the bridge's, for another day
    assert len(after) == len(before) + 1
    assert site.of(OLD).play("ansible/site.yml").changed == UNCHANGED


def test_all_hosts_reboot_at_once(site: Site) -> None:
    with site.under_load() as jobs:
        site.bed.reboot(["site", "node"])  # the load runs on the third
    assert_nothing_lost(site, jobs)
    site.bed.reboot(HOSTS)
    site.of(OLD).play("ansible/check.yml")


def test_a_rollout_of_some_steps_on_some_hosts_does_only_these(site: Site) -> None:
    """What is missing is put back by the step and on the host that it belongs to, and not by another."""
    site.bed.ssh("node", "rm /etc/systemd/system/openportal-agent@slurm.service.d/agent.conf")
    for tag, host, changed in STEPS:
        limited = site.of(OLD).play("ansible/site.yml", "--tags", tag, "--limit", f"{host},localhost")
        assert limited.changed == {host: changed}, tag
    assert site.of(OLD).play("ansible/site.yml", "--limit", "site,localhost").changed == {"site": 0}


def test_a_rollout_leaves_keys_that_two_agents_agreed_on(site: Site) -> None:
    """Whatever keys a pair has, both ends the same: the ones that it was invited with are nowhere any more."""
    invited = site.keys()
    agreed = {key: os.urandom(32).hex() for key in invited}
    for host in HOSTS:
        for file in (site.bed.disk(host) / "etc/openportal").glob("*.toml"):
            text = file.read_text()
            for key in set(secrets_in(tomllib.loads(text)["service"])):
                text = text.replace(key, agreed[key])
            file.write_text(text)
    site.of(OLD).play("ansible/site.yml")
    site.of(OLD).play("ansible/check.yml")
    assert site.keys() - set(agreed.values()) <= invited & site.bridge_keys()
    assert site.of(OLD).play("ansible/site.yml").changed == UNCHANGED


def test_a_lost_host_comes_back_bare_and_is_introduced_again(site: Site) -> None:
    site.bed.destroy("site")
    site.bed.start(["site"])
    run = site.of(OLD).play("ansible/site.yml")
    assert run.changed["site"] > 0
    site.of(OLD).play("ansible/check.yml")


def test_an_agent_moves_to_another_host_and_back_with_its_ledger(site: Site, tmp_path: Path) -> None:
    def at(host: str) -> Controller:
        return site.declared(tmp_path / f"{host}.yml", lambda agents: agents["shared"].update(host=host))

    before = ledger_of_instance(site, "site")
    for old, new in (("site", "node"), ("node", "site")):
        with site.under_load() as jobs:
            at(new).play("ansible/site.yml")
        assert_nothing_lost(site, jobs)
        assert "op-cluster " in site.bed.ssh(new, "ps -eo args")
        assert "op-cluster " not in site.bed.ssh(old, "ps -eo args")
        assert not (site.bed.disk(old) / "etc/openportal/shared.toml").exists()
        assert site.bed.ssh(old, "ls -A /var/lib/openportal").split().count("shared") == 0
        assert ledger_of_instance(site, new) == before
    assert site.of(OLD).play("ansible/site.yml").changed == UNCHANGED
    assert site.bed.ssh("site", "ls -A /var/lib/openportal").split() == ["aip1", "clusters", "shared"]


def test_an_agent_does_not_move_without_its_new_host(site: Site, tmp_path: Path) -> None:
    moved = site.declared(tmp_path / "moved.yml", lambda agents: agents["shared"].update(host="node"))
    run = moved.try_play("ansible/site.yml", "--limit", "site,localhost")
    assert run.code != 0
    assert "shared moves from here to node: include both hosts in --limit." in " ".join(run.output.split())
    assert run.changed == {"site": 0}


def test_an_agent_is_added_and_removed(site: Site, tmp_path: Path) -> None:
    second = {"kind": "account", "system": "sandbox", "host": SPARE, "under": "other"}
    instance = {"kind": "instance", "host": SPARE, "under": "clusters"}
    more = site.declared(tmp_path / "more.yml", lambda agents: agents.update(other=instance, people=second), [SPARE])
    with site.under_load() as jobs:
        run = more.play("ansible/site.yml")
    assert_nothing_lost(site, jobs)
    assert run.changed["node"] == 0  # nobody there has a new peer
    assert more.play("ansible/site.yml").changed == {**UNCHANGED, SPARE: 0}
    with site.under_load() as jobs:
        more.play("ansible/remove.yml", "--limit", SPARE)
        site.of(OLD).play("ansible/site.yml")
    assert_nothing_lost(site, jobs)
    assert "/op-" not in site.bed.ssh(SPARE, "ps -eo args")
    assert "other" not in (site.bed.disk("site") / "etc/openportal/clusters.toml").read_text()


def test_a_wrong_topology_is_refused_before_anything_is_touched(site: Site, tmp_path: Path) -> None:
    declared = yaml.safe_load((INVENTORIES / "three.yml").read_text())
    declared["all"]["vars"]["openportal_agents"]["acct"]["under"] = "nobody"
    inventory = tmp_path / "wrong.yml"
    inventory.write_text(yaml.safe_dump(declared))
    run = replace(site.of(OLD), inventory=inventory).try_play("ansible/site.yml")
    assert run.code != 0
    assert "acct: there is no agent 'nobody' for it to be under." in run.output
    assert set(run.recap) == {"localhost"}


def test_the_agents_are_removed_and_the_record_stays(site: Site) -> None:
    site.of(OLD).play("ansible/remove.yml")
    for host in HOSTS:
        assert "/op-" not in site.bed.ssh(host, "ps -eo args")
        assert not any((site.bed.disk(host) / folder).is_dir() for folder in ("etc/openportal", "opt/openportal"))
    assert list((site.bed.disk("portal") / "var/lib/openportal/brics").rglob("ledger.sqlite"))
    again = site.of(OLD).play("ansible/remove.yml")
    assert again.changed == UNCHANGED
    site.of(OLD).play("ansible/site.yml")
    site.of(OLD).play("ansible/check.yml")
