"""The envelope around every text on the wire.

    frame = hex( inner_info 32 | outer_info 32 | outer_nonce 24 | outer_box )
    outer_box = XChaCha20-Poly1305 of the JSON string "hex( inner_nonce 24 | inner_box )"
    inner_box = XChaCha20-Poly1305 of the plaintext, which is JSON

The key of a layer is HKDF-SHA512(ikm = its key, salt = its salt, info = its 32 random bytes), 32 bytes. Keys and salts
last as long as a connection, so `Keys` holds what does not change with the frame: the extract half of HKDF, and both
pads of the HMAC of its expand half. A frame then costs two SHA-512 blocks per layer.

The salts travel in HTTP headers, masked with the key of the OTHER layer: inner salt with outer key, outer with inner.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import hexlify, unhexlify
from collections.abc import Callable
from typing import Any

import msgspec
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as _checked_decrypt
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as _checked_encrypt
from nacl.exceptions import CryptoError

from openportal.errors import FrameError, HandshakeError

KEY_BYTES = 32
SALT_BYTES = 32
INFO_BYTES = 32
NONCE_BYTES = 24
TAG_BYTES = 16
RANDOM_BYTES = 2 * INFO_BYTES + 2 * NONCE_BYTES  # of one frame: inner info, outer info, inner nonce, outer nonce
SHA512_BLOCK_BYTES = 128

_INFOS_BYTES = 2 * INFO_BYTES
_INNER_NONCE_END = _INFOS_BYTES + NONCE_BYTES
_LAYER_BYTES = NONCE_BYTES + TAG_BYTES
_HEAD_BYTES = _INFOS_BYTES + NONCE_BYTES
FRAME_MIN_BYTES = _INFOS_BYTES + _LAYER_BYTES + 2 + 2 * _LAYER_BYTES  # of the frame's bytes before hex
FRAME_OVERHEAD_CHARS = 2 * FRAME_MIN_BYTES  # a frame has these and four characters per byte of plaintext

_NULL_KEY = bytes(KEY_BYTES)
_INNER_PAD = bytes(x ^ 0x36 for x in range(256))
_OUTER_PAD = bytes(x ^ 0x5C for x in range(256))

Draw = Callable[[int], bytes]
"""Gives that many random bytes; `os.urandom` outside of tests."""

_Cipher = Callable[[bytes, bytes, bytes], bytes | bytearray]  # of text, nonce, key


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA512 (RFC 5869), 32 bytes long."""
    return hmac.digest(hmac.digest(salt, key, "sha512"), info + b"\x01", "sha512")[:KEY_BYTES]


def xor(a: bytes, b: bytes) -> bytes:
    """Mask or unmask a salt; both must have the same length."""
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def check_key(key: bytes) -> bytes:
    """The key itself; raises HandshakeError unless it is 32 bytes and not all zero."""
    if len(key) != KEY_BYTES:
        raise HandshakeError(f"a key must be {KEY_BYTES} bytes, not {len(key)}")
    if key == _NULL_KEY:
        raise HandshakeError("a key of zeros is no key")
    return key


class Layer:
    """The key of one layer under one salt, ready to give frame keys."""

    __slots__ = ("_first", "_second")

    def __init__(self, key: bytes, salt: bytes) -> None:
        block = hmac.digest(salt, key, "sha512").ljust(SHA512_BLOCK_BYTES, b"\0")
        self._first = hashlib.sha512(block.translate(_INNER_PAD))
        self._second = hashlib.sha512(block.translate(_OUTER_PAD))

    def frame_key(self, info: bytes) -> bytes:
        """What `hkdf(key, salt, info)` gives."""
        first = self._first.copy()
        first.update(info + b"\x01")
        second = self._second.copy()
        second.update(first.digest())
        return second.digest()[:KEY_BYTES]


class Keys:
    """The two keys and two salts of a connection at one point of its handshake. Shows none of them."""

    __slots__ = ("inner", "inner_salt", "outer", "outer_salt")

    def __init__(self, inner: bytes, outer: bytes, inner_salt: bytes, outer_salt: bytes) -> None:
        if len(inner_salt) != SALT_BYTES or len(outer_salt) != SALT_BYTES:
            raise HandshakeError(f"a salt must be {SALT_BYTES} bytes")
        self.inner_salt = inner_salt
        self.outer_salt = outer_salt
        self.inner = Layer(check_key(inner), inner_salt)
        self.outer = Layer(check_key(outer), outer_salt)

    def with_outer(self, outer: bytes) -> Keys:
        """The same connection after its outer key was replaced."""
        return self._replaced(self.inner, Layer(check_key(outer), self.outer_salt))

    def with_inner(self, inner: bytes) -> Keys:
        """The same connection after its inner key was replaced."""
        return self._replaced(Layer(check_key(inner), self.inner_salt), self.outer)

    def _replaced(self, inner: Layer, outer: Layer) -> Keys:
        new = object.__new__(Keys)
        new.inner, new.outer = inner, outer
        new.inner_salt, new.outer_salt = self.inner_salt, self.outer_salt
        return new


def _careful_encrypt(message: bytes, nonce: bytes, key: bytes) -> bytes:
    return _checked_encrypt(message, None, nonce, key)


def _careful_decrypt(box: bytes, nonce: bytes, key: bytes) -> bytes:
    try:
        return _checked_decrypt(box, None, nonce, key)
    except (CryptoError, ValueError) as error:
        raise FrameError("the frame cannot be opened with our keys") from error


def _direct(ffi: Any, lib: Any) -> tuple[_Cipher, _Cipher]:
    """The same two functions without PyNaCl's argument checks, a third of their cost on a message of a kilobyte.

    Only `seal` and `open_` call them, with lengths they have checked.
    """
    native_encrypt = lib.crypto_aead_xchacha20poly1305_ietf_encrypt
    native_decrypt = lib.crypto_aead_xchacha20poly1305_ietf_decrypt
    from_buffer, null = ffi.from_buffer, ffi.NULL

    def encrypt(message: bytes, nonce: bytes, key: bytes) -> bytearray:
        size = len(message)
        out = bytearray(size + TAG_BYTES)
        native_encrypt(from_buffer(out), null, message, size, null, 0, null, nonce, key)
        return out

    def decrypt(box: bytes, nonce: bytes, key: bytes) -> bytearray:
        size = len(box)
        out = bytearray(size - TAG_BYTES)
        if native_decrypt(from_buffer(out), null, null, box, size, null, 0, nonce, key):
            raise FrameError("the frame cannot be opened with our keys")
        return out

    return encrypt, decrypt


_encrypt: _Cipher = _careful_encrypt
_decrypt: _Cipher = _careful_decrypt
try:
    from nacl import _sodium

    _encrypt, _decrypt = _direct(_sodium.ffi, _sodium.lib)
except (ImportError, AttributeError):  # a PyNaCl laid out otherwise: its public functions do the same, slower
    pass


def seal(keys: Keys, plaintext: bytes, randoms: bytes) -> bytes:
    """The frame that carries `plaintext` (JSON); `randoms` are RANDOM_BYTES that serve no other frame."""
    if len(randoms) != RANDOM_BYTES:
        raise ValueError(f"a frame takes {RANDOM_BYTES} random bytes, not {len(randoms)}")
    inner_nonce = randoms[_INFOS_BYTES:_INNER_NONCE_END]
    outer_nonce = randoms[_INNER_NONCE_END:]
    inner_box = _encrypt(plaintext, inner_nonce, keys.inner.frame_key(randoms[:INFO_BYTES]))
    middle = b'"%b"' % hexlify(inner_nonce + inner_box)
    outer_box = _encrypt(middle, outer_nonce, keys.outer.frame_key(randoms[INFO_BYTES:_INFOS_BYTES]))
    return hexlify(b"".join((randoms[:_INFOS_BYTES], outer_nonce, outer_box)))


def open_(keys: Keys, frame: bytes | str) -> bytes | bytearray:
    """The plaintext (JSON) of a frame; raises FrameError for anything that is not a frame of ours."""
    try:
        raw = unhexlify(frame)
    except ValueError as error:
        raise FrameError("the frame is not hexadecimal") from error
    if len(raw) < FRAME_MIN_BYTES:
        raise FrameError(f"the frame is shorter than {FRAME_OVERHEAD_CHARS} characters")
    outer_key = keys.outer.frame_key(raw[INFO_BYTES:_INFOS_BYTES])
    middle = _decrypt(raw[_HEAD_BYTES:], raw[_INFOS_BYTES:_HEAD_BYTES], outer_key)
    if middle[0] != 0x22 or middle[-1] != 0x22:
        raise FrameError("the outer layer does not hold a JSON string")
    try:
        box = unhexlify(middle[1:-1])
    except ValueError as error:
        raise FrameError("the inner layer is not hexadecimal") from error
    if len(box) < _LAYER_BYTES:
        raise FrameError("the inner layer is too short")
    return _decrypt(box[NONCE_BYTES:], box[:NONCE_BYTES], keys.inner.frame_key(raw[:INFO_BYTES]))


def seal_frame(keys: Keys, plaintext: str, randoms: bytes) -> str:
    """A frame around a text, as ongoing traffic without nonces has it: the plaintext is the text as a JSON string."""
    return seal(keys, msgspec.json.encode(plaintext), randoms).decode("ascii")


def open_frame(keys: Keys, frame: bytes | str) -> Any:
    """The JSON value inside a frame: a str for ongoing traffic, a dict for handshake messages."""
    try:
        return msgspec.json.decode(open_(keys, frame))
    except (msgspec.DecodeError, RecursionError) as error:
        raise FrameError(f"the plaintext is not JSON: {error}") from error


def frame_randoms(frame: str) -> bytes:
    """What a frame shows of its random bytes, with zeros for the hidden inner nonce: to seal a recorded frame again."""
    raw = unhexlify(frame[: 2 * _HEAD_BYTES])
    return raw[:_INFOS_BYTES] + bytes(NONCE_BYTES) + raw[_INFOS_BYTES:]
