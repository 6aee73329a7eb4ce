"""The Slurm behind a scheduler agent, from the agent's file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from functools import partial

from openportal.agents.scheduler.slurm.agent import SlurmScheduler
from openportal.agents.scheduler.slurm.commands import Commands
from openportal.agents.scheduler.slurm.made import Made, made_of
from openportal.agents.scheduler.slurm.settings import Settings
from openportal.agents.scheduler.slurm.zones import site_zone
from openportal.cli.compose import ledger_settings
from openportal.grammar.declaration import Instruction
from openportal.grammar.identifiers import ProjectMapping
from openportal.paddington.config import AgentConfig
from openportal.templemeads.events import Ended, Received
from openportal.templemeads.handlers import Handler
from openportal.templemeads.ledger import open_reader


def slurm_handlers(config: AgentConfig) -> Mapping[type[Instruction], Handler]:
    """What a scheduler agent can do on its Slurm. Raises ConfigError."""
    settings = Settings.of(config.extras)
    commands = Commands(settings)
    zone = site_zone(settings.time_zone, os.environ)
    recall = partial(limits_of, config)
    return SlurmScheduler(commands, commands, settings, zone, recall, time.time).handlers()


def limits_of(config: AgentConfig) -> Iterable[tuple[ProjectMapping, int]]:
    """The limits that were set by this agent, as its ledger tells."""
    return made_by(config).limits.items()


def made_by(config: AgentConfig) -> Made:
    """What was made by this agent, as its ledger tells. Raises LedgerError."""
    with open_reader(ledger_settings(config), (Received, Ended)) as reader:
        return made_of(reader.records())
