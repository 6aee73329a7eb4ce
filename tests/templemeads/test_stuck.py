"""Which jobs are counted as stuck, in quarantine, to be undone, or still in a leaf's hands."""

from __future__ import annotations

from openportal.agents.roles import RelayRole
from openportal.templemeads.core import Core
from openportal.templemeads.events import Ended, Quarantined, Received, board_stream
from openportal.templemeads.job import Job, State
from openportal.templemeads.stuck import STUCK_SECONDS, Stuck, stuck

ABOVE, BELOW = "aip1@default", "shared@default"
ID = "6f2c1c8e-52a4-4c3e-9a57-0c4b7f1c2d3e"


def core() -> Core:
    made = Core("clusters", RelayRole("Platform"), [ABOVE, BELOW])
    job = Job(ID, 1000, 1000, 2000, 2, "aip1.clusters.shared add_user alice.demo.brics", State.PENDING)
    made.put(ABOVE, job.to_wire(), 1000.0)
    return made


def test_a_job_that_passes_through_counts_once_and_after_a_minute() -> None:
    assert stuck(core(), 1000.0 + STUCK_SECONDS) == Stuck(0, STUCK_SECONDS)
    assert stuck(core(), 1001.0 + STUCK_SECONDS) == Stuck(1, STUCK_SECONDS + 1)
    assert stuck(core(), 900.0) == Stuck(0, 0)
    assert stuck(Core("x", RelayRole("Platform"), []), 1.0) == Stuck()


def test_a_job_in_quarantine_counts_until_somebody_has_dealt_with_it() -> None:
    made = core()
    stream = board_stream(ABOVE)
    for event in (Received("q", 0, 9, 1, None, "x add_user"), Quarantined("q", 4), Ended("q", 2, kind="run")):
        made.apply(stream, event, 1.0)
    assert stuck(made, 1000.0).in_quarantine == 1
    made.operate("resolve", ABOVE, "q", "olga", "", 1000.0)
    assert stuck(made, 1000.0).in_quarantine == 0
