"""What the ledger is given: each class has its own topic, and what is personal is sealed under a subject."""

from __future__ import annotations

import msgspec
import pytest

from openportal.templemeads.events import AGENT_STREAM, EVENTS, board_stream
from openportal.templemeads.ledger.format import Event


def test_topics_are_different() -> None:
    assert len({event.TOPIC for event in EVENTS}) == len(EVENTS)
    assert all(event.__name__ == event.TOPIC for event in EVENTS)


def test_a_board_has_a_stream_of_its_own() -> None:
    assert board_stream("b@default") == "board:b@default" != AGENT_STREAM


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_what_is_private_has_an_owner(event: type[Event]) -> None:
    fields = {field.name for field in msgspec.structs.fields(event)}
    assert set(event.PRIVATE) <= fields
    assert not event.PRIVATE or "subject" in fields


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_an_event_is_frozen(event: type[Event]) -> None:
    assert event.__struct_config__.frozen
