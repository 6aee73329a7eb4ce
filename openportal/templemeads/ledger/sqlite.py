"""A ledger in one SQLite file: WAL and synchronous=FULL, so one fdatasync per commit and nothing lost at power loss.

The library makes the events table and the connections; rows are written with their positions (rowids) spelled out, so a
gap or a second writer is an error of the database instead of a silent renumbering. `stage` runs on the loop's thread
also in "thread" mode: only the commit, which waits for the disk, moves to the worker. Inserts there would take the
interpreter's lock anew for every row.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteDatastore,
)

from openportal.errors import LedgerError, LedgerLocked
from openportal.templemeads.ledger.format import Row, member_key, sealed_key
from openportal.templemeads.ledger.settings import Settings
from openportal.templemeads.ledger.tables import (
    KEEP_VERSION,
    PAGE_ROWS,
    TABLES,
    Batch,
    Parameters,
    SpaceFull,
    Statement,
)

FILE_NAME = "ledger.sqlite"
LOCK_NAME = "lock"
RESERVE_NAME = "reserve"
ARCHIVE_NAME = "archive"
BATCH_EVENTS = 2_000
CACHE_KIBIBYTES = 8 * 1024
WAL_PAGES = 4_000
WAL_BYTES = 64 * 1024 * 1024
BUSY_SECONDS = 5
LOCK_ATTEMPTS = 5
LOCK_PAUSE_SECONDS = 0.02
PID_BYTES = 32
PRAGMAS = (
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    f"PRAGMA cache_size=-{CACHE_KIBIBYTES}",
    f"PRAGMA wal_autocheckpoint={WAL_PAGES}",
    f"PRAGMA journal_size_limit={WAL_BYTES}",
)
ROWS = "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events"
VERSIONS = (
    "SELECT streams.id, COALESCE((SELECT MAX(originator_version) FROM stored_events WHERE originator_id = streams.id),"
    " pruned.version) FROM streams LEFT JOIN pruned ON pruned.id = streams.id"
)
SQL_TYPES = {"blob": "BLOB", "integer": "INTEGER", "real": "REAL"}


class Pool(SQLiteConnectionPool):
    """The library's pool; every connection gets our pragmas, and plain tuples where the ledger reads."""

    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        for pragma in PRAGMAS:
            connection._sqlite_conn.execute(pragma)
        return connection


class Datastore(SQLiteDatastore):
    def __init__(self, uri: str) -> None:
        super().__init__(uri, lock_timeout=BUSY_SECONDS)
        self.pool.close()
        self.pool = Pool(db_name=uri, lock_timeout=BUSY_SECONDS)


class Recorder(SQLiteApplicationRecorder):
    """The library's application recorder, which also writes rows whose positions are known, inside a transaction."""

    def __init__(self, datastore: SQLiteDatastore) -> None:
        super().__init__(datastore)
        self.append_statement = (
            f"INSERT INTO {self.events_table_name} (rowid, originator_id, originator_version, topic, state)"
            " VALUES (?,?,?,?,?)"
        )

    def append(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        connection.executemany(self.append_statement, rows)


def file_uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"


class WriterLock:
    """An flock on a file that holds the writer's pid; the kernel lets go of it however the process ends."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._locked():
            pid = os.pread(self._fd, PID_BYTES, 0).decode().strip() or "unknown"
            os.close(self._fd)
            raise LedgerLocked(f"the ledger in {folder} is written by process {pid}; stop that one first")
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def _locked(self) -> bool:
        """Whether the lock is ours now. Whoever looks if there is a writer holds it for an instant: we ask again."""
        for _ in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(LOCK_PAUSE_SECONDS)
            else:
                return True
        return False

    def release(self) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


class SQLiteReader:
    """The reading half of a backend; a backup is read where it lies, as a file."""

    def __init__(self, place: Path, mode: str = "ro") -> None:
        is_backup = place.is_file() and place.name != FILE_NAME  # nobody writes to it, nor has its log beside it
        self.path = place if place.is_file() else place / FILE_NAME
        self.folder = self.path.parent
        if not self.path.exists():
            raise LedgerError(f"there is no ledger in {place}; start the agent once, or name its ledger folder")
        self.datastore = Datastore(file_uri(self.path, "ro&immutable=1" if is_backup else mode))
        self._read_connection = self.datastore.pool.get_connection()
        self._read = self._read_connection._sqlite_conn
        self._read.row_factory = None

    def query(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        return self._read.execute(sql, parameters).fetchall()

    def rows(self, after: int, stream: str | None = None, last: int | None = None) -> Iterator[Row]:
        where, more = " WHERE rowid > ?", ()  # type: tuple[str, Parameters]
        if stream is not None:
            where, more = where + " AND originator_id = ?", (*more, stream)
        if last is not None:
            where, more = where + " AND rowid <= ?", (*more, last)
        while True:
            page = self.query(f"{ROWS}{where} ORDER BY rowid LIMIT {PAGE_ROWS}", (after, *more))
            yield from map(Row._make, page)
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]

    def rows_with(self, member: str, values: Sequence[str]) -> Iterator[Row]:
        key = member_key(member)
        found = f"substr(state, instr(state, ?) + {len(key)}, {len(values[0])})"
        wanted = ",".join("?" * len(values))
        sql = f"{ROWS} WHERE {found} IN ({wanted}) ORDER BY rowid"
        yield from map(Row._make, self.query(sql, (key, *(value.encode() for value in values))))

    def pairs(self, topic: str, member: str, other: str, width: int) -> list[tuple[bytes, bytes]]:
        keys = (member_key(member), member_key(other))
        found = ", ".join(f"substr(state, instr(state, ?) + {len(key)}, {width})" for key in keys)
        sql = f"SELECT {found} FROM stored_events WHERE topic = ? AND instr(state, ?) > 0"
        return self.query(sql, (*keys, topic, keys[0]))

    def members_of(self, subject: int, member: str, width: int) -> list[bytes]:
        key = member_key(member)
        sql = (
            f"SELECT substr(state, instr(state, ?) + {len(key)}, {width}) FROM stored_events WHERE instr(state, ?) > 0"
        )
        return [value for (value,) in self.query(sql, (key, sealed_key(subject)))]

    @property
    def archive(self) -> Path | None:
        """Where the archives of sealed segments are looked for."""
        return self.folder / ARCHIVE_NAME

    def last_row(self) -> Row | None:
        found = self.query(f"{ROWS} ORDER BY rowid DESC LIMIT 1")
        return Row._make(found[0]) if found else None

    def versions(self) -> dict[str, int]:
        return {stream: version or 0 for stream, version in self.query(VERSIONS)}

    def used_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.glob(f"{self.path.name}*"))

    def close(self) -> None:
        self.datastore.pool.put_connection(self._read_connection)
        self.datastore.close()


class SQLiteBackend(SQLiteReader):
    """The one writer."""

    batch_events = BATCH_EVENTS
    threaded = False

    def __init__(self, settings: Settings) -> None:
        assert settings.path is not None
        prepare_folder(settings.path)
        self._lock = WriterLock(settings.path)
        try:
            self._open(settings, settings.path)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, settings: Settings, folder: Path) -> None:
        os.close(os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600))
        super().__init__(folder, "rw")
        try:
            self.recorder = Recorder(self.datastore)
            self.recorder.create_table()
            self._write_connection = self.datastore.pool.get_connection(is_writer=True)
            self._write = self._write_connection._sqlite_conn
            self._write.row_factory = None
            self.transact([(table.format_map(SQL_TYPES), ()) for table in TABLES])
            sync_folder(folder)
            sync_folder(folder.parent)
        except BaseException:
            super().close()
            raise
        self._reserve = folder / RESERVE_NAME
        self._reserve_bytes = settings.reserve_bytes
        self.keep_reserve()

    def transact(self, statements: Sequence[Statement]) -> None:
        self.stage(Batch([], list(statements)))
        self.commit()

    def stage(self, batch: Batch) -> None:
        try:
            self._write.execute("BEGIN IMMEDIATE")
            for sql, parameters in batch.extra:
                self._write.execute(sql, parameters)
            self.recorder.append(self._write, batch.rows)
        except sqlite3.Error as error:
            self._abandon(error)

    def commit(self) -> None:
        try:
            self._write.execute("COMMIT")
        except sqlite3.Error as error:
            self._abandon(error)

    def _abandon(self, error: sqlite3.Error) -> None:
        """Roll back what is left of the transaction, and say whether it was for want of space."""
        if self._write.in_transaction:
            self._write.rollback()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise SpaceFull(f"the disk of {self.folder} is full") from error
        raise LedgerError(f"the database in {self.folder} failed: {error}") from error

    def prune(self, last: int, extra: Sequence[Statement]) -> None:
        """Delete the rows up to a position, together with what else has to change."""
        versions = self.query(
            "SELECT originator_id, MAX(originator_version) FROM stored_events WHERE rowid <= ? GROUP BY originator_id",
            (last,),
        )
        keep = [(KEEP_VERSION, (stream, version)) for stream, version in versions]
        self.transact([*keep, *extra, ("DELETE FROM stored_events WHERE rowid <= ?", (last,))])
        self.scrub()

    def scrub(self) -> None:
        """secure_delete has zeroed the value in its page; this moves the page out of the write-ahead log."""
        self._write.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def free_bytes(self) -> int | None:
        space = os.statvfs(self.folder)
        return space.f_bavail * space.f_frsize

    def keep_reserve(self) -> None:
        """Set space aside, unless there is so little that it would be needed at once."""
        size = self._reserve_bytes
        if not size or self._reserve.exists() or (self.free_bytes() or 0) < 2 * size:
            return
        fd = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)

    def give_up_reserve(self) -> bool:
        if not self._reserve.exists():
            return False
        self._reserve.unlink()
        return True

    def close(self) -> None:
        self.datastore.pool.put_connection(self._write_connection)
        super().close()
        self._lock.release()


def prepare_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
