"""The ten hosts of `inventories/ten.yml`, bare, and who rolls out there; what a test and a measurement share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.facility.controller import INVENTORIES, Controller
from tests.facility.hosts.bed import Bed
from tests.facility.hosts.ipa import DOMAIN, WITH_IPA, given
from tests.facility.hosts.root import ENROLLABLE

HOSTS = ("portal", "bridge", "provider", "platform", "instance", "ipa", "files", "ctl", "node1", "node2")
ROOTS = {**dict.fromkeys(("instance", "files", "ctl", "node1", "node2"), ENROLLABLE), "ipa": WITH_IPA}
INVENTORY = INVENTORIES / "ten.yml"
PYTHONS = ("3.13",)  # Debian 13's; the rest have Debian 12, whose Python is the one that we run on
CANARIES = tuple(f"canary-9d41f0-{whose}" for whose in ("agent", "admin", "directory"))


@contextmanager
def ten_hosts(folder: Path, bundle: Path, inventory: Path = INVENTORY) -> Iterator[tuple[Bed, Controller]]:
    """Boot them; the controller is told what is of this machine: the release, the server's tree, its certificates."""
    variables = folder / "given.json"
    variables.write_text(json.dumps({"openportal_bundle": str(bundle), **given(folder / "pki")}))
    with Bed(folder, HOSTS, ROOTS, DOMAIN) as bed:
        bed.ssh("files", "mkdir /projects")  # a volume is the site's; we only make folders in it
        yield bed, Controller(bed, inventory, {}, (variables,))
