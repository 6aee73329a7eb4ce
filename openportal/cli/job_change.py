"""`openportal job`: the jobs that wait for somebody, and an operator's word on one.

`retry`, `resolve` and `cancel` are asked of the running agents over their operators' sockets, and recorded by them.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click

from openportal.cli import ledgers, standing
from openportal.cli.operator_part import operator_folder
from openportal.cli.options import EXIT_BAD, JSON, PATHS, complain, found_sources, visible
from openportal.cli.settings import Word
from openportal.errors import InvalidJob, Unavailable
from openportal.paddington.config import AgentConfig, default_folder
from openportal.templemeads.operators import Answer, Request, ask
from openportal.templemeads.state import AgentState

Action = Literal["retry", "resolve", "cancel"]

JOB = click.argument("job")
WHY = click.option("--why", default="", help="The reason, for the record; it is not sealed, so name nobody in it.")
BY = click.option("--by", default=None, help="Your name, for the record; the one you logged in with unless given.")


@click.command(name="list", cls=Word)
@PATHS
@click.option("--older", type=click.IntRange(0), default=0, help="Only those that are older than so many seconds.")
@JSON
def list_jobs(paths: tuple[Path, ...], older: int, as_json: bool) -> None:
    """The jobs that are open, and those in quarantine, at each agent; the oldest first."""
    found = found_sources(paths)
    now = time.time()
    states = list(ledgers.states_of(found, complain))
    rows = sorted((row for state in states for row in waiting(state)), key=lambda row: row["created"])
    for row in rows:
        if now - row["created"] >= older:
            click.echo(json.dumps(row) if as_json else visible(row_words(row, now)))
    sys.exit(0 if len(states) == len(found) else EXIT_BAD)


def waiting(state: AgentState) -> Iterator[dict[str, Any]]:
    """Every job that has not come to its end at an agent."""
    for peer, board in state.boards.items():
        for entry in board.open.values():
            yield {"agent": state.me, "peer": peer, "aside": None, **standing.entry_plain(entry)}
        for entry in board.aside.values():
            aside = "in quarantine" if entry.quarantined else "to be undone"
            yield {"agent": state.me, "peer": peer, "aside": aside, **standing.entry_plain(entry)}


def row_words(row: dict[str, Any], now: float) -> str:
    side = "from" if row["direction"] == "inbound" else "to"
    how = row["aside"] or row["state"]
    tries = f", attempt {row['attempts']}" if row["attempts"] else ""
    place = f"{row['agent']} {side} {row['peer'].partition('@')[0]}"
    return f"{row['job']} {place:20} {now - row['created']:6.0f} s  {how}{tries}: {row['command']}"


@click.command(cls=Word)
@JOB
@PATHS
@WHY
@BY
def retry(job: str, paths: tuple[Path, ...], why: str, by: str | None) -> None:
    """Carry out a JOB in quarantine once more; its sender has had its answer."""
    everywhere("retry", job, paths, why, by)


@click.command(cls=Word)
@JOB
@PATHS
@WHY
@BY
def resolve(job: str, paths: tuple[Path, ...], why: str, by: str | None) -> None:
    """Say that a JOB in quarantine is dealt with."""
    everywhere("resolve", job, paths, why, by)


@click.command(cls=Word)
@JOB
@PATHS
@WHY
@BY
def cancel(job: str, paths: tuple[Path, ...], why: str, by: str | None) -> None:
    """End an open JOB as failed, at every agent that is named and has it."""
    everywhere("cancel", job, paths, why, by)


def everywhere(action: Action, job: str, paths: tuple[Path, ...], why: str, by: str | None) -> None:
    """Ask every agent that is named. Raises InvalidJob if none of them has the job, Unavailable if none was reached."""
    request = Request(action, job, by or operator_name(), why)
    answers = [asked(config, request) for config in ledgers.configs(paths or (default_folder(),))]
    done = [answer.said for answer in answers if answer is not None and answer.ok]
    for words in done:
        click.echo(words)
    if done:
        return
    refusals = [answer.error for answer in answers if answer is not None]
    if not refusals:
        raise Unavailable("none of these agents runs, or its socket cannot be reached: run this as the agents' user")
    raise InvalidJob("; ".join(dict.fromkeys(refusals)))


def asked(config: AgentConfig, request: Request) -> Answer | None:
    """What an agent answers; None if it does not run, or lets us not in."""
    try:
        return ask(operator_folder(config), request)
    except OSError:
        return None


def operator_name() -> str:
    """Who the operator is, also behind sudo."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


COMMANDS = (list_jobs, retry, resolve, cancel)
