"""What the holder of a key may do, and which keys a bridge takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from openportal.bridge.keys import KEYS_MAX, KeyRing, NotAllowed
from openportal.errors import ConfigError
from tests.bridge.support import Key

FREE = Key("free", b"f" * 32)
READER = Key("reader", b"r" * 32, verbs=("get_users", "get_offerings", "notify"))
LOCAL = Key("local", b"l" * 32, destinations=("brics.aip1", "bridge.brics"))
NOBODY = Key("nobody", b"n" * 32, verbs=(), destinations=())
RING = KeyRing([FREE, READER, LOCAL, NOBODY])


def refused(call: Callable[..., None], *args: object) -> str | None:
    try:
        call(*args)
    except NotAllowed as error:
        assert f"'{args[0]}'" in str(error)
        return str(error)
    return None


@pytest.mark.parametrize(
    ("key_id", "command", "why"),
    [
        ("free", "a.b anything", None),
        ("free", "", None),
        ("reader", "a.b get_users p.b", None),
        ("reader", "a.b\tget_users  p.b", None),
        ("reader", "a.b get_users_all p.b", "may not run 'get_users_all'"),
        ("reader", "a.b submit c.d get_users p.b", None),
        ("reader", "a.b submit c.d submit e.f remove_user u", "may not run 'remove_user'"),
        ("reader", "a.b", "may not run ''"),
        ("reader", "", "may not run ''"),
        ("local", "brics.aip1 add_user u", None),
        ("local", "brics.aip1.x.y add_user u", None),
        ("local", "brics.aip10 add_user u", "may not reach 'brics.aip10'"),
        ("local", "brics get_users", "may not reach 'brics'"),
        ("local", "bridge.brics submit brics.aip2 add_user u", "may not reach 'brics.aip2'"),
        ("local", "bridge.brics submit brics.aip1 add_user u", None),
        ("local", "", "may not reach ''"),
        ("nobody", "a.b get_users", "may not reach"),
        ("gone", "a.b get_users", "no key 'gone'"),
    ],
)
def test_may_run(key_id: str, command: str, why: str | None) -> None:
    said = refused(RING.may_run, key_id, command)
    assert (said is None) == (why is None), said
    assert why is None or why in str(said)


@pytest.mark.parametrize(
    ("key_id", "function", "destinations", "allowed"),
    [
        ("free", "restart", ["x"], True),
        ("free", "fetch_jobs", [], True),
        ("reader", "health", [], True),
        ("reader", "notify", ["a.b"], True),
        ("reader", "restart", ["a.b"], False),
        ("reader", "fetch_jobs", [], False),
        ("local", "restart", ["brics.aip1.c"], True),
        ("local", "restart", [""], False),
        ("local", "send_result", [], False),
        ("local", "sync_offerings", ["brics.aip1.c", "a.b.c"], False),
        ("nobody", "status", [], True),
        ("gone", "status", [], False),
    ],
)
def test_may_call(key_id: str, function: str, destinations: list[str], allowed: bool) -> None:
    assert (refused(RING.may_call, key_id, function, destinations) is None) == allowed


def test_refusals_say_what_is_allowed() -> None:
    assert "get_users, get_offerings, notify, everywhere" in str(refused(RING.may_run, "reader", "a.b x"))
    assert "everything, at brics.aip1, bridge.brics" in str(refused(RING.may_run, "local", "a.b x"))
    assert "nothing, at no destination" in str(refused(RING.may_run, "nobody", "a.b x"))


def test_bad_rings() -> None:
    for keys, words in (
        ([Key(key=b"short")], "5 bytes"),
        ([Key("a"), Key("a", b"b" * 32)], "same id"),
        ([Key("a"), Key("b")], "same key"),
        ([Key(str(n), n.to_bytes(32, "big")) for n in range(KEYS_MAX + 1)], "at most 64"),
    ):
        with pytest.raises(ConfigError, match=words):
            KeyRing(keys)


def test_a_ring_prints_no_key() -> None:
    assert repr(RING) == "KeyRing(free, reader, local, nobody)"
