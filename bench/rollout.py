"""How long a rollout takes: three bare hosts to a working facility, again, and with ten times the agents.

    .venv/bin/python -m bench.rollout          as root, from the clone; needs what `make test-facility` needs

The hosts are systemd machines in network namespaces (tests/facility/hosts); the bundle is made before the clock starts.
Ten facilities of eight agents each then share the same three hosts.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from openportal.cli.bundle import make_bundle
from tests.facility.controller import INVENTORIES, ROOT, Controller
from tests.facility.hosts.bed import Bed

HOSTS = ("portal", "site", "node")
FACILITIES = 10
PORTS_APART = 20
NAMES = ("brics", "bridge", "aip1", "clusters", "shared", "acct", "fs", "slurm")
PORTS = {name: 8040 + number for number, name in enumerate(NAMES)}


def many(declared: dict[str, Any], count: int) -> dict[str, Any]:
    """An inventory with its facility so many times on the same hosts, each with ports of its own."""
    variables = declared["all"]["vars"]
    one = variables["openportal_agents"]
    variables["openportal_agents"] = {
        f"{name}{number}": copied(name, words, number) for number in range(count) for name, words in one.items()
    }
    return declared


def copied(name: str, words: dict[str, Any], number: int) -> dict[str, Any]:
    """One agent of the facility with this number. Leaves are sandboxes: one agent only can keep a host's accounts."""
    port = PORTS[name] + PORTS_APART * number
    found = {**words, "port": port, "metrics_port": port + 1000}
    found.pop("settings", None)
    found.pop("client_file", None)
    if "under" in words:
        found["under"] = f"{words['under']}{number}"
    if words["kind"] in ("account", "filesystem", "scheduler"):
        found["system"] = "sandbox"
    if words["kind"] == "bridge":
        found["settings"] = {"bridge": {"url": f"http://127.0.0.1:{3000 + number}/", "port": 3000 + number}}
    return found


def timed(what: str, controller: Controller, playbook: str) -> None:
    began = time.monotonic()
    run = controller.play(playbook)
    print(f"{what}: {time.monotonic() - began:.1f} s, changed {sum(run.changed.values())}", flush=True)


def measure(folder: Path, inventory: Path, bundle: Path, what: str) -> None:
    with Bed(folder, HOSTS) as bed:
        bed.ssh("node", "mkdir /projects")
        controller = Controller(bed, inventory, {"openportal_bundle": str(bundle)})
        timed(f"{what}, bare hosts to linked agents", controller, "ansible/site.yml")
        timed(f"{what}, second run", controller, "ansible/site.yml")
        timed(f"{what}, check.yml", controller, "ansible/check.yml")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="openportal-rollout-") as name:
        folder = Path(name)
        bundle = make_bundle(str(ROOT), ["agents"], folder)
        plain = INVENTORIES / "three.yml"
        measure(folder / "one", plain, bundle, "8 agents")
        ten = folder / "ten.yml"
        ten.write_text(yaml.safe_dump(many(yaml.safe_load(plain.read_text()), FACILITIES)))
        measure(folder / "ten", ten, bundle, "80 agents")


if __name__ == "__main__":
    main()
