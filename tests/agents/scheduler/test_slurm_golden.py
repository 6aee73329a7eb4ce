"""What real Slurms said of jobs of every kind, in every form that they say it (`tests/systems/slurm/record.py`)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from openportal.agents.scheduler.slurm.attempts import RequeuePolicy, attempts
from openportal.agents.scheduler.slurm.records import JobRecord, read_json, read_text
from openportal.agents.scheduler.slurm.usage import report
from openportal.agents.scheduler.slurm.windows import Window
from tests.agents.scheduler.accounting import NODE
from tests.agents.scheduler.test_slurm_usage import flat
from tests.agents.scheduler.usage_oracle import figures

FOLDER = Path(__file__).parents[2] / "vectors" / "slurm"
FILES = sorted(FOLDER.iterdir())
RELEASES = ("22.05.8", "24.11.5")
OLD_FORMS = ("22.05", "24.11.5.v0.0.40")
"""What says nothing of restarts."""
MARGIN_SECONDS = 5


def read(path: Path) -> list[JobRecord]:
    found = read_text(path.read_text()) if path.suffix == ".txt" else read_json(path.read_bytes())
    assert found.unreadable == ()
    return sorted(found.jobs, key=lambda job: job.key)


def ids(path: Path) -> str:
    return path.name


def test_both_releases_are_there_in_every_form() -> None:
    forms = {release: {path.name.removeprefix(f"{release}.") for path in FILES} for release in RELEASES}
    assert {"json", "txt", "v0.0.38.json"} <= forms["22.05.8"]
    assert {"json", "txt", "v0.0.40.json", "v0.0.42.json"} <= forms["24.11.5"]


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".json"], ids=ids)
def test_a_file_says_who_wrote_it(path: Path) -> None:
    assert f'"release": "{path.name[:7]}"' in path.read_text()[:1000]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_what_ran(path: Path) -> None:
    jobs = read(path)
    endings = Counter(
        "RUNNING" if job.is_running else attempt.ending for attempt in attempts(jobs) if (job := attempt.record).started
    )
    assert endings == {"COMPLETED": 8, "FAILED": 1, "CANCELLED": 1, "REQUEUED": 1, "NODE_FAIL": 1, "RUNNING": 1}
    assert [job.states for job in jobs if not job.started] == [("CANCELLED",), ("PENDING",)]
    superseded = {attempt.ending for attempt in attempts(jobs) if attempt.superseded}
    assert superseded == {"REQUEUED", "NODE_FAIL"}
    assert {(job.user, job.account, job.cluster, job.partition) for job in jobs} == {
        (user, "recorded", "testcl", "main") for user in ("alice", "bob")
    }


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_what_was_held(path: Path) -> None:
    held = {(job.cpus, job.gpus, job.memory_mb, job.nodes): job.billing for job in read(path) if job.elapsed}
    assert held == {(2, 2, 2000, 1): 34, (4, 0, 4000, 1): 4, (128, 0, 128_000, 2): 159, (1, 0, 1000, 1): 1}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_reservations(path: Path) -> None:
    named = "#1" if path.suffix == ".json" and path.name.startswith("22.05") else "interactive"
    assert [job.reservation for job in read(path) if job.reservation] == [named]


@pytest.mark.parametrize("release", RELEASES)
def test_every_form_says_the_same(release: str) -> None:
    """Except for what one of them does not say; a running job is a little older in the later ones."""
    forms = [read(path) for path in FILES if path.name.startswith(release)]
    told = [[plain(job) for job in jobs] for jobs in forms]
    assert all(jobs == told[0] for jobs in told[1:])


def plain(job: JobRecord) -> JobRecord:
    states = ("REQUEUED",) if "REQUEUED" in job.states else job.states
    elapsed = 0 if job.is_running else job.elapsed
    return replace(job, restarts=None, states=states, elapsed=elapsed, reservation=job.reservation and "interactive")


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_what_later_versions_tell(path: Path) -> None:
    jobs = read(path)
    restarts = Counter(job.restarts for job in jobs)
    failed = [job.failed_node for job in jobs if "NODE_FAIL" in job.states]
    assert restarts == ({None: 15} if path.name.startswith(OLD_FORMS) else {0: 13, 1: 2})
    assert failed == ([""] if path.name.startswith("22.05") else ["n1"])


@pytest.mark.parametrize("policy", RequeuePolicy)
@pytest.mark.parametrize("path", FILES, ids=ids)
def test_their_report_is_that_of_the_oracle(path: Path, policy: RequeuePolicy) -> None:
    jobs = read(path)
    now = max(job.started + job.elapsed for job in jobs)
    first, middle = min(job.submitted for job in jobs), now - MARGIN_SECONDS
    charging = policy is RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY
    for window in (Window(first, now), Window(first, middle), Window(middle, now), Window(first - 9, now + 9)):
        made = report(jobs, window, NODE, policy, now)
        assert flat(made) == figures(jobs, window, NODE, charging, now)
        assert not made.is_complete
