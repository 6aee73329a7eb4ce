"""What the tests of the grammar share: recorded answers of the published client, and strategies for every value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from openportal.grammar.declaration import Instruction
from openportal.grammar.destination import Destination, Destinations
from openportal.grammar.documents import Verbatim, Word
from openportal.grammar.identifiers import (
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
    Volume,
)
from openportal.grammar.instructions import VERBS, Submit
from openportal.grammar.text import trim

VECTORS = Path(__file__).parents[1] / "vectors"


def answers(kind: str, op: str = "parse") -> list[dict[str, Any]]:
    """The recorded answers of one type and operation: {type, op, input, ok, output | error}."""
    lines = (VECTORS / "client-0.94.0.jsonl").read_text(encoding="utf-8").splitlines()
    return [answer for answer in map(json.loads, lines) if (answer["type"], answer["op"]) == (kind, op)]


parts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", fullmatch=True)
local_names = st.lists(parts, min_size=1, max_size=3).map(".".join).filter(lambda name: len(name) <= 64)
emails = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,9}@[a-z]{1,9}(\.[a-z]{1,9}){1,3}", fullmatch=True)
words = st.text(st.characters(exclude_characters=" "), min_size=1, max_size=20).filter(trim)

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
    Verbatim: st.builds(Verbatim, st.text(min_size=1, max_size=40).filter(trim)),
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
