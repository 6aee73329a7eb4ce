"""The ledger of one agent: what it decided, durable before anything leaves the process.

    open ──checkpoint, replay──> ready ──submit──> pending ──group commit──> `then`s, in order
                                   └── a commit that fails: `failed`; close it, open it again, reload

One writer per ledger, and one thread: that of the event loop. See docs/ledger.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openportal.errors import CommitFailed, LedgerCorrupt, LedgerError, UnknownEvent
from openportal.templemeads.ledger import tables
from openportal.templemeads.ledger.archive import check_segment, file_of
from openportal.templemeads.ledger.commit import GroupCommit, Stats, Then
from openportal.templemeads.ledger.format import (
    FORMAT,
    STREAM_CHARACTERS,
    Chain,
    Codec,
    Event,
    Mark,
    Recorded,
    Row,
    codecs,
    corrupt,
    genesis,
    stream_id,
    unit_digest,
    unit_head,
    with_digest,
)
from openportal.templemeads.ledger.reading import (
    Decoder,
    Meta,
    checkpoint_aad,
    last_mark,
    mark_text,
    newest_checkpoint,
    read_meta,
)
from openportal.templemeads.ledger.settings import Settings
from openportal.templemeads.ledger.sqlite import SQLiteBackend
from openportal.templemeads.ledger.subjects import CHECKPOINT_SUBJECT, KEY_BYTES, Subjects, seal_bytes
from openportal.templemeads.ledger.tables import Backend, Segment, Statement

CHECKPOINTS_KEPT = 2
SPACE_CHECK_SECONDS = 1.0
EVENTS_PER_UNIT = 100_000


class Stream:
    """A stream being written: its id, its name and the version of its last event."""

    __slots__ = ("id", "id_bytes", "version")

    def __init__(self, identifier: str, version: int) -> None:
        self.id = identifier
        self.id_bytes = identifier.encode()
        self.version = version


def open_backend(settings: Settings) -> Backend:
    if settings.url is None:
        return SQLiteBackend(settings)
    from openportal.templemeads.ledger.postgresql import PostgreSQLBackend  # psycopg is an optional dependency

    return PostgreSQLBackend(settings)


class Ledger:
    """One writer's event log. Made by `Ledger.open`."""

    def __init__(self, settings: Settings, backend: Backend, events: Sequence[type[Event]]) -> None:
        self.on_failure: Callable[[CommitFailed], None] = lambda _: None
        self._settings = settings
        self._backend = backend
        self._closed = False
        meta = read_meta(backend) or create(backend, settings, events)
        self.ledger_id = meta.ledger_id
        self.generation = meta.generation
        self.clean = meta.clean
        self._levels = dict(meta.levels)
        self._new: list[Statement] = []
        self._subjects = Subjects(backend, backend.query(tables.LAST_SUBJECT)[0][0] + 1)
        self._know(events)
        self._load(meta)
        self._commits = self._start_commits()
        self._low_space = False
        self._space_checked = -SPACE_CHECK_SECONDS

    @classmethod
    def open(cls, settings: Settings, events: Iterable[type[Event]]) -> Ledger:
        """Take the lock and find the end of the log; `replay` then verifies what follows the newest checkpoint.

        Raises LedgerLocked with the other writer's pid, UnknownEvent, LedgerCorrupt, or another LedgerError.
        """
        backend = open_backend(settings)
        try:
            return cls(settings, backend, list(events))
        except BaseException:
            backend.close()
            raise

    def _know(self, events: Iterable[type[Event]]) -> None:
        self._known = codecs(events, self._levels)
        self._by_class: dict[type[Event], Codec] = {
            codec.event: codec for codec in self._known.values() if codec.topic in self._levels
        }
        self._decoder = Decoder(self._backend, self._known, self._subjects)

    def _load(self, meta: Meta) -> None:
        """Where the log ends, where replay begins, and what the streams' last versions are."""
        backend = self._backend
        self._end = last_mark(backend, self.ledger_id)
        if meta.clean and meta.closed_at != self._end.digest.hex():
            corrupt(self._end.position + 1, "the log does not end as its last writer left it")
        found = newest_checkpoint(backend, self._end)
        self._base = meta.pruned
        if self._base.position and found is None:
            raise LedgerError("the beginning of this log is in archives, and no checkpoint opens: restore a backup")
        self._start = found[0] if found else self._base
        self._state = found[1] if found else None
        self._verified = self._start == self._end
        self._staged = self._end
        self._checkpoint_position = self._start.position
        versions = backend.versions()
        self._streams = {name: Stream(key, versions.get(key, 0)) for key, name in backend.query(tables.STREAMS)}
        sealed = [Segment(*row) for row in backend.query(tables.SEGMENTS)]
        self._sealed = sealed[-1] if sealed else Segment(0, 0, 0, "", genesis(self.ledger_id).hex(), 0.0)
        self._border = self._sealed.last
        self._borders: list[Mark] = []
        backend.transact([(tables.SET_META, ("clean", "0")), (tables.SET_META, ("closed_at", ""))])

    def _start_commits(self) -> GroupCommit:
        threaded = self._backend.threaded or self._settings.commit == "thread"
        commits = GroupCommit(self._backend, threaded, self._end)
        commits.new_statements = self._take_new
        commits.on_mark = self._note_border
        commits.on_failure = lambda failure: self.on_failure(failure)
        return commits

    # What it is

    @property
    def head(self) -> str:
        """The digest of the last committed unit, in hex; a witness of everything before it."""
        return self._commits.committed.digest.hex()

    @property
    def units(self) -> int:
        return self._commits.committed.unit

    @property
    def position(self) -> int:
        return self._commits.committed.position

    @property
    def stats(self) -> Stats:
        return self._commits.stats

    @property
    def idle(self) -> bool:
        """Nothing is pending and every `then` has been called."""
        return self._commits.idle

    @property
    def failed(self) -> bool:
        """A commit failed; close this ledger, open it again and reload."""
        return self._commits.failure is not None

    @property
    def checkpoint_due(self) -> bool:
        return self.position - self._checkpoint_position >= self._settings.checkpoint_every

    @property
    def write_levels(self) -> Mapping[str, int]:
        """Topic -> the level it is written at; 0 if the finalised version does not know the topic at all."""
        return {topic: self._levels.get(topic, 0) for topic in self._known}

    @property
    def unfinalised(self) -> dict[str, tuple[int, int]]:
        """Topic -> the level it is written at and the one that this version knows, where those differ."""
        levels = {topic: (level, self._known[topic].level) for topic, level in self.write_levels.items()}
        return {topic: pair for topic, pair in levels.items() if pair[0] != pair[1]}

    @property
    def low_space(self) -> bool:
        """The disk is nearly full: accept no new work. Looked up at most once a second."""
        now = time.monotonic()
        if now - self._space_checked >= SPACE_CHECK_SECONDS:
            self._space_checked = now
            free = self._backend.free_bytes()
            self._low_space = free is not None and free < self._settings.low_space_bytes
            if not self._low_space:
                self._backend.keep_reserve()
        return self._low_space

    def free_bytes(self) -> int | None:
        """Space left on the ledger's disk; None where only the database's host knows."""
        return self._backend.free_bytes()

    def size_bytes(self) -> int | None:
        """What the log takes on its disk; None where only the database's host knows."""
        return None if self._backend.threaded else self._backend.used_bytes()

    # Reading, before the first submit

    def checkpoint(self) -> bytes | None:
        """The newest checkpoint's state."""
        return self._state

    def replay(self) -> Iterator[Recorded]:
        """Events after that checkpoint, each unit verified before its events are given."""
        record = self._decoder.record
        for unit in self._verified_units():
            yield from map(record, unit)

    def _verified_units(self) -> Iterator[list[Row]]:
        chain = Chain(self._start)
        for unit in chain.units(self._backend.rows(self._start.position, last=self._end.position)):
            self._note_border(chain.mark)
            yield unit
        if chain.mark != self._end:
            raise LedgerCorrupt(f"the ledger changed while it was read at position {chain.mark.position}")
        self._verified = True

    # Writing

    def submit(self, events: Sequence[tuple[str, Event]], now: float, then: Then | None = None) -> None:
        """Stage one unit of (stream, event); `then` is called on the loop once it and all before it are durable.

        Without events it is a gate: `then` is called at once if nothing is pending, else after what is.
        """
        if self._commits.failure is not None:
            raise CommitFailed(str(self._commits.failure))
        if not events:
            self._commits.gate(then)
            return
        if not self._verified:
            for _ in self._verified_units():
                pass
        rows: list[Row] = []
        lines: list[bytes] = []
        try:
            self._encode(events, now, rows, lines)
        except BaseException:
            for name, _ in events[: len(rows)]:
                self._streams[name].version -= 1
            raise
        position, unit, previous = self._staged
        digest = unit_digest(previous, lines)
        last, stream, version, topic, body = rows[-1]
        rows[-1] = Row(last, stream, version, topic, with_digest(body, digest))
        self._staged = Mark(position + len(rows), unit + 1, digest)
        self._commits.add(rows, self._staged, then)

    def _encode(self, events: Sequence[tuple[str, Event]], now: float, rows: list[Row], lines: list[bytes]) -> None:
        """The hot path: states, rows and the lines that the digest covers."""
        if len(events) > EVENTS_PER_UNIT:
            raise LedgerError(f"a unit of {len(events)} events is more than {EVENTS_PER_UNIT}; split it")
        position, unit, _ = self._staged
        head = unit_head(unit + 1, now)
        streams, by_class = self._streams, self._by_class
        for name, event in events:
            codec = by_class.get(type(event)) or self._refuse_class(event)
            stream = streams.get(name) or self._new_stream(name)
            version = stream.version + 1
            if codec.private and event.subject is not None:  # type: ignore[attr-defined]  # checked by check_event
                body = self._seal(head, codec, event, stream, version)
            else:
                body = b"%b%b%b}" % (head, codec.write_head, codec.clear(event))
            stream.version = version
            position += 1
            rows.append(Row(position, stream.id, version, codec.topic, body))
            lines.append(b"%b %d %b %b\n" % (stream.id_bytes, version, codec.topic_bytes, body))

    def _refuse_class(self, event: Event) -> Codec:
        if event.TOPIC in self._known:
            raise UnknownEvent(
                f"the event {event.TOPIC} came with an upgrade that is not finalised, and the version before cannot "
                "read it: `openportal ledger finalise`, once there is no going back"
            )
        raise UnknownEvent(f"the ledger was not opened with the event class {type(event).__name__}")

    def _seal(self, head: bytes, codec: Codec, event: Event, stream: Stream, version: int) -> bytes:
        subject = self._subjects.of_name(event.subject)  # type: ignore[attr-defined]  # checked by check_event
        public, private = codec.split(event)
        if not private:
            return b'%b%b%b,"s":%d}' % (head, codec.write_head, public, subject.number)
        sealed = subject.seal(b"%b|%d" % (stream.id_bytes, version), private)
        return b'%b%b%b,"s":%d,"p":"%b"}' % (head, codec.write_head, public, subject.number, sealed)

    def _new_stream(self, name: str) -> Stream:
        if not name or len(name) > STREAM_CHARACTERS:
            raise LedgerError(f"a stream's name has 1 to {STREAM_CHARACTERS} characters; this one has {len(name)}")
        stream = self._streams[name] = Stream(stream_id(self.ledger_id, name), 0)
        self._new.append((tables.ADD_STREAM, (stream.id, name)))
        return stream

    def _take_new(self) -> list[Statement]:
        new, self._new = self._new, []
        return new + self._subjects.take_new()

    def fail(self, error: Exception) -> None:
        """The owner has something that this log cannot hold: the same as a commit that failed."""
        self._commits.fail(error)

    async def drain(self) -> None:
        """Returns when all that was submitted is durable; raises CommitFailed if it is not."""
        await self._commits.drain()

    def close(self) -> None:
        """Write what is pending, calling no `then` any more, and mark the ledger as cleanly closed."""
        if self._closed:
            return
        self._closed = True
        self._commits.settle()
        try:
            if not self.failed:
                self._transact(
                    [*self._take_new(), (tables.SET_META, ("clean", "1")), (tables.SET_META, ("closed_at", self.head))]
                )
        finally:
            self._backend.close()

    # In quiet moments

    def save_checkpoint(self, state: bytes, at: float | None = None) -> None:
        """Store the agent's state at the committed head, as of `at` (now unless given), and seal what it is past.

        The two newest are kept, so that a broken one stops nobody, and the first past each segment, so that a moment in
        the past can be looked at without reading the log from its beginning.
        """
        self._need_idle("a checkpoint")
        mark, now = self._commits.committed, time.time() if at is None else at
        sealed = seal_bytes(self._checkpoint_key(), checkpoint_aad(mark), state)
        segments = list(self._segments_to_seal(now))
        self._transact(
            [
                (tables.ADD_CHECKPOINT, (mark.position, mark.unit, mark.digest.hex(), now, sealed)),
                (tables.KEEP_CHECKPOINTS, (CHECKPOINTS_KEPT,)),
                *((tables.ADD_SEGMENT, tuple(segment)) for segment in segments),
            ]
        )
        self._checkpoint_position = mark.position
        self._borders.clear()
        self._sealed = segments[-1] if segments else self._sealed

    def erase_subject(self, name: str, redact: Callable[[bytes], bytes] | None = None) -> bool:
        """Destroy a person's key and name, and every checkpoint. False if nothing is stored of them.

        A log whose beginning is in archives cannot be replayed from there: its newest checkpoint is replaced by what
        `redact` makes of it.
        """
        self._need_idle("an erasure")
        self._transact(self._take_new())
        found = self._backend.query(tables.SUBJECT_OF_NAME, (name,))
        if not found:
            return False
        number, key = found[0][0], new_key()
        self._transact(
            [
                (tables.ERASE_SUBJECT, (number,)),
                (tables.DROP_CHECKPOINTS, ()),
                (tables.SET_KEY, (key, CHECKPOINT_SUBJECT)),
                *self._redacted(key, redact),
            ]
        )
        self._subjects.forget(name, number)
        self._backend.scrub()
        return True

    def _redacted(self, key: bytes, redact: Callable[[bytes], bytes] | None) -> list[Statement]:
        """The newest checkpoint without a person, if the log cannot do without one."""
        newest = newest_checkpoint(self._backend) if self._base.position else None
        if newest is None:
            return []
        if redact is None:
            raise LedgerError("the beginning of this log is in archives: a person is erased from its checkpoint, too")
        mark, state = newest
        sealed = seal_bytes(key, checkpoint_aad(mark), redact(state))
        return [(tables.ADD_CHECKPOINT, (mark.position, mark.unit, mark.digest.hex(), time.time(), sealed))]

    def prune(self, archive: Path) -> list[Segment]:
        """Delete the segments whose files are in the archive and whole, and that the two newest checkpoints are past.

        Returns them.
        """
        self._need_idle("pruning")
        checkpoints = [position for position, *_ in self._backend.query(tables.CHECKPOINTS)][:CHECKPOINTS_KEPT]
        gone = []
        for segment in [Segment(*row) for row in self._backend.query(tables.SEGMENTS)]:
            safe = len(checkpoints) >= CHECKPOINTS_KEPT and segment.last < min(checkpoints)
            if segment.last <= self._base.position or not safe or not file_of(archive, segment.number).exists():
                continue
            mark = check_segment(file_of(archive, segment.number), self.ledger_id, segment)
            if segment.first != self._base.position + 1:
                break
            self._backend.prune(segment.last, [(tables.SET_META, ("pruned", mark_text(mark)))])
            self._base = mark
            gone.append(segment)
        return gone

    def raise_generation(self) -> int:
        """After a restore: peers can tell this log from the one they knew. Returns the new generation."""
        self._need_idle("a new generation")
        self._transact([(tables.SET_META, ("generation", str(self.generation + 1)))])
        self.generation += 1
        return self.generation

    def finalise(self) -> None:
        """Write every event at this version's level from now on; an older version cannot open the ledger any more."""
        self._need_idle("finalising")
        levels = {**self._levels, **{topic: codec.level for topic, codec in self._known.items()}}
        self._transact([(tables.SET_META, ("levels", json.dumps(levels)))])
        self._levels = levels
        self._know([codec.event for codec in self._known.values()])

    def _need_idle(self, what: str) -> None:
        if self._commits.failure is not None:
            raise CommitFailed(str(self._commits.failure))
        if not self.idle:
            raise LedgerError(f"{what} must wait until nothing is pending; drain the ledger first")

    def _transact(self, statements: Sequence[Statement]) -> None:
        if not statements:
            return
        try:
            self._backend.transact(statements)
        except Exception as error:
            raise CommitFailed(f"the ledger could not commit: {error}") from error

    def _checkpoint_key(self) -> bytes:
        return bytes(self._backend.query(tables.SUBJECT_OF_NUMBER, (CHECKPOINT_SUBJECT,))[0][1])

    def _note_border(self, mark: Mark) -> None:
        if mark.position - self._border >= self._settings.segment_events:
            self._border = mark.position
            self._borders.append(mark)

    def _segments_to_seal(self, now: float) -> Iterator[Segment]:
        last = self._sealed
        for border in self._borders:
            last = Segment(last.number + 1, last.last + 1, border.position, last.digest_after, border.digest.hex(), now)
            yield last


def new_key() -> bytes:
    return AESGCM.generate_key(KEY_BYTES * 8)


def create(backend: Backend, settings: Settings, events: Sequence[type[Event]]) -> Meta:
    """A new ledger writes every event at this version's level. It counts as cleanly closed: nothing is missing."""
    meta = Meta(
        ledger_id=str(uuid4()),
        generation=1,
        created=time.time(),
        owner=settings.owner,
        clean=True,
        levels={event.TOPIC: event.LEVEL for event in events},
        closed_at="",
        pruned=Mark(0, 0, b""),
    )
    begin = genesis(meta.ledger_id)
    meta = msgspec.structs.replace(meta, closed_at=begin.hex(), pruned=Mark(0, 0, begin))
    values = msgspec.structs.asdict(meta) | {"clean": "1", "levels": json.dumps(meta.levels), "format": FORMAT}
    values["pruned"] = mark_text(meta.pruned)
    backend.transact(
        [
            *((tables.SET_META, (key, str(value))) for key, value in values.items()),
            (tables.ADD_SUBJECT, (CHECKPOINT_SUBJECT, None, new_key())),
        ]
    )
    return meta
