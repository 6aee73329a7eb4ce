"""Notifications: what changed, told to a portal's software.

    note = openportal.fetch_notification(id)
    note.event_type, note.event_argument           ("user_added", "alice.demo.brics")

One that carries another comes from a bridge and can be read from JSON only; its argument is `[<the other>]`.
"""

from __future__ import annotations

import json
from typing import Any, Self, final

from openportal.client.arguments import text, told
from openportal.client.wrapper import Read, Wrapper
from openportal.errors import GrammarError
from openportal.grammar import notifications as grammar
from openportal.grammar.identifiers import parse_uuid
from openportal.grammar.text import quote

DOMAIN = ("domain", "domain_version")


@final
class Notification(Wrapper[grammar.Notification]):
    """What changed, and along which path it was told."""

    __slots__ = ()

    def __new__(cls, command: str) -> Self:
        return cls._of(told(_parse, text(command, "command")))

    @staticmethod
    def parse(command: str) -> Notification:
        """From `<destination> <event> <whom>`."""
        return Notification(command)

    @staticmethod
    def from_json(json: str) -> Notification:
        return Notification._of(told(_read, text(json, "json")))

    @classmethod
    def _from_wire(cls, wire: object) -> Notification:
        return cls._of(_checked(wire))

    def to_json(self) -> str:
        return json.dumps(_to_wire(self._value), ensure_ascii=False, separators=(",", ":"))

    id: Read[str] = Read()
    destination: Read[str] = Read(str)

    @property
    def event(self) -> str:
        """What happened, and to whom: `user_added alice.demo.brics`."""
        return f"{self.event_type} {self.event_argument}"

    @property
    def event_type(self) -> str:
        return grammar.snake(self._value.name)

    @property
    def event_argument(self) -> str:
        inner = self._value.inner
        return str(self._value.event[self._value.name]) if inner is None else f"[{inner}]"


def _parse(command: str) -> grammar.Notification:
    if command.startswith(" "):
        raise GrammarError(f"a notification begins with its destination, not with a space: {quote(command)}")
    return grammar.parse(command)


def _read(document: str) -> grammar.Notification:
    try:
        return _checked(json.loads(document))
    except (ValueError, RecursionError) as error:
        raise GrammarError(f"not a notification: {error}") from error


def _checked(wire: object) -> grammar.Notification:
    """As the published client takes it: with a UUID, an event that is known, and the one whom it is about."""
    found = grammar.from_wire(wire)
    inner = found.inner
    if inner is not None:
        _checked(inner.to_wire())
    else:
        subject = grammar.EVENTS.get(grammar.snake(found.name))
        if subject is None:
            raise GrammarError(f"{found.name} is not an event; these are: {', '.join(grammar.EVENTS)}")
        subject.parse(found.event[found.name])
    for name in DOMAIN:
        if not isinstance(found.extra.get(name), str | None):
            raise GrammarError(f"{name} of a notification must be a text")
    return grammar.Notification(parse_uuid(found.id), found.destination, found.event, found.extra)


def _to_wire(value: grammar.Notification) -> dict[str, Any]:
    inner = value.inner
    event = value.event if inner is None else {value.name: _to_wire(inner)}
    domain = {name: value.extra.get(name) for name in DOMAIN}
    return {"id": value.id, "destination": str(value.destination), "event": event, **domain}
