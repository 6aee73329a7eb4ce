"""Reading a ledger beside its writer: for the command line. Read-only, in short transactions; takes no lock."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Self

import msgspec

from openportal.errors import LedgerError
from openportal.templemeads.ledger import tables
from openportal.templemeads.ledger.archive import archived_rows, file_of, write_segment
from openportal.templemeads.ledger.format import (
    BadPosition,
    Chain,
    Event,
    Mark,
    Recorded,
    Row,
    codecs,
    corrupt,
    genesis,
    member_key,
    sealed_key,
    stream_id,
)
from openportal.templemeads.ledger.reading import Decoder, Meta, newest_checkpoint, read_meta
from openportal.templemeads.ledger.settings import Settings
from openportal.templemeads.ledger.sqlite import SQLiteReader
from openportal.templemeads.ledger.subjects import Subjects
from openportal.templemeads.ledger.tables import ReadBackend, Segment

VALUES_A_QUERY = 500
SUBJECTS_READ = 20_000  # keys at hand: whoever reads a whole log meets everybody


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found. `head` is the digest of the last unit that verifies."""

    ok: bool
    events: int
    units: int
    head: str
    first_bad: int | None = None
    """A position; one past the end if the log is shorter than it must be."""
    reason: str = ""

    def __str__(self) -> str:
        counts = f"{self.events} events in {self.units} units, head {self.head}"
        return f"OK: {counts}" if self.ok else f"BAD at position {self.first_bad}: {self.reason}; before it: {counts}"


class ReaderStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a ledger at rest or in use."""

    ledger_id: str
    generation: int
    owner: str
    clean: bool
    created: float
    events: int
    streams: int
    subjects: int
    erased: int
    segments: int
    pruned: int
    """Position up to which the events are in archives only."""
    checkpoint: int
    """Position of the newest checkpoint; 0 if there is none."""
    bytes: int


def open_reader(settings: Settings, events: Iterable[type[Event]] = ()) -> Reader:
    """Events whose class is not given are shown as `Unknown`."""
    backend: ReadBackend
    if settings.path is not None:
        backend = SQLiteReader(settings.path)
    else:
        from openportal.templemeads.ledger.postgresql import PostgreSQLReader  # psycopg is an optional dependency

        backend = PostgreSQLReader(settings)
    try:
        return Reader(backend, events)
    except BaseException:
        backend.close()
        raise


def member_of(state: bytes, key: bytes, width: int) -> bytes:
    """What a text member begins with; `key` is what stands before its value."""
    start = state.index(key) + len(key)
    return state[start : start + width]


def check_mark(mark: Mark, expected: dict[int, str], wanted: set[str]) -> None:
    """What is known from elsewhere about this place; what was found is taken out of both."""
    digest = mark.digest.hex()
    wanted.discard(digest)
    if expected.pop(mark.position, digest) != digest:
        corrupt(mark.position, "a checkpoint or segment knows another digest here")


class Reader:
    """A context manager over a read-only connection."""

    def __init__(self, backend: ReadBackend, events: Iterable[type[Event]]) -> None:
        self._backend = backend
        self.meta = self._meta()
        self._decoder = Decoder(backend, codecs(events, {}), Subjects(backend, 0, SUBJECTS_READ), tolerant=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._backend.close()

    def _meta(self) -> Meta:
        meta = read_meta(self._backend)
        if meta is None:
            raise LedgerError("there is no ledger here yet; start the agent once")
        return meta

    def records(
        self,
        stream: str | None = None,
        first: int = 1,
        last: int | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Iterator[Recorded]:
        """Events in order, between two positions (both included) and two times (`until` excluded)."""
        key = None if stream is None else stream_id(self.meta.ledger_id, stream)
        for recorded in map(self._decoder.record, self._rows(first - 1, key, last)):
            if (since is None or recorded.at >= since) and (until is None or recorded.at < until):
                yield recorded

    def records_with(self, member: str, values: Collection[str]) -> Iterator[Recorded]:
        """Events in which a text member begins with one of the values, all of one length; without reading the rest."""
        keys = [member_key(member) + value.encode() for value in values]
        for row in self._archived_rows():
            if any(key in row.state for key in keys):
                yield self._decoder.record(row)
        wanted = sorted(values)
        starts = range(0, len(wanted), VALUES_A_QUERY)
        found = (self._backend.rows_with(member, wanted[start : start + VALUES_A_QUERY]) for start in starts)
        yield from map(self._decoder.record, sorted(itertools.chain.from_iterable(found)))

    def pairs(self, event: type[Event], member: str, other: str, width: int) -> list[tuple[str, str]]:
        """The first `width` characters of two text members, of every event of a class that has the first."""
        found = self._backend.pairs(event.TOPIC, member, other, width)
        keys = (member_key(member), member_key(other))
        for row in self._archived_rows():
            if row.topic == event.TOPIC and keys[0] in row.state:
                found.append((member_of(row.state, keys[0], width), member_of(row.state, keys[1], width)))
        return [(bytes(one).decode(), bytes(two).decode()) for one, two in found]

    def members_of(self, subject: str, member: str, width: int) -> set[str]:
        """The first `width` characters of a text member, of every event in which something of a subject is sealed."""
        known = self._backend.query(tables.SUBJECT_OF_NAME, (subject,))
        if not known:
            return set()
        number, key = known[0][0], member_key(member)
        found = self._backend.members_of(number, member, width)
        found += [member_of(row.state, key, width) for row in self._archived_rows() if sealed_key(number) in row.state]
        return {bytes(one).decode() for one in found}

    def _archived_rows(self) -> Iterator[Row]:
        archived = self.archived()
        if archived:
            yield from archived_rows(self._archive, archived, 0, self.meta.pruned.position, None)

    def _rows(self, after: int, stream: str | None = None, last: int | None = None) -> Iterator[Row]:
        """Rows in order; those that were pruned come from the archive beside the ledger, if that is there."""
        pruned = self.meta.pruned.position
        archived = self.archived() if after < pruned else []
        if archived:
            until = pruned if last is None else min(pruned, last)
            yield from archived_rows(self._archive, archived, after, until, stream)
        yield from self._backend.rows(max(after, pruned), stream, last)

    @property
    def _archive(self) -> Path:
        folder = self._backend.archive
        if folder is None:
            raise LedgerError("a ledger in PostgreSQL has no archives: its database partitions and backs up")
        return folder

    def archived(self) -> list[Segment]:
        """The segments that were deleted here; empty if not all of their archives are at hand."""
        pruned = self.meta.pruned.position
        gone = [segment for segment in self.segments() if segment.last <= pruned] if pruned else []
        return gone if all(file_of(self._archive, segment.number).exists() for segment in gone) else []

    def archive(self, folder: Path | None = None) -> list[Path]:
        """Write the files of the sealed segments that have none yet, beside the ledger or into a folder."""
        where = folder or self._archive
        missing = [segment for segment in self.segments() if not file_of(where, segment.number).exists()]
        return [
            write_segment(self._backend, self.meta.ledger_id, segment, where)
            for segment in missing
            if segment.last > self.meta.pruned.position
        ]

    def checkpoint(self, before: float | None = None) -> tuple[int, bytes] | None:
        """Position and state of the newest checkpoint, made `before` a time; None if the log has to be read from 1 on.

        Raises LedgerError if what follows it was pruned and its archives are elsewhere.
        """
        least = 0 if self.archived() else self.meta.pruned.position
        found = newest_checkpoint(self._backend, before=before, least=least)
        if found is None and least:
            raise LedgerError(f"events up to position {least} are in archives: put their files into {self._archive}")
        return None if found is None else (found[0].position, found[1])

    def verify(self, witness: str | None = None) -> Report:
        """The chain, its checkpoints and segments: from the beginning, or from where archives that are elsewhere end.

        `witness` is a head seen earlier, which must occur in the chain.
        """
        begin = Mark(0, 0, genesis(self.meta.ledger_id)) if self.archived() else self.meta.pruned
        chain = Chain(begin)
        try:
            self._verify(chain, witness)
        except BadPosition as error:
            return self._report(chain.mark, first_bad=error.position, reason=error.why)
        return self._report(chain.mark)

    def stats(self) -> ReaderStats:
        meta, query = self._meta(), self._backend.query
        last = self._backend.last_row()
        return ReaderStats(
            ledger_id=meta.ledger_id,
            generation=meta.generation,
            owner=meta.owner,
            clean=meta.clean,
            created=meta.created,
            events=last.position if last else 0,
            streams=query("SELECT COUNT(*) FROM streams")[0][0],
            subjects=query("SELECT COUNT(*) FROM subjects WHERE number > 0 AND name IS NOT NULL")[0][0],
            erased=query("SELECT COUNT(*) FROM subjects WHERE number > 0 AND name IS NULL")[0][0],
            segments=query("SELECT COUNT(*) FROM segments")[0][0],
            pruned=meta.pruned.position,
            checkpoint=query("SELECT COALESCE(MAX(position), 0) FROM checkpoints")[0][0],
            bytes=self._backend.used_bytes(),
        )

    def segments(self) -> list[Segment]:
        return [Segment(*row) for row in self._backend.query(tables.SEGMENTS)]

    def _verify(self, chain: Chain, witness: str | None) -> None:
        expected: dict[int, str] = dict(self._backend.query(tables.CHECKPOINT_MARKS))
        expected |= {segment.last: segment.digest_after for segment in self.segments()}
        wanted = {head for head in (witness, self._meta().closed_at) if head}
        self._verify_streams()
        begin = chain.mark.position
        expected = {position: digest for position, digest in expected.items() if position >= begin}
        check_mark(chain.mark, expected, wanted)
        for _ in chain.units(self._rows(begin)):
            check_mark(chain.mark, expected, wanted)
        end = chain.mark.position
        for position in sorted(expected):
            if position < end:
                corrupt(position, "no unit ends here, and a checkpoint or segment does")
            corrupt(end + 1, f"the log is shorter than it was: there is a checkpoint or segment up to {position}")
        if wanted:
            corrupt(end + 1, f"the log is shorter than it was, or another one: it has no head {min(wanted)}")

    def _verify_streams(self) -> None:
        for key, name in self._backend.query(tables.STREAMS):
            if key != stream_id(self.meta.ledger_id, name):
                row = next(self._backend.rows(0, key), None)
                corrupt(row.position if row else 1, f"its stream was renamed to {name}")

    def _report(self, mark: Mark, first_bad: int | None = None, reason: str = "") -> Report:
        return Report(
            ok=first_bad is None,
            events=mark.position,
            units=mark.unit,
            head=mark.digest.hex(),
            first_bad=first_bad,
            reason=reason,
        )
