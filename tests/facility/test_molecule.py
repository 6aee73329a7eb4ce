"""Each role alone, by its scenario of molecule: it does its work, has nothing more to do, and left what it should.

The scenarios share the hosts that are started here; run by hand (`molecule test -s ROLE`) each starts its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.facility.controller import ROOT
from tests.facility.hosts.bed import Bed
from tests.facility.hosts.ipa import DOMAIN
from tests.facility.hosts.keep import ROOTS, lend

pytestmark = [pytest.mark.systems, pytest.mark.facility]

FOLDER = ROOT / "extensions/molecule"
SCENARIOS = sorted(path.parent.name for path in FOLDER.glob("*/molecule.yml"))
STEPS = ("create", "converge", "idempotence", "verify", "destroy")
SCENARIO_MAX_SECONDS = 1800
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def platforms() -> dict[str, str]:
    """The hosts of all scenarios, with what their disks begin with."""
    files = [FOLDER / "config.yml", *(FOLDER / name / "molecule.yml" for name in SCENARIOS)]
    tables = [yaml.safe_load(file.read_text()) for file in files]
    return {host["name"]: host["root"] for table in tables for host in table.get("platforms", [])}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[dict[str, str]]:
    """What molecule runs with: all hosts are up, and lent to it."""
    folder = tmp_path_factory.mktemp("molecule")
    roots = {name: ROOTS[root] for name, root in platforms().items()}
    with Bed(folder / "bed", tuple(roots), roots, DOMAIN) as bed:
        lend(bed, folder)
        own = {"OPENPORTAL_BED": str(folder), "OPENPORTAL_BUNDLE": str(bundle), "ANSIBLE_HOME": str(folder / "home")}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        yield {**os.environ, **own, "PATH": path, "COLUMNS": "200"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("molecule"), "test", "--scenario-name", scenario],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SCENARIO_MAX_SECONDS, check=False,
    )  # fmt: skip
    said = COLOURS.sub("", done.stdout)
    assert done.returncode == 0, said
    assert re.findall(rf"^{scenario} ➜ (\w+): Executed: Successful", said, re.MULTILINE) == list(STEPS), said
    assert re.search(r"^\W*\d+ passed", said, re.MULTILINE), said  # testinfra
