"""A ledger of one kind of database becomes one of the other: what a backup of PostgreSQL is, and its way back.

The rows are the same in both, byte for byte, and so is the chain over them. So a backup is always a SQLite file, is
verified by walking through it wherever it lies, and can be restored into either.

    copy_out    one snapshot of a schema, with its writer at work or not, into a folder
    copy_in     into a schema of its own, which takes the name of the old one in one transaction; that one is kept as
                `<name>_before_restore_<n>`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from openportal.errors import LedgerError
from openportal.templemeads.ledger.postgresql import PostgreSQLBackend, PostgreSQLReader
from openportal.templemeads.ledger.reading import Meta, read_meta
from openportal.templemeads.ledger.settings import Settings
from openportal.templemeads.ledger.sqlite import FILE_NAME, SQLiteBackend, SQLiteReader
from openportal.templemeads.ledger.tables import COLUMNS, SET_META, Backend, Batch, ReadBackend, Statement

STAGING = "{schema}_restoring"
ASIDE = "{schema}_before_restore_{number}"
HAS_TABLES = "SELECT to_regclass('ledger') IS NOT NULL"
SCHEMAS = "SELECT nspname FROM pg_namespace"


def copy_out(settings: Settings, folder: Path) -> Path:
    """Copy a ledger in PostgreSQL into a new one in a folder; returns its file. Raises LedgerError."""
    reader = PostgreSQLReader(settings)
    try:
        reader.begin_snapshot()
        if held_meta(reader) is None:
            raise LedgerError(f"there is no ledger in schema {settings.schema}; start the agent once")
        writer = SQLiteBackend(Settings(path=folder, reserve_bytes=0))
        try:
            copy_rows(reader, writer)
        finally:
            writer.close()
    finally:
        reader.close()
    return folder / FILE_NAME


def copy_in(settings: Settings, file: Path, meta: Meta, generation: int) -> str | None:
    """Make a backup the ledger of a schema; returns the name that the old one has now, or None if there was none.

    Raises LedgerLocked while a writer runs, LedgerError for a ledger that was pruned: PostgreSQL keeps whole ones.
    """
    if meta.pruned.position:
        raise LedgerError(f"{file} was pruned up to position {meta.pruned.position}: restore it into a folder")
    holder = PostgreSQLBackend(settings)  # whose lock nobody gets before we are done
    try:
        was_empty = read_meta(holder) is None
        staging = STAGING.format(schema=settings.schema)
        holder.drop_schema(staging)
        writer = PostgreSQLBackend(replace(settings, schema=staging))
        try:
            reader = SQLiteReader(file)
            try:
                copy_rows(reader, writer)
            finally:
                reader.close()
            marks = (("generation", str(generation)), ("clean", "0"), ("closed_at", ""))
            writer.transact([(SET_META, mark) for mark in marks])
        finally:
            writer.close()
        aside = None if was_empty else free_name(holder, settings.schema)
        holder.replace_schema(settings.schema, staging, aside)
    finally:
        holder.close()
    return aside


def meta_in(settings: Settings) -> Meta | None:
    """What the ledger of a schema says of itself; None if there is none."""
    reader = PostgreSQLReader(settings)
    try:
        return held_meta(reader)
    finally:
        reader.close()


def held_meta(reader: ReadBackend) -> Meta | None:
    return read_meta(reader) if reader.query(HAS_TABLES)[0][0] else None


def copy_rows(reader: ReadBackend, writer: Backend) -> None:
    """Everything that a ledger holds, into an empty one."""
    writer.transact(list(inserts(reader)))
    rows = []
    for row in reader.rows(0):
        rows.append(row)
        if len(rows) == writer.batch_events:
            writer.stage(Batch(rows, []))
            writer.commit()
            rows = []
    writer.stage(Batch(rows, []))
    writer.commit()


def inserts(reader: ReadBackend) -> Iterator[Statement]:
    """Statements that write what is in the tables beside that of the events."""
    for table, columns in COLUMNS.items():
        listed, marks = ", ".join(columns), ", ".join("?" * len(columns))
        for row in reader.query(f"SELECT {listed} FROM {table}"):
            yield f"INSERT INTO {table} ({listed}) VALUES ({marks})", tuple(row)


def free_name(reader: ReadBackend, schema: str) -> str:
    """A name for a ledger that is set aside."""
    taken = {name for (name,) in reader.query(SCHEMAS)}
    number = 1
    while (name := ASIDE.format(schema=schema, number=number)) in taken:
        number += 1
    return name
