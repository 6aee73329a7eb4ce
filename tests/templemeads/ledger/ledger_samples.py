"""Events that the tests write, and small helpers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openportal.templemeads.ledger import Event, Ledger, Settings


class Received(Event, frozen=True):
    TOPIC = "Received"
    PRIVATE = ("instruction", "note")
    job: str
    number: int = 0
    instruction: str | None = None
    note: str | None = None
    subject: str | None = None


class Finished(Event, frozen=True):
    TOPIC = "Finished"
    job: str
    ok: bool = True
    seconds: float = 0.0
    tags: tuple[str, ...] = ()


EVENTS: list[type[Event]] = [Received, Finished]
ALICE = "alice.demo.brics"


def open_ledger(settings: Settings, events: list[type[Event]] | None = None) -> Ledger:
    return Ledger.open(settings, EVENTS if events is None else events)


def unit(number: int) -> list[tuple[str, Event]]:
    job = f"job-{number}"
    return [("portal@brics", Received(job, number, f"add_user {ALICE}", None, ALICE)), ("agent@site", Finished(job))]


async def fill(ledger: Ledger, units: int, start: int = 0) -> None:
    for number in range(start, start + units):
        ledger.submit(unit(number), 1000.0 + number)
    await ledger.drain()


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """The database behind the ledger's back."""
    connection = sqlite3.connect(path / "ledger.sqlite", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def execute(path: Path, sql: str, *parameters: Any) -> list[Any]:
    with raw(path) as connection:
        return connection.execute(sql, parameters).fetchall()
