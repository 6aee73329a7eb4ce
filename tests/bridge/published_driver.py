"""Runs inside the environment of a published client: carries out what it reads, one JSON line per answer.

published_driver.py <config.toml> <ids as JSON>
"""

from __future__ import annotations

import json
import sys
from typing import Any

import openportal as op  # the published one


def job(it: Any) -> dict[str, Any]:
    return {"id": str(it.id), "finished": it.is_finished, "version": it.version, "instruction": str(it.instruction)}


def jobs_of_the_portal() -> dict[str, Any]:
    done = op.run("brics.aip1 get_users demo.brics")
    slow = op.run("brics.aip1 get_users slow.brics")
    before = slow.is_finished
    slow.wait(5000)
    failed = op.run("brics.aip1 get_users fail.brics")
    return {
        "done": job(done) | {"result": [str(user) for user in done.result]},
        "status": job(op.status(done)),
        "get": job(op.get(done.id)),
        "slow": [before, slow.is_finished],
        "failed": [failed.is_error, failed.error_message, getattr(failed, "error_kind", None)],
    }


def jobs_of_the_software(ids: dict[str, str]) -> dict[str, Any]:
    waiting = op.fetch_jobs()
    mine = op.fetch_job(ids["job"])
    op.send_result(mine.completed("p.alloc is there"))
    refused = op.fetch_job(ids["other"])
    op.send_result(refused.errored("ManagedProjectPendingError: wait"))
    note = op.fetch_notification(ids["notification"])
    return {
        "waiting": sorted(str(each.id) for each in waiting),
        "mine": job(mine) | {"forwarded_for": str(mine.forwarded_for)},
        "left": len(op.fetch_jobs()),
        "note": [str(note.destination), str(note.event)],
    }


def destinations(*texts: str) -> list[Any]:
    return [op.Destination(text) for text in texts]


def administration() -> dict[str, Any]:
    health, diagnosis, restart = op.health(), op.diagnostics("brics.aip1"), op.restart("soft", "brics.aip1")
    one, two = "c1.brics.alloc", "c2.brics.alloc"
    synced, added = op.sync_offerings(destinations(one)), op.add_offerings(destinations(two))
    removed = op.remove_offerings(destinations(one))
    op.notify("a.b user_added u.p.a")
    return {
        "portal": str(op.get_portal()),
        "health": [health.is_healthy(), health.status, health.keys(), health["bridge"].keys()],
        "diagnosis": [diagnosis.status, diagnosis.detail.agent_name, diagnosis.detail.warnings],
        "restart": [restart.is_ok(), restart.message],
        "offerings": [[str(each) for each in some] for some in (synced, added, removed, op.get_offerings())],
    }


def failures() -> dict[str, str]:
    calls = {
        "grammar": lambda: op.run("nonsense"),
        "unknown": lambda: op.get("a1b2c3d4-e5f6-7890-abcd-ef1234567890"),
        "restart": lambda: op.restart("lukewarm", ""),
    }
    said = {}
    for name, call in calls.items():
        try:
            call()
        except OSError as error:
            said[name] = str(error)
    return said


def main() -> None:
    op.load_config(sys.argv[1])
    ids = json.loads(sys.argv[2])
    said = [jobs_of_the_portal(), jobs_of_the_software(ids), administration(), failures()]
    print(json.dumps(said, default=repr))


main()
