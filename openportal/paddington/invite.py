"""Invites: how two agents are introduced.

The agent that listens makes a pair of keys for the one that dials, keeps them in its own file, and writes an invite.
The operator carries the invite to the other machine, where `server --add` copies it into that agent's file. New keys
for a pair that exists travel the same way, in a file whose name starts with `rotate_`.

    name, url, zone          who invites, where it listens, and the zone of the pair        read by every release
    [inner_key] [outer_key]  data = 64 hexadecimal digits                                   read by every release
    type                     the type of the agent that invites                             ignored by 0.32.2
    expires                  when it must have been used                                    ignored by all but ours
    proxy                    the agent through which the pair is relayed                    ignored by 0.32.2

The last three are written when they are known. An old reader skips what it does not know, so one file serves both.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tomlkit
from pydantic import TypeAdapter

from openportal.errors import ConfigError
from openportal.paddington.config import (
    KEY_BYTES,
    KeyField,
    MomentField,
    NameField,
    TypeField,
    ZoneField,
    parse_toml,
    validated,
    websocket_url,
)
from openportal.paddington.files import read_text, write_private

LIFETIME = timedelta(days=7)  # of an invite, unless it is told otherwise


@dataclass(frozen=True)
class Invite:
    """What the agent that dials must know of the one that listens."""

    name: NameField
    url: str
    zone: ZoneField
    inner_key: KeyField = field(repr=False)
    outer_key: KeyField = field(repr=False)
    type: TypeField = None
    proxy: str | None = None
    expires: MomentField = None

    @classmethod
    def load(cls, path: str | Path) -> Invite:
        """Read an invite or a rotation file. Raises ConfigError."""
        where = Path(path).expanduser()
        return cls.parse(read_text(where), where)

    @classmethod
    def parse(cls, text: str, where: Path) -> Invite:
        """The invite in a file's text. Raises ConfigError."""
        data = parse_toml(text, where)
        try:
            invite: Invite = validated(_FILE, data)
            if invite.url or invite.proxy is None:
                websocket_url(invite.url)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        return invite

    def save(self, path: Path) -> None:
        """Write the file, readable by its owner only."""
        write_private(path, self.to_text().encode())

    def to_text(self) -> str:
        document = tomlkit.document()
        for key in ("name", "url", "zone", "type", "proxy", "expires"):
            if getattr(self, key) is not None:
                document.add(key, getattr(self, key))
        document.add("inner_key", key_table(self.inner_key))
        document.add("outer_key", key_table(self.outer_key))
        return tomlkit.dumps(document)

    def check_fresh(self, now: datetime) -> None:
        """Raise ConfigError if it must not be used any more."""
        if self.expires is not None and self.expires < now:
            when = self.expires.astimezone(UTC)
            raise ConfigError(
                f"The invite of {self.name!r} expired on {when:%Y-%m-%d %H:%M} UTC; ask for another one, "
                "made with client --rotate."
            )

    @property
    def invite_file(self) -> Path:
        """Where `client --add` writes it, relative to the working folder."""
        return Path(f"invite_{self.name}_{self.zone}.toml")

    @property
    def rotate_file(self) -> Path:
        """Where `client --rotate` writes it, relative to the working folder."""
        return Path(f"rotate_{self.name}_{self.zone}.toml")


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def key_table(key: bytes) -> tomlkit.items.Table:
    """A key as the files hold it: a table with `data`."""
    table = tomlkit.table()
    table.add("data", key.hex())
    return table


_FILE: TypeAdapter[Invite] = TypeAdapter(Invite)
