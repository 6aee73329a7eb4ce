"""The ephemeral exchange: both sides get the same keys, a second implementation agrees, and bad points are refused."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from openportal.errors import HandshakeError
from openportal.paddington.crypto import hkdf
from openportal.paddington.ephemeral import INNER_LABEL, NEXT_OUTER_LABEL, OUTER_LABEL, Agreed, Ephemeral, KeyPair

BROUGHT = KeyPair(b"\x01" * 32, b"\x02" * 32)


def both() -> tuple[Ephemeral, Ephemeral, Agreed, Agreed]:
    dialling, accepting = Ephemeral(os.urandom), Ephemeral(os.urandom)
    here = dialling.agree(accepting.public, BROUGHT, dialling=True)
    there = accepting.agree(dialling.public, BROUGHT, dialling=False)
    return dialling, accepting, here, there


def test_both_sides_agree_on_keys_that_are_all_different() -> None:
    _, _, here, there = both()
    assert here == there
    keys = {here.session.inner_key, here.session.outer_key, here.next.inner_key, here.next.outer_key}
    assert len(keys | {BROUGHT.inner_key, BROUGHT.outer_key}) == 6
    assert all(len(key) == 32 for key in keys)


def test_nothing_is_the_same_in_the_next_exchange() -> None:
    assert both()[2] != both()[2]


def test_another_implementation_gets_the_same_keys() -> None:
    other = X25519PrivateKey.generate()
    public = other.public_key().public_bytes_raw()
    ours = Ephemeral(os.urandom)
    agreed = ours.agree(public, BROUGHT, dialling=True)
    shared = other.exchange(X25519PublicKey.from_public_bytes(ours.public))
    salt = ours.public + public
    assert agreed.session.inner_key == hkdf(BROUGHT.inner_key + shared, salt, INNER_LABEL)
    assert agreed.session.outer_key == hkdf(BROUGHT.outer_key + shared, salt, OUTER_LABEL)
    assert agreed.next.outer_key == hkdf(BROUGHT.outer_key + shared, salt, NEXT_OUTER_LABEL)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_points_whose_result_is_known_are_refused(point: bytes) -> None:
    with pytest.raises(HandshakeError, match="ephemeral key"):
        Ephemeral(os.urandom).agree(point, BROUGHT, dialling=True)


def test_keys_are_not_shown() -> None:
    assert "key" not in repr(BROUGHT) and "\\x01" not in repr(both()[2])
