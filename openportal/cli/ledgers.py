"""Reading the ledgers of agents, running or stopped, by their configuration files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openportal.cli.compose import ledger_settings
from openportal.errors import ConfigError, Unsupported
from openportal.paddington.config import AgentConfig, load
from openportal.templemeads.core import Core, Here, Work
from openportal.templemeads.events import EVENTS
from openportal.templemeads.ledger import Reader, open_reader
from openportal.templemeads.ledger.sqlite import LOCK_NAME


def configs(paths: Iterable[Path]) -> list[AgentConfig]:
    """The agents of these files; a folder stands for every agent's file in it. Raises ConfigError."""
    found = []
    for path in paths:
        files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        found += [load(file) for file in files if not path.is_dir() or _is_agent(file)]
    if not found:
        raise ConfigError("there is no agent's file there: name a file, or the folder that holds them")
    return found


def _is_agent(file: Path) -> bool:
    """Whether a file in a folder is an agent's; invites and clients' files lie beside them."""
    try:
        load(file)
    except ConfigError:
        return False
    return True


@contextmanager
def reader(config: AgentConfig) -> Iterator[Reader]:
    """The agent's ledger, read-only. Raises LedgerError if there is none."""
    with open_reader(ledger_settings(config), EVENTS) as opened:
        yield opened


def writer_pid(config: AgentConfig) -> int | None:
    """The process that writes the agent's ledger now; None if none does, or it cannot be told (PostgreSQL)."""
    path = config.ledger.path
    if config.ledger.url is not None or path is None:
        return None
    try:
        descriptor = os.open(path / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return int(os.pread(descriptor, 32, 0).decode().strip() or 0)
    finally:
        os.close(descriptor)
    return None


class NoRole:
    """The role of an agent that is only looked at."""

    def __init__(self, agent_type: str) -> None:
        self.agent_type = agent_type

    def work(self, here: Here) -> Work:
        raise Unsupported("this agent is only looked at")

    def passing(self, here: Here) -> Work | None:
        raise Unsupported("this agent is only looked at")


def rebuilt(config: AgentConfig, opened: Reader) -> Core:
    """The agent's boards as its ledger tells them."""
    core = Core(config.service.name, NoRole(config.agent), [])
    for recorded in opened.records():
        core.apply(recorded.stream, recorded.event, recorded.at)
    return core
