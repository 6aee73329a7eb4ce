"""The words of sacct."""

from __future__ import annotations

import pytest

from openportal.agents.scheduler.slurm.records import TEXT_COLUMNS
from openportal.agents.scheduler.slurm.sacct import columns, is_direct, json_arguments, text_arguments
from openportal.agents.scheduler.slurm.transport import JobQuery
from openportal.agents.scheduler.slurm.windows import Window

QUERY = JobQuery(Window(10, 20), "c", ("one", "two"), "main")


@pytest.mark.parametrize(
    ("command", "direct"),
    [("sacct", True), ("/opt/slurm/bin/sacct", True), ("sudo sacct", False), ("docker exec slurmctld sacct", False)],
)
def test_our_environment_reaches_sacct_only_without_a_prefix(command: str, direct: bool) -> None:
    assert is_direct(command.split()) is direct


def test_columns_that_a_version_does_not_have_are_not_asked_for() -> None:
    assert columns("Account AdminComment\nRestarts State") == (*TEXT_COLUMNS, "Restarts")
    assert columns("Account\n") == TEXT_COLUMNS


def test_both_forms_ask_for_the_same_records() -> None:
    text, json = text_arguments(QUERY, ["JobIDRaw", "State"]), json_arguments(QUERY)
    assert set(text) - set(json) == {"--parsable2", "--format=JobIDRaw,State"}
    assert set(json) - set(text) == {"--json"}
    assert {"--starttime=uts10", "--endtime=uts20", "--cluster=c", "--accounts=one,two", "--partition=main"} <= {*json}


def test_what_narrows_the_answer_is_there_only_if_it_is_set() -> None:
    words = json_arguments(JobQuery(Window(10, 20), "c"))
    assert [word for word in words if word.startswith(("--accounts", "--partition"))] == []
