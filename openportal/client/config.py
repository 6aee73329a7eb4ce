"""Where a bridge is, and the key to it.

    url = "https://bridge.example.com:3000"
    [key]
    data = "00112233…"        64 hexadecimal digits

That is the file that `openportal bridge-config` writes for a portal's software. Other keys in it mean nothing here.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

from openportal.signing import KEY_BYTES

SCHEMES: Final = ("http", "https")


@dataclass(frozen=True, slots=True)
class Config:
    """A bridge's address and the key to it. Raises OSError, which says what to change."""

    url: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise OSError(f"the URL of a bridge must look like https://bridge.example.com:3000, not {self.url!r}")
        if len(self.key) != KEY_BYTES:
            raise OSError(f"a key must be exactly {KEY_BYTES} bytes ({2 * KEY_BYTES} hex digits), not {len(self.key)}")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """From a TOML file."""
        file = Path(os.fsdecode(path))
        try:
            found = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise OSError(f"the config file {file} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise OSError(f"the config file {file} is not TOML: {error}") from error
        try:
            return cls(_text(found, "url"), bytes.fromhex(_text(_table(found, "key"), "data")))
        except ValueError as error:
            raise OSError(f"the config file {file}: data of [key] must be hexadecimal digits") from error
        except OSError as error:
            raise OSError(f"the config file {file}: {error}") from error

    def path_of(self, function: str) -> str:
        """The path of a function, as a browser would resolve it against the URL."""
        return urlsplit(urljoin(self.url, function)).path


def _text(table: dict[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str):
        raise OSError(f"{name} must be a text, and is {'missing' if value is None else 'not'}")
    return value


def _table(table: dict[str, Any], name: str) -> dict[str, Any]:
    value = table.get(name)
    if not isinstance(value, dict):
        raise OSError(f'{name} must be a table: [{name}], and below it data = "<{2 * KEY_BYTES} hex digits>"')
    return value
