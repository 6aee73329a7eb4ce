"""The operators' socket of an agent, started and stopped with it."""

from __future__ import annotations

from pathlib import Path

from openportal.errors import ConfigError
from openportal.paddington.config import AgentConfig
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.operators import Operator


def operator_folder(config: AgentConfig) -> Path:
    """Where the socket is: in the ledger's folder. If the ledger is in PostgreSQL, in the folder that is named all the
    same, or in one beside the agent's file."""
    return config.path.with_suffix(".run") if config.ledger.path is None else config.ledger.path


class OperatorPart:
    """Starts and stops it with the agent."""

    def __init__(self, config: AgentConfig, agent: Agent, control: AgentControl) -> None:
        self._folder = operator_folder(config)
        self._operator = Operator(agent, control.own_health, self._folder)

    async def start(self) -> None:
        try:
            await self._operator.start()
        except OSError as error:
            raise ConfigError(f"the operators' socket cannot be made in {self._folder}: {error.strerror}") from error

    async def stop(self) -> None:
        await self._operator.stop()
