"""What a bridge answers, drawn for a terminal: jobs as a table, health as a tree, diagnostics as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from openportal.client import Job
from openportal.grammar.health import DiagnosticsReport, HealthInfo

COLOURS = {"Complete": "green", "Error": "red", "Running": "yellow", "Pending": "yellow"}
LEVEL_COLOURS = {"ERROR": "red", "WARN": "yellow"}
MEBIBYTE = 1024 * 1024


def result_text(job: Job) -> str:
    """The result of a finished job: a text as it is, else JSON."""
    found = json.loads(job.to_json())["result"]
    value = None if found is None else json.loads(found)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def job_table(jobs: Iterable[Job]) -> RenderableType:
    """One row for each job."""
    table = Table("job", "state", "created", "destination", "instruction", "says", box=None)
    for job in jobs:
        state = json.loads(job.to_json())["state"]
        says = job.error_message if job.is_error else job.progress_message if not job.is_finished else ""
        colour = COLOURS.get(state, "")
        cells = (str(job.id), state, moment(job.created), str(job.destination), str(job.instruction), says)
        table.add_row(*(Text(cell, colour if number == 1 else "") for number, cell in enumerate(cells)))
    return table


@dataclass(frozen=True)
class Seen:
    """An agent, those below it, and the neighbours that it has no link to: agents of ours tell of those too."""

    info: HealthInfo
    below: tuple[Seen, ...]
    lost: tuple[str, ...]

    @classmethod
    def of(cls, info: HealthInfo, told: Mapping[str, Any]) -> Self:
        """`told` is the JSON that `info` was read from."""
        links = told.get("links")
        down = [peer for peer, state in links.items() if state == "down"] if isinstance(links, dict) else []
        lost = sorted({peer.partition("@")[0] for peer in down} - info.peers.keys())
        return cls(
            info, tuple(cls.of(peer, told["peers"][name]) for name, peer in sorted(info.peers.items())), tuple(lost)
        )

    @property
    def is_whole(self) -> bool:
        """Whether every agent has all its links."""
        return self.info.connected and not self.lost and all(one.is_whole for one in self.below)


def health_tree(seen: Seen) -> Tree:
    """An agent and, below it, all that it sees."""
    tree = Tree(_agent(seen.info))
    tree.children += map(health_tree, seen.below)
    tree.children += [Tree(Text.assemble((name, "bold"), (" no link", "bold red"))) for name in seen.lost]
    return tree


def _agent(info: HealthInfo) -> Text:
    text = Text.assemble((info.name, "bold"), f" {info.agent_type.lower()} ")
    text.append("up" if info.connected else "down", "green" if info.connected else "bold red")
    if info.connected:
        failed = info.errored_jobs + info.expired_jobs
        text.append(f" {duration(info.uptime_seconds)}, {info.active_jobs} jobs open, {info.successful_jobs} done")
        text.append(f", {failed} failed", "red" if failed else "")
        text.append(f", {info.job_time_median_ms:.0f} ms median, {info.memory_bytes / MEBIBYTE:.0f} MiB")
        text.append(f" ({info.engine} {info.version})", "dim")
    return text


def diagnostics_tables(report: DiagnosticsReport, log_lines: int, level: str | None) -> RenderableType:
    """What went wrong at one agent; kinds of which there is nothing are left out."""
    head = Text.assemble((report.agent_name, "bold"), f" at {moment(report.generated_at)}")
    parts: list[RenderableType] = [head, *(Text(f"! {warning}", "yellow") for warning in report.warnings)]
    kinds: tuple[tuple[str, tuple[str, ...], list[tuple[object, ...]]], ...] = (
        (
            "Failed",
            ("times", "last", "destination", "instruction", "error"),
            [(e.count, e.last_seen, e.destination, e.instruction, e.error_message) for e in report.failed_jobs],
        ),
        (
            "Expired",
            ("times", "last", "destination", "instruction"),
            [(e.count, e.expired_at, e.destination, e.instruction) for e in report.expired_jobs],
        ),
        (
            "Running",
            ("times", "since", "destination", "instruction"),
            [(e.count, e.started_at, e.destination, e.instruction) for e in report.running_jobs],
        ),
        (
            "Slowest",
            ("ms", "at", "destination", "instruction"),
            [(round(e.duration_ms), e.completed_at, e.destination, e.instruction) for e in report.slowest_jobs],
        ),
    )
    parts += [_table(title, columns, rows) for title, columns, rows in kinds if rows]
    logs = report.logs(log_lines, level) if log_lines else ()
    if logs:
        rows = [(entry.timestamp, entry.level, entry.target, entry.message) for entry in logs]
        parts.append(_table("Log", ("at", "level", "logger", "message"), rows))
    return Group(*parts)


def _table(title: str, columns: Iterable[str], rows: Iterable[tuple[object, ...]]) -> Table:
    table = Table(*columns, title=title, title_justify="left", title_style="bold", box=None)
    for row in rows:
        cells = (moment(cell) if isinstance(cell, datetime) else str(cell) for cell in row)
        table.add_row(*(Text(cell, LEVEL_COLOURS.get(cell, "")) for cell in cells))
    return table


def moment(at: datetime) -> str:
    """A time as people read it: local, to the second."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: int) -> str:
    """`3 d 4 h`, `2 h 5 min` or `17 s`."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"


def plain(value: Any) -> str:
    """JSON for programs, on one line."""
    return json.dumps(value, ensure_ascii=False)
