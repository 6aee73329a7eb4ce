import json
from datetime import date
from typing import Any

import pytest
from grammar_samples import (
    VECTORS,
    VERB_CLASSES,
    answers,
    check_inputs,
    destinations,
    instructions_of,
    simple_instructions,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from openportal.errors import GrammarError
from openportal.grammar.declaration import Instruction
from openportal.grammar.destination import Destination
from openportal.grammar.identifiers import UserIdentifier
from openportal.grammar.instructions import (
    SUBMIT_DEPTH_LIMIT,
    VERBS,
    AddUser,
    CreateProject,
    GetOfferings,
    GetUsageReport,
    Submit,
    dated,
    describe,
    parse_command,
    parse_instruction,
    split_command,
    subject_of,
)

TODAY = date(2026, 11, 24)  # when the answers were recorded


def test_every_recorded_word_is_a_verb() -> None:
    words = json.loads((VECTORS / "verbs.json").read_text(encoding="utf-8"))
    assert len(words) == 76
    assert set(VERBS) == set(words)


def shown(text: str) -> dict[str, Any]:
    """An instruction as the published client shows it: with the days that its range means today."""
    instruction = dated(parse_instruction(text), TODAY)
    printed = (str(getattr(instruction, argument.name)) for argument in instruction.arguments)
    return {"str": str(instruction), "command": instruction.verb, "arguments": list(printed)}


def test_every_recorded_answer_is_ours_too() -> None:
    check_inputs("Instruction", "parse", 1653, shown)


def test_a_range_stays_as_it_was_written() -> None:
    for text in (
        "get_usage_report p.w last_month",
        "get_storage_reports w",
        "submit a.b get_usage_report p.w 2024-1-1",
    ):
        assert str(parse_instruction(text)) == text
    instruction = parse_instruction("submit a.b get_usage_report p.w last_month")
    assert str(dated(instruction, TODAY)) == "submit a.b get_usage_report p.w 2026-10-01:2026-10-31"


def test_commands_of_recorded_jobs_are_ours_too() -> None:
    checked = 0
    for answer in answers("Job", "from_json"):
        about_command = not answer["ok"] and " from command " in answer["error"]
        if not (answer["ok"] or about_command):
            continue
        command = json.loads(answer["input"])["command"]
        checked += 1
        if about_command:
            with pytest.raises(GrammarError):
                parse_command(command)
            continue
        destination, instruction = parse_command(command)
        assert str(destination) == answer["output"]["destination"]
        assert answer["output"]["__str__"].startswith(f"{{{destination} {dated(instruction, TODAY)}: ")
    assert checked == 60


@pytest.mark.parametrize("kind", VERB_CLASSES, ids=lambda kind: kind.verb)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_what_is_printed_is_read_back(kind: type[Instruction], data: st.DataObject) -> None:
    instruction = data.draw(instructions_of(kind))
    assert parse_instruction(str(instruction)) == instruction
    for alias in kind.aliases:
        assert parse_instruction(alias + str(instruction).removeprefix(kind.verb)) == instruction


@settings(deadline=None)
@given(st.text() | st.builds("{} {}".format, st.sampled_from(sorted(VERBS)), st.text("ab.:@,[]{} \n\x1c", max_size=30)))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_instruction, parse_command, split_command):
        try:
            parse(text)
        except GrammarError as error:
            assert str(error)


@pytest.mark.parametrize("word", sorted(set(VERBS) - {"get_offerings"}))
def test_a_misused_verb_names_itself_and_its_arguments(word: str) -> None:
    kind = VERBS[word]
    with pytest.raises(GrammarError) as caught:
        parse_instruction(f"{word} -")
    assert str(caught.value).startswith(f"{kind.verb}: ")
    assert f"(expected: {kind.usage()})" in str(caught.value)


@settings(deadline=None)
@given(destinations, simple_instructions)
def test_a_command_is_split_without_reading_its_instruction(destination: Destination, instruction: Instruction) -> None:
    assert split_command(f"{destination} {instruction}") == (destination, str(instruction))


def test_a_command_is_rejoined_before_it_is_read() -> None:
    destination, instruction = parse_command("  a.b \n add_user\t u.p.w ")
    assert (destination, instruction) == (Destination(("a", "b")), AddUser(UserIdentifier("u", "p", "w")))
    assert '"two words"' in str(parse_command('a.b create_project p.w {"name":"two  words"}')[1])


def test_a_split_command_keeps_its_instruction() -> None:
    text = 'create_project p.w {"name":"two  words"} '
    assert split_command(f" a.b  {text}") == (Destination(("a", "b")), text)
    assert split_command("a.b unheard_of x")[1] == "unheard_of x"


@pytest.mark.parametrize("text", ["", " ", "a.b", "a.b ", "a add_user u.p.w"])
def test_a_command_needs_both(text: str) -> None:
    for parse in (parse_command, split_command):
        with pytest.raises(GrammarError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "portal", "subject", "result_type", "changes"),
    [
        ("get_offerings", None, None, "Destinations", False),
        ("get_awards brics", "brics", None, "Vec<ProjectDetails>", False),
        ("add_project demo.brics", "brics", "demo.brics", "ProjectMapping", True),
        ("block_project demo.brics", "brics", "demo.brics", "Vec<UserMapping>", True),
        ("is_user_added alice.demo.brics", "brics", "alice.demo.brics", "bool", False),
        ("add_local_user alice.demo.brics:a:g", "brics", "alice.demo.brics", "None", True),
        ("get_local_project_quotas demo.brics:g", "brics", "demo.brics", "HashMap<Volume, Quota>", False),
        ("set_user_quota alice.demo.brics home 1 GB", "brics", "alice.demo.brics", "Quota", True),
        ("get_usage_report demo.brics", "brics", "demo.brics", "ProjectUsageReport", False),
        ("submit a.b add_user alice.demo.brics", "brics", "alice.demo.brics", "UserMapping", True),
        ("submit a.b submit c.d get_users demo.brics", "brics", "demo.brics", "Vec<UserMapping>", False),
        ("submit a.b get_offerings", None, None, "Destinations", False),
    ],
)
def test_what_is_known_of_an_instruction(
    text: str, portal: str | None, subject: str | None, result_type: str, changes: bool
) -> None:
    instruction = parse_instruction(text)
    assert (instruction.owning_portal, instruction.subject) == (portal, subject)
    assert (instruction.result_type, instruction.changes) == (result_type, changes)


@settings(deadline=None)
@given(simple_instructions, destinations)
def test_the_subject_is_found_without_the_rest(instruction: Instruction, destination: Destination) -> None:
    assert subject_of(str(instruction)) == instruction.subject
    assert subject_of(f"submit {destination} {instruction}") == instruction.subject


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("create_project demo.brics {this is no award", "demo.brics"),
        ("set_user_quota alice.demo.brics", "alice.demo.brics"),
        ("add_user alice", None),
        ("unheard_of alice.demo.brics", None),
        ("", None),
        ("submit a.b", None),
        ("submit a.b " * SUBMIT_DEPTH_LIMIT + "add_user alice.demo.brics", "alice.demo.brics"),
        ("submit a.b " * 100_000, None),
    ],
)
def test_documents_are_not_read_for_the_subject(text: str, subject: str | None) -> None:
    assert subject_of(text) == subject


def test_questions_change_nothing() -> None:
    for kind in VERB_CLASSES:
        assert kind.changes is not kind.verb.startswith(("is_", "get_"))


def test_an_award_needs_its_document_and_a_report_no_range() -> None:
    with pytest.raises(GrammarError, match=r"create_project: .* \(expected: create_project <project.portal> <award>\)"):
        parse_instruction("create_project p.w")
    award = parse_instruction('create_award p.w  { "name" : "b  c" }')
    assert isinstance(award, CreateProject)
    assert award.award.name == "b  c"
    assert str(award).startswith('create_project p.w {"name":"b  c","template":null,')
    report = parse_instruction("get_usage_report p.w")
    assert isinstance(report, GetUsageReport)
    assert report.range is None
    assert str(parse_instruction("get_usage_report p.w 2024-01-01 2024-01-31")) == "get_usage_report p.w 2024-01-01"


def test_submits_nest_only_so_deep() -> None:
    path = Destination.parse("a.b")
    nested: Instruction = GetOfferings()
    for _ in range(SUBMIT_DEPTH_LIMIT):
        nested = Submit(path, nested)
    assert parse_instruction(str(nested)) == nested
    with pytest.raises(GrammarError, match="more than 8 submits"):
        Submit(path, nested)
    with pytest.raises(GrammarError, match="more than 8 submits"):
        parse_instruction(f"submit a.b {nested}")
    with pytest.raises(GrammarError):
        parse_instruction("submit a.b " * 100_000)


def test_the_table_of_verbs_is_complete() -> None:
    rows = {row.verb: row for row in describe()}
    assert len(rows) == 72
    assert set(VERBS) == {word for row in rows.values() for word in (row.verb, *row.aliases)}
    assert all(row.summary.endswith(".") and row.result_type for row in rows.values())
    assert rows["submit"].result_type == Submit.result_type == "that of the instruction"
    assert rows["create_project"].aliases == CreateProject.aliases == ("create_award",)
    assert rows["get_usage_report"].arguments == ("<project.portal>", "[range]")


def test_the_verbs_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        VERBS["add_user"] = GetOfferings  # type: ignore[index]
