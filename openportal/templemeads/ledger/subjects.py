"""Personal data: sealed under a key per subject, so that erasing a person is destroying a key.

A sealed text is Base64(nonce ‖ AES-256-GCM(JSON object of the fields, AAD = "stream id|version")). The key and the name
of a subject stand in one row of the table `subjects`; the row of an event carries the subject's number only. Number 0
is the key of the checkpoints. Nonces are random, because after a failed commit the same stream and version come again.
"""

from __future__ import annotations

import binascii
import os
from collections import OrderedDict
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openportal.errors import LedgerCorrupt
from openportal.templemeads.ledger.format import ERASED, decode_fields
from openportal.templemeads.ledger.tables import ADD_SUBJECT, SUBJECT_OF_NAME, SUBJECT_OF_NUMBER, ReadBackend, Statement

SUBJECTS_CACHED = 1_000
KEY_BYTES = 32
NONCE_BYTES = 12
CHECKPOINT_SUBJECT = 0


class Subject:
    """One person's key, ready for use."""

    __slots__ = ("aead", "name", "number")

    def __init__(self, number: int, name: str, key: bytes) -> None:
        self.number = number
        self.name = name
        self.aead = AESGCM(key)

    def seal(self, aad: bytes, fields: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return binascii.b2a_base64(nonce + self.aead.encrypt(nonce, fields, aad), newline=False)

    def open(self, aad: bytes, sealed: bytes) -> dict[str, Any]:
        """`sealed` without its Base64."""
        return decode_fields(open_sealed(self.aead, aad, sealed))


def seal_bytes(key: bytes, aad: bytes, clear: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, clear, aad)


def open_sealed(aead: AESGCM, aad: bytes, sealed: bytes) -> bytes:
    try:
        return aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except InvalidTag:
        raise LedgerCorrupt(f"what is sealed for {aad.decode()} does not open with its key") from None


class Subjects:
    """The keys in use. A bounded cache over the table; what is new waits in `take_new` for the next transaction."""

    def __init__(self, backend: ReadBackend, next_number: int, limit: int = SUBJECTS_CACHED) -> None:
        self._backend = backend
        self._next = next_number
        self._limit = limit
        self._by_name: OrderedDict[str, Subject] = OrderedDict()
        self._by_number: OrderedDict[int, Subject | None] = OrderedDict()
        self._made: dict[str, Subject] = {}
        self._under_way: dict[str, Subject] = {}
        self._new: list[Statement] = []

    def of_name(self, name: str) -> Subject:
        """The subject of that name, made if there is none yet."""
        subject = self._by_name.get(name)
        if subject is not None:
            self._by_name.move_to_end(name)
            return subject
        subject = self._made.get(name) or self._under_way.get(name) or self._load(name) or self._make(name)
        self._by_name[name] = subject
        if len(self._by_name) > self._limit:
            self._by_name.popitem(last=False)
        return subject

    def of_number(self, number: int) -> Subject | None:
        """The subject of that number; None if it was erased."""
        if number in self._by_number:
            self._by_number.move_to_end(number)
            return self._by_number[number]
        found = self._backend.query(SUBJECT_OF_NUMBER, (number,))
        subject = Subject(number, found[0][0], bytes(found[0][1])) if found and found[0][1] is not None else None
        self._by_number[number] = subject
        if len(self._by_number) > self._limit:
            self._by_number.popitem(last=False)
        return subject

    def unseal(self, number: int, aad: bytes, sealed: bytes | None, private: tuple[str, ...]) -> dict[str, str]:
        """The personal fields of a row, with the subject's name."""
        subject = self.of_number(number)
        if subject is None:
            return dict.fromkeys(("subject", *private) if sealed else ("subject",), ERASED)
        fields: dict[str, str] = subject.open(aad, sealed) if sealed else {}
        fields["subject"] = subject.name
        return fields

    def take_new(self) -> list[Statement]:
        """What the next transaction must insert; the one before has ended, so what it took is in the table."""
        new, self._new = self._new, []
        self._under_way, self._made = self._made, {}
        return new

    def forget(self, name: str, number: int) -> None:
        self._by_name.pop(name, None)
        self._by_number.pop(number, None)

    def _load(self, name: str) -> Subject | None:
        found = self._backend.query(SUBJECT_OF_NAME, (name,))
        return Subject(found[0][0], name, bytes(found[0][1])) if found else None

    def _make(self, name: str) -> Subject:
        key = os.urandom(KEY_BYTES)
        subject = Subject(self._next, name, key)
        self._next += 1
        self._made[name] = subject
        self._new.append((ADD_SUBJECT, (subject.number, name, key)))
        return subject
