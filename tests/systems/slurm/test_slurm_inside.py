"""An instance with its scheduler inside, on a real Slurm: `op-slurm init --agent instance`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_inside import TOGETHER
from tests.systems.slurm.cluster import Cluster
from tests.systems.slurm.site import accounted, ask, associations, node_seconds, running, submit, wait_for
from tests.systems.slurm.test_slurm_reconcile import reconcile

pytestmark = [pytest.mark.systems, pytest.mark.processes]


def test_it_does_what_an_instance_and_its_scheduler_do(cluster: Cluster, tmp_path: Path) -> None:
    with running(tmp_path, cluster, TOGETHER, "shared") as facility:
        said = ask(
            facility, "add_project inside.brics", "add_user iris.inside.brics", "set_limit inside.brics 10 hours",
            "get_limit inside.brics", "is_user_added iris.inside.brics",
        )  # fmt: skip
        assert said["get_limit inside.brics"] == "10.000 hours"
        assert said["is_user_added iris.inside.brics"] == "1"
        job = submit(cluster, "iris.inside", "-n", "4", "-t", "5")
        wait_for(cluster, job, "COMPLETED")
        [row] = accounted(cluster, "brics.inside")
        day = row["Start"][:10]
        text = ask(facility, f"get_usage_report inside.brics {day}")[f"get_usage_report inside.brics {day}"]
        usage = json.loads(text)["reports"][day]["reports"]
        assert usage == {"iris.inside": {"seconds": node_seconds(row)}}

        facility.kill(["shared"])
        facility.start(["shared"])
        ask(facility, "add_user jack.inside.brics")
        assert [user for _, user, _, _ in associations(cluster, "brics.inside")] == ["", "iris.inside", "jack.inside"]
        _, output, _ = reconcile(facility.config("shared"), "--json")
        assert [one for one in json.loads(output) if "inside" in one["name"]] == []
