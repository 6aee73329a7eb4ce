from itertools import pairwise

import pytest
from grammar_samples import agents, answers, destination_lists, destinations
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.destination import Destination, Destinations, Position


def test_every_recorded_answer_is_ours_too() -> None:
    recorded = answers("Destination")
    assert len(recorded) == 28
    for answer in recorded:
        if not answer["ok"]:
            with pytest.raises(GrammarError):
                Destination.parse(answer["input"])
            continue
        value = Destination.parse(answer["input"])
        assert {"agents": list(value.agents), "reverse": str(value.reversed()), "str": str(value)} == answer["output"]


@settings(deadline=None)
@given(destinations)
def test_what_is_printed_is_read_back(destination: Destination) -> None:
    assert Destination.parse(str(destination)) == destination
    assert destination.reversed().reversed() == destination


@settings(deadline=None)
@given(destination_lists)
def test_a_printed_list_is_read_back(listed: Destinations) -> None:
    assert Destinations.parse(str(listed)) == listed


@settings(deadline=None)
@given(st.text() | st.text("ab.,[] \n", max_size=16))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in (Destination, Destinations):
        try:
            kind.parse(text)
        except GrammarError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("path", "me", "sender", "position"),
    [
        ("a.b.c", "c", "b", Position.HERE),
        ("a.b.c", "b", "a", Position.DOWNSTREAM),
        ("a.b.c", "b", "c", Position.UPSTREAM),
        ("a.b.c", "a", "b", Position.UPSTREAM),
        ("a.b.c", "c", "a", Position.OFF_ROUTE),
        ("a.b.c", "a", "c", Position.OFF_ROUTE),
        ("a.b.c", "x", "a", Position.OFF_ROUTE),
        ("a.b.c", "a", "x", Position.OFF_ROUTE),
        ("a.b.c", "b", "b", Position.OFF_ROUTE),
        ("a.b.a", "b", "a", Position.DOWNSTREAM),
        ("a.b.a", "a", "b", Position.HERE),
        ("a.b.c.b.d", "b", "c", Position.DOWNSTREAM),
        ("a.b.c.b.d", "b", "d", Position.UPSTREAM),
        ("a.b.a.b", "b", "a", Position.DOWNSTREAM),
    ],
)
def test_position(path: str, me: str, sender: str, position: Position) -> None:
    assert Destination.parse(path).position(me, sender) is position


@settings(deadline=None)
@given(st.lists(agents, min_size=2, max_size=6, unique=True))
def test_neighbours_on_a_simple_path(names: list[str]) -> None:
    path = Destination(tuple(names))
    assert (path.first, path.last) == (names[0], names[-1])
    assert path.previous_before(path.first) is None
    assert path.next_after(path.last) is None
    for before, after in pairwise(names):
        assert path.next_after(before) == after
        assert path.previous_before(after) == before
        assert path.position(before, after) is Position.UPSTREAM
        expected = Position.HERE if after == path.last else Position.DOWNSTREAM
        assert path.position(after, before) is expected


def test_names_that_are_repeated_or_absent() -> None:
    path = Destination.parse("a.b.a.c")
    assert path.next_after("a") == "b"
    assert path.previous_before("a") is None
    assert path.next_after("x") is None
    assert path.previous_before("x") is None


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", "[]"),
        ("[]", "[]"),
        (",,", "[]"),
        ("[a.b]", "a.b"),
        ("a.b]", "a.b"),
        ("[a.b", "[a.b"),
        ("[a.b,c.d]", "[a.b, c.d]"),
        ("a.b, c.d", "[a.b, c.d]"),
        ("[a.b, a.b]", "a.b"),
        ("[[a.b]]", "[a.b]"),
    ],
)
def test_lists(text: str, printed: str) -> None:
    assert str(Destinations.parse(text)) == printed


@pytest.mark.parametrize("agents", [(), ("a",), ("a", ""), ("a.b", "c"), ("a", "b c"), ("a", "b\n")])
def test_constructors_refuse_what_could_not_be_read_back(agents: tuple[str, ...]) -> None:
    with pytest.raises(GrammarError):
        Destination(agents)


def test_a_list_refuses_commas_and_repetitions() -> None:
    path = Destination.parse("a.b")
    with pytest.raises(GrammarError, match="twice"):
        Destinations((path, path))
    with pytest.raises(GrammarError, match="comma"):
        Destinations((Destination.parse("a.b,c"),))
