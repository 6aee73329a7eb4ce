"""`openportal job`: the jobs of a facility, and what became of one. These commands change nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import click

from openportal.cli import account, ledgers, trace
from openportal.cli.ledger_read import print_lines
from openportal.cli.ledgers import Source
from openportal.cli.options import EXIT_BAD, JSON, PATHS, complain, found_sources, moment, visible
from openportal.cli.settings import Word
from openportal.errors import InvalidJob, LedgerError
from openportal.templemeads.events import Sent
from openportal.templemeads.ledger import Reader, Recorded

UUID_CHARACTERS = 36
MIN_JOB_CHARACTERS = 6
EXPLAINED = 3

Found = TypeVar("Found")


@click.group()
def job() -> None:
    """Jobs, over all the agents that are named. PATHS are agents' files, ledgers or folders of them."""


@job.command(cls=Word)
@click.argument("what")
@PATHS
@click.option("--last", type=click.IntRange(1), default=EXPLAINED, show_default=True, help="How many jobs at most.")
def explain(what: str, paths: tuple[Path, ...], last: int) -> None:
    """What became of WHAT and why: a job, or the last jobs about a user or a project."""
    logs = Logs(found_sources(paths))
    roots = account.build(logs.family(logs.jobs_of(what)))[-last:]
    if not roots:
        raise InvalidJob(f"no log tells of {what}: name the agents that know it, and the identifier in full")
    for root in roots:
        click.echo(f"{moment(root.at)} job {root.job}")
        for text in account.lines(root):
            click.echo(visible(text))
        click.echo(visible(account.why(root)) + "\n")
    sys.exit(EXIT_BAD if logs.unread else 0)


@job.command(cls=Word)
@click.argument("what")
@PATHS
@JSON
def show(what: str, paths: tuple[Path, ...], as_json: bool) -> None:
    """Every event of the job WHAT and of what was asked on its behalf, in order of time."""
    logs = Logs(found_sources(paths))
    records = logs.family(logs.jobs_of(what))
    print_lines(sorted(trace.line(agent, one) for agent, some in records.items() for one in some), as_json)
    sys.exit(EXIT_BAD if logs.unread else 0)


class Logs:
    """The ledgers of several agents, asked about a few jobs without reading everything."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._parents: dict[str, str] | None = None
        self.unread: set[str] = set()

    def jobs_of(self, what: str) -> set[str]:
        """The jobs that are meant: by id, by the beginning of one, or about a user or a project.

        Raises InvalidJob for a beginning that several jobs have.
        """
        if "." in what:
            return set().union(*self._each(lambda reader: reader.members_of(what, "id", UUID_CHARACTERS)))
        if is_uuid(what):
            return {what}
        if len(what) < MIN_JOB_CHARACTERS:
            raise InvalidJob(f"{what!r} is too short for the beginning of a job's id, and no user.project.portal")
        found = {one.event.id for some in self._each(lambda r: list(r.records_with("id", [what]))) for one in some}  # type: ignore[attr-defined]
        if len(found) > 1:
            raise InvalidJob(f"{what} is the beginning of several jobs: {', '.join(sorted(found))}")
        return found

    def family(self, jobs: Iterable[str]) -> dict[str, list[Recorded]]:
        """The events of jobs, and of all that were asked on their behalf, by agent."""
        wanted = set(jobs)
        children: dict[str, list[str]] = {}
        for pairs in self._each(lambda reader: reader.pairs(Sent, "parent", "id", UUID_CHARACTERS)):
            for parent, child in pairs:
                children.setdefault(parent, []).append(child)
        waiting = list(wanted)
        while waiting:
            new = [child for child in children.get(waiting.pop(), ()) if child not in wanted]
            wanted.update(new)
            waiting += new
        if not wanted:
            return {}
        return dict(self._named(lambda reader: list(reader.records_with("id", wanted))))

    def _each(self, look: Callable[[Reader], Found]) -> list[Found]:
        return [found for _, found in self._named(look)]

    def _named(self, look: Callable[[Reader], Found]) -> list[tuple[str, Found]]:
        """What `look` finds in each ledger; several are read at once, since the database does the reading."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda source: self._one(source, look), self._sources)
            return [(source.name, found[0]) for source, found in zip(self._sources, results, strict=True) if found]

    def _one(self, source: Source, look: Callable[[Reader], Found]) -> list[Found]:
        try:
            with ledgers.opened(source.settings) as reader:
                return [look(reader)]
        except LedgerError as error:
            if source.place not in self.unread:
                complain(f"{source.name}: {error}")
            self.unread.add(source.place)
            return []


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return len(text) == UUID_CHARACTERS
