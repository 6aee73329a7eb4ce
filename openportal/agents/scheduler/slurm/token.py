"""Tokens for slurmrestd: JSON web tokens of Slurm, which say who asks and until when.

Two ways to get one, by the settings:

    token-command    a command that prints `SLURM_JWT=…`, such as `scontrol token`; it is given `lifespan=SECONDS`, and
                     `username=NAME` if the token is for somebody else than this process runs as
    token-key        the site's key (`jwt_hs256.key`): the token is signed here, with HMAC-SHA256, as Slurm does it

A token is used until shortly before it ends. One that slurmrestd refuses is thrown away; whoever got it asks again,
once. Neither a token nor a key is ever in a message.
"""

from __future__ import annotations

import asyncio
import base64
import getpass
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from openportal.errors import RunError, Unavailable

RENEW_SHARE: Final = 0.9
COMMAND_SECONDS: Final = 30.0
KEY_MAX_BYTES: Final = 65_536
PRINTED: Final = "SLURM_JWT="


class TokenMaker(Protocol):
    """A way to get a new token."""

    async def make(self) -> str:
        """Raises RunError, or Unavailable if it may work later."""
        ...


class Tokens:
    """The token in use. `clock` gives seconds that only go forward."""

    def __init__(self, maker: TokenMaker, lifespan_seconds: int, clock: Callable[[], float]) -> None:
        self._maker = maker
        self._kept_seconds = lifespan_seconds * RENEW_SHARE
        self._clock = clock
        self._token = ""
        self._until = 0.0
        self._one = asyncio.Lock()

    async def current(self) -> str:
        """One that is not about to end."""
        async with self._one:
            if not self._token or self._clock() >= self._until:
                made_at = self._clock()
                self._token = await self._maker.make()
                self._until = made_at + self._kept_seconds
            return self._token

    def refused(self, token: str) -> None:
        """Do not use it again; no matter if there is a newer one already."""
        if token == self._token:
            self._token = ""


class CommandTokens:
    """Tokens of `token-command`."""

    def __init__(self, command: Sequence[str], user: str, lifespan_seconds: int) -> None:
        whose = () if user == getpass.getuser() else (f"username={user}",)
        self._command = (*command, *whose, f"lifespan={lifespan_seconds}")

    async def make(self) -> str:
        pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(*self._command, stdin=none, stdout=pipe, stderr=pipe)
        except OSError as error:
            raise RunError(f"token-command cannot be started ({error.strerror}): {self._command[0]}") from error
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError as error:
            raise Unavailable(f"token-command did not end within {COMMAND_SECONDS:.0f} s; is slurmctld up?") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return self._read(process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace"))

    def _read(self, code: int, output: str, errors: str) -> str:
        if code:
            raise Unavailable(f"token-command ended with {code}: {errors.strip() or 'it gave no reason'}")
        found = [word.removeprefix(PRINTED) for word in output.split() if word.startswith(PRINTED)]
        if not found or not found[0]:
            raise RunError("token-command did not print SLURM_JWT=TOKEN, as `scontrol token` does.")
        return found[0]


class SignedTokens:
    """Tokens that are signed here with the key in a file, which is read each time: keys are exchanged."""

    def __init__(self, key: Path, user: str, lifespan_seconds: int, now: Callable[[], float]) -> None:
        self._key = key
        self._user = user
        self._lifespan_seconds = lifespan_seconds
        self._now = now

    async def make(self) -> str:
        try:
            with self._key.open("rb") as file:
                key = file.read(KEY_MAX_BYTES + 1)
        except OSError as error:
            raise RunError(f"token-key {self._key} cannot be read: {error.strerror}.") from error
        if not key or len(key) > KEY_MAX_BYTES:
            raise RunError(f"token-key {self._key} is no key of slurmctld: it must have 1 to {KEY_MAX_BYTES} bytes.")
        return sign(key, self._user, int(self._now()), self._lifespan_seconds)


def sign(key: bytes, user: str, now: int, lifespan_seconds: int) -> str:
    """A token for a user from now on."""
    claims = {"exp": now + lifespan_seconds, "iat": now, "sun": user}
    signed = b".".join(map(_encode, ({"alg": "HS256", "typ": "JWT"}, claims)))
    return b".".join((signed, _base64(hmac.new(key, signed, hashlib.sha256).digest()))).decode()


def _encode(part: object) -> bytes:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
