"""`openportal status`: how each agent stands, as its file, its lock and its ledger tell."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from openportal.cli import ledgers
from openportal.cli.operator_part import operator_folder
from openportal.cli.options import EXIT_BAD, JSON, PATHS, complain, moment
from openportal.cli.settings import Word
from openportal.errors import LedgerError
from openportal.paddington.config import AgentConfig, default_folder
from openportal.templemeads.clocks import SKEW_TOLD_SECONDS
from openportal.templemeads.operators import Request, ask

PIPE_COLUMNS = 240
MEBIBYTE = 1024 * 1024
STUCK = {
    "jobs": "jobs are open for more than a minute: see `openportal job list --older 60`",
    "overrun": "jobs ended while a leaf is still at work on them",
    "in_quarantine": "jobs are in quarantine: see `openportal job list`, then retry or resolve them",
}


@click.command(cls=Word)
@PATHS
@JSON
def status(paths: tuple[Path, ...], as_json: bool) -> None:
    """How each agent stands: running or not, its ledger, its open jobs."""
    found = [status_of(config) for config in ledgers.configs(paths or (default_folder(),))]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(status_table(found))
        for one in found:
            for words in concerns(one["health"] or {}):
                click.echo(f"{one['name']}: {words}")
    for one in found:
        if one["error"]:
            complain(f"{one['name']}: {one['error']}")
    sys.exit(EXIT_BAD if any(one["error"] for one in found) else 0)


def status_table(found: Iterable[dict[str, Any]]) -> Table:
    table = Table("agent", "type", "state", "events", "last event", "open jobs", "ledger", box=None)
    for one in found:
        jobs = ", ".join(f"{peer}: {count}" for peer, count in one["open"].items()) or "none"
        state = f"running, process {one['pid']}" if one["pid"] else one["state"]
        ledger = f"{one['ledger_id'][:8]} generation {one['generation']}" if one["ledger_id"] else "none"
        table.add_row(one["name"], one["type"], state, str(one["events"]), one["last_event"] or "-", jobs, ledger)
    return table


def status_of(config: AgentConfig) -> dict[str, Any]:
    """What `status` tells of one agent, for people and for programs."""
    source = ledgers.source_of(config)
    pid = ledgers.writer_pid(source.settings)
    state = "running" if pid else "stopped" if config.ledger.url is None else "unknown"
    found: dict[str, Any] = {
        "name": config.service.name, "type": config.agent, "pid": pid, "state": state,
        "ledger_id": None, "generation": None, "events": 0, "bytes": 0, "last_event": None, "open": {},
        "health": None, "error": None,
    }  # fmt: skip
    if not ledgers.is_started(config):
        return {**found, "state": "never started"}
    try:
        with ledgers.opened(source.settings) as reader:
            stats = reader.stats()
            boards = ledgers.rebuilt(source.name, reader).boards
            last = max((r.at for r in reader.records(first=max(1, stats.events))), default=None)
    except LedgerError as error:
        return {**found, "error": str(error)}
    open_jobs = {board.peer: len(board.open) for board in boards.values() if board.open}
    found |= {"health": health_of(config) if pid else None}
    return {
        **found, "ledger_id": stats.ledger_id, "generation": stats.generation, "events": stats.events,
        "bytes": stats.bytes, "last_event": None if last is None else moment(last), "open": open_jobs,
    }  # fmt: skip


def health_of(config: AgentConfig) -> dict[str, Any] | None:
    """What a running agent says of itself; None if it cannot be asked."""
    try:
        answer = ask(operator_folder(config), Request("health"))
    except OSError:
        return None
    return answer.said if answer.ok and isinstance(answer.said, dict) else None


def concerns(health: Mapping[str, Any]) -> Iterator[str]:
    """What an operator should look at, in sentences."""
    ledger, stuck = health.get("ledger", {}), health.get("stuck", {})
    if ledger.get("low_space"):
        free = ledger["free_bytes"] // MEBIBYTE
        yield f"the disk of its ledger is nearly full ({free} MiB left): no new jobs are taken"
    for peer, state in health.get("links", {}).items():
        if state == "down":
            yield f"there is no link to {peer}"
    for peer in health.get("breakers", ()):
        yield f"{peer} did not answer and is not asked for a while"
    for peer, seen in health.get("neighbours", {}).items():
        skew = seen.get("skew_seconds")
        if skew is not None and abs(skew) >= SKEW_TOLD_SECONDS:
            yield f"the clock of {peer} is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
        if seen.get("engine") == health["engine"] and seen.get("version") != health["version"]:
            yield f"{peer} speaks version {seen['version']}, and this agent {health['version']}"
    for what, words in STUCK.items():
        if stuck.get(what):
            yield f"{stuck[what]} {words}"
