"""Everything that an agent writes into its ledger, one class per fact.

Events of a board live on that board's stream (`board:<name>@<zone>`); facts about the agent itself on `agent`. The
fields in PRIVATE are sealed under the key of `subject`, so that a person can be erased without touching the log.
"""

from __future__ import annotations

from typing import ClassVar

from openportal.templemeads.ledger.format import Event

AGENT_STREAM = "agent"


def board_stream(peer: str) -> str:
    """The stream of the board shared with `peer` (`name@zone`)."""
    return f"board:{peer}"


class Received(Event, frozen=True, omit_defaults=True):
    """A neighbour put a job on us and we took it."""

    TOPIC: ClassVar[str] = "Received"
    PRIVATE: ClassVar[tuple[str, ...]] = ("command", "extra")
    id: str
    created: int
    expires: int
    version: int
    subject: str | None = None
    command: str | None = None
    extra: str | None = None
    forwarded_for: str | None = None
    domain: str | None = None
    domain_version: str | None = None


class Sent(Event, frozen=True, omit_defaults=True):
    """We owe ourselves the answer of a neighbour.

    `via` is the board of the job that this one serves: the same job, passed on (no `parent`), or a step of it. A job
    that a client of the bridge asked for has `client`, the id of the key it was signed with, instead.
    """

    TOPIC: ClassVar[str] = "Sent"
    PRIVATE: ClassVar[tuple[str, ...]] = ("command", "extra")
    id: str
    created: int
    expires: int
    version: int
    subject: str | None = None
    command: str | None = None
    extra: str | None = None
    forwarded_for: str | None = None
    domain: str | None = None
    domain_version: str | None = None
    via: str | None = None
    parent: str | None = None
    step: str | None = None
    client: str | None = None


class Joined(Event, frozen=True, omit_defaults=True):
    """The job asks what an open one of the same board asks already: it is not sent, and gets that one's outcome."""

    TOPIC: ClassVar[str] = "Joined"
    id: str
    leader: str


class Started(Event, frozen=True, omit_defaults=True):
    """The work began, for the `attempt`-th time."""

    TOPIC: ClassVar[str] = "Started"
    id: str
    attempt: int = 1


class Intended(Event, frozen=True, omit_defaults=True):
    """The `n`-th effect of the job on the outside world is about to happen."""

    TOPIC: ClassVar[str] = "Intended"
    PRIVATE: ClassVar[tuple[str, ...]] = ("target",)
    id: str
    n: int
    action: str
    subject: str | None = None
    target: str | None = None


class Observed(Event, frozen=True, omit_defaults=True):
    """What was seen after the `n`-th effect: `ok`, or what went wrong."""

    TOPIC: ClassVar[str] = "Observed"
    PRIVATE: ClassVar[tuple[str, ...]] = ("detail",)
    id: str
    n: int
    ok: bool = True
    subject: str | None = None
    detail: str | None = None


class StepRefused(Event, frozen=True, omit_defaults=True):
    """A step could not be asked of anyone (no agent of that kind in time)."""

    TOPIC: ClassVar[str] = "StepRefused"
    id: str
    step: str
    kind: str
    detail: str


class Ended(Event, frozen=True, omit_defaults=True):
    """The first terminal state of the job on this board. A body too big to keep has only its size and hash here."""

    TOPIC: ClassVar[str] = "Ended"
    PRIVATE: ClassVar[tuple[str, ...]] = ("result",)
    id: str
    version: int
    subject: str | None = None
    result: str | None = None
    result_type: str | None = None
    kind: str | None = None  # of the failure; None means complete
    size: int | None = None
    sha256: str | None = None


class Late(Event, frozen=True, omit_defaults=True):
    """Another terminal state came after the first: shown, never sent."""

    TOPIC: ClassVar[str] = "Late"
    id: str
    version: int
    ok: bool


class Quarantined(Event, frozen=True, omit_defaults=True):
    """The job took the agent down with it too often and is not run again by itself."""

    TOPIC: ClassVar[str] = "Quarantined"
    id: str
    attempt: int


class Abandoned(Event, frozen=True, omit_defaults=True):
    """The saga's job is about to end for its sender while its steps are not done: what it created is to be undone."""

    TOPIC: ClassVar[str] = "Abandoned"
    id: str


class Adopted(Event, frozen=True, omit_defaults=True):
    """The same was asked again before the abandoned saga was undone: job `by` of `peer` goes on in its place."""

    TOPIC: ClassVar[str] = "Adopted"
    id: str
    by: str
    peer: str


class UndoPostponed(Event, frozen=True, omit_defaults=True):
    """Nobody took these steps of an undoing in time: they are asked again later."""

    TOPIC: ClassVar[str] = "UndoPostponed"
    id: str
    steps: list[str]


class Settled(Event, frozen=True, omit_defaults=True):
    """A job that was set aside is done with: `undone`, `nothing to undo`, `undo failed`, or what an operator says."""

    TOPIC: ClassVar[str] = "Settled"
    PRIVATE: ClassVar[tuple[str, ...]] = ("detail",)
    id: str
    how: str
    subject: str | None = None
    detail: str | None = None


class Operated(Event, frozen=True, omit_defaults=True):
    """An operator (`by`) did `action` with the job: `retry`, `resolve` or `cancel`."""

    TOPIC: ClassVar[str] = "Operated"
    id: str
    action: str
    by: str
    why: str = ""


class PeerKnown(Event, frozen=True, omit_defaults=True):
    """A neighbour registered as an agent of this type."""

    TOPIC: ClassVar[str] = "PeerKnown"
    peer: str
    agent_type: str


class PeerLog(Event, frozen=True, omit_defaults=True):
    """A neighbour said how far its log has come; `head` is the digest of its last unit."""

    TOPIC: ClassVar[str] = "PeerLog"
    peer: str
    ledger: str
    generation: int
    units: int
    head: str


class OfferingsSet(Event, frozen=True, omit_defaults=True):
    """The offerings of this portal's software are now these destinations."""

    TOPIC: ClassVar[str] = "OfferingsSet"
    destinations: list[str]


class AgentStarted(Event, frozen=True, omit_defaults=True):
    """The agent came up."""

    TOPIC: ClassVar[str] = "AgentStarted"
    version: str
    pid: int


class Restored(Event, frozen=True, omit_defaults=True):
    """The log was brought back from a backup, and is of this generation since."""

    TOPIC: ClassVar[str] = "Restored"
    generation: int


class AgentStopped(Event, frozen=True, omit_defaults=True):
    """The agent went down in good order."""

    TOPIC: ClassVar[str] = "AgentStopped"
    reason: str


EVENTS: tuple[type[Event], ...] = (
    Received, Sent, Joined, Started, Intended, Observed, StepRefused, Ended, Late, Quarantined,
    Abandoned, Adopted, UndoPostponed, Settled, Operated,
    PeerKnown, PeerLog, OfferingsSet, AgentStarted, AgentStopped, Restored,
)  # fmt: skip
