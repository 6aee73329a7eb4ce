"""`op-slurm reconcile` of a facility whose Slurm was changed behind its back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from openportal.agents.scheduler.slurm.reconcile import CHANGED, FOREIGN, MISSING, RAISED, TAKEN
from openportal.cli.facility import Facility
from openportal.cli.reconcile import EXIT_DIFFERENT, EXIT_UNKNOWN
from tests.systems.slurm.cluster import Cluster
from tests.systems.slurm.roots import slurm_root
from tests.systems.slurm.site import ask, associations, running

pytestmark = [pytest.mark.systems, pytest.mark.processes]

RUN_MAX_SECONDS = 120


@pytest.fixture(scope="module", params=[pytest.param("24.11", marks=pytest.mark.smoke), "22.05"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of its own: what others made would be foreign here."""
    version: str = request.param
    with Cluster(tmp_path_factory.mktemp("slurm-own"), slurm_root(version), version) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def facility(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    with running(tmp_path_factory.mktemp("facility"), cluster) as facility:
        ask(
            facility, "add_project one.brics", "add_user ada.one.brics", "add_user ben.one.brics",
            "set_limit one.brics 10 hours", "add_project two.brics", "add_user cy.two.brics",
            "set_limit two.brics 10 hours", "add_project old.brics", "remove_project old.brics",
        )  # fmt: skip
        yield facility


def reconcile(config: Path, *options: str) -> tuple[int, str, str]:
    """The exit code, and what was printed on both streams."""
    command = [Path(sys.executable).parent / "op-slurm", "-c", config, "reconcile", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_MAX_SECONDS, check=False)
    return done.returncode, done.stdout, done.stderr


def differences(facility: Facility, *options: str) -> tuple[int, list[dict[str, Any]]]:
    code, output, errors = reconcile(facility.config("slurm"), "--json", *options)
    assert errors == ""
    return code, json.loads(output)


def brief(found: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {(one["kind"], one["what"], one["name"]) for one in found}


def test_what_was_made_is_there(facility: Facility) -> None:
    code, output, _ = reconcile(facility.config("slurm"))
    assert (code, output.strip()) == (0, "Slurm has what this agent made, and no more.")


def test_differences_are_shown_and_repaired_and_nothing_is_removed(cluster: Cluster, facility: Facility) -> None:
    for command in (
        "delete user name=ben.one account=brics.one", "modify account brics.one set GrpTRESMins=cpu=5",
        "delete user name=cy.two", "delete account name=brics.two", "add account name=stray organization=openportal",
        "add account name=top organization=site", "modify account brics.one set parent=top",
        "add user name=ada.one account=top", "modify user ada.one set defaultaccount=top",
    ):  # fmt: skip
        cluster.shell(f"sacctmgr -i {command} description=x" if "add account" in command else f"sacctmgr -i {command}")
    expected = {
        (CHANGED, "account", "brics.one"),
        (CHANGED, "limit", "brics.one"),
        (CHANGED, "user", "ada.one"),
        (MISSING, "user", "ben.one"),
        (MISSING, "account", "brics.two"),
        (MISSING, "user", "cy.two"),
        (MISSING, "limit", "brics.two"),
        (FOREIGN, "account", "stray"),
    }
    before = cluster.shell("sacctmgr -nP show assoc format=account,user,parentname,grptresmins")
    code, found = differences(facility)
    assert (code, brief(found)) == (EXIT_DIFFERENT, expected)
    assert cluster.shell("sacctmgr -nP show assoc format=account,user,parentname,grptresmins") == before
    _, table, _ = reconcile(facility.config("slurm"), "--dry-run")
    assert all(word in table for word in ("missing", "ben.one", "add_local_user ben.one.brics", "by hand"))

    code, left = differences(facility, "--apply")
    assert (code, brief(left)) == (EXIT_DIFFERENT, {(FOREIGN, "account", "stray")})
    limits = "billing=96000,cpu=38400,gres/gpu=2400,mem=75000G"
    assert associations(cluster, "brics.two") == [["brics.two", "", "root", limits], ["brics.two", "cy.two", "", ""]]
    assert associations(cluster, "brics.one")[0] == ["brics.one", "", "root", limits]
    cluster.shell("sacctmgr -i delete account name=stray")
    assert differences(facility) == (0, [])


def test_what_is_not_ours_to_repair_is_shown(cluster: Cluster, facility: Facility) -> None:
    cluster.shell("sacctmgr -i modify account brics.two set organization=physics")
    cluster.shell("sacctmgr -i modify account brics.one set GrpTRESMins=cpu=999999,gres/gpu=9999")
    expected = {(TAKEN, "account", "brics.two"), (RAISED, "limit", "brics.one")}
    code, found = differences(facility, "--apply")
    assert (code, brief(found)) == (EXIT_DIFFERENT, expected)
    cluster.shell("sacctmgr -i modify account brics.two set organization=openportal")
    ask(facility, "get_limit one.brics")
    assert differences(facility) == (0, [])


def test_a_look_that_fails_changes_nothing(cluster: Cluster, facility: Facility) -> None:
    with cluster.without("slurmdbd", cluster.dbd_answers):
        code, output, errors = reconcile(facility.config("slurm"), "--apply")
    assert (code, output) == (EXIT_UNKNOWN, "")
    assert "op-slurm reconcile: sacctmgr does not reach Slurm" in errors


def test_a_look_that_finds_nothing_is_not_believed(cluster: Cluster, facility: Facility, tmp_path: Path) -> None:
    silent = tmp_path / "sacctmgr"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    document = tomlkit.parse(facility.config("slurm").read_text())
    document["extras"].update({"sacctmgr": str(silent), "slurm-cluster": "testcl"})  # type: ignore[union-attr]
    config = tmp_path / "slurm.toml"
    config.write_text(tomlkit.dumps(document))
    before = associations(cluster, "brics.one")
    code, output, errors = reconcile(config, "--apply")
    assert (code, output) == (EXIT_UNKNOWN, "")
    assert "Slurm shows none of the 2 accounts that were made" in errors
    assert associations(cluster, "brics.one") == before
