"""Accounting records in every shape that versions give them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.agents.scheduler.slurm.records import TEXT_COLUMNS, JobRecord, JobRecords, read_json, read_text
from openportal.errors import RunError
from tests.agents.scheduler.accounting import record

OLD = {
    "job_id": 1,
    "user": "alice",
    "account": "proj1",
    "cluster": "testcl",
    "partition": "main",
    "state": {"current": "COMPLETED", "reason": "None"},
    "time": {"elapsed": 3, "eligible": 1795500483, "end": 1795500487, "start": 1795500484, "submission": 1795500483},
    "tres": {
        "allocated": [
            {"type": "cpu", "name": None, "id": 1, "count": 2},
            {"type": "mem", "name": None, "id": 2, "count": 64000},
            {"type": "energy", "name": None, "id": 3, "count": None},
            {"type": "billing", "name": None, "id": 5, "count": 18},
            {"type": "gres", "name": "gpu", "id": 1001, "count": 1},
        ]
    },
}
NEW = {
    **OLD,
    "state": {"current": ["COMPLETED"], "reason": "None"},
    "restart_cnt": 1,
    "failed_node": "",
    "reservation": {"id": 3, "name": "interactive", "requested": ""},
    "tres": {
        "allocated": [
            {"type": "cpu", "name": "", "id": 1, "count": 2},
            {"type": "mem", "name": "", "id": 2, "count": 64000},
            {"type": "energy", "name": "", "id": 3, "count": -2},
            {"type": "node", "name": "", "id": 4, "count": 2},
            {"type": "billing", "name": "", "id": 5, "count": 34},
            {"type": "gres", "name": "gpu", "id": 1001, "count": 2},
        ]
    },
}
TEXT_HEADER = "|".join(TEXT_COLUMNS)
TEXT = "7|testcl|proj1|alice|main|100|100|110|130|20|COMPLETED|billing=34,cpu=2,energy=5,gres/gpu=2,mem=2000M,node=2||"


def document(*jobs: object, **more: object) -> bytes:
    return json.dumps({"meta": {"plugin": {"type": "openapi"}}, "jobs": jobs, "errors": [], **more}).encode()


def only(found: JobRecords) -> JobRecord:
    assert found.unreadable == ()
    [job] = found.jobs
    return job


def test_the_shape_of_22_05() -> None:
    job = only(read_json(document(OLD)))
    assert (job.job_id, job.user, job.account, job.cluster, job.partition) == (1, "alice", "proj1", "testcl", "main")
    assert (job.submitted, job.eligible, job.started, job.ended) == (1795500483, 1795500483, 1795500484, 1795500487)
    assert (job.elapsed, job.states, job.restarts) == (3, ("COMPLETED",), None)
    assert (job.cpus, job.gpus, job.memory_mb, job.billing, job.nodes) == (2, 1, 64000, 18, 0)
    assert (job.reservation, job.failed_node) == ("", "")


def test_the_shape_of_24_11() -> None:
    job = only(read_json(document(NEW)))
    assert (job.states, job.restarts, job.reservation, job.nodes, job.gpus) == (("COMPLETED",), 1, "interactive", 2, 2)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (5, 5),
        ({"set": True, "infinite": False, "number": 5}, 5),
        ({"set": False, "infinite": False, "number": 5}, 0),
        ({"set": True, "infinite": True, "number": 5}, 0),
        (-2, 0),
        (2**64 - 2, 0),
        (None, 0),
    ],
)
def test_numbers_of_every_version(written: object, read: int) -> None:
    job = only(read_json(document({**OLD, "time": {**OLD["time"], "eligible": written}, "restart_cnt": written})))  # type: ignore[dict-item]
    assert job.eligible == read
    assert job.restarts == (None if written is None else read)


@pytest.mark.parametrize("never", [None, 0, 2**32 - 2, {"set": False, "infinite": False, "number": 0}])
def test_a_job_that_never_began(never: object) -> None:
    job = only(
        read_json(
            document({**NEW, "time": {"elapsed": 0, "submission": 10, "eligible": 10, "start": never, "end": 20}})
        )
    )
    assert (job.started, job.has_run, job.wait) == (0, False, 0)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"id": 0, "name": ""}, ""),
        ({"id": 7, "name": "interactive"}, "interactive"),
        ({"id": 0, "name": 0}, ""),
        ({"id": 7, "name": 4009869856}, "#7"),  # 22.05 prints an address
        ({"id": 7, "name": ""}, "#7"),  # one that was deleted soon after
        (None, ""),
    ],
)
def test_reservations_of_every_version(written: object, read: str) -> None:
    assert only(read_json(document({**OLD, "reservation": written}))).reservation == read


def test_gpus_by_model_are_counted_when_there_is_no_sum_of_them() -> None:
    models = [{"type": "gres", "name": name, "count": 2} for name in ("gpu:a100", "gpu:h100", "shard")]
    assert only(read_json(document({**OLD, "tres": {"allocated": models}}))).gpus == 4
    both = [*models, {"type": "gres", "name": "gpu", "count": 4}]
    assert only(read_json(document({**OLD, "tres": {"allocated": both}}))).gpus == 4


@given(st.dictionaries(st.text(max_size=8).filter(lambda key: key not in NEW), st.integers() | st.text(), max_size=5))
def test_what_is_not_known_is_left_alone(more: dict[str, Any]) -> None:
    assert only(read_json(document({**NEW, **more}))) == only(read_json(document(NEW)))


@pytest.mark.parametrize("change", [{"job_id": "1"}, {"time": {}}, {"state": {"current": 5}}, {"tres": None}])
def test_a_record_that_cannot_be_read_does_not_spoil_the_others(change: dict[str, object]) -> None:
    found = read_json(document(NEW, {**NEW, **change}, OLD))
    assert [job.nodes for job in found.jobs] == [2, 0]
    [told] = found.unreadable
    assert "job_id" in told


@pytest.mark.parametrize("text", ["", "slurm_load: error", '{"jobs": 5}', "[]", '{"errors": []}'])
def test_what_is_no_list_of_jobs_is_an_error(text: str) -> None:
    with pytest.raises(RunError, match="no list of jobs"):
        read_json(text)


def test_errors_in_an_answer_are_errors() -> None:
    with pytest.raises(RunError, match="Slurm's accounting answered with an error: Unable to connect; 7000"):
        read_json(document(errors=[{"error": "x", "description": "Unable to connect"}, {"error_number": 7000}]))


def test_nothing_found_is_no_error() -> None:
    assert read_json(document(errors=[{"error": "Nothing found", "error_number": 9003}])) == JobRecords()


# --- text -------------------------------------------------------------------------------------------------------------


def test_text() -> None:
    job = only(read_text(f"{TEXT_HEADER}\n{TEXT}\n"))
    assert (job.job_id, job.submitted, job.started, job.ended, job.elapsed) == (7, 100, 110, 130, 20)
    assert (job.cpus, job.gpus, job.memory_mb, job.billing, job.nodes, job.restarts) == (2, 2, 2000, 34, 2, None)


def test_columns_of_later_versions() -> None:
    job = only(read_text(f"{TEXT_HEADER}|Restarts|FailedNode\n{TEXT}|3|n1\n"))
    assert (job.restarts, job.failed_node) == (3, "n1")
    assert only(read_text(f"{TEXT_HEADER}|Restarts|FailedNode\n{TEXT}|0|None\n")).failed_node == ""


@pytest.mark.parametrize(("told", "name"), [("||", ""), ("|mine|3", "mine"), ("||3", "#3")])
def test_reservations_in_text(told: str, name: str) -> None:
    assert only(read_text(f"{TEXT_HEADER}\n{TEXT.removesuffix('||')}{told}\n")).reservation == name


def test_a_state_is_its_first_word() -> None:
    cancelled = TEXT.replace("COMPLETED", "CANCELLED by 1000")
    assert only(read_text(f"{TEXT_HEADER}\n{cancelled}\n")).states == ("CANCELLED",)


@pytest.mark.parametrize(("told", "mb"), [("512M", 512), ("2G", 2048), ("2048K", 2), ("1.50T", 1572864), ("4Gn", 4096)])
def test_memory(told: str, mb: int) -> None:
    assert only(read_text(f"{TEXT_HEADER}\n{TEXT.replace('2000M', told)}\n")).memory_mb == mb


@pytest.mark.parametrize("told", ["Unknown", "None", ""])
def test_a_time_that_is_not_there(told: str) -> None:
    line = TEXT.replace("|130|", f"|{told}|")
    assert only(read_text(f"{TEXT_HEADER}\n{line}\n")).ended == 0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (TEXT.replace("|130|", "|2026-11-24T05:00:00|"), "SLURM_TIME_FORMAT"),
        (TEXT.replace("7|", "7_[1-5]|"), "invalid literal"),
        (TEXT.replace("2000M", "lots"), "no amount of memory"),
        (TEXT + "|more", "15 columns and not 14"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, why: str) -> None:
    found = read_text(f"{TEXT_HEADER}\n{line}\n{TEXT}\n")
    assert len(found.jobs) == 1
    [told] = found.unreadable
    assert why in told


@pytest.mark.parametrize("text", ["", "sacct: error: slurmdbd: down\n", TEXT_HEADER.replace("ElapsedRaw", "Elapsed")])
def test_text_without_its_columns_is_an_error(text: str) -> None:
    with pytest.raises(RunError, match=r"no column .*ElapsedRaw"):
        read_text(text)


# --- records ----------------------------------------------------------------------------------------------------------


def test_answers_that_overlap_count_each_record_once() -> None:
    early, late = record(ended=0, elapsed=5), record(ended=1060)
    other = record(job_id=2)
    merged = JobRecords.merge([JobRecords((early, other), ("a",)), JobRecords((late,), ("b",))])
    assert merged == JobRecords((late, other), ("a", "b"))


def test_an_attempt_that_was_requeued_is_another_record() -> None:
    parts = [JobRecords((record(submitted=1),)), JobRecords((record(submitted=2),))]
    assert len(JobRecords.merge(parts).jobs) == 2


@pytest.mark.parametrize(
    ("given", "wait"),
    [
        ({"eligible": 990}, 10),
        ({"eligible": 1010}, 0),
        ({"eligible": 0}, 0),
        ({"eligible": 990, "started": 0, "ended": 0}, 0),
    ],
)
def test_wait(given: dict[str, int], wait: int) -> None:
    assert record(**given).wait == wait


@pytest.mark.parametrize(
    ("given", "has_run", "is_running"),
    [
        ({}, True, False),
        ({"ended": 0, "elapsed": 5}, True, True),
        ({"ended": 0, "elapsed": 0}, False, True),
        ({"started": 0, "ended": 0}, False, False),
        ({"ended": 1000}, False, False),
    ],
)
def test_running(given: dict[str, int], has_run: bool, is_running: bool) -> None:
    assert (record(**given).has_run, record(**given).is_running) == (has_run, is_running)
