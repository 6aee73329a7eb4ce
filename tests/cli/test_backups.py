"""An agent is packed with all that it needs, and comes back elsewhere with a new generation of its ledger."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PrivateKey

from openportal.cli.backups import back_up, restore
from openportal.cli.sealedfile import key_for
from openportal.cli.site import Host
from openportal.cli.topology import Topology
from openportal.errors import ConfigError, LedgerError, SecretError
from openportal.templemeads.events import EVENTS, AgentStarted
from openportal.templemeads.ledger import Ledger, Settings, open_reader
from tests.cli.sites import ADDRESSES, changed

OPERATOR, BOX = PrivateKey(b"\1" * 32), PrivateKey(b"\2" * 32)
AT = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


def plan(folder: Path, name: str = "shared") -> dict[str, Any]:
    """An agent of a plan whose ledger is below `folder`."""
    ledger = {"settings": {"ledger": {"path": str(folder / "state" / name / "ledger")}}}
    sandbox = {"kind": "instance", "host": "s", "under": "clusters", **ledger}
    (agent,) = [
        agent
        for agent in Topology.declared(changed({"shared": sandbox}), ADDRESSES).plan("s")["agents"]
        if agent["name"] == name
    ]
    return agent


def lived(folder: Path) -> dict[str, Any]:
    """An agent on its host: its files, a secret, and a ledger with an event."""
    agent = plan(folder)
    (folder / "etc").mkdir(parents=True)
    Host(folder / "etc", {"agents": [agent], "secrets": {"shared": {"token": "canary"}}}, folder / "box").configure()
    asyncio.run(begun(Path(agent["tables"]["ledger"]["path"])))
    return agent


async def begun(path: Path) -> None:
    """A ledger with one event."""
    ledger = Ledger.open(Settings(path=path, owner="shared"), EVENTS)
    list(ledger.replay())
    ledger.submit([("clusters@default", AgentStarted(version="1", pid=1))], 1.0)
    ledger.close()


def packed(folder: Path) -> Path:
    (folder / "out").mkdir()
    return Path(back_up("shared", folder / "etc", folder / "out", OPERATOR.public_key, AT)["file"])


def key(file: Path) -> str:
    return key_for(file, OPERATOR, BOX.public_key)


def events(agent: dict[str, Any]) -> tuple[int, int]:
    with open_reader(Settings(path=Path(agent["tables"]["ledger"]["path"])), EVENTS) as reader:
        assert reader.verify().ok
        return reader.meta.generation, reader.stats().events


def test_an_agent_comes_back_on_a_bare_host(tmp_path: Path) -> None:
    lived(tmp_path / "old")
    file = packed(tmp_path / "old")
    assert file.name == "shared-20261124T123000Z.backup"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert not any(word in file.read_bytes() for word in (b"clusters", b"SQLite", b"canary"))
    agent = plan(tmp_path / "new")
    (tmp_path / "new/etc").mkdir(parents=True)
    said = restore(agent, file, BOX, key(file), tmp_path / "new/etc")
    assert (said["generation"], said["events"], said["aside"]) == (2, 1, None)
    assert events(agent) == (2, 1)
    for name in ("shared.toml", "shared.password"):
        old, new = (tmp_path / which / "etc" / name for which in ("old", "new"))
        assert new.read_text() == old.read_text()
        assert new.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "new/state/shared").iterdir()] == ["ledger"]


def test_files_that_are_there_are_newer_and_stay(tmp_path: Path) -> None:
    agent = lived(tmp_path)
    file = packed(tmp_path)
    newer = (tmp_path / "etc/shared.toml").read_text() + "# newer\n"
    (tmp_path / "etc/shared.toml").write_text(newer)
    said = restore(agent, file, BOX, key(file), tmp_path / "etc")
    assert said["aside"].endswith("before-restore-1")
    assert (tmp_path / "etc/shared.toml").read_text() == newer
    assert events(agent) == (2, 1)


def test_a_backup_of_somebody_else_is_refused(tmp_path: Path) -> None:
    lived(tmp_path)
    file = packed(tmp_path)
    with pytest.raises(ConfigError, match="a backup of shared, and aip1 is to be restored"):
        restore({**plan(tmp_path), "name": "aip1"}, file, BOX, key(file), tmp_path / "etc")


def test_the_ledger_of_another_life_is_not_replaced_unasked(tmp_path: Path) -> None:
    lived(tmp_path / "old")
    file = packed(tmp_path / "old")
    agent = lived(tmp_path / "new")
    with pytest.raises(LedgerError, match="the backup of another ledger"):
        restore(agent, file, BOX, key(file), tmp_path / "new/etc")
    assert events(agent) == (1, 1)
    assert restore(agent, file, BOX, key(file), tmp_path / "new/etc", other=True)["generation"] == 2


def test_a_backup_that_is_cut_off_changes_nothing(tmp_path: Path) -> None:
    agent = lived(tmp_path)
    file = packed(tmp_path)
    sealed = key(file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SecretError):
        restore(agent, file, BOX, sealed, tmp_path / "etc")
    assert events(agent) == (1, 1)
    assert [path.name for path in (tmp_path / "state/shared").iterdir()] == ["ledger"]


def test_an_agent_that_never_ran_has_no_backup(tmp_path: Path) -> None:
    agent = plan(tmp_path)
    (tmp_path / "etc").mkdir()
    Host(tmp_path / "etc", {"agents": [agent]}, tmp_path / "box").configure()
    with pytest.raises(LedgerError, match="start the agent once"):
        packed(tmp_path)
    assert list((tmp_path / "out").iterdir()) == []
