from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openportal.agents import naming
from openportal.errors import ConfigError, InvalidJob
from openportal.grammar.identifiers import PortalIdentifier, ProjectIdentifier, UserIdentifier, UserMapping

PARTS = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=20)


def test_the_recorded_mapping() -> None:
    assert str(naming.user_mapping(UserIdentifier.parse("bob.climate.brics"))) == (
        "bob.climate.brics:bob.climate:brics.climate"
    )
    assert str(naming.project_mapping(ProjectIdentifier.parse("demo.brics"))) == "demo.brics:brics.demo"


@given(PARTS, PARTS, PARTS)
def test_names_lead_back_to_who_they_are_for(username: str, project: str, portal: str) -> None:
    user = UserIdentifier(username, project, portal)
    assert naming.user_of(naming.local_user(user), user.project_identifier) == user
    if portal not in naming.INTERNAL_PORTALS:
        group = naming.project_group(user.project_identifier)
        assert naming.project_of(group, user.portal_identifier) == user.project_identifier


@pytest.mark.parametrize("name", ["bob", "bob.other", "bob.climate.x", ".climate", "b b.climate", "-b.climate", ""])
def test_other_names_are_nobody_of_the_project(name: str) -> None:
    assert naming.user_of(name, ProjectIdentifier.parse("climate.brics")) is None


@pytest.mark.parametrize(
    ("group", "project"),
    [
        ("brics.demo", "demo.brics"),
        ("group.demo", "demo.brics"),
        ("other.demo", None),
        ("brics.", None),
        ("brics", None),
        ("brics.a.b", None),
    ],
)
def test_groups_of_a_portal(group: str, project: str | None) -> None:
    found = naming.project_of(group, PortalIdentifier("brics"))
    assert (found and str(found)) == project


@pytest.mark.parametrize("portal", sorted(naming.INTERNAL_PORTALS))
def test_internal_portals_have_no_projects(portal: str) -> None:
    with pytest.raises(InvalidJob, match="internal portal"):
        naming.project_mapping(ProjectIdentifier("docker", portal))
    assert naming.project_of(f"{portal}.docker", PortalIdentifier(portal)) is None


def test_a_name_that_gets_too_long_is_refused() -> None:
    with pytest.raises(InvalidJob, match="cannot have an account"):
        naming.user_mapping(UserIdentifier("a" * 60, "p" * 60, "brics"))
    with pytest.raises(InvalidJob, match="cannot have a group"):
        naming.project_mapping(ProjectIdentifier("p" * 60, "b" * 60))


@pytest.mark.parametrize(
    ("peer", "group"),
    [
        ("shared@default", "op_shared_default"),
        ("shared", "op_shared_default"),
        ("a-b@x>y", "op_a_b_x_y"),
        ("é@default", "op___default"),
    ],
)
def test_instance_group(peer: str, group: str) -> None:
    assert naming.instance_group(peer) == group


def test_groups_of_the_states() -> None:
    assert (naming.blocked_group(), naming.removed_group("op")) == ("openportal.blocked", "op.removed")
    assert naming.project_groups(ProjectIdentifier.parse("demo.brics")) == ("brics.demo", "group.demo")


def test_group_settings() -> None:
    assert naming.parse_groups(" users, staff ,,users") == ("users", "staff")
    pairs = naming.parse_instance_groups("shared:mpi, shared@default:gpu,shared:mpi,other:x,")
    assert pairs == {"shared": ("mpi",), "shared@default": ("gpu",), "other": ("x",)}
    assert naming.groups_for("shared@default", pairs) == ("gpu", "mpi")
    assert naming.groups_for("shared@else", pairs) == ("mpi",)
    assert naming.groups_for("none@default", pairs) == ()


@pytest.mark.parametrize("text", ["-rf", ".x", "a b", "a:b", "ü", "x" * 200])
def test_bad_group_names(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a group name"):
        naming.parse_groups(text)


@pytest.mark.parametrize("text", ["shared", "shared:", ":mpi"])
def test_bad_pairs(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a pair"):
        naming.parse_instance_groups(text)


def test_an_email_address_is_no_local_user() -> None:
    user = UserIdentifier.parse("a.b.c")
    naming.require_local(UserMapping(user, "a.b", "c.b"))
    with pytest.raises(InvalidJob, match="e-mail"):
        naming.require_local(UserMapping(user, "a@example.org", "c.b"))


def test_groups_of_instances_are_recognised() -> None:
    assert naming.is_instance(naming.instance_group("shared@default"))
    assert not naming.is_instance("openportal")
    assert not naming.is_instance("brics.demo")
