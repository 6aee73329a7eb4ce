import pickle
from dataclasses import replace
from typing import Any

import pytest

from openportal.errors import GrammarError
from openportal.grammar.arguments import Word
from openportal.grammar.declaration import Description, Instruction, declare
from openportal.grammar.identifiers import UserIdentifier, Volume


@declare
class Paint(Instruction, verb="paint", aliases=("colour",), result="String"):
    """Paint a volume.

    More of it.
    """

    volume: Volume
    user: UserIdentifier
    colour: Word | None = None


@declare
class IsPainted(Instruction, verb="is_painted", result="bool", extra="ignored"):
    """Whether a volume is painted."""

    volume: Volume


def test_the_class_is_the_grammar() -> None:
    paint = Paint.parse_arguments("home a.b.c red")
    assert paint == Paint(Volume("home"), UserIdentifier("a", "b", "c"), Word("red"))
    assert str(paint) == "paint home a.b.c red"
    assert (paint.owning_portal, paint.subject) == ("c", "a.b.c")
    assert str(Paint.parse_arguments("home a.b.c")) == "paint home a.b.c"


def test_the_class_is_the_documentation() -> None:
    assert Paint.describe() == Description(
        verb="paint",
        aliases=("colour",),
        arguments=("<volume>", "<username.project.portal>", "[colour]"),
        result_type="String",
        changes=True,
        summary="Paint a volume.",
    )
    assert not IsPainted.changes


def test_further_words_are_joined_or_ignored() -> None:
    assert IsPainted.parse_arguments("home in red") == IsPainted(Volume("home"))
    with pytest.raises(GrammarError, match="one word"):
        Paint.parse_arguments("home a.b.c dark red")


def test_a_misuse_names_the_verb_and_what_it_expects() -> None:
    with pytest.raises(GrammarError, match=r"paint: an argument is missing \(expected: paint <volume> <user"):
        Paint.parse_arguments("home")
    with pytest.raises(GrammarError, match=r"paint: 'b' is not of the form .* \(expected: paint <volume> <user"):
        Paint.parse_arguments("home b")


def test_a_wrong_type_is_a_bug() -> None:
    with pytest.raises(TypeError, match="user of paint must be a UserIdentifier"):
        Paint(Volume("home"), "a.b.c")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="volume of paint"):
        Paint(None, UserIdentifier("a", "b", "c"))  # type: ignore[arg-type]


def test_a_class_without_a_verb_is_refused() -> None:
    with pytest.raises(TypeError, match="Nameless must be declared with verb"):

        @declare
        class Nameless(Instruction):
            pass


def test_instructions_are_frozen_and_small() -> None:
    painted = IsPainted(Volume("home"))
    with pytest.raises(AttributeError):
        painted.volume = Volume("scratch")  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del painted.volume  # type: ignore[misc]
    assert not hasattr(painted, "__dict__")
    assert hash(painted) == hash(IsPainted(Volume("home")))
    assert (painted.owning_portal, painted.subject) == (None, None)


def test_arguments_can_be_named_and_left_out() -> None:
    home, user = Volume("home"), UserIdentifier("a", "b", "c")
    painted = Paint(home, colour=Word("red"), user=user)
    assert painted == Paint(home, user, Word("red")) == replace(Paint(home, user), colour=Word("red"))
    assert Paint(volume=home, user=user).colour is None


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((), {}),
        ((Volume("home"),), {}),
        ((Volume("home"),), {"volume": Volume("home")}),
        ((Volume("home"),), {"user": UserIdentifier("a", "b", "c"), "size": 1}),
        ((Volume("home"), UserIdentifier("a", "b", "c"), None, None), {}),
    ],
)
def test_too_few_too_many_and_misnamed_arguments_are_bugs(given: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"Paint takes paint <volume> <username\.project\.portal>"):
        Paint(*given, **named)


def test_instructions_are_values() -> None:
    home, scratch = IsPainted(Volume("home")), IsPainted(Volume("scratch"))
    assert {home, IsPainted(Volume("home")), scratch} == {home, scratch}
    assert home != Paint(Volume("home"), UserIdentifier("a", "b", "c"))
    assert repr(home) == f"IsPainted(volume={Volume('home')!r})"
    assert pickle.loads(pickle.dumps(home)) == home
