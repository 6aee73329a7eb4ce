"""How the values of the operator's options are read, and how times and words are printed."""

from __future__ import annotations

import click
import pytest

from openportal.cli.options import moment, seconds, visible, wanted
from openportal.cli.wanted import Wanted


def test_times_are_read_as_they_are_printed() -> None:
    for at in (0.0, 1780000000.25):
        assert seconds(moment(at).replace(" ", "T")) == at
    assert seconds("2026-11-24T08:30:00Z") == 1795509000.0
    assert seconds(None) is None
    for text in ("yesterday", "2026-13-01", "0001-01-01"):
        with pytest.raises(click.BadParameter, match="is not a time such as 2026-11-24T08:30"):
            seconds(text)


def test_options_make_a_filter() -> None:
    options = {"user": "u", "project": None, "peer": "p", "key": None}
    assert wanted(job="j", since="1970-01-01T00:00:01Z", **options) == Wanted({"j"}, "u", None, "p", None, 1.0, None)
    assert wanted() == Wanted()


def test_no_event_can_pass_for_others() -> None:
    assert visible("no room\n2026-11-24 all is well\x1b[2J\u2028") == r"no room\n2026-11-24 all is well\x1b[2J\u2028"
    assert visible('"Zoë": 1 €') == '"Zoë": 1 €'
