"""An operator's word on jobs of a running facility: what waits, cancelling, and a job that takes its agent down."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from openportal.agents.sandbox.store import SETTINGS_EVERY_SECONDS, SETTINGS_FILE, SandboxStore
from openportal.cli.facility import CHAIN, Facility
from openportal.cli.job_change import COMMANDS, operator_name
from openportal.cli.openportal import main
from openportal.cli.operator_part import operator_folder
from openportal.paddington.config import load, parse
from tests.processes.load import Load
from tests.processes.waiting import accepted, end_of, ended, result_of, until

ALICE, BOB = "alice.demo.brics", "bob.demo.brics"
CRASHES = 4

pytestmark = pytest.mark.processes


def said(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["job", *(str(word) for word in words)])
    assert done.exit_code == code, done.output
    return done


def listed(*words: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said("list", "--json", *words).stdout.splitlines()]


def slow(facility: Facility, seconds: float) -> None:
    (facility.sandbox / SETTINGS_FILE).write_text(json.dumps({"slow_seconds": seconds}))


@pytest.fixture
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    with Facility(tmp_path_factory.mktemp("facility") / "facility") as facility:
        facility.lay_out()
        facility.sandbox.mkdir()
        facility.start()
        facility.wait_ready()
        yield facility


async def project(facility: Facility) -> Load:
    load = Load(facility.client_file)
    result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
    return load


def test_a_job_that_waits_is_listed_and_cancelled_and_its_client_is_told(facility: Facility) -> None:
    async def play() -> dict[str, Any]:
        load = await project(facility)
        facility.stop(["slurm"])
        job = await accepted(load, f"{CHAIN} add_user {ALICE}")
        waiting = await asyncio.to_thread(until, lambda: to_slurm(facility), "a step waits for slurm")
        [at_shared] = [row for row in listed(facility.config("shared")) if row["direction"] == "inbound"]
        assert at_shared["job"] == waiting["parent"]
        assert f"{at_shared['job']} shared from clusters" in said("list", facility.folder).stdout
        assert listed("--older", 1000, facility.folder) == []
        done = said("cancel", at_shared["job"], "--why", "slurm is away", "--by", "olga", facility.folder)
        assert f"cancel: job {at_shared['job']} at shared, shared with clusters@default" in done.stdout
        answer = await end_of(load, job)
        await load.close()
        return answer

    answer = asyncio.run(play())
    assert answer["state"] == "Error"
    assert "by olga (uid " in answer["result"]
    assert "slurm is away" in answer["result"]
    explained = said("explain", ALICE, facility.folder).stdout
    assert "cancel by olga (uid " in explained
    assert [row["aside"] for row in listed(facility.folder) if row["direction"] == "inbound"] == ["to be undone"]


def to_slurm(facility: Facility) -> dict[str, Any] | None:
    rows = listed(facility.config("shared"))
    return next((row for row in rows if row["peer"] == "slurm@default"), None)


def test_a_job_that_takes_its_agent_down_is_put_aside_until_an_operator_says_what_to_do(facility: Facility) -> None:

    def in_hand(attempt: int) -> bool:
        rows = [row for row in listed(facility.config("acct")) if "add_user" in row["command"]]
        return any(row["attempts"] == attempt for row in rows)

    async def play() -> dict[str, Any]:
        load = await project(facility)
        slow(facility, 3)
        await asyncio.sleep(SETTINGS_EVERY_SECONDS)
        job = await accepted(load, f"{CHAIN} add_user {BOB}")
        for attempt in range(1, CRASHES + 1):
            if attempt < CRASHES:
                await asyncio.to_thread(until, lambda n=attempt: in_hand(n), f"attempt {attempt} is under way")
            facility.kill(["acct"])
            facility.start(["acct"])
        [row] = await asyncio.to_thread(until, lambda: aside(facility), "it is in quarantine")
        await end_of(load, job)  # the instance asks its step again, of the agent that is up again
        await load.close()
        return row

    row = asyncio.run(play())
    told = said("explain", row["job"], facility.folder).stdout
    assert "in quarantine after attempt 4" in told
    assert "an operator has to look at it" in told
    assert f"{row['job']} acct from shared" in said("list", facility.config("acct")).stdout
    slow(facility, 0)
    assert "retry: job " in said("retry", row["job"], "--why", "mended", facility.folder).stdout
    until(lambda: not aside(facility), "it is done after all")
    created = [e for e in SandboxStore(facility.sandbox).effects() if e.target == "users/demo.brics/bob"]
    assert [effect.action for effect in created].count("create user") == 1
    assert "done after all" in said("explain", row["job"], facility.folder).stdout
    assert "is in quarantine" in said("resolve", row["job"], facility.folder, code=1).stderr


def aside(facility: Facility) -> list[dict[str, Any]]:
    return [row for row in listed(facility.config("acct")) if row["aside"] == "in quarantine"]


def test_what_cannot_be_done_is_said_in_a_sentence(facility: Facility) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    folder = operator_folder(load(facility.config("acct")))
    until((folder / "operator").exists, "the account agent is up")
    assert f"no job {nobody} is open at acct" in said("cancel", nobody, facility.config("acct"), code=1).stderr
    assert f"no job {nobody} is in quarantine" in said("retry", nobody, facility.folder, code=1).stderr
    assert stat.S_IMODE((folder / "operator").stat().st_mode) == 0o600
    facility.stop(["acct"])
    assert not (folder / "operator").exists()
    assert "none of these agents runs" in said("cancel", nobody, facility.config("acct"), code=1).stderr


def test_who_the_operator_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "olga")
    assert operator_name() == "olga"
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setenv("LOGNAME", "oleg")
    assert operator_name() == "oleg"
    assert [command.name for command in COMMANDS] == ["list", "retry", "resolve", "cancel"]


@pytest.mark.parametrize(
    ("ledger", "folder"),
    [
        ("", "acct.ledger"),
        ('[ledger]\npath = "log"', "log"),
        ('[ledger]\nurl = "postgresql://db/x"', "acct.run"),
        ('[ledger]\nurl = "postgresql://db/x"\npath = "sockets"', "sockets"),
    ],
)
def test_where_operators_find_an_agent(tmp_path: Path, ledger: str, folder: str) -> None:
    """A file that the agent reads where it can write nothing, as a credential, has to name a folder."""
    service = '[service]\nname = "acct"\nurl = "ws://127.0.0.1:8047/"\nip = "127.0.0.1"\nport = 8047\n'
    config = parse(f'agent = "Account"\n{service}{ledger}\n', tmp_path / "acct.toml")
    assert operator_folder(config) == tmp_path / folder
