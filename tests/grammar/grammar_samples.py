"""What the tests of the grammar share: recorded answers of the published client, and strategies for every value."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.arguments import UsageLimit, Word, WrittenRange
from openportal.grammar.awards import AwardDetails
from openportal.grammar.dates import WORDS, DateRange
from openportal.grammar.declaration import Instruction
from openportal.grammar.destination import Destination, Destinations
from openportal.grammar.identifiers import (
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
    Volume,
)
from openportal.grammar.instructions import VERBS, Submit
from openportal.grammar.quantities import U64_MAX, Usage
from openportal.grammar.storage import QuotaLimit, StorageSize
from openportal.grammar.text import trim

VECTORS = Path(__file__).parents[1] / "vectors"


Answer = dict[str, Any]


@cache
def _recorded() -> tuple[str, ...]:
    return tuple((VECTORS / "client-0.94.0.jsonl").read_text(encoding="utf-8").splitlines())


def answers(kind: str, op: str = "parse") -> list[Answer]:
    """The recorded answers of one type and operation: {type, op, input, ok, output | error}."""
    return [answer for answer in map(json.loads, _recorded()) if (answer["type"], answer["op"]) == (kind, op)]


def check_answers(
    kind: str, op: str, count: int, ours: Callable[[Answer], object], deliberate: Callable[[Answer], bool] | None = None
) -> None:
    """Hold `ours` against each of `count` recorded answers. It refuses what was refused, and where it is deliberate."""
    recorded = answers(kind, op)
    assert len(recorded) == count
    for answer in recorded:
        if answer["ok"] and not (deliberate and deliberate(answer)):
            assert ours(answer) == answer["output"], answer["input"]
        else:
            with pytest.raises(GrammarError):
                ours(answer)


def check_inputs(kind: str, op: str, count: int, ours: Callable[[Any], object]) -> None:
    """The same, where the input is all that `ours` needs of an answer."""
    check_answers(kind, op, count, lambda answer: ours(answer["input"]))


parts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", fullmatch=True)
local_names = st.lists(parts, min_size=1, max_size=3).map(".".join).filter(lambda name: len(name) <= 64)
emails = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,9}@[a-z]{1,9}(\.[a-z]{1,9}){1,3}", fullmatch=True)
words = st.text(st.characters(exclude_characters=" ", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(trim)

portals = st.builds(PortalIdentifier, parts)
projects = st.builds(ProjectIdentifier, parts, parts)
users = st.builds(UserIdentifier, parts, parts, parts)
project_mappings = st.builds(ProjectMapping, projects, local_names)
user_mappings = st.builds(UserMapping, users, local_names | emails, local_names)
volumes = st.builds(Volume, words.map(trim).filter(bool))

agents = st.text(st.characters(exclude_characters=".,[]"), min_size=1, max_size=12).filter(
    lambda name: not any(trim(character) == "" for character in name)
)
destinations = st.builds(Destination, st.lists(agents, min_size=2, max_size=6).map(tuple))
destination_lists = st.builds(Destinations, st.lists(destinations, max_size=4, unique=True).map(tuple))

names = st.text(max_size=12)
dates = st.dates(date(1980, 1, 1), date(2190, 12, 31))
ranges = st.builds(lambda day, span: DateRange(day, day + timedelta(days=span)), dates, st.integers(-1830, 1830))
awards = st.builds(AwardDetails, name=names | st.none(), start_date=dates | st.none(), members=st.just({"a@b.c": "pi"}))
usages = st.builds(Usage, st.integers(0, U64_MAX))
sizes = st.builds(StorageSize, st.integers(0, U64_MAX))
limits = st.builds(QuotaLimit, sizes | st.none()).map(str).map(QuotaLimit.parse)  # as precise as it is printed

BY_KIND: dict[type, st.SearchStrategy[Any]] = {
    PortalIdentifier: portals,
    ProjectIdentifier: projects,
    UserIdentifier: users,
    ProjectMapping: project_mappings,
    UserMapping: user_mappings,
    Volume: volumes,
    Destination: destinations,
    Destinations: destination_lists,
    Word: st.builds(Word, words),
    WrittenRange: st.builds(WrittenRange, ranges.map(str) | st.sampled_from(sorted(WORDS))),
    UsageLimit: st.builds(UsageLimit, usages),
    QuotaLimit: limits,
    AwardDetails: awards,
    Instruction: st.deferred(lambda: simple_instructions),
}


def instructions_of(kind: type[Instruction]) -> st.SearchStrategy[Instruction]:
    """Every instruction of one verb, with and without what may be left out."""
    values = [
        (BY_KIND[argument.kind] | st.none()) if argument.nullable else BY_KIND[argument.kind]
        for argument in kind.arguments
    ]
    return st.tuples(*values).map(lambda values: kind(*values))


VERB_CLASSES = tuple(dict.fromkeys(VERBS.values()))
simple_instructions = st.sampled_from([kind for kind in VERB_CLASSES if kind is not Submit]).flatmap(instructions_of)
