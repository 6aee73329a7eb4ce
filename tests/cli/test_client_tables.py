"""What a bridge answers, as it is drawn."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from rich.console import Console, RenderableType

from openportal.cli.client_tables import Seen, diagnostics_tables, duration, health_tree, job_table, result_text
from openportal.client import Job
from openportal.grammar.health import AgentHealth, DiagnosticsReport, HealthInfo

AT = "2026-11-24T07:35:08Z"


def drawn(what: RenderableType) -> str:
    console = Console(width=200, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def told(name: str, **more: Any) -> dict[str, Any]:
    numbers = {field: 0 for field, kind in AgentHealth.__annotations__.items() if kind in ("Count", "float")}
    times = dict.fromkeys(("start_time", "current_time", "last_updated"), AT)
    words = {"agent_type": "Portal", "engine": "templemeads", "version": "0.94.0", "connected": True}
    return {"name": name, **numbers, **times, **words, **more}


def seen(wire: dict[str, Any]) -> Seen:
    return Seen.of(HealthInfo.from_wire(wire), wire)


def job(state: str, **more: Any) -> Job:
    wire = {"id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890", "created": 1, "changed": 1, "expires": 9, "version": 1}
    return Job.from_json(json.dumps({**wire, "command": "a.b add_user u.p.w", "state": state, **more}))


def test_a_tree_shows_every_agent_and_every_link_that_is_missing() -> None:
    links = {"aip1@default": "up", "away@default": "down", "dead@a": "down", "dead@b": "down"}
    wire = told("brics", peers={"aip1": told("aip1", errored_jobs=2, expired_jobs=1)}, links=links)
    lines = drawn(health_tree(seen(wire))).splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["brics", "portal", "up"],
        ["├──", "aip1", "portal"],
        ["├──", "away", "no"],
        ["└──", "dead", "no"],
    ]
    assert "3 failed" in lines[1]


@pytest.mark.parametrize(
    ("wire", "whole"),
    [
        (told("a"), True),
        (told("a", peers={"b": told("b")}, links={"b@default": "up"}), True),
        (told("a", links={"b@default": "down"}), False),
        (told("a", peers={"b": told("b", connected=False)}), False),
        (told("a", peers={"b": told("b", links={"c@default": "down"})}), False),
        (told("a", links="an agent of somebody else"), True),
    ],
)
def test_a_facility_is_whole_if_every_link_is_up(wire: dict[str, Any], whole: bool) -> None:
    assert seen(wire).is_whole is whole


def test_an_agent_that_is_down_has_no_figures() -> None:
    assert drawn(health_tree(seen(told("a", connected=False)))).strip() == "a portal down"


@pytest.mark.parametrize(
    ("result", "text"), [('"u.p.w:a:g"', "u.p.w:a:g"), ("true", "true"), ("null", "null"), ('["ü"]', '[\n  "ü"\n]')]
)
def test_a_text_is_printed_as_it_is_and_the_rest_as_json(result: str, text: str) -> None:
    assert result_text(job("Complete", result=result, result_type="String")) == text


def test_jobs_are_rows() -> None:
    failed = job("Error", result="no", error={"kind": "run", "message": "[red]no[/red]"})
    lines = drawn(job_table([failed, job("Running", result="step 2")])).splitlines()
    assert [("Error" in line, "Running" in line) for line in lines[1:]] == [(True, False), (False, True)]
    assert "no" in lines[1]
    assert lines[2].split()[-2:] == ["step", "2"]


def test_diagnostics_leave_out_what_there_is_nothing_of() -> None:
    empty = {"agent_name": "brics", "generated_at": AT, "warnings": ["low space"]}
    kinds: dict[str, Any] = {name: [] for name in ("failed_jobs", "slowest_jobs", "expired_jobs", "running_jobs")}
    assert drawn(diagnostics_tables(DiagnosticsReport.from_wire({**empty, **kinds}), 5, None)).splitlines()[1:] == [
        "! low space"
    ]
    where = {"destination": "a.b", "instruction": "[b]get_offerings[/b]"}
    full = {
        "failed_jobs": [{**where, "error_message": "x", "count": 7, "first_seen": AT, "last_seen": AT}],
        "slowest_jobs": [{**where, "duration_ms": 5.4, "completed_at": AT}],
        "expired_jobs": [{**where, "created_at": AT, "expired_at": AT, "count": 2}],
        "running_jobs": [{**where, "started_at": AT, "count": 1, "running_for_seconds": 7}],
        "recent_logs": [
            {"timestamp": AT, "level": level, "target": "t", "message": level * 2} for level in ("WARN", "ERROR")
        ],
    }
    report = DiagnosticsReport.from_wire({**empty, **full})
    text = drawn(diagnostics_tables(report, 5, "warn+"))
    assert [title for title in ("Failed", "Slowest", "Expired", "Running", "Log") if f"{title} " in text] == [
        "Failed", "Slowest", "Expired", "Running", "Log",
    ]  # fmt: skip
    assert text.count("[b]get_offerings[/b]") == 4
    assert datetime.fromisoformat(AT).astimezone().strftime("%H:%M:%S") in text
    assert "ERRORERROR" not in drawn(diagnostics_tables(report, 5, "warn"))
    assert "Log" not in drawn(diagnostics_tables(report, 0, None))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7_500, "2 h 5 min"), (273_600, "3 d 4 h")]
)
def test_durations(seconds: int, text: str) -> None:
    assert duration(seconds) == text
