"""How a request to the bridge is signed: the words that both of its sides share.

    GET /health HTTP/1.1
    Date: Tue, 24 Nov 2026 05:55:34 GMT
    X-Nonce: bf4ea649-7455-4324-9f9f-8efc702d4d17
    X-OpenPortal-Signature-Version: 2
    Authorization: OpenPortal 67290e60a9eae5dd26c28d9819572608033f0be1f0879aa91edb5d345c56bbea

A signature is a keyed BLAKE2b digest of 32 bytes over a JSON string, quotes included, and that string is, joined by
newlines:

    version 1   method, `application/json`, date, function, the body if there is one, the nonce if there is one
    version 2   `openportal-sig-v2`, method, `application/json`, date, function, body, nonce; each as `<bytes>:<value>`

The method is in lower case, the function is the path without its slash, the query is not signed, and the date is the
text of the Date header as it was sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

SCHEME: Final = "OpenPortal "
CONTENT_TYPE: Final = "application/json"
V2_MARK: Final = "openportal-sig-v2"
VERSION: Final = "2"
"""What a client of ours sends in X-OpenPortal-Signature-Version."""
DIGEST_BYTES: Final = 32
KEY_BYTES: Final = 32

_print_text = json.JSONEncoder(ensure_ascii=False).encode


def canonical_v1(method: str, date: str, function: str, body: str, nonce: str | None) -> str:
    """The text that version 1 signs."""
    parts = [method, CONTENT_TYPE, date, function]
    if body:
        parts.append(body)
    if nonce:
        parts.append(nonce)
    return "\n".join(parts)


def canonical_v2(method: str, date: str, function: str, body: str, nonce: str | None) -> str:
    """The text that version 2 signs; no field can pass for another."""
    fields = (V2_MARK, method, CONTENT_TYPE, date, function, body, nonce or "")
    return "\n".join([f"{len(field.encode())}:{field}" for field in fields])


CANONICAL: Final[Mapping[str | None, Callable[[str, str, str, str, str | None], str]]] = MappingProxyType(
    {None: canonical_v1, "1": canonical_v1, "2": canonical_v2}
)
"""By the header that says the version."""


def printed(canonical: str) -> bytes:
    """What is digested: the text as a JSON string."""
    return _print_text(canonical).encode()


def digest(key: bytes, text: bytes) -> bytes:
    """The keyed digest of a printed text."""
    return blake2b(text, key=key, digest_size=DIGEST_BYTES).digest()


def sign(key: bytes, canonical: str) -> bytes:
    """The 32 bytes whose hex digits follow `OpenPortal ` in the Authorization header."""
    return digest(key, printed(canonical))


def signed_headers(key: bytes, method: str, function: str, body: str, date: str, nonce: str) -> dict[str, str]:
    """The headers of a request that is signed with version 2; `method` is in lower case."""
    signature = sign(key, canonical_v2(method, date, function, body, nonce))
    return {
        "authorization": f"{SCHEME}{signature.hex()}",
        "date": date,
        "x-nonce": nonce,
        "x-openportal-signature-version": VERSION,
    }
