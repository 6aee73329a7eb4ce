from __future__ import annotations

from dataclasses import replace

import pytest

from openportal.agents.account.freeipa.adopt import adopt_project, adopt_user, parse_mappings
from openportal.agents.account.freeipa.entries import OURS, Account, Group
from openportal.agents.account.policy import Policy, Standing
from openportal.errors import ConfigError
from openportal.grammar.identifiers import ProjectMapping, UserMapping

USER = UserMapping.parse("alice.demo.brics:alice.demo:brics.demo")
PROJECT = ProjectMapping.parse("demo.brics:brics.demo")
GROUPS = ("brics.demo", "openportal", "op_shared_default")
THEIRS = Account("alice.demo", "Alice Smith", "/home/alice", groups=frozenset({"staff"}), classes=frozenset({"person"}))


def printed(steps: object) -> list[list[str]]:
    return [[str(call) for call in step] for step in steps]  # type: ignore[attr-defined]


def test_a_file_of_mappings() -> None:
    text = f"# who is who\n\n{USER}  # Alice\n  {PROJECT}\n"
    assert parse_mappings(text) == [PROJECT, USER]
    with pytest.raises(ConfigError, match="Line 2 is not a mapping"):
        parse_mappings("\nnonsense\n")


def test_a_project_gets_its_description() -> None:
    adoption = adopt_project(PROJECT, Group("brics.demo", "The staff"), Policy())
    assert printed(adoption.steps) == [["ipa group-mod brics.demo --description=demo.brics | The staff"]]
    assert adopt_project(PROJECT, Group("brics.demo", "demo.brics | x"), Policy()).steps == ()
    legacy = ProjectMapping.parse("demo.brics:group.demo")
    assert adopt_project(legacy, Group("group.demo", ""), Policy()).steps


@pytest.mark.parametrize(
    ("mapping", "group", "words"),
    [
        (PROJECT, None, "no such group"),
        (PROJECT, Group("brics.demo", "other.brics | x"), "belongs to other.brics"),
        (ProjectMapping.parse("demo.brics:staff"), Group("staff"), "would be called brics.demo"),
    ],
)
def test_a_project_that_is_refused(mapping: ProjectMapping, group: Group | None, words: str) -> None:
    adoption = adopt_project(mapping, group, Policy())
    assert words in adoption.refused
    assert adoption.steps == ()


def test_a_user_gets_the_managed_group_last() -> None:
    adoption = adopt_user(USER, THEIRS, Standing.PROTECTED, GROUPS)
    assert printed(adoption.steps) == [
        [
            "ipa user-mod alice.demo --cn=alice.demo.brics --userclass=['openportal', 'person']",
            "ipa group-add-member brics.demo --users=alice.demo",
            "ipa group-add-member op_shared_default --users=alice.demo",
        ],
        ["ipa group-add-member openportal --users=alice.demo"],
    ]


def test_a_user_that_was_adopted_is_left_as_it_is() -> None:
    adopted = replace(
        THEIRS, identifier=str(USER.user), classes=frozenset({OURS}), groups=frozenset({*GROUPS, "staff"})
    )
    assert adopt_user(USER, adopted, Standing.ACTIVE, GROUPS).steps == ()
    begun = replace(adopted, groups=frozenset({"brics.demo", "staff"}))
    assert len(adopt_user(USER, begun, Standing.PROTECTED, GROUPS).steps) == 2


@pytest.mark.parametrize(
    ("mapping", "account", "is_now", "words"),
    [
        (USER, None, Standing.ABSENT, "no such user"),
        (USER, replace(THEIRS, disabled=True), Standing.PROTECTED, "disabled"),
        (USER, replace(THEIRS, identifier="alice.demo.other"), Standing.FOREIGN, "belongs to alice.demo.other"),
        (USER, THEIRS, Standing.BLOCKED, "blocked already"),
        (UserMapping.parse("alice.demo.brics:asmith:brics.demo"), THEIRS, Standing.PROTECTED, "--rename alice.demo"),
        (UserMapping.parse("alice.demo.brics:alice.demo:staff"), THEIRS, Standing.PROTECTED, "would be called"),
    ],
)
def test_a_user_that_is_refused(mapping: UserMapping, account: Account | None, is_now: Standing, words: str) -> None:
    adoption = adopt_user(mapping, account, is_now, GROUPS)
    assert words in adoption.refused
    assert adoption.steps == ()
