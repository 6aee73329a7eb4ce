"""Erasure, checkpoints, segments, generations and levels."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import ALICE, EVENTS, Received, execute, fill, open_ledger, unit

from openportal.errors import LedgerCorrupt, LedgerError, UnknownEvent
from openportal.templemeads.ledger import ERASED, Event, Ledger, Recorded, Segment, Settings, open_reader
from openportal.templemeads.ledger.subjects import Subjects


def on_disk(settings: Settings) -> bytes:
    assert settings.path is not None
    return b"".join(file.read_bytes() for file in settings.path.glob("ledger.sqlite*"))


def received(records: Iterable[Recorded]) -> list[Received]:
    return [r.event for r in records if isinstance(r.event, Received)]


async def test_erasing_a_person_leaves_the_chain_whole(settings: Settings) -> None:
    ledger = open_ledger(settings)
    await fill(ledger, 3)
    other = Received("k", 9, "add_user bob", "a note", "bob.demo.brics")
    ledger.submit([("portal@brics", other)], 0.0)
    with pytest.raises(LedgerError, match="drain"):
        ledger.erase_subject(ALICE)
    await ledger.drain()
    ledger.save_checkpoint(b"state with alice")
    assert ledger.erase_subject(ALICE)
    assert not ledger.erase_subject(ALICE)
    assert not ledger.erase_subject("nobody.demo.brics")
    again = Received("l", 10, "add_user alice again", None, ALICE)
    ledger.submit([("portal@brics", again)], 0.0)
    await ledger.drain()
    ledger.close()
    ledger = open_ledger(settings)
    assert ledger.checkpoint() is None
    events = received(ledger.replay())
    assert events[:3] == [Received(f"job-{n}", n, ERASED, ERASED, ERASED) for n in range(3)]
    assert events[3:] == [other, again]
    ledger.close()
    with open_reader(settings, EVENTS) as reader:
        assert reader.verify().ok
        assert (reader.stats().subjects, reader.stats().erased) == (2, 1)


async def test_nothing_personal_is_on_disk_in_clear(sqlite_settings: Settings) -> None:
    ledger = open_ledger(sqlite_settings)
    await fill(ledger, 50)
    ledger.save_checkpoint(b"checkpoint of alice")
    key = ledger._backend.query("SELECT key FROM subjects WHERE name = ?", (ALICE,))[0][0]
    disk = on_disk(sqlite_settings)
    assert b"add_user" not in disk and b"checkpoint of" not in disk
    assert ALICE.encode() in disk and key in disk, "the table of subjects holds both, until they are erased"
    assert ledger.erase_subject(ALICE)
    disk = on_disk(sqlite_settings)
    assert ALICE.encode() not in disk and key not in disk
    ledger.close()


def test_the_cache_of_keys_is_bounded(tmp_path: Path) -> None:
    ledger = open_ledger(Settings(path=tmp_path))
    ledger._subjects = Subjects(ledger._backend, 1, limit=3)
    ledger._decoder._subjects = ledger._subjects

    async def write() -> None:
        for turn in range(2):
            for number in range(10):
                subject = f"u{number}.demo.brics"
                ledger.submit([("a@b", Received(str(turn), number, f"add_user {subject}", None, subject))], 0.0)
                if number % 4 == 0:
                    await ledger.drain()

    asyncio.run(write())
    assert len(ledger._subjects._by_name) == 3
    ledger.close()
    assert execute(tmp_path, "SELECT COUNT(*) FROM subjects WHERE number > 0") == [(10,)]
    ledger = open_ledger(Settings(path=tmp_path))
    assert {(e.instruction, e.subject) for e in received(ledger.replay())} == {
        (f"add_user u{n}.demo.brics", f"u{n}.demo.brics") for n in range(10)
    }
    ledger.close()


async def test_a_checkpoint_shortens_the_replay(settings: Settings) -> None:
    ledger = open_ledger(replace(settings, checkpoint_every=6))
    assert ledger.checkpoint() is None
    await fill(ledger, 2)
    assert not ledger.checkpoint_due
    await fill(ledger, 1, 2)
    assert ledger.checkpoint_due
    ledger.save_checkpoint(b"after three")
    ledger.save_checkpoint(b"after three, again")
    assert not ledger.checkpoint_due
    await fill(ledger, 2, 3)
    ledger.submit(unit(9), 0.0)
    with pytest.raises(LedgerError, match="drain"):
        ledger.save_checkpoint(b"too early")
    await ledger.drain()
    head = ledger.head
    ledger.close()
    ledger = open_ledger(settings)
    assert ledger.checkpoint() == b"after three, again"
    assert [r.position for r in ledger.replay()] == [7, 8, 9, 10, 11, 12]
    assert ledger.head == head
    ledger.save_checkpoint(b"after six")
    await fill(ledger, 1, 6)
    ledger.save_checkpoint(b"after seven")
    ledger.close()
    ledger = open_ledger(settings)
    assert (ledger.checkpoint(), list(ledger.replay())) == (b"after seven", [])
    assert ledger._backend.query("SELECT position FROM checkpoints ORDER BY position") == [(12,), (14,)]
    await fill(ledger, 1, 7)
    ledger.close()
    with open_reader(settings) as reader:
        assert reader.verify().ok


async def test_a_broken_checkpoint_falls_back_to_the_one_before(sqlite_settings: Settings) -> None:
    ledger = open_ledger(sqlite_settings)
    for number in range(2):
        await fill(ledger, 1, number)
        ledger.save_checkpoint(b"state %d" % number)
    ledger.close()
    assert sqlite_settings.path is not None
    execute(sqlite_settings.path, "UPDATE checkpoints SET state = zeroblob(60) WHERE position = 4")
    ledger = open_ledger(sqlite_settings)
    assert ledger.checkpoint() == b"state 0"
    assert [r.position for r in ledger.replay()] == [3, 4]
    ledger.close()
    execute(sqlite_settings.path, "DELETE FROM stored_events WHERE rowid > 2")
    execute(sqlite_settings.path, "UPDATE ledger SET value = '0' WHERE key = 'clean'")
    with pytest.raises(LedgerCorrupt, match="cut"):
        open_ledger(sqlite_settings)


async def test_segments_are_sealed_by_the_checkpoint_past_them(settings: Settings) -> None:
    settings = replace(settings, segment_events=5)
    ledger = open_ledger(settings)
    await fill(ledger, 4)
    ledger.close()
    ledger = open_ledger(settings)
    list(ledger.replay())
    await fill(ledger, 3, 4)
    ledger.save_checkpoint(b"a")
    await fill(ledger, 3, 7)
    ledger.save_checkpoint(b"b")
    ledger.close()
    with open_reader(settings) as reader:
        segments = reader.segments()
        assert [(s.number, s.first, s.last) for s in segments] == [(1, 1, 6), (2, 7, 12), (3, 13, 18)]
        assert all(a.digest_after == b.digest_before for a, b in pairwise(segments))
        assert reader.verify().ok
        assert isinstance(segments[0], Segment)


async def test_the_first_checkpoint_past_each_segment_is_kept(settings: Settings) -> None:
    ledger = open_ledger(replace(settings, segment_events=5))
    for number in range(8):  # two events each, so a segment ends with every third
        await fill(ledger, 1, number)
        ledger.save_checkpoint(b"state %d" % number, at=float(number))
    ledger.close()
    with open_reader(settings) as reader:
        assert [segment.last for segment in reader.segments()] == [6, 12]
        assert [reader.checkpoint(before=at) for at in (2.5, 4.5, 5.5, 6.5, 7.5)] == [
            (6, b"state 2"),
            (6, b"state 2"),
            (12, b"state 5"),
            (14, b"state 6"),
            (16, b"state 7"),
        ]
        assert reader.checkpoint(before=1.5) is None
        assert reader.verify().ok


async def test_a_restore_raises_the_generation(settings: Settings) -> None:
    ledger = open_ledger(settings)
    assert ledger.raise_generation() == 2
    identity = ledger.ledger_id
    ledger.close()
    ledger = open_ledger(settings)
    assert (ledger.generation, ledger.ledger_id) == (2, identity)
    ledger.close()


def test_a_writer_that_did_not_close_is_not_clean(sqlite_settings: Settings) -> None:
    ledger = open_ledger(sqlite_settings)
    ledger._backend.close()
    ledger._commits.settle()
    ledger = open_ledger(sqlite_settings)
    assert not ledger.clean
    ledger.close()


class ChangedV1(Event, frozen=True):
    TOPIC = "Changed"
    PRIVATE = ("who",)
    name: str
    who: str | None = None
    subject: str | None = None


class Changed(Event, frozen=True):
    """Level 2 calls `name` `title` and adds `count`."""

    TOPIC = "Changed"
    LEVEL = 2
    PRIVATE = ("who",)
    title: str
    count: int = 1
    who: str | None = None
    subject: str | None = None

    @classmethod
    def upgrade(cls, level: int, fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "title": fields.pop("name")}

    @classmethod
    def downgrade(cls, level: int, fields: dict[str, Any]) -> dict[str, Any]:
        return {"name": fields["title"], "who": fields.get("who"), "subject": fields.get("subject")}


async def write(settings: Settings, events: list[type[Event]], event: Event, finalise: bool = False) -> list[Event]:
    """Open, replay, perhaps finalise, write one event."""
    ledger = Ledger.open(settings, events)
    found = [recorded.event for recorded in ledger.replay()]
    if finalise:
        ledger.finalise()
    ledger.submit([("a@b", event)], 0.0)
    await ledger.drain()
    ledger.close()
    return found


async def test_the_old_level_is_written_until_an_upgrade_is_finalised(settings: Settings) -> None:
    clear, sealed = ChangedV1("one", "alice"), ChangedV1("two", "alice", ALICE)
    await write(settings, [ChangedV1], clear)
    await write(settings, [ChangedV1], sealed)
    assert await write(settings, [Changed, *EVENTS], Changed("three", 7, "x", ALICE)) == [
        Changed("one", 1, "alice"),
        Changed("two", 1, "alice", ALICE),
    ]
    back = await write(settings, [ChangedV1], ChangedV1("four"))
    assert back == [clear, sealed, ChangedV1("three", "x", ALICE)]
    again = await write(settings, [Changed], Changed("five", 7, "y", ALICE), finalise=True)
    assert again[2] == Changed("three", 1, "x", ALICE)
    with pytest.raises(UnknownEvent, match="level 2 of event Changed"):
        Ledger.open(settings, [ChangedV1])
    ledger = Ledger.open(settings, [Changed, *EVENTS])
    assert ledger.write_levels == {"Changed": 2, "Received": 0, "Finished": 0}
    assert [r.event for r in ledger.replay()][-1] == Changed("five", 7, "y", ALICE)
    assert ledger.erase_subject(ALICE)
    ledger.close()
    with open_reader(settings, [Changed]) as reader:
        assert [r.event for r in reader.records()][1] == Changed("two", 1, ERASED, ERASED)
        assert reader.verify().ok


async def test_a_new_kind_of_event_waits_for_the_upgrade_to_be_finalised(settings: Settings) -> None:
    await write(settings, [ChangedV1], ChangedV1("one"))
    ledger = Ledger.open(settings, [Changed, *EVENTS])
    assert ledger.unfinalised == {"Changed": (1, 2), "Received": (0, 1), "Finished": (0, 1)}
    with pytest.raises(UnknownEvent, match="Received came with an upgrade that is not finalised"):
        ledger.submit([("a@b", Changed("two", 7)), ("a@b", Received("job"))], 0.0)
    ledger.submit([("a@b", Changed("three", 7))], 0.0)
    await ledger.drain()
    ledger.close()
    assert await write(settings, [ChangedV1], ChangedV1("four")) == [ChangedV1("one"), ChangedV1("three")]
    await write(settings, [Changed, *EVENTS], Received("job"), finalise=True)
    ledger = Ledger.open(settings, [Changed, *EVENTS])
    assert ledger.unfinalised == {}
    ledger.close()


def test_a_higher_level_in_the_log_is_named(tmp_path: Path) -> None:
    asyncio.run(write(Settings(path=tmp_path), [Changed], Changed("one", 7)))
    execute(tmp_path, "UPDATE ledger SET value = '{}' WHERE key = 'levels'")
    ledger = Ledger.open(Settings(path=tmp_path), [ChangedV1])
    with pytest.raises(UnknownEvent, match="Changed of level 2"):
        list(ledger.replay())
    ledger.close()


def test_an_event_without_hooks_cannot_change_level() -> None:
    with pytest.raises(UnknownEvent, match="no upgrade"):
        Received.upgrade(0, {})
    with pytest.raises(UnknownEvent, match="no downgrade"):
        Received.downgrade(0, {})
