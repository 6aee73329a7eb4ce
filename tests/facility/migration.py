"""Two hosts that run today's agents, and the steps by which they become ours and theirs again.

Their files are those that released agents 0.32.2 wrote (`tests/vectors/agents-0.32.2`). Each agent is a unit of
systemd, as an operator of 0.32.2 would have it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openportal.cli.site import keys_of
from tests.facility.controller import INVENTORIES, ROOT, Controller
from tests.facility.hosts.bed import Bed

HOSTS = ("portal", "site")
INVENTORY = INVENTORIES / "rust.yml"
RECORDED = ROOT / "tests/vectors/agents-0.32.2"
PROGRAMS = {
    "brics": "op-portal", "bridge": "op-bridge", "aip1": "op-provider", "clusters": "op-clusters",
    "shared": "op-cluster", "acct": "op-localaccount", "fs": "op-filesystem",
}  # fmt: skip
UNIT = """[Service]
ExecStart={command}
Environment=HOME=/root
Restart=always
[Install]
WantedBy=multi-user.target
"""
BACK = ("-e", '{"openportal_migrate_back": true}')


@dataclass(frozen=True)
class Today:
    """The hosts, and who takes them over."""

    bed: Bed
    controller: Controller

    def active(self) -> list[set[str]]:
        """The units of agents, theirs and ours, that run on each host."""
        shown = "systemctl list-units --plain --no-legend --state=active 'op-*' 'openportal-agent@*'"
        lines = [self.bed.ssh(host, shown).splitlines() for host in HOSTS]
        return [{line.split()[0].removesuffix(".service") for line in found} for found in lines]

    def old_file(self, host: str, name: str) -> str:
        return self.bed.ssh(host, f"cat /etc/op/{name}.toml")

    def keys(self, host: str, name: str) -> dict[str, Any]:
        """The keys in our file of an agent."""
        return keys_of(name, tomllib.loads(self.bed.ssh(host, f"cat /etc/openportal/{name}.toml")))

    # --- steps --------------------------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """All hosts at once; the play waits for the links of all agents."""
        self.controller.play("ansible/migrate.yml")
        assert self.active() == [ours(host) for host in HOSTS]

    def hand_back(self) -> None:
        """All hosts at once, after new keys for everybody: the old files have the keys of now."""
        self.controller.play("ansible/rotate.yml")
        self.controller.play("ansible/migrate.yml", *BACK)
        assert self.active() == [theirs(host) for host in HOSTS]
        for host in HOSTS:
            for name in agents_of(host):
                now = keys_of(name, tomllib.loads(self.old_file(host, name)))
                assert now == self.keys(host, name)
                assert now != keys_of(name, tomllib.loads(recorded(name)))


@contextmanager
def hosts_of_today(folder: Path, bundle: Path, programs: Path | None = None) -> Iterator[Today]:
    """Boot them; without the released programs, a unit that sleeps stands where each would."""
    with Bed(folder, HOSTS) as bed:
        for host in HOSTS:
            bed.ssh(host, "mkdir -m 700 /etc/op; mkdir -p /opt/op /projects")
            for name in agents_of(host):
                _settle(bed, host, name, programs)
        yield Today(bed, Controller(bed, INVENTORY, {"openportal_bundle": str(bundle)}))


def _settle(bed: Bed, host: str, name: str, programs: Path | None) -> None:
    bed.put(host, RECORDED / f"{name}.toml", f"/etc/op/{name}.toml")
    command = "/bin/sleep infinity"
    if programs is not None:
        program = PROGRAMS[name]
        bed.put(host, programs / program, f"/opt/op/{program}")
        bed.ssh(host, f"chmod +x /opt/op/{program}")
        command = f"/opt/op/{program} -c /etc/op/{name}.toml run"
    bed.ssh(host, f"cat > /etc/systemd/system/op-{name}.service", UNIT.format(command=command))
    bed.ssh(host, f"systemctl daemon-reload; systemctl enable -q --now op-{name}.service")


def agents_of(host: str) -> list[str]:
    inventory = yaml.safe_load(INVENTORY.read_text())
    return list(inventory["openportal"]["hosts"][host]["openportal_migration_from"])


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.toml").read_text()


def theirs(host: str) -> set[str]:
    return {f"op-{name}" for name in agents_of(host)}


def ours(host: str) -> set[str]:
    return {f"openportal-agent@{name}" for name in agents_of(host)}
