"""How one event is written: a row of compact JSON, chained unit by unit.

    state = {"u":unit,"t":time,"l":level,"e":{fields}[,"s":subject number,"p":"sealed fields"][,"d":"digest"]}

`d` stands on the last row of a unit only and is always the last member:

    digest = SHA-256(digest of the unit before ‖ line of every row of this unit)
    line   = stream id, version, topic, state without `d`; separated by a space, ended by a newline

A JSON text of ours holds no raw newline, and neither a stream id nor a topic holds a space, so the lines cannot be read
in two ways. The first unit follows `genesis(ledger_id)`. See docs/ledger.md.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, NoReturn
from uuid import UUID, uuid5

import msgspec

from openportal.errors import LedgerCorrupt, LedgerError, UnknownEvent

FORMAT = 1
ERASED = "(erased)"
"""What a personal field of an erased subject reads as."""
TOPIC_CHARACTERS = 48
TOPIC_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
STREAM_CHARACTERS = 512
DIGEST_MARK = b',"d":"'
DIGEST_SUFFIX_BYTES = len(DIGEST_MARK) + 64 + len(b'"}')
DIGEST_MARK_END = DIGEST_SUFFIX_BYTES - len(DIGEST_MARK)
HEX_DIGEST = re.compile(rb"[0-9a-f]{64}")
SUBJECT_FIELD = "subject"


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of every event; a subclass is a small frozen struct and says how it is stored."""

    TOPIC: ClassVar[str] = ""
    LEVEL: ClassVar[int] = 1
    PRIVATE: ClassVar[tuple[str, ...]] = ()
    """Personal fields (`str | None`); a class that has any also has `subject: str | None`, their owner."""

    @classmethod
    def upgrade(cls, level: int, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields as `level` wrote them -> as LEVEL has them. Private fields keep their names over all levels."""
        raise UnknownEvent(f"event {cls.TOPIC} of level {level} cannot be read: {cls.__name__} has no upgrade")

    @classmethod
    def downgrade(cls, level: int, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields as LEVEL has them -> as `level` writes them."""
        raise UnknownEvent(f"event {cls.TOPIC} cannot be written at level {level}: {cls.__name__} has no downgrade")


class Unknown(Event, frozen=True):
    """What a reader shows for an event whose class it was not given."""

    topic: str
    level: int
    fields: dict[str, Any]
    subject: str | None = None


class Recorded(NamedTuple):
    """One event as it stands in the log; `at` is seconds since the epoch, `position` counts from 1 without gaps."""

    position: int
    unit: int
    at: float
    stream: str
    version: int
    event: Event


class Row(NamedTuple):
    """One stored row; `stream` is the stream's id, 32 hex digits."""

    position: int
    stream: str
    version: int
    topic: str
    state: bytes


class Mark(NamedTuple):
    """A place between two units: the last position and unit before it, and the digest of that unit."""

    position: int
    unit: int
    digest: bytes


class Stored(msgspec.Struct, frozen=True, gc=False):
    """The members of a state; the event itself stays raw until its class and level are known."""

    u: int
    t: float
    l: int  # noqa: E741
    e: msgspec.Raw
    s: int | None = None
    p: bytes | None = None
    d: str | None = None


encode_json = msgspec.json.Encoder().encode
decode_stored = msgspec.json.Decoder(Stored).decode
decode_fields = msgspec.json.Decoder(dict[str, Any]).decode


def genesis(ledger_id: str) -> bytes:
    """The digest before the first unit; ties the chain to its ledger."""
    return hashlib.sha256(f"openportal ledger {FORMAT} {ledger_id}".encode()).digest()


def stream_id(ledger_id: str, name: str) -> str:
    """The originator id of a stream, in 32 hex digits."""
    return uuid5(UUID(ledger_id), name).hex


def member_key(member: str) -> bytes:
    """What stands before the value of a text member in a state, and nowhere else: in a text, quotes are escaped."""
    return f'"{member}":"'.encode()


def sealed_key(subject: int) -> bytes:
    """What stands in every state in which something of a subject is sealed."""
    return f',"s":{subject},"p":"'.encode()


def unit_head(unit: int, now: float) -> bytes:
    """How every state of a unit begins, up to the level."""
    return f'{{"u":{unit},"t":{now!r},"l":'.encode()


def unit_digest(previous: bytes, lines: Iterable[bytes]) -> bytes:
    return hashlib.sha256(previous + b"".join(lines)).digest()


def with_digest(body: bytes, digest: bytes) -> bytes:
    """A state without digest -> the state of a unit's last row."""
    return b'%b,"d":"%b"}' % (body[:-1], binascii.hexlify(digest))


def split_digest(state: bytes) -> tuple[bytes, bytes | None]:
    """A state -> the state without digest, and the digest in hex if it has one.

    Unambiguous: a state without digest ends with `}}` or with a sealed text, whose Base64 holds no quote and no comma.
    """
    if state[-DIGEST_SUFFIX_BYTES:-DIGEST_MARK_END] == DIGEST_MARK and state.endswith(b'"}'):
        return state[:-DIGEST_SUFFIX_BYTES] + b"}", state[-DIGEST_MARK_END:-2]
    return state, None


class Codec:
    """How one event class is written and read, looked up once."""

    __slots__ = ("blank", "decode", "event", "level", "private", "topic", "topic_bytes", "write_head", "write_level")

    def __init__(self, event: type[Event], write_level: int = 0) -> None:
        check_event(event)
        self.event = event
        self.topic = event.TOPIC
        self.topic_bytes = event.TOPIC.encode()
        self.level = event.LEVEL
        self.write_level = write_level or event.LEVEL
        self.write_head = b'%d,"e":' % self.write_level
        self.private = event.PRIVATE
        self.blank: dict[str, None] = dict.fromkeys((*event.PRIVATE, SUBJECT_FIELD)) if event.PRIVATE else {}
        self.decode = msgspec.json.Decoder(event).decode

    def is_current(self) -> bool:
        return self.write_level == self.level

    def split(self, event: Event) -> tuple[bytes, bytes]:
        """The JSON of what anyone may read, and the JSON object of what is personal (empty if there is nothing)."""
        if self.is_current():
            values = {name: value for name in self.private if (value := getattr(event, name)) is not None}
            return encode_json(msgspec.structs.replace(event, **self.blank)), encode_json(values) if values else b""
        fields = self.lowered(event)
        values = {name: value for name in self.private if (value := fields.pop(name, None)) is not None}
        fields.pop(SUBJECT_FIELD, None)
        return encode_json(fields), encode_json(values) if values else b""

    def lowered(self, event: Event) -> dict[str, Any]:
        fields: dict[str, Any] = msgspec.to_builtins(event)
        return self.event.downgrade(self.write_level, fields)

    def clear(self, event: Event) -> bytes:
        """The JSON of an event nothing of which is sealed."""
        return encode_json(event) if self.write_level == self.level else encode_json(self.lowered(event))

    def join(self, level: int, public: bytes | msgspec.Raw, private: Mapping[str, str]) -> Event:
        """The event of these fields; the caller has made sure that `level` is not above ours."""
        if level == self.level:
            event = self.decode(public)
            for name, value in private.items():
                msgspec.structs.force_setattr(event, name, value)
            return event
        fields = self.event.upgrade(level, {**decode_fields(public), **private})
        return msgspec.convert(fields, self.event)


def check_event(event: type[Event]) -> None:
    """An event class that cannot be stored is a mistake of ours: say which."""
    name = event.__name__
    if not TOPIC_PATTERN.fullmatch(event.TOPIC) or len(event.TOPIC) > TOPIC_CHARACTERS:
        raise LedgerError(f"event class {name} needs a TOPIC of at most {TOPIC_CHARACTERS} letters and digits")
    if event.LEVEL < 1:
        raise LedgerError(f"event class {name} has the LEVEL {event.LEVEL}; the first level is 1")
    types = {field.name: field.type for field in msgspec.structs.fields(event)}
    for field in (*event.PRIVATE, SUBJECT_FIELD) if event.PRIVATE else ():
        if types.get(field) != (str | None):
            raise LedgerError(f"event class {name} has personal fields, so its field {field!r} must be `str | None`")


def codecs(events: Iterable[type[Event]], levels: Mapping[str, int]) -> dict[str, Codec]:
    """Topic -> codec. `levels` are the finalised ones: what is written until an upgrade is finalised."""
    known: dict[str, Codec] = {}
    for event in events:
        finalised = levels.get(event.TOPIC, 0)
        if finalised > event.LEVEL:
            raise UnknownEvent(
                f"this ledger is finalised for level {finalised} of event {event.TOPIC} and this version knows level "
                f"{event.LEVEL}; start the newer version again"
            )
        if event.TOPIC in known and known[event.TOPIC].event is not event:
            raise LedgerError(f"two event classes have the TOPIC {event.TOPIC}")
        known[event.TOPIC] = Codec(event, finalised)
    return known


class BadPosition(LedgerCorrupt):
    """The first position that is not as it was written."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(f"the ledger does not verify at position {position}: {why}; restore it from a backup")
        self.position = position
        self.why = why


def corrupt(position: int, why: str) -> NoReturn:
    raise BadPosition(position, why)


class Chain:
    """Follows rows from a mark on and yields whole units whose digest is right.

    Raises LedgerCorrupt with the first bad position: exact for a missing row, a row of another unit or a broken state,
    and the first position of the unit if all that is known is that its digest differs.
    """

    def __init__(self, mark: Mark) -> None:
        self.mark = mark

    def units(self, rows: Iterable[Row]) -> Iterator[list[Row]]:
        unit: list[Row] = []
        lines: list[bytes] = []
        position, number, previous = self.mark
        start = b'{"u":%d,' % (number + 1)
        for row in rows:
            position += 1
            if row.position != position:
                corrupt(position, f"it is missing (the next row is {row.position})")
            if type(row.state) is not bytes or not row.state.startswith(start):
                self._stray(row, unit, number)
            body, digest = split_digest(row.state)
            unit.append(row)
            lines.append(f"{row.stream} {row.version} {row.topic} ".encode() + body + b"\n")
            if digest is None:
                continue
            previous = self._checked(unit, previous, lines, digest)
            number += 1
            start = b'{"u":%d,' % (number + 1)
            self.mark = Mark(position, number, previous)
            yield unit
            unit, lines = [], []
        if unit:
            self._unended(unit, number)

    @staticmethod
    def _unended(unit: list[Row], number: int) -> NoReturn:
        """The log ends within a unit: rows are missing, or all are there and the mark before the digest is damaged."""
        last = unit[-1]
        if HEX_DIGEST.fullmatch(last.state[-DIGEST_MARK_END:-2]):
            corrupt(unit[0].position, f"the digest of its unit ({len(unit)} rows) is damaged")
        corrupt(last.position + 1, f"unit {number + 1} ends here without its last row")

    @staticmethod
    def _stray(row: Row, unit: list[Row], number: int) -> NoReturn:
        """A row that is not of unit `number` + 1. If it begins the one after, the unit before it lost its last row."""
        if unit and type(row.state) is bytes and row.state.startswith(b'{"u":%d,' % (number + 2)):
            corrupt(unit[0].position, f"its unit ({len(unit)} rows) has no digest")
        corrupt(row.position, f"it does not belong to unit {number + 1}")

    @staticmethod
    def _checked(unit: list[Row], previous: bytes, lines: list[bytes], digest: bytes) -> bytes:
        found = unit_digest(previous, lines)
        if binascii.hexlify(found) != digest:
            corrupt(unit[0].position, f"the digest of its unit ({len(unit)} rows) differs")
        return found
