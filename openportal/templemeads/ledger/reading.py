"""What the writer and the readers share: the ledger's own facts, and rows made into events."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openportal.errors import LedgerCorrupt, LedgerError, UnknownEvent
from openportal.templemeads.ledger.format import (
    FORMAT,
    Codec,
    Event,
    Mark,
    Recorded,
    Row,
    Stored,
    Unknown,
    corrupt,
    decode_fields,
    decode_stored,
    genesis,
    split_digest,
)
from openportal.templemeads.ledger.subjects import CHECKPOINT_SUBJECT, Subjects, open_sealed
from openportal.templemeads.ledger.tables import (
    CHECKPOINT_STATE,
    CHECKPOINTS,
    GET_META,
    STREAM_NAME,
    SUBJECT_OF_NUMBER,
    ReadBackend,
)

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what JSON that is not ours raises


class Meta(msgspec.Struct, frozen=True):
    """The table `ledger`."""

    ledger_id: str
    generation: int
    created: float
    owner: str
    clean: bool
    levels: dict[str, int]
    """Topic -> the level that is written; what an operator finalised."""
    closed_at: str
    """The digest of the last unit when the last writer closed; empty while one writes."""
    pruned: Mark
    """Where the rows begin: up to here they are in archives only."""


def read_meta(backend: ReadBackend) -> Meta | None:
    """None if the tables are empty: the ledger is new."""
    values: dict[str, str] = dict(backend.query(GET_META))
    if "ledger_id" not in values:
        return None
    if int(values["format"]) != FORMAT:
        raise LedgerError(
            f"this ledger has format {values['format']}, this version writes {FORMAT}: start the version that made it"
        )
    return Meta(
        ledger_id=values["ledger_id"],
        generation=int(values["generation"]),
        created=float(values["created"]),
        owner=values["owner"],
        clean=values["clean"] == "1",
        levels=json.loads(values["levels"]),
        closed_at=values["closed_at"],
        pruned=read_mark(values["pruned"]) if "pruned" in values else Mark(0, 0, genesis(values["ledger_id"])),
    )


def mark_text(mark: Mark) -> str:
    return f"{mark.position} {mark.unit} {mark.digest.hex()}"


def read_mark(text: str) -> Mark:
    position, unit, digest = text.split(" ")
    return Mark(int(position), int(unit), bytes.fromhex(digest))


def last_mark(backend: ReadBackend, ledger_id: str) -> Mark:
    """The end of the log, as its last row tells it."""
    row = backend.last_row()
    if row is None:
        return Mark(0, 0, genesis(ledger_id))
    digest = split_digest(row.state)[1] if isinstance(row.state, bytes) else None
    if digest is None:
        corrupt(row.position + 1, "the last unit ends here without its last row")
    try:
        known = binascii.unhexlify(digest)
    except binascii.Error:
        corrupt(row.position, "the digest of its unit is damaged")
    return Mark(row.position, stored_of(row).u, known)


def checkpoint_aad(mark: Mark) -> bytes:
    return f"{mark.position}|{mark.digest.hex()}".encode()


def newest_checkpoint(
    backend: ReadBackend, end: Mark | None = None, before: float | None = None, least: int = 0
) -> tuple[Mark, bytes] | None:
    """The newest checkpoint that opens, made `before` a time and not below a position; None if there is none.

    Raises LedgerCorrupt for one that is past the `end` of the log, if that is given: the log was cut.
    """
    aead = AESGCM(bytes(backend.query(SUBJECT_OF_NUMBER, (CHECKPOINT_SUBJECT,))[0][1]))
    for position, unit, digest, at in backend.query(CHECKPOINTS):
        mark = Mark(position, unit, bytes.fromhex(digest))
        if end is not None and position > end.position:
            corrupt(end.position + 1, f"the log is cut (there is a checkpoint at {position})")
        if position < least or (before is not None and at >= before):
            continue
        for (sealed,) in backend.query(CHECKPOINT_STATE, (position,)):  # none, if the writer dropped it just now
            try:
                return mark, open_sealed(aead, checkpoint_aad(mark), bytes(sealed))
            except LedgerCorrupt:
                continue
    return None


def stored_of(row: Row) -> Stored:
    try:
        return decode_stored(row.state)
    except UNREADABLE as error:
        corrupt(row.position, f"its state is not ours ({error})")


class Decoder:
    """Rows -> events. A tolerant one shows what it does not know as `Unknown`; the writer's stops with its name."""

    def __init__(
        self, backend: ReadBackend, known: Mapping[str, Codec], subjects: Subjects, tolerant: bool = False
    ) -> None:
        self._backend = backend
        self._known = known
        self._subjects = subjects
        self._tolerant = tolerant
        self._names: dict[str, str] = {}

    def record(self, row: Row) -> Recorded:
        position, stream, version, topic, _ = row
        stored = stored_of(row)
        name = self._names.get(stream) or self._name(row)
        codec = self._known.get(topic)
        if codec is None or stored.l > codec.level:
            event: Event = self._unknown(row, stored)
        else:
            event = self._event(row, stored, codec)
        return Recorded(position, stored.u, stored.t, name, version, event)

    def _event(self, row: Row, stored: Stored, codec: Codec) -> Event:
        try:
            if stored.s is None and stored.l == codec.level:
                return codec.decode(stored.e)
            return codec.join(stored.l, stored.e, self._private(row, stored, codec.private))
        except UNREADABLE as error:
            raise UnknownEvent(
                f"event {row.topic} of level {stored.l} at position {row.position} does not fit this version: {error}"
            ) from error

    def _private(self, row: Row, stored: Stored, private: tuple[str, ...]) -> dict[str, str]:
        if stored.s is None:
            return {}
        return self._subjects.unseal(stored.s, f"{row.stream}|{row.version}".encode(), stored.p, private)

    def _unknown(self, row: Row, stored: Stored) -> Event:
        if not self._tolerant:
            raise UnknownEvent(
                f"position {row.position} holds the event {row.topic} of level {stored.l}, which this version does not "
                "know; start the newer version again"
            )
        try:
            fields: dict[str, Any] = {**decode_fields(stored.e), **self._private(row, stored, ())}
        except UNREADABLE as error:
            corrupt(row.position, f"its event cannot be read ({error})")
        return Unknown(row.topic, stored.l, fields, fields.pop("subject", None))

    def _name(self, row: Row) -> str:
        found = self._backend.query(STREAM_NAME, (row.stream,))
        if not found:
            corrupt(row.position, f"its stream {row.stream} has no name")
        name: str = found[0][0]
        self._names[row.stream] = name
        return name
