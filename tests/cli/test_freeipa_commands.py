"""`op-freeipa reconcile` and `adopt`, on a FreeIPA in memory; the real one is asked in `tests/systems/freeipa`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openportal.agents.account.freeipa import servers as servers_module
from openportal.cli import freeipa
from openportal.cli.agents import agent_group
from openportal.cli.compose import ledger_settings
from openportal.cli.ledgers import opened_writer
from openportal.paddington.config import DEFAULTS, load
from openportal.paddington.secretstore import seal_secret
from openportal.templemeads.events import EVENTS, Intended, Observed, Operated
from openportal.templemeads.ledger import open_reader
from tests.agents.account.freeipa.double import Double

FILE = """agent = "Account"
[extras]
freeipa-server = "one.test"
freeipa-password = "SEALED"
[service]
name = "acct"
url = "ws://localhost:1"
ip = "127.0.0.1"
port = 1
servers = [{ name = "shared", url = "ws://localhost:2", inner_key = { data = "KEY" }, outer_key = { data = "KEY" } }]
[service.encryption]
Simple = {}
"""


@pytest.fixture
def realm(monkeypatch: pytest.MonkeyPatch) -> Double:
    double = Double()

    class Session(servers_module.Session):
        async def send(self, calls):  # type: ignore[no-untyped-def, override]
            double.requests.append([self._who.user])
            return await double.send(calls)

    monkeypatch.setattr(servers_module, "Session", Session)
    double.users["bob.climate"] = {"uid": ["bob.climate"], "cn": ["Bob"], "nsaccountlock": False}
    double.groups["brics.climate"] = {"description": ["The climate"], "member_user": []}
    return double


def run(tmp_path: Path, *arguments: str, typed: str | None = None) -> Result:
    path = tmp_path / "acct.toml"
    path.write_text(FILE.replace("SEALED", seal_secret("secret", "acct")).replace("KEY", "ab" * 32))
    mappings = tmp_path / "mappings.txt"
    mappings.write_text("bob.climate.brics:bob.climate:brics.climate\nclimate.brics:brics.climate\n")
    return CliRunner().invoke(agent_group(DEFAULTS["freeipa"]), ["-c", str(path), *arguments], input=typed)


def test_adopting_prints_first_and_then_does_it(tmp_path: Path, realm: Double) -> None:
    mappings = str(tmp_path / "mappings.txt")
    (tmp_path / "mappings.txt").touch()
    looked = run(tmp_path, "adopt", mappings)
    assert looked.exit_code == 0, looked.output
    assert "would: ipa group-mod brics.climate --description=climate.brics | The climate" in looked.output
    assert "would: ipa group-add-member openportal --users=bob.climate" in looked.output
    assert realm.of("bob.climate") == set()

    done = run(tmp_path, "adopt", mappings, "--apply")
    assert done.exit_code == 0, done.output
    assert "adopt user: bob.climate: done" in done.output
    assert realm.of("bob.climate") == {"brics.climate", "openportal", "op_shared_default"}
    again = run(tmp_path, "adopt", mappings)
    assert again.output.count("is as it should be") == 2
    assert "would" not in again.output


def test_what_is_refused_is_said_and_ends_with_one(tmp_path: Path, realm: Double) -> None:
    (tmp_path / "mappings.txt").touch()
    del realm.users["bob.climate"]
    refused = run(tmp_path, "adopt", str(tmp_path / "mappings.txt"))
    assert refused.exit_code == freeipa.EXIT_LEFT
    assert "not adopted: there is no such user" in refused.output


def test_drift_is_printed_repaired_and_gone(tmp_path: Path, realm: Double) -> None:
    (tmp_path / "mappings.txt").touch()
    run(tmp_path, "adopt", str(tmp_path / "mappings.txt"), "--apply")
    assert run(tmp_path, "reconcile").exit_code == 0
    realm.groups["brics.climate"]["member_user"].clear()
    found = run(tmp_path, "reconcile", "--dry-run")
    assert found.exit_code == freeipa.EXIT_LEFT
    assert "would: ipa group-add-member brics.climate --users=bob.climate" in found.output
    assert run(tmp_path, "reconcile", "--apply").exit_code == 0
    assert "0 accounts" in run(tmp_path, "reconcile").output


def test_somebody_else_may_log_in(tmp_path: Path, realm: Double) -> None:
    assert run(tmp_path, "reconcile", "--as", "boss", typed="hidden\n").exit_code == 0
    assert ["boss"] in realm.requests
    assert "hidden" not in run(tmp_path, "reconcile", "--as", "boss", typed="hidden\n").output


def test_a_call_that_fails_is_printed(tmp_path: Path, realm: Double) -> None:
    (tmp_path / "mappings.txt").touch()
    failing = freeipa.JobError("FreeIPA says no")
    realm.failing = lambda methods: failing if "group_mod" in methods else None
    done = run(tmp_path, "adopt", str(tmp_path / "mappings.txt"), "--apply")
    assert done.exit_code == freeipa.EXIT_LEFT
    assert "adopt group: brics.climate: FAILED: FreeIPA says no" in done.output


def test_what_was_applied_is_in_the_ledger_of_the_agent(tmp_path: Path, realm: Double) -> None:
    (tmp_path / "mappings.txt").touch()
    run(tmp_path, "adopt", str(tmp_path / "mappings.txt"))
    assert not (tmp_path / "acct.ledger").exists()  # who only looks leaves no trace
    run(tmp_path, "adopt", str(tmp_path / "mappings.txt"), "--apply")
    with open_reader(ledger_settings(load(tmp_path / "acct.toml")), EVENTS) as reader:
        begun, *events = [recorded.event for recorded in reader.records()]
    assert isinstance(begun, Operated)
    assert begun.action == "adopt"
    assert begun.by.endswith(f"(uid {os.getuid()})")
    intents = {event.n: (event.action, event.target, event.subject) for event in events if isinstance(event, Intended)}
    assert ("adopt user", "bob.climate", "bob.climate.brics") in intents.values()
    assert ("adopt group", "brics.climate", f"job:{begun.id}") in intents.values()
    outcomes = [event for event in events if isinstance(event, Observed)]
    assert {event.n for event in outcomes} == set(intents)
    assert all(event.ok for event in outcomes)


def test_nothing_is_applied_while_the_agent_runs(tmp_path: Path, realm: Double) -> None:
    (tmp_path / "mappings.txt").touch()
    run(tmp_path, "adopt", str(tmp_path / "mappings.txt"))
    with opened_writer(ledger_settings(load(tmp_path / "acct.toml"))):
        refused = run(tmp_path, "adopt", str(tmp_path / "mappings.txt"), "--apply")
        looked = run(tmp_path, "adopt", str(tmp_path / "mappings.txt"))
    assert "stop that one first" in refused.output
    assert refused.exit_code != 0
    assert realm.of("bob.climate") == set()
    assert looked.exit_code == 0, looked.output
