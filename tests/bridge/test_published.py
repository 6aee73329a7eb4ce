"""The clients that are on the package index talk to our bridge."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from openportal.cli.published import VERSIONS, client_python
from tests.bridge.support import KEY, Bridge, Json, serving

DRIVER = Path(__file__).with_name("published_driver.py")
CHILD_MAX_SECONDS = 60


async def drive(version: str, bridge: Bridge, ids: dict[str, str], directory: Path) -> list[Json]:
    """What the driver saw; the client must be another process, and this one serves it meanwhile."""
    config = directory / "bridge.toml"
    config.write_text(f'url = "{bridge.url}"\n[key]\ndata = "{KEY.hex()}"\n')
    python = await asyncio.to_thread(client_python, version)
    child = await asyncio.create_subprocess_exec(
        python, "-I", DRIVER, config, json.dumps(ids),
        cwd=directory, env={**os.environ, "RUST_BACKTRACE": "0"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(child.communicate(), CHILD_MAX_SECONDS)
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == 0, err.decode()
    seen: list[Json] = json.loads(out)
    return seen


@pytest.mark.parametrize("version", VERSIONS)
async def test_published_client(version: str, tmp_path: Path) -> None:
    async with serving() as bridge:
        agent = bridge.agent
        # each of these functions needs something to work on
        mine, other = (
            agent.put(f"brics.bridge.c1 {verb} p.alloc", "Running") for verb in ("get_project", "remove_project")
        )
        note = {"id": str(uuid4()), "destination": "bridge.brics", "event": {"UserAdded": "alice.demo.brics"}}
        agent.notifications[note["id"]] = note
        ids = {"job": mine["id"], "other": other["id"], "notification": note["id"]}
        portal, software, admin, failures = await drive(version, bridge, ids, tmp_path)
        check_portal(version, portal, agent.jobs)
        assert software["waiting"] == sorted([mine["id"], other["id"]])
        assert software["mine"]["forwarded_for"] == "allocator.brics.cluster1"
        assert (software["mine"]["version"], software["left"]) == (2, 0)
        assert software["note"] == ["bridge.brics", "user_added alice.demo.brics"]
        check_answers(version, agent.to_software[mine["id"]], agent.to_software[other["id"]])
        check_administration(admin)
        assert agent.restarts == [("soft", "brics.aip1")]
        assert agent.notified == ["a.b user_added u.p.a"]
        for name, status in {"grammar": "400", "unknown": "404", "restart": "400"}.items():
            assert f"Status: {status}" in failures[name]


def check_portal(version: str, seen: Json, jobs: dict[str, Json]) -> None:
    done = seen["done"]
    assert done["id"] in jobs
    assert (done["finished"], done["version"], done["result"]) == (True, 1002, ["alice.demo.brics"])
    assert "get_users" in done["instruction"]
    for name in ("status", "get"):
        assert seen[name]["id"] == done["id"]
        assert seen[name]["finished"]
    assert seen["slow"] == [False, True]
    assert seen["failed"][:2] == [True, "ManagedProjectPendingError: wait"]
    assert seen["failed"][2] == ("award_pending" if version == "0.94.0" else None)


def check_answers(version: str, mine: Json, other: Json) -> None:
    assert (mine["state"], mine["version"], mine["result_type"]) == ("Complete", 1002, "String")
    assert json.loads(mine["result"]) == "p.alloc is there"
    assert (other["state"], other["version"], other["result"]) == ("Error", 1002, "ManagedProjectPendingError: wait")


def check_administration(seen: dict[str, Any]) -> None:
    assert seen["portal"] == "brics"
    assert seen["health"] == [True, "ok", ["bridge"], ["brics"]]
    assert seen["diagnosis"] == ["ok", "brics.aip1", ["the disk is nearly full"]]
    assert seen["restart"] == [True, "The soft restart is on its way to 'brics.aip1'."]
    one, two = "c1.brics.alloc", "c2.brics.alloc"
    assert seen["offerings"] == [[one], [two], [one], [two]]
