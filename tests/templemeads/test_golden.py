"""The ledgers of every version that was ever tagged are read as they were then, and an agent goes on with them.

And back: what this version writes into them before the upgrade is finalised is read by the version that made them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from simulation import Simulation

from openportal.templemeads.events import EVENTS, AgentStarted
from openportal.templemeads.ledger import Event, Ledger, Settings, open_reader
from openportal.templemeads.state import AgentState, StateImage
from tests.templemeads.make_golden import FOLDER, NAME, UNITS, known, told

SEED = 7
GOLDEN = sorted(FOLDER.glob("*.sqlite"), key=lambda path: [int(part) for part in path.stem.split(".")])


@pytest.mark.parametrize("file", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_ledger_reads_as_it_did(file: Path) -> None:
    expected = json.loads(file.with_suffix(".json").read_text())
    found = msgspec.json.decode(msgspec.json.encode(told(file)))
    assert found["verify"] == expected["verify"]
    assert found["events"] == expected["events"]
    for name, value in expected["state"].items():  # what later versions tell beyond that is theirs
        assert found["state"][name] == value, name


@pytest.mark.parametrize("file", GOLDEN, ids=lambda path: path.stem)
async def test_an_agent_goes_on_with_a_golden_ledger(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir()
    shutil.copy(file, folder / "ledger.sqlite")
    ledger = Ledger.open(Settings(path=folder), EVENTS)
    state = AgentState(NAME, [])
    checkpoint = ledger.checkpoint()
    assert checkpoint is not None
    state.restore(msgspec.json.decode(checkpoint, type=StateImage))
    for recorded in ledger.replay():
        state.apply(recorded.stream, recorded.event, recorded.at)
    assert state.offerings
    ledger.submit([("agent", AgentStarted("0.94.0", 1))], 1.0, lambda: None)
    await ledger.drain()
    ledger.close()
    with open_reader(Settings(path=folder), EVENTS) as reader:
        assert reader.verify().ok


def events_of(file: Path) -> list[type[Event]]:
    """The events as the version of a golden ledger knows them, which takes no field that it does not know."""
    about: dict[str, Any] = json.loads(file.with_suffix(".known.json").read_text())
    return [
        msgspec.defstruct(
            topic,
            [
                (field, str | None if field in (*event["private"], "subject") else Any, None)
                for field in event["fields"]
            ],
            bases=(Event,),
            namespace={"TOPIC": topic, "LEVEL": event["level"], "PRIVATE": tuple(event["private"])},
            frozen=True,
            forbid_unknown_fields=True,
        )
        for topic, event in about.items()
    ]


async def test_the_version_before_reads_what_this_one_writes(tmp_path: Path) -> None:
    """The logs of a whole facility under faults, by each tagged version before the upgrade from it is finalised."""
    simulation = Simulation(SEED)
    simulation.run()
    for file in GOLDEN:
        for node in simulation.world.nodes.values():
            folder = tmp_path / file.stem / node.name
            folder.mkdir(parents=True)
            shutil.copy(file, folder / "ledger.sqlite")
            ledger = Ledger.open(Settings(path=folder), EVENTS)
            before = ledger.position
            for stream, event, at in node.log:
                ledger.submit([(stream, event)], at)
            await ledger.drain()
            ledger.close()
            older = Ledger.open(Settings(path=folder), events_of(file))
            assert older.position == before + len(node.log) > before
            assert [one.position for one in older.replay()][-1] == older.position
            older.close()


def test_the_newest_golden_ledger_tells_what_this_version_knows() -> None:
    hint = "an event is new or has changed: make a golden ledger of this version (tests/templemeads/make_golden.py)"
    assert json.loads(GOLDEN[-1].with_suffix(".known.json").read_text()) == json.loads(json.dumps(known())), hint


def test_the_newest_golden_ledger_holds_every_event_at_its_level_with_every_field() -> None:
    events = json.loads(GOLDEN[-1].with_suffix(".json").read_text())["events"]
    found: dict[tuple[str, int], set[str]] = {}
    for event in events:
        found.setdefault((event["event"], event["level"]), set()).update(event["fields"])
    hint = "an event is new or has changed: make a golden ledger of this version (tests/templemeads/make_golden.py)"
    assert set(found) == {(event.TOPIC, event.LEVEL) for event in EVENTS}, hint
    written = {type(event) for unit in UNITS for _, event in unit}
    assert written == set(EVENTS)


def test_somebody_is_erased_in_it() -> None:
    text = GOLDEN[-1].with_suffix(".json").read_text()
    assert "eve.demo.brics" not in text
    assert "(erased)" in text
    assert "alice.demo.brics" in text
