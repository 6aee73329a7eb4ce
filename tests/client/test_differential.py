"""The published client 0.94.0 and ours are asked the same and must answer the same: verdict, output and exception.

The published one runs as a child process in an environment of its own. QUICK questions of each kind in every run, and
MANY more where there is time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import openportal
from openportal.cli.published import client_python
from tests.client.asked import ASKED, answer
from tests.client.differences import difference, where
from tests.client.questions import QUESTIONS
from tests.client.samples import JOB

ORACLE = Path(__file__).with_name("oracle.py")
QUICK = 45
MANY = 1_600
CASES_QUICK_LEAST = 3_000
CASES_MANY_LEAST = 100_000
KINDS = sorted(QUESTIONS)
NO_STORAGE: dict[str, Any] = {"project": "p.w", "project_quotas": {}, "user_quotas": {}}
USERS = {"b.p.w": "b", "a.p.w": "a", "a-.p.w": "c"}


def usage(*days: dict[str, Any], **users: str) -> dict[str, Any]:
    return {"project": "p.w", "reports": {f"2024-01-{at}": day for at, day in enumerate(days, 10)}, "users": users}


def storage(hour: int, user: str) -> dict[str, Any]:
    """Two that differ in their hour and user have different snapshots of one earlier moment."""
    earlier = {**NO_STORAGE, "generated_at": "2024-02-18T00:00:00Z", "user_quotas": {user: {}}}
    now = f"2024-03-08T0{hour}:00:00Z"
    return {**NO_STORAGE, "generated_at": now, "users": {}, "daily_reports": {"2024-02-18": earlier}}


DAYS: tuple[dict[str, Any], ...] = (
    {"num_jobs": 1, "user_wait_seconds": {"alice": 0}},
    {"num_jobs": 1, "user_job_counts": {"alice": 1}, "total_wait_seconds": 5},
    {"user_job_counts": {"alice": 0}, "num_jobs": 0, "total_wait_seconds": 5},
    {"num_requeue_events": 1, "user_requeue_events": {"alice": 1}, "requeue_wait_seconds": 4},
)


def one_day(**day: Any) -> dict[str, Any]:
    report = {"project": "p.w", "reports": {"2024-01-15": day}, "users": {}}
    return {"report": report, "user": "alice", "name": "gpu"}


def failed_job(message: str) -> str:
    return json.dumps({**JOB, "state": "Error", "result": None, "error": {"kind": "run", "message": message}})


FOUND: tuple[tuple[tuple[str, str], Any], ...] = (
    (("AwardDetails", "from_json"), '{"notes": [{"timestamp": "024-01-15T10:30:00Z", "author": "Jo", "text": ""}]}'),
    *((("DailyProjectUsageReport", "daily"), one_day(**day)) for day in DAYS),
    *((("Job", "from_json"), failed_job(message)) for message in ("OpenPortalError", "ManagedProjectPendingError: no")),
    (("Instruction", "parse"), "sync_offerings [a.b.c, d.e.f"),
    (("Instruction", "parse"), "sync_offerings a.b.c, d.e.f]"),
    (("Instruction", "parse"), "sync_offerings ["),
    (("Notification", "parse"), "a.b user_added\t u.p.w"),
    (("Notification", "parse"), "a.b\tuser_added u.p.w"),
    (("Notification", "parse"), "\ta.b\t \tuser_added \tu.p.w\t"),
    (("Notification", "parse"), "  a.b  user_added  u.p.w  "),
    (("ProjectStorageReport", "from_json"), json.dumps({**storage(0, "a.p.w"), "users": USERS})),
    (("ProjectStorageReport", "sum"), [storage(0, "a.p.w"), storage(1, "b.p.w")]),
    (("ProjectStorageReport", "sum"), [storage(1, "a.p.w"), storage(0, "b.p.w")]),
    (("ProjectStorageReport", "sum"), [storage(0, "a.p.w"), storage(0, "b.p.w")]),
    (("ProjectUsageReport", "from_json"), json.dumps(usage(**USERS))),
    (
        ("ProjectUsageReport", "project"),
        {"report": usage({"num_jobs": 1}, {"total_expansion_milli": 1}), "user": "alice", "name": "gpu"},
    ),
    (
        ("ProjectUsageReport", "project"),
        {"report": usage({"num_jobs": 1}, {"total_runtime_seconds": 100}), "user": "alice", "name": "gpu"},
    ),
    (
        ("ProjectUsageReport", "project"),
        {"report": usage({"requeue_state_usage": {"FAIL": {"seconds": 0}}}), "user": "alice", "name": "gpu"},
    ),
    (
        ("ProjectUsageReport", "sum"),
        [usage({}), usage({"components": {"gpu": {"alice": {"seconds": 0}, "bob": {"seconds": 1}}}})],
    ),
    (("ProjectUsageReport", "sum"), [usage({}), usage({"reservation_reports": {"r": {"alice": {"seconds": 0}}}})]),
    (("ProjectUsageReport", "sum"), [usage({}), usage({"requeue_state_usage": {"FAIL": {"seconds": 0}}})]),
    (
        ("ProjectUsageReport", "sum"),
        [usage({}), usage({"requeue_states": {"FAIL": 0}, "user_job_counts": {"alice": 0}})],
    ),
    (("ProjectUsageReport", "sum"), [usage(), usage({"components": {"gpu": {"alice": {"seconds": 0}}}})]),
)
"""Where the two differed once: the smallest questions that showed it."""
DEADLY = {("Node", "construct")}
"""What can end the process of the published client: the cores of a node that are too many for it to count."""


class Oracle:
    """The published client, asked one question at a time. There are questions that it does not survive."""

    def __init__(self) -> None:
        self._child = self._begin()

    def _begin(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [client_python("0.94.0"), "-I", ORACLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={**os.environ, "RUST_BACKTRACE": "0"}, text=True, encoding="utf-8",
        )  # fmt: skip

    def ask(self, kind: tuple[str, str], given: Any) -> dict[str, Any] | None:
        """Its answer; None if it died over the question."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps({"type": kind[0], "op": kind[1], "input": given}) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            self.close()
            self._child = self._begin()
            return None
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Let it end. It must have died of itself, or be well."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        assert self._child.wait(10) in (0, -signal.SIGABRT)
        self._child.stdout.close()


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    found = Oracle()
    yield found
    found.close()


def check(oracle: Oracle, kind: tuple[str, str], given: Any) -> None:
    ours = answer(ASKED[kind], openportal, given)
    theirs = oracle.ask(kind, given)
    if theirs is None:
        assert kind in DEADLY, f"{given!r} ends the published client"
        return
    differ = where(json.loads(json.dumps(ours)), theirs)
    assert differ is None or difference(*kind, given) is not None, f"{given!r} {differ}"


def ask_many(oracle: Oracle, kind: tuple[str, str], cases: int) -> None:
    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(QUESTIONS[kind])
    def ask(given: Any) -> None:
        check(oracle, kind, given)

    ask()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_both_answer_the_same(oracle: Oracle, kind: tuple[str, str]) -> None:
    ask_many(oracle, kind, QUICK)


@pytest.mark.parametrize(("kind", "given"), FOUND)
def test_both_answer_the_same_where_they_once_did_not(oracle: Oracle, kind: tuple[str, str], given: Any) -> None:
    check(oracle, kind, given)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_both_answer_the_same_for_long(oracle: Oracle, kind: tuple[str, str]) -> None:
    ask_many(oracle, kind, MANY)


def test_it_is_enough() -> None:
    assert len(KINDS) * QUICK >= CASES_QUICK_LEAST
    assert len(KINDS) * MANY >= CASES_MANY_LEAST


def test_every_kind_of_question_on_record_is_asked() -> None:
    on_record = {(kind, op) for kind, op in ASKED}
    assert {kind for kind, _ in on_record} - {kind for kind, _ in QUESTIONS} == {"StorageReport"}
