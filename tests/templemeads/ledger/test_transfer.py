"""A backup of a ledger in PostgreSQL is a SQLite file with the same chain, and goes back into either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from ledger_samples import EVENTS, fill, open_ledger

from openportal.errors import LedgerError, LedgerLocked
from openportal.templemeads.ledger import Settings, backup, open_reader, restore
from tests.postgres import cluster

pytestmark = pytest.mark.systems

UNITS = 600  # more than one batch of either database


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with cluster() as url:
        yield url


@pytest.fixture
def settings(url: str, request: pytest.FixtureRequest) -> Settings:
    return Settings(url=url, schema=f"op_{request.node.name[:40].lower()}")


def seen(settings: Settings) -> tuple[str, int, int]:
    """Head, events and generation of a ledger that verifies."""
    with open_reader(settings, EVENTS) as reader:
        report = reader.verify()
        assert report.ok, report
        return report.head, report.events, reader.meta.generation


async def test_a_backup_beside_the_writer_is_one_of_its_moments(settings: Settings, tmp_path: Path) -> None:
    ledger = open_ledger(settings)
    await fill(ledger, UNITS)
    report = backup(settings, tmp_path / "copy")
    await fill(ledger, 3, start=UNITS)
    ledger.close()
    assert (report.events, report.head) == seen(Settings(path=tmp_path / "copy"))[1::-1]
    with open_reader(settings, EVENTS) as live, open_reader(Settings(path=tmp_path / "copy"), EVENTS) as copy:
        assert live.verify(witness=report.head).ok
        assert [(one.stream, one.event) for one in live.records()][: report.events] == [
            (one.stream, one.event) for one in copy.records()
        ]


async def test_it_goes_back_into_the_schema_and_the_old_log_is_kept(settings: Settings, tmp_path: Path) -> None:
    ledger = open_ledger(settings)
    await fill(ledger, UNITS)
    head = backup(settings, tmp_path / "copy").head
    await fill(ledger, 3, start=UNITS)
    with pytest.raises(LedgerLocked, match="stop that one first"):
        restore(settings, tmp_path / "copy")
    ledger.close()
    generation, aside = restore(settings, tmp_path / "copy")
    assert (generation, aside) == (2, f"{settings.schema}_before_restore_1")
    assert seen(settings) == (head, 2 * UNITS, 2)
    assert seen(replace(settings, schema=str(aside)))[1:] == (2 * UNITS + 6, 1)
    again = open_ledger(settings)
    await fill(again, 3, start=UNITS)
    again.close()
    assert seen(settings)[1] == 2 * UNITS + 6


async def test_it_goes_into_an_empty_schema_of_a_new_server(settings: Settings, tmp_path: Path) -> None:
    folder = Settings(path=tmp_path / "ledger")
    ledger = open_ledger(folder)
    await fill(ledger, UNITS)
    ledger.close()
    head = backup(folder, tmp_path / "copy").head
    assert restore(settings, tmp_path / "copy") == (2, None)
    assert seen(settings) == (head, 2 * UNITS, 2)


async def test_the_backup_of_another_ledger_is_refused(settings: Settings, tmp_path: Path) -> None:
    folder = Settings(path=tmp_path / "ledger")
    for each in (folder, settings):
        ledger = open_ledger(each)
        await fill(ledger, 2)
        ledger.close()
    backup(folder, tmp_path / "copy")
    before = seen(settings)
    with pytest.raises(LedgerError, match="the backup of another ledger"):
        restore(settings, tmp_path / "copy")
    assert seen(settings) == before
    assert restore(settings, tmp_path / "copy", other=True)[0] == 2


def test_nothing_is_left_of_a_backup_but_the_file(settings: Settings, tmp_path: Path) -> None:
    open_ledger(settings).close()
    backup(settings, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_schema_without_a_ledger_has_no_backup(settings: Settings, tmp_path: Path) -> None:
    with psycopg.connect(str(settings.url), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {settings.schema}".encode())
    with pytest.raises(LedgerError, match="start the agent once"):
        backup(settings, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
