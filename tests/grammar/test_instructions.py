import json
from typing import Any

import pytest
from grammar_samples import VECTORS, VERB_CLASSES, answers, destinations, instructions_of, simple_instructions
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
    describe,
    parse_command,
    parse_instruction,
    split_command,
)

# The recorded answers to these say what is right inside a document; here it is only carried.
DOCUMENT_VERBS = frozenset(
    {"create_project", "create_award", "update_project", "update_award", "set_limit", "set_local_limit"}
    | {f"set_{whose}_quota" for whose in ("project", "user", "local_project", "local_user")}
    | {f"get_{which}" for which in ("usage_report", "usage_reports", "local_usage_report")}
    | {f"get_{which}" for which in ("storage_report", "storage_reports", "local_storage_report")}
)


def innermost_verb(text: str) -> str:
    words = text.split(" ")
    while words[0] == "submit" and len(words) > 2:
        words = words[2:]
    return words[0]


def recorded(about_documents: bool) -> list[dict[str, Any]]:
    return [a for a in answers("Instruction") if (innermost_verb(a["input"]) in DOCUMENT_VERBS) is about_documents]


def test_every_recorded_word_is_a_verb() -> None:
    words = json.loads((VECTORS / "verbs.json").read_text(encoding="utf-8"))
    assert len(words) == 76
    assert set(VERBS) == set(words)


def test_every_recorded_answer_is_ours_too() -> None:
    lines = recorded(about_documents=False)
    assert len(lines) == 1291
    for answer in lines:
        if not answer["ok"]:
            with pytest.raises(GrammarError):
                parse_instruction(answer["input"])
            continue
        instruction = parse_instruction(answer["input"])
        assert str(instruction) == answer["output"]["str"]
        assert instruction.verb == answer["output"]["command"]
        printed = [str(getattr(instruction, argument.name)) for argument in instruction.arguments]
        assert printed == answer["output"]["arguments"]


def test_recorded_answers_about_documents_are_recognised() -> None:
    lines = recorded(about_documents=True)
    assert len(lines) == 362
    for answer in lines:
        verb = VERBS[answer["input"].split(" ")[0]].verb
        if not answer["ok"]:
            try:
                assert parse_instruction(answer["input"]).verb == verb
            except GrammarError as error:
                assert str(error).startswith(f"{verb}: ")
            continue
        instruction = parse_instruction(answer["input"])
        assert instruction.verb == answer["output"]["command"]
        first = instruction.arguments[0].name
        assert str(getattr(instruction, first)) == answer["output"]["arguments"][0]


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
        if instruction.verb not in DOCUMENT_VERBS:
            assert answer["output"]["__str__"].startswith(f"{{{destination} {instruction}: ")
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
    assert str(parse_command('a.b create_project p.w {"name":"two  words"}')[1]).endswith('"two words"}')


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


def test_questions_change_nothing() -> None:
    for kind in VERB_CLASSES:
        assert kind.changes is not kind.verb.startswith(("is_", "get_"))


def test_an_award_needs_its_document_and_a_report_no_range() -> None:
    with pytest.raises(GrammarError, match=r"create_project: .* \(expected: create_project <project.portal> <award>\)"):
        parse_instruction("create_project p.w")
    assert str(parse_instruction('create_award p.w  { "a" : "b  c" }')) == 'create_project p.w  { "a" : "b  c" }'
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
