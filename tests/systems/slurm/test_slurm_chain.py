"""From the published client through a whole chain of real agents to a real Slurm and back.

The bridge gets each instruction from the client that portals use; accounts are made by the shadow tools; jobs are
submitted by the users that came of it; what Slurm says is read by its own tools, not by ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

import pytest

from openportal.cli.facility import Facility
from tests.systems.slurm.cluster import Cluster
from tests.systems.slurm.site import (
    accounted,
    ask,
    ask_for_outcomes,
    associations,
    node_seconds,
    reason_of,
    running,
    state_of,
    submit,
    wait_for,
)

pytestmark = [pytest.mark.systems, pytest.mark.processes]


@pytest.fixture(scope="module")
def facility(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    with running(tmp_path_factory.mktemp("facility"), cluster) as facility:
        yield facility


def test_a_project_and_its_user_come_to_slurm_once(cluster: Cluster, facility: Facility) -> None:
    """Also when they are asked for again."""
    for _ in range(2):
        ask(facility, "add_project flow.brics", "add_user alice.flow.brics")
        assert associations(cluster, "brics.flow") == [
            ["brics.flow", "", "root", ""],
            ["brics.flow", "alice.flow", "", ""],
        ]
    account = cluster.shell("sacctmgr -nP show account name=brics.flow format=Org,Descr").strip()
    assert account == "openportal|account for openportal project flow.brics"
    default = cluster.shell("sacctmgr -nP show user name=alice.flow format=DefaultAccount").strip()
    assert default == "brics.flow"
    said = ask(
        facility, "is_project_added flow.brics", "is_user_added alice.flow.brics", "is_user_added bob.flow.brics"
    )
    assert list(said.values()) == ["1", "1", "0"]  # as the published client decodes them


def test_a_job_is_charged_to_the_second_to_its_account_and_day(cluster: Cluster, facility: Facility) -> None:
    ask(facility, "add_project charge.brics", "add_user carol.charge.brics")
    job = submit(cluster, "carol.charge", "-n", "2", "--gres=gpu:1", "-t", "5")
    wait_for(cluster, job, "COMPLETED")
    [row] = accounted(cluster, "brics.charge")
    assert (row["JobID"], row["User"], row["State"]) == (job, "carol.charge", "COMPLETED")

    day = datetime.fromisoformat(row["Start"]).date().isoformat()
    said = ask(facility, f"get_usage_report charge.brics {day}", f"get_usage_report flow.brics {day}")
    report, other = (json.loads(text) for text in said.values())
    assert list(report["reports"]) == [day]
    assert report["reports"][day]["reports"] == {"carol.charge": {"seconds": node_seconds(row)}}
    assert report["reports"][day]["num_jobs"] == 1
    assert report["users"] == {"carol.charge.brics": "carol.charge"}
    assert not any(daily.get("reports") for daily in other["reports"].values())


def test_a_limit_is_enforced_by_slurm(cluster: Cluster, facility: Facility) -> None:
    """A job that needs more than the project may use waits, for this reason; with a higher limit it starts."""
    said = ask(
        facility, "add_project limit.brics", "add_user dave.limit.brics", "set_limit limit.brics 1 hour",
        "get_limit limit.brics",
    )  # fmt: skip
    assert said["get_limit limit.brics"] == said["set_limit limit.brics 1 hour"]
    [[_, _, _, minutes], _] = associations(cluster, "brics.limit")
    assert minutes == "billing=9600,cpu=3840,gres/gpu=240,mem=7500G"

    small = submit(cluster, "dave.limit", "-n", "2", "-t", "1", command="sleep 1")
    wait_for(cluster, small, "COMPLETED")
    large = submit(cluster, "dave.limit", "-n", "64", "-t", "120", command="sleep 1")
    wait_for(cluster, large, "PENDING")
    cluster.shell("sleep 4")  # two rounds of the scheduler
    assert (state_of(cluster, large), reason_of(cluster, large)) == ("PENDING", "AssocGrpCPUMinutesLimit")

    ask(facility, "set_limit limit.brics 10 hours")
    wait_for(cluster, large, "COMPLETED")


def test_removing_a_user_cancels_what_waits_and_leaves_what_runs(cluster: Cluster, facility: Facility) -> None:
    ask(facility, "add_project leave.brics", "add_user erin.leave.brics", "add_user finn.leave.brics")
    runs = submit(cluster, "erin.leave", "-t", "5", command="sleep 20")
    wait_for(cluster, runs, "RUNNING")
    waits = submit(cluster, "erin.leave", "--begin=now+1hour")
    array = submit(cluster, "erin.leave", "--begin=now+1hour", "--array=1-3")
    colleague = submit(cluster, "finn.leave", "--begin=now+1hour")

    ask(facility, "remove_user erin.leave.brics", "is_user_removed erin.leave.brics")
    assert state_of(cluster, runs) == "RUNNING"
    assert state_of(cluster, waits) == "CANCELLED"
    assert cluster.shell("squeue --noheader --user=erin.leave --format=%A").split() == [runs]
    assert state_of(cluster, colleague) == "PENDING"
    assert f"Left to end in account brics.leave of erin.leave: {runs}" in facility.log("slurm").read_text()
    assert array != waits
    users = [user for _, user, _, _ in associations(cluster, "brics.leave")]
    assert users == ["", "erin.leave", "finn.leave"], "the records stay"

    ask(facility, "remove_project leave.brics")
    assert state_of(cluster, colleague) == "CANCELLED"
    ask(facility, "add_project leave.brics", "add_user erin.leave.brics")
    again = submit(cluster, "erin.leave", "-t", "1", command="true")
    wait_for(cluster, again, "COMPLETED")


def test_an_account_that_is_not_ours_is_never_touched(cluster: Cluster, facility: Facility) -> None:
    cluster.shell("sacctmgr -i add account name=brics.site cluster=testcl organization=physics description=theirs")
    before = associations(cluster, "brics.site")
    outcomes = ask_for_outcomes(facility, "add_project site.brics", "set_limit site.brics 1 hour")
    assert all("organisation 'physics'" in error for _, error, _ in outcomes[:1])
    assert all(error for _, error, _ in outcomes)
    assert associations(cluster, "brics.site") == before


def test_while_slurmdbd_is_down_a_job_fails_with_the_reason_and_its_repeat_completes_it(
    cluster: Cluster, facility: Facility
) -> None:
    ask(facility, "add_project outage.brics")
    with cluster.without("slurmdbd", cluster.dbd_answers):
        [[_, error, _]] = ask_for_outcomes(facility, "add_user hugo.outage.brics")
    assert "sacctmgr does not reach Slurm" in error
    assert "Connection refused" in error
    assert [user for _, user, _, _ in associations(cluster, "brics.outage")] == [""]
    ask(facility, "add_user hugo.outage.brics")
    assert [user for _, user, _, _ in associations(cluster, "brics.outage")] == ["", "hugo.outage"]
