"""Which attempt is the job, and what ended the others."""

from __future__ import annotations

import pytest
from hypothesis import given

from openportal.agents.scheduler.slurm.attempts import ENDINGS, OTHER, Attempt, RequeuePolicy, attempts
from openportal.agents.scheduler.slurm.records import JobRecord
from openportal.errors import ConfigError
from tests.agents.scheduler.accounting import histories, record


def base(*records: JobRecord) -> list[int]:
    """When the attempts that count were submitted."""
    return sorted(attempt.record.submitted for attempt in attempts(records) if not attempt.superseded)


@given(histories())
def test_every_record_is_told_apart_once(history: tuple[list[JobRecord], int]) -> None:
    records, _ = history
    found = [attempt.record for attempt in attempts(records)]
    assert sorted(found, key=repr) == sorted(records, key=repr)


def test_the_last_attempt_counts_in_whatever_order_they_come() -> None:
    records = [record(submitted=number * 100, restarts=number) for number in (2, 1, 3)]
    assert base(*records) == [300]


def test_jobs_of_different_clusters_are_different_jobs() -> None:
    assert base(record(submitted=1, cluster="a"), record(submitted=2, cluster="b", restarts=1)) == [1, 2]


def test_where_the_count_of_restarts_falls_another_job_begins() -> None:
    records = [record(submitted=number, restarts=restarts) for number, restarts in enumerate((0, 1, 0, 1, 2))]
    assert base(*records) == [1, 4]


@pytest.mark.parametrize(("user", "expected"), [("alice", [200]), ("bob", [100, 200])])
def test_without_a_count_of_restarts_the_user_tells(user: str, expected: list[int]) -> None:
    records = [record(submitted=100, restarts=None), record(submitted=200, restarts=None, user=user)]
    assert base(*records) == expected


@pytest.mark.parametrize(
    ("states", "ending"),
    [
        (("PENDING", "REQUEUED"), "REQUEUED"),
        (("REQUEUED", "NODE_FAIL"), "NODE_FAIL"),
        (("CANCELLED", "REQUEUED"), "REQUEUED"),
        (("PENDING",), OTHER),
        ((), OTHER),
    ],
)
def test_an_ending_is_the_first_that_is_known(states: tuple[str, ...], ending: str) -> None:
    assert Attempt(record(states=states), True).ending == ending


def test_policies() -> None:
    charged = {policy: [ending for ending in (*ENDINGS, OTHER) if policy.charges(ending)] for policy in RequeuePolicy}
    assert charged == {RequeuePolicy.CHARGE_REQUEUE_STATE_ONLY: ["REQUEUED"], RequeuePolicy.NO_CHARGE: []}


def test_a_policy_is_read_from_its_name() -> None:
    assert RequeuePolicy.parse(" No_Charge ") is RequeuePolicy.NO_CHARGE


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="charge_requeue_state_only or no_charge, not 'nocharge'"):
        RequeuePolicy.parse("nocharge")
