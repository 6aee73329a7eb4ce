"""A file that only the owner of a private key can read: sealed as a stream, so that its size does not matter.

    magic          b"openportal sealed 1\\n"
    sealed key     80 bytes: a fresh key for this file, in a sealed box (X25519) for the recipient's public key
    header         24 bytes of libsodium's secretstream (XChaCha20-Poly1305)
    chunks         1 MiB each and 17 bytes more; the last one is shorter and marked as the last

A chunk that was changed, moved or left out is noticed, and so is an end that is missing. Who holds the private key can
hand the fresh key to somebody else, sealed for them: they can then read this file and no other.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from openportal.errors import SecretError
from openportal.paddington.files import write_private

MAGIC = b"openportal sealed 1\n"
KEY_BYTES = bindings.crypto_secretstream_xchacha20poly1305_KEYBYTES
SEALED_KEY_BYTES = KEY_BYTES + bindings.crypto_box_SEALBYTES
HEADER_BYTES = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
CHUNK_BYTES = 1024 * 1024
MORE_BYTES = bindings.crypto_secretstream_xchacha20poly1305_ABYTES
LAST = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
NOT_LAST = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE


# --- keys -------------------------------------------------------------------------------------------------------------


def make_private_key(file: Path) -> str:
    """Write a new private key into a new file, closed to others; returns the public half. Raises SecretError."""
    if file.exists():
        raise SecretError(f"{file} exists, and files may be sealed for it: name a new one.")
    private = PrivateKey.generate()
    write_private(file, f"{bytes(private).hex()}\n".encode())
    return bytes(private.public_key).hex()


def private_key(file: Path) -> PrivateKey:
    """The key of such a file. Raises SecretError."""
    try:
        return PrivateKey(bytes.fromhex(file.read_text()))
    except (OSError, ValueError, TypeError):
        raise SecretError(f"{file} is not a private key as `openportal backup-key` writes it.") from None


def public_key(digits: str) -> PublicKey:
    """A public key from its 64 hexadecimal digits. Raises SecretError."""
    try:
        return PublicKey(bytes.fromhex(digits))
    except (ValueError, TypeError):
        raise SecretError("A public key is 64 hexadecimal digits, as `openportal backup-key` prints them.") from None


def key_for(file: Path, private: PrivateKey, recipient: PublicKey) -> str:
    """The key of this file alone, sealed for somebody else, in hexadecimal digits. Raises SecretError."""
    with file.open("rb") as sealed:
        key = opened_key(read_sealed_key(sealed, file), private, file)
    return SealedBox(recipient).encrypt(key).hex()


def opened_key(sealed: bytes, private: PrivateKey, file: Path) -> bytes:
    try:
        return SealedBox(private).decrypt(sealed)
    except CryptoError:
        raise SecretError(f"{file} was sealed for another key.") from None


def read_sealed_key(file: BinaryIO, path: Path) -> bytes:
    if file.read(len(MAGIC)) != MAGIC:
        raise SecretError(f"{path} is not a sealed file of ours.")
    return file.read(SEALED_KEY_BYTES)


# --- streams ----------------------------------------------------------------------------------------------------------


class Sealing:
    """What is written goes sealed into `file`; complete when the block has ended without an exception."""

    def __init__(self, file: BinaryIO, recipient: PublicKey) -> None:
        self._file = file
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        self._waiting = bytearray()
        key = bindings.crypto_secretstream_xchacha20poly1305_keygen()
        header = bindings.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)
        file.write(MAGIC + SealedBox(recipient).encrypt(key) + header)

    def __enter__(self) -> Sealing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._push(bytes(self._waiting), LAST)

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:
            self._push(bytes(self._waiting[:CHUNK_BYTES]), NOT_LAST)
            del self._waiting[:CHUNK_BYTES]
        return len(data)

    def _push(self, chunk: bytes, tag: int) -> None:
        self._file.write(bindings.crypto_secretstream_xchacha20poly1305_push(self._state, chunk, tag=tag))


class Opening:
    """What is read comes opened out of `file`. Every read may raise SecretError."""

    def __init__(self, file: BinaryIO, key: bytes, path: Path) -> None:
        self._file, self._path = file, path
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        self._waiting = b""
        self._ended = False
        read_sealed_key(file, path)
        try:
            bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, file.read(HEADER_BYTES), key)
        except (CryptoError, ValueError, TypeError):
            raise SecretError(f"{path} is cut off.") from None

    def read(self, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end."""
        while len(self._waiting) < size and not self._ended:
            self._waiting += self._pull()
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        return taken

    def finish(self) -> None:
        """See that the end is there and nothing comes after it."""
        while not self._ended:
            self._pull()
        if self._file.read(1):
            raise SecretError(f"{self._path} goes on behind its end.")

    def _pull(self) -> bytes:
        data = self._file.read(CHUNK_BYTES + MORE_BYTES)
        if not data:
            raise SecretError(f"{self._path} is cut off.")
        try:
            chunk, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(self._state, data)
        except (CryptoError, ValueError, RuntimeError):
            raise SecretError(f"{self._path} is damaged, or this is not its key.") from None
        self._ended = tag == LAST
        return bytes(chunk)
