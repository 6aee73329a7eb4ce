"""What ours writes, the published clients read, and the other way round: every document and every type of result."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import openportal
from openportal.cli.published import VERSIONS, client_python
from tests.client.samples import read, written

DRIVER = Path(__file__).with_name("exchange_driver.py")
OLD = "0.32.2"
UNLIKE_IN_OLD = {"ProjectUsageReport", "UsageReport", "job with UsageReport", "job with ProjectUsageReport"}
"""What 0.32.2 reads, but says otherwise: it knows of no run times, requeues and reservations, and drops them."""


@pytest.fixture(scope="module", params=VERSIONS)
def theirs(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What one published client made of our documents, and its own."""
    child = subprocess.run(
        [client_python(request.param), "-I", DRIVER], input=json.dumps(written(openportal)),
        capture_output=True, text=True, timeout=60, env={**os.environ, "RUST_BACKTRACE": "0"}, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    found: dict[str, Any] = json.loads(child.stdout)
    return found | {"version": request.param}


def test_they_read_what_we_write(theirs: dict[str, Any]) -> None:
    ours = read(openportal, written(openportal))
    differing = {name for name in ours if ours[name] != theirs["read"][name]}
    assert differing == (UNLIKE_IN_OLD if theirs["version"] == OLD else set())


def test_we_read_what_they_write(theirs: dict[str, Any]) -> None:
    ours = read(openportal, theirs["written"])
    same = read(openportal, written(openportal))
    differing = {name for name in ours if ours[name] != same[name]}
    assert ours.keys() == same.keys()
    assert differing == (UNLIKE_IN_OLD if theirs["version"] == OLD else set())
