"""What a portal's software can ask on the command line, of a facility of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from openportal.agents.sandbox.store import SETTINGS_FILE
from openportal.cli.client_commands import (
    CLIENT_VARIABLE,
    COMPLETE_VARIABLE,
    EXIT_BRIDGE,
    EXIT_FAILED,
    EXIT_UNFINISHED,
    PROGRAM,
    SHELLS,
)
from openportal.cli.facility import CHAIN, Facility
from openportal.cli.openportal import main

EXIT_USAGE = 2
SLOW_SECONDS = 5.0
SETTLE_MAX_SECONDS = 90.0
SCRIPT = Path(sys.executable).with_name("openportal")
DEMO, ALICE = "demo.brics", "alice.demo.brics"

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    """A project with a user, and all agents up."""
    with Facility(tmp_path_factory.mktemp("facility")) as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready(SETTLE_MAX_SECONDS)
        assert health_code(facility, 0).exit_code == 0
        assert said(facility, "run", CHAIN, "add_project", DEMO).stdout == f"{DEMO}:brics.demo\n"
        assert said(facility, "run", f"{CHAIN} add_user {ALICE}").stdout == f"{ALICE}:alice.demo:brics.demo\n"
        yield facility


def said(facility: Facility, *words: object, code: int = 0) -> Result:
    """What the command says to a user whose environment names the file."""
    done = CliRunner().invoke(main, [str(word) for word in words], env={CLIENT_VARIABLE: str(facility.client_file)})
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def health_code(facility: Facility, code: int) -> Result:
    """The health of a facility, once its exit code is that: links take a moment to come and to go."""
    end = time.monotonic() + SETTLE_MAX_SECONDS
    while True:
        done = CliRunner().invoke(main, ["health", "-c", str(facility.client_file)])
        if done.exit_code == code or time.monotonic() > end:
            return done
        time.sleep(0.2)


def test_a_result_is_printed(facility: Facility) -> None:
    assert json.loads(said(facility, "run", CHAIN, "get_users", DEMO).stdout) == [f"{ALICE}:alice.demo:brics.demo"]
    job = json.loads(said(facility, "run", "--json", CHAIN, "is_user_added", ALICE).stdout)
    assert (job["state"], job["result"], job["result_type"]) == ("Complete", "true", "bool")
    assert json.loads(said(facility, "jobs", "--json", job["id"]).stdout)[0]["id"] == job["id"]


def test_a_failure_says_why_and_has_a_code_of_its_own(facility: Facility) -> None:
    failed = said(facility, "run", "brics.aip1.nowhere", "get_users", DEMO, code=EXIT_FAILED)
    assert not failed.stdout
    assert failed.stderr.startswith("unroutable: ")
    assert "nowhere" in failed.stderr
    job = json.loads(
        said(facility, "run", "--json", "brics.aip1.nowhere get_users demo.brics", code=EXIT_FAILED).stdout
    )
    assert job["error"]["kind"] == "unroutable"
    assert "nowhere" in said(facility, "jobs", job["id"], code=EXIT_FAILED).stdout


@pytest.mark.parametrize("words", [(CHAIN,), (CHAIN, "unheard_of"), (CHAIN, "add_user", DEMO), ("brics", "get_users")])
def test_what_is_no_command_is_not_sent(facility: Facility, words: tuple[str, ...]) -> None:
    assert "Error: " in said(facility, "run", *words, code=EXIT_USAGE).stderr


def test_what_the_bridge_refuses_is_told_in_its_words(facility: Facility) -> None:
    refused = said(facility, "run", CHAIN, "get_users", "demo.other", code=EXIT_BRIDGE)
    assert "can only be issued via the portal 'other'" in refused.stderr
    assert "404" in said(facility, "jobs", "a1b2c3d4-e5f6-7890-abcd-ef1234567890", code=EXIT_BRIDGE).stderr


def test_a_job_that_takes_long_can_be_asked_for_later(facility: Facility) -> None:
    settings = facility.sandbox / SETTINGS_FILE
    settings.write_text(json.dumps({"slow_seconds": SLOW_SECONDS}))
    time.sleep(1.5)  # the leaves look at it once a second
    begun = said(facility, "run", "--wait", "0", CHAIN, "add_user", "bob.demo.brics", code=EXIT_UNFINISHED)
    settings.write_text("{}")
    id = begun.stdout.strip()
    assert "Not finished yet" in begun.stderr
    assert id in said(facility, "jobs", id, code=EXIT_UNFINISHED).stdout
    assert said(facility, "run", CHAIN, "add_user", "bob.demo.brics").stdout == "bob.demo.brics:bob.demo:brics.demo\n"


def test_no_job_waits_for_the_software(facility: Facility) -> None:
    assert "No job waits" in said(facility, "jobs").stdout
    assert json.loads(said(facility, "jobs", "--json").stdout) == []


def test_every_agent_is_in_the_tree(facility: Facility) -> None:
    done = health_code(facility, 0)
    assert [line.strip("│├└─ ").split()[0] for line in done.stdout.splitlines()] == [
        "bridge", "brics", "aip1", "clusters", "shared", "acct", "fs", "slurm",
    ]  # fmt: skip
    assert json.loads(said(facility, "health", "--json").stdout)["health"]["peers"].keys() == {"brics"}


def test_diagnostics_are_of_one_agent(facility: Facility) -> None:
    said(facility, "run", "brics.aip1.nowhere", "get_users", DEMO, code=EXIT_FAILED)
    assert "aip1 at " in said(facility, "diagnostics", "brics.aip1", "--level", "warn+").stdout
    report = json.loads(said(facility, "diagnostics", "--json", "brics.aip1").stdout)["report"]
    assert [row["destination"] for row in report["failed_jobs"]] == ["brics.aip1.nowhere"]
    assert "bridge at " in said(facility, "diagnostics", "--logs", 0).stdout


def test_watching_looks_again(facility: Facility) -> None:
    health_code(facility, 0)
    lines = said(facility, "watch", "--json", "--looks", 2, "--every", 0.1).stdout.splitlines()
    first, second = (json.loads(line)["health"]["current_time"] for line in lines)
    assert first < second
    assert "slurm" in said(facility, "watch", "--looks", 1).stdout


def test_an_agent_that_is_gone_is_told(facility: Facility) -> None:
    facility.kill(["slurm"])
    try:
        done = health_code(facility, EXIT_FAILED)
        assert "slurm no link" in done.stdout
    finally:
        facility.start(["slurm"])
    assert "slurm scheduler up" in health_code(facility, 0).stdout


def test_a_bridge_that_is_gone_is_told(tmp_path: Path) -> None:
    file = tmp_path / "client.toml"
    file.write_text(f'url = "http://127.0.0.1:9"\n[key]\ndata = "{"00" * 32}"\n')
    for words in (["health"], ["jobs"], ["run", CHAIN, "get_users", DEMO], ["watch", "--looks", "1"], ["diagnostics"]):
        done = CliRunner().invoke(main, [*words, "-c", str(file)])
        assert done.exit_code == EXIT_BRIDGE
        assert "cannot be reached" in done.stderr


def test_a_file_that_is_missing_says_who_writes_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["health"], env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert done.exit_code == EXIT_USAGE
    assert "op-bridge bridge --config bridge-client.toml" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_be_taught_the_words(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert COMPLETE_VARIABLE in done.stdout


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "heal", ["health"]),
        (["run"], "brics", []),
        (["run", CHAIN], "is_blocked", ["is_blocked_project", "is_blocked_user"]),
        (["health"], "--js", ["--json"]),
    ],
)
def test_words_are_completed(words: list[str], incomplete: str, expected: list[str]) -> None:
    found = ShellComplete(main, {}, PROGRAM, COMPLETE_VARIABLE).get_completions(words, incomplete)
    assert [item.value for item in found] == expected


def test_the_shell_asks_the_installed_command() -> None:
    line = f"openportal run {CHAIN} add_us"
    asked = {COMPLETE_VARIABLE: "bash_complete", "COMP_WORDS": line, "COMP_CWORD": "3"}
    done = subprocess.run([SCRIPT], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["plain,add_user"]
