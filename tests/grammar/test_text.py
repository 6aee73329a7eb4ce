import pytest
from grammar_samples import words
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.grammar.text import QUOTE_LIMIT_CHARACTERS, WHITESPACE, compact, quote, rejoin, trim


@pytest.mark.parametrize("character", WHITESPACE)
def test_whitespace_is_trimmed_and_joined(character: str) -> None:
    assert trim(f"{character}a{character}") == "a"
    assert rejoin(f"{character}a{character}{character}b") == "a b"


@pytest.mark.parametrize("character", ["\x1c", "\x1d", "\x1e", "\x1f", "\u200b"])
def test_other_separators_are_not_whitespace(character: str) -> None:
    text = f"{character}a{character}b"
    assert trim(text) == text
    assert rejoin(text) == text


@settings(deadline=None)
@given(st.text())
def test_rejoined_text_stays_as_it_is(text: str) -> None:
    once = rejoin(text)
    assert rejoin(once) == once
    assert "  " not in once


@settings(deadline=None)
@given(words, st.integers(1, 400))
def test_a_quote_is_printable_and_bounded(text: str, times: int) -> None:
    quoted = quote(text * times)
    assert quoted.isprintable()
    assert len(quoted) <= QUOTE_LIMIT_CHARACTERS * len("\\U00010000") + len("'…' (8000 characters)")


def test_json_is_written_without_spaces_and_as_it_is() -> None:
    assert compact({"ü": ["\n", 1.5, None]}) == '{"ü":["\\n",1.5,null]}'
