"""`openportal ledger`: what the ledgers of agents tell, running or stopped. These commands change nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from openportal.cli import ledgers, standing, trace
from openportal.cli.options import (
    EXIT_BAD,
    JSON,
    PATHS,
    complain,
    filters,
    found_sources,
    moment,
    seconds,
    visible,
    wanted,
)
from openportal.cli.settings import Word
from openportal.cli.wanted import Picker
from openportal.errors import LedgerError
from openportal.templemeads.ledger import Reader, Recorded, Unknown
from openportal.templemeads.state import AgentState

FOLLOW_SECONDS = 0.5
FOLLOW_LAST = 10


@click.group()
def ledger() -> None:
    """The event logs of agents. PATHS are agents' files, ledger folders or backups, or folders that hold them."""


@ledger.command(cls=Word)
@PATHS
@filters
@click.option("--family", is_flag=True, help="With --job: also of every job that was asked on its behalf.")
@JSON
def show(paths: tuple[Path, ...], family: bool, as_json: bool, **options: Any) -> None:
    """The events, in order of time."""
    if family and not options["job"]:
        raise click.UsageError("--family is of a job: name it with --job.")
    watch = ledgers.Watch(found_sources(paths), wanted(**options), family, complain)
    print_lines(watch.lines(), as_json)
    sys.exit(EXIT_BAD if watch.unread else 0)


@ledger.command(cls=Word)
@PATHS
@filters
@click.option("--last", type=click.IntRange(0), default=FOLLOW_LAST, show_default=True, help="How many to begin with.")
@JSON
def follow(paths: tuple[Path, ...], last: int, as_json: bool, **options: Any) -> None:
    """The last events, and then those that come, until Ctrl-C."""
    watch = ledgers.Watch(found_sources(paths), wanted(**options), False, complain)
    print_lines(watch.lines()[-last:] if last else [], as_json)
    while True:
        time.sleep(FOLLOW_SECONDS)
        print_lines(watch.lines(), as_json)


def print_lines(lines: Iterable[trace.Line], as_json: bool) -> None:
    for one in lines:
        click.echo(json.dumps(one.plain()) if as_json else text_line(one))
    sys.stdout.flush()


def text_line(one: trace.Line) -> str:
    board = f" [{one.peer.partition('@')[0]}]" if one.peer else ""
    return f"{moment(one.at)} {one.agent:10}{board:12} {one.event:12} {one.job[:8]:8} {visible(one.words)}"


@ledger.command(cls=Word)
@PATHS
@filters
def export(paths: tuple[Path, ...], **options: Any) -> None:
    """The events with every field, one JSON object a line, ledger by ledger in the order of each log."""
    found, picker = found_sources(paths), Picker(wanted(**options))
    unread: list[str] = []
    if picker.wanted.by_job:
        list(ledgers.of_each(found, lambda reader: picker.learn(reader.records()), unread.append))
    unread.clear()  # who cannot be read is told below
    for source in found:
        try:
            with ledgers.opened(source.settings) as reader:
                for recorded in filter(picker.matches, reader.records()):
                    click.echo(msgspec.json.encode({"agent": source.name, **exported(recorded)}))
        except LedgerError as error:
            unread.append(source.name)
            complain(f"{source.name}: {error}")
    sys.exit(EXIT_BAD if unread else 0)


def exported(recorded: Recorded) -> dict[str, Any]:
    """Everything that the log says of an event."""
    event = recorded.event
    topic, level = (event.topic, event.level) if isinstance(event, Unknown) else (type(event).TOPIC, type(event).LEVEL)
    fields = event.fields if isinstance(event, Unknown) else msgspec.to_builtins(event)
    return {
        "position": recorded.position,
        "unit": recorded.unit,
        "at": recorded.at,
        "stream": recorded.stream,
        "version": recorded.version,
        "event": topic,
        "level": level,
        "fields": fields,
    }


@ledger.command(cls=Word)
@PATHS
@click.option("--until", help="As it stood before this time (ISO 8601); now unless given.")
@JSON
def replay(paths: tuple[Path, ...], until: str | None, as_json: bool) -> None:
    """The boards, the jobs that were open on them and the steps of each, as they stood at a time."""
    at, found = seconds(until), found_sources(paths)
    count = 0
    for state in ledgers.states_of(found, complain, at):
        count += 1
        print_state(state, as_json)
    sys.exit(0 if count == len(found) else EXIT_BAD)


def print_state(state: AgentState, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(standing.plain(state)))
        return
    for text in standing.lines(state):
        click.echo(visible(text))


@ledger.command(cls=Word)
@PATHS
@click.option("--head", help="A head seen earlier, which has to occur in the chain.")
def verify(paths: tuple[Path, ...], head: str | None) -> None:
    """Check the hash chain of each ledger; names the first bad position and exits 1."""
    found = found_sources(paths)
    if head is not None and len(found) > 1:
        raise click.UsageError("--head is of one ledger: name that agent's file only.")
    reports = list(ledgers.of_each(found, lambda reader: reader.verify(head), complain))
    for name, report in reports:
        click.echo(f"{name}: {report}")
    sys.exit(0 if len(reports) == len(found) and all(report.ok for _, report in reports) else EXIT_BAD)


@ledger.command(cls=Word)
@PATHS
@JSON
def stats(paths: tuple[Path, ...], as_json: bool) -> None:
    """How big the ledgers are."""
    found = found_sources(paths)
    seen = [(name, msgspec.to_builtins(one)) for name, one in ledgers.of_each(found, Reader.stats, complain)]
    if as_json:
        click.echo(json.dumps([{"name": name, **one} for name, one in seen], indent=2))
    else:
        for name, one in seen:
            click.echo(f"{name}: {', '.join(f'{what} {value}' for what, value in one.items())}")
    sys.exit(0 if len(seen) == len(found) else EXIT_BAD)
