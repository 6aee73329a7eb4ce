"""The tables beside the library's own, their statements, and what a database must do for the ledger.

Statements are written once, with `?` for a parameter; `{blob}`, `{integer}` and `{real}` differ between the databases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from openportal.errors import LedgerError
from openportal.templemeads.ledger.format import Row

PAGE_ROWS = 5_000

TABLES = (
    "CREATE TABLE IF NOT EXISTS ledger (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS streams (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS subjects (number {integer} PRIMARY KEY, name TEXT UNIQUE, key {blob})",
    "CREATE TABLE IF NOT EXISTS checkpoints (position {integer} PRIMARY KEY, unit {integer} NOT NULL,"
    " digest TEXT NOT NULL, at {real} NOT NULL, state {blob} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS segments (number {integer} PRIMARY KEY, first {integer} NOT NULL,"
    " last {integer} NOT NULL, digest_before TEXT NOT NULL, digest_after TEXT NOT NULL, sealed_at {real} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pruned (id TEXT PRIMARY KEY, version {integer} NOT NULL)",
)
COLUMNS = {
    "ledger": ("key", "value"),
    "streams": ("id", "name"),
    "subjects": ("number", "name", "key"),
    "checkpoints": ("position", "unit", "digest", "at", "state"),
    "segments": ("number", "first", "last", "digest_before", "digest_after", "sealed_at"),
    "pruned": ("id", "version"),
}

SET_META = "INSERT INTO ledger (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
GET_META = "SELECT key, value FROM ledger"
ADD_STREAM = "INSERT INTO streams (id, name) VALUES (?, ?)"
STREAMS = "SELECT id, name FROM streams"
STREAM_NAME = "SELECT name FROM streams WHERE id = ?"
ADD_SUBJECT = "INSERT INTO subjects (number, name, key) VALUES (?, ?, ?)"
SUBJECT_OF_NAME = "SELECT number, key FROM subjects WHERE name = ?"
SUBJECT_OF_NUMBER = "SELECT name, key FROM subjects WHERE number = ?"
ERASE_SUBJECT = "UPDATE subjects SET name = NULL, key = NULL WHERE number = ?"
SET_KEY = "UPDATE subjects SET key = ? WHERE number = ?"
LAST_SUBJECT = "SELECT MAX(number) FROM subjects"
ADD_CHECKPOINT = (
    "INSERT INTO checkpoints (position, unit, digest, at, state) VALUES (?, ?, ?, ?, ?) ON CONFLICT (position) DO"
    " UPDATE SET at = excluded.at, state = excluded.state, unit = excluded.unit, digest = excluded.digest"
)
CHECKPOINTS = "SELECT position, unit, digest, at FROM checkpoints ORDER BY position DESC"
CHECKPOINT_STATE = "SELECT state FROM checkpoints WHERE position = ?"
CHECKPOINT_MARKS = "SELECT position, digest FROM checkpoints ORDER BY position"
KEEP_CHECKPOINTS = (  # the newest ones, and the first past each sealed segment
    "DELETE FROM checkpoints WHERE position NOT IN (SELECT position FROM checkpoints ORDER BY position DESC LIMIT ?)"
    " AND position NOT IN (SELECT MIN(c.position) FROM checkpoints c JOIN segments s ON c.position >= s.last"
    " GROUP BY s.number)"
)
DROP_CHECKPOINTS = "DELETE FROM checkpoints"
ADD_SEGMENT = (
    "INSERT INTO segments (number, first, last, digest_before, digest_after, sealed_at) VALUES (?, ?, ?, ?, ?, ?)"
)
KEEP_VERSION = (
    "INSERT INTO pruned (id, version) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET version = excluded.version"
)
SEGMENTS = "SELECT number, first, last, digest_before, digest_after, sealed_at FROM segments ORDER BY number"

Parameters = tuple[Any, ...]
Statement = tuple[str, Parameters]


class Segment(NamedTuple):
    """A sealed range of positions; `digest_before` and `digest_after` are those of the units around its borders."""

    number: int
    first: int
    last: int
    digest_before: str
    digest_after: str
    sealed_at: float


class SpaceFull(LedgerError):
    """The disk is full; a batch may be tried once more after the reserve was given up."""


class Batch(NamedTuple):
    """What one transaction writes."""

    rows: list[Row]
    extra: list[Statement]


class ReadBackend(Protocol):
    """A database that holds one ledger, for reading."""

    def query(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Rows of a read, never waiting for a commit that is under way."""
        ...

    @property
    def archive(self) -> Path | None:
        """Where archives are looked for; None if this kind of database has none."""
        ...

    def rows(self, after: int, stream: str | None = None, last: int | None = None) -> Iterator[Row]:
        """Rows in order of position, read in short transactions; `stream` is an id."""
        ...

    def rows_with(self, member: str, values: Sequence[str]) -> Iterator[Row]:
        """Rows of events in which a text member begins with one of the values, which are all of one length."""
        ...

    def pairs(self, topic: str, member: str, other: str, width: int) -> list[tuple[bytes, bytes]]:
        """The first `width` bytes of two text members, of every event of a topic that has the first."""
        ...

    def members_of(self, subject: int, member: str, width: int) -> list[bytes]:
        """The first `width` bytes of a text member, of every event in which something of a subject is sealed."""
        ...

    def last_row(self) -> Row | None:
        """The row of the highest position."""
        ...

    def versions(self) -> dict[str, int]:
        """Stream id -> its last version."""
        ...

    def used_bytes(self) -> int: ...

    def close(self) -> None: ...


class Backend(ReadBackend, Protocol):
    """The writer's. `stage` and `commit` write one batch; the rest is for quieter moments."""

    batch_events: int
    threaded: bool
    """`commit` waits for a network and must not run on the loop."""

    def transact(self, statements: Sequence[Statement]) -> None:
        """Durable when it returns."""
        ...

    def stage(self, batch: Batch) -> None:
        """Take a batch, on the loop's thread."""
        ...

    def commit(self) -> None:
        """Make the staged batch durable, in any thread. SpaceFull, or any other exception, means it is not."""
        ...

    def prune(self, last: int, extra: Sequence[Statement]) -> None:
        """Delete the rows up to a position, together with what else has to change."""
        ...

    def scrub(self) -> None:
        """After an erasure: clear what the database keeps of deleted values, as far as it can."""
        ...

    def free_bytes(self) -> int | None:
        """Space left on the ledger's disk; None where only the database's host knows."""
        ...

    def keep_reserve(self) -> None:
        """Set space aside, if there is enough."""
        ...

    def give_up_reserve(self) -> bool:
        """Delete the reserve; False if there is none."""
        ...
