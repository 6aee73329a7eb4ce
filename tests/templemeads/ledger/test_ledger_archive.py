"""Sealed segments: written as files, read back and followed, deleted from the database, read from where they are."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from ledger_samples import ALICE, EVENTS, execute, fill, open_ledger, unit

from openportal.errors import LedgerCorrupt, LedgerError
from openportal.templemeads.ledger import Ledger, Settings, open_reader
from openportal.templemeads.ledger.archive import check_segment, file_of, read_rows

UNITS = 40
FUTURE = 1e10


async def grown(path: Path) -> tuple[Settings, Ledger]:
    """A ledger of 2 × UNITS events with sealed segments of 10 events and two checkpoints, the last at its end."""
    settings = Settings(path=path, segment_events=10)
    ledger = open_ledger(settings)
    await fill(ledger, UNITS - 1)
    ledger.save_checkpoint(b"the one before")
    await fill(ledger, 1, start=UNITS - 1)
    ledger.save_checkpoint(b"state")
    return settings, ledger


def archived(settings: Settings) -> Path:
    assert settings.path is not None
    with open_reader(settings, EVENTS) as reader:
        assert reader.archive()
        assert reader.archive() == []
    return settings.path / "archive"


async def test_the_files_hold_the_rows_and_no_key(tmp_path: Path) -> None:
    settings, ledger = await grown(tmp_path / "ledger")
    folder = archived(settings)
    with open_reader(settings) as reader:
        segments = reader.segments()
        rows = [row for segment in segments for row in read_rows(file_of(folder, segment.number))]
        assert [row.position for row in rows] == list(range(1, segments[-1].last + 1))
        for segment in segments:
            assert check_segment(file_of(folder, segment.number), reader.meta.ledger_id, segment).unit > 0
    content = b"".join(gzip.decompress(file.read_bytes()) for file in folder.iterdir())
    assert ALICE.encode() not in content
    [(key,)] = execute(tmp_path / "ledger", "SELECT key FROM subjects WHERE name = ?", ALICE)
    assert key not in content
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    ledger.close()


async def test_pruning_leaves_the_log_as_it_was_for_whoever_has_the_archive(tmp_path: Path) -> None:
    settings, ledger = await grown(tmp_path / "ledger")
    folder = archived(settings)
    with open_reader(settings, EVENTS) as reader:
        before, report = list(reader.records()), reader.verify()
    gone = ledger.prune(folder)
    assert gone[-1].last == max(segment.last for segment in gone) < 2 * UNITS - 2
    assert execute(tmp_path / "ledger", "SELECT MIN(rowid) FROM stored_events") == [(gone[-1].last + 1,)]
    assert ledger.prune(folder) == []
    ledger.submit(unit(UNITS), 1.0)
    await ledger.drain()
    ledger.close()
    with open_reader(settings, EVENTS) as reader:
        after = list(reader.records())
        assert after[: len(before)] == before
        assert [one.version for one in after[-2:]] == [UNITS + 1, UNITS + 1]
        assert reader.verify().ok
        assert reader.verify(report.head).ok
        first, last = gone[0].last, gone[0].last + 3
        assert [one.position for one in reader.records(first=first, last=last)] == list(range(first, last + 1))
    shutil.move(folder, tmp_path / "elsewhere")
    with open_reader(settings, EVENTS) as reader:
        assert next(reader.records()).position == gone[-1].last + 1
        assert reader.verify().ok
        assert reader.stats().pruned == gone[-1].last


async def test_a_pruned_ledger_goes_on_in_every_stream(tmp_path: Path) -> None:
    settings, ledger = await grown(tmp_path / "ledger")
    ledger.submit([("quiet@brics", unit(0)[1][1])], 1.0)  # a stream whose last event is before those that stay
    await ledger.drain()
    await fill(ledger, UNITS, start=UNITS + 1)
    for state in (b"a", b"b"):
        ledger.submit(unit(0), 1.0)
        await ledger.drain()
        ledger.save_checkpoint(state)
    gone = ledger.prune(archived(settings))
    assert gone[-1].last > 2 * UNITS + 1
    ledger.close()
    ledger = open_ledger(settings)
    assert ledger.checkpoint() == b"b"
    assert list(ledger.replay()) == []
    ledger.submit([("quiet@brics", unit(0)[1][1])], 1.0)
    await ledger.drain()
    ledger.close()
    with open_reader(settings, EVENTS) as reader:
        assert [one.version for one in reader.records(stream="quiet@brics")] == [1, 2]


async def test_nothing_is_deleted_that_is_not_whole_in_the_archive(tmp_path: Path) -> None:
    settings, ledger = await grown(tmp_path / "ledger")
    assert ledger.prune(tmp_path / "nowhere") == []
    folder = archived(settings)
    second = file_of(folder, 2)
    content = second.read_bytes()
    second.write_bytes(content[:-20])
    with pytest.raises(LedgerError, match="cannot be read"):
        ledger.prune(folder)
    second.write_bytes(
        gzip.compress(gzip.decompress(content).replace(b'\\"job\\":\\"job-7\\"', b'\\"job\\":\\"job-0\\"'))
    )
    with pytest.raises(LedgerCorrupt, match="digest"):
        ledger.prune(folder)
    second.write_bytes(file_of(folder, 3).read_bytes())
    with pytest.raises(LedgerError, match="is not the archive of segment 2"):
        ledger.prune(folder)
    second.unlink()
    assert ledger.prune(folder) == []  # the first went with the first attempt, and the third is not next
    assert execute(tmp_path / "ledger", "SELECT MIN(rowid) FROM stored_events") == [(11,)]
    ledger.close()


async def test_a_moment_whose_events_are_in_archives_elsewhere_is_refused(tmp_path: Path) -> None:
    settings, ledger = await grown(tmp_path / "ledger")
    for state in (b"newer", b"newest"):
        await fill(ledger, UNITS, start=UNITS + 1)
        ledger.save_checkpoint(state, at=FUTURE)
    old = ledger._backend.query("SELECT MIN(position) FROM checkpoints")[0][0]
    archives = archived(settings)
    assert ledger.prune(archives)[-1].last > old
    ledger.close()
    with open_reader(settings, EVENTS) as reader:
        assert reader.checkpoint(before=FUTURE) == (2 * UNITS, b"state")
    shutil.move(archives, tmp_path / "elsewhere")
    with open_reader(settings, EVENTS) as reader:
        with pytest.raises(LedgerError, match="put their files into"):
            reader.checkpoint(before=FUTURE)
        assert reader.checkpoint() == (6 * UNITS, b"newest")


async def test_segments_that_a_checkpoint_may_need_stay(tmp_path: Path) -> None:
    settings = Settings(path=tmp_path / "ledger", segment_events=10)
    ledger = open_ledger(settings)
    await fill(ledger, UNITS)
    ledger.save_checkpoint(b"the only one")
    assert ledger.prune(archived(settings)) == []
    ledger.close()


async def test_without_a_checkpoint_a_pruned_ledger_does_not_start(tmp_path: Path) -> None:
    settings, ledger = await grown(tmp_path / "ledger")
    ledger.prune(archived(settings))
    with pytest.raises(LedgerError, match="from its checkpoint, too"):
        ledger.erase_subject(ALICE)
    assert ledger.erase_subject(ALICE, lambda state: state.replace(b"state", b"blank"))
    ledger.close()
    ledger = open_ledger(settings)
    assert ledger.checkpoint() == b"blank"
    ledger.close()
    execute(tmp_path / "ledger", "DELETE FROM checkpoints")
    with pytest.raises(LedgerError, match="restore a backup"):
        open_ledger(settings)
