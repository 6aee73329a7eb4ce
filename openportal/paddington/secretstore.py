"""Secrets at rest: the values in `[extras]` that are sealed with a password.

Two forms, told apart by their start:

    v0   hex(nonce24 ‖ ciphertext ‖ tag16)                          a fixed public salt, m=8 KiB
    v1   "op-secret-v1:" hex(salt16 ‖ nonce24 ‖ ciphertext ‖ tag16)  a fresh salt, m=19456 KiB

Both: the key is Argon2i version 1.3 of the password, t=3, p=1, 32 bytes; the cipher is XChaCha20-Poly1305 without
associated data; the plaintext is the secret as a JSON string, quotes included.

v0 is what 0.32.2 writes and every release reads. Its salt is public and its derivation cheap, so it protects a secret
only as well as the password resists guessing: use a long random one. Newer releases write a v1 with this prefix and
these costs, but how they arrange the bytes behind the prefix is not known to us. **Our v1 is our own arrangement**:
another implementation may not open it, and we may not open theirs (that is a SecretError, never a wrong secret).
Therefore v0 is the default for writing, so that a file can be handed to today's agents and back; `secret --form v1`
writes v1 where only this implementation reads the file.

The password is the value of an environment variable (`encryption --environment VARIABLE`); if that is not set, of the
credential of that name which systemd hands to the service (`LoadCredential`). Or it is the agent's own name
(`encryption --simple`), which hides a secret from a glance and no more. No error holds a password or a secret.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from argon2.low_level import Type, hash_secret_raw
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt as aead_open,
)
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_encrypt as aead_seal,
)
from nacl.exceptions import CryptoError

from openportal.errors import SecretError
from openportal.paddington.config import AgentConfig, Encryption
from openportal.paddington.files import read_text

Form = Literal["v0", "v1"]
V1_PREFIX = "op-secret-v1:"
V0_SALT = bytes.fromhex("3a7f1b4c5d6e2f8a9bacbdcedfeff001")
V0_MEMORY_KIB = 8
V1_MEMORY_KIB = 19456
PASSES = 3
SALT_BYTES = 16
NONCE_BYTES = 24
TAG_BYTES = 16
KEY_BYTES = 32
SECRET_BYTES_MAX = 64 * 1024
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # as systemd calls it


def seal_secret(secret: str, password: str, form: Form = "v0") -> str:
    """The text to store for a secret. Raises SecretError."""
    try:
        plain = json.dumps(secret, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise SecretError("The secret is not UTF-8 text.") from None
    if len(plain) > SECRET_BYTES_MAX:
        raise SecretError(f"The secret is longer than {SECRET_BYTES_MAX} bytes.")
    nonce = secrets.token_bytes(NONCE_BYTES)
    if form == "v0":
        return (nonce + aead_seal(plain, None, nonce, _key(password, V0_SALT, V0_MEMORY_KIB))).hex()
    salt = secrets.token_bytes(SALT_BYTES)
    return V1_PREFIX + (salt + nonce + aead_seal(plain, None, nonce, _key(password, salt, V1_MEMORY_KIB))).hex()


def open_secret(stored: str, password: str) -> str:
    """The secret in a stored text of either form. Raises SecretError."""
    if not looks_sealed(stored):
        raise SecretError("The stored value is not a sealed secret; set it again with the secret command.")
    data = bytes.fromhex(stored.removeprefix(V1_PREFIX))
    salt, memory = V0_SALT, V0_MEMORY_KIB
    if stored.startswith(V1_PREFIX):
        salt, data, memory = data[:SALT_BYTES], data[SALT_BYTES:], V1_MEMORY_KIB
    try:
        plain = aead_open(data[NONCE_BYTES:], None, data[:NONCE_BYTES], _key(password, salt, memory))
        secret = json.loads(plain.decode("utf-8"))
    except (CryptoError, ValueError, RecursionError):
        raise SecretError("The secret cannot be opened: it was sealed with another password or was altered.") from None
    if not isinstance(secret, str):
        raise SecretError("The sealed value is not a text.")
    return secret


def looks_sealed(stored: str) -> bool:
    """Whether a stored value has the form of a sealed secret. So does any hexadecimal text of 42 bytes or more."""
    digits = stored.removeprefix(V1_PREFIX)
    least = NONCE_BYTES + TAG_BYTES + len('""') + (SALT_BYTES if stored.startswith(V1_PREFIX) else 0)
    most = least + SECRET_BYTES_MAX
    return (
        2 * least <= len(digits) <= 2 * most
        and len(digits) % 2 == 0
        and all(c in "0123456789abcdefABCDEF" for c in digits)
    )


def password_of(encryption: Encryption | None, agent: str, environ: Mapping[str, str] | None = None) -> str:
    """The password of an agent's file; `environ` is the process's own unless given. Raises SecretError."""
    if encryption is None:
        raise SecretError("No encryption is chosen; run the encryption command with --environment VARIABLE first.")
    if encryption.scheme == "Simple":
        return agent
    variable = encryption.variable or ""
    environ = os.environ if environ is None else environ
    password = environ.get(variable) or _credential(environ.get(CREDENTIALS, ""), variable)
    if not password:
        raise SecretError(f"The environment variable {variable} must hold the password of the secrets; it is not set.")
    return password


def _credential(folder: str, name: str) -> str:
    """What systemd hands to a service as a credential of this name; empty if there is none."""
    path = Path(folder, name)
    return read_text(path).rstrip("\n") if folder and name and path.exists() else ""


def secret_of(config: AgentConfig, key: str, environ: Mapping[str, str] | None = None) -> str | None:
    """The opened secret of an agent's file, or None when there is no such key. Raises SecretError, naming it."""
    stored = config.extras.get(key)
    if stored is None:
        return None
    try:
        return open_secret(stored, password_of(config.encryption, config.service.name, environ))
    except SecretError as error:
        raise SecretError(f"The secret {key!r}: {error}") from None


def _key(password: str, salt: bytes, memory_kib: int) -> bytes:
    if not password:
        raise SecretError("The password of the secrets is empty.")
    data = password.encode("utf-8", "surrogateescape")
    return hash_secret_raw(data, salt, PASSES, memory_kib, 1, KEY_BYTES, Type.I)
