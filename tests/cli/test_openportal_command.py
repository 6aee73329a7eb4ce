"""The operator's command on a facility that worked, and at last on one that is down, erased, or damaged."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from openportal.cli.facility import CHAIN, MEMBERS, Facility, free_ports
from openportal.cli.ledger_read import text_line
from openportal.cli.openportal import main
from openportal.cli.status import concerns, status_table
from openportal.cli.trace import Line
from openportal.templemeads.events import EVENTS
from openportal.templemeads.ledger import Ledger, Settings
from tests.processes.load import Load
from tests.processes.waiting import ended, result_of, until

PROGRAM = Path(sys.executable).with_name("openportal")
WAIT_MAX_SECONDS = 60
ALICE, BOB, CAROL = "alice.demo.brics", "bob.other.brics", "carol.demo.brics"
NAMES = sorted(member.name for member in MEMBERS)
LINE_FIELDS = ["at", "agent", "position", "peer", "event", "job", "words"]

pytestmark = pytest.mark.processes


def said(*words: object, code: int = 0) -> Result:
    """What the command says."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def shown(*words: object) -> list[dict[str, Any]]:
    """The events that `ledger show` finds."""
    return [json.loads(line) for line in said("ledger", "show", "--json", *words).stdout.splitlines()]


def status(*words: object, code: int = 0) -> dict[str, dict[str, Any]]:
    """What `status` tells, by agent."""
    return {one["name"]: one for one in json.loads(said("status", "--json", *words, code=code).stdout)}


async def asked(facility: Facility, *instructions: str) -> None:
    load = Load(facility.client_file)
    for instruction in instructions:
        result_of(await ended(load, f"{CHAIN} {instruction}"))
    await load.close()


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    """Two projects with a user each, and all agents up."""
    with Facility(tmp_path_factory.mktemp("facility")) as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        users = (f"add_user {ALICE}", f"add_user {BOB}")
        asyncio.run(asked(facility, "add_project demo.brics", "add_project other.brics", *users))
        yield facility


@pytest.fixture(scope="module")
def stopped(facility: Facility, tmp_path_factory: pytest.TempPathFactory) -> Facility:
    """A copy of the facility's agents as they were stopped, beside those that run."""
    facility.stop()
    copy = Facility(tmp_path_factory.mktemp("stopped") / "facility")
    shutil.copytree(facility.folder, copy.folder)
    for name in NAMES:
        file = copy.config(name)
        file.write_text(file.read_text().replace(str(facility.folder), str(copy.folder)))
    facility.start()
    facility.wait_ready()
    return copy


@pytest.fixture
def damaged(stopped: Facility, tmp_path: Path) -> Facility:
    """Another copy, of which one may do as one likes with the account agent."""
    copy = Facility(tmp_path / "facility")
    copy.folder.mkdir()
    shutil.copytree(stopped.ledger("acct"), copy.ledger("acct"))
    for name in ("acct", "fs"):
        file = copy.config(name)
        file.write_text(stopped.config(name).read_text().replace(str(stopped.folder), str(copy.folder)))
        file.chmod(0o600)
    return copy


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What is started hears SIGINT, even if we do not (in the background of a shell script)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def job_of(facility: Facility, user: str) -> str:
    """The bridge's job that adds this user."""
    [job] = {one["job"] for one in shown(facility.config("bridge")) if one["words"].find(f"add_user {user}") >= 0}
    return str(job)


def test_lines_have_room_for_names_and_boards() -> None:
    line = text_line(Line(0.25, "brics", 1, "aip1@default", "Received", "0123456789", "add\nx"))
    assert line.split(" ", 2)[2] == r"brics      [aip1]      Received     01234567 add\nx"
    assert status_table([]).row_count == 0


# --- status -----------------------------------------------------------------------------------------------------------


def test_status_tells_who_runs(facility: Facility) -> None:
    found = status(facility.folder)
    assert sorted(found) == NAMES
    for name, process in facility.processes.items():
        one = found[name]
        assert (one["state"], one["pid"], one["open"], one["error"]) == ("running", process.pid, {}, None)
        assert one["generation"] == 1
        assert one["events"] > 0
        assert one["bytes"] > 0
    text = subprocess.run([PROGRAM, "status", facility.folder], capture_output=True, text=True, check=True).stdout
    for name, process in facility.processes.items():
        assert any(f" {name} " in line and f"running, process {process.pid} " in line for line in text.splitlines())


def test_open_jobs_are_told_by_neighbour(facility: Facility) -> None:
    facility.stop(["slurm"])
    load = Load(facility.client_file)

    async def ask() -> None:
        await load.run("add_user dave.demo.brics")
        await load.close()

    asyncio.run(ask())
    open_jobs = until(lambda: status(facility.config("shared"))["shared"]["open"].get("slurm@default"), "it is open")
    assert open_jobs == 1
    assert status(facility.config("bridge"))["bridge"]["open"] == {"brics@default": 1}
    facility.start(["slurm"])
    until(lambda: status(facility.config("bridge"))["bridge"]["open"] == {}, "it ends")


def test_a_running_agent_says_what_troubles_it(facility: Facility) -> None:
    until(lambda: (status(facility.config("aip1"))["aip1"]["health"] or {}).get("neighbours"), "a clock was looked at")
    health = status(facility.config("aip1"))["aip1"]["health"]
    assert {"brics@default", "clusters@default"} >= set(health["neighbours"])
    for seen in health["neighbours"].values():
        assert abs(seen["skew_seconds"]) <= seen["round_trip_ms"] / 1000
        assert seen["version"] == health["version"]
    assert health["ledger"]["free_bytes"] > 0
    assert list(concerns(health)) == []


def test_concerns_are_sentences() -> None:
    health = {
        "engine": "templemeads", "version": "0.94.0",
        "ledger": {"low_space": True, "free_bytes": 3 * 1024 * 1024},
        "links": {"a@z": "up", "b@z": "down"},
        "breakers": ["fs@z"],
        "neighbours": {
            "a@z": {"engine": "templemeads", "version": "0.93.0", "skew_seconds": -6.04},
            "c@z": {"engine": "other", "version": "1", "skew_seconds": None},
        },
        "stuck": {"jobs": 2, "overrun": 0, "in_quarantine": 1},
    }  # fmt: skip
    assert list(concerns(health)) == [
        "the disk of its ledger is nearly full (3 MiB left): no new jobs are taken",
        "there is no link to b@z",
        "fs@z did not answer and is not asked for a while",
        "the clock of a@z is 6.0 s behind",
        "a@z speaks version 0.93.0, and this agent 0.94.0",
        "2 jobs are open for more than a minute: see `openportal job list --older 60`",
        "1 jobs are in quarantine: see `openportal job list`, then retry or resolve them",
    ]
    assert list(concerns({})) == []


def test_status_of_agents_that_stopped(stopped: Facility) -> None:
    found = status(stopped.folder)
    assert sorted(found) == NAMES
    assert {one["state"] for one in found.values()} == {"stopped"}
    assert {one["pid"] for one in found.values()} == {None}
    assert "stopped" in said("status", stopped.config("acct")).stdout


def test_status_of_an_agent_that_never_ran(damaged: Facility) -> None:
    found = status(damaged.config("fs"))["fs"]
    assert found["state"] == "never started"
    assert (found["events"], found["ledger_id"], found["last_event"], found["error"]) == (0, None, None, None)
    assert "never started" in said("status", damaged.config("fs")).stdout


def test_whether_a_ledger_in_a_database_is_written_is_unknown(damaged: Facility) -> None:
    file = damaged.config("acct")
    path = f'path = "{damaged.ledger("acct")}"'
    assert path in file.read_text()
    file.write_text(file.read_text().replace(path, f'url = "postgresql://127.0.0.1:{free_ports(1)[0]}/ledger"'))
    found = status(file, code=1)["acct"]
    assert (found["state"], found["pid"]) == ("unknown", None)
    assert found["error"]
    done = said("ledger", "verify", file, code=1)
    assert done.stderr.startswith("acct: ")


# --- show -------------------------------------------------------------------------------------------------------------


def test_every_event_is_shown_in_order_of_time(stopped: Facility) -> None:
    lines = shown(stopped.folder)
    assert len(lines) == sum(one["events"] for one in status(stopped.folder).values())
    assert [list(line) for line in lines] == [LINE_FIELDS] * len(lines)
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    text = said("ledger", "show", stopped.folder).stdout.splitlines()
    assert len(text) == len(lines)
    assert [line["event"] in words for line, words in zip(lines, text, strict=True)] == [True] * len(lines)


def test_the_account_of_a_job_has_every_hop_and_its_effects(stopped: Facility) -> None:
    job = job_of(stopped, ALICE)
    lines = shown("--job", job, "--family", stopped.folder)
    assert {line["agent"] for line in lines} == set(NAMES)
    effects = {(line["agent"], line["words"]) for line in lines if line["event"] == "Intended"}
    assert ("acct", "effect 1: create user users/demo.brics/alice") in effects
    assert {agent for agent, _ in effects} == {"acct", "fs", "slurm"}
    assert not any("bob" in line["words"] for line in lines)
    own = shown("--job", job, stopped.folder)
    assert {line["job"] for line in own} == {job}
    assert len(own) < len(lines)
    assert {line["agent"] for line in own} <= {line["agent"] for line in lines}


@pytest.mark.parametrize("option", ["--user", "--project"])
def test_events_of_a_person_or_a_project(stopped: Facility, option: str) -> None:
    mine, theirs = (
        shown(option, ALICE[6 * (option == "--project") :], stopped.folder),
        shown(option, BOB, stopped.folder),
    )
    assert mine
    assert not any("bob" in line["words"] for line in mine)
    assert any("create user users/demo.brics/alice" in line["words"] for line in mine)
    assert any("create group" in line["words"] for line in mine) == (option == "--project")
    assert not any("alice" in line["words"] for line in theirs)


def test_events_of_a_neighbour(stopped: Facility) -> None:
    lines = shown("--peer", "acct", stopped.folder)
    assert {(line["agent"], line["peer"]) for line in lines} == {("shared", "acct@default")}
    assert shown("--peer", "acct", "--user", ALICE, "--job", lines[0]["job"], stopped.folder) == [
        line for line in lines if line["job"] == lines[0]["job"] and "alice" in line["words"]
    ]


def test_events_of_a_time(stopped: Facility) -> None:
    lines = shown(stopped.folder)
    all_of_them = said("ledger", "show", "--since", "2020-01-01T00:00:00Z", stopped.folder).stdout.splitlines()
    assert len(all_of_them) == len(lines)
    moment = all_of_them[len(lines) // 2][:23].replace(" ", "T")
    since, until_then = shown("--since", moment, stopped.folder), shown("--until", moment, stopped.folder)
    assert len(since) + len(until_then) == len(lines)
    assert 0 < len(since) < len(lines)
    assert shown("--until", "2020-01-01", stopped.folder) == []
    assert shown("--since", moment, "--until", moment, stopped.folder) == []


def test_events_are_followed_as_they_come(facility: Facility, tmp_path: Path, interruptible: None) -> None:
    output = tmp_path / "output"
    command = [PROGRAM, "ledger", "follow", "--last", "1000", "--user", CAROL, facility.folder]
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        asyncio.run(asked(facility, f"add_user {CAROL}"))
        until(lambda: "create user users/demo.brics/carol" in output.read_text(), "its line")
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_MAX_SECONDS)
    assert "Traceback" not in output.read_text()
    lines = [line for line in output.read_text().splitlines() if "carol" in line]
    assert len(lines) == len(set(lines))
    assert "alice" not in output.read_text()


def test_whoever_reads_may_have_enough(stopped: Facility) -> None:
    command = [PROGRAM, "ledger", "show", stopped.folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_one_ledger_that_is_missing_does_not_hide_the_others(stopped: Facility, damaged: Facility) -> None:
    files = (stopped.config("brics"), damaged.config("fs"), stopped.config("aip1"))
    for words in (("show",), ("show", "--json"), ("verify",), ("stats",), ("stats", "--json")):
        done = said("ledger", *words, *files, code=1)
        assert done.stderr.startswith("fs: there is no ledger in ")
        assert done.stderr.count("\n") == 1
        assert "brics" in done.stdout
        assert "aip1" in done.stdout


# --- verify and stats -------------------------------------------------------------------------------------------------


def test_ledgers_verify_while_they_are_written(facility: Facility) -> None:
    lines = said("ledger", "verify", facility.folder).stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == NAMES
    assert all(": OK: " in line for line in lines)


def test_a_head_is_looked_for(stopped: Facility) -> None:
    file = stopped.config("acct")
    head = said("ledger", "verify", file).stdout.split()[-1]
    assert "OK" in said("ledger", "verify", "--head", head, file).stdout
    assert "it has no head" in said("ledger", "verify", "--head", "ab" * 32, file, code=1).stdout
    assert "--head is of one ledger" in said("ledger", "verify", "--head", head, stopped.folder, code=2).stderr


def flip(facility: Facility, position: int) -> None:
    """Change one byte of an event behind the agent's back."""
    database = sqlite3.connect(facility.ledger("acct") / "ledger.sqlite")
    [(state,)] = database.execute("SELECT state FROM stored_events WHERE rowid = ?", (position,)).fetchall()
    place = state.index(b'"t":') + 5
    changed = state[:place] + (b"1" if state[place : place + 1] != b"1" else b"2") + state[place + 1 :]
    database.execute("UPDATE stored_events SET state = ? WHERE rowid = ?", (changed, position))
    database.commit()
    database.close()


def test_a_flipped_byte_is_found_and_placed(damaged: Facility) -> None:
    first = next(line["position"] for line in shown(damaged.config("acct")) if line["event"] == "Received")
    flip(damaged, first)
    done = said("ledger", "verify", damaged.config("acct"), code=1)
    assert done.stdout.startswith(f"acct: BAD at position {first}: ")


def test_status_of_a_ledger_that_cannot_be_read(damaged: Facility) -> None:
    for file in damaged.ledger("acct").glob("ledger.sqlite*"):
        file.write_bytes(b"no database" * 1000)
    found = status(damaged.config("acct"), code=1)["acct"]
    assert found["state"] == "stopped"
    assert "cannot be read" in found["error"]
    done = said("status", damaged.folder, code=1)
    assert "acct: its database cannot be read: " in done.stderr
    for word in ("show", "verify", "stats"):
        done = said("ledger", word, damaged.config("acct"), code=1)
        assert done.stderr.startswith("acct: its database cannot be read: ")
        assert done.stderr.count("\n") == 1


def test_stats(stopped: Facility) -> None:
    found = {one["name"]: one for one in json.loads(said("ledger", "stats", "--json", stopped.folder).stdout)}
    assert sorted(found) == NAMES
    assert {name: one["events"] for name, one in found.items()} == {
        name: one["events"] for name, one in status(stopped.folder).items()
    }
    assert found["acct"]["subjects"] >= len(("demo.brics", "other.brics", ALICE, BOB))
    assert (found["acct"]["erased"], found["acct"]["clean"]) == (0, True)
    text = said("ledger", "stats", stopped.config("acct")).stdout
    assert text.startswith("acct: ")
    assert f"events {found['acct']['events']}, " in text


# --- erased -----------------------------------------------------------------------------------------------------------


async def test_an_erased_person_is_shown_as_erased(damaged: Facility) -> None:
    file = damaged.config("acct")
    before = shown(file)
    assert any("alice" in line["words"] for line in before)
    ledger = Ledger.open(Settings(path=damaged.ledger("acct"), owner="acct"), EVENTS)
    list(ledger.replay())
    assert ledger.erase_subject(ALICE)
    ledger.close()
    lines = shown(file)
    assert len(lines) == len(before)
    assert not any("alice" in line["words"] for line in lines)
    assert any(line["words"] == "(erased)" for line in lines)
    assert any(line["words"] == "effect 1: create user (erased)" for line in lines)
    assert shown("--user", ALICE, file) == []
    assert ": OK: " in said("ledger", "verify", file).stdout


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--since", "yesterday"], "'yesterday' is not a time such as 2026-11-24T08:30"),
        (["--until", "2026-13-01"], "'2026-13-01' is not a time such as 2026-11-24T08:30"),
        (["--until", "0001-01-01"], "'0001-01-01' is not a time such as 2026-11-24T08:30"),
        (["--family"], "--family is of a job: name it with --job."),
    ],
)
def test_options_that_make_no_sense(stopped: Facility, words: list[str], sentence: str) -> None:
    assert said("ledger", "show", *words, stopped.folder, code=2).stderr.splitlines()[-1].endswith(sentence)


@pytest.mark.parametrize("words", [["status"], ["ledger", "show"], ["ledger", "verify"], ["ledger", "stats"]])
def test_paths_that_are_no_agents(stopped: Facility, tmp_path: Path, words: list[str]) -> None:
    missing = said(*words, tmp_path / "missing", code=1)
    assert missing.stderr.startswith("Error: ")
    assert "does not exist" in missing.stderr
    assert missing.stderr.count("\n") == 1
    strange = said(*words, stopped.client_file, code=1)
    assert strange.stderr.startswith(f"Error: {stopped.client_file}: ")
    assert strange.stderr.count("\n") == 1
    empty = said(*words, tmp_path, code=1)
    assert empty.stderr == "Error: there is no agent's file there: name a file, or the folder that holds them\n"
