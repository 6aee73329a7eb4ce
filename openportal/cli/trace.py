"""What ledgers tell, made readable: a line for each event, and the account of one job over all agents. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from openportal.templemeads.events import (
    Abandoned,
    Adopted,
    AgentStarted,
    AgentStopped,
    Ended,
    Intended,
    Joined,
    Late,
    Observed,
    OfferingsSet,
    Operated,
    PeerKnown,
    PeerLog,
    Quarantined,
    Received,
    Restored,
    Sent,
    Settled,
    Started,
    StepRefused,
    UndoPostponed,
)
from openportal.templemeads.ledger import Event, Recorded


class Line(NamedTuple):
    """One event of one agent, in words. `at` is seconds since 1970."""

    at: float
    agent: str
    position: int
    peer: str  # the board, `name@zone`; empty for what the agent says of itself
    event: str
    job: str
    words: str

    def plain(self) -> dict[str, Any]:
        return self._asdict()


WORDS: Mapping[type[Event], Callable[[Any], str]] = {
    Received: lambda e: e.command or "",
    Sent: lambda e: (
        (e.command or "") + (f" (step {e.step})" if e.step else "") + (f" (key {e.client})" if e.client else "")
    ),
    Joined: lambda e: f"waits for the outcome of {e.leader}",
    Started: lambda e: f"attempt {e.attempt}",
    Intended: lambda e: f"effect {e.n}: {e.action} {e.target or ''}".rstrip(),
    Observed: lambda e: f"effect {e.n}: " + ("done" if e.ok else f"failed: {e.detail}"),
    StepRefused: lambda e: f"step {e.step}: {e.detail}",
    Ended: lambda e: outcome_words(e),
    Late: lambda e: "complete, too late" if e.ok else "failed, too late",
    Quarantined: lambda e: f"not run again after attempt {e.attempt}",
    Abandoned: lambda e: "ended before its steps were done: what it created is to be undone",
    Adopted: lambda e: f"asked again: job {e.by} goes on from there",
    Operated: lambda e: f"{e.action} by {e.by}" + (f": {e.why}" if e.why else ""),
    UndoPostponed: lambda e: f"nobody took {', '.join(e.steps)}: asked again later",
    Settled: lambda e: ": ".join(filter(None, (e.how, e.detail))),
    PeerKnown: lambda e: f"{e.peer} is a {e.agent_type}",
    PeerLog: lambda e: f"log {e.ledger} of {e.peer}: generation {e.generation}, {e.units} units, head {e.head[:12]}",
    OfferingsSet: lambda e: ", ".join(e.destinations) or "none",
    Restored: lambda e: f"from a backup: generation {e.generation} from now on",
    AgentStarted: lambda e: f"version {e.version}, process {e.pid}",
    AgentStopped: lambda e: e.reason,
}


def outcome_words(event: Ended) -> str:
    """How a job ended, in words."""
    body = event.result if event.size is None else f"{event.size} bytes, SHA-256 {event.sha256}"
    return f"{event.kind or 'complete'}: {body}" if body is not None else event.kind or "complete"


def line(agent: str, recorded: Recorded) -> Line:
    """One event in words."""
    event = recorded.event
    words = WORDS.get(type(event))
    return Line(
        recorded.at,
        agent,
        recorded.position,
        recorded.stream.removeprefix("board:") if recorded.stream.startswith("board:") else "",
        type(event).TOPIC or "Unknown",
        getattr(event, "id", ""),
        words(event) if words is not None else str(event),
    )


def family(ledgers: Mapping[str, Iterable[Recorded]], job: str, known: Collection[str] = ()) -> set[str]:
    """The job and every job that was asked on its behalf, over all agents; `known` are some that were found before."""
    sent = [
        (recorded.event.parent, recorded.event.id)
        for records in ledgers.values()
        for recorded in records
        if isinstance(recorded.event, Sent) and recorded.event.parent is not None
    ]
    found = {job, *known}
    while more := {id for parent, id in sent if parent in found} - found:
        found |= more
    return found


def timeline(ledgers: Mapping[str, Iterable[Recorded]], job: str) -> list[Line]:
    """What became of a job: every event of it and of what was asked on its behalf, agent by agent, in order of time."""
    ids = family(ledgers, job)
    lines = [
        line(agent, recorded)
        for agent, records in ledgers.items()
        for recorded in records
        if getattr(recorded.event, "id", None) in ids
    ]
    return sorted(lines, key=lambda one: (one.at, one.agent, one.position))


class Resumed(NamedTuple):
    """A job that was taken up again after its agent went down."""

    job: str
    subject: str
    attempt: int
    steps_done: int
    went_on_with: str


def resumed(records: Iterable[Recorded]) -> list[Resumed]:
    """The jobs of one agent that were begun more than once, and where each went on the last time."""
    subjects: dict[str, str] = {}
    found: dict[str, Resumed] = {}
    done: dict[str, int] = {}
    parents: dict[str, str] = {}
    for recorded in records:
        event = recorded.event
        match event:
            case Received(id=id):
                subjects[id] = event.subject or ""
            case Sent(id=id, parent=str(parent), step=str(step)):
                parents[id] = parent
                if parent in found and not found[parent].went_on_with:
                    found[parent] = found[parent]._replace(went_on_with=step)
            case Ended(id=id) if id in parents:
                done[parents[id]] = done.get(parents[id], 0) + 1
            case Started(id=id, attempt=attempt) if attempt > 1:
                found[id] = Resumed(id, subjects.get(id, ""), attempt, done.get(id, 0), "")
    return list(found.values())
