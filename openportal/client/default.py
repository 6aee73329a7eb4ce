"""The functions of the module: those of one client, which `load_config` makes.

    openportal.load_config("bridge-client.toml")
    openportal.run("brics.aip1.clusters.shared get_users demo.brics")

This is the one place of the package that keeps something between calls, because the published client does. Software
that speaks with several bridges makes a `Client` for each.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from openportal.client.client import Client
from openportal.client.exchange import Request
from openportal.client.identifiers import Destination, PortalIdentifier, Uuid
from openportal.client.jobs import Job, JobDocument
from openportal.client.notifications import Notification
from openportal.client.operations import Diagnostics, Health, RestartResponse


class _NotLoaded(Client):
    """What there is before a config: it looks at the arguments of a call, and has nobody to ask."""

    def __init__(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _call(self, request: Request, patience_seconds: float = 0.0) -> bytes:
        raise OSError("no config has been loaded: call load_config() with the file of the bridge first")


class _Default:
    """Holds the client that the functions use."""

    def __init__(self) -> None:
        self.client: Client = _NotLoaded()

    @property
    def is_loaded(self) -> bool:
        return not isinstance(self.client, _NotLoaded)

    def load(self, config_file: str | os.PathLike[str]) -> None:
        """A file that cannot be loaded leaves what was loaded before."""
        old, self.client = self.client, Client(config_file)
        old.close()

    def _look(self, id: str, wait_seconds: float = 0.0) -> JobDocument:
        return self.client._look(id, wait_seconds)

    def _wait(self, document: JobDocument, max_ms: int) -> JobDocument:
        return self.client._wait(document, max_ms)


DEFAULT = _Default()


def load_config(config_file: str | os.PathLike[str]) -> None:
    """Use the bridge of a TOML file from now on."""
    DEFAULT.load(config_file)


def is_config_loaded() -> bool:
    return DEFAULT.is_loaded


def initialize_tracing() -> None:
    """Nothing: what there is to say is in the errors. Here for software that calls it."""


def run(command: str, max_ms: int = 0) -> Job:
    """Ask for `<destination> <instruction>`; wait for the end for so many milliseconds, for ever if negative."""
    return DEFAULT.client.run(command, max_ms)


def status(job: Job) -> Job:
    """The job as it is now."""
    return DEFAULT.client.status(job)


def get(job_id: str | Uuid) -> Job:
    """The job of that id as it is now."""
    return DEFAULT.client.get(job_id)


def fetch_jobs(wait_seconds: float = 0.0) -> list[Job]:
    """The jobs that wait for this portal's software; with `wait_seconds`, until there is one."""
    return DEFAULT.client.fetch_jobs(wait_seconds)


def fetch_job(job_id: str | Uuid | Job) -> Job:
    """One job that waits for this portal's software."""
    return DEFAULT.client.fetch_job(job_id)


def fetch_notification(notification_id: str | Uuid) -> Notification:
    """One notification that this portal's software was told of."""
    return DEFAULT.client.fetch_notification(notification_id)


def send_result(job: Job) -> None:
    """Answer a job that was fetched: with what its `completed` or `errored` gave."""
    DEFAULT.client.send_result(job)


def get_offerings() -> list[Destination]:
    return DEFAULT.client.get_offerings()


def sync_offerings(offerings: Sequence[Destination]) -> list[Destination]:
    """Replace the offerings by these; those that were accepted."""
    return DEFAULT.client.sync_offerings(offerings)


def add_offerings(offerings: Sequence[Destination]) -> list[Destination]:
    return DEFAULT.client.add_offerings(offerings)


def remove_offerings(offerings: Sequence[Destination]) -> list[Destination]:
    return DEFAULT.client.remove_offerings(offerings)


def get_portal() -> PortalIdentifier:
    """The portal that the bridge belongs to."""
    return DEFAULT.client.get_portal()


def health() -> Health:
    """How the bridge is, and all that it sees."""
    return DEFAULT.client.health()


def diagnostics(destination: str) -> Diagnostics:
    """What went wrong at the agent there; an empty destination is the bridge itself."""
    return DEFAULT.client.diagnostics(destination)


def restart(restart_type: str, destination: str) -> RestartResponse:
    """Let the agent there start again: `soft` when it has nothing to do, `hard` at once."""
    return DEFAULT.client.restart(restart_type, destination)


def notify(command: str) -> None:
    """Tell the agent at the end of a path what changed: `<destination> <event> <whom>`."""
    DEFAULT.client.notify(command)
