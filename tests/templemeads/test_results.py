"""Values on the wire."""

from __future__ import annotations

import pytest

from openportal.grammar.identifiers import ProjectMapping, UserIdentifier
from openportal.templemeads.results import encode_result


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        (None, "bool", (None, "None")),
        (True, "bool", ("true", "bool")),
        ("/home/a", "String", ('"/home/a"', "String")),
        (3, "Usage", ("3", "Usage")),
        (UserIdentifier.parse("a.b.c"), "x", ('"a.b.c"', "x")),
        ([ProjectMapping.parse("b.c:g")], "Vec<ProjectMapping>", ('["b.c:g"]', "Vec<ProjectMapping>")),
        (("a", None), "x", ('["a",null]', "x")),
        ({UserIdentifier.parse("a.b.c"): [1.5]}, "x", ('{"a.b.c":[1.5]}', "x")),
        ({}, "x", ("{}", "x")),
    ],
)
def test_a_value_becomes_json_and_a_type(value: object, declared: str, expected: tuple[str | None, str]) -> None:
    assert encode_result(value, declared) == expected
