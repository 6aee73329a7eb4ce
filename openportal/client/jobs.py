"""Jobs: what a portal asks of a facility, what it is asked itself, and what became of either.

    job = openportal.run("brics.aip1.clusters.shared add_user alice.demo.brics", max_ms=10_000)
    job.wait()                          until it is finished, or a second has gone by
    job.raise_for_error()               one of the exceptions of `errors`, if it failed
    job.result                          decoded to its type

A job that the portal is asked to do is answered with `completed(result)` or `errored(why)`, which give another job, for
`send_result`. The version of what is finished is 1000 higher, so that it is newer than any progress.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol, Self, final

from openportal.client import results
from openportal.client.arguments import U64_MAX, text, told
from openportal.client.errors import OpenPortalError, exception_of
from openportal.client.identifiers import Destination, Instruction, Status, Uuid
from openportal.client.instructions import settled
from openportal.client.wrapper import Read, Same
from openportal.errors import GrammarError
from openportal.grammar.destination import Destination as Path
from openportal.grammar.identifiers import parse_uuid
from openportal.grammar.instructions import Instruction as Declared
from openportal.grammar.instructions import parse_command
from openportal.grammar.joberrors import CLASSES, OTHER_CLASS, UNKNOWN, JobFailure, failure_of, recovered
from openportal.grammar.text import quote, trim

TERMINAL_VERSION_STEP: Final = 1000
STATES: Final = ("Created", "Pending", "Running", "Complete", "Error", "Duplicate")
FINISHED: Final = ("Complete", "Error")
FIRST_SECOND: Final = -62_135_596_800  # of the years 1 to 9999, which is what a datetime can hold
LAST_SECOND: Final = 253_402_300_799
MAY_COMPLETE: Final = ("Pending", "Running")
MAY_FAIL: Final = ("Pending", "Running", "Duplicate")
WAIT_DEFAULT_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class JobDocument:
    """A job as it travels. Times are whole seconds since 1970; `result` is JSON if complete, and prose if failed."""

    id: str
    created: int
    changed: int
    expires: int
    version: int
    destination: Path
    instruction: Declared
    state: str
    result: str | None = None
    result_type: str | None = None
    forwarded_for: Path | None = None
    error: tuple[str, str] | None = None
    domain: str | None = None
    domain_version: str | None = None

    @classmethod
    def from_json(cls, document: str) -> JobDocument:
        try:
            return cls.from_wire(json.loads(document))
        except (ValueError, RecursionError) as error:
            raise GrammarError(f"not a job: {error}") from error

    @classmethod
    def from_wire(cls, wire: object) -> JobDocument:
        """From the JSON object; what is not known is dropped. Raises GrammarError, which names the field."""
        if not isinstance(wire, dict):
            raise GrammarError(f"a job must be a JSON object, not {quote(str(wire))}")
        state = _text(wire, "state") or "none"
        if state not in STATES:
            raise GrammarError(f"the state of a job is one of {', '.join(STATES)}, not {quote(state)}")
        destination, instruction = parse_command(_text(wire, "command") or "")
        forwarded_for = _text(wire, "forwarded_for")
        return cls(
            id=parse_uuid(_text(wire, "id") or ""),
            created=_number(wire, "created"),
            changed=_number(wire, "changed"),
            expires=_number(wire, "expires"),
            version=_number(wire, "version"),
            destination=destination,
            instruction=settled(instruction),
            state=state,
            result=_text(wire, "result"),
            result_type=_text(wire, "result_type"),
            forwarded_for=None if forwarded_for is None else Path.parse(forwarded_for),
            error=_error(wire.get("error")),
            domain=_text(wire, "domain"),
            domain_version=_text(wire, "domain_version"),
        )

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {
            "id": self.id,
            "created": self.created,
            "changed": self.changed,
            "expires": self.expires,
            "version": self.version,
            "command": f"{self.destination} {self.instruction}",
            "state": self.state,
            "result": self.result,
            "result_type": self.result_type,
            "forwarded_for": None if self.forwarded_for is None else str(self.forwarded_for),
        }
        if self.error is not None:
            wire["error"] = {"kind": self.error[0], "message": self.error[1]}
        return wire | {"domain": self.domain, "domain_version": self.domain_version}

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @property
    def failure(self) -> JobFailure:
        error = None if self.error is None else {"kind": self.error[0], "message": self.error[1]}
        return failure_of(error, self.result)

    def finished(self, state: str, result: str | None, result_type: str, error: tuple[str, str] | None) -> JobDocument:
        return replace(
            self,
            state=state,
            result=result,
            result_type=result_type,
            error=error,
            version=self.version + TERMINAL_VERSION_STEP,
            changed=int(time.time()),
        )


def _number(wire: dict[str, Any], name: str) -> int:
    value = wire.get(name)
    first, last = (0, U64_MAX) if name == "version" else (FIRST_SECOND, LAST_SECOND)
    if type(value) is not int or not first <= value <= last:
        raise GrammarError(f"{name} of a job must be a whole number from {first} to {last}, not {quote(str(value))}")
    return value


def _text(wire: dict[str, Any], name: str) -> str | None:
    value = wire.get(name)
    if value is not None and not isinstance(value, str):
        raise GrammarError(f"{name} of a job must be a text, not {quote(str(value))}")
    return value


def _error(value: object) -> tuple[str, str] | None:
    if value is None:
        return None
    JobFailure.from_wire(value)
    assert isinstance(value, dict)
    return value["kind"], value["message"]


class Refreshes(Protocol):
    """The client that a job came from: it knows how to look at the job again."""

    def _look(self, id: str, wait_seconds: float = 0.0) -> JobDocument: ...

    def _wait(self, document: JobDocument, max_ms: int) -> JobDocument: ...


@final
class Job(Same[JobDocument]):
    """A job. It remembers the bridge that it came from; one that was read from JSON asks the default one."""

    __slots__ = ("_client",)
    _client: Refreshes | None

    @classmethod
    def _of(cls, value: JobDocument, client: Refreshes | None = None) -> Self:
        made = super()._of(value)
        made._client = client
        return made

    def __copy__(self) -> Self:
        return self._of(self._value, self._client)

    def __deepcopy__(self, _memo: object) -> Self:
        return self._of(self._value, self._client)

    @staticmethod
    def from_json(json: str) -> Job:
        return Job._of(told(JobDocument.from_json, text(json, "json")))

    def to_json(self) -> str:
        return json.dumps(self._value.to_wire(), ensure_ascii=False, separators=(",", ":"))

    id: Read[Uuid] = Read(Uuid._of)
    destination: Read[Destination] = Read(Destination._of)
    instruction: Read[Instruction] = Read(Instruction._of)
    version: Read[int] = Read()

    @property
    def forwarded_for(self) -> Destination | None:
        """The path along which another portal sent it, where one did."""
        found = self._value.forwarded_for
        return None if found is None else Destination._of(found)

    @property
    def state(self) -> Status:
        return Status._of(self._value.state.lower())

    @property
    def created(self) -> datetime:
        return datetime.fromtimestamp(self._value.created, UTC)

    @property
    def changed(self) -> datetime:
        return datetime.fromtimestamp(self._value.changed, UTC)

    @property
    def is_expired(self) -> bool:
        """Whether its time is over; a job that is finished can be."""
        return self._value.expires < time.time()

    @property
    def is_finished(self) -> bool:
        return self._value.is_finished

    @property
    def is_duplicate(self) -> bool:
        return self._value.state == "Duplicate"

    @property
    def is_error(self) -> bool:
        return self._value.state == "Error"

    @property
    def progress_message(self) -> str:
        """How far it is, in its own words while it runs."""
        job = self._value
        if job.state == "Running" and job.result is not None:
            return job.result
        return "Pending" if job.state == "Duplicate" else job.state

    @property
    def error_message(self) -> str:
        """Why it failed, in the words in which that travels."""
        return (self._value.result or "") if self.is_error else ""

    @property
    def error_kind(self) -> str:
        """What kind of failure: `expired`, `run`, `award_pending`, …; nothing if it has not failed."""
        return self._value.failure.kind if self.is_error else ""

    @property
    def error(self) -> OpenPortalError | None:
        """The exception that stands for its failure."""
        return exception_of(self._value.failure) if self.is_error else None

    def raise_for_error(self) -> None:
        """Raise `error`, if it has failed."""
        if (error := self.error) is not None:
            raise error

    @property
    def result_type(self) -> str:
        """The name of the result's type, as it travels."""
        if not self.is_finished:
            return results.NONE
        if self._value.result_type is not None:
            return self._value.result_type
        return results.ERROR if self.is_error else results.NONE

    @property
    def result(self) -> Any:
        """What it brought, decoded to its type. Raises OSError if it is not finished, `error` if it failed."""
        self.raise_for_error()
        if not self.is_finished:
            raise OSError(f"job {self.id} is {self._value.state}: it has no result yet")
        return told(results.decoded, self.result_type, self._value.result)

    def completed_none(self) -> Job:
        """This job, done, with nothing to say."""
        self._must_be(MAY_COMPLETE)
        return Job._of(self._value.finished("Complete", None, results.NONE, None), self._client)

    def completed(self, result: Any) -> Job:
        """This job, done, with its result: an object of this module, a text, a bool, or a list of one kind."""
        self._must_be(MAY_COMPLETE)
        result_type, document = results.encoded(result)
        return Job._of(self._value.finished("Complete", document, result_type, None), self._client)

    def errored(self, error: str | BaseException) -> Job:
        """This job, failed: with a sentence, or an exception, of which the class tells the kind."""
        message, kind = _told_as(error)
        self._must_be(MAY_FAIL)
        return Job._of(self._value.finished("Error", message, results.ERROR, (kind, message)), self._client)

    def update(self) -> None:
        """Ask the bridge how it is now. What is finished does not change any more, and is not asked for."""
        if not self.is_finished:
            self._value = self._asked()._look(self._value.id)

    def wait(self, max_ms: int = WAIT_DEFAULT_MS) -> bool:
        """Wait until it is finished, at most so many milliseconds, or for ever if that is negative; whether it is."""
        if not self.is_finished:
            self._value = self._asked()._wait(self._value, max_ms)
        return self.is_finished

    def _asked(self) -> Refreshes:
        if self._client is not None:
            return self._client
        from openportal.client.default import DEFAULT  # which is made of what is in this file

        return DEFAULT

    def _must_be(self, states: tuple[str, ...]) -> None:
        if self._value.state not in states:
            raise OSError(
                f"job {self.id} is {self._value.state}: only one that is {' or '.join(states)} can be answered"
            )

    def __str__(self) -> str:
        job = self._value
        said = f"{job.destination} {job.instruction}"
        if job.state == "Error":
            return f"{{{said}: {'Unknown Error' if job.result is None else f'Error - {job.result}'}}}"
        if job.state == "Complete" and job.result is not None:
            return f"{{{said}: Complete - {job.result}}}"
        return f"{{{said}: {job.state}}}"


def _told_as(error: object) -> tuple[str, str]:
    """The text and the kind of a failure."""
    if not isinstance(error, BaseException):
        found = recovered(text(error))
        return text(error), found.kind
    name = type(error).__name__
    failure = recovered(f"{name}: {error}" if trim(str(error)) else name)
    known = failure.class_name != OTHER_CLASS or name == OTHER_CLASS
    message = failure.message if known else trim(str(error)) or recovered(OTHER_CLASS).message
    kind = next((kind for kind, class_name in CLASSES.items() if class_name == name), UNKNOWN)
    return f"{name}: {message}", kind
