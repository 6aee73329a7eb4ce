"""From an agent's file to a running agent, and what becomes of one whose ledger fails."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openportal.agents.instance import InstanceRole
from openportal.agents.portal import PortalRole
from openportal.agents.roles import LeafRole, RelayRole
from openportal.bridge.agent import BridgeRole
from openportal.cli import compose
from openportal.cli.compose import Ending, build_agent, ledger_settings, schema_name, serve, serve_once
from openportal.errors import ConfigError, LedgerCorrupt, LedgerError, LedgerLocked
from openportal.paddington import config
from openportal.paddington.config import AgentConfig, LedgerSection
from openportal.templemeads.agent import Agent
from openportal.templemeads.events import EVENTS, AgentStarted
from openportal.templemeads.ledger import Ledger, Settings, open_reader

WAIT_SECONDS = 10.0
SECRET = "ab" * 32
BRIDGE = f'[bridge]\nurl = "http://localhost:1"\nip = "127.0.0.1"\nport = 1\n[bridge.key]\ndata = "{SECRET}"\n'
CLIENT = f"""
[[service.clients]]
name = "bridge"
zone = "default"
ip = "127.0.0.1"
inner_key = "{SECRET}"
outer_key = "{SECRET}"
type = "Bridge"
"""


def settings(folder: Path, agent: str = "Account", name: str = "accounts", more: str = "") -> AgentConfig:
    """An agent's file; an account agent has a sandbox."""
    text = f'agent = "{agent}"\n[extras]\nsandbox = "{folder}/sandbox"\n'
    text += f'[service]\nname = "{name}"\nurl = "ws://localhost:1"\nip = "127.0.0.1"\nport = 1\n{more}'
    return config.parse(text, folder / f"{name}.toml")


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> list[Agent]:
    """Every agent that is built, in order."""
    built: list[Agent] = []

    def building(*given: Any) -> Agent:
        built.append(build_agent(*given))
        return built[-1]

    monkeypatch.setattr(compose, "build_agent", building)
    monkeypatch.setattr(compose, "RELOAD_PAUSE_SECONDS", 0.0)
    return built


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not what():  # noqa: ASYNC110  # what is waited for is anything
            await asyncio.sleep(0.005)


def is_up(agent: Agent) -> bool:
    """Its start is on the disk, and its links are made."""
    return agent._ledger is not None and bool(agent._tasks) and not agent.ledger.failed


def break_disk(agent: Agent) -> None:
    def failing() -> None:
        raise OSError("no space left on the device")

    agent.ledger._backend.commit = failing  # type: ignore[method-assign]
    agent.core.offer(["cluster1.brics.allocator"], 0.0)
    agent.perform()


# --- the parts of an agent --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "role", "more"),
    [
        ("Portal", PortalRole, ""),
        ("Provider", RelayRole, ""),
        ("Platform", RelayRole, ""),
        ("Instance", InstanceRole, ""),
        ("Bridge", BridgeRole, BRIDGE),
        ("Account", LeafRole, ""),
        ("Scheduler", LeafRole, ""),
    ],
)
def test_every_kind_of_agent(tmp_path: Path, agent: str, role: type, more: str) -> None:
    built = build_agent(settings(tmp_path, agent, more=more), "op-x")
    assert isinstance(built.role, role)
    assert (built.name, built.role.agent_type) == ("accounts", agent)


async def test_an_agent_knows_its_neighbours_and_what_they_are(tmp_path: Path) -> None:
    built = build_agent(settings(tmp_path, "Portal", "brics", CLIENT), "op-portal")
    assert list(built.peers) == ["bridge@default"]
    assert built.declared == {"bridge@default": "Bridge"}


async def test_what_a_portal_offers_is_kept(tmp_path: Path) -> None:
    built = build_agent(settings(tmp_path, "Portal", "brics"), "op-portal")
    role = built.role
    assert isinstance(role, PortalRole)
    role._offer(["cluster1.brics.allocator"])
    assert role._offerings() == ["cluster1.brics.allocator"] == built.core.offerings


def test_where_the_events_are_kept(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert ledger_settings(found) == Settings(path=tmp_path / "accounts.ledger", owner="accounts")
    url = "postgresql://localhost/x"
    stored = ledger_settings(dataclasses.replace(found, ledger=LedgerSection(url=url, checkpoint_every=7)))
    assert (stored.path, stored.url, stored.schema, stored.checkpoint_every) == (None, url, "op_accounts", 7)
    assert schema_name("My-Portal.x") == "op_my_portal_x"


# --- one life ---------------------------------------------------------------------------------------------------------


async def test_an_agent_that_is_asked_to_stop(tmp_path: Path, agents: list[Agent]) -> None:
    stopping = asyncio.Event()
    serving = asyncio.ensure_future(serve(settings(tmp_path), "op-localaccount", stopping))
    await until(lambda: agents and is_up(agents[0]))
    stopping.set()
    assert await serving is Ending.STOPPED
    assert len(agents) == 1


async def test_an_agent_that_is_asked_to_end_for_a_restart(tmp_path: Path, agents: list[Agent]) -> None:
    serving = asyncio.ensure_future(serve(settings(tmp_path), "op-localaccount", asyncio.Event()))
    await until(lambda: agents and is_up(agents[0]))
    control: Any = agents[0].control
    await control.restart("hard", "")
    assert await serving is Ending.RESTART
    assert len(agents) == 1


class Beside:
    """A part that keeps what happens to it."""

    def __init__(self, name: str, seen: list[str], fails: str = "") -> None:
        self.name, self.seen, self.fails = name, seen, fails

    async def start(self) -> None:
        self.seen.append(f"start {self.name}")
        if self.fails == "start":
            raise ConfigError("the port is taken")

    async def stop(self) -> None:
        self.seen.append(f"stop {self.name}")
        if self.fails == "stop":
            raise OSError("it will not stop")


@pytest.mark.parametrize(("fails", "error"), [("start", ConfigError), ("stop", OSError), ("", None)])
async def test_what_was_started_is_stopped(
    tmp_path: Path, agents: list[Agent], monkeypatch: pytest.MonkeyPatch, fails: str, error: type[Exception] | None
) -> None:
    seen: list[str] = []
    parts = [Beside("one", seen), Beside("two", seen, fails)]
    monkeypatch.setattr(compose, "parts_of", lambda *given: parts)
    stopping = asyncio.Event()
    stopping.set()
    if error is None:
        assert await serve_once(settings(tmp_path), "op-localaccount", stopping) is Ending.STOPPED
    else:
        with pytest.raises(error):
            await serve_once(settings(tmp_path), "op-localaccount", stopping)
    assert seen == ["start one", "start two", "stop two", "stop one"]
    Ledger.open(ledger_settings(settings(tmp_path)), EVENTS).close()  # nobody has it


async def test_a_start_without_links_leaves_no_ledger_open(tmp_path: Path, agents: list[Agent]) -> None:
    found = settings(tmp_path, "Portal", "brics", CLIENT)
    found = dataclasses.replace(found, service=dataclasses.replace(found.service, ip="192.0.2.1"))
    with pytest.raises(ConfigError, match="cannot listen on"):
        await serve_once(found, "op-portal", asyncio.Event())
    Ledger.open(ledger_settings(found), EVENTS).close()


# --- a ledger that fails ----------------------------------------------------------------------------------------------


async def test_an_agent_whose_ledger_fails_starts_again_from_the_disk(tmp_path: Path, agents: list[Agent]) -> None:
    stopping = asyncio.Event()
    found = settings(tmp_path)
    serving = asyncio.ensure_future(serve(found, "op-localaccount", stopping))
    await until(lambda: agents and is_up(agents[0]))
    break_disk(agents[0])
    await until(lambda: len(agents) == 2 and is_up(agents[1]))
    assert agents[1].core.offerings == []
    stopping.set()
    assert await serving is Ending.STOPPED
    with open_reader(ledger_settings(found), EVENTS) as reader:
        assert sum(isinstance(each.event, AgentStarted) for each in reader.records()) == 2


async def test_it_goes_on_trying_while_the_disk_is_not_back(
    tmp_path: Path, agents: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = asyncio.Event()
    serving = asyncio.ensure_future(serve(settings(tmp_path), "op-localaccount", stopping))
    await until(lambda: agents and is_up(agents[0]))
    opened = Ledger.open

    def failing(*given: Any) -> Ledger:
        if len(agents) < 4:
            raise LedgerError("the database of the ledger cannot be reached")
        return opened(*given)

    monkeypatch.setattr(Ledger, "open", failing)
    break_disk(agents[0])
    await until(lambda: len(agents) == 4 and is_up(agents[3]))
    stopping.set()
    assert await serving is Ending.STOPPED


@pytest.mark.parametrize("stops", [True, False])
async def test_a_log_that_is_not_as_it_was_written_ends_it(
    tmp_path: Path, agents: list[Agent], monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """Unless it was to stop anyway: then nothing is opened any more."""
    stopping = asyncio.Event()
    serving = asyncio.ensure_future(serve(settings(tmp_path), "op-localaccount", stopping))
    await until(lambda: agents and is_up(agents[0]))

    def corrupt(*given: Any) -> Ledger:
        raise LedgerCorrupt("position 3")

    monkeypatch.setattr(Ledger, "open", corrupt)
    break_disk(agents[0])
    if stops:
        stopping.set()
        assert await serving is Ending.STOPPED
        assert len(agents) == 1
    else:
        with pytest.raises(LedgerCorrupt):
            await serving


async def test_a_first_start_that_fails_is_told(tmp_path: Path, agents: list[Agent]) -> None:
    found = settings(tmp_path)
    other = Ledger.open(ledger_settings(found), EVENTS)
    with pytest.raises(LedgerLocked):
        await serve(found, "op-localaccount", asyncio.Event())
    other.close()
    assert len(agents) == 1
