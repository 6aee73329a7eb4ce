"""Where a person is named outside of what is sealed for them, and how a checkpoint forgets them. Pure.

Most of what names a person is sealed under the person's own key, and gone with it. What was answered and done about a
project or a portal may name several people: it is sealed under a key of its own job (`owner_of`, `owner_of_effect`),
which is destroyed with the person. What is left, if anything, is found by looking for the name.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from openportal.templemeads.ledger.format import ERASED, Event

OWN_KEY = "job:"
SAYS_NOTHING = ("None", "bool")
USER_PARTS = 3


def owner_of_effect(subject: str | None, id: str) -> str | None:
    """Whose key seals what job `id` did: the user's whom it is about, or its own; a project's may concern several."""
    return subject if subject is None or is_user(subject) else f"{OWN_KEY}{id}"


def is_user(subject: str) -> bool:
    return subject.count(".") == USER_PARTS - 1


def owner_of(subject: str | None, id: str, result: str | None, result_type: str | None) -> str | None:
    """Whose key seals what job `id` answered: the user's whom it is about, or its own if it may name several people."""
    if result is None or result_type in SAYS_NOTHING:
        return subject
    if subject is not None and is_user(subject):
        return subject
    return f"{OWN_KEY}{id}"


def naming(name: str) -> re.Pattern[str]:
    """Finds somebody in text, and nobody whose name is longer.

    A user is looked for as `alice.demo.brics`, as the account `alice.demo`, and as `demo.brics/alice` in a path.
    """
    forms = [re.escape(name)]
    parts = name.split(".")
    if len(parts) == USER_PARTS:
        user, project, portal = map(re.escape, parts)
        forms += [rf"{user}\.{project}", rf"{project}\.{portal}/{user}"]
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(forms)})(?![\w-]|\.[\w-])")


def names(event: Event, pattern: re.Pattern[str]) -> bool:
    """Whether anything in an event names them."""
    return pattern.search(msgspec.json.encode(event).decode()) is not None


def redacted(state: bytes, name: str) -> bytes:
    """A checkpoint without a person: every text that names them reads as an erased one."""
    pattern = naming(name)

    def without(value: Any) -> Any:
        match value:
            case str():
                return ERASED if pattern.search(value) else value
            case list():
                return [without(one) for one in value]
            case dict():
                return {without(key): without(one) for key, one in value.items()}
        return value

    return msgspec.json.encode(without(msgspec.json.decode(state)))
