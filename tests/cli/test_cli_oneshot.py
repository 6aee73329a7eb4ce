"""`run --one-shot` inside one process: what is printed, what is refused, and where it is recorded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from openportal.cli import oneshot
from openportal.cli.oneshot import run_once
from openportal.errors import JobError, LedgerLocked
from openportal.paddington import config
from openportal.paddington.config import AgentConfig
from openportal.templemeads.events import EVENTS, Received
from openportal.templemeads.ledger import Ledger, Settings, open_reader

PROJECT = "demo.brics:brics.demo"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Standard output is for results."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.fixture
def accounts(tmp_path: Path) -> AgentConfig:
    text = f'agent = "Account"\n[extras]\nsandbox = "{tmp_path}/sandbox"\n'
    text += '[service]\nname = "accounts"\nurl = "ws://localhost:1"\nip = "127.0.0.1"\nport = 1\n'
    return config.parse(text, tmp_path / "accounts.toml")


async def run(accounts: AgentConfig, *instructions: str) -> None:
    await run_once(accounts, "op-localaccount", list(instructions), "oneshot", "one-shot")


def received(ledger: Path) -> list[tuple[str, str | None]]:
    with open_reader(Settings(path=ledger), EVENTS) as reader:
        return [(each.stream, each.event.command) for each in reader.records() if isinstance(each.event, Received)]


async def test_results_are_json(accounts: AgentConfig, capsys: pytest.CaptureFixture[str]) -> None:
    await run(accounts, "add_project demo.brics", "get_projects brics", "is_protected_user alice.demo.brics")
    assert capsys.readouterr().out == f'"{PROJECT}"\n[\n  "{PROJECT}"\n]\nfalse\n'


async def test_it_is_recorded_as_from_a_neighbour(accounts: AgentConfig) -> None:
    await run(accounts, "get_projects brics")
    path = accounts.ledger.path
    assert path is not None
    assert received(path) == [("board:oneshot@one-shot", "oneshot.accounts get_projects brics")]


@pytest.mark.parametrize(
    ("instruction", "kind"),
    [
        ("dance", "invalid"),
        ("add_user alice", "invalid"),
        ("get_storage_report demo.brics", "unsupported"),
        ("get_user_mapping nobody.demo.brics", "run"),
    ],
)
async def test_the_first_failure_ends_it(
    accounts: AgentConfig, capsys: pytest.CaptureFixture[str], instruction: str, kind: str
) -> None:
    with pytest.raises(JobError) as failed:
        await run(accounts, instruction, "get_projects brics")
    assert failed.value.wire_kind == kind
    assert capsys.readouterr().out == ""
    await run(accounts, "get_projects brics")  # the ledger is free again
    assert json.loads(capsys.readouterr().out) == []


async def test_a_job_without_an_end_is_a_failure(accounts: AgentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_end(self: Any, peer: str, id: str, wait_seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(oneshot.Agent, "finished", no_end)
    with pytest.raises(JobError, match="did not finish in time") as failed:
        await run(accounts, "get_projects brics")
    assert failed.value.wire_kind == "expired"


async def test_beside_the_agent_it_has_a_ledger_of_its_own(
    accounts: AgentConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    path = accounts.ledger.path
    assert path is not None
    agent = Ledger.open(Settings(path=path), EVENTS)
    try:
        await run(accounts, "get_projects brics")
        aside = path.with_name(path.name + ".one-shot")
        assert len(received(aside)) == 1 and received(path) == []
        other = Ledger.open(Settings(path=aside), EVENTS)
        with pytest.raises(LedgerLocked):
            await run(accounts, "get_projects brics")
        other.close()
    finally:
        agent.close()
    assert json.loads(capsys.readouterr().out) == []
