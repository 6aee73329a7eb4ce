"""The words of sacct, with prefixes and without."""

from __future__ import annotations

import pytest

from openportal.agents.scheduler.slurm.records import TEXT_COLUMNS
from openportal.agents.scheduler.slurm.sacct import arguments, columns, with_times
from openportal.agents.scheduler.slurm.transport import JobQuery
from openportal.agents.scheduler.slurm.windows import Window

TIMES = "env SLURM_TIME_FORMAT=%s"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("sacct", f"{TIMES} sacct"),
        ("/opt/slurm/bin/sacct", f"{TIMES} /opt/slurm/bin/sacct"),
        ("docker exec slurmctld sacct", f"docker exec slurmctld {TIMES} sacct"),
        ("ssh login -- /usr/bin/sacct --federation", f"ssh login -- {TIMES} /usr/bin/sacct --federation"),
        ("our-accounting", f"{TIMES} our-accounting"),
    ],
)
def test_times_come_in_seconds_wherever_sacct_runs(command: str, expected: str) -> None:
    assert with_times(command.split()) == tuple(expected.split())


def test_columns_that_a_version_does_not_have_are_not_asked_for() -> None:
    assert columns("Account AdminComment\nRestarts State") == (*TEXT_COLUMNS, "Restarts")
    assert columns("Account\n") == TEXT_COLUMNS


def test_what_narrows_the_answer_is_there_only_if_it_is_set() -> None:
    words = arguments(JobQuery(Window(10, 20), "c", "proj", "main"), ["JobIDRaw", "State"])
    assert {"--starttime=uts10", "--endtime=uts20", "--cluster=c", "--accounts=proj", "--partition=main"} <= {*words}
    assert "--format=JobIDRaw,State" in words
    everything = arguments(JobQuery(Window(10, 20), "c"), ["State"])
    assert [word for word in everything if word.startswith(("--accounts", "--partition"))] == []
