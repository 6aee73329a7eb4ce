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
    assert not hasattr(painted, "__dict__")
    assert hash(painted) == hash(IsPainted(Volume("home")))
    assert (IsPainted(Volume("home")).owning_portal, painted.subject) == (None, None)
