"""The envelope: round trips, what is refused, and that the short cuts give what the long way gives."""

from __future__ import annotations

import json
import os
from binascii import hexlify

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openportal.errors import FrameError, HandshakeError
from openportal.paddington import crypto
from openportal.paddington.crypto import (
    FRAME_MIN_BYTES,
    FRAME_OVERHEAD_CHARS,
    RANDOM_BYTES,
    Keys,
    Layer,
    hkdf,
    open_,
    open_frame,
    seal,
    seal_frame,
    xor,
)

KEYS = Keys(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x04" * 32)
FRAME = seal(KEYS, b'"hello"', bytes(range(RANDOM_BYTES)))
PATIENT = settings(deadline=None)  # a busy machine is no failure


@PATIENT
@given(st.text())
def test_text_comes_back(text: str) -> None:
    frame = seal_frame(KEYS, text, os.urandom(RANDOM_BYTES))
    assert open_frame(KEYS, frame) == text
    assert open_frame(KEYS, frame.encode()) == text


@PATIENT
@given(st.binary(max_size=2000))
@example(b"")
def test_size_is_known(plaintext: bytes) -> None:
    frame = seal(KEYS, plaintext, os.urandom(RANDOM_BYTES))
    assert len(frame) == FRAME_OVERHEAD_CHARS + 4 * len(plaintext)
    assert open_(KEYS, frame) == plaintext


@PATIENT
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_layer_is_hkdf(key: bytes, salt: bytes, info: bytes) -> None:
    assert Layer(key, salt).frame_key(info) == hkdf(key, salt, info)


def test_hkdf_against_rfc_5869_by_hand() -> None:
    """SHA-512 has no vector in the RFC; this one is the RFC's first input, as published with other implementations."""
    okm = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)))
    assert okm.hex() == "832390086cda71fb47625bb5ceb168e4c8e26a1a16ed34d9fc7fe92c14815793"


@PATIENT
@given(st.binary(max_size=3000), st.binary(min_size=24, max_size=24), st.binary(min_size=32, max_size=32))
def test_short_cut_cipher_is_the_checked_one(text: bytes, nonce: bytes, key: bytes) -> None:
    box = crypto._careful_encrypt(text, nonce, key)
    assert crypto._encrypt(text, nonce, key) == box
    assert crypto._decrypt(box, nonce, key) == crypto._careful_decrypt(box, nonce, key) == text


def test_checked_cipher_refuses_too() -> None:
    with pytest.raises(FrameError):
        crypto._careful_decrypt(bytes(40), bytes(24), bytes(32))


@PATIENT
@given(st.one_of(st.text(), st.binary(), st.from_regex(r"[0-9a-f]{200,900}", fullmatch=True)))
@example("é" * 400)
@example("0" * (2 * FRAME_MIN_BYTES))
def test_junk_is_a_frame_error(junk: str | bytes) -> None:
    with pytest.raises(FrameError):
        open_(KEYS, junk)


@PATIENT
@given(st.integers(0, len(FRAME) - 1), st.sampled_from(b"0123456789abcdef"))
def test_any_change_is_noticed(at: int, digit: int) -> None:
    changed = FRAME[:at] + bytes([digit]) + FRAME[at + 1 :]
    if changed == FRAME:
        assert open_(KEYS, changed) == b'"hello"'
    else:
        with pytest.raises(FrameError):
            open_(KEYS, changed)


@pytest.mark.parametrize("middle", [b"no quotes" * 20, b'"' + b"x" * 90 + b'"', b'"' + b"00" * 39 + b'"' + b" " * 10])
def test_strange_outer_layer(middle: bytes) -> None:
    """Someone with the outer key only."""
    randoms = os.urandom(RANDOM_BYTES)
    box = crypto._encrypt(middle, randoms[88:], KEYS.outer.frame_key(randoms[32:64]))
    with pytest.raises(FrameError):
        open_(KEYS, hexlify(randoms[:64] + randoms[88:] + box))


def test_short_inner_layer() -> None:
    randoms, middle = os.urandom(RANDOM_BYTES), b'"' + b"00" * 39 + b'"'
    box = crypto._encrypt(middle, randoms[88:], KEYS.outer.frame_key(randoms[32:64]))
    with pytest.raises(FrameError):
        open_(KEYS, hexlify(randoms[:64] + randoms[88:] + box + b"\0\0"))


def test_plaintext_that_is_not_json() -> None:
    with pytest.raises(FrameError):
        open_frame(KEYS, seal(KEYS, b"{", os.urandom(RANDOM_BYTES)))


def test_other_keys_open_nothing() -> None:
    for other in (
        Keys(b"\x09" * 32, b"\x02" * 32, b"\x03" * 32, b"\x04" * 32),
        Keys(b"\x01" * 32, b"\x09" * 32, b"\x03" * 32, b"\x04" * 32),
        Keys(b"\x01" * 32, b"\x02" * 32, b"\x09" * 32, b"\x04" * 32),
        Keys(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x09" * 32),
    ):
        with pytest.raises(FrameError):
            open_(other, FRAME)


def test_keys_are_checked() -> None:
    good = b"\x01" * 32
    for inner, outer, inner_salt in ((bytes(32), good, good), (good, bytes(32), good), (good[:31], good, good)):
        with pytest.raises(HandshakeError):
            Keys(inner, outer, inner_salt, good)
    with pytest.raises(HandshakeError):
        Keys(good, good, good, good[:31])
    for change in (KEYS.with_inner, KEYS.with_outer):
        with pytest.raises(HandshakeError):
            change(bytes(32))


def test_changed_keys() -> None:
    new = KEYS.with_outer(b"\x07" * 32).with_inner(b"\x08" * 32)
    same = Keys(b"\x08" * 32, b"\x07" * 32, b"\x03" * 32, b"\x04" * 32)
    assert open_(new, seal(same, b"{}", os.urandom(RANDOM_BYTES))) == b"{}"


def test_wrong_number_of_randoms_is_our_bug() -> None:
    with pytest.raises(ValueError, match="112"):
        seal(KEYS, b"{}", bytes(111))


def test_keys_show_nothing() -> None:
    assert "01" * 4 not in repr(KEYS).lower()
    assert not hasattr(KEYS, "__dict__")


def test_json_is_compact_and_not_escaped() -> None:
    frame = seal_frame(KEYS, json.dumps({"a": "é"}, ensure_ascii=False), os.urandom(RANDOM_BYTES))
    assert open_(KEYS, frame) == '"{\\"a\\": \\"é\\"}"'.encode()


def test_xor() -> None:
    assert xor(b"\x0f\xf0", b"\xff\xff") == b"\xf0\x0f"
    with pytest.raises(ValueError, match="shorter"):
        xor(b"\x00\x00", b"\x00")
