"""The Slurm behind an agent, from the agent's file."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from openportal.agents.scheduler.slurm.agent import SlurmScheduler
from openportal.agents.scheduler.slurm.commands import Commands
from openportal.agents.scheduler.slurm.made import Made, made_of
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.transport import Slurm
from openportal.agents.scheduler.slurm.zones import site_zone
from openportal.cli.compose import ledger_settings
from openportal.errors import ConfigError
from openportal.grammar.identifiers import ProjectMapping
from openportal.paddington.config import AgentConfig
from openportal.templemeads.events import Ended, Received
from openportal.templemeads.handlers import System
from openportal.templemeads.ledger import open_reader


def slurm_system(config: AgentConfig) -> System:
    """The Slurm of an agent. Raises ConfigError."""
    settings = Settings.of(config.extras)
    commands = Commands(settings)
    zone = site_zone(settings.time_zone, os.environ)
    recall = partial(limits_of, config)
    slurm = slurm_by(settings, commands)
    return System(SlurmScheduler(slurm, commands, settings, zone, recall, time.time).handlers(), slurm.close)


def slurm_by(settings: Settings, commands: Commands) -> Slurm:
    """By slurmrestd if there is one, else by the commands. Raises ConfigError."""
    if not settings.server:
        return commands
    from openportal.agents.scheduler.slurm.rest import Rest, client_of  # an HTTP client that few agents need
    from openportal.agents.scheduler.slurm.token import CommandTokens, SignedTokens, Tokens

    user, lifespan = settings.user or getpass.getuser(), settings.token_lifespan_seconds
    if bool(settings.token_command) == bool(settings.token_key):
        raise ConfigError("slurm-server needs a token: set one of token-command and token-key.")
    maker = (
        CommandTokens(settings.token_command, user, lifespan)
        if settings.token_command
        else SignedTokens(Path(settings.token_key), user, lifespan, time.time)
    )
    tokens = Tokens(maker, lifespan, time.monotonic)
    beside = commands if settings.has_commands else None
    return Rest(client_of(settings.server, user), tokens, settings.timeout_seconds, settings.runners, beside)


@asynccontextmanager
async def slurm_for_now(settings: Settings, commands: Commands) -> AsyncIterator[Slurm]:
    """A Slurm for one run of a command."""
    slurm = slurm_by(settings, commands)
    try:
        yield slurm
    finally:
        await slurm.close()


def limits_of(config: AgentConfig) -> Iterable[tuple[ProjectMapping, int]]:
    """The limits that were set by this agent, as its ledger tells."""
    return made_by(config).limits.items()


def made_by(config: AgentConfig) -> Made:
    """What was made by this agent, as its ledger tells. Raises LedgerError."""
    with open_reader(ledger_settings(config), (Received, Ended)) as reader:
        return made_of(reader.records())
