"""Reading the ledgers of agents, running or stopped, by their configuration files."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eventsourcing.persistence import PersistenceError

from openportal.cli.compose import ledger_settings
from openportal.cli.trace import Line, Wanted, family, line
from openportal.errors import ConfigError, LedgerError, Unsupported
from openportal.paddington.config import AgentConfig, load
from openportal.templemeads.core import Core
from openportal.templemeads.events import EVENTS
from openportal.templemeads.ledger import Reader, Recorded, Unknown, open_reader
from openportal.templemeads.ledger.sqlite import FILE_NAME, LOCK_NAME
from openportal.templemeads.role import Here, Work


def configs(paths: Iterable[Path]) -> list[AgentConfig]:
    """The agents of these files, each once; a folder stands for every agent's file in it. Raises ConfigError."""
    found: dict[Path, AgentConfig] = {}
    for path in paths:
        files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        found |= {file.resolve(): load(file) for file in files if not path.is_dir() or _is_agent(file)}
    if not found:
        raise ConfigError("there is no agent's file there: name a file, or the folder that holds them")
    return list(found.values())


def _is_agent(file: Path) -> bool:
    """Whether a file in a folder is an agent's; invites and clients' files lie beside them."""
    try:
        load(file)
    except ConfigError:
        return False
    return True


@contextmanager
def reader(config: AgentConfig) -> Iterator[Reader]:
    """The agent's ledger, read-only. Raises LedgerError if there is none, or its database cannot be read."""
    try:
        with open_reader(ledger_settings(config), EVENTS) as opened:
            yield opened
    except database_errors() as error:
        raise LedgerError(f"its database cannot be read: {error}") from error


def database_errors() -> tuple[type[Exception], ...]:
    """What the databases raise; psycopg is an optional dependency, loaded where it is used."""
    psycopg = sys.modules.get("psycopg")
    return (sqlite3.Error, PersistenceError, *((psycopg.Error,) if psycopg else ()))


def is_started(config: AgentConfig) -> bool:
    """Whether there is a ledger; one in PostgreSQL is taken to be there."""
    path = config.ledger.path
    return config.ledger.url is not None or (path is not None and (path / FILE_NAME).exists())


class Watch:
    """What the ledgers of several agents hold, and then what comes; `complain` hears once of each that is not read.

    With `family` it is also the jobs that were asked on behalf of those wanted. One of them may be read before the
    event of another agent that tells whose it is, so what was read the time before is looked at again.
    """

    def __init__(
        self, configs: Sequence[AgentConfig], wanted: Wanted, family: bool, complain: Callable[[str], None]
    ) -> None:
        self._configs = {str(config.path): config for config in configs}  # agents of two sites may share a name
        self._wanted = wanted
        self._family = family
        self._complain = complain
        self._seen: dict[str, int] = {}
        self._before: dict[str, list[Recorded]] = {}
        self._told: set[tuple[str, int]] = set()
        self.unread: set[str] = set()

    def lines(self) -> list[Line]:
        """What is wanted of what the ledgers hold beyond the last time, in order of time."""
        records = {path: self._fresh(path) for path in self._configs}
        if self._family:
            records, self._before = {path: self._before.get(path, []) + some for path, some in records.items()}, records
            for job in self._wanted.jobs or ():
                self._wanted = self._wanted._replace(jobs=family(records, job, self._wanted.jobs or ()))
        return sorted(
            line(self._configs[path].service.name, one)
            for path, some in records.items()
            for one in some
            if self._is_new(path, one)
        )

    def _is_new(self, path: str, recorded: Recorded) -> bool:
        if not self._wanted.matches(recorded) or (path, recorded.position) in self._told:
            return False
        if self._family:
            self._told.add((path, recorded.position))
        return True

    def _fresh(self, path: str) -> list[Recorded]:
        config = self._configs[path]
        try:
            with reader(config) as opened:
                last = opened.stats().events
                found = list(opened.records(first=self._seen.get(path, 0) + 1, last=last))
        except LedgerError as error:
            if path not in self.unread:
                self._complain(f"{config.service.name}: {error}")
            self.unread.add(path)
            return []
        self._seen[path] = last
        self.unread.discard(path)
        return found


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
        if not isinstance(recorded.event, Unknown):  # of a newer version
            core.apply(recorded.stream, recorded.event, recorded.at)
    return core
