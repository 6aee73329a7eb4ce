"""Notifications: what changed, told to whoever is at the end of a path. Fire and forget; nobody answers one.

    text    <destination> <event> <argument>                    shared.clusters.aip1.brics user_added alice.demo.brics
    wire    {"id": "<uuid>", "destination": "shared.clusters.aip1.brics", "event": {"UserAdded": "alice.demo.brics"}}

A bridge wraps what its portal's software says in an event that has no text form that can be read:

    {"id": "<uuid>", "destination": "<bridge>.<portal>", "event": {"Forward": {"id": …, "destination": …, "event": …}}}

What is on the wire and not known here (further fields, events of newer versions) is passed on as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

from openportal.errors import GrammarError
from openportal.grammar.destination import Destination
from openportal.grammar.identifiers import ProjectIdentifier, UserIdentifier
from openportal.grammar.text import quote, trim

FORWARD: Final = "Forward"
MAX_ID_CHARACTERS: Final = 64
MAX_ARGUMENT_CHARACTERS: Final = 4_096

Wire = dict[str, Any]
Subject = type[UserIdentifier] | type[ProjectIdentifier]

_SUBJECTS: Final[tuple[tuple[str, Subject, str], ...]] = (
    ("user", UserIdentifier, "added removed changed blocked unblocked"),
    ("project", ProjectIdentifier, "added removed changed blocked unblocked"),
    ("award", ProjectIdentifier, "added removed changed accepted rejected"),
)
EVENTS: Final[Mapping[str, Subject]] = MappingProxyType(
    {f"{what}_{how}": of for what, of, hows in _SUBJECTS for how in hows.split()}
)
"""Every event by its word in the text form, with what its argument is."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification. `event` is {name on the wire: argument}; `extra` holds the fields that we do not know."""

    id: str
    destination: Destination
    event: Wire
    extra: Wire = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The event's name on the wire, such as `UserAdded`."""
        return next(iter(self.event))

    @property
    def inner(self) -> Notification | None:
        """What a Forward carries; None if this is none. Raises GrammarError."""
        return from_wire(self.event[FORWARD]) if self.name == FORWARD else None

    def to_wire(self) -> Wire:
        return {"id": self.id, "destination": str(self.destination), "event": self.event, **self.extra}

    def __str__(self) -> str:
        if self.name == FORWARD:
            return f"{self.destination} forward [{self.inner}]"
        return f"{self.destination} {snake(self.name)} {self.event[self.name]}"


def parse(text: str, id: str | None = None) -> Notification:
    """From the text form; `id` is a new one by default. Raises GrammarError.

    Its words are separated by spaces; further whitespace is dropped, but not at the end of the event.
    """
    destination, _, rest = trim(text).partition(" ")
    event, _, argument = trim(rest).partition(" ")
    where = Destination.parse(trim(destination))
    if not event:
        raise GrammarError(f"a notification is a destination, an event and whom it is about: {quote(text)}")
    subject = EVENTS.get(event)
    if subject is None:
        raise GrammarError(f"{quote(event)} is not an event; these are: {', '.join(EVENTS)}")
    return Notification(id or str(uuid4()), where, {camel(event): str(subject.parse(argument))})


def from_wire(wire: Any) -> Notification:
    """From the JSON object of the wire. Raises GrammarError."""
    if not isinstance(wire, dict):
        raise GrammarError("a notification must be a JSON object")
    id, destination, event = wire.get("id"), wire.get("destination"), wire.get("event")
    if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_CHARACTERS:
        raise GrammarError(f"a notification needs an id of at most {MAX_ID_CHARACTERS} characters")
    if not isinstance(destination, str):
        raise GrammarError(f"notification {quote(id)} has no destination")
    if not isinstance(event, dict) or len(event) != 1:
        raise GrammarError(f"notification {quote(id)} must have one event")
    [(name, argument)] = event.items()
    if snake(name) in EVENTS and not (isinstance(argument, str) and len(argument) <= MAX_ARGUMENT_CHARACTERS):
        raise GrammarError(f"the event {name} of notification {quote(id)} must say whom it is about")
    extra = {key: wire[key] for key in wire.keys() - {"id", "destination", "event"}}
    return Notification(id, Destination.parse(destination), event, extra)


def camel(word: str) -> str:
    """`user_added` -> `UserAdded`."""
    return "".join(part.capitalize() for part in word.split("_"))


def snake(name: str) -> str:
    """`UserAdded` -> `user_added`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).removeprefix("_")
