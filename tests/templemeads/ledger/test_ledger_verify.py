"""The chain: what was changed behind the ledger's back is named with its position."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from ledger_samples import ALICE, EVENTS, Received, execute, fill, open_ledger, raw
from psycopg import connect

from openportal.errors import LedgerCorrupt, LedgerError, UnknownEvent
from openportal.templemeads.ledger import Event, Report, Settings, open_reader

UNITS = 4


def written(settings: Settings, units: int = UNITS) -> str:
    """`units` units of two events; the head after the last but one."""

    async def write() -> str:
        ledger = open_ledger(settings)
        await fill(ledger, units - 1)
        head = ledger.head
        await fill(ledger, 1, units)
        ledger.close()
        return head

    return asyncio.run(write())


def verify(settings: Settings, witness: str | None = None) -> Report:
    with open_reader(settings) as reader:
        return reader.verify(witness)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def first_of_unit(position: int) -> int:
    return position - (position - 1) % 2


def test_an_untouched_log_is_ok(settings: Settings) -> None:
    before = written(settings)
    report = verify(settings, before)
    assert (report.ok, report.events, report.units, report.first_bad) == (True, 8, 4, None)
    assert str(report) == f"OK: 8 events in 4 units, head {report.head}"
    ledger = open_ledger(settings)
    assert ledger.head == report.head
    ledger.close()


def test_any_flipped_byte_is_found(path: Path) -> None:
    settings = Settings(path=path)
    written(settings)
    with raw(path) as connection:
        rows = connection.execute("SELECT rowid, state FROM stored_events").fetchall()
        for position, state in rows:
            for offset in range(len(state)):
                flipped = state[:offset] + bytes([state[offset] ^ 1]) + state[offset + 1 :]
                connection.execute("UPDATE stored_events SET state = ? WHERE rowid = ?", (flipped, position))
                report = verify(settings)
                assert not report.ok, (position, offset)
                assert report.first_bad in (position, first_of_unit(position)), (position, offset)
                assert report.events == first_of_unit(position) - 1
            connection.execute("UPDATE stored_events SET state = ? WHERE rowid = ?", (state, position))
    assert verify(settings).ok


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE stored_events SET topic = 'Finishes' WHERE rowid = 4",
        "UPDATE stored_events SET originator_version = 9 WHERE rowid = 4",
        "UPDATE stored_events SET originator_id = (SELECT originator_id FROM stored_events WHERE rowid = 3),"
        " originator_version = 9 WHERE rowid = 4",
    ],
)
def test_a_changed_column_is_found(path: Path, change: str) -> None:
    written(Settings(path=path))
    execute(path, change)
    assert verify(Settings(path=path)).first_bad == 3


@pytest.mark.parametrize("state", ["NULL", "'{\"u\":2,'", "5"])
def test_a_state_of_another_type_is_found(path: Path, state: str) -> None:
    written(Settings(path=path))
    execute(path, f"UPDATE stored_events SET state = {state} WHERE rowid = 4")
    assert verify(Settings(path=path)).first_bad == 4


def test_a_flipped_byte_on_the_server(postgres_settings: Settings) -> None:
    written(postgres_settings)
    options = f"-csearch_path={postgres_settings.schema}"
    with connect(postgres_settings.url or "", autocommit=True, options=options) as connection:
        connection.execute("UPDATE stored_events SET state = set_byte(state, 12, 65) WHERE notification_id = 3")
    report = verify(postgres_settings)
    assert (report.ok, report.first_bad, report.units) == (False, 3, 1)


@pytest.mark.parametrize("position", [1, 2, 5, 6])
def test_a_removed_row_is_named(path: Path, position: int) -> None:
    written(Settings(path=path))
    execute(path, "DELETE FROM stored_events WHERE rowid = ?", position)
    report = verify(Settings(path=path))
    assert report.first_bad == position
    assert "missing" in report.reason


def test_swapped_rows_are_found(path: Path) -> None:
    written(Settings(path=path))
    for a, b in ((3, 4), (3, 5)):
        for old, new in ((a, 99), (b, a), (99, b)):
            execute(path, "UPDATE stored_events SET rowid = ? WHERE rowid = ?", new, old)
        assert verify(Settings(path=path)).first_bad == 3


def test_a_renamed_stream_is_found(path: Path) -> None:
    written(Settings(path=path))
    execute(path, "UPDATE streams SET name = 'other@site' WHERE name = 'agent@site'")
    report = verify(Settings(path=path))
    assert (report.ok, report.first_bad) == (False, 2)


def test_a_cut_tail_is_shorter(path: Path) -> None:
    """After a clean end the ledger itself knows; a head that was seen elsewhere is a witness in any case."""
    settings = Settings(path=path)
    before = written(settings)
    head = verify(settings).head
    execute(path, "DELETE FROM stored_events WHERE rowid > 6")
    report = verify(settings)
    assert (report.ok, report.first_bad, report.events, report.units, report.head) == (False, 7, 6, 3, before)
    assert "shorter" in report.reason and head in report.reason
    with pytest.raises(LedgerCorrupt, match="position 7"):
        open_ledger(settings)
    execute(path, "UPDATE ledger SET value = '' WHERE key = 'closed_at'")
    execute(path, "UPDATE ledger SET value = '0' WHERE key = 'clean'")
    report = verify(settings)
    assert (report.ok, report.head) == (True, before)
    assert verify(settings, witness=head).first_bad == 7


def test_a_tail_cut_within_a_unit_is_named(path: Path) -> None:
    written(Settings(path=path))
    execute(path, "DELETE FROM stored_events WHERE rowid > 7")
    assert verify(Settings(path=path)).first_bad == 8
    with pytest.raises(LedgerCorrupt, match="position 8"):
        open_ledger(Settings(path=path))


def test_replay_stops_at_what_was_changed(path: Path) -> None:
    written(Settings(path=path))
    execute(path, "UPDATE stored_events SET state = CAST(replace(state, 'job-1', 'job-7') AS BLOB) WHERE rowid = 4")
    ledger = open_ledger(Settings(path=path))
    seen = []
    with pytest.raises(LedgerCorrupt, match="position 3"):
        seen.extend(ledger.replay())
    with pytest.raises(LedgerCorrupt, match="position 3"):
        ledger.submit([("agent@site", EVENTS[1]("x"))], 0.0)
    ledger.close()


async def test_a_reader_sees_a_running_ledger(settings: Settings) -> None:
    ledger = open_ledger(settings)
    await fill(ledger, 3)
    with open_reader(settings, EVENTS) as reader:
        assert reader.verify(ledger.head).ok
        await fill(ledger, 2, 3)
        assert reader.verify(ledger.head).units == 5
        assert [r.position for r in reader.records(stream="agent@site", first=3, last=8)] == [4, 6, 8]
        assert [r.unit for r in reader.records(since=1002.0, until=1004.0)] == [3, 3, 4, 4]
        stats = reader.stats()
        assert (stats.events, stats.streams, stats.subjects, stats.clean, stats.owner) == (10, 2, 1, False, "tests")
        assert stats.bytes > 1000
    ledger.close()


def test_there_must_be_a_ledger_to_read(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger"):
        open_reader(Settings(path=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_event_stops_with_its_name(settings: Settings) -> None:
    written(settings)
    ledger = open_ledger(settings, EVENTS[:1])
    with pytest.raises(UnknownEvent, match="position 2 holds the event Finished of level 1"):
        list(ledger.replay())
    ledger.close()
    with open_reader(settings) as reader:
        shown = [r.event for r in reader.records(last=2)]
        assert shown[0].fields["instruction"] == "add_user alice.demo.brics"  # type: ignore[attr-defined]
        assert (shown[1].topic, shown[1].fields) == ("Finished", {"job": "job-0"})  # type: ignore[attr-defined]


def test_an_event_class_must_be_fit_to_be_stored(tmp_path: Path) -> None:
    class Nameless(Event, frozen=True):
        pass

    class Zero(Event, frozen=True):
        TOPIC = "Zero"
        LEVEL = 0

    class Ownerless(Event, frozen=True):
        TOPIC = "Ownerless"
        PRIVATE = ("name",)
        name: str | None = None

    class Twin(Event, frozen=True):
        TOPIC = "Finished"

    for bad in ([Nameless], [Zero], [Ownerless], [*EVENTS, Twin]):
        with pytest.raises(LedgerError):
            open_ledger(Settings(path=tmp_path), bad)


async def test_a_few_events_are_found_without_reading_the_rest(settings: Settings) -> None:
    ledger = open_ledger(settings)
    await fill(ledger, 30)
    ledger.submit([("x", Received("job-77", 1, 'an "instruction":"job-5"', '"job":"job-6"', "bob.demo.brics"))], 1.0)
    await ledger.drain()
    ledger.close()
    with open_reader(settings, EVENTS) as reader:
        everything = list(reader.records())
        assert list(reader.records_with("job", ["job-5", "job-6"])) == [
            one for one in everything if one.event.job.startswith(("job-5", "job-6"))
        ]
        assert [one.event.job for one in reader.records_with("job", {"job-77"})] == ["job-77"]
        assert list(reader.records_with("job", ["nobody"])) == []
        pairs = reader.pairs(Received, "job", "job", 5)
        assert sorted(pairs)[:2] == [("job-0", "job-0"), ("job-1", "job-1")]
        assert len(pairs) == 31
        assert reader.members_of("bob.demo.brics", "job", 6) == {"job-77"}
        assert len(reader.members_of(ALICE, "job", 6)) == 30
        assert reader.members_of("nobody.demo.brics", "job", 6) == set()
