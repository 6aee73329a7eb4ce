"""Signatures, windows, replays, rates and addresses, without a network."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.bridge.auth import (
    NONCE_MEMORY_SECONDS,
    NONCES_MAX,
    RATE_MAX_REQUESTS,
    RATE_TABLE_ADDRESSES,
    RATE_WINDOW_SECONDS,
    RateLimit,
    Refusal,
    ReplayStore,
    SignedRequest,
    Verifier,
    client_address,
    read_date,
)
from openportal.bridge.keys import KeyRing
from openportal.signing import canonical_v2, sign
from tests.bridge.support import KEY, Key

CAPTURES = Path(__file__).parent.parent / "vectors" / "bridge-signatures.jsonl"
VECTORS = [json.loads(line) for line in CAPTURES.read_text().splitlines()]
NOON = datetime(2026, 8, 3, 12, 0, 0, tzinfo=UTC).timestamp()
NOON_TEXT = "Mon, 03 Aug 2026 12:00:00 GMT"


def captured(vector: dict[str, Any]) -> tuple[SignedRequest, Verifier]:
    headers = dict(vector["headers"])
    request = SignedRequest(
        method=vector["method"], function=vector["function"], body=vector["body"].encode(),
        authorization=headers["authorization"], date=headers["date"], nonce=headers["x-nonce"],
        version=headers.get("x-openportal-signature-version"),
    )  # fmt: skip
    moment = datetime.strptime(vector["date"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC).timestamp()
    key = Key("captured", bytes.fromhex(vector["key_hex"]))
    return request, Verifier(KeyRing([key, Key("other", b"o" * 32)]), lambda: moment + 0.5)


def name_of(vector: dict[str, Any]) -> str:
    return f"{vector['client']}-{vector['function']}"


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_captured_requests_verify(vector: dict[str, Any]) -> None:
    request, verifier = captured(vector)
    assert verifier.verify(request) == "captured"


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
@pytest.mark.parametrize("part", ["method", "function", "body", "date", "nonce", "authorization", "version"])
def test_captured_requests_fail_when_changed(vector: dict[str, Any], part: str) -> None:
    request, verifier = captured(vector)
    changed = {
        "method": "post" if request.method == "get" else "get",
        "function": request.function + "s",
        "body": request.body + b" ",
        "date": request.date and request.date.replace(":12 ", ":13 "),
        "nonce": "0" + (request.nonce or ""),
        "authorization": request.authorization and request.authorization[:-1] + "x",
        "version": "1" if request.version == "2" else "2",
    }[part]
    if part == "authorization":
        digit = "0" if vector["authorization"][-1] != "0" else "1"
        changed = vector["authorization"][:-1] + digit
    assert changed != getattr(request, part)
    with pytest.raises(Refusal) as caught:
        verifier.verify(dataclasses.replace(request, **{part: changed}))
    assert caught.value.status == 401
    assert verifier.verify(request) == "captured", "what fails uses up no nonce"


def test_there_are_32_captures() -> None:
    assert [vector["signature_version"] for vector in VECTORS].count("v1") == 16
    assert [vector["signature_version"] for vector in VECTORS].count("v2") == 16


def signed(date: str = NOON_TEXT, nonce: str | None = "n", key: bytes = KEY, **changes: Any) -> SignedRequest:
    given = "OpenPortal " + sign(key, canonical_v2("get", changes.pop("signed_date", date), "health", "", nonce)).hex()
    request = SignedRequest("get", "health", b"", given, date, nonce, "2")
    return dataclasses.replace(request, **changes)


def verifier(now: float = NOON, *keys: Key) -> Verifier:
    return Verifier(KeyRing(keys or [Key()]), lambda: now)


def refusal(request: SignedRequest, by: Verifier, status: int = 401) -> str:
    with pytest.raises(Refusal) as caught:
        by.verify(request)
    assert caught.value.status == status
    return str(caught.value)


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (6, "6 s behind"),
        (5.2, "6 s behind"),
        (-6, "6 s ahead of"),
        (-3600, "3600 s ahead of"),
        (1e9, "1000000000 s behind"),
    ],
)
def test_a_clock_that_is_off_is_told_how_far(off: float, words: str) -> None:
    message = refusal(signed(), verifier(NOON + off))
    assert words in message
    assert "NTP" in message
    assert "GMT" in message


@pytest.mark.parametrize("off", [-5, -4.9, 0, 4.9, 5])
def test_inside_the_window(off: float) -> None:
    assert verifier(NOON + off).verify(signed()) == "waldur"


@pytest.mark.parametrize(
    "date", ["Mon, 03 Aug 2026 14:00:00 +0200", "3 Aug 2026 12:00:00 -0000", "Mon, 03 Aug 2026 12:00:00 UT"]
)
def test_dates_may_be_signed_as_sent_or_as_printed(date: str) -> None:
    assert verifier().verify(signed(date)) == "waldur"
    assert verifier().verify(signed(date, signed_date=NOON_TEXT)) == "waldur"
    refusal(signed(date, signed_date="Mon, 03 Aug 2026 12:00:01 GMT"), verifier())


@pytest.mark.parametrize(
    "date", ["", None, "noon", "Mon, 99 Aug 2026 12:00:00 GMT", "1 Jan 99999 0:0:0", "x" * 5000, "\x00", ","]
)
def test_unreadable_dates(date: str | None) -> None:
    assert "Date" in refusal(signed(date="" if date is None else date, signed_date=NOON_TEXT), verifier())


@given(st.text(max_size=80))
def test_any_text_is_a_date_or_not(text: str) -> None:
    read_date(text)


@pytest.mark.parametrize(
    "given",
    [None, "", "OpenPortal", "OpenPortal ", "OpenPortal zz", "Bearer " + "0" * 64, "OpenPortal " + "0" * 62, "é" * 75],
)
def test_unusable_authorization(given: str | None) -> None:
    assert "Authorization" in refusal(signed(authorization=given), verifier())


@pytest.mark.parametrize("version", ["3", "", "v2", "02", "1 ", "é"])
def test_other_signature_versions(version: str) -> None:
    assert "Version" in refusal(signed(version=version), verifier(), 400)


def test_a_wrong_date_is_told_before_a_wrong_version_and_that_before_a_wrong_key() -> None:
    assert "clock" in refusal(signed(key=b"x" * 32, version="3"), verifier(NOON + 60))
    refusal(signed(key=b"x" * 32, version="3"), verifier(), 400)


def test_body_must_be_text() -> None:
    assert "UTF-8" in refusal(signed(body=b"\xff"), verifier(), 400)


def test_nonces_are_used_once_and_for_a_while() -> None:
    now = NOON
    by = Verifier(KeyRing([Key()]), lambda: now)
    by.verify(signed())
    assert "used before" in refusal(signed(), by)
    now = NOON + 4
    assert "used before" in refusal(signed(), by)
    assert by.verify(signed(nonce="m")) == "waldur"


def test_a_forged_request_uses_up_no_nonce() -> None:
    by = verifier()
    refusal(signed(key=b"x" * 32), by)
    assert by.verify(signed()) == "waldur"


def test_nonces_may_be_absent_but_not_long() -> None:
    by = verifier()
    assert [by.verify(signed(nonce=None)), by.verify(signed(nonce=None))] == ["waldur", "waldur"]
    assert "longer" in refusal(signed(nonce="n" * 257), by)


def test_replay_store_forgets_the_oldest() -> None:
    store = ReplayStore()
    assert all(store.use("k", str(n), 0) for n in range(NONCES_MAX + 10))
    assert len(store) == NONCES_MAX
    assert store.use("k", "9", 1), "evicted"
    assert not store.use("k", "500", 1)
    assert store.use("other", "500", 1)
    assert not store.use("k", "500", NONCE_MEMORY_SECONDS - 0.1)
    assert store.use("k", "500", NONCE_MEMORY_SECONDS + 2)
    assert len(store) == 1


def test_every_live_key_is_good_and_an_expired_one_says_so() -> None:
    end = datetime.fromtimestamp(NOON, UTC)
    old = Key("old", b"o" * 32, expires=end)
    new, naive = (
        Key("new", b"n" * 32, expires=end + timedelta(seconds=1)),
        Key("naive", b"z" * 32, expires=end.replace(tzinfo=None)),
    )
    assert verifier(NOON - 1, old, new, naive).verify(signed(key=old.key)) == "old"
    assert verifier(NOON, old, new, naive).verify(signed(key=new.key)) == "new"
    assert "'old' has expired" in refusal(signed(key=old.key), verifier(NOON, old, new, naive))
    assert "'naive' has expired" in refusal(signed(key=naive.key), verifier(NOON, old, new, naive))


def test_rate_limit() -> None:
    now = NOON
    by = Verifier(KeyRing([Key()]), lambda: now)
    for _ in range(RATE_MAX_REQUESTS):
        by.admit("192.0.2.1")
    quiet = []
    for _ in range(3):
        with pytest.raises(Refusal, match=r"192\.0\.2\.1") as caught:
            by.admit("192.0.2.1")
        assert caught.value.status == 429
        quiet.append(caught.value.quiet)
    assert quiet == [False, True, True]
    by.admit("192.0.2.2")
    now += RATE_WINDOW_SECONDS
    by.admit("192.0.2.1")
    now -= 3600  # a clock that was set back locks nobody out
    by.admit("192.0.2.1")


def test_a_verifier_uses_the_stores_it_is_given() -> None:
    rates, replays = RateLimit(max_requests=1), ReplayStore()
    by = Verifier(KeyRing([Key()]), lambda: NOON, rates, replays)
    by.admit("a")
    by.verify(signed())
    assert (len(rates), len(replays)) == (1, 1)


def test_rate_table_is_bounded() -> None:
    rates = RateLimit(max_requests=1)
    for n in range(RATE_TABLE_ADDRESSES + 5):
        assert rates.excess(str(n), 0) == 0
    assert len(rates) == RATE_TABLE_ADDRESSES
    assert rates.excess("100", 1) == 1
    assert rates.excess("0", 1) == 0


class Proxies:
    def allows(self, address: str, /) -> bool:
        return address.startswith("10.") or address == "::1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "real", "expected"),
    [
        ("192.0.2.1", ["6.6.6.6"], "6.6.6.6", "192.0.2.1"),
        ("10.0.0.1", ["6.6.6.6, 192.0.2.7"], None, "192.0.2.7"),
        ("10.0.0.1", ["6.6.6.6", "192.0.2.7, 10.0.0.2"], None, "192.0.2.7"),
        ("10.0.0.1", ["6.6.6.6, junk, 10.0.0.2"], None, "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, junk, 10.0.0.2"], "192.0.2.9", "192.0.2.9"),
        ("10.0.0.1", ["10.0.0.3"], None, "10.0.0.1"),
        ("10.0.0.1", [], "192.0.2.9", "192.0.2.9"),
        ("10.0.0.1", [], "junk", "10.0.0.1"),
        ("10.0.0.1", [""], None, "10.0.0.1"),
        ("::ffff:10.0.0.1", ["::ffff:192.0.2.7"], None, "192.0.2.7"),
        ("::1", ["[2001:DB8::1]:443"], None, "2001:db8::1"),
        ("::1", ["192.0.2.7:80"], None, "192.0.2.7"),
        ("2001:db8::2", ["6.6.6.6"], None, "2001:db8::2"),
    ],
)
def test_client_address(peer: str, forwarded: list[str], real: str | None, expected: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    if real is not None:
        headers.append((b"x-real-ip", real.encode()))
    assert client_address(peer, headers, Proxies()) == expected
    assert client_address(peer, headers, None) == peer.removeprefix("::ffff:")


def test_an_unknown_peer_is_our_fault() -> None:
    with pytest.raises(Refusal) as caught:
        client_address(None, [], None)
    assert caught.value.status == 500


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_forwarding_header_gives_an_address(forwarded: bytes, real: bytes) -> None:
    assert client_address("10.0.0.1", [(b"x-forwarded-for", forwarded), (b"x-real-ip", real)], Proxies())
