"""Makes the golden ledger of this version: `python -m tests.templemeads.make_golden 0.1.0`.

It writes tests/vectors/ledger/<version>.sqlite, a ledger with every event at its current level, a person who was
erased, a checkpoint and a sealed segment; <version>.json, what a reader must make of it for ever; and
<version>.known.json, which events that version knows, so that it can be told what it would read of later ones. Once a
version is tagged, its files are never made again: an event that changes needs a new level, and a new version new files.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from openportal.cli import ledgers, standing
from openportal.cli.ledger_read import exported
from openportal.templemeads.erasure import redacted
from openportal.templemeads.events import (
    AGENT_STREAM,
    EVENTS,
    Abandoned,
    Adopted,
    AgentStarted,
    AgentStopped,
    Ended,
    Intended,
    Joined,
    Late,
    Observed,
    OfferingsSet,
    Operated,
    PeerKnown,
    PeerLog,
    Quarantined,
    Received,
    Restored,
    Sent,
    Settled,
    Started,
    StepRefused,
    UndoPostponed,
    board_stream,
)
from openportal.templemeads.ledger import Event, Ledger, Settings, backup
from openportal.templemeads.state import AgentState

FOLDER = Path(__file__).parents[1] / "vectors" / "ledger"
NAME = "shared"
ABOVE, ACCT, AGENT = board_stream("clusters@default"), board_stream("acct@default"), AGENT_STREAM
ALICE, BOB, EVE = "alice.demo.brics", "bob.demo.brics", "eve.demo.brics"
BEGIN, NEVER = 1_780_000_000, 4_000_000_000
SEGMENT_EVENTS = 10


def received(id: str, user: str, **more: Any) -> Received:
    return Received(id, BEGIN, NEVER, 2, user, f"brics.aip1.clusters.shared add_user {user}", **more)


def sent(id: str, parent: str, step: str, user: str) -> Sent:
    return Sent(
        id, BEGIN, NEVER, 2, user, f"shared.acct add_user {user}", via="clusters@default", parent=parent, step=step
    )


UNITS: tuple[list[tuple[str, Event]], ...] = (
    [(AGENT, AgentStarted("0.94.0", 4711)), (AGENT, PeerKnown("acct@default", "Account"))],
    [(AGENT, Restored(2)), (AGENT, PeerLog("acct@default", "0b6a3a5e-5d3c-5c43-9a63-6f1c6a0c7d10", 1, 7, "ab" * 32))],
    [(AGENT, OfferingsSet(["brics.aip1", "brics.aip2"]))],
    [
        (ABOVE, received("job-alice", ALICE, extra='{"newer":1}', forwarded_for="brics", domain="greatwestern")),
        (ABOVE, Started("job-alice")),
        (ACCT, sent("step-1", "job-alice", "account.is_existing_user#1", ALICE)),
    ],
    [(ACCT, Ended("step-1", 1002, ALICE, "false", "bool"))],
    [(ACCT, sent("step-2", "job-alice", "account.add_user#1", ALICE))],
    [(ABOVE, received("job-eve", EVE)), (ACCT, sent("step-3", "job-eve", "account.add_user#1", EVE))],
    [(ACCT, sent("step-4", "job-eve", "account.add_user#2", EVE)), (ACCT, Joined("step-4", "step-3"))],
    [(ABOVE, Intended("job-eve", 1, "notify", EVE, "her portal"))],
    [(ABOVE, Observed("job-eve", 1, False, EVE, "nobody there"))],
    [(ABOVE, StepRefused("job-eve", "scheduler.add_user#1", "unavailable", "there is no scheduler"))],
    [(ABOVE, received("job-bob", BOB)), (ABOVE, Started("job-bob", 4)), (ABOVE, Quarantined("job-bob", 4))],
    [(ABOVE, Ended("job-bob", 1002, BOB, "it took us down", kind="run")), (ABOVE, Late("job-bob", 1003, True))],
    [(ABOVE, received("job-old", BOB))],
    [(ABOVE, Abandoned("job-old")), (ABOVE, Ended("job-old", 1002, BOB, kind="expired"))],
    [(ABOVE, received("job-new", BOB)), (ABOVE, Adopted("job-old", "job-new", "clusters@default"))],
    [(ABOVE, received("job-gone", BOB))],
    [(ABOVE, Abandoned("job-gone")), (ABOVE, Ended("job-gone", 1002, BOB, kind="expired"))],
    [(ABOVE, UndoPostponed("job-gone", ["account.remove_user#1"]))],
    [(ABOVE, Settled("job-gone", "undo failed", BOB, "no space"))],
    [(ABOVE, Operated("job-bob", "retry", "olga (uid 0)", "the disk is mended"))],
    [(ACCT, Ended("step-2", 1002, ALICE, size=20_000, sha256="cd" * 32))],
    [(ABOVE, Received("job-users", BEGIN, NEVER, 2, "demo.brics", "shared get_users demo.brics"))],
    [(ABOVE, Ended("job-users", 1002, "job:job-users", f'["{ALICE}","{BOB}"]', "Vec<UserIdentifier>"))],
    [(AGENT, AgentStopped("stopped"))],
)  # fmt: skip


async def write(folder: Path) -> None:
    """A ledger of these units; its checkpoint is in the middle, and one person is erased before that."""
    ledger = Ledger.open(Settings(path=folder, owner=NAME, segment_events=SEGMENT_EVENTS), EVENTS)
    list(ledger.replay())
    state = AgentState(NAME, [])
    for number, unit in enumerate(UNITS):
        at = BEGIN + number + 0.25
        ledger.submit(unit, at)
        await ledger.drain()
        for stream, event in unit:
            state.apply(stream, event, at)
        if number == len(UNITS) // 2:
            ledger.erase_subject(EVE)
            ledger.save_checkpoint(redacted(msgspec.json.encode(state.image()), EVE))
    ledger.close()


def known() -> dict[str, dict[str, Any]]:
    """Topic -> level, personal fields and all fields of every event that this version can read."""
    return {
        event.TOPIC: {"level": event.LEVEL, "private": event.PRIVATE, "fields": event.__struct_fields__}
        for event in EVENTS
    }


def told(file: Path) -> dict[str, Any]:
    """What a reader makes of a golden ledger."""
    with ledgers.opened(Settings(path=file)) as reader:
        report = reader.verify()
        return {
            "verify": msgspec.to_builtins(report),
            "events": [exported(recorded) for recorded in reader.records()],
            "state": standing.plain(ledgers.rebuilt(NAME, reader)),
        }


def main() -> None:
    version = sys.argv[1]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(write(Path(folder) / "ledger"))
        backup(Settings(path=Path(folder) / "ledger"), Path(folder) / "golden")
        shutil.copy(Path(folder) / "golden", FOLDER / f"{version}.sqlite")
    found = msgspec.json.decode(msgspec.json.encode(told(FOLDER / f"{version}.sqlite")))
    (FOLDER / f"{version}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (FOLDER / f"{version}.known.json").write_text(json.dumps(known(), indent=1) + "\n")


if __name__ == "__main__":
    main()
