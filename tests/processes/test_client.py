"""The clients that are on the package index drive a whole facility of ours, every function of theirs, and so does ours.

Beside the usual facility there is a second portal, `allocator`, with a bridge of its own: its awards are what our
portal's software gets to answer.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from openportal.cli.facility import MEMBERS, Facility
from openportal.cli.published import VERSIONS, client_python
from tests.processes.software import PORTALS, Software

DRIVER = Path(__file__).with_name("client_driver.py")
CHILD_MAX_SECONDS = 240
START_MAX_SECONDS = 90.0
OURS = "ours"
VARYING = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WORDED = ("failures",)
"""What is told in the words of the client."""
MEMBERS_HERE = (*PORTALS, *(member for member in MEMBERS if member.name not in ("bridge", "brics")))
PATH = "shared.clusters.aip1.brics"

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What each client saw of a facility of its own; each is started once."""

    @cache
    def run(version: str) -> dict[str, Any]:
        facility = Facility(tmp_path_factory.mktemp("facility"), members=MEMBERS_HERE)
        with facility, Software(facility.client_file) as software:
            facility.lay_out({"bridge": {"bridge": software.table}})
            facility.start()
            facility.wait_ready(START_MAX_SECONDS)
            return drive(version, facility, software)

    return run


@pytest.fixture(scope="module", params=(*VERSIONS, OURS))
def seen(request: pytest.FixtureRequest, runs: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return runs(request.param) | {"version": request.param}


def drive(version: str, facility: Facility, software: Software) -> dict[str, Any]:
    python = sys.executable if version == OURS else client_python(version)
    child = subprocess.run(
        [python, "-I", DRIVER, facility.client_file, facility.client_file_of("office"), software.url],
        cwd=facility.folder, env={**os.environ, "RUST_BACKTRACE": "0"},
        capture_output=True, text=True, timeout=CHILD_MAX_SECONDS, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    seen: dict[str, Any] = json.loads(VARYING.sub("<…>", child.stdout.replace(str(facility.folder), "<facility>")))
    return seen


def test_the_same_program_sees_the_same_with_the_published_client_and_with_ours(
    runs: Callable[[str], dict[str, Any]],
) -> None:
    theirs, ours = runs("0.94.0"), runs(OURS)
    said = zip(theirs["jobs"]["said"], ours["jobs"]["said"], strict=True)
    assert [pair for pair in said if pair[0] != pair[1]] == []
    assert [name for name in theirs if name not in WORDED and ours[name] != theirs[name]] == []
    assert [ours[name].keys() for name in WORDED] == [theirs[name].keys() for name in WORDED]


def newer(seen: dict[str, Any]) -> bool:
    return bool(seen["version"] != "0.32.2")


def test_health_is_the_tree_of_our_agents(seen: dict[str, Any]) -> None:
    below = {"aip1": {"clusters": {"shared": {"acct": {}, "fs": {}, "slurm": {}}}}}
    assert seen["health"] == {"bridge": {"brics": below}}
    assert seen["portal"] == "brics"


def test_every_answer_is_decoded_to_its_type(seen: dict[str, Any]) -> None:
    said = dict(seen["jobs"]["said"])
    project = ["ProjectMapping", "demo.brics:brics.demo"]
    user = ["UserMapping", "alice.demo.brics:alice.demo:brics.demo"]
    expected = {
        "add_project demo.brics": project,
        "add_user alice.demo.brics": user,
        "get_users demo.brics": [user],
        "get_projects brics": [project],
        "get_user_mapping alice.demo.brics": user,
        "get_project_mapping demo.brics": project,
        "is_protected_user alice.demo.brics": 0,
        "block_user alice.demo.brics": user,
        "unblock_user alice.demo.brics": user,
        "is_blocked_project demo.brics": 1,
        "block_project demo.brics": [user],
        "unblock_project demo.brics": [user],
        "is_blocked_user alice.demo.brics": 0,
        "set_limit demo.brics 10 hours": ["Usage", "10.000 hours"],
        "get_limit demo.brics": ["Usage", "10.000 hours"],
        "remove_user alice.demo.brics": user,
        "remove_project demo.brics": project,
    }
    if newer(seen):
        expected |= {
            "is_user_added alice.demo.brics": 1,
            "is_project_added demo.brics": 1,
            "is_user_removed alice.demo.brics": 0,
        }
    assert {instruction: said[instruction] for instruction in expected} == expected


def test_reports_directories_and_quotas_are_decoded(seen: dict[str, Any]) -> None:
    said = dict(seen["jobs"]["said"])
    types = {
        "get_usage_report demo.brics": "ProjectUsageReport",
        "get_usage_reports brics": "UsageReport",
        "get_storage_report demo.brics": "ProjectStorageReport",
        "get_storage_reports brics": "StorageReport",
        "set_project_quota demo.brics projects 10 GB": "Quota",
        "get_project_quota demo.brics projects": "Quota",
        "set_user_quota alice.demo.brics home 5 GB": "Quota",
    }
    assert {instruction: said[instruction][0] for instruction in types} == types
    assert said["get_home_dir alice.demo.brics"].endswith("alice.demo")
    assert [type(each) for each in said["get_project_dirs demo.brics"]] == [str]
    assert said["get_project_quotas demo.brics"]["projects"][0] == "Quota"
    assert said["get_user_quotas alice.demo.brics"]["home"][1].startswith("0 B / 5.00 GB")
    assert said["clear_project_quota demo.brics projects"] is None


def test_a_job_is_found_again_by_every_function(seen: dict[str, Any]) -> None:
    assert seen["jobs"]["looked"] == [[True, True]] * 3


def test_failures_of_jobs_raise_their_class(seen: dict[str, Any]) -> None:
    missing, relay = seen["jobs"]["failures"]
    assert missing[0]
    assert missing[1].startswith("RuntimeError{")
    assert "nobody.demo.brics" in missing[1]
    assert relay[0]
    if newer(seen):
        assert missing[2:] == ["run", "OpenPortalOtherError"]
        assert relay[2:] == ["unsupported", "OpenPortalUnsupportedCommandError"]


def test_offerings(seen: dict[str, Any]) -> None:
    one, two = "cluster1.brics.allocator", "cluster2.brics.allocator"
    assert seen["offerings"] == [[one], [one], [one, two], [one, two], [one], [one]]


def test_awards_come_to_our_software_and_its_answers_go_back(seen: dict[str, Any]) -> None:
    awards = seen["awards"]
    assert [told for told, _ in awards.values()] == [[1, "create_project", "allocator.brics.cluster1"]] * 4
    assert awards["complete"][1] == ["ProjectMapping", "a.allocator:a.brics"]
    for kind in ("Pending", "Rejected", "Permission"):
        is_error, text, error_kind, raised = awards[kind][1]
        assert is_error
        assert text == f"RuntimeError{{ManagedProject{kind}Error: say why}}"
        if newer(seen):
            assert (error_kind, raised) == (f"award_{kind.lower()}", f"ManagedProject{kind}Error")
    assert seen["left"] == 0


def test_events_of_the_facility_can_be_fetched(seen: dict[str, Any]) -> None:
    notes = seen["notifications"]
    for event in ("project_added demo.brics", "user_added alice.demo.brics", "user_removed alice.demo.brics"):
        assert f"{PATH} {event}" in notes


def test_operations(seen: dict[str, Any]) -> None:
    operations = seen["operations"]
    assert operations["diagnostics"] == [["ok", "bridge"], ["ok", "shared"]]
    ok, message = operations["restart"]
    assert ok
    assert "aip1" in message
    assert operations["after"] == 0


def test_calls_that_cannot_be_answered_raise(seen: dict[str, Any]) -> None:
    statuses = {
        "grammar": 400, "not ours": 400, "job": 404, "software's job": 404, "notification": 404, "restart": 400,
    }  # fmt: skip
    assert {name: f"Status: {status}" in seen["failures"].get(name, "") for name, status in statuses.items()} == (
        dict.fromkeys(statuses, True)
    )
