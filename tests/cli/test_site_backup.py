"""The commands around backups: JSON in, JSON out; one agent that fails does not keep the others from their backup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PrivateKey

from openportal.cli.sealedfile import key_for, private_key, public_key
from openportal.cli.site import Host
from openportal.cli.site_backup import looked_at
from openportal.templemeads.events import EVENTS
from openportal.templemeads.ledger import Ledger, Settings
from tests.cli.test_backups import plan
from tests.cli.test_rollout_commands import options, run


def ask(word: str, told: Any, *words: str) -> dict[str, Any]:
    found = run("site", word, *words, told=told)
    assert found.exit_code == 0, found.output
    answer: dict[str, Any] = json.loads(found.output)
    return answer


def test_there_and_back(tmp_path: Path) -> None:
    public = run("backup-key", str(tmp_path / "key")).output.strip()
    agents = [plan(tmp_path), plan(tmp_path, "aip1")]
    Host(tmp_path, {"agents": agents}, tmp_path / ".box").configure()
    ledger = Path(agents[0]["tables"]["ledger"]["path"])
    Ledger.open(Settings(path=ledger, owner="shared"), EVENTS).close()
    (tmp_path / "out").mkdir()
    told = {"plan": {"agents": agents}, "recipient": public}
    made = ask("backup", told, "--folder", str(tmp_path), "--to", str(tmp_path / "out"))
    assert [one["name"] for one in made["backups"]] == ["shared"]
    assert [words.partition(":")[0] for words in made["failed"]] == ["aip1"]
    (ledger / "ledger.sqlite").unlink()
    box = public_key(ask("box", {}, "--box", str(tmp_path / ".box"))["box"])
    file = made["backups"][0]["file"]
    key = key_for(Path(file), private_key(tmp_path / "key"), box)
    told = {"plan": {"agents": agents}, "backups": [{"name": "shared", "file": file, "key": key}]}
    said = ask("restore", told, *options(tmp_path))
    assert [(one["name"], one["generation"]) for one in said["restored"]] == [("shared", 2)]


def test_a_key_is_not_made_over_another(tmp_path: Path) -> None:
    assert run("backup-key", str(tmp_path / "key")).exit_code == 0
    again = run("backup-key", str(tmp_path / "key"))
    assert (again.exit_code, "name a new one" in again.output) == (1, True)


def test_a_box_is_kept(tmp_path: Path) -> None:
    first, second = (ask("box", {}, "--box", str(tmp_path / "box"))["box"] for _ in range(2))
    assert first == second == bytes(PrivateKey((tmp_path / "box").read_bytes()).public_key).hex()


@pytest.mark.parametrize("system", ["sandbox", "local", "directories", ""])
def test_leaves_without_a_look_are_not_asked(tmp_path: Path, system: str) -> None:
    assert list(looked_at({"agents": [{**plan(tmp_path), "system": system}]}, tmp_path)) == []


def test_a_leaf_whose_system_cannot_be_asked_is_told(tmp_path: Path) -> None:
    scheduler = {**plan(tmp_path, "slurm"), "system": "slurm"}
    scheduler["tables"] = {**scheduler["tables"], "extras": {}, "ledger": {"path": str(tmp_path / "ledger")}}
    Host(tmp_path, {"agents": [scheduler]}, tmp_path / ".box").configure()
    found = run("site", "reconcile", "--folder", str(tmp_path), told={"agents": [scheduler]})
    assert found.exit_code == 1
    (waiting,) = json.loads(found.output)["waiting"]
    assert waiting.startswith("slurm: op-slurm reconcile: ")
