"""`openportal job explain` and `show` on a facility that worked, from the bridge to the disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openportal.agents.sandbox.store import SETTINGS_FILE
from openportal.cli.facility import CHAIN, Facility
from openportal.cli.job_read import is_uuid
from openportal.cli.openportal import main
from tests.processes.load import Load
from tests.processes.waiting import ended

ALICE, BOB = "alice.demo.brics", "bob.demo.brics"

pytestmark = pytest.mark.processes


def said(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["job", *(str(word) for word in words)])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Facility, dict[str, str]]]:
    """A facility where alice was added, bob was not, and the job of each."""
    jobs: dict[str, str] = {}

    async def ask(instruction: str) -> None:
        load = Load(facility.client_file)
        jobs[instruction] = (await ended(load, f"{CHAIN} {instruction}"))["id"]
        await load.close()

    with Facility(tmp_path_factory.mktemp("worked") / "facility") as facility:
        facility.lay_out()
        facility.start()
        facility.wait_ready()
        for instruction in ("add_project demo.brics", f"add_user {ALICE}"):
            asyncio.run(ask(instruction))
        facility.stop()
        (facility.sandbox / SETTINGS_FILE).write_text(json.dumps({"fail": ["create_user_directory", "add_local_user"]}))
        facility.start()
        facility.wait_ready()
        asyncio.run(ask(f"add_user {BOB}"))
        facility.stop()
        yield facility, jobs


def test_one_command_tells_what_became_of_alice_from_the_bridge_to_the_disk(
    worked: tuple[Facility, dict[str, str]],
) -> None:
    facility, jobs = worked
    text = said("explain", ALICE, facility.folder).stdout
    assert f" job {jobs[f'add_user {ALICE}']}\n" in text
    for member in facility.members:
        assert f" {member.name}: " in text
    assert "(asked by the key default)" in text
    assert "effect 1: create user users/demo.brics/alice: done in " in text
    assert f"effect 1: make directory {facility.sandbox}" in text
    assert text.rstrip().endswith(f'It is complete: "{ALICE}:alice.demo:brics.demo"')
    assert "bob" not in text


def test_and_why_bob_was_not_added(worked: tuple[Facility, dict[str, str]]) -> None:
    facility, jobs = worked
    job = jobs[f"add_user {BOB}"]
    text = said("explain", job, facility.folder).stdout
    assert text == said("explain", job[:8], facility.folder).stdout
    last = text.rstrip().splitlines()[-1]
    assert last.startswith(("It ended at fs as run: ", "It ended at slurm as run: "))
    assert "was told to fail" in last


def test_the_events_of_a_family(worked: tuple[Facility, dict[str, str]]) -> None:
    facility, jobs = worked
    job = jobs[f"add_user {ALICE}"]
    shown = [json.loads(line) for line in said("show", job, "--json", facility.folder).stdout.splitlines()]
    assert [one["at"] for one in shown] == sorted(one["at"] for one in shown)
    assert {one["agent"] for one in shown} == {member.name for member in facility.members}
    whole = CliRunner().invoke(main, ["ledger", "show", "--job", job, "--family", "--json", str(facility.folder)])
    assert [json.loads(line) for line in whole.stdout.splitlines()] == shown


def test_only_so_many_jobs_of_a_project_are_explained(worked: tuple[Facility, dict[str, str]]) -> None:
    facility, _ = worked
    assert said("explain", "demo.brics", facility.folder).stdout.count(" job ") == 1
    assert said("explain", "--last", "1", ALICE, facility.folder).stdout.count(" job ") == 1


def test_what_no_log_tells_of(worked: tuple[Facility, dict[str, str]], tmp_path: Path) -> None:
    facility, jobs = worked
    for what in ("nobody.demo.brics", "00000000-0000-4000-8000-000000000000", "00000000"):
        assert f"no log tells of {what}" in said("explain", what, facility.folder, code=1).stderr
    assert "too short" in said("explain", "ab", facility.folder, code=1).stderr
    other = Facility(tmp_path / "other")
    other.lay_out()
    done = said("explain", jobs[f"add_user {ALICE}"], facility.config("bridge"), other.config("fs"), code=1)
    assert done.stderr.startswith("fs: there is no ledger in ")
    assert done.stderr.count("\n") == 1
    assert "waits for" not in done.stdout
    assert "It is complete" in done.stdout


def test_ids() -> None:
    assert is_uuid("00000000-0000-4000-8000-000000000000")
    assert not is_uuid("00000000000040008000000000000000")
    assert not is_uuid("alice")
