"""A job through a real facility, and what is told if there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from openportal.cli.facility import CHAIN, Facility
from openportal.cli.probe import try_jobs

PLAN = {"agents": [{"name": "bridge", "paths": [CHAIN]}, {"name": "brics", "paths": []}]}


@pytest.mark.processes
def test_a_job_walks_the_chain_and_back(tmp_path: Path) -> None:
    with Facility(tmp_path) as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        (job,) = try_jobs(PLAN, tmp_path, 20)
        assert (job["path"], job["failed"]) == (CHAIN, None)
        (other,) = try_jobs({"agents": [{"name": "bridge", "paths": ["brics.nobody"]}]}, tmp_path, 1)
        assert "nobody" in other["failed"]
        facility.stop()
        (none,) = try_jobs(PLAN, tmp_path, 1)
        assert none["failed"].startswith("the bridge was asked and there was no job")
