"""docs/security.md: every test that it names exists, and every finding of the two rounds has its row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "security.md"
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE.read_text())))
FINDINGS = [*(f"F{n}" for n in range(1, 16)), *(f"R{n}" for n in range(1, 35))]
THREATS = (
    "A malicious neighbour", "A compromised middle hop", "A client of the bridge", "A stolen invite", "A tampered log",
    "A full disk", "Hostile HTTP",
)  # fmt: skip


def functions(file: str) -> set[str]:
    """The tests at the top level of a file; its name is unique in the tree."""
    (path,) = TESTS.rglob(file)
    found = ast.parse(path.read_text()).body
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}::{name}" for file, name in NAMED])
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in functions(file)


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| [FR]\d+ ", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_finding_has_one_row() -> None:
    assert [row[0] for row in rows()] == FINDINGS


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_finding_has_a_test_or_the_reason_why_it_has_none(row: list[str]) -> None:
    _, _, here, test = row
    if test == "–":
        assert here.startswith(("cannot arise: ", "the same, "))
    else:
        assert re.fullmatch(r"`test_\w+\.py::\w+`(, `test_\w+\.py::\w+`)*", test)


@pytest.mark.parametrize("threat", THREATS)
def test_a_threat_says_what_holds_and_names_its_tests(threat: str) -> None:
    text = PAGE.read_text().split(f"### {threat}\n")[1].split("\n#")[0]
    assert re.search(r"`test_\w+\.py::\w+`", text)
