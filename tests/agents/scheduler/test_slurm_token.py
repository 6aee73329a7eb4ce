"""Where tokens come from, and how long they are used. Whether Slurm believes them is tried on a real one."""

from __future__ import annotations

import asyncio
import base64
import getpass
import hashlib
import hmac
import json
import sys
import time
from pathlib import Path

import pytest

from openportal.agents.scheduler.slurm import token
from openportal.agents.scheduler.slurm.token import KEY_MAX_BYTES, CommandTokens, SignedTokens, Tokens, sign
from openportal.errors import RunError, Unavailable

KEY = b"0123456789abcdef0123456789abcdef"


class Counting:
    """Makes tokens t1, t2, …"""

    def __init__(self) -> None:
        self.made = 0
        self.error: Exception | None = None

    async def make(self) -> str:
        if self.error:
            raise self.error
        self.made += 1
        return f"t{self.made}"


def decoded(part: str) -> object:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_a_signed_token_says_who_and_until_when() -> None:
    header, claims, signature = sign(KEY, "portal", 1000, 60).split(".")
    assert decoded(header) == {"alg": "HS256", "typ": "JWT"}
    assert decoded(claims) == {"exp": 1060, "iat": 1000, "sun": "portal"}
    wanted = hmac.new(KEY, f"{header}.{claims}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == wanted


async def test_a_token_is_used_until_shortly_before_its_end() -> None:
    maker, now = Counting(), [0.0]
    tokens = Tokens(maker, 100, lambda: now[0])
    used = []
    for now[0] in (0, 50, 89, 90, 179, 180):
        used.append(await tokens.current())
    assert used == ["t1", "t1", "t1", "t2", "t2", "t3"]


async def test_a_refused_token_is_not_used_again() -> None:
    tokens = Tokens(Counting(), 100, time.monotonic)
    tokens.refused(await tokens.current())
    assert await tokens.current() == "t2"


async def test_an_old_token_that_is_refused_does_not_cost_the_new_one() -> None:
    tokens = Tokens(Counting(), 100, time.monotonic)
    old = await tokens.current()
    tokens.refused(old)
    await tokens.current()
    tokens.refused(old)
    assert await tokens.current() == "t2"


async def test_a_maker_that_fails_is_asked_again() -> None:
    maker = Counting()
    tokens = Tokens(maker, 100, time.monotonic)
    maker.error = Unavailable("not now")
    with pytest.raises(Unavailable):
        await tokens.current()
    maker.error = None
    assert await tokens.current() == "t1"


# --- from a command ---------------------------------------------------------------------------------------------------


def printing(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import sys, time\n{code}")


@pytest.mark.parametrize(
    ("user", "expected"),
    [("portal", ["username=portal", "lifespan=60"]), (getpass.getuser(), ["lifespan=60"])],
)
async def test_a_command_is_told_for_whom_and_how_long(user: str, expected: list[str]) -> None:
    command = printing("print('JWT: SLURM_JWT=' + '/'.join(sys.argv[1:]))")
    assert await CommandTokens(command, user, 60).make() == "/".join(expected)


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        ("print('no such thing')", RunError, "did not print SLURM_JWT"),
        ("print('SLURM_JWT=')", RunError, "did not print SLURM_JWT"),
        ("sys.exit('slurm_load: down')", Unavailable, "ended with 1: slurm_load: down"),
        ("sys.exit(2)", Unavailable, "ended with 2: it gave no reason"),
    ],
)
async def test_a_command_that_fails(code: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        await CommandTokens(printing(code), "portal", 60).make()


async def test_a_command_that_is_not_there() -> None:
    with pytest.raises(RunError, match="cannot be started"):
        await CommandTokens(("/no/such/scontrol", "token"), "portal", 60).make()


async def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(token, "COMMAND_SECONDS", 0.2)
    survived = tmp_path / "survived"
    code = f"time.sleep(1); open({str(survived)!r}, 'w')"
    with pytest.raises(Unavailable, match="is slurmctld up"):
        await CommandTokens(printing(code), "portal", 60).make()
    await asyncio.sleep(1.2)
    assert not survived.exists()


# --- from the key -----------------------------------------------------------------------------------------------------


async def test_a_key_that_is_exchanged_is_used_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jwt.key"
    maker = SignedTokens(path, "portal", 60, lambda: 1000.0)
    for key in (KEY, b"another key"):
        path.write_bytes(key)
        assert await maker.make() == sign(key, "portal", 1000, 60)


@pytest.mark.parametrize("key", [b"", b"x" * (KEY_MAX_BYTES + 1)])
async def test_what_is_no_key_is_refused(key: bytes, tmp_path: Path) -> None:
    path = tmp_path / "jwt.key"
    path.write_bytes(key)
    with pytest.raises(RunError, match="is no key of slurmctld"):
        await SignedTokens(path, "portal", 60, time.time).make()


async def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"jwt\.key cannot be read: No such file"):
        await SignedTokens(tmp_path / "jwt.key", "portal", 60, time.time).make()
