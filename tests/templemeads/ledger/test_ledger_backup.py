"""A backup is consistent while its writer is at work, and a restore cannot be taken for the log that it replaces."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from ledger_samples import EVENTS, fill, open_ledger, unit

from openportal.errors import LedgerCorrupt, LedgerError, LedgerLocked
from openportal.templemeads.ledger import Settings, backup, open_reader, restore

UNITS = 5_000


def heads(settings: Settings) -> tuple[str, int]:
    with open_reader(settings, EVENTS) as reader:
        report = reader.verify()
        assert report.ok, report
        return report.head, report.events


async def test_a_backup_of_a_ledger_that_is_being_written_is_one_of_its_moments(tmp_path: Path) -> None:
    settings = Settings(path=tmp_path / "ledger")
    ledger = open_ledger(settings)
    await fill(ledger, UNITS)
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(backup(settings, tmp_path / "copy").events))
    thread.start()
    written = UNITS
    while thread.is_alive():
        await fill(ledger, 10, start=written)
        written += 10
        await asyncio.sleep(0)
    thread.join()
    ledger.close()
    assert 2 * UNITS <= done[0] <= 2 * written
    head, events = heads(Settings(path=tmp_path / "copy"))
    assert events == done[0]
    with open_reader(settings, EVENTS) as reader:
        assert reader.verify(witness=head).ok


async def test_a_restored_ledger_goes_on_from_the_backup_with_a_higher_generation(tmp_path: Path) -> None:
    settings = Settings(path=tmp_path / "ledger")
    ledger = open_ledger(settings)
    await fill(ledger, 3)
    backup(settings, tmp_path / "copy")
    await fill(ledger, 3, start=3)
    with pytest.raises(LedgerLocked, match="stop that one first"):
        restore(settings, tmp_path / "copy")
    assert ledger.raise_generation() == 2
    ledger.close()
    generation, aside = restore(settings, tmp_path / "copy")
    assert generation == 3
    assert aside is not None
    assert heads(Settings(path=aside))[1] == 12
    ledger = open_ledger(settings)
    assert (ledger.generation, ledger.clean) == (3, False)
    assert len(list(ledger.replay())) == 6
    ledger.submit(unit(9), 1.0)
    await ledger.drain()
    ledger.close()
    assert heads(settings)[1] == 8


async def test_a_backup_goes_where_nothing_is(tmp_path: Path) -> None:
    settings = Settings(path=tmp_path / "ledger")
    with pytest.raises(LedgerError, match="there is no ledger"):
        backup(settings, tmp_path / "copy")
    ledger = open_ledger(settings)
    await fill(ledger, 1)
    ledger.close()
    backup(settings, tmp_path / "copy")
    with pytest.raises(LedgerError, match="name a new file"):
        backup(settings, tmp_path / "copy")
    other = Settings(path=tmp_path / "other")
    assert restore(other, tmp_path / "copy") == (2, None)
    assert heads(other) == heads(settings)


async def test_a_damaged_ledger_is_not_backed_up_over_a_name_and_is_replaced_by_a_restore(tmp_path: Path) -> None:
    settings = Settings(path=tmp_path / "ledger")
    ledger = open_ledger(settings)
    await fill(ledger, 4)
    ledger.close()
    backup(settings, tmp_path / "copy")
    with sqlite3.connect(tmp_path / "ledger" / "ledger.sqlite") as database:
        database.execute("DELETE FROM stored_events WHERE rowid = 3")
    database.close()
    with pytest.raises(LedgerCorrupt, match="BAD at position 3"):
        backup(settings, tmp_path / "second")
    assert sorted(os.listdir(tmp_path)) == ["copy", "ledger"]  # noqa: PTH208  # names only
    assert restore(settings, tmp_path / "copy")[0] == 2
    assert heads(settings)[1] == 8
    (tmp_path / "ledger" / "ledger.sqlite").write_bytes(b"no database" * 1000)
    assert restore(settings, tmp_path / "copy")[0] == 2
