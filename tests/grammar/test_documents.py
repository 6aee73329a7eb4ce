import pytest

from openportal.errors import GrammarError
from openportal.grammar.documents import Verbatim, Word


@pytest.mark.parametrize("text", ["{}", '{ "name" : "a  b" }', " 10 GB ", "this_week"])
def test_a_document_is_carried_as_it_is(text: str) -> None:
    assert str(Verbatim.parse(text)) == text


@pytest.mark.parametrize("kind", [Verbatim, Word])
@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_a_document_holds_something(kind: type[Verbatim], text: str) -> None:
    with pytest.raises(GrammarError, match="empty"):
        kind.parse(text)


def test_a_word_has_no_spaces() -> None:
    assert str(Word.parse("/home/alice")) == "/home/alice"
    with pytest.raises(GrammarError, match="one word"):
        Word("a b")
