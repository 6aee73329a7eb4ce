"""Copies of a whole ledger: a backup while its writer runs, and a restore that peers can tell from the old log.

    backup     one consistent copy in one file, verified before it gets its name
    restore    the copy becomes the ledger, with a generation above that of every log it replaces; what was there is
               moved into `before-restore-<n>` beside it

The copy is a SQLite file also of a ledger in PostgreSQL, and can be restored into either (see transfer). It holds the
keys of persons, so it has to expire as the data itself does.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from openportal.errors import LedgerCorrupt, LedgerError
from openportal.templemeads.ledger.reader import Report, open_reader
from openportal.templemeads.ledger.reading import Meta
from openportal.templemeads.ledger.settings import Settings
from openportal.templemeads.ledger.sqlite import FILE_NAME, WriterLock, file_uri, prepare_folder, sync_folder
from openportal.templemeads.ledger.tables import SET_META

BACKUP_WAIT_SECONDS = 30.0


def backup(settings: Settings, file: Path) -> Report:
    """Copy the ledger into a new file, with its writer at work or not. Raises LedgerError."""
    if file.exists():
        raise LedgerError(f"{file} exists: name a new file")
    partial = file.with_name(f"{file.name}.partial")
    try:
        with readable(settings, file.parent) as source:
            copy(source, partial)
        report = checked(partial)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.rename(file)
    sync_folder(file.parent)
    return report


@contextmanager
def readable(settings: Settings, scratch: Path) -> Iterator[Path]:
    """The SQLite file of a ledger; of one in PostgreSQL a copy, for as long as the block runs."""
    if settings.path is None:
        from openportal.templemeads.ledger.transfer import copy_out  # psycopg is an optional dependency

        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            yield copy_out(settings, Path(folder))
        return
    if not (source := settings.path / FILE_NAME).exists():
        raise LedgerError(f"there is no ledger in {settings.path}; start the agent once")
    yield source


def copy(source: Path, target: Path) -> None:
    """A copy of a database as one commit left it, durable when this returns."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    with (
        closing(sqlite3.connect(file_uri(source, "ro"), uri=True, timeout=BACKUP_WAIT_SECONDS)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
    sync_file(target)


def checked(file: Path) -> Report:
    """Walk the chain of a backup. Raises LedgerCorrupt."""
    with open_reader(Settings(path=file)) as reader:
        report = reader.verify()
    if not report.ok:
        raise LedgerCorrupt(f"{file} does not verify: {report}")
    return report


def restore(settings: Settings, file: Path, other: bool = False) -> tuple[int, Path | str | None]:
    """Make a backup the ledger; returns the new generation, and the folder or schema where the old log is now.

    Raises LedgerLocked while a writer runs, LedgerCorrupt, or LedgerError for a backup of another ledger unless
    `other` allows that.
    """
    checked(file)
    if settings.path is not None:
        return restore_folder(settings.path, file, other)
    from openportal.templemeads.ledger.transfer import copy_in, meta_in  # psycopg is an optional dependency

    new, old = meta_of(file), meta_in(settings)
    generation = next_generation(file, new, old, other)
    assert new is not None
    return generation, copy_in(settings, file, new, generation)


def restore_folder(folder: Path, file: Path, other: bool) -> tuple[int, Path | None]:
    prepare_folder(folder)
    lock = WriterLock(folder)
    try:
        generation = next_generation(file, meta_of(file), meta_of(folder), other)
        partial = folder / f"{FILE_NAME}.partial"
        copy(file, partial)
        mark_restored(partial, generation)
        aside = set_aside(folder)
        partial.rename(folder / FILE_NAME)
        sync_folder(folder)
    finally:
        lock.release()
    return generation, aside


def next_generation(file: Path, new: Meta | None, old: Meta | None, other: bool) -> int:
    """The one after that of every log that is replaced. Raises LedgerError for the backup of another ledger."""
    if old is not None and new is not None and old.ledger_id != new.ledger_id and not other:
        raise LedgerError(f"{file} is the backup of another ledger ({new.ledger_id}, and here is {old.ledger_id})")
    return 1 + max(meta.generation for meta in (new, old) if meta is not None)


def meta_of(place: Path) -> Meta | None:
    """What a ledger says of itself; None if there is none, or it is damaged."""
    try:
        with open_reader(Settings(path=place)) as reader:
            return reader.meta
    except (LedgerError, sqlite3.Error, KeyError, ValueError):
        return None


def mark_restored(file: Path, generation: int) -> None:
    """Raise the generation in the copy, before it is anybody's ledger."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        for key, value in (("generation", str(generation)), ("clean", "0"), ("closed_at", "")):
            database.execute(SET_META, (key, value))
    sync_file(file)


def set_aside(folder: Path) -> Path | None:
    """Move the ledger that is there out of the way, as a whole."""
    files = sorted(folder.glob(f"{FILE_NAME}*"))
    files = [file for file in files if file.suffix != ".partial"]
    if not files:
        return None
    number = 1
    while (aside := folder / f"before-restore-{number}").exists():
        number += 1
    aside.mkdir(mode=0o700)
    for file in files:
        shutil.move(file, aside / file.name)
    sync_folder(aside)
    return aside


def sync_file(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
