"""What an operator's command changes is in the agent's ledger: the intent before the call, its outcome after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.errors import CommitFailed, JobError, LedgerError
from openportal.templemeads.events import AGENT_STREAM, EVENTS, Intended, Observed, Operated
from openportal.templemeads.ledger import Event, Ledger, Settings, open_reader
from openportal.templemeads.operation import SENDER, Operation
from openportal.templemeads.state import AgentState

BOB, CLIMATE = "bob.climate.brics", "climate.brics"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(Settings(path=tmp_path), EVENTS)
    yield opened
    opened.close()


def on_disk(folder: Path) -> list[Event]:
    with open_reader(Settings(path=folder), EVENTS) as reader:
        found = list(reader.records())
    assert {recorded.stream for recorded in found} == {AGENT_STREAM}
    return [recorded.event for recorded in found]


async def test_the_intent_is_on_the_disk_before_the_call(ledger: Ledger, tmp_path: Path) -> None:
    lines: list[str] = []
    operation = Operation(ledger, "adopt", "alice (uid 0)", lines.append)
    seen: list[Event] = []

    async def call() -> str:
        seen.extend(on_disk(tmp_path))
        return "answer"

    assert await operation.about(BOB).effect("adopt user", "bob.climate", call) == "answer"
    begun, intended = Operated(operation.id, "adopt", "alice (uid 0)"), (operation.id, 1, "adopt user", BOB)
    assert seen == [begun, Intended(*intended, "bob.climate")]
    await operation.committed()
    assert on_disk(tmp_path)[2:] == [Observed(operation.id, 1, True, BOB)]
    assert lines == ["adopt user: bob.climate …", "adopt user: bob.climate: done"]


async def test_a_call_that_fails_is_told_and_recorded(ledger: Ledger, tmp_path: Path) -> None:
    lines: list[str] = []
    operation = Operation(ledger, "adopt", "alice", lines.append)

    async def call() -> None:
        raise JobError("FreeIPA says no")

    with pytest.raises(JobError, match="says no"):
        await operation.about(CLIMATE).effect("adopt group", "brics.climate", call)
    await operation.committed()
    *_, observed = on_disk(tmp_path)
    assert observed == Observed(operation.id, 1, False, f"job:{operation.id}", "FreeIPA says no")
    assert lines[-1] == "adopt group: brics.climate: FAILED: FreeIPA says no"


async def test_no_call_is_made_whose_intent_cannot_be_stored(ledger: Ledger) -> None:
    run = Operation(ledger, "adopt", "alice", lambda line: None).about(BOB)
    ledger.fail(LedgerError("the disk is gone"))

    async def call() -> None:
        raise AssertionError("called")

    with pytest.raises(CommitFailed):
        await run.effect("adopt user", "bob.climate", call)


async def test_an_erased_person_is_named_no_more(ledger: Ledger, tmp_path: Path) -> None:
    operation = Operation(ledger, "adopt", "alice", lambda line: None)

    async def call() -> None:
        pass

    await operation.about(BOB).effect("adopt user", "bob.climate", call)
    await operation.committed()
    assert "bob" in str(on_disk(tmp_path)[1])
    ledger.erase_subject(BOB, lambda state: state)
    assert getattr(on_disk(tmp_path)[1], "target", "") != "bob.climate"


async def test_the_agent_is_as_it_was(ledger: Ledger, tmp_path: Path) -> None:
    """What the events leave behind when the agent reads its log again: nothing to take up, nothing to undo."""
    operation = Operation(ledger, "adopt", "alice", lambda line: None)

    async def call() -> None:
        pass

    await operation.about(BOB).effect("adopt user", "bob.climate", call)
    await operation.committed()
    state = AgentState("acct", [])
    before = state.image()
    for event in on_disk(tmp_path):
        state.apply(AGENT_STREAM, event, 0.0)
    assert state.image() == before


async def test_nobody_else_can_be_asked(ledger: Ledger) -> None:
    lines: list[str] = []
    run = Operation(ledger, "adopt", "alice", lines.append).about(BOB)
    run.progress("half of it")
    with pytest.raises(JobError, match="nobody can be asked"):
        await run.ask("step", "Filesystem", "is_existing_user bob.climate.brics")
    assert lines == ["half of it"]
    assert run.sender == SENDER
