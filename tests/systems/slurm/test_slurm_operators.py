"""`op-slurm get_reservation_report` and `get_requeue_report` on a real Slurm."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openportal.cli.facility import Facility
from openportal.cli.slurm_reports import account_of
from openportal.errors import ConfigError
from openportal.paddington.config import load
from tests.processes.waiting import until
from tests.systems.slurm.cluster import Cluster
from tests.systems.slurm.site import ask, running, state_of, submit

pytestmark = [pytest.mark.systems, pytest.mark.processes]

RUN_MAX_SECONDS = 60
SCHEDULED_SECONDS = 300.0  # slurmctld takes its time with a job that was put back
RUN_SECONDS = 2.0
RESERVATION = "Workshop"


@pytest.fixture(scope="module")
def facility(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    """With a job in a reservation, and one that was requeued by hand while it ran and then cancelled.

    JSON of 22.05 does not name reservations, so its sacct is one word, which is asked for text.
    """
    sacct = tmp_path_factory.mktemp("tools") / "sacct"
    sacct.write_text(f'#!/bin/sh\nexec {cluster.prefix} sacct "$@"\n')
    sacct.chmod(0o755)
    more = {"sacct": str(sacct)} if cluster.version < "23" else {}
    with running(tmp_path_factory.mktemp("facility"), cluster, **more) as facility:
        ask(facility, "add_project shop.brics", "add_user dee.shop.brics")
        user = "dee.shop"
        cluster.shell(
            f"scontrol create reservation ReservationName={RESERVATION} StartTime=now Duration=20 Nodes=n2 Users={user}"
        )
        until(lambda: RESERVATION in cluster.shell("sacctmgr -nP show reservation format=name"), "the reservation")
        time.sleep(RUN_SECONDS)
        reserved = submit(cluster, user, f"--reservation={RESERVATION}", "--ntasks=4", command="sleep 3")
        again = submit(cluster, user, "--requeue", "--ntasks=2", command="sleep 600")
        until(lambda: state_of(cluster, again) == "RUNNING", "the job runs", SCHEDULED_SECONDS)
        time.sleep(RUN_SECONDS)
        cluster.shell(f"scontrol requeue {again}")
        cluster.start_again(again)
        time.sleep(RUN_SECONDS)
        cluster.shell(f"scancel {again}")
        until(lambda: state_of(cluster, reserved) == "COMPLETED", "the other job ends", SCHEDULED_SECONDS)
        until(
            lambda: ended(cluster, again) == ["CANCELLED", "REQUEUED"],
            "the records of both attempts",
            SCHEDULED_SECONDS,
        )
        yield facility
        cluster.shell(f"scontrol delete reservation={RESERVATION}")


def ended(cluster: Cluster, job: str) -> list[str]:
    return sorted(line.split()[0] for line in cluster.shell(f"sacct -nPXD -j {job} --format=State").splitlines())


def op_slurm(facility: Facility, *words: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "op-slurm", "-c", facility.config("slurm"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=RUN_MAX_SECONDS, check=False)


def as_json(facility: Facility, *words: str) -> dict[str, Any]:
    done = op_slurm(facility, *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_who_used_a_reservation(facility: Facility) -> None:
    found = as_json(facility, "get_reservation_report", RESERVATION.lower(), "today")
    assert found["name"] == RESERVATION
    [(account, used)] = found["accounts"].items()
    assert (account, used["jobs"], used["requeued_seconds"]) == ("brics.shop", 1, 0)
    assert used["seconds"] >= 1
    done = op_slurm(facility, "get_reservation_report", RESERVATION, "today")
    assert done.returncode == 0
    assert f"Reservation {RESERVATION}: 0.0 node hours by 1 jobs" in done.stdout
    assert "brics.shop" in done.stdout


@pytest.mark.parametrize(("policy", "charged"), [((), True), (("--requeue-policy", "no_charge"), False)])
def test_what_requeues_cost_a_project(facility: Facility, policy: tuple[str, ...], charged: bool) -> None:
    found = as_json(facility, "get_requeue_report", "shop.brics", "this_week", *policy)
    [requeued] = found["endings"].values()
    assert list(found["endings"]) == ["REQUEUED"]
    assert requeued["events"] == 1
    assert (requeued["charged_seconds"] > 0, requeued["absorbed_seconds"] > 0) == (charged, not charged)
    assert found["who"] == {"dee.shop": requeued}
    assert found["used_seconds"] > requeued["charged_seconds"] + requeued["absorbed_seconds"]


def test_what_requeues_cost_the_cluster(facility: Facility) -> None:
    assert "brics.shop" in as_json(facility, "get_requeue_report", "--cluster-wide", "today")["who"]
    done = op_slurm(facility, "get_requeue_report", "--cluster-wide", "--by-failures", "today")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("requeues; ", "REQUEUED", "brics.shop", "charged"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("get_requeue_report", "nobody.brics", "today"), "has made no account for nobody.brics"),
        (("get_requeue_report", "today"), "give a project and a period"),
        (("get_requeue_report", "--cluster-wide", "shop.brics", "today"), "a period only"),
        (("get_reservation_report", "x", "someday"), "'someday' is not a date"),
        (("get_reservation_report", "x", "today", "--requeue-policy", "free"), "requeue-policy is"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(
    facility: Facility, words: tuple[str, ...], sentence: str
) -> None:
    done = op_slurm(facility, *words)
    assert done.returncode != 0
    assert sentence in done.stderr


def test_an_account_is_that_of_the_ledger(facility: Facility) -> None:
    config = load(facility.config("slurm"))
    assert account_of(config, "shop.brics") == "brics.shop"
    with pytest.raises(ConfigError, match="--cluster-wide"):
        account_of(config, "other.brics")
