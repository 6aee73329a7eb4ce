import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.health import Diagnostics, DiagnosticsReport, Health, HealthInfo

NOW = "2026-11-24T07:35:08.945356669Z"
COUNTS = (
    *(f"{state}_jobs" for state in ("active", "pending", "running", "completed", "duplicate", "successful", "expired")),
    *("errored_jobs", "inflight_jobs", "queued_jobs", "worker_count", "memory_bytes", "system_memory_total"),
    *("system_cpus", "job_time_count", "total_completed", "total_failed", "total_expired", "total_slow"),
    "uptime_seconds",
)
FLOATS = ("cpu_percent", "job_time_min_ms", "job_time_max_ms", "job_time_mean_ms", "job_time_median_ms")
TIMES = ("start_time", "current_time", "last_updated")


def info(name: str, **others: Any) -> dict[str, Any]:
    return {
        "name": name,
        "agent_type": "Portal",
        "connected": True,
        "engine": "rust",
        "version": "0.94.0",
        **dict.fromkeys(COUNTS, 1),
        **dict.fromkeys(FLOATS, 0.5),
        **dict.fromkeys(TIMES, NOW),
        **others,
    }


JOB = {"destination": "a.b", "instruction": "get_offerings"}
REPORT: dict[str, Any] = {
    "agent_name": "brics",
    "generated_at": NOW,
    "failed_jobs": [{**JOB, "error_message": "x", "count": 1, "first_seen": NOW, "last_seen": NOW}],
    "slowest_jobs": [{**JOB, "duration_ms": 5, "completed_at": NOW}],
    "expired_jobs": [{**JOB, "created_at": NOW, "expired_at": NOW, "count": 2}],
    "running_jobs": [{**JOB, "started_at": NOW, "count": 1, "running_for_seconds": 7}],
    "warnings": ["low space"],
}
LOGS = [
    {"timestamp": NOW, "level": level, "target": "t", "message": f"{level} of a link"}
    for level in ("DEBUG", "INFO", "WARN", "ERROR")
]


def test_a_bridge_shows_all_that_it_sees() -> None:
    portal = info("brics", peers={"aip1": info("aip1", agent_type="Provider", connected=False)}, more=1)
    health = Health.from_json(json.dumps({"status": "ok", "health": info("bridge", peers={"brics": portal})}))
    assert health.is_healthy
    assert health.detail is not None and health.detail.keys() == ("brics",)
    assert health.detail["brics"]["aip1"].agent_type == "Provider"
    assert health.detail["brics"].start_time.isoformat() == "2026-11-24T07:35:08.945357+00:00"
    assert Health.from_wire(health.to_wire()) == Health.from_json(json.dumps(health.to_wire())) == health
    assert health.to_wire()["health"]["peers"]["brics"]["name"] == "brics"


@pytest.mark.parametrize("text", ['{"status":"error"}', '{"status":"error","health":null,"report":null}'])
def test_an_answer_may_hold_nothing(text: str) -> None:
    health, diagnostics = Health.from_json(text), Diagnostics.from_json(text)
    assert health.detail is diagnostics.detail is None
    assert not health.is_healthy
    assert not diagnostics.is_healthy
    assert not diagnostics.logs()


@pytest.mark.parametrize("name", sorted(info("x")))
def test_every_field_is_needed(name: str) -> None:
    wire = info("brics")
    del wire[name]
    with pytest.raises(GrammarError, match=rf"^HealthInfo: .*`{name}`"):
        HealthInfo.from_json(json.dumps(wire))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("active_jobs", -1), ("active_jobs", 1.0), ("active_jobs", True), ("connected", 1)),
        *(("agent_type", "portal"), ("cpu_percent", "1"), ("start_time", "x"), ("start_time", 5), ("peers", {"x": {}})),
    ],
)
def test_nothing_is_converted(name: str, value: object) -> None:
    with pytest.raises(GrammarError, match=rf"^HealthInfo: .*`\$\.{name}"):
        HealthInfo.from_wire(info("brics", **{name: value}))


@pytest.mark.parametrize("name", REPORT)
def test_every_field_of_a_report_is_needed(name: str) -> None:
    wire = {key: value for key, value in REPORT.items() if key != name}
    with pytest.raises(GrammarError, match=rf"^DiagnosticsReport: .*`{name}`"):
        DiagnosticsReport.from_wire(wire)


def test_a_report_without_what_is_newer_is_read() -> None:
    report = DiagnosticsReport.from_json(json.dumps(REPORT))
    assert (report.failed_jobs[0].count, report.slowest_jobs[0].duration_ms) == (1, 5.0)
    assert report.notification_statistics.total_sent == 0
    assert report.logs() == ()


def test_the_log_is_searched() -> None:
    statistics = {"total_received": 1, "total_sent": 2, "total_failed": 3}
    wire = {"status": "ok", "report": {**REPORT, "recent_logs": LOGS, "notification_statistics": statistics}}
    diagnostics = Diagnostics.from_wire(wire)
    assert Diagnostics.from_wire(diagnostics.to_wire()) == diagnostics
    levels = {
        arguments: [entry.level for entry in diagnostics.logs(*arguments)]
        for arguments in ((), (2,), (0, "info"), (0, "WARN+"), (1, "warn+"), (0, None, "OF A LINK"), (0, None, "debug"))
    }
    assert list(levels.values()) == [
        ["DEBUG", "INFO", "WARN", "ERROR"],
        ["WARN", "ERROR"],
        ["INFO"],
        ["WARN", "ERROR"],
        ["ERROR"],
        ["DEBUG", "INFO", "WARN", "ERROR"],
        ["DEBUG"],
    ]
    assert diagnostics.report is not None
    assert diagnostics.report.notification_statistics.total_failed == 3


@given(st.text() | st.text('{}":status,ok', max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in (Health, HealthInfo, Diagnostics, DiagnosticsReport):
        try:
            kind.from_json(text)
        except GrammarError as error:
            assert str(error)
