"""What answers mean, as slurmrestd of both versions gave them."""

from __future__ import annotations

import json

import pytest

from openportal.agents.scheduler.slurm import rest_answers
from openportal.agents.scheduler.slurm.rest_answers import Verdict, judge
from openportal.agents.scheduler.slurm.transport import Account, Association, QueuedJob
from openportal.errors import RunError

NUMBER = {"set": True, "infinite": False, "number": 5}


def errors(*problems: dict[str, object]) -> bytes:
    return json.dumps({"errors": problems, "warnings": []}).encode()


@pytest.mark.parametrize(
    ("status", "content", "verdict", "said"),
    [
        (200, errors(), Verdict.FINE, ""),
        (200, b'{"accounts": []}', Verdict.FINE, ""),
        (200, b'{"errors": null}', Verdict.FINE, ""),
        (200, b'{"errors": [], "warnings": [{"description": "Ignoring unknown field"}]}', Verdict.FINE, ""),
        (304, b"", Verdict.FINE, ""),
        # 22.05
        (500, errors({"description": "Nothing found", "error_number": 9003}), Verdict.NOTHING, "Nothing found"),
        (200, errors({"description": "Nothing found", "error_number": 9003}), Verdict.NOTHING, "Nothing found"),
        (200, errors({"error_number": 1900, "error": "Data has not changed"}), Verdict.NOTHING, "Data has not changed"),
        (500, errors({"error_number": 2017, "error": "Invalid job id"}), Verdict.NOTHING, "Invalid job id"),
        (500, errors({"error_number": 1007, "error": "Protocol authentication error"}), Verdict.TOKEN, "Protocol"),
        (500, errors({"error_number": 7000, "error": "Unable to connect to database"}), Verdict.DOWN, "Unable"),
        (500, errors({"error_number": -1, "error": "Unspecified error"}), Verdict.DOWN, "Unspecified error"),
        (200, errors({"error_number": 9202, "description": "Failed to parse"}), Verdict.REFUSED, "Failed to parse"),
        # 24.11
        (
            502,
            errors({"description": "Failed to open slurmdbd connection, authentication error", "error_number": 7000}),
            Verdict.TOKEN,
            "authentication error",
        ),
        (502, errors({"description": "Failed to open slurmdbd connection", "error_number": 7000}), Verdict.DOWN, "Fa"),
        (502, errors({"description": "Unable to query jobs", "error_number": 1800}), Verdict.DOWN, "Unable to query"),
        (
            500,
            errors({"error_number": 2002, "error": "Access/permission denied"}),
            Verdict.REFUSED,
            "Access/permission",
        ),
        (500, b'{"errors": []}', Verdict.REFUSED, "status 500"),
        # what is no answer of slurmrestd's at all
        (401, b"Authentication failure", Verdict.TOKEN, "status 401: Authentication failure"),
        (404, b"Unable find requested URL.", Verdict.VERSION, "status 404: Unable find"),
        (503, b"<html>overloaded</html>", Verdict.DOWN, "status 503"),
        (400, b"", Verdict.REFUSED, "status 400: no text"),
        (200, b"<html>a login page</html>", Verdict.REFUSED, "no JSON: status 200: <html>"),
        (200, b'{"errors": "all"}', Verdict.REFUSED, "no JSON"),
    ],
)
def test_verdicts(status: int, content: bytes, verdict: Verdict, said: str) -> None:
    found, sentence = judge(status, content)
    assert found is verdict
    assert sentence.startswith(said) if verdict is not Verdict.TOKEN else said in sentence


def test_one_thing_missing_does_not_hide_an_error() -> None:
    both = errors({"error_number": 9003, "error": "Nothing found"}, {"error_number": 2002, "error": "denied"})
    assert judge(200, both) == (Verdict.REFUSED, "Nothing found; denied")


def association(**change: object) -> bytes:
    minutes = [
        {"type": "cpu", "name": "", "id": 1, "count": 7},
        {"type": "gres", "name": "gpu", "id": 1001, "count": 5},
    ]
    made = {
        "account": "proj",
        "cluster": "c",
        "user": "",
        "parent_account": "top",
        "is_default": True,
        "max": {"jobs": {"total": NUMBER}, "tres": {"group": {"minutes": minutes, "active": []}, "total": []}},
        **change,
    }
    return json.dumps({"associations": [made], "errors": []}).encode()


def test_an_account_on_a_cluster() -> None:
    wanted = Association("c", "proj", "", "top", False, {"cpu": 7, "gres/gpu": 5})
    assert rest_answers.associations(association()) == (wanted,)


@pytest.mark.parametrize(("told", "is_default"), [(True, True), (False, False), (1, True), (0, False)])
def test_a_user_in_an_account(told: object, is_default: bool) -> None:
    [found] = rest_answers.associations(association(user="alice", parent_account=None, is_default=told))
    assert (found.user, found.parent, found.is_default) == ("alice", "", is_default)


def test_nothing_is_nothing() -> None:
    for read in (rest_answers.accounts, rest_answers.associations, rest_answers.queue, rest_answers.clusters):
        assert read(b"") == ()
    assert rest_answers.limits(b"", "") is None


def test_accounts_and_jobs() -> None:
    content = json.dumps({"accounts": [{"name": "a", "description": None, "organization": "openportal"}]}).encode()
    assert rest_answers.accounts(content) == (Account("a", "", "openportal"),)
    jobs = [
        {"job_id": 1, "job_state": "PENDING", "account": "a", "user_name": "alice", "state_reason": "Priority"},
        {"job_id": 2, "job_state": ["RUNNING", "CONFIGURING"], "account": "a", "user_name": None},
    ]
    assert rest_answers.queue(json.dumps({"jobs": jobs}).encode()) == (
        QueuedJob(1, "alice", "a", "PENDING", "Priority"),
        QueuedJob(2, "", "a", "RUNNING", ""),
    )


@pytest.mark.parametrize("content", [b"[]", b'{"accounts": [{}]}', b'{"accounts": 5}', b"nothing"])
def test_what_cannot_be_read_is_an_error(content: bytes) -> None:
    with pytest.raises(RunError, match="slurmrestd answered what cannot be read"):
        rest_answers.accounts(content)


# --- limits -----------------------------------------------------------------------------------------------------------


def test_limits_go_back_as_they_came() -> None:
    its = rest_answers.limits(association(), "")
    assert its == json.loads(association())["associations"][0]["max"]["tres"]
    assert rest_answers.limits(association(), "alice") is None


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        ({"cpu": 1}, {"gres/gpu": 5, "cpu": 1}),
        ({"mem": 3, "gres/gpu": 0}, {"cpu": 7, "mem": 3, "gres/gpu": 0}),
        ({}, {}),
    ],
)
def test_minutes_are_set_one_by_one_and_cleared_together(minutes: dict[str, int], expected: dict[str, int]) -> None:
    its = rest_answers.limits(association(), "")
    assert its is not None
    changed = rest_answers.with_minutes(its, minutes)
    [found] = rest_answers.associations(association(max={"tres": changed}))
    assert found.minutes == expected
    assert {key: value for key, value in changed.items() if key != "group"} == {"total": []}


def test_jobs_that_could_not_be_cancelled_are_named() -> None:
    status = [
        {"step_id": "1", "error": {"code": 2021, "string": "Job/step already completing or completed"}},
        {"step_id": "2", "error": {"code": 2172, "message": "Job state RUNNING != filter state PENDING"}},
        {"step_id": "3", "error": {"code": 2002, "string": "Access/permission denied"}},
        {"step_id": "4", "error": {"code": 0}},
    ]
    found = rest_answers.not_cancelled(json.dumps({"status": status, "errors": []}).encode())
    assert found == ("job 3: Access/permission denied",)
