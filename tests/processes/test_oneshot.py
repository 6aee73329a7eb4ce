"""`run --one-shot`: one instruction, its result, the end; also beside the agent itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.agents.sandbox.store import SandboxStore
from openportal.cli.facility import Facility, Member
from openportal.paddington.config import edit
from openportal.templemeads.events import EVENTS, Received
from openportal.templemeads.ledger import Settings, open_reader
from tests.processes.waiting import lines, until

MEMBERS = (
    Member("shared", "op-cluster", "Instance"),
    Member("acct", "op-localaccount", "Account", ("shared",)),
    Member("slurm", "op-slurm", "Scheduler", ("shared",)),
    Member("ipa", "op-freeipa", "Account", ("shared",)),
)
RUN_MAX_SECONDS = 30

pytestmark = pytest.mark.processes


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    with Facility(tmp_path / "facility", members=MEMBERS) as facility:
        facility.lay_out()
        yield facility


def run(facility: Facility, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The agent's command, run to its end."""
    command = next(member.command for member in MEMBERS if member.name == name)
    program = Path(sys.executable).with_name(command)
    return subprocess.run(
        [program, "-c", facility.config(name), "run", *words],
        cwd=facility.folder, capture_output=True, text=True, timeout=RUN_MAX_SECONDS, check=False,
    )  # fmt: skip


def results(done: subprocess.CompletedProcess[str]) -> list[object]:
    """The JSON documents on standard output, of a run that went well."""
    assert done.returncode == 0, done.stderr
    decoder, text, found = json.JSONDecoder(), done.stdout.lstrip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def received_from(ledger: Path) -> dict[str, str | None]:
    """Command -> stream, of the jobs in a ledger."""
    with open_reader(Settings(path=ledger), EVENTS) as reader:
        records = [record for record in reader.records() if isinstance(record.event, Received)]
    return {record.event.command or "": record.stream for record in records}


def test_results_are_printed_and_what_was_done_stays(facility: Facility) -> None:
    project, user = "demo.brics:brics.demo", "alice.demo.brics:alice.demo:brics.demo"
    done = run(facility, "acct", "--one-shot", "add_project demo.brics", "-o", "add_user alice.demo.brics")
    assert results(done) == [project, user]
    assert done.stderr == ""
    assert results(run(facility, "acct", "-o", "get_users demo.brics")) == [[user]]
    assert len(SandboxStore(facility.sandbox).effects()) == 2


def test_an_instruction_can_be_repeated(facility: Facility) -> None:
    done = run(facility, "acct", "--one-shot", "is_protected_user alice.demo.brics", "--repeat", "3")
    assert results(done) == [False] * 3
    assert run(facility, "acct", "-o", "get_projects brics", "--repeat", "0").returncode == 2


def test_the_sender_and_its_zone_are_as_asked(facility: Facility) -> None:
    assert results(run(facility, "acct", "-o", "add_project demo.brics")) == ["demo.brics:brics.demo"]
    words = ("--sender", "clusters", "--zone", "elsewhere")
    assert results(run(facility, "acct", "-o", "add_project more.brics", *words)) == ["more.brics:brics.more"]
    assert received_from(facility.ledger("acct")) == {
        "oneshot.acct add_project demo.brics": "board:oneshot@one-shot",
        "clusters.acct add_project more.brics": "board:clusters@elsewhere",
    }


@pytest.mark.parametrize(
    "instruction", ["get_user_mapping nobody.demo.brics", "frobnicate x", "add_user", "add_local_project a.b:c"]
)
def test_a_failure_is_one_sentence_and_a_code(facility: Facility, instruction: str) -> None:
    done = run(facility, "acct", "-o", instruction)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_beside_the_agent_itself(facility: Facility) -> None:
    facility.start(["acct"])
    until(lambda: any("started" in line for line in lines(facility.log("acct"))), "the agent is up")
    pid = facility.processes["acct"].pid
    assert results(run(facility, "acct", "-o", "add_project demo.brics")) == ["demo.brics:brics.demo"]
    facility.check()
    assert facility.processes["acct"].pid == pid
    assert received_from(facility.ledger("acct")) == {}


@pytest.mark.parametrize(
    ("name", "code", "wanted"), [("slurm", 2, "slurm-default-node is missing"), ("ipa", 2, "--key freeipa-server")]
)
@pytest.mark.parametrize("words", [(), ("--one-shot", "get_projects brics")])
def test_an_agent_without_a_leaf_says_so(
    facility: Facility, name: str, code: int, wanted: str, words: tuple[str, ...]
) -> None:
    with edit(facility.config(name)) as (document, _):
        del document["extras"]["sandbox"]
    done = run(facility, name, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert wanted in done.stderr
    assert "sandbox" in done.stderr
    assert not facility.ledger(name).exists()


def test_a_missing_file_is_named(facility: Facility) -> None:
    facility.config("acct").unlink()
    done = run(facility, "acct")
    assert done.returncode == 1
    assert str(facility.config("acct")) in done.stderr
