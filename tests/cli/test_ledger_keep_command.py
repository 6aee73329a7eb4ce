"""Backup while running, restore, erase, archive and prune, on the ledgers of a facility that worked."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from openportal.cli import ledgers
from openportal.cli.facility import CHAIN, Facility
from openportal.cli.ledger_keep import COMMANDS
from openportal.cli.openportal import main
from openportal.templemeads.events import EVENTS, Received, board_stream
from openportal.templemeads.ledger import Ledger, Settings
from tests.processes.load import Load
from tests.processes.waiting import ended, result_of

ALICE, BOB = "alice.demo.brics", "bob.demo.brics"
ASKED = ("add_project demo.brics", f"add_user {ALICE}", f"add_user {BOB}", "get_users demo.brics")

pytestmark = pytest.mark.processes


def said(*words: object, code: int = 0) -> Result:
    """What the command says."""
    done = CliRunner().invoke(main, ["ledger", *(str(word) for word in words)])
    assert done.exit_code == code, done.output
    return done


async def asked(facility: Facility, *instructions: str) -> list[Any]:
    load = Load(facility.client_file)
    results = [result_of(await ended(load, f"{CHAIN} {instruction}")) for instruction in instructions]
    await load.close()
    return results


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    """A facility that did its work and stopped, with a backup of the account agent made while it ran."""
    with Facility(tmp_path_factory.mktemp("worked") / "facility") as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        assert ALICE in str(asyncio.run(asked(facility, *ASKED))[-1])
        said("backup", facility.config("acct"), facility.folder.parent / "acct.backup")
        facility.stop()
        yield facility


@pytest.fixture
def facility(worked: Facility, tmp_path: Path) -> Iterator[Facility]:
    """A copy of it, of which one may do as one likes."""
    copy = Facility(tmp_path / "facility", http_ports=worked.http_ports)
    shutil.copytree(worked.folder, copy.folder)
    for member in copy.members:
        file = copy.config(member.name)
        file.write_text(file.read_text().replace(str(worked.folder), str(copy.folder)))
    with copy:
        yield copy


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


# --- backup and restore -----------------------------------------------------------------------------------------------


def test_a_backup_is_one_file_that_reads_as_the_ledger_does(worked: Facility) -> None:
    file = worked.folder.parent / "acct.backup"
    assert file.stat().st_mode & 0o777 == 0o600
    assert said("verify", file).stdout.startswith("acct: OK: ")
    lines = said("show", file).stdout.splitlines()
    assert lines == said("show", worked.config("acct")).stdout.splitlines()[: len(lines)]
    assert any("create user users/demo.brics/alice" in line for line in lines)
    assert "exists: name a new file" in said("backup", worked.config("acct"), file, code=1).stderr
    assert "holds 8 ledgers" in said("backup", worked.folder, file, code=2).stderr


def test_a_restore_has_a_generation_above_all_before_it_and_moves_the_old_log_aside(
    worked: Facility, facility: Facility
) -> None:
    backup = worked.folder.parent / "acct.backup"
    config, folder = facility.config("acct"), facility.ledger("acct")
    before = said("show", config).stdout
    assert said("restore", config, backup).stdout.startswith("restored as generation 2; what was there is in ")
    assert said("verify", config).stdout.startswith("acct: OK: ")
    assert said("show", folder / "before-restore-1").stdout == before
    assert said("restore", config, backup).stdout.startswith("restored as generation 3; ")
    shutil.rmtree(folder)
    assert said("restore", config, backup).stdout == "restored as generation 2\n"
    assert "another ledger" in said("restore", facility.config("fs"), backup, code=1).stderr
    facility.start()
    facility.wait_ready()
    assert asyncio.run(asked(facility, f"add_user {ALICE}", "get_users demo.brics"))[1] == [
        f"{name}.demo.brics:{name}.demo:brics.demo" for name in ("alice", "bob")
    ]
    assert "stop that one first" in said("restore", config, backup, code=1).stderr
    [stats] = json.loads(said("stats", "--json", config).stdout)
    assert stats["generation"] == 2


def test_a_backup_that_was_changed_is_not_restored(worked: Facility, facility: Facility, tmp_path: Path) -> None:
    backup = tmp_path / "acct.backup"
    content = (worked.folder.parent / "acct.backup").read_bytes()
    backup.write_bytes(content.replace(b'"action":"create user"', b'"action":"delete all!"', 1))
    before = said("show", facility.config("acct")).stdout
    assert "does not verify: BAD at position" in said("restore", facility.config("acct"), backup, code=1).stderr
    assert said("show", facility.config("acct")).stdout == before


# --- erase ------------------------------------------------------------------------------------------------------------


def test_an_erased_person_is_nowhere_and_everything_else_is_as_it_was(facility: Facility) -> None:
    before = said("show", facility.folder).stdout
    done = said("erase", ALICE, facility.folder)
    assert len(done.stdout.splitlines()) == len(facility.members)
    assert "bridge: erased, with 1 answers that named it\n" in done.stdout
    for member in facility.members:
        folder = facility.ledger(member.name)
        assert ALICE.encode() not in on_disk(folder)
        assert said("verify", facility.config(member.name)).stdout.startswith(f"{member.name}: OK: ")
    after = said("show", facility.folder).stdout
    assert "alice" not in after
    assert after.count(BOB) == before.count(BOB) - before.count(f'["{ALICE}')
    facility.start()
    facility.wait_ready()
    assert "is written by" not in said("show", facility.folder).stderr
    refused = said("erase", BOB, facility.folder, code=1)
    assert "nothing was changed: stop " in refused.stderr
    assert BOB in said("show", facility.folder).stdout


async def test_whoever_is_named_where_nothing_is_sealed_for_them_is_told(facility: Facility) -> None:
    settings = Settings(path=facility.ledger("aip1"), owner="aip1")
    ledger = Ledger.open(settings, EVENTS)
    list(ledger.replay())
    for name in (ALICE, f"{ALICE}.x", f"m{ALICE}"):
        event = Received("job", 0, 9, 1, None, f"brics.aip1 frobnicate {name}")
        ledger.submit([(board_stream("brics@default"), event)], 1.0, lambda: None)
    await ledger.drain()
    position = ledger.position - 2
    ledger.close()
    done = said("erase", ALICE, facility.config("aip1"), code=1)
    assert f"; STILL NAMED at position {position}: see" in done.stdout


def test_a_backup_is_not_changed(worked: Facility) -> None:
    backup = worked.folder.parent / "acct.backup"
    assert "is a backup, which is not changed" in said("erase", ALICE, backup, code=1).stderr


# --- archive and prune ------------------------------------------------------------------------------------------------


async def grown(facility: Facility) -> Path:
    """The provider's ledger gets two sealed segments, and two checkpoints behind them; returns its agent's file."""
    config = facility.config("aip1")
    settings = Settings(path=facility.ledger("aip1"), owner="aip1", segment_events=20)
    ledger = Ledger.open(settings, EVENTS)
    with ledgers.opened(settings) as reader:
        state = ledgers.rebuilt("aip1", reader)
    list(ledger.replay())
    for number in range(40):
        at, event = float(number), Received(f"job{number}", 0, 9, 1, ALICE, f"brics.aip1 add_user {ALICE}")
        ledger.submit([(board_stream("brics@default"), event)], at, lambda: None)
        state.apply(board_stream("brics@default"), event, at)
        await ledger.drain()
        if number in (38, 39):
            ledger.save_checkpoint(msgspec.json.encode(state.image()))
    ledger.close()
    return config


async def test_what_is_pruned_is_read_from_the_archive(facility: Facility, tmp_path: Path) -> None:
    config = await grown(facility)
    assert said("prune", config).stdout == "aip1: nothing to prune\n"
    shown, stats = said("show", config).stdout, json.loads(said("stats", "--json", config).stdout)[0]
    assert stats["segments"] >= 2
    assert said("archive", config).stdout.count("segment-") == stats["segments"]
    assert said("archive", config).stdout == "aip1: nothing new to archive\n"
    assert said("prune", config).stdout.startswith("aip1: pruned up to position ")
    assert said("show", config).stdout == shown
    assert said("verify", config).stdout.startswith(f"aip1: OK: {stats['events']} events")
    facility.ledger("aip1").joinpath("archive").rename(tmp_path / "elsewhere")
    pruned = json.loads(said("stats", "--json", config).stdout)[0]["pruned"]
    assert len(said("show", config).stdout.splitlines()) == stats["events"] - pruned
    assert said("verify", config).stdout.startswith(f"aip1: OK: {stats['events']} events")


async def test_a_person_is_erased_from_a_pruned_log_and_it_goes_on(facility: Facility) -> None:
    config = await grown(facility)
    said("archive", config)
    said("prune", config)
    assert said("erase", ALICE, config).stdout == "aip1: erased, with 1 answers that named it\n"
    assert ALICE.encode() not in on_disk(facility.ledger("aip1"))
    assert ALICE not in said("show", config).stdout + said("replay", config).stdout
    assert "40 open" in said("replay", config).stdout
    facility.start()
    facility.wait_ready()
    assert await asked(facility, f"is_blocked_user {BOB}") == [False]


def test_commands() -> None:
    assert [command.name for command in COMMANDS] == ["backup", "restore", "archive", "prune", "erase", "finalise"]


def test_finalise(facility: Facility) -> None:
    acct, settings = facility.config("acct"), Settings(path=facility.ledger("acct"))
    assert said("finalise", acct).output == "acct: nothing to finalise\n"
    with sqlite3.connect(facility.ledger("acct") / "ledger.sqlite") as database:  # as if an older version had made it
        levels = {event.TOPIC: event.LEVEL for event in EVENTS if event is not Received}
        database.execute("UPDATE ledger SET value = ? WHERE key = 'levels'", (json.dumps(levels),))
    database.close()
    assert said("finalise", acct).output == "acct: Received at level 1\n"
    ledger = Ledger.open(settings, EVENTS)
    assert ledger.unfinalised == {}
    assert "nothing was changed: stop acct" in said("finalise", acct, code=1).stderr
    ledger.close()
