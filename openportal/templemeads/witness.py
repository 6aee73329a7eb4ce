"""How neighbours watch over each other's logs. Pure.

An agent of ours says in its `Register` which log it writes and how far that log has come; whoever hears it keeps that.
So a second replica that writes a log of its own, an old copy of a log, and a log that lost its end have a witness.

    another log than before, whose agent was here a moment ago    refused: two replicas must share one log
    another log than before                                       taken, with a warning: it was made anew
    the same log, of an older generation                          refused: it was restored from a backup since
    the same log and generation, with fewer units                 taken, with a warning: its end was cut off
"""

from __future__ import annotations

from typing import Any

import msgspec

REPLICA_SECONDS = 60
WITNESS_SECONDS = 3600


class LogMark(msgspec.Struct, frozen=True):
    """How far a log has come: `head` is the digest of its `units`-th unit, in hex."""

    id: str
    generation: int
    units: int
    head: str


class Verdict(msgspec.Struct, frozen=True):
    """What to do about what a neighbour says of its log: why it is refused, or what is odd about it."""

    refused: str | None = None
    warning: str | None = None


def read_mark(said: Any) -> LogMark | None:
    """What a `Register` says of its sender's log; None if it says nothing that we understand."""
    try:
        return msgspec.convert(said, LogMark)
    except msgspec.ValidationError:
        return None


def judge(known: LogMark | None, said: LogMark, absent_seconds: float) -> Verdict:
    """`known` is what the neighbour said last; it has been away for `absent_seconds`."""
    if known is None:
        return Verdict()
    if said.id != known.id:
        return _judge_another(known, said, absent_seconds)
    if said.generation < known.generation:
        return Verdict(
            f"its log is of generation {said.generation}, and generation {known.generation} of it was here:"
            " this is an old copy, stop it"
        )
    if said.generation == known.generation and said.units < known.units:
        return Verdict(
            warning=f"its log has {said.units} units and had {known.units}: its end is missing;"
            " a backup is brought back with `openportal ledger restore`"
        )
    return Verdict()


def _judge_another(known: LogMark, said: LogMark, absent_seconds: float) -> Verdict:
    if absent_seconds < REPLICA_SECONDS:
        return Verdict(
            f"it writes log {said.id}, and its namesake with log {known.id} was here {absent_seconds:.0f} s ago:"
            " two replicas must share one log in PostgreSQL"
        )
    return Verdict(warning=f"it writes a new log, {said.id}, and not {known.id} as before: what that one knew is lost")


def worth_keeping(known: LogMark | None, said: LogMark, age_seconds: float) -> bool:
    """Whether what was said is kept as an event: a new log, or an hour's progress of a known one."""
    if known is None or (said.id, said.generation) != (known.id, known.generation):
        return True
    return said.units != known.units and age_seconds >= WITNESS_SECONDS
