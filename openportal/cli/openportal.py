"""The command `openportal`: what a bridge can be asked, how agents stand, what ledgers tell, and a whole facility."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from openportal.cli import client_commands, ledgers, trace
from openportal.cli.demo import run_demo
from openportal.cli.facility import Facility
from openportal.cli.settings import Word
from openportal.errors import LedgerError
from openportal.paddington.config import AgentConfig, default_folder
from openportal.templemeads.ledger import Reader

FILE = click.Path(path_type=Path, exists=True)
FOLLOW_SECONDS = 0.5
PIPE_COLUMNS = 240
EXIT_BAD = 1

Found = TypeVar("Found")

PATHS = click.argument("paths", nargs=-1, type=FILE)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
@click.version_option(package_name="openportal-agents")
def main() -> None:
    """Ask a bridge for jobs, and look at agents and their ledgers. PATHS are agents' files, or folders of them."""


for command in client_commands.COMMANDS:
    main.add_command(command)


@main.command(cls=Word)
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
    pid = ledgers.writer_pid(config)
    state = "running" if pid else "stopped" if config.ledger.url is None else "unknown"
    found: dict[str, Any] = {
        "name": config.service.name, "type": config.agent, "pid": pid, "state": state,
        "ledger_id": None, "generation": None, "events": 0, "bytes": 0, "last_event": None, "open": {}, "error": None,
    }  # fmt: skip
    if not ledgers.is_started(config):
        return {**found, "state": "never started"}
    try:
        with ledgers.reader(config) as opened:
            stats = opened.stats()
            core = ledgers.rebuilt(config, opened)
            last = max((r.at for r in opened.records(first=max(1, stats.events))), default=None)
    except LedgerError as error:
        return {**found, "error": str(error)}
    open_jobs = {board.peer: len(board.open) for board in core.boards.values() if board.open}
    return {
        **found, "ledger_id": stats.ledger_id, "generation": stats.generation, "events": stats.events,
        "bytes": stats.bytes, "last_event": None if last is None else moment(last), "open": open_jobs,
    }  # fmt: skip


def complain(words: str) -> None:
    click.echo(words, err=True)


# --- ledgers ----------------------------------------------------------------------------------------------------------


@main.group()
def ledger() -> None:
    """What the agents' ledgers tell."""


@ledger.command(cls=Word)
@PATHS
@click.option("--job", help="Events of this job; with --family also of what was asked on its behalf.")
@click.option("--family", is_flag=True, help="The whole account of --job, over all the agents that are named.")
@click.option("--user", help="Events about this user (user.project.portal).")
@click.option("--project", help="Events about this project (project.portal) and its users.")
@click.option("--peer", help="Events of the board shared with this neighbour.")
@click.option("--since", help="From this time on (ISO 8601; local unless it says otherwise).")
@click.option("--until", help="Before this time.")
@click.option("--follow", is_flag=True, help="Go on as events come.")
@JSON
def show(paths: tuple[Path, ...], as_json: bool, follow: bool, family: bool, **options: Any) -> None:
    """The events, in order of time."""
    if family and not options["job"]:
        raise click.UsageError("--family is of a job: name it with --job.")
    watch = ledgers.Watch(ledgers.configs(paths or (default_folder(),)), wanted(**options), family, complain)
    print_lines = json_lines if as_json else text_lines
    print_lines(watch.lines())
    while follow:
        time.sleep(FOLLOW_SECONDS)
        print_lines(watch.lines())
    sys.exit(EXIT_BAD if watch.unread else 0)


def wanted(job: str | None, since: str | None, until: str | None, **others: str | None) -> trace.Wanted:
    """What the options of `show` ask for."""
    return trace.Wanted(None if job is None else [job], since=seconds(since), until=seconds(until), **others)


def text_lines(lines: Iterable[trace.Line]) -> None:
    for one in lines:
        board = f" [{one.peer.partition('@')[0]}]" if one.peer else ""
        click.echo(f"{moment(one.at)} {one.agent:10}{board:12} {one.event:12} {one.job[:8]:8} {visible(one.words)}")


def visible(words: str) -> str:
    """Words on one line: what is no character to print is spelled out, so that no event can pass for others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)


def json_lines(lines: Iterable[trace.Line]) -> None:
    for one in lines:
        click.echo(json.dumps(one.plain()))


@ledger.command(cls=Word)
@PATHS
@click.option("--head", help="A head seen earlier, which has to occur in the chain.")
def verify(paths: tuple[Path, ...], head: str | None) -> None:
    """Check the hash chain of each ledger; names the first bad position and exits 1."""
    configs = ledgers.configs(paths or (default_folder(),))
    if head is not None and len(configs) > 1:
        raise click.UsageError("--head is of one ledger: name that agent's file only.")
    reports = list(of_each(configs, lambda opened: opened.verify(head)))
    for name, report in reports:
        click.echo(f"{name}: {report}")
    sys.exit(0 if len(reports) == len(configs) and all(report.ok for _, report in reports) else EXIT_BAD)


@ledger.command(cls=Word)
@PATHS
@JSON
def stats(paths: tuple[Path, ...], as_json: bool) -> None:
    """How big the ledgers are."""
    configs = ledgers.configs(paths or (default_folder(),))
    found = [(name, to_builtins(stats)) for name, stats in of_each(configs, Reader.stats)]
    if as_json:
        click.echo(json.dumps([{"name": name, **plain} for name, plain in found], indent=2))
    else:
        for name, plain in found:
            click.echo(f"{name}: {', '.join(f'{what} {value}' for what, value in plain.items())}")
    sys.exit(0 if len(found) == len(configs) else EXIT_BAD)


def of_each(configs: Iterable[AgentConfig], look: Callable[[Reader], Found]) -> Iterator[tuple[str, Found]]:
    """What `look` finds in each ledger that can be read; complains of the others."""
    for config in configs:
        try:
            with ledgers.reader(config) as opened:
                found = look(opened)
        except LedgerError as error:
            complain(f"{config.service.name}: {error}")
        else:
            yield config.service.name, found


def moment(at: float) -> str:
    """A time as people read it: local, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def seconds(text: str | None) -> float | None:
    """Seconds since 1970 of an ISO 8601 time. Raises click.BadParameter."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is not a time such as 2026-11-24T08:30") from None


# --- facilities -------------------------------------------------------------------------------------------------------


@main.command(cls=Word)
@click.option("--users", type=click.IntRange(4, 400), default=40, show_default=True, help="How many users to ask for.")
@click.option("--keep", type=click.Path(path_type=Path), help="Use this folder and leave it behind.")
@click.option("--plain", is_flag=True, help="No colours.")
def demo(users: int, keep: Path | None, plain: bool) -> None:
    """A whole facility on this machine: eight agents, killed in the middle, finishing all the same."""
    console = Console(no_color=plain, highlight=False)
    in_folder(keep, "openportal-demo-", lambda folder: sys.exit(run_demo(folder, users, console)))


@main.command(cls=Word)
@click.option("--keep", type=click.Path(path_type=Path), help="Use this folder and leave it behind.")
def facility(keep: Path | None) -> None:
    """Run a facility with sandbox leaves until Ctrl-C, to train on or to try a client against."""
    in_folder(keep, "openportal-facility-", run_facility)


def run_facility(folder: Path) -> None:
    with Facility(folder) as running:
        running.lay_out()
        running.start()
        running.wait_ready()
        click.echo(f"The facility runs in {folder}. Clients load {running.client_file}. Ctrl-C ends it.")
        try:
            while True:
                time.sleep(1)
                running.revive()
                running.check()
        except KeyboardInterrupt:
            running.stop()


def in_folder(keep: Path | None, prefix: str, work: Callable[[Path], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):  # else the agents would outlive us
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, signal.default_int_handler)
    if keep is not None:
        work(keep.absolute())
        return
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        work(Path(folder))
