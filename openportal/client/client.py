"""A client of one bridge.

    with Client("bridge-client.toml") as bridge:
        job = bridge.run("brics.aip1.clusters.shared add_user alice.demo.brics", max_ms=10_000)

Any number of them can be used side by side, and one by any number of threads. Every function raises OSError: a
BridgeError if the bridge cannot be reached or refuses.

Waiting for a job asks the bridge to answer when the job is finished (`/status?wait=25`). A bridge that does not know
that answers at once, which is how it is recognised; it is then asked again every 1 to 100 ms, as the published client
does it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from openportal.client.arguments import count, instance, instances, real, text, told
from openportal.client.config import Config
from openportal.client.exchange import TIMEOUT_SECONDS, Request, asking, value_of
from openportal.client.identifiers import Destination, PortalIdentifier, Uuid
from openportal.client.jobs import Job, JobDocument
from openportal.client.notifications import Notification
from openportal.client.operations import Diagnostics, Health, RestartResponse
from openportal.errors import GrammarError
from openportal.grammar.identifiers import parse_uuid

if TYPE_CHECKING:
    from openportal.client.connection import Connections

WAIT_MAX_SECONDS: Final = 25.0
"""As long as a bridge lets itself be asked to wait."""
POLL_SHARE: Final = 10
POLL_MIN_MS: Final = 1
POLL_MAX_MS: Final = 100


class Client:
    """The functions of one bridge."""

    def __init__(self, config: Config | str | os.PathLike[str], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.config = config if isinstance(config, Config) else Config.load(config)
        self._connections = _connections(self.config, timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; a call afterwards opens another."""
        self._connections.close()

    # --- what a portal asks of facilities -----------------------------------------------------------------------------

    def run(self, command: str, max_ms: int = 0) -> Job:
        """Ask for `<destination> <instruction>`; wait for the end for so many milliseconds, for ever if negative."""
        document = self._job("run", {"command": text(command, "command")})
        return Job._of(self._wait(document, _milliseconds(max_ms)), self)

    def status(self, job: Job) -> Job:
        """The job as it is now."""
        return self.get(instance(job, Job, "job").id)

    def get(self, job_id: str | Uuid) -> Job:
        """The job of that id as it is now."""
        if not isinstance(job_id, str | Uuid):
            raise OSError("Job ID must be a string or a Uuid")
        return Job._of(self._look(str(job_id)), self)

    def wait(self, job: Job, max_ms: int = -1) -> bool:
        """Wait until a job is finished, for ever by default; whether it is."""
        job._value = self._wait(instance(job, Job, "job")._value, _milliseconds(max_ms))
        return job.is_finished

    # --- what a portal is asked ---------------------------------------------------------------------------------------

    def fetch_jobs(self, wait_seconds: float = 0.0) -> list[Job]:
        """The jobs that wait for this portal's software; with `wait_seconds`, until there is one."""
        patience = min(max(real(wait_seconds, "wait_seconds"), 0.0), WAIT_MAX_SECONDS)
        found = self._ask("fetch_jobs", query=f"wait={patience:g}" if patience else "", patience_seconds=patience)
        if not isinstance(found, list):
            raise OSError("/fetch_jobs: the answer is not a list of jobs")
        return [Job._of(told(JobDocument.from_wire, wire), self) for wire in found]

    def fetch_job(self, job_id: str | Uuid | Job) -> Job:
        """One job that waits for this portal's software."""
        found = job_id.id if isinstance(job_id, Job) else job_id
        return Job._of(self._job("fetch_job", _uuid(found, "Job")), self)

    def fetch_notification(self, notification_id: str | Uuid) -> Notification:
        """One notification that this portal's software was told of."""
        found = self._ask("fetch_notification", _uuid(notification_id, "Notification"))
        return told(Notification._from_wire, found)

    def send_result(self, job: Job) -> None:
        """Answer a job that was fetched: with what its `completed` or `errored` gave."""
        _said(self._ask("send_result", instance(job, Job, "job")._value.to_wire()), "send_result")

    # --- offerings ----------------------------------------------------------------------------------------------------

    def get_offerings(self) -> list[Destination]:
        return _destinations(self._ask("get_offerings"))

    def sync_offerings(self, offerings: Sequence[Destination]) -> list[Destination]:
        """Replace the offerings by these; those that were accepted."""
        return self._offerings("sync_offerings", offerings)

    def add_offerings(self, offerings: Sequence[Destination]) -> list[Destination]:
        return self._offerings("add_offerings", offerings)

    def remove_offerings(self, offerings: Sequence[Destination]) -> list[Destination]:
        return self._offerings("remove_offerings", offerings)

    # --- operations ---------------------------------------------------------------------------------------------------

    def get_portal(self) -> PortalIdentifier:
        """The portal that the bridge belongs to."""
        found = self._ask("get_portal")
        if not isinstance(found, str):
            raise OSError("/get_portal: the answer is not the name of a portal")
        return PortalIdentifier(found)

    def health(self) -> Health:
        """How the bridge is, and all that it sees."""
        return Health._from_json(self._json("health"))

    def diagnostics(self, destination: str) -> Diagnostics:
        """What went wrong at the agent there; an empty destination is the bridge itself."""
        body = {"destination": text(destination, "destination")}
        return Diagnostics._from_json(self._json("diagnostics", body))

    def restart(self, restart_type: str, destination: str) -> RestartResponse:
        """Let the agent there start again: `soft` when it has nothing to do, `hard` at once."""
        body = {"restart_type": text(restart_type, "restart_type"), "destination": text(destination, "destination")}
        return RestartResponse._from_json(self._json("restart", body))

    def notify(self, command: str) -> None:
        """Tell the agent at the end of a path what changed: `<destination> <event> <whom>`."""
        self._ask("notify", {"command": text(command, "command")})

    # --- calls --------------------------------------------------------------------------------------------------------

    def _call(self, request: Request, patience_seconds: float = 0.0) -> bytes:
        return self._connections.call(request, patience_seconds)

    def _ask(self, function: str, body: Any = None, query: str = "", patience_seconds: float = 0.0) -> Any:
        request = asking(function, body, query)
        return value_of(request, self._call(request, patience_seconds))

    def _json(self, function: str, body: Any = None) -> str:
        return self._call(asking(function, body)).decode("utf-8", "replace")

    def _job(self, function: str, body: Any, query: str = "", patience_seconds: float = 0.0) -> JobDocument:
        return told(JobDocument.from_wire, self._ask(function, body, query, patience_seconds))

    def _look(self, id: str, wait_seconds: float = 0.0) -> JobDocument:
        query = f"wait={wait_seconds:.3f}" if wait_seconds else ""
        return self._job("status", {"job": id}, query, wait_seconds)

    def _wait(self, document: JobDocument, max_ms: int) -> JobDocument:
        begin = time.monotonic()
        while not document.is_finished:
            now = time.monotonic()
            left = WAIT_MAX_SECONDS if max_ms < 0 else max_ms / 1000 - (now - begin)
            if left <= 0:
                break
            patience = min(left, WAIT_MAX_SECONDS)
            document = self._look(document.id, patience)
            waited = time.monotonic() - now
            if not document.is_finished and waited < patience / 2:  # this bridge does not wait for us
                time.sleep(min(_pause_seconds(max_ms), max(left - waited, 0.0)))
        return document

    def _offerings(self, function: str, offerings: Sequence[Destination]) -> list[Destination]:
        given = instances(offerings, Destination, "offerings")
        return _destinations(self._ask(function, list(dict.fromkeys(map(str, given)))))


def _pause_seconds(max_ms: int) -> float:
    pause_ms = POLL_MAX_MS if max_ms < 0 else max_ms // POLL_SHARE
    return min(max(pause_ms, POLL_MIN_MS), POLL_MAX_MS) / 1000


def _milliseconds(max_ms: int) -> int:
    return -1 if isinstance(max_ms, int) and max_ms < 0 else count(max_ms, "max_ms")


def _uuid(id: object, what: str) -> str:
    try:
        return parse_uuid(str(id) if isinstance(id, str | Uuid) else "")
    except GrammarError:
        raise OSError(f"{what} ID must be a string or a Uuid") from None


def _destinations(found: Any) -> list[Destination]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise OSError("the answer is not a list of destinations")
    return [Destination(one) for one in found]


def _said(found: Any, function: str) -> None:
    if not isinstance(found, dict) or not isinstance(found.get("status"), str):
        raise OSError(f"/{function}: the answer has no status")


def _connections(config: Config, timeout_seconds: float) -> Connections:
    """HTTP and TLS are imported with the first client: what only reads reports and identifiers does without them."""
    from openportal.client.connection import Connections

    return Connections(config, timeout_seconds)
