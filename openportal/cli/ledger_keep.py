"""`openportal ledger`: what keeps a ledger: backups, archives, upgrades, and erasing a person.

A backup and an archive are made beside a running agent. What changes a ledger (`restore`, `erase`, `prune`,
`finalise`) needs the agent stopped, which loses nothing: jobs wait for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from openportal.cli import ledgers
from openportal.cli.ledgers import Source
from openportal.cli.options import EXIT_BAD, FILE, PATHS, complain, found_sources
from openportal.cli.settings import Word
from openportal.errors import LedgerError, LedgerLocked
from openportal.templemeads import erasure, ledger
from openportal.templemeads.ledger import Reader, Recorded

SHOWN_POSITIONS = 10
AGENT = click.argument("agent", type=FILE)


def one_source(path: Path) -> Source:
    """The ledger of one agent. Raises click.UsageError for a folder of several."""
    found = ledgers.sources([path])
    if len(found) > 1:
        raise click.UsageError(f"{path} holds {len(found)} ledgers: name one agent's file.")
    return found[0]


def refuse_running(found: Sequence[Source]) -> None:
    """All of the ledgers are to be changed, or none. Raises LedgerLocked if an agent runs, LedgerError for a backup."""
    for source in found:
        if source.settings.path is not None and source.settings.path.is_file():
            raise LedgerError(f"{source.settings.path} is a backup, which is not changed: let it expire")
    running = [(source.name, pid) for source in found if (pid := ledgers.writer_pid(source.settings))]
    if running:
        words = ", ".join(f"{name} (process {pid})" for name, pid in running)
        raise LedgerLocked(f"nothing was changed: stop {words} first")


@click.command(cls=Word)
@AGENT
@click.argument("file", type=FILE)
def backup(agent: Path, file: Path) -> None:
    """Copy the ledger of AGENT into a new FILE, consistently, while the agent runs or not."""
    report = ledger.backup(one_source(agent).settings, file)
    click.echo(f"{file}: {report}")


@click.command(cls=Word)
@AGENT
@click.argument("file", type=FILE)
@click.option("--other", is_flag=True, help="Also if the ledger that is there is another one.")
def restore(agent: Path, file: Path, other: bool) -> None:
    """Make the backup FILE the ledger of AGENT, with a new generation; what was there is moved aside."""
    generation, aside = ledger.restore(one_source(agent).settings, file, other)
    click.echo(f"restored as generation {generation}" + (f"; what was there is in {aside}" if aside else ""))


@click.command(cls=Word)
@PATHS
@click.option("--to", "folder", type=FILE, help="Folder of the archive; `archive` beside the ledger unless given.")
def archive(paths: tuple[Path, ...], folder: Path | None) -> None:
    """Write the sealed segments of each ledger that are not in the archive yet."""
    found = found_sources(paths)
    if folder is not None and len(found) > 1:
        raise click.UsageError("--to is of one ledger: name that agent's file only.")
    written = list(ledgers.of_each(found, partial(Reader.archive, folder=folder), complain))
    for name, files in written:
        click.echo(f"{name}: {', '.join(map(str, files)) or 'nothing new to archive'}")
    sys.exit(0 if len(written) == len(found) else EXIT_BAD)


@click.command(cls=Word)
@PATHS
@click.option("--archive", "folder", type=FILE, help="Folder of the archive; `archive` beside the ledger unless given.")
def prune(paths: tuple[Path, ...], folder: Path | None) -> None:
    """Delete what is in the archive, whole, and behind two checkpoints from each ledger."""
    found = found_sources(paths)
    refuse_running(found)
    for source in found:
        with ledgers.opened_writer(source.settings) as opened:
            where = folder or (source.settings.path or Path()) / "archive"
            gone = opened.prune(where)
        click.echo(f"{source.name}: {f'pruned up to position {gone[-1].last}' if gone else 'nothing to prune'}")


@click.command(cls=Word)
@click.argument("subject")
@PATHS
def erase(subject: str, paths: tuple[Path, ...]) -> None:
    """Make SUBJECT (user.project.portal, or project.portal) unreadable in each ledger; exits 1 if it is still named."""
    found = found_sources(paths)
    refuse_running(found)
    left = [source.name for source in found if erase_in(source, subject)]
    sys.exit(EXIT_BAD if left else 0)


@click.command(cls=Word)
@PATHS
def finalise(paths: tuple[Path, ...]) -> None:
    """After an upgrade of which there is no going back: write every event as this version does."""
    found = found_sources(paths)
    refuse_running(found)
    for source in found:
        with ledgers.opened_writer(source.settings) as opened:
            changed = opened.unfinalised
            opened.finalise()
        words = [
            f"{topic} at level {level}{f' instead of {was}' if was else ''}" for topic, (was, level) in changed.items()
        ]
        click.echo(f"{source.name}: {', '.join(words) or 'nothing to finalise'}")


def erase_in(source: Source, subject: str) -> bool:
    """Erase somebody in one ledger and tell what came of it; whether it still names them."""
    elsewhere = naming_records(source, subject)
    owners = {str(getattr(one.event, "subject", None)) for one in elsewhere} - {subject}
    answers = sorted(owner for owner in owners if owner.startswith(erasure.OWN_KEY))
    with ledgers.opened_writer(source.settings) as opened:
        redact = partial(erasure.redacted, name=subject)
        known = opened.erase_subject(subject, redact)
        for owner in answers:
            opened.erase_subject(owner, redact)
    left = naming_records(source, subject)
    words = "erased" if known else "nothing was sealed for it"
    words += f", with {len(answers)} answers that named it" if answers else ""
    click.echo(f"{source.name}: {words}{still_named(left)}")
    return bool(left)


def naming_records(source: Source, subject: str) -> list[Recorded]:
    """The events that name somebody."""
    pattern = erasure.naming(subject)
    with ledgers.opened(source.settings) as reader, ledgers.collector_paused():
        return [one for one in reader.records() if erasure.names(one.event, pattern)]


def still_named(left: Sequence[Recorded]) -> str:
    if not left:
        return ""
    places = ", ".join(str(one.position) for one in left[:SHOWN_POSITIONS])
    more = f" and {len(left) - SHOWN_POSITIONS} more" if len(left) > SHOWN_POSITIONS else ""
    return f"; STILL NAMED at position {places}{more}: see `ledger show`, and erase the project if that is right"


COMMANDS = (backup, restore, archive, prune, erase, finalise)
