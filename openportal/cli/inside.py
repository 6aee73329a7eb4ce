"""The scheduler agent inside the process of an instance: `op-slurm` whose file says `agent = "Instance"`.

    clusters ──> shared  ══ memory link ══  shared-scheduler        two agents, two ledgers, one process and one file

Each is a whole agent. So what is promised of a chain holds within the process too: every step of a job at the instance
is an ask with a recorded outcome, and a crash between the two is repaired by their Sync. The scheduler's ledger lies
beside the instance's (`….ledger.scheduler`), or in a schema of its own in the same database.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from openportal.cli.compose import build_agent, make_agent
from openportal.paddington.config import AgentConfig, MetricsSection
from openportal.paddington.exchange import Exchange
from openportal.paddington.joined import JoinedLinks
from openportal.paddington.memory import MemoryNetwork
from openportal.paddington.peer import Links, Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl

SUFFIX: Final = "scheduler"
ZONE: Final = "inside"


def scheduler_config(config: AgentConfig) -> AgentConfig:
    """The scheduler's part of a file: all of it, or what is inside of an instance."""
    if config.agent != "Instance":
        return config
    path = config.ledger.path
    beside: Path | None = None if path is None else path.with_name(f"{path.name}.{SUFFIX}")
    return dataclasses.replace(
        config,
        agent="Scheduler",
        service=dataclasses.replace(config.service, name=f"{config.service.name}-{SUFFIX}", clients=(), servers=()),
        ledger=dataclasses.replace(config.ledger, path=beside),
        metrics=MetricsSection(),
    )


class InsideScheduler:
    """The part beside an instance that is its scheduler."""

    def __init__(self, config: AgentConfig, command: str) -> None:
        self._network = MemoryNetwork()
        found = scheduler_config(config)
        self.peer = Peer(found.service.name, ZONE)
        instance = Peer(config.service.name, ZONE)
        self._agent = make_agent(
            found, command, [instance], lambda agent: self._network.exchange(self.peer.name, [instance], agent)
        )
        self._service = config.service

    def links_of(self, instance: Agent) -> Links:
        """The links of the instance: those of its file, and the one to us."""
        inner = self._network.exchange(instance.name, [self.peer], instance)
        return JoinedLinks(Exchange(self._service, instance), inner, frozenset({self.peer}))

    def share(self, instance: Agent, control: AgentControl) -> None:
        """A restart that is asked of us is one of the process, and so is a ledger of ours that fails."""
        mine = AgentControl(self._agent)
        mine.restart_requested = control.restart_requested
        self._agent.control = mine
        self._instance = instance

    async def start(self) -> None:
        await self._agent.start()
        assert self._agent.failed is not None
        self._agent.failed.add_done_callback(lambda failed: self._tell_failure(failed.cancelled()))

    def _tell_failure(self, is_cancelled: bool) -> None:
        outer = self._instance.failed
        if not is_cancelled and outer is not None and not outer.done():
            outer.set_result("the ledger of the scheduler inside failed")

    async def stop(self) -> None:
        await self._agent.stop()


def instance_with_scheduler(config: AgentConfig, command: str) -> tuple[Agent, InsideScheduler]:
    """Both agents of a file."""
    inside = InsideScheduler(config, command)
    return build_agent(config, command, inside.links_of, [inside.peer]), inside
