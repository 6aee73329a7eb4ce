"""What became of a job, and why: one job over all agents of a facility as a tree of hops. Pure.

    Hop    a job at one agent: from whom, how often begun, its effects, how it ended
    Asked  what a hop asked of a neighbour for it: the same job passed on, or a step of it; `hop` is the other end

`build` makes the trees from the events of the agents' ledgers, `lines` prints one, `why` names the hop that decided it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from openportal.cli.trace import WORDS
from openportal.templemeads.events import (
    Abandoned,
    Adopted,
    Ended,
    Intended,
    Joined,
    Late,
    Observed,
    Operated,
    Quarantined,
    Received,
    Sent,
    Settled,
    Started,
    StepRefused,
)
from openportal.templemeads.ledger import Recorded

MAX_RESULT_CHARACTERS = 200


class End(NamedTuple):
    """How a job ended on a board; `kind` None is complete."""

    at: float
    kind: str | None
    result: str

    @property
    def words(self) -> str:
        text = self.result if len(self.result) <= MAX_RESULT_CHARACTERS else f"{self.result[:MAX_RESULT_CHARACTERS]}…"
        return f"{self.kind or 'complete'}: {text}" if text else self.kind or "complete"


@dataclass
class Effect:
    """One change of the outside world. `ok` is None as long as nobody knows what came of it."""

    number: int
    words: str
    at: float
    ended: float | None = None
    ok: bool | None = None
    detail: str = ""


@dataclass
class Asked:
    """A job on the board of the neighbour that was asked."""

    peer: str
    job: str
    step: str
    command: str
    at: float
    end: End | None = None
    hop: Hop | None = None

    @property
    def name(self) -> str:
        return self.peer.partition("@")[0]


@dataclass
class Hop:
    """A job at one agent."""

    agent: str
    job: str
    peer: str  # who asked; empty if it began here
    command: str
    at: float
    expires: int
    key: str | None = None
    attempts: list[float] = field(default_factory=list)
    effects: dict[int, Effect] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    notes: list[tuple[float, str]] = field(default_factory=list)
    end: End | None = None


class Builder:
    """Puts the events of one agent where they belong."""

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.hops: dict[str, Hop] = {}
        self._asked: dict[tuple[str, str], Asked] = {}  # (stream, job) -> what was asked there

    def add(self, recorded: Recorded) -> None:
        event, at = recorded.event, recorded.at
        peer = recorded.stream.removeprefix("board:")
        match event:
            case Received():
                self.hops[event.id] = Hop(self.agent, event.id, peer, event.command or "", at, event.expires)
            case Sent():
                self._sent(event, recorded)
            case Ended():
                self._ended(event, recorded)
            case Started(id=id) if id in self.hops:
                self.hops[id].attempts.append(at)
            case Intended(id=id, n=n) if id in self.hops:
                self.hops[id].effects[n] = Effect(n, f"{event.action} {event.target or ''}".rstrip(), at)
            case Observed(id=id, n=n) if id in self.hops and n in self.hops[id].effects:
                effect = self.hops[id].effects[n]
                effect.ended, effect.ok, effect.detail = at, event.ok, event.detail or ""
            case _:
                self._note(event, at)

    def _sent(self, event: Sent, recorded: Recorded) -> None:
        peer = recorded.stream.removeprefix("board:")
        asked = Asked(peer, event.id, event.step or "", event.command or "", recorded.at)
        self._asked[recorded.stream, event.id] = asked
        hop = self.hops.get(event.parent or event.id)
        if hop is None and event.parent is None:
            hop = Hop(self.agent, event.id, "", event.command or "", recorded.at, event.expires, event.client)
            self.hops[event.id] = hop
        if hop is not None:
            hop.asked.append(asked)

    def _ended(self, event: Ended, recorded: Recorded) -> None:
        body = event.result if event.size is None else f"{event.size} characters, SHA-256 {event.sha256}"
        end = End(recorded.at, event.kind, body or "")
        hop, asked = self.hops.get(event.id), self._asked.get((recorded.stream, event.id))
        if asked is not None:
            asked.end = end
        if hop is not None and (asked is None or hop.peer == ""):
            hop.end = end

    def _note(self, event: Any, at: float) -> None:
        hop = self.hops.get(getattr(event, "id", ""))
        if hop is None:
            return
        match event:
            case Quarantined():
                hop.notes.append((at, f"in quarantine after attempt {event.attempt}"))
            case StepRefused():
                hop.notes.append((at, f"{event.step} could not be asked: {event.detail}"))
            case Joined():
                hop.notes.append((at, f"not sent: it gets the outcome of {event.leader}, which asks the same"))
            case Abandoned() | Adopted() | Operated() | Settled():
                hop.notes.append((at, WORDS[type(event)](event)))
            case Late():
                hop.notes.append((at, f"another outcome came later ({'complete' if event.ok else 'failed'}): not used"))


def build(ledgers: Mapping[str, Iterable[Recorded]]) -> list[Hop]:
    """The trees of the jobs in these events, the oldest first; events in the order of each log."""
    builders = {agent: Builder(agent) for agent in ledgers}
    for agent, records in ledgers.items():
        for recorded in records:
            builders[agent].add(recorded)
    reached: set[tuple[str, str]] = set()
    for builder in builders.values():
        for hop in builder.hops.values():
            for asked in hop.asked:
                other = builders.get(asked.name)
                asked.hop = other.hops.get(asked.job) if other is not None else None
                if asked.hop is not None:
                    reached.add((asked.name, asked.job))
    roots = [hop for b in builders.values() for hop in b.hops.values() if (hop.agent, hop.job) not in reached]
    return sorted(roots, key=lambda hop: hop.at)


# --- for people -------------------------------------------------------------------------------------------------------


def lines(root: Hop) -> Iterator[str]:
    """One job, hop by hop; times are seconds after the first."""
    yield from hop_lines(root, root.at, 0)


def hop_lines(hop: Hop, begin: float, depth: int) -> Iterator[str]:
    key = f" (asked by the key {hop.key})" if hop.key else ""
    tries = f", begun {len(hop.attempts)} times" if len(hop.attempts) > 1 else ""
    yield line(hop.at, begin, depth, f"{hop.agent}: {hop.command}{key}{tries}")
    happened: list[tuple[float, list[str]]] = [
        *((effect.at, [line(effect.at, begin, depth + 1, effect_words(effect))]) for effect in hop.effects.values()),
        *((at, [line(at, begin, depth + 1, words)]) for at, words in hop.notes),
        *((at, [line(at, begin, depth + 1, f"attempt {n}")]) for n, at in enumerate(hop.attempts, 1) if n > 1),
        *((asked.at, list(asked_lines(asked, begin, depth + 1))) for asked in hop.asked),
    ]
    for _, texts in sorted(happened, key=lambda item: item[0]):
        yield from texts
    if hop.end is not None:
        yield line(hop.end.at, begin, depth, f"{hop.agent}: {hop.end.words}")


def asked_lines(asked: Asked, begin: float, depth: int) -> Iterator[str]:
    step = f"{asked.step}: " if asked.step else ""
    if asked.hop is not None:
        if step:
            yield line(asked.at, begin, depth, f"{step}asked of {asked.name}")
        yield from hop_lines(asked.hop, begin, depth + 1 if step else depth)
    else:
        yield line(asked.at, begin, depth, f"{step}asked of {asked.name}, whose log does not tell of it")
        if asked.end is not None:
            yield line(asked.end.at, begin, depth, f"{step}{asked.end.words}")


def line(at: float, begin: float, depth: int, words: str) -> str:
    return f"{at - begin:+10.3f} {'  ' * depth}{words}"


def effect_words(effect: Effect) -> str:
    outcome = "nobody knows what came of it"
    if effect.ok is not None and effect.ended is not None:
        took = f"{(effect.ended - effect.at) * 1000:.0f} ms"
        outcome = f"done in {took}" if effect.ok else f"failed after {took}: {effect.detail}"
    return f"effect {effect.number}: {effect.words}: {outcome}"


def why(root: Hop) -> str:
    """Which hop decided how it stands, in a sentence."""
    hop = deciding(root)
    if hop.end is None:
        return f"It is open: {waiting(hop)}"
    if hop.end.kind is None:
        return f"It is complete: {hop.end.result}" if hop.end.result else "It is complete."
    failed = [effect for effect in hop.effects.values() if effect.ok is False]
    effect = f" ({effect_words(failed[-1])})" if failed else ""
    silent = [asked.name for asked in hop.asked if asked.hop is None and decides(asked.end, hop.end)]
    further = f" It had asked {silent[-1]}, whose log does not tell of it." if silent else ""
    return f"It ended at {hop.agent} as {hop.end.kind}: {hop.end.result}{effect}{further}"


def deciding(hop: Hop) -> Hop:
    """The hop that the outcome came from, or that everyone waits for."""
    while True:
        below = [asked.hop for asked in hop.asked if asked.hop is not None and decides(asked.end, hop.end)]
        if not below:
            return hop
        hop = below[-1]


def decides(asked: End | None, end: End | None) -> bool:
    """Whether what was asked stands as the job for which it was asked: both open, or failed in the same way."""
    if asked is None or end is None:
        return asked is None and end is None
    return end.kind is not None and asked.kind == end.kind


def waiting(hop: Hop) -> str:
    """What an open hop waits for."""
    pending = [asked for asked in hop.asked if asked.end is None]
    if pending:
        names = ", ".join(dict.fromkeys(asked.name for asked in pending))
        return f"{hop.agent} waits for {names}, whose log does not tell of it; see that it runs and has its link."
    if hop.attempts:
        return f"{hop.agent} is at work on it, attempt {len(hop.attempts)}."
    return f"{hop.agent} has it and has not begun: an earlier change of the same subject, or its sender, holds it up."
