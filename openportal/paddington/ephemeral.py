"""Forward secrecy: an X25519 exchange mixed into the session keys of two peers that both offer it. Pure.

    dialling side     Handshake.ephemeral = its public key, 64 hexadecimal digits
    accepting side    Handshake.ephemeral = its own, only in answer to one
    both              shared = X25519(own secret, the other's public), salt = dialling public | accepting public, then
                      key = HKDF-SHA512(ikm = session key | shared, salt, info = a label)

A key of that kind replaces each session key from PeerDetails on. Whoever records the connection and gets the configured
keys years later can open both Handshakes and reads no further: the secrets are forgotten as soon as they were used.

The offer is inside the sealed Handshake, so nobody between the two can take it away. Who has the configured keys while
the handshake goes on can be either side; against that no exchange helps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError

from openportal.errors import HandshakeError
from openportal.paddington.crypto import Draw, hkdf

SECRET_BYTES = 32
PUBLIC_BYTES = 32
INNER_LABEL = b"openportal session inner"
OUTER_LABEL = b"openportal session outer"
NEXT_INNER_LABEL = b"openportal next inner"
NEXT_OUTER_LABEL = b"openportal next outer"


@dataclass(frozen=True)
class KeyPair:
    """An inner and an outer key. Shows neither."""

    inner_key: bytes = field(repr=False)
    outer_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Agreed:
    """What an exchange gives: the keys of this session, and those that a rotation would put in the files."""

    session: KeyPair
    next: KeyPair


class Ephemeral:
    """One side's half of an exchange."""

    __slots__ = ("_secret", "public")

    def __init__(self, draw: Draw) -> None:
        self._secret = draw(SECRET_BYTES)
        self.public = crypto_scalarmult_base(self._secret)

    def agree(self, theirs: bytes, brought: KeyPair, *, dialling: bool) -> Agreed:
        """Mix both halves into the session keys that the Handshakes brought; raises HandshakeError."""
        try:
            shared = crypto_scalarmult(self._secret, theirs)
        except (CryptoError, RuntimeError, ValueError) as error:  # a point of small order: the result would be known
            raise HandshakeError("the peer's ephemeral key is none that can be used") from error
        salt = self.public + theirs if dialling else theirs + self.public
        inner, outer = brought.inner_key + shared, brought.outer_key + shared
        return Agreed(
            KeyPair(hkdf(inner, salt, INNER_LABEL), hkdf(outer, salt, OUTER_LABEL)),
            KeyPair(hkdf(inner, salt, NEXT_INNER_LABEL), hkdf(outer, salt, NEXT_OUTER_LABEL)),
        )
