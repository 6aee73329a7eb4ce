"""The one composition root: from an agent's file to a running agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from enum import Enum
from typing import Any, Protocol

import structlog

from openportal.agents.instance import InstanceRole
from openportal.agents.portal import PortalRole
from openportal.agents.roles import LeafRole, RelayRole
from openportal.cli.operator_part import OperatorPart
from openportal.errors import ConfigError, LedgerCorrupt, LedgerError, UnknownEvent
from openportal.grammar.instructions import Instruction
from openportal.paddington.config import AgentConfig
from openportal.paddington.exchange import Exchange
from openportal.paddington.keyring import Keyring
from openportal.paddington.peer import Links, Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.handlers import Handler, close_nothing
from openportal.templemeads.ledger import Settings
from openportal.templemeads.role import Role

RELOAD_PAUSE_SECONDS = 1.0
INSTANCE_WITH_SCHEDULER = "op-slurm"
"""The command that may run an instance with its scheduler in the same process."""

Handlers = Mapping[type[Instruction], Handler]
Connect = Callable[[Agent], Links]

log = structlog.get_logger("openportal.compose")


class NoLeaf(ConfigError):
    """This kind of agent has no leaf system of its own, and its file names no sandbox."""


class Part(Protocol):
    """Something beside the agent that starts after it and stops before it; `stop` also ends a start that failed."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def ledger_settings(config: AgentConfig) -> Settings:
    """Where the agent keeps its events."""
    section = config.ledger
    return Settings(
        path=None if section.url else section.path,
        url=section.url,
        commit=section.commit,
        checkpoint_every=section.checkpoint_every,
        owner=config.service.name,
        schema=schema_name(config.service.name) if section.url else "public",
    )


def schema_name(agent: str) -> str:
    """The PostgreSQL schema of an agent's ledger: several agents may share a database."""
    return "op_" + "".join(c if c.isalnum() else "_" for c in agent.lower())


def build_agent(
    config: AgentConfig, command: str, connect: Connect | None = None, inside: Sequence[Peer] = ()
) -> Agent:
    """The agent of a file, with real links unless `connect` makes others; `inside` are peers that no file names."""
    service = config.service
    neighbours = [Peer(client.name, client.zone) for client in service.clients]
    neighbours += [Peer(server.name, server.zone) for server in service.servers]
    neighbours += inside
    connect = connect or (lambda agent: Exchange(service, agent, keyring=Keyring(service, config.path)))
    agent = make_agent(config, command, neighbours, connect)
    declared = [(Peer(client.name, client.zone), client.type) for client in service.clients]
    declared += [(Peer(server.name, server.zone), server.type) for server in service.servers]
    agent.declared = {str(peer): agent_type for peer, agent_type in declared if agent_type is not None}
    return agent


def make_agent(config: AgentConfig, command: str, neighbours: list[Peer], connect: Connect) -> Agent:
    holder: list[Agent] = []
    handlers: Handlers = {}
    close: Callable[[], Awaitable[None]] = close_nothing
    role: Role
    match config.agent:
        case "Portal":
            role = portal = PortalRole(
                lambda: holder[0].core.offerings, lambda d: holder[0].core.offer(d, holder[0].clock())
            )
            handlers = portal.handlers()
        case "Provider" | "Platform":
            role = RelayRole(config.agent)
        case "Instance":
            role = InstanceRole()
        case "Bridge":
            from openportal.bridge.agent import BridgeRole  # an HTTP server that no other agent needs to load

            role = bridge = BridgeRole(lambda: holder[0].core.offerings)
            handlers = bridge.handlers()
        case _:
            from openportal.cli.leaves import leaf_system

            handlers, close = leaf_system(config, command)
            role = LeafRole(config.agent, handlers)
    agent = Agent(config.service.name, role, handlers, ledger_settings(config), neighbours, connect)
    agent.close_leaf = close
    holder.append(agent)
    return agent


class Ending(Enum):
    """Why an agent ended."""

    STOPPED = "stopped"
    RESTART = "a restart was asked for"
    LEDGER_FAILED = "the ledger failed"


async def serve(config: AgentConfig, command: str, stopping: asyncio.Event) -> Ending:
    """Run the agent until it is asked to stop; one whose ledger failed starts again from what is on the disk."""
    ending = await serve_once(config, command, stopping)
    while ending is Ending.LEDGER_FAILED and not await set_within(stopping, RELOAD_PAUSE_SECONDS):
        try:
            ending = await serve_once(config, command, stopping)
        except (LedgerCorrupt, UnknownEvent):
            raise
        except LedgerError as error:  # the disk or the database is not back yet
            log.error("the ledger cannot be used yet", agent=config.service.name, reason=str(error))
    return Ending.STOPPED if stopping.is_set() else ending


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def serve_once(config: AgentConfig, command: str, stopping: asyncio.Event) -> Ending:
    """One life of the agent, from its ledger to its ending; what began to start is stopped, in the opposite order."""
    agent, control, parts = composed(config, command)
    async with AsyncExitStack() as started:
        started.push_async_callback(agent.stop)
        await agent.start()
        for part in parts:
            started.push_async_callback(part.stop)
            await part.start()
        return await until_ended(agent, control, stopping)


def composed(config: AgentConfig, command: str) -> tuple[Agent, AgentControl, list[Part]]:
    """The agent of a file, its control, and what runs beside it."""
    if config.agent == "Instance" and command == INSTANCE_WITH_SCHEDULER:
        from openportal.cli.inside import instance_with_scheduler  # only this one has an agent inside

        agent, inside = instance_with_scheduler(config, command)
        agent.control = control = AgentControl(agent)
        inside.share(agent, control)
        return agent, control, [inside, *parts_of(config, agent, control)]
    agent = build_agent(config, command)
    agent.control = control = AgentControl(agent)
    return agent, control, parts_of(config, agent, control)


def parts_of(config: AgentConfig, agent: Agent, control: AgentControl) -> list[Part]:
    """What runs beside the agent; each part is loaded only where it is wanted."""
    parts: list[Part] = [OperatorPart(config, agent, control)]
    if config.metrics.port is not None:
        from openportal.cli.metrics_part import MetricsPart

        parts.append(MetricsPart(config.metrics.ip, config.metrics.port, agent, control))
    if config.agent == "Bridge":
        from openportal.cli.bridge_part import BridgePart

        parts.append(BridgePart(config, agent, control))
    return parts


async def until_ended(agent: Agent, control: AgentControl, stopping: asyncio.Event) -> Ending:
    assert agent.failed is not None
    stop: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
    restart: asyncio.Future[Any] = asyncio.ensure_future(control.restart_requested.wait())
    endings: set[asyncio.Future[Any]] = {stop, restart, agent.failed}
    try:
        await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        restart.cancel()
    if stopping.is_set():
        return Ending.STOPPED
    return Ending.LEDGER_FAILED if agent.failed.done() else Ending.RESTART
