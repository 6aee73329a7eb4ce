"""The systems behind leaf agents, by command and by the extras of the agent's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from openportal.agents.account.local import LocalAccounts
from openportal.agents.filesystem.directories import Directories
from openportal.agents.filesystem.volumes import Volumes
from openportal.agents.sandbox.account import SandboxAccounts
from openportal.agents.sandbox.filesystem import SandboxFilesystem
from openportal.agents.sandbox.scheduler import SandboxScheduler
from openportal.agents.sandbox.store import SandboxStore
from openportal.cli.compose import NoLeaf
from openportal.cli.scheduler import slurm_handlers
from openportal.errors import ConfigError
from openportal.grammar.instructions import Instruction
from openportal.paddington.config import AgentConfig
from openportal.templemeads.handlers import Handler

SANDBOX_EXTRA = "sandbox"

Handlers = Mapping[type[Instruction], Handler]


def leaf_handlers(config: AgentConfig, command: str) -> Handlers:
    """What the leaf of this agent can do. Raises NoLeaf if there is none."""
    sandbox = config.extras.get(SANDBOX_EXTRA)
    if sandbox:
        return sandbox_handlers(config, SandboxStore(Path(sandbox)))
    if command == "op-localaccount":
        return LocalAccounts(config.extras).handlers()
    if command == "op-filesystem":
        volumes = Volumes.of(config.tables)
        if not volumes.user_volumes and not volumes.project_volumes:
            raise ConfigError(
                f"{config.path} has no [user_volumes.NAME] and no [project_volumes.NAME]: name what it manages"
            )
        return Directories(volumes, config.extras).handlers()
    if command == "op-slurm":
        return slurm_handlers(config)
    raise NoLeaf(
        f"{command} has no leaf system of its own yet: `extra --key {SANDBOX_EXTRA} --value FOLDER` gives it a sandbox"
    )


def sandbox_handlers(config: AgentConfig, store: SandboxStore) -> Handlers:
    match config.agent:
        case "Account":
            return SandboxAccounts(store).handlers()
        case "Filesystem":
            volumes = Volumes.of(config.tables)
            return SandboxFilesystem(store, volumes if volumes.user_volumes else None).handlers()
        case _:
            return SandboxScheduler(store).handlers()
