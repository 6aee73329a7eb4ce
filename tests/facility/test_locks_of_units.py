"""What the units of agents that are root let them do beyond others is told, line by line, in the role's README."""

from __future__ import annotations

import re
from itertools import pairwise

from tests.facility.controller import ROOT

ROLE = ROOT / "roles" / "openportal_agent"
NO_LOCKS = ("ExecStart", "LoadCredential")  # which command runs, and what it is handed
ROW = re.compile(r"^\| `([^`]+)` \| (both|accounts|directories) \| (.+) \|$", re.MULTILINE)


def directives(template: str) -> list[tuple[str, str]]:
    """Name and value of every line of a unit, in its order."""
    text = (ROLE / "templates" / template).read_text()
    return re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)


def relaxations() -> set[str]:
    """Every lock that the drop-in takes off, capabilities one by one; what it fills in stands in angle brackets."""
    found = set()
    for name, value in directives("agent.conf.j2"):
        if name == "CapabilityBoundingSet":
            found.update(value.split())
        elif name not in NO_LOCKS:
            found.add(f"{name}={_filled_in(value)}")
    return found


def _filled_in(value: str) -> str:
    return {"{{ volume.roots | join(' ') }}": "<root of a volume>", "{{ folder }}": "<folder>"}.get(value, value)


def test_the_readme_explains_every_lock_that_is_taken_off_and_no_other() -> None:
    rows = ROW.findall((ROLE / "README.md").read_text())
    assert sorted(line for line, _, _ in rows) == sorted(relaxations())


def test_the_common_unit_leaves_no_right_of_root() -> None:
    """What a drop-in does not take off holds for every agent."""
    common = dict(directives("openportal-agent@.service.j2"))
    assert common["User"] == "op-%i"
    assert common["CapabilityBoundingSet"] == common["AmbientCapabilities"] == ""
    assert common["NoNewPrivileges"] == "yes"
    taken_off = {name for name, _ in directives("agent.conf.j2") if name not in NO_LOCKS}
    others = {name for name in common if name.startswith(("Protect", "Private", "Restrict", "SystemCall"))}
    assert taken_off & others == {
        "PrivateUsers", "SystemCallFilter", "RestrictAddressFamilies", "RestrictSUIDSGID", "ProtectHome"
    }  # fmt: skip


def test_each_has_its_reason_beside_it_in_the_template() -> None:
    text = (ROLE / "templates/agent.conf.j2").read_text()
    lines = [line for line in text[text.index("{% if agent.root %}") :].splitlines() if not line.startswith("{%")]
    settings = [(line, before) for before, line in pairwise(lines) if re.match(r"\w+=", line)]
    assert len(settings) > 5
    assert [line for line, before in settings if not before.startswith("# ")] == []


def test_a_unit_that_is_not_root_is_let_off_nothing() -> None:
    """It gets its own command, and what opens its secrets, and no more."""
    text = (ROLE / "templates/agent.conf.j2").read_text()
    own = text[: text.index("{% if agent.root %}")]
    assert set(re.findall(r"^(\w+)=", own, re.MULTILINE)) == set(NO_LOCKS)
