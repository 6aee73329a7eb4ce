"""The arguments and options that the operator's commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from openportal.cli import ledgers
from openportal.cli.ledgers import Source
from openportal.cli.wanted import Wanted
from openportal.paddington.config import default_folder

EXIT_BAD = 1
FILE = click.Path(path_type=Path)
PATHS = click.argument("paths", nargs=-1, type=FILE)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

FILTERS = (
    click.option("--job", help="Events of this job."),
    click.option("--user", help="Events of jobs about this user (user.project.portal)."),
    click.option("--project", help="Events of jobs about this project (project.portal) and its users."),
    click.option("--peer", help="Events of the board shared with this neighbour."),
    click.option("--key", help="Events of jobs that this key of the bridge asked for."),
    click.option("--since", help="From this time on (ISO 8601; local unless it says otherwise)."),
    click.option("--until", help="Before this time."),
)


def filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put every option of the filter on a command."""
    for option in reversed(FILTERS):
        function = option(function)
    return function


def wanted(job: str | None = None, since: str | None = None, until: str | None = None, **rest: str | None) -> Wanted:
    """The filter that the options make. Raises click.BadParameter."""
    return Wanted(jobs=None if job is None else {job}, since=seconds(since), until=seconds(until), **rest)


def found_sources(paths: tuple[Path, ...]) -> list[Source]:
    """The ledgers that were named, or those of the default folder."""
    return ledgers.sources(paths or (default_folder(),))


def seconds(text: str | None) -> float | None:
    """Seconds since 1970 of an ISO 8601 time. Raises click.BadParameter."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is not a time such as 2026-11-24T08:30") from None


def moment(at: float) -> str:
    """A time as people read it: local, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def complain(words: str) -> None:
    click.echo(words, err=True)


def visible(words: str) -> str:
    """Words on one line: what is no character to print is spelled out, so that no event can pass for others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
