"""A job of several steps, written as a generator and resumed from what is on record.

A saga yields what it wants to know and is sent the answer:

    mapping = yield Ask("Account", f"add_user {user}")             # the decoded result, or AskFailed is thrown
    done = yield [Ask("Filesystem", ...), Ask("Scheduler", ...)]   # both at once; Outcomes, and nothing is thrown
    return mapping

The driver knows the outcome of every step that was ever answered. After a crash the generator runs again from its
start: it must be a function of its arguments and of the answers alone (no clock, no randomness, no I/O), so it comes to
the same steps in the same order, gets the recorded answers, and stops at the first step that has none. Steps are named
`<agent>.<verb>#<n>`, so a name means the same step in every run.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one step ended: `result` is JSON text if `kind` is None, else prose."""

    result: str | None = None
    result_type: str | None = None
    kind: str | None = None

    @property
    def ok(self) -> bool:
        return self.kind is None

    @property
    def value(self) -> Any:
        """The decoded result. Raises AskFailed if the step failed, or if what it answered cannot be read."""
        if self.kind is not None:
            raise AskFailed(self.result or "no reason was given", self.kind)
        try:
            return None if self.result is None else msgspec.json.decode(self.result)
        except msgspec.DecodeError as error:
            raise AskFailed(f"the answer is not JSON: {error}", "unknown") from None


class Ask(NamedTuple):
    """One thing to ask of another agent: `agent` is a type (`Account`) or the name of a peer."""

    agent: str
    instruction: str
    destination: str | None = None  # the whole path; None means `<me>.<peer>`
    forwarded_for: str | None = None
    lifetime_seconds: int | None = None  # None means until the parent expires
    onward: str | None = None  # the path goes on beyond the agent: `<me>.<peer>.<onward>`
    undo: bool = False  # takes back what the saga did: still asked when its job has expired


def is_look(step: str) -> bool:
    """Whether a step, by its name, only asked whether something is there."""
    return step.partition(".")[2].startswith("is_")


class AskFailed(Exception):
    """A step ended in an error; thrown into the saga, which may catch it and compensate."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Finished(NamedTuple):
    """What a saga returns when it says more than a value: the raw result, its type, and an event to tell the portal."""

    value: Any
    result_type: str | None = None  # None means what the instruction declares
    raw: bool = False  # value is the JSON text itself
    event: tuple[str, str] | None = None  # (event, argument), sent along the reversed destination


Request: TypeAlias = Ask | list[Ask]
Steps: TypeAlias = Generator[Request, Any, Any]


class Driver:
    """Runs one saga as far as the recorded outcomes carry it."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._counts: dict[str, int] = {}
        self._request: Request | None = None
        self._named: list[tuple[str, Ask]] = []
        self.undo_steps: list[str] = []  # the names of those steps so far that take something back

    def advance(self, outcomes: Mapping[str, Outcome]) -> list[tuple[str, Ask]]:
        """Run until an outcome is missing; returns the steps without one. Raises Done, or what the saga raises."""
        while True:
            if self._request is None:
                self._take(self._resume(None, None))
            missing = [(name, ask) for name, ask in self._named if name not in outcomes]
            if missing:
                return missing
            self._take(self._answer(outcomes))

    def close(self) -> None:
        """Drop the saga where it stands."""
        self._steps.close()

    def _answer(self, outcomes: Mapping[str, Outcome]) -> Request:
        found = [outcomes[name] for name, _ in self._named]
        if isinstance(self._request, list):
            return self._resume(found, None)
        try:
            value = found[0].value
        except AskFailed as failure:
            return self._resume(None, failure)
        return self._resume(value, None)

    def _resume(self, value: Any, failure: AskFailed | None) -> Request:
        try:
            return self._steps.throw(failure) if failure is not None else self._steps.send(value)
        except StopIteration as stop:
            raise Done(stop.value) from None

    def _take(self, request: Request) -> None:
        self._request = request
        asks = request if isinstance(request, list) else [request]
        self._named = [(self._name(ask), ask) for ask in asks]
        self.undo_steps += [name for name, ask in self._named if ask.undo]

    def _name(self, ask: Ask) -> str:
        key = f"{ask.agent.lower()}.{ask.instruction.split(' ', 1)[0]}"
        self._counts[key] = count = self._counts.get(key, 0) + 1
        return f"{key}#{count}"


class Done(Exception):
    """The saga returned."""

    def __init__(self, value: Any) -> None:
        super().__init__("the saga is done")
        self.value = value
