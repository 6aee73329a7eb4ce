"""The ten hosts of `inventories/ten.yml`, bare, and who rolls out there; what a test and a measurement share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.facility.controller import INVENTORIES, Controller
from tests.facility.hosts.bed import Bed
from tests.facility.hosts.ipa import WITH_IPA, server_tree
from tests.facility.hosts.root import ENROLLABLE
from tests.systems.freeipa.build import PIN, script

HOSTS = ("portal", "bridge", "provider", "platform", "instance", "ipa", "files", "ctl", "node1", "node2")
ROOTS = {**dict.fromkeys(("instance", "files", "ctl", "node1", "node2"), ENROLLABLE), "ipa": WITH_IPA}
DOMAIN = "ipa.test"
INVENTORY = INVENTORIES / "ten.yml"
PYTHONS = ("3.13",)  # Debian 13's; the rest have Debian 12, whose Python is the one that we run on
CANARIES = tuple(f"canary-9d41f0-{whose}" for whose in ("agent", "admin", "directory"))


@contextmanager
def ten_hosts(folder: Path, bundle: Path, inventory: Path = INVENTORY) -> Iterator[tuple[Bed, Controller]]:
    """Boot them; the controller is told what is of this machine: the release, the server's tree, its certificates."""
    name = f"ipa.{DOMAIN}"
    script("certificates.sh", folder / "pki", name)
    certificates = {"ca": "ca.crt", "dirsrv": f"{name}.p12", "http": f"{name}.p12"}
    given = {
        "openportal_bundle": str(bundle),
        "freeipa_server_tree": str(server_tree()),
        "freeipa_server_certificates": {"pin": PIN, **{w: str(folder / "pki" / f) for w, f in certificates.items()}},
    }
    variables = folder / "given.json"
    variables.write_text(json.dumps(given))
    with Bed(folder, HOSTS, ROOTS, DOMAIN) as bed:
        bed.ssh("files", "mkdir /projects")  # a volume is the site's; we only make folders in it
        yield bed, Controller(bed, inventory, {}, (variables,))
