"""A live connection: shapes of plaintext, the replay window, batches, keepalives and silence."""

from __future__ import annotations

import json
import os
from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openportal.errors import FrameError, NotConnected, ReplayError
from openportal.paddington.crypto import RANDOM_BYTES, Keys, open_frame, seal
from openportal.paddington.session import (
    BATCH_MAX_BYTES,
    BATCH_MAX_MESSAGES,
    FRAME_MAX_BYTES,
    KEEPALIVE_SECONDS,
    MESSAGE_MAX_BYTES,
    SILENCE_MAX_SECONDS,
    WINDOW_NONCES,
    Session,
    Window,
    grouped,
    quote,
)

KEYS = Keys(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x04" * 32)
PATIENT = settings(deadline=None)  # a busy machine is no failure


def session(nonces: bool = True, batches: bool = False, dialling: bool = False) -> Session:
    return Session(KEYS, os.urandom, 100.0, nonces=nonces, batches=batches, dialling=dialling)


def frame(plaintext: Any) -> bytes:
    return seal(KEYS, msgspec.json.encode(plaintext), os.urandom(RANDOM_BYTES))


def sent(one: Session, *texts: str) -> list[Any]:
    return [open_frame(KEYS, f) for f in one.frames([quote(text) for text in texts])]


# ---- the window ---------------------------------------------------------------------------------------------------


class SlowWindow:
    """The same rule, written with a set."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def accept(self, nonce: int) -> bool:
        highest = max(self.seen, default=nonce)
        if nonce in self.seen or nonce <= highest - WINDOW_NONCES:
            return False
        self.seen.add(nonce)
        return True


@PATIENT
@given(st.lists(st.one_of(st.integers(0, 40), st.integers(0, 3000), st.integers(0, 2**64 - 1)), max_size=80))
@example([0, 1, 2, 1, 1024, 0, 1, 1025])
@example([1023, 0, 0, 2047, 1024, 1023])
def test_window_is_the_rule(nonces: list[int]) -> None:
    quick, slow = Window(), SlowWindow()
    for nonce in nonces:
        assert quick.accept(nonce) == slow.accept(nonce)


def test_window_edges() -> None:
    window = Window()
    assert window.accept(5000)
    assert window.accept(5000 - WINDOW_NONCES + 1)
    assert not window.accept(5000 - WINDOW_NONCES)
    assert window.accept(5000 + WINDOW_NONCES)
    assert not window.accept(5000)
    assert window.accept(5001)


# ---- what is sent -------------------------------------------------------------------------------------------------


def test_bare_strings_for_a_legacy_peer() -> None:
    assert sent(session(nonces=False), "a", "b") == ["a", "b"]


def test_nonces_count_from_zero() -> None:
    one = session()
    assert sent(one, "a") == [{"nonce": 0, "payload": "a"}]
    assert sent(one, "b", "c") == [{"nonce": 1, "payload": "b"}, {"nonce": 2, "payload": "c"}]


def test_batches_only_when_agreed_and_only_for_several() -> None:
    one = session(batches=True)
    assert sent(one, "a") == [{"nonce": 0, "payload": "a"}]
    assert sent(one, "b", '{"c":1}') == [{"nonce": 1, "batch": ["b", '{"c":1}']}]
    assert not session(nonces=False, batches=True).batches


@PATIENT
@given(st.lists(st.integers(0, BATCH_MAX_BYTES * 2), min_size=1, max_size=200))
def test_groups_keep_order_and_limits(sizes: list[int]) -> None:
    texts = [b"x" * size for size in sizes]
    groups = list(grouped(texts))
    assert [text for group in groups for text in group] == texts
    for group in groups:
        assert 1 <= len(group) <= BATCH_MAX_MESSAGES
        assert len(group) == 1 or sum(map(len, group)) <= BATCH_MAX_BYTES


def test_longest_message_fits_a_frame() -> None:
    text = "x" * (MESSAGE_MAX_BYTES - 2)
    (whole,) = session().frames([quote(text)])
    assert FRAME_MAX_BYTES - 4096 < len(whole) <= FRAME_MAX_BYTES
    with pytest.raises(FrameError, match="a frame holds"):
        quote(text + "x")
    with pytest.raises(FrameError, match="a frame holds"):
        quote('"' * (MESSAGE_MAX_BYTES // 2))


def test_text_that_is_not_unicode() -> None:
    with pytest.raises(FrameError):
        quote("\ud800")


# ---- what is received -----------------------------------------------------------------------------------------------


@PATIENT
@given(st.lists(st.text(min_size=0).filter(lambda text: text != "KEEPALIVE"), min_size=1, max_size=100), st.booleans())
def test_messages_come_back(texts: list[str], batches: bool) -> None:
    sender, receiver = session(batches=batches), session(batches=batches)
    frames = sender.frames([quote(text) for text in texts])
    assert [text for f in frames for text in receiver.receive(f, 101.0)] == texts
    for f in frames:
        with pytest.raises(ReplayError):
            receiver.receive(f, 102.0)


def test_both_shapes_from_a_peer_that_promised_nothing() -> None:
    one = session(nonces=False)
    assert one.receive(frame("a"), 1.0) == ("a",)
    assert one.receive(frame({"nonce": 4, "payload": "b"}), 1.0) == ("b",)
    with pytest.raises(ReplayError):
        one.receive(frame({"nonce": 4, "payload": "b"}), 1.0)


@pytest.mark.parametrize("plaintext", ["a", {"payload": "a"}, {"nonce": None, "payload": "a"}])
def test_a_promise_is_kept(plaintext: Any) -> None:
    with pytest.raises(ReplayError, match="promised"):
        session().receive(frame(plaintext), 1.0)


@pytest.mark.parametrize(
    "plaintext",
    [{"nonce": 1}, {"nonce": -1, "payload": "a"}, {"nonce": 2**64, "payload": "a"}, {"nonce": 1, "batch": ["a"]},
     {"nonce": "1", "payload": "a"}, {"nonce": 1, "payload": 3}, 3, None, [], ["a"], True],
)  # fmt: skip
def test_strange_plaintexts(plaintext: Any) -> None:
    one = session()
    with pytest.raises(FrameError):
        one.receive(frame(plaintext), 200.0)
    assert one.heard_at == 100.0


def test_batches_are_limited() -> None:
    one = session(batches=True)
    most = ["a"] * BATCH_MAX_MESSAGES
    assert one.receive(frame({"nonce": 1, "batch": most}), 1.0) == most
    with pytest.raises(FrameError):
        one.receive(frame({"nonce": 2, "batch": [*most, "a"]}), 1.0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["nonce", "payload", "batch", "x"]) | st.text(), inner)
    ),
    max_leaves=12,
)


@PATIENT
@given(st.one_of(st.binary(), json_values.map(lambda value: json.dumps(value).encode())), st.booleans(), st.booleans())
@example(b"[" * 100_000, True, True)
@example(b'{"x":' * 100_000, True, True)
@example(b'"\xff"', False, False)
@example(b'"\\ud800"', False, False)
def test_any_plaintext_is_a_message_or_our_error(plaintext: bytes, nonces: bool, batches: bool) -> None:
    one = session(nonces, batches)
    try:
        texts = one.receive(seal(KEYS, plaintext, os.urandom(RANDOM_BYTES)), 101.0)
    except (FrameError, ReplayError):
        assert one.heard_at == 100.0
    else:
        assert all(isinstance(text, str) for text in texts)


@PATIENT
@given(st.one_of(st.binary(), st.text()))
def test_any_frame_is_a_message_or_our_error(junk: bytes | str) -> None:
    with pytest.raises(FrameError):
        session().receive(junk, 1.0)


# ---- keepalives and silence -----------------------------------------------------------------------------------------


def test_the_dialling_side_starts() -> None:
    assert [open_frame(KEYS, f) for f in session(dialling=True).opening()] == [{"nonce": 0, "payload": "KEEPALIVE"}]
    assert session().opening() == []


def test_keepalive_is_answered_once_after_its_time() -> None:
    one = session(nonces=False)
    assert one.answer_at == inf
    assert one.receive(frame("KEEPALIVE"), 110.0) == ()
    assert one.receive(frame("KEEPALIVE"), 115.0) == ()
    assert one.due() == 110.0 + KEEPALIVE_SECONDS
    assert one.tick(132.9) == []
    assert [open_frame(KEYS, f) for f in one.tick(133.0)] == ["KEEPALIVE"]
    assert one.tick(140.0) == []
    assert one.due() == 115.0 + SILENCE_MAX_SECONDS


def test_keepalive_in_a_batch() -> None:
    one = session(batches=True)
    assert one.receive(frame({"nonce": 0, "batch": ["a", "KEEPALIVE", "b"]}), 110.0) == ["a", "b"]
    assert one.answer_at == 110.0 + KEEPALIVE_SECONDS


def test_silence_ends_it() -> None:
    one = session()
    one.receive(frame({"nonce": 0, "payload": "a"}), 150.0)
    with pytest.raises(ReplayError):
        one.receive(frame({"nonce": 0, "payload": "a"}), 300.0)
    assert one.tick(449.9) == []
    with pytest.raises(NotConnected, match="300 seconds"):
        one.tick(450.0)
