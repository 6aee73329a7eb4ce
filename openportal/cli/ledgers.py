"""The ledgers of agents, running or stopped: by their configuration files, as folders, or as backups."""

from __future__ import annotations

import fcntl
import gc
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from eventsourcing.persistence import PersistenceError

from openportal.cli.compose import ledger_settings
from openportal.cli.trace import Line, family, line
from openportal.cli.wanted import Picker, Wanted
from openportal.errors import ConfigError, LedgerError
from openportal.paddington.config import AgentConfig, load
from openportal.templemeads.events import EVENTS
from openportal.templemeads.ledger import Ledger, Reader, Recorded, Settings, Unknown, open_reader
from openportal.templemeads.ledger.sqlite import FILE_NAME, LOCK_NAME
from openportal.templemeads.state import AgentState, StateImage

SQLITE_HEADER = b"SQLite format 3\0"

Found = TypeVar("Found")


class Source(NamedTuple):
    """One agent's ledger; agents of two sites may share a name, so `place` tells them apart."""

    name: str
    settings: Settings
    place: str


# --- which ledgers ----------------------------------------------------------------------------------------------------


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


def sources(paths: Iterable[Path]) -> list[Source]:
    """The ledgers of these agents' files, ledger folders and backups.

    A folder stands for every agent's file and every ledger folder in it; a backup has to be named. Raises ConfigError.
    """
    found: list[Source] = []
    for path in paths:
        found += _sources_of(path.absolute())
    if not found:
        raise ConfigError("there is no agent's file there: name a file, or the folder that holds them")
    return list({source.place: source for source in found}.values())


def _sources_of(path: Path) -> list[Source]:
    if not path.is_dir():
        return [_of_ledger(path)] if _is_database(path) else [source_of(load(path))]
    if (path / FILE_NAME).exists():
        return [_of_ledger(path)]
    known = [source_of(load(file)) for file in sorted(path.glob("*.toml")) if _is_agent(file)]
    taken = {source.place for source in known}
    loose = sorted(place for place in path.glob("*") if (place / FILE_NAME).exists())
    return known + [_of_ledger(place) for place in loose if str(place.resolve()) not in taken]


def source_of(config: AgentConfig) -> Source:
    settings = ledger_settings(config)
    place = f"{settings.url} {settings.schema}" if settings.path is None else str(settings.path.resolve())
    return Source(config.service.name, settings, place)


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE_HEADER)) == SQLITE_HEADER


def _of_ledger(path: Path) -> Source:
    """A ledger without its agent's file; it knows whose it is."""
    path = path.parent if path.name == FILE_NAME else path
    settings = Settings(path=path)
    try:
        with opened(settings) as reader:
            return Source(reader.meta.owner or path.stem, settings, str(path.resolve()))
    except LedgerError as error:
        raise ConfigError(f"{path}: {error}") from error


# --- one ledger -------------------------------------------------------------------------------------------------------


@contextmanager
def opened(settings: Settings) -> Iterator[Reader]:
    """A ledger, read-only. Raises LedgerError if there is none, or its database cannot be read."""
    try:
        with open_reader(settings, EVENTS) as reader:
            yield reader
    except database_errors() as error:
        raise LedgerError(f"its database cannot be read: {error}") from error


@contextmanager
def opened_writer(settings: Settings) -> Iterator[Ledger]:
    """The ledger of a stopped agent, replayed and ready to be changed. Raises LedgerLocked if the agent runs."""
    found = Ledger.open(settings, EVENTS)
    try:
        for _ in found.replay():
            pass
        yield found
    finally:
        found.close()


def database_errors() -> tuple[type[Exception], ...]:
    """What the databases raise; psycopg is an optional dependency, loaded where it is used."""
    psycopg = sys.modules.get("psycopg")
    return (sqlite3.Error, PersistenceError, *((psycopg.Error,) if psycopg else ()))


def of_each(
    found: Iterable[Source], look: Callable[[Reader], Found], complain: Callable[[str], None]
) -> Iterator[tuple[str, Found]]:
    """What `look` finds in each ledger that can be read; complains of the others."""
    for source in found:
        try:
            with opened(source.settings) as reader:
                seen = look(reader)
        except LedgerError as error:
            complain(f"{source.name}: {error}")
        else:
            yield source.name, seen


def is_started(config: AgentConfig) -> bool:
    """Whether there is a ledger; one in PostgreSQL is taken to be there."""
    path = config.ledger.path
    return config.ledger.url is not None or (path is not None and (path / FILE_NAME).exists())


def writer_pid(settings: Settings) -> int | None:
    """The process that writes the ledger now; None if none does, or it cannot be told (PostgreSQL)."""
    if settings.path is None:
        return None
    try:
        descriptor = os.open(settings.path / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return int(os.pread(descriptor, 32, 0).decode().strip() or 0)
    finally:
        os.close(descriptor)
    return None


def rebuilt(name: str, reader: Reader, until: float | None = None) -> AgentState:
    """The agent's boards as its ledger tells them, now or as they stood at a time; from the newest checkpoint on.

    Where the clock was set back, the first event at that time or after it ends the account.
    """
    state = AgentState(name, [])
    checkpoint = reader.checkpoint(until)
    if checkpoint is not None:
        state.restore(msgspec.json.decode(checkpoint[1], type=StateImage))
    records = reader.records(first=checkpoint[0] + 1 if checkpoint else 1)
    with collector_paused():
        for recorded in records if until is None else takewhile(lambda one: one.at < until, records):
            if not isinstance(recorded.event, Unknown):  # of a newer version
                state.apply(recorded.stream, recorded.event, recorded.at)
    return state


def states_of(
    found: Iterable[Source], complain: Callable[[str], None], until: float | None = None
) -> Iterator[AgentState]:
    """The boards of each agent whose ledger can be read; complains of the others."""
    for source in found:
        for _, state in of_each([source], partial(rebuilt, source.name, until=until), complain):
            yield state


@contextmanager
def collector_paused() -> Iterator[None]:
    """Events form no cycles: looking for some in a million of them takes longer than reading them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# --- several ledgers --------------------------------------------------------------------------------------------------


class Watch:
    """What the ledgers of several agents hold, and then what comes; `complain` hears once of each that is not read.

    With `family` it is also the jobs that were asked on behalf of those wanted. One of them may be read before the
    event of another agent that tells whose it is, or which key asked, so what was read the time before is looked at
    again.
    """

    def __init__(self, found: Sequence[Source], wanted: Wanted, family: bool, complain: Callable[[str], None]) -> None:
        self._sources = {source.place: source for source in found}
        self._picker = Picker(wanted)
        self._family = family
        self._looks_again = family or wanted.key is not None
        self._complain = complain
        self._seen: dict[str, int] = {}
        self._before: dict[str, list[Recorded]] = {}
        self._told: set[tuple[str, int]] = set()
        self.unread: set[str] = set()

    def lines(self) -> list[Line]:
        """What is wanted of what the ledgers hold beyond the last time, in order of time."""
        records = {place: self._fresh(place) for place in self._sources}
        for some in records.values():
            self._picker.learn(some)
        if self._looks_again:
            fresh, records = records, {place: self._before.get(place, []) + some for place, some in records.items()}
            self._before = fresh
        if self._family:
            self._widen(records)
        return sorted(
            line(self._sources[place].name, one)
            for place, some in records.items()
            for one in some
            if self._is_new(place, one)
        )

    def _widen(self, records: Mapping[str, list[Recorded]]) -> None:
        """Want also the jobs that were asked on behalf of those wanted."""
        jobs = self._picker.wanted.jobs or set()
        for job in tuple(jobs):
            jobs = family(records, job, jobs)
        self._picker.wanted = self._picker.wanted._replace(jobs=jobs)

    def _is_new(self, place: str, recorded: Recorded) -> bool:
        if not self._picker.matches(recorded) or (place, recorded.position) in self._told:
            return False
        if self._looks_again:
            self._told.add((place, recorded.position))
        return True

    def _fresh(self, place: str) -> list[Recorded]:
        source = self._sources[place]
        try:
            with opened(source.settings) as reader:
                last = reader.stats().events
                with collector_paused():
                    found = list(reader.records(first=self._seen.get(place, 0) + 1, last=last))
        except LedgerError as error:
            if place not in self.unread:
                self._complain(f"{source.name}: {error}")
            self.unread.add(place)
            return []
        self._seen[place] = last
        self.unread.discard(place)
        return found
