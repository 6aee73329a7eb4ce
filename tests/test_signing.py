"""Signatures: as the protocol's description has them, and as the published clients made them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.signing import CANONICAL, canonical_v1, canonical_v2, sign, signed_headers

CAPTURES = Path(__file__).parent / "vectors" / "bridge-signatures.jsonl"
VECTORS = [json.loads(line) for line in CAPTURES.read_text().splitlines()]
KEY = bytes(range(32))
NOON_TEXT = "Mon, 03 Aug 2026 12:00:00 GMT"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['function']}-{vector['signature_version']}")
def test_the_published_clients_signed_like_this(vector: dict[str, Any]) -> None:
    headers = dict(vector["headers"])
    text = CANONICAL[headers.get("x-openportal-signature-version")](
        vector["method"].lower(), headers["date"], vector["function"], vector["body"], headers["x-nonce"]
    )
    assert f"OpenPortal {sign(bytes.fromhex(vector['key_hex']), text).hex()}" == headers["authorization"]


def test_known_signature() -> None:
    text = canonical_v2("post", NOON_TEXT, "run", '{"command":"waldur.provider get_offerings"}', "n1")
    assert sign(KEY, text).hex() == "b32c2380edc46ff5769b6dfdccba5607f0804c9033c354d37f95cd5946a9f3cb"


def described(version: int, method: str, date: str, function: str, body: str, nonce: str) -> bytes:
    """What is digested, written out once more from the description."""
    if version == 2:
        fields = ["openportal-sig-v2", method, "application/json", date, function, body, nonce]
        text = "\n".join(f"{len(each.encode())}:{each}" for each in fields)
    else:
        text = "\n".join(
            [method, "application/json", date, function, *([body] if body else []), *([nonce] if nonce else [])]
        )
    return json.dumps(text, ensure_ascii=False).encode()


@given(st.text(), st.text(), st.text(), st.sampled_from([1, 2]))
def test_signature_is_the_one_of_the_protocol(function: str, body: str, nonce: str, version: int) -> None:
    ours = {1: canonical_v1, 2: canonical_v2}[version]
    text = described(version, "post", NOON_TEXT, function, body, nonce)
    expected = hashlib.blake2b(text, key=KEY, digest_size=32).digest()
    assert sign(KEY, ours("post", NOON_TEXT, function, body, nonce)) == expected


def test_version_2_fields_cannot_flow_into_each_other() -> None:
    one, two = ("post", NOON_TEXT, "run", "a\nb", "c"), ("post", NOON_TEXT, "run", "a", "b\nc")
    assert canonical_v1(*one) == canonical_v1(*two)
    assert canonical_v2(*one) != canonical_v2(*two)


def test_headers_say_what_was_signed() -> None:
    headers = signed_headers(KEY, "get", "health", "", NOON_TEXT, "n1")
    expected = sign(KEY, canonical_v2("get", NOON_TEXT, "health", "", "n1")).hex()
    assert headers == {
        "authorization": f"OpenPortal {expected}", "date": NOON_TEXT, "x-nonce": "n1",
        "x-openportal-signature-version": "2",
    }  # fmt: skip
