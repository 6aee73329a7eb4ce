"""A ledger in a PostgreSQL schema, by one setting.

The events table is made by the library's recorder. The writer keeps one connection of its own, which holds the advisory
lock: if it is lost the lock is lost, the next commit fails, and nobody writes through a reconnected pool. Rows are sent
by COPY with their positions spelled out: the library's own insert hangs on batches of about a megabyte (pipeline mode).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import sql as pgsql

from openportal.errors import LedgerError, LedgerLocked
from openportal.templemeads.ledger.format import Row, member_key, sealed_key
from openportal.templemeads.ledger.settings import Settings
from openportal.templemeads.ledger.tables import PAGE_ROWS, TABLES, Batch, Parameters, SpaceFull, Statement

BATCH_EVENTS = 500
CONNECT_SECONDS = 10
LOCK_SECONDS = 5
LOCK_ATTEMPTS = 10
LOCK_PAUSE_SECONDS = 0.1
STATEMENT_SECONDS = 60
WRITER_OPTIONS = (
    "synchronous_commit = on",
    "tcp_keepalives_idle = 10",  # a writer whose machine is gone gives up the lock within half a minute
    "tcp_keepalives_interval = 5",
    "tcp_keepalives_count = 3",
)
APPLICATION_NAME = "openportal ledger pid {pid}"
SQL_TYPES = {"blob": "bytea", "integer": "bigint", "real": "double precision"}
SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ"
ROWS = "SELECT notification_id, originator_id, originator_version, topic, state FROM stored_events"
COPY = "COPY stored_events (notification_id, originator_id, originator_version, topic, state) FROM STDIN"
VERSIONS = (
    "SELECT id, (SELECT MAX(originator_version) FROM stored_events WHERE originator_id = streams.id::uuid) FROM streams"
)
HOLDER = (
    "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(%s, 0) AND objsubid = 1"
)
TABLES_BYTES = (
    "SELECT COALESCE(SUM(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n"
    " ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r'"
)


class Datastore(PostgresDatastore):
    """The library's datastore without its pool: the recorder is used for its table, on a connection of ours."""

    def __init__(self, schema: str) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", schema=schema, enable_db_functions=True)

    def register_type_adapters(self) -> None:
        pass


class Recorder(PostgresApplicationRecorder):
    """The library's application recorder, which also writes rows whose positions are known, by COPY."""

    def create(self, connection: psycopg.Connection[Any]) -> None:
        """The events table and its index, but not the functions of the library, which nobody calls."""
        with connection.transaction(), connection.cursor() as cursor:
            for statement in self.sql_create_statements:
                if statement.as_string().startswith(("CREATE TABLE", "CREATE UNIQUE INDEX")):
                    cursor.execute(statement)

    def append(self, connection: psycopg.Connection[Any], rows: Sequence[Row]) -> None:
        text = "".join([f"{row[0]}\t{row[1]}\t{row[2]}\t{row[3]}\t\\\\x{row[4].hex()}\n" for row in rows])
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.write(text)


def connect(settings: Settings, *options: str) -> psycopg.Connection[Any]:
    """A connection in autocommit mode, whose tables are those of the schema."""
    assert settings.url is not None
    try:
        connection = psycopg.connect(
            settings.url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name=APPLICATION_NAME.format(pid=os.getpid()),
        )
    except psycopg.Error as error:
        raise LedgerError(f"the database of the ledger cannot be reached: {error}") from error
    connection.execute("SELECT set_config('search_path', %s, false)", (settings.schema,))
    for option in (f"lock_timeout = '{LOCK_SECONDS}s'", f"statement_timeout = '{STATEMENT_SECONDS}s'", *options):
        connection.execute(f"SET {option}".encode())
    return connection


class PostgreSQLReader:
    """The reading half of a backend."""

    archive: Path | None = None

    def __init__(self, settings: Settings) -> None:
        self._read = connect(settings, "default_transaction_read_only = on")

    def begin_snapshot(self) -> None:
        """What is read from now on is as it was at one moment."""
        self._read.execute(SNAPSHOT)

    def query(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        return self._read.execute(translate(sql), parameters).fetchall()

    def rows(self, after: int, stream: str | None = None, last: int | None = None) -> Iterator[Row]:
        where, more = " WHERE notification_id > %s", ()  # type: tuple[str, Parameters]
        if stream is not None:
            where, more = where + " AND originator_id = %s", (*more, UUID(stream))
        if last is not None:
            where, more = where + " AND notification_id <= %s", (*more, last)
        sql = f"{ROWS}{where} ORDER BY notification_id LIMIT {PAGE_ROWS}".encode()
        while True:
            with self._read.cursor(binary=True) as cursor:
                page = cursor.execute(sql, (after, *more)).fetchall()
            yield from map(as_row, page)
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]

    def rows_with(self, member: str, values: Sequence[str]) -> Iterator[Row]:
        key, width = member_key(member), len(values[0])
        sql = f"{ROWS} WHERE substring(state FROM position(%s IN state) + {len(key)} FOR {width}) = ANY(%s)"
        with self._read.cursor(binary=True) as cursor:
            found = cursor.execute(
                f"{sql} ORDER BY notification_id".encode(), (key, [value.encode() for value in values])
            ).fetchall()
        yield from map(as_row, found)

    def pairs(self, topic: str, member: str, other: str, width: int) -> list[tuple[bytes, bytes]]:
        keys = (member_key(member), member_key(other))
        found = ", ".join(f"substring(state FROM position(%s IN state) + {len(key)} FOR {width})" for key in keys)
        sql = f"SELECT {found} FROM stored_events WHERE topic = %s AND position(%s IN state) > 0"
        return self._read.execute(sql.encode(), (*keys, topic, keys[0])).fetchall()

    def members_of(self, subject: int, member: str, width: int) -> list[bytes]:
        key = member_key(member)
        found = f"substring(state FROM position(%s IN state) + {len(key)} FOR {width})"
        sql = f"SELECT {found} FROM stored_events WHERE position(%s IN state) > 0"
        return [value for (value,) in self._read.execute(sql.encode(), (key, sealed_key(subject))).fetchall()]

    def last_row(self) -> Row | None:
        with self._read.cursor(binary=True) as cursor:
            found = cursor.execute(f"{ROWS} ORDER BY notification_id DESC LIMIT 1".encode()).fetchone()
        return as_row(found) if found else None

    def versions(self) -> dict[str, int]:
        return {stream: version or 0 for stream, version in self.query(VERSIONS)}

    def used_bytes(self) -> int:
        used: int = self.query(TABLES_BYTES)[0][0]
        return used

    def close(self) -> None:
        self._read.close()


class PostgreSQLBackend(PostgreSQLReader):
    """The one writer."""

    batch_events = BATCH_EVENTS
    threaded = True

    def __init__(self, settings: Settings) -> None:
        self._write = connect(settings, *WRITER_OPTIONS)
        self._batch = Batch([], [])
        try:
            self._lock(settings)
            with self._write.transaction():
                schema = pgsql.Identifier(settings.schema)
                self._write.execute(pgsql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            self.recorder = Recorder(Datastore(settings.schema))
            self.recorder.create(self._write)
            self.transact([(table.format_map(SQL_TYPES), ()) for table in TABLES])
            super().__init__(settings)
        except BaseException:
            self._write.close()
            raise

    def _lock(self, settings: Settings) -> None:
        """A server takes a moment to notice that the last writer was killed, so try for a second."""
        name = f"openportal ledger {settings.schema}"
        for _ in range(LOCK_ATTEMPTS):
            found = self._write.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (name,)).fetchone()
            if found and found[0]:
                return
            time.sleep(LOCK_PAUSE_SECONDS)
        holder = self._write.execute(HOLDER, (name,)).fetchone()
        pid = holder[0].rpartition(" ")[2] if holder else "unknown"
        raise LedgerLocked(f"the ledger in schema {settings.schema} is written by process {pid}; stop that one first")

    def transact(self, statements: Sequence[Statement]) -> None:
        self.stage(Batch([], list(statements)))
        self.commit()

    def stage(self, batch: Batch) -> None:
        self._batch = batch

    def commit(self) -> None:
        """One COPY is a transaction of its own; only what comes with other statements needs BEGIN and COMMIT."""
        rows, extra = self._batch
        try:
            if not extra:
                self.recorder.append(self._write, rows)
                return
            with self._write.transaction():
                for sql, parameters in extra:
                    self._write.execute(translate(sql), parameters)
                if rows:
                    self.recorder.append(self._write, rows)
        except psycopg.errors.DiskFull as error:
            raise SpaceFull(f"the disk of the database is full: {error}") from error

    def prune(self, last: int, extra: Sequence[Statement]) -> None:
        raise LedgerError("a ledger in PostgreSQL is not pruned: leave that to the database")

    def scrub(self) -> None:
        for table in ("subjects", "checkpoints"):
            self._write.execute(pgsql.SQL("VACUUM {}").format(pgsql.Identifier(table)))

    def drop_schema(self, schema: str) -> None:
        self._write.execute(pgsql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(pgsql.Identifier(schema)))

    def replace_schema(self, schema: str, by: str, aside: str | None) -> None:
        """Give one schema the name of another, which is renamed, or dropped if it gets no name."""
        with self._write.transaction():
            if aside is None:
                self.drop_schema(schema)
            else:
                self._rename(schema, aside)
            self._rename(by, schema)

    def _rename(self, schema: str, to: str) -> None:
        both = (pgsql.Identifier(schema), pgsql.Identifier(to))
        self._write.execute(pgsql.SQL("ALTER SCHEMA {} RENAME TO {}").format(*both))

    def free_bytes(self) -> int | None:
        return None

    def keep_reserve(self) -> None:
        pass

    def give_up_reserve(self) -> bool:
        return False

    def close(self) -> None:
        super().close()
        self._write.close()


def translate(sql: str) -> bytes:
    """Our statements hold no percent sign and no question mark but those of parameters."""
    return sql.replace("?", "%s").encode()


def as_row(found: tuple[int, UUID, int, str, bytes]) -> Row:
    position, stream, version, topic, state = found
    return Row(position, stream.hex, version, topic, bytes(state))
