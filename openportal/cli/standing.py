"""How an agent stands, now or at a moment in the past: its boards, the jobs on them, and how far each is. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openportal.templemeads.board import Board, Entry
from openportal.templemeads.saga import Outcome
from openportal.templemeads.state import AgentState

Plain = dict[str, Any]


def plain(state: AgentState) -> Plain:
    """Everything that is open, for programs."""
    boards = {peer: [entry_plain(entry) for entry in board.open.values()] for peer, board in state.boards.items()}
    aside = {peer: [entry_plain(entry) for entry in board.aside.values()] for peer, board in state.boards.items()}
    return {
        "agent": state.me,
        "neighbours": dict(state.types),
        "offerings": list(state.offerings),
        "boards": boards,
        "aside": aside,
        "ended": {peer: len(board.recent) + len(board.past) for peer, board in state.boards.items()},
    }


def entry_plain(entry: Entry) -> Plain:
    job = entry.job
    return {
        "job": job.id,
        "direction": "inbound" if entry.inbound else "outbound",
        "command": job.command,
        "subject": entry.subject,
        "state": job.state.value,
        "created": job.created,
        "expires": job.expires,
        "attempts": entry.attempts,
        "effects": entry.effects,
        "key": entry.client,
        "parent": entry.parent,
        "step": entry.step,
        "waits_for": entry.leader or entry.relay,
        "steps": [{"step": step, "job": id, **outcome_plain(entry.outcomes.get(step))} for step, id in steps_of(entry)],
    }


def outcome_plain(outcome: Outcome | None) -> Plain:
    if outcome is None:
        return {"outcome": None, "result": None}
    return {"outcome": outcome.kind or "complete", "result": outcome.result}


def steps_of(entry: Entry) -> Iterator[tuple[str, str | None]]:
    """The steps of a saga in the order in which they were asked; then those that nobody could be asked."""
    yield from entry.asked.items()
    yield from ((step, None) for step in entry.outcomes if step not in entry.asked)


def lines(state: AgentState) -> Iterator[str]:
    """The same for people."""
    yield f"{state.me}"
    for peer, board in sorted(state.boards.items()):
        yield from board_lines(state, board, peer)


def board_lines(state: AgentState, board: Board, peer: str) -> Iterator[str]:
    kind = state.types.get(peer, "never registered")
    aside = f", {len(board.aside)} set aside" if board.aside else ""
    yield f"  {peer} ({kind}): {len(board.open)} open{aside}"
    for entry in (*board.open.values(), *board.aside.values()):
        yield f"    {how(entry)}"
        for step, _ in steps_of(entry):
            outcome = entry.outcomes.get(step)
            yield f"      {step}: {'asked, no answer yet' if outcome is None else outcome_words(outcome)}"


def how(entry: Entry) -> str:
    """One job in a line."""
    job = entry.job
    parts = ["from it" if entry.inbound else "to it", job.id, job.state.value]
    if entry.attempts:
        parts.append(f"attempt {entry.attempts}")
    if entry.quarantined or entry.abandoned:
        parts.append("in quarantine" if entry.quarantined else "to be undone")
    if entry.effects:
        parts.append(f"{entry.effects} effects")
    if entry.relay is not None:
        parts.append(f"passed on to {entry.relay}")
    if entry.leader is not None:
        parts.append(f"waits for the outcome of {entry.leader}")
    return f"{' '.join(parts[:2])} {', '.join(parts[2:])}: {job.command}"


def outcome_words(outcome: Outcome) -> str:
    return f"{outcome.kind or 'complete'}" + (f": {outcome.result}" if outcome.result is not None else "")
