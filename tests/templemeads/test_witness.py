"""What neighbours think of each other's logs."""

from __future__ import annotations

import msgspec
import pytest

from openportal.templemeads.witness import (
    REPLICA_SECONDS,
    WITNESS_SECONDS,
    LogMark,
    judge,
    read_mark,
    worth_keeping,
)

KNOWN = LogMark("one", 2, 100, "ab" * 32)


def other(**changes: object) -> LogMark:
    return msgspec.structs.replace(KNOWN, **changes)


@pytest.mark.parametrize(
    ("known", "said", "absent", "refused", "warning"),
    [
        (None, KNOWN, 0, None, None),
        (KNOWN, KNOWN, 0, None, None),
        (KNOWN, other(units=101), 0, None, None),
        (KNOWN, other(generation=3, units=5), 0, None, None),
        (KNOWN, other(generation=1, units=500), REPLICA_SECONDS * 9, "an old copy", None),
        (KNOWN, other(units=99), 0, None, "its end is missing"),
        (KNOWN, other(id="two"), REPLICA_SECONDS - 1, "two replicas must share one log", None),
        (KNOWN, other(id="two"), REPLICA_SECONDS, None, "a new log"),
    ],
)
def test_judge(known: LogMark | None, said: LogMark, absent: float, refused: str | None, warning: str | None) -> None:
    verdict = judge(known, said, absent)
    assert (refused is None) == (verdict.refused is None)
    assert (warning is None) == (verdict.warning is None)
    assert (refused or "") in (verdict.refused or "")
    assert (warning or "") in (verdict.warning or "")


def test_what_is_said_is_kept_when_it_is_news() -> None:
    assert worth_keeping(None, KNOWN, 0)
    assert worth_keeping(KNOWN, other(generation=3), 0)
    assert not worth_keeping(KNOWN, other(units=200), WITNESS_SECONDS - 1)
    assert worth_keeping(KNOWN, other(units=200), WITNESS_SECONDS)
    assert not worth_keeping(KNOWN, KNOWN, WITNESS_SECONDS)


@pytest.mark.parametrize("said", [None, 3, {}, {"id": "one"}, {"id": 1, "generation": 1, "units": 1, "head": ""}])
def test_what_cannot_be_read_is_nothing(said: object) -> None:
    assert read_mark(said) is None


def test_a_mark_is_read() -> None:
    assert read_mark(msgspec.to_builtins(KNOWN) | {"newer": 1}) == KNOWN
