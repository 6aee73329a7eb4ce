"""The systems behind leaf agents, by command and by the extras of the agent's file."""

from __future__ import annotations

import os
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
from openportal.cli.scheduler import slurm_system
from openportal.errors import ConfigError
from openportal.grammar.instructions import Instruction
from openportal.paddington.config import AgentConfig
from openportal.paddington.secretstore import secret_of
from openportal.templemeads.handlers import Handler, System

SANDBOX_EXTRA = "sandbox"

Handlers = Mapping[type[Instruction], Handler]


def leaf_system(config: AgentConfig, command: str) -> System:
    """The leaf of this agent. Raises NoLeaf if there is none."""
    sandbox = config.extras.get(SANDBOX_EXTRA)
    if sandbox:
        return System(sandbox_handlers(config, SandboxStore(Path(sandbox))))
    if command == "op-localaccount":
        return System(LocalAccounts(config.extras).handlers())
    if command == "op-filesystem":
        volumes = Volumes.of(config.tables)
        if not volumes.user_volumes and not volumes.project_volumes:
            raise ConfigError(
                f"{config.path} has no [user_volumes.NAME] and no [project_volumes.NAME]: name what it manages"
            )
        return System(Directories(volumes, config.extras).handlers())
    if command == "op-slurm":
        return slurm_system(config)
    if command == "op-freeipa":
        return freeipa_system(config)
    raise NoLeaf(
        f"{command} has no leaf system of its own yet: `extra --key {SANDBOX_EXTRA} --value FOLDER` gives it a sandbox"
    )


def freeipa_system(config: AgentConfig) -> System:
    """The account agent of a FreeIPA realm. Raises NoLeaf if its file names no server."""
    from openportal.agents.account.freeipa.agent import FreeIpaAccounts  # an HTTP client that no other leaf needs
    from openportal.agents.account.freeipa.directory import Directory
    from openportal.agents.account.freeipa.servers import Servers
    from openportal.agents.account.freeipa.settings import Settings

    if not config.extras.get("freeipa-server"):
        raise NoLeaf(
            f"op-freeipa has no leaf system yet: `extra --key freeipa-server --value NAME` names its FreeIPA, "
            f"`extra --key {SANDBOX_EXTRA} --value FOLDER` gives it a sandbox"
        )
    settings = Settings.of(config.extras, secret_of(config, "freeipa-password"), os.environ)
    servers = Servers(settings)
    return System(FreeIpaAccounts(Directory(settings, servers)).handlers(), servers.close)


def sandbox_handlers(config: AgentConfig, store: SandboxStore) -> Handlers:
    match config.agent:
        case "Account":
            return SandboxAccounts(store).handlers()
        case "Filesystem":
            volumes = Volumes.of(config.tables)
            return SandboxFilesystem(store, volumes if volumes.user_volumes else None).handlers()
        case _:
            return SandboxScheduler(store).handlers()
