"""What the unit of an agent that works as root is let off, each has its reason: beside it, and in the docs."""

from __future__ import annotations

import re
from itertools import pairwise

from tests.facility.controller import ROOT

TEMPLATES = ROOT / "roles/openportal_agent/templates"
SETTING = re.compile(r"^(\w+)=")


def relaxations() -> list[tuple[str, str]]:
    """Each setting of an agent that is root, with the line before it that is not one of the template's own."""
    text = (TEMPLATES / "agent.conf.j2").read_text()
    lines = text[text.index("{% if agent.root %}") :].splitlines()
    lines = [line for line in lines if not line.startswith("{%")]
    return [(line, before) for before, line in pairwise(lines) if SETTING.match(line)]


def test_each_has_its_reason_beside_it() -> None:
    found = relaxations()
    assert len(found) > 5
    assert [line for line, before in found if not before.startswith("# ")] == []


def test_each_is_in_the_docs() -> None:
    text = (ROOT / "docs/operate.md").read_text()
    part = text[text.index("### Agents that are root") :]
    told = set(re.findall(r"`(\w+)=", part[: part.index("\n## ")]))
    assert told == {line.partition("=")[0] for line, _ in relaxations()}


def test_a_unit_without_them_is_let_off_nothing() -> None:
    """An agent that needs no root gets its own command, and what opens its secrets, and no more."""
    text = (TEMPLATES / "agent.conf.j2").read_text()
    own = text[: text.index("{% if agent.root %}")]
    assert {line.partition("=")[0] for line in own.splitlines() if SETTING.match(line)} == {
        "ExecStart",
        "LoadCredential",
    }
