"""How long a rollout takes: ten bare hosts to a working facility, again, and ten times the agents on the same hosts.

    .venv/bin/python -m bench.rollout          as root, from the clone; needs what `make test-facility` needs
    .venv/bin/python -m bench.rollout ten      the ten hosts alone, with FreeIPA and Slurm
    .venv/bin/python -m bench.rollout many     the agents alone: eight, then eighty, on three hosts

The hosts are systemd machines in network namespaces (tests/facility/hosts) that have the distribution's packages; the
bundle is made before the clock starts. Beside each time stand the CPU seconds of the controller and the load of the
machine when it ended: the hosts and the controller share its processors.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from openportal.cli.bundle import make_bundle
from tests.facility.controller import INVENTORIES, ROOT, Controller
from tests.facility.hosts.bed import Bed
from tests.facility.hosts.ten import PYTHONS, ten_hosts

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
    began, used = time.monotonic(), cpu_seconds()
    run = controller.play(playbook)
    took, spent = time.monotonic() - began, cpu_seconds() - used
    changed = sum(run.changed.values())
    print(
        f"{what}: {took:.1f} s, controller {spent:.1f} CPU s, load {os.getloadavg()[0]:.1f}, changed {changed}",
        flush=True,
    )


def cpu_seconds() -> float:
    """What the playbooks that have ended have used on the controller."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(controller: Controller, what: str) -> None:
    timed(f"{what}, bare hosts to linked agents", controller, "ansible/site.yml")
    timed(f"{what}, second run", controller, "ansible/site.yml")
    timed(f"{what}, check.yml", controller, "ansible/check.yml")


def measure_ten(folder: Path) -> None:
    bundle = make_bundle(str(ROOT), ["agents"], folder / "dist", PYTHONS)
    with ten_hosts(folder / "hosts", bundle) as (_, controller):
        measure(controller, "10 hosts with FreeIPA and Slurm")


def measure_many(folder: Path) -> None:
    bundle = make_bundle(str(ROOT), ["agents"], folder / "dist")
    one = INVENTORIES / "three.yml"
    ten = folder / "ten.yml"
    ten.write_text(yaml.safe_dump(many(yaml.safe_load(one.read_text()), FACILITIES)))
    for count, inventory in ((len(NAMES), one), (len(NAMES) * FACILITIES, ten)):
        with Bed(folder / f"hosts-{count}", HOSTS) as bed:
            bed.ssh("node", "mkdir /projects")
            measure(Controller(bed, inventory, {"openportal_bundle": str(bundle)}), f"{count} agents on 3 hosts")


MEASURES = {"ten": measure_ten, "many": measure_many}


def main() -> None:
    for name in sys.argv[1:] or MEASURES:
        with tempfile.TemporaryDirectory(prefix="openportal-rollout-") as folder:
            MEASURES[name](Path(folder))


if __name__ == "__main__":
    main()
