"""`run --one-shot`: carry out instructions on this agent as if a neighbour had asked, without any link."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import uuid

from openportal.cli.compose import make_agent
from openportal.errors import JobError, LedgerLocked
from openportal.paddington.config import AgentConfig
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.job import DEFAULT_LIFETIME_SECONDS, Job, State


async def run_once(config: AgentConfig, command: str, instructions: list[str], sender: str, zone: str) -> None:
    """Print the result of each instruction as indented JSON. Raises JobError for the first that fails."""
    agent = await _started(config, command, Peer(sender, zone))
    try:
        for instruction in instructions:
            sys.stdout.write(await _result(agent, f"{sender}@{zone}", f"{sender}.{agent.name} {instruction}") + "\n")
    finally:
        await agent.stop("one shot done")


async def failures_of(config: AgentConfig, command: str, instructions: list[str], peer: Peer) -> list[str]:
    """Carry out each instruction, whatever becomes of the others; a sentence for each that failed."""
    agent = await _started(config, command, peer)
    failures: list[str] = []
    try:
        for instruction in instructions:
            try:
                await _result(agent, str(peer), f"{peer.name}.{agent.name} {instruction}")
            except JobError as error:
                failures.append(f"{instruction}: {error}")
    finally:
        await agent.stop("one shot done")
    return failures


async def _started(config: AgentConfig, command: str, peer: Peer) -> Agent:
    """The agent on its own ledger, or on one beside it while the agent itself is running."""
    try:
        return await _start(config, command, peer)
    except LedgerLocked:
        path = config.ledger.path
        if path is None or config.ledger.url is not None:
            raise
        aside = dataclasses.replace(config.ledger, path=path.with_name(path.name + ".one-shot"))
        return await _start(dataclasses.replace(config, ledger=aside), command, peer)


async def _start(config: AgentConfig, command: str, peer: Peer) -> Agent:
    network = MemoryNetwork()
    agent = make_agent(config, command, [peer], lambda agent: network.exchange(config.service.name, [peer], agent))
    await agent.start()
    return agent


async def _result(agent: Agent, peer: str, command: str) -> str:
    now = int(time.time())
    job = Job(str(uuid.uuid4()), now, now, now + DEFAULT_LIFETIME_SECONDS, 2, command, State.PENDING)
    agent.core.put(peer, job.to_wire(), agent.clock())
    refused = [ended for ended in agent.core.peek_ended() if ended.id == job.id]
    agent.perform()
    ended = refused[0] if refused else await agent.finished(peer, job.id, DEFAULT_LIFETIME_SECONDS + 1)
    if ended is None or not ended.finished:
        raise JobError(f"{command} did not finish in time", "expired")
    if ended.error is not None:
        raise JobError(ended.result or "no reason was given", ended.error_kind)
    return json.dumps(json.loads(ended.result), indent=2, ensure_ascii=False) if ended.result else "null"
