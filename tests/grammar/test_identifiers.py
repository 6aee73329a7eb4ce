from typing import Any

import pytest
from grammar_samples import answers, portals, project_mappings, projects, user_mappings, users, volumes
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.identifiers import (
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
    Volume,
    parse_uuid,
)

KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (PortalIdentifier, ProjectIdentifier, UserIdentifier, ProjectMapping, UserMapping, Volume)
}
RECORDED = {
    "PortalIdentifier": 52,
    "ProjectIdentifier": 108,
    "UserIdentifier": 65,
    "ProjectMapping": 54,
    "UserMapping": 136,
    "Volume": 18,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_recorded_answer_is_ours_too(name: str) -> None:
    recorded = answers(name)
    assert len(recorded) == RECORDED[name]
    for answer in recorded:
        if not answer["ok"]:
            with pytest.raises(GrammarError):
                KINDS[name].parse(answer["input"])
            continue
        value = KINDS[name].parse(answer["input"])
        assert str(value) == answer["output"]["str"]
        properties = {key: str(getattr(value, key)) for key in answer["output"] if key != "str"}
        assert properties == {key: text for key, text in answer["output"].items() if key != "str"}


def test_every_recorded_uuid_is_ours_too() -> None:
    recorded = answers("Uuid")
    assert len(recorded) == 8
    for answer in recorded:
        if answer["ok"]:
            assert parse_uuid(answer["input"]) == answer["output"]["str"]
        else:
            with pytest.raises(GrammarError):
                parse_uuid(answer["input"])


@pytest.mark.parametrize(
    "text", ["{a1b2c3d4e5f67890abcdef1234567890}", "URN:UUID:a1b2c3d4-e5f6-7890-abcd-ef1234567890"]
)
def test_other_forms_of_a_uuid_are_refused(text: str) -> None:
    with pytest.raises(GrammarError, match="not a UUID"):
        parse_uuid(text)


@settings(deadline=None)
@given(st.uuids())
def test_a_uuid_is_read_in_every_form(value: Any) -> None:
    for form in (str(value), value.hex, value.urn, f"{{{value}}}", str(value).upper()):
        assert parse_uuid(form) == str(value)


@settings(deadline=None)
@given(portals | projects | users | project_mappings | user_mappings | volumes)
def test_what_is_printed_is_read_back(value: Any) -> None:
    assert type(value).parse(str(value)) == value


@settings(deadline=None)
@given(st.text() | st.text("ab.:@-_ \n", max_size=12), st.sampled_from([*KINDS.values()]))
def test_any_text_is_read_or_refused(text: str, kind: Any) -> None:
    for parse in (kind.parse, parse_uuid):
        try:
            parse(text)
        except GrammarError as error:
            assert str(error)


def test_users_know_their_project_and_portal() -> None:
    user = UserIdentifier.parse("alice.demo.brics")
    assert user.project_identifier == ProjectIdentifier("demo", "brics")
    assert user.portal_identifier == user.project_identifier.portal_identifier == PortalIdentifier("brics")


@pytest.mark.parametrize(
    ("value", "portal", "subject"),
    [
        (PortalIdentifier("brics"), "brics", None),
        (ProjectIdentifier("demo", "brics"), "brics", "demo.brics"),
        (UserIdentifier("alice", "demo", "brics"), "brics", "alice.demo.brics"),
        (ProjectMapping.parse("demo.brics:group"), "brics", "demo.brics"),
        (UserMapping.parse("alice.demo.brics:a:group"), "brics", "alice.demo.brics"),
    ],
)
def test_each_value_knows_whose_it_is(value: Any, portal: str, subject: str | None) -> None:
    assert (value.owning_portal, value.subject) == (portal, subject)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "portal cannot be empty"),
        ("x" * 65, "portal is longer than 64 characters"),
        ("a/b", "portal contains '/' .allowed: A-Z a-z 0-9 _ -.: 'a/b'"),
        ("-a", "portal cannot start with '-': '-a'"),
    ],
)
def test_a_refusal_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        PortalIdentifier.parse(text)


def test_a_wrong_shape_is_shown_the_right_one() -> None:
    with pytest.raises(GrammarError, match=r"'p.w' is not of the form username\.project\.portal"):
        UserIdentifier.parse("p.w")


@pytest.mark.parametrize("make", [lambda: PortalIdentifier(" a "), lambda: Volume(""), lambda: Volume(" home ")])
def test_constructors_do_not_trim(make: Any) -> None:
    with pytest.raises(GrammarError):
        make()


def test_values_are_frozen_and_small() -> None:
    portal = PortalIdentifier("brics")
    with pytest.raises(AttributeError):
        portal.portal = "other"  # type: ignore[misc]
    assert not hasattr(portal, "__dict__")
