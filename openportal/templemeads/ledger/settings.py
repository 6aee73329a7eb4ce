"""Where a ledger is and how it commits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openportal.errors import ConfigError

SEGMENT_EVENTS = 100_000
CHECKPOINT_EVENTS = 20_000
LOW_SPACE_BYTES = 64 * 1024 * 1024
RESERVE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where a ledger is and how it commits. Either `path` (a folder: SQLite) or `url` (PostgreSQL) is given."""

    path: Path | None = None
    url: str | None = None
    commit: Literal["inline", "thread"] = "inline"
    checkpoint_every: int = CHECKPOINT_EVENTS
    owner: str = ""
    low_space_bytes: int = LOW_SPACE_BYTES
    reserve_bytes: int = RESERVE_BYTES
    segment_events: int = SEGMENT_EVENTS
    schema: str = "public"

    def __post_init__(self) -> None:
        if (self.path is None) == (self.url is None):
            raise ConfigError("a ledger needs either a folder or the URL of a PostgreSQL database: give one of the two")
