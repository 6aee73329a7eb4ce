"""Invites: what is written can be read, by today's agents too."""

from __future__ import annotations

import stat
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.errors import ConfigError
from openportal.paddington.invite import Invite, new_key

OLD = f"""\
name = "brics"
url = "ws://127.0.0.1:8040/"
zone = "default"

[inner_key]
data = "{"1a" * 32}"

[outer_key]
data = "{"2b" * 32}"
"""


def test_todays_invite(tmp_path: Path) -> None:
    (tmp_path / "i.toml").write_text(OLD)
    invite = Invite.load(tmp_path / "i.toml")
    assert invite == Invite("brics", "ws://127.0.0.1:8040/", "default", b"\x1a" * 32, b"\x2b" * 32)
    assert tomllib.loads(invite.to_text()) == tomllib.loads(OLD)


def test_round_trip(tmp_path: Path) -> None:
    expires = datetime(2026, 12, 1, 12, tzinfo=UTC)
    invite = Invite("brics", "wss://h/p", "a<b>", new_key(), new_key(), "Portal", "relay", expires)
    path = tmp_path / invite.invite_file
    assert path.name == "invite_brics_a<b>.toml"
    assert invite.rotate_file == Path("rotate_brics_a<b>.toml")
    invite.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Invite.load(path) == invite
    assert set(tomllib.loads(path.read_text())) == {
        "name", "url", "zone", "inner_key", "outer_key", "type", "proxy", "expires",
    }  # fmt: skip


def test_fresh_until_it_expires(tmp_path: Path) -> None:
    expires = datetime(2026, 12, 1, 12, tzinfo=UTC)
    (tmp_path / "i.toml").write_text("expires = 2026-12-01T13:00:00+01:00\n" + OLD)
    invite = Invite.load(tmp_path / "i.toml")
    assert invite.expires == expires
    invite.check_fresh(expires)
    with pytest.raises(ConfigError, match="'brics' expired on 2026-12-01 12:00 UTC"):
        invite.check_fresh(expires + timedelta(seconds=1))
    (tmp_path / "old.toml").write_text(OLD)
    Invite.load(tmp_path / "old.toml").check_fresh(expires)


def test_the_zone_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "i.toml").write_text(OLD.replace('zone = "default"\n', 'future = "kept out"\n'))
    assert Invite.load(tmp_path / "i.toml").zone == "default"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "brics"', 'name = "br ics"', "name: The agent name 'br ics'"),
        ('name = "brics"', 'name = "../x"', "agent name"),
        ('name = "brics"\n', "", "name is missing"),
        ('"default"', '"a/b"', "zone 'a/b'"),
        ("ws://127.0.0.1:8040/", "", "is not a URL"),
        ("ws://127.0.0.1:8040/", "ftp://h", "is not a URL"),
        ("1a" * 32, "1a" * 31, "inner_key: A key must be 64 hexadecimal digits"),
        ("1a" * 32, "00" * 32, "all zeroes"),
        ("1a" * 32, "zz" * 32, "64 hexadecimal"),
        ("[outer_key]", "[other_key]", "outer_key is missing"),
        ("[inner_key]", "[inner_key", "is not a TOML file"),
    ],
)
def test_a_bad_invite_is_a_sentence(tmp_path: Path, old: str, new: str, says: str) -> None:
    (tmp_path / "i.toml").write_text(OLD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=says) as caught:
        Invite.load(tmp_path / "i.toml")
    assert "1a1a" not in str(caught.value)
    assert "2b2b" not in str(caught.value)


def test_keys_are_new_and_not_shown() -> None:
    first, second = new_key(), new_key()
    assert len(first) == len(second) == 32
    assert first != second
    shown = repr(Invite("n", "ws://h:1/", "z", first, second))
    assert repr(first) not in shown
    assert "key" not in shown


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_text_raises_only_config_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any-invite.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError):
        Invite.load(path)
