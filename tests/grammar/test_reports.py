import json
from typing import Any

import pytest
from grammar_samples import portals, projects, users
from hypothesis import given
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier
from openportal.grammar.reports import PortalReport, load, read_users, remapped, renamed_users
from openportal.grammar.storage_reports import StorageReport
from openportal.grammar.usage import ProjectUsageReport, UsageReport


@pytest.mark.parametrize("kind", [UsageReport, StorageReport])
@pytest.mark.parametrize(
    "wire",
    [None, [], {}, {"portal": "w"}, {"portal": 5, "reports": {}}, {"reports": {}}, {"portal": "w", "reports": []}],
)
def test_a_portal_of_another_shape_is_refused(kind: type[PortalReport[Any]], wire: object) -> None:
    with pytest.raises(GrammarError):
        kind.from_wire(wire)
    with pytest.raises(GrammarError):
        kind.from_json(json.dumps(wire))


def test_a_report_stands_under_its_own_project() -> None:
    portal, one, other = PortalIdentifier("w"), *map(ProjectIdentifier.parse, ("p.w", "p.z"))
    with pytest.raises(GrammarError, match=r"the report under p\.z is one of p\.w"):
        UsageReport(portal, {other: ProjectUsageReport(one)})
    with pytest.raises(GrammarError, match=r"the report of p\.z is not one of w"):
        UsageReport(portal, {other: ProjectUsageReport(other)})


@given(portals, st.lists(projects, max_size=3))
def test_a_portal_is_renamed_with_its_projects(portal: PortalIdentifier, found: list[ProjectIdentifier]) -> None:
    here = PortalIdentifier("w")
    mine = [ProjectIdentifier(project.project, "w") for project in found]
    report = UsageReport(here, {project: ProjectUsageReport(project) for project in mine})
    renamed = report.remap_portal(portal)
    assert {project.portal for project in renamed.projects} <= {portal.portal}
    assert renamed.remap_portal(here) == report


@pytest.mark.parametrize("text", ["", "{", "nan", '{"a": NaN}', "[" * 100_000, "{} x", "\ud800"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(GrammarError, match="not a JSON document"):
        load(text)


@given(st.dictionaries(users, st.text(max_size=8), max_size=4))
def test_users_are_read_back(found: dict[UserIdentifier, str]) -> None:
    assert read_users({str(user): name for user, name in found.items()}) == found
    project = ProjectIdentifier("p", "w")
    assert set(remapped(found, project).values()) <= set(found.values())
    assert {user.project_identifier for user in remapped(found, project)} <= {project}


@pytest.mark.parametrize("value", [None, [], {"alice": "a"}, {"alice.p.w": 5}])
def test_users_of_another_shape_are_refused(value: object) -> None:
    with pytest.raises(GrammarError):
        read_users(value)


def test_no_two_users_have_one_name() -> None:
    a, b = map(UserIdentifier.parse, ("a.p.w", "b.p.w"))
    assert renamed_users({a: "a", b: "b"}, {a: "b", b: "a"}) == {a: "b", b: "a"}
    with pytest.raises(GrammarError, match="same local name"):
        renamed_users({a: "a", b: "b"}, {a: "b"})
