from datetime import date

import pytest
from grammar_samples import BY_KIND
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.arguments import UsageLimit, Word, WrittenRange
from openportal.grammar.quantities import U64_MAX, Usage

TODAY = date(2026, 11, 24)


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\xa0"])
def test_a_word_holds_something(text: str) -> None:
    with pytest.raises(GrammarError, match="empty"):
        Word.parse(text)


@pytest.mark.parametrize("kind", [Word, WrittenRange])
def test_a_word_has_no_spaces(kind: type[Word | WrittenRange]) -> None:
    with pytest.raises(GrammarError, match="one word"):
        kind(" today")
    assert str(Word.parse("/home/alice")) == "/home/alice"


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("last_month", "2026-10-01:2026-10-31"),
        ("\tTODAY", "2026-11-24:2026-11-24"),
        ("2024-1-5", "2024-01-05:2024-01-05"),
        ("2024-01-31:2024-01-01", "2024-01-31:2024-01-01"),
    ],
)
def test_a_range_is_kept_as_written_and_means_days(text: str, days: str) -> None:
    written = WrittenRange.parse(text)
    assert (str(written), str(written.on(TODAY))) == (text, days)


@pytest.mark.parametrize("text", ["", "next_week", "2024-13-01", "2000-01-01:2030-01-01", "2024-1-1:today", ":"])
def test_a_range_that_means_no_days_is_refused(text: str) -> None:
    with pytest.raises(GrammarError):
        WrittenRange.parse(text)


# As the published client answers.
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(
            (text, 36000)
            for text in ("36000", "36000 seconds", "600 M", "10 h", "10 hours", " +10\u00a0HOUR ", "10 hour x")
        ),
        *(("10 days", 864_000), ("1 s", 1), ("0", 0), ("0" * 30 + "5", 5), (str(U64_MAX), U64_MAX)),
        *(("307445734561825860 minutes", U64_MAX - 15), ("307445734561825861 minutes", U64_MAX)),
        *((text, None) for text in ("", "ten", "-5", "-0", "1.5", "1_0", "1.5 hours", "10hours", "hours 10", "\uff15")),
        *((text, None) for text in ("10 sec", "10 weeks", "3600 extra", str(U64_MAX + 1), "9" * 5000, "10 hour\x1c")),
    ],
)
def test_a_limit_is_read_as_loosely_as_the_network_does(text: str, seconds: int | None) -> None:
    if seconds is not None:
        assert UsageLimit.parse(text) == UsageLimit(Usage(seconds))
    else:
        with pytest.raises(GrammarError, match="a limit"):
            UsageLimit.parse(text)


@pytest.mark.parametrize("kind", [Word, WrittenRange, UsageLimit])
@given(data=st.data())
def test_what_is_printed_is_read_back(kind: type[Word | WrittenRange | UsageLimit], data: st.DataObject) -> None:
    value = data.draw(BY_KIND[kind])
    assert kind.parse(str(value)) == value
