"""Hosts of today's agents are taken over with their keys and peers, and handed back.

Their files are those that released agents 0.32.2 wrote (`tests/vectors/agents-0.32.2`). If OPENPORTAL_UPSTREAM names
the folder of the released programs, they run here under systemd, and the one kind links with the other half way
through. If not, a unit that only sleeps stands where each would, and what is shown is the way of files, keys, units.
"""

from __future__ import annotations

import os
import re
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from openportal.cli.site import keys_of
from tests.facility.controller import INVENTORIES, ROOT, Controller
from tests.facility.hosts.bed import Bed

pytestmark = [pytest.mark.systems, pytest.mark.facility]

HOSTS = ("portal", "site")
RECORDED = ROOT / "tests/vectors/agents-0.32.2"
UPSTREAM = os.environ.get("OPENPORTAL_UPSTREAM", "")
BACK = ("-e", '{"openportal_migrate_back": true}')
UNIT = """[Service]
ExecStart={command}
Environment=HOME=/root
Restart=always
[Install]
WantedBy=multi-user.target
"""
PROGRAMS = {
    "brics": "op-portal", "bridge": "op-bridge", "aip1": "op-provider", "clusters": "op-clusters",
    "shared": "op-cluster", "acct": "op-localaccount", "fs": "op-filesystem",
}  # fmt: skip
DIALLED = {"op-provider": 8040, "op-clusters": 8041, "op-cluster": 8045, "op-localaccount": 8046, "op-filesystem": 8046}
LINK_SECONDS = 60.0


@dataclass(frozen=True)
class Old:
    """Two hosts with today's agents."""

    bed: Bed
    controller: Controller

    def active(self, host: str) -> set[str]:
        """The units of agents, theirs and ours, that run."""
        shown = "systemctl list-units --plain --no-legend --state=active 'op-*' 'openportal-agent@*'"
        return {line.split()[0].removesuffix(".service") for line in self.bed.ssh(host, shown).splitlines()}

    def file(self, host: str, name: str) -> str:
        return self.bed.ssh(host, f"cat /etc/op/{name}.toml")

    def ours(self, host: str, name: str) -> dict[str, Any]:
        return tomllib.loads(self.bed.ssh(host, f"cat /etc/openportal/{name}.toml"))


def agents_of(host: str) -> list[str]:
    inventory = yaml.safe_load((INVENTORIES / "rust.yml").read_text())
    return list(inventory["openportal"]["hosts"][host]["openportal_migration_from"])


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Old]:
    with Bed(tmp_path_factory.mktemp("bed"), HOSTS) as bed:
        for host in HOSTS:
            bed.ssh(host, "mkdir -m 700 /etc/op; mkdir -p /opt/op /projects")
            for name in agents_of(host):
                settle(bed, host, name)
        yield Old(bed, Controller(bed, INVENTORIES / "rust.yml", {"openportal_bundle": str(bundle)}))


def settle(bed: Bed, host: str, name: str) -> None:
    """An agent as an operator of 0.32.2 runs it."""
    bed.put(host, RECORDED / f"{name}.toml", f"/etc/op/{name}.toml")
    command = "/bin/sleep infinity"
    if UPSTREAM:
        bed.put(host, Path(UPSTREAM) / PROGRAMS[name], f"/opt/op/{PROGRAMS[name]}")
        command = f"/opt/op/{PROGRAMS[name]} -c /etc/op/{name}.toml run"
    bed.ssh(host, f"chmod -f +x /opt/op/* ; cat > /etc/systemd/system/op-{name}.service", UNIT.format(command=command))
    bed.ssh(host, f"systemctl daemon-reload; systemctl enable -q --now op-{name}.service")


def theirs(host: str) -> set[str]:
    return {f"op-{name}" for name in agents_of(host)}


def ours(host: str) -> set[str]:
    return {f"openportal-agent@{name}" for name in agents_of(host)}


def test_a_topology_that_says_otherwise_is_refused_and_theirs_run_on(old: Old, tmp_path: Path) -> None:
    declared = yaml.safe_load((INVENTORIES / "rust.yml").read_text())
    del declared["all"]["vars"]["openportal_agents"]["fs"]["settings"]
    inventory = tmp_path / "different.yml"
    inventory.write_text(yaml.safe_dump(declared))
    run = replace(old.controller, inventory=inventory).try_play("ansible/migrate.yml")
    assert run.code != 0
    assert "fs: the old file has the table user_volumes, and the topology not so" in " ".join(run.output.split())
    assert [old.active(host) for host in HOSTS] == [theirs(host) for host in HOSTS]


@pytest.mark.skipif(not UPSTREAM, reason="OPENPORTAL_UPSTREAM names no folder of the released programs")
def test_one_host_is_taken_over_and_links_with_the_other(old: Old) -> None:
    """The play waits for all links of the site's agents, that with the portal of theirs among them."""
    old.controller.play("ansible/migrate.yml", "--limit", "site,localhost")
    assert [old.active(host) for host in HOSTS] == [theirs("portal"), ours("site")]


def test_all_are_taken_over_with_their_keys(old: Old) -> None:
    old.controller.play("ansible/migrate.yml")
    assert [old.active(host) for host in HOSTS] == [ours(host) for host in HOSTS]
    for host in HOSTS:
        for name in agents_of(host):
            recorded = tomllib.loads((RECORDED / f"{name}.toml").read_text())
            assert old.file(host, name) == (RECORDED / f"{name}.toml").read_text()
            assert keys_of(name, old.ours(host, name)) == keys_of(name, recorded) != {}
    old.controller.play("ansible/check.yml")
    assert old.controller.play("ansible/site.yml").changed == dict.fromkeys(HOSTS, 0)


def test_they_are_handed_back_with_the_keys_of_now(old: Old) -> None:
    old.controller.play("ansible/rotate.yml")
    old.controller.play("ansible/migrate.yml", *BACK)
    assert [old.active(host) for host in HOSTS] == [theirs(host) for host in HOSTS]
    for host in HOSTS:
        for name in agents_of(host):
            now = tomllib.loads(old.file(host, name))
            assert keys_of(name, now) == keys_of(name, old.ours(host, name))
            assert keys_of(name, now) != keys_of(name, tomllib.loads((RECORDED / f"{name}.toml").read_text()))


@pytest.mark.skipif(not UPSTREAM, reason="OPENPORTAL_UPSTREAM names no folder of the released programs")
def test_theirs_are_linked_again(old: Old) -> None:
    deadline = time.monotonic() + LINK_SECONDS
    while not linked(old) and time.monotonic() < deadline:
        time.sleep(1)
    assert linked(old)


def linked(old: Old) -> bool:
    """Whether each agent on the site's host has connections to those of the others, by the kernel's own table."""
    found = old.bed.ssh("site", "ss -Htnp state established")
    return all(re.search(rf":{port}\s+users:.*\"{program}\"", found) for program, port in DIALLED.items())


def test_and_taken_over_once_more(old: Old) -> None:
    """Our files of the first time are still there, with the same keys."""
    old.controller.play("ansible/migrate.yml")
    assert [old.active(host) for host in HOSTS] == [ours(host) for host in HOSTS]
    old.controller.play("ansible/check.yml")
