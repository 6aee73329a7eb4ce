"""A job: what one agent asks of another, and what became of it.

    Created ──submit──> Pending ──start──> Running ──┬─ complete ──> Complete
                           │                  │       └─ fail ──────> Error
                           ├─ complete, fail ─┘
                           └─ duplicate ──> Duplicate ── complete, fail ──> Complete, Error

Complete and Error are terminal: nothing leaves them. `TRANSITIONS` below is the whole law; a missing key is the error.
A job's version grows by one with each change and by 1000 once, on reaching a terminal state, so that a terminal state
is newer than any progress that a neighbour reports at the same time (wire format: docs/specifications of the network).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from openportal.errors import InvalidJob
from openportal.grammar.joberrors import recovered

DEFAULT_LIFETIME_SECONDS = 120
SUBMIT_LIFETIME_SECONDS = 300
MAX_LIFETIME_SECONDS = 3600
MAX_VERSION = 1 << 60
MAX_TIME_SECONDS = 1 << 40
TERMINAL_VERSION_STEP = 1000
MAX_COMMAND_BYTES = 256 * 1024

Wire = dict[str, Any]


class State(StrEnum):
    """The states of a job, spelled as on the wire."""

    CREATED = "Created"
    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETE = "Complete"
    ERROR = "Error"
    DUPLICATE = "Duplicate"


TERMINAL = frozenset({State.COMPLETE, State.ERROR})

TRANSITIONS: Mapping[tuple[State, str], State] = {
    (State.CREATED, "submit"): State.PENDING,
    (State.PENDING, "start"): State.RUNNING,
    (State.PENDING, "complete"): State.COMPLETE,
    (State.PENDING, "fail"): State.ERROR,
    (State.PENDING, "duplicate"): State.DUPLICATE,
    (State.RUNNING, "start"): State.RUNNING,
    (State.RUNNING, "complete"): State.COMPLETE,
    (State.RUNNING, "fail"): State.ERROR,
    (State.DUPLICATE, "complete"): State.COMPLETE,
    (State.DUPLICATE, "fail"): State.ERROR,
}

KNOWN_FIELDS = frozenset({
    "id", "created", "changed", "expires", "version", "command", "state", "result", "result_type",
    "forwarded_for", "error", "domain", "domain_version",
})  # fmt: skip


class Job(msgspec.Struct, frozen=True, gc=False):
    """One job as both neighbours know it. Times are Unix seconds; `result` is JSON text if complete, else prose."""

    id: str
    created: int
    changed: int
    expires: int
    version: int
    command: str
    state: State
    result: str | None = None
    result_type: str | None = None
    forwarded_for: str | None = None
    error: Wire | None = None
    domain: str | None = None
    domain_version: str | None = None
    extra: Wire | None = None  # fields of newer versions, passed through unchanged

    @property
    def finished(self) -> bool:
        return self.state in TERMINAL

    def started(self, now: float, text: str | None = None) -> Job:
        """Running, with `text` telling how far it is."""
        return self._moved("start", now, self.version + 1, text, None)

    def completed(self, now: float, result: str | None, result_type: str, version: int = 0) -> Job:
        """Complete, with `result` as JSON text; `version` is what it must at least be."""
        return self._moved("complete", now, max(version, self.terminal_version), result, result_type)

    def failed(self, now: float, message: str, kind: str, version: int = 0) -> Job:
        """Failed, with prose for people and a kind for programs."""
        job = self._moved("fail", now, max(version, self.terminal_version), message, "Error")
        return msgspec.structs.replace(job, error={"kind": kind, "message": message})

    @property
    def terminal_version(self) -> int:
        """What the version of its terminal state is at least; never more than a neighbour accepts."""
        return min(self.version + TERMINAL_VERSION_STEP, MAX_VERSION)

    def _moved(self, event: str, now: float, version: int, result: str | None, result_type: str | None) -> Job:
        try:
            state = TRANSITIONS[self.state, event]
        except KeyError:
            raise InvalidJob(f"job {self.id} is {self.state}: it cannot {event}") from None
        return Job(
            self.id, self.created, max(self.changed, int(now)), self.expires, version, self.command, state,
            result, result_type, self.forwarded_for, None, self.domain, self.domain_version, self.extra,
        )  # fmt: skip

    def to_wire(self) -> Wire:
        """The JSON object that travels."""
        wire: Wire = {
            "id": self.id,
            "created": self.created,
            "changed": self.changed,
            "expires": self.expires,
            "version": self.version,
            "command": self.command,
            "state": self.state.value,
            "result": self.result,
            "result_type": self.result_type,
            "forwarded_for": self.forwarded_for,
            "domain": self.domain,
            "domain_version": self.domain_version,
        }
        if self.error is not None:
            wire["error"] = self.error
        if self.extra:
            wire.update(self.extra)
        return wire

    @property
    def error_kind(self) -> str:
        """The kind of a failed job: its own word for it, or what its prose says."""
        if self.error is not None:
            return str(self.error.get("kind", "unknown"))
        return recovered(self.result or "").kind


_is_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch


def from_wire(wire: Any) -> Job:
    """A job from the JSON object that came in. Raises InvalidJob, naming the field."""
    if not isinstance(wire, dict):
        raise InvalidJob("a job must be a JSON object")
    try:
        job = _convert(wire)
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidJob(f"not a job: {error}") from None
    if not _is_uuid(job.id):
        raise InvalidJob("a job's id must be a UUID")
    if not all(0 <= time <= MAX_TIME_SECONDS for time in (job.created, job.changed, job.expires)):
        raise InvalidJob(f"job {job.id} has a time that is out of range")
    if not 0 <= job.version <= MAX_VERSION:
        raise InvalidJob(f"job {job.id} has version {job.version}, which is out of range")
    if len(job.command) > MAX_COMMAND_BYTES:
        raise InvalidJob(f"job {job.id} has a command of more than {MAX_COMMAND_BYTES} bytes")
    return job


def _convert(wire: Wire) -> Job:
    unknown = wire.keys() - KNOWN_FIELDS
    job = msgspec.convert({key: wire[key] for key in wire.keys() & KNOWN_FIELDS} if unknown else wire, Job)
    latest = job.created + MAX_LIFETIME_SECONDS
    if unknown or job.expires > latest:
        extra = {key: wire[key] for key in unknown} or None
        return msgspec.structs.replace(job, expires=min(job.expires, latest), extra=extra)
    return job
