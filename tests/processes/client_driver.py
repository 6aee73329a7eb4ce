"""Runs with a published client or with ours: drives a whole facility, and prints what it saw as JSON.

client_driver.py <the portal's client.toml> <the other portal's client.toml> <URL of the portal's software>
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import openportal as op  # a published one, or ours

CHAIN = "brics.aip1.clusters.shared"
WAIT_MS = 20_000
PATIENCE_SECONDS = 60.0
LEAVES = 3

PROJECT = "demo.brics"
USER = "alice.demo.brics"
INSTRUCTIONS = (
    f"add_project {PROJECT}", f"add_user {USER}", f"get_users {PROJECT}", "get_projects brics",
    f"get_user_mapping {USER}", f"get_project_mapping {PROJECT}", f"is_protected_user {USER}",
    f"block_user {USER}", f"is_blocked_user {USER}", f"is_blocked_project {PROJECT}", f"unblock_user {USER}",
    f"block_project {PROJECT}", f"unblock_project {PROJECT}", f"is_blocked_user {USER}",
    f"set_limit {PROJECT} 10 hours", f"get_limit {PROJECT}",
    f"get_usage_report {PROJECT}", "get_usage_reports brics",
    f"get_storage_report {PROJECT}", "get_storage_reports brics",
    f"get_home_dir {USER}", f"get_project_dirs {PROJECT}",
    f"set_project_quota {PROJECT} projects 10 GB", f"get_project_quota {PROJECT} projects",
    f"get_project_quotas {PROJECT}", f"clear_project_quota {PROJECT} projects",
    f"set_user_quota {USER} home 5 GB", f"get_user_quotas {USER}",
)  # fmt: skip
NEWER_INSTRUCTIONS = (f"is_user_added {USER}", f"is_project_added {PROJECT}", f"is_user_removed {USER}")
LAST_INSTRUCTIONS = (f"remove_user {USER}", f"remove_project {PROJECT}")
FAILURES = (f"{CHAIN} get_user_mapping nobody.{PROJECT}", f"brics.aip1.clusters is_protected_user {USER}")


def eventually(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise SystemExit(f"in vain: {what}")
        time.sleep(0.05)
    return found


def described(value: Any) -> Any:
    """A decoded value as its class and its text."""
    if isinstance(value, list):
        return [described(each) for each in value]
    if isinstance(value, dict):
        return {str(key): described(each) for key, each in value.items()}
    return value if value is None or isinstance(value, int | str) else [type(value).__name__, str(value)]


def ask(command: str) -> Any:
    job = op.run(command, WAIT_MS)
    if not job.is_finished:
        job.wait(WAIT_MS)
    return job


def answer(command: str) -> Any:
    job = ask(command)
    if job.is_error:
        return {"error": job.error_message}
    return described(job.result)


def error_of(job: Any) -> list[Any]:
    """How a failed job is told: its text, its kind, and what `raise_for_error` raises."""
    raised = None
    if hasattr(job, "raise_for_error"):
        try:
            job.raise_for_error()
        except OSError as error:
            raised = type(error).__name__
    return [job.is_error, job.error_message, getattr(job, "error_kind", None), raised]


def tree(node: Any) -> dict[str, Any]:
    """The names of the agents below one."""
    return {name: tree(node[name]) for name in node.keys()}  # noqa: SIM118 - it is no dict


def leaves(node: dict[str, Any]) -> int:
    return sum(map(leaves, node.values())) or 1


def whole_tree() -> dict[str, Any] | None:
    health = op.health()
    found = tree(health)
    return found if health.is_healthy() and leaves(found) >= LEAVES else None


def jobs() -> dict[str, Any]:
    newer = hasattr(op.Job, "raise_for_error")
    instructions = (*INSTRUCTIONS, *(NEWER_INSTRUCTIONS if newer else ()), *LAST_INSTRUCTIONS)
    said = [[instruction, answer(f"{CHAIN} {instruction}")] for instruction in instructions]
    done = op.run(f"{CHAIN} get_users {PROJECT}", WAIT_MS)
    looked = [op.status(done), op.get(str(done.id))]
    done.update()
    return {
        "said": said,
        "looked": [[str(job.id) == str(done.id), job.is_finished] for job in [*looked, done]],
        "failures": [error_of(ask(command)) for command in FAILURES],
    }


def destinations(*texts: str) -> list[Any]:
    return [op.Destination(text) for text in texts]


def offerings() -> list[list[str]]:
    one, two = "cluster1.brics.allocator", "cluster2.brics.allocator"
    steps = [
        op.sync_offerings(destinations(one)), op.get_offerings(),
        op.add_offerings(destinations(two)), op.get_offerings(),
        op.remove_offerings(destinations(two)), op.get_offerings(),
    ]  # fmt: skip
    return [sorted(str(each) for each in step) for step in steps]


def award(ours: str, theirs: str, name: str, finish: Callable[[Any], Any]) -> Any:
    """What the allocator sees of an award that our software answered as `finish` says."""
    op.load_config(theirs)
    job = op.run(f'allocator.brics.cluster1 create_project {name}.allocator {{"name":"{name}"}}')
    op.load_config(ours)
    waiting = eventually(op.fetch_jobs, "the award comes to our software")
    fetched = op.fetch_job(waiting[0].id)
    op.send_result(finish(fetched))
    op.load_config(theirs)
    job.wait(WAIT_MS)
    op.load_config(ours)
    told = [len(waiting), str(fetched.instruction).split()[0], str(fetched.forwarded_for)]
    return [told, described(job.result) if not job.is_error else error_of(job)]


def awards(ours: str, theirs: str) -> dict[str, Any]:
    accepted = op.ProjectMapping("a.allocator:a.brics")
    said = {"complete": award(ours, theirs, "a", lambda job: job.completed(accepted))}
    for kind in ("Pending", "Rejected", "Permission"):
        text = f"ManagedProject{kind}Error: say why"
        said[kind] = award(ours, theirs, kind.lower(), lambda job, text=text: job.errored(text))
    return said


def notifications(software: str) -> list[str]:
    """Those that the software was told of, fetched again by their ids."""

    def told() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{software}/seen") as answer:
            return json.load(answer)["notifications"]

    ids = eventually(told, "the software is told of an event")
    fetched = [op.fetch_notification(each["id"]) for each in ids]
    return [f"{note.destination} {note.event}" for note in fetched]


def operations() -> dict[str, Any]:
    op.notify(f"{CHAIN} user_changed {USER}")
    mine, far = op.diagnostics(""), op.diagnostics(CHAIN)
    soft = op.restart("soft", "brics.aip1")
    eventually(whole_tree, "the agents are linked again")
    return {
        "diagnostics": [[each.status, each.detail.agent_name] for each in (mine, far)],
        "restart": [soft.is_ok(), soft.message],
        "after": answer(f"{CHAIN} is_protected_user {USER}"),
    }


def failures() -> dict[str, str]:
    unknown = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
    calls = {
        "grammar": lambda: op.run("nonsense"),
        "not ours": lambda: op.run(f"{CHAIN} add_user x.p.elsewhere"),
        "job": lambda: op.get(unknown),
        "software's job": lambda: op.fetch_job(unknown),
        "notification": lambda: op.fetch_notification(unknown),
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
    ours, theirs, software = sys.argv[1:]
    op.load_config(ours)
    seen = {
        "health": eventually(whole_tree, "all agents are linked"),
        "portal": str(op.get_portal()),
        "jobs": jobs(),
        "offerings": offerings(),
        "awards": awards(ours, theirs),
        "left": len(op.fetch_jobs()),
        "notifications": notifications(software),
        "operations": operations(),
        "failures": failures(),
    }
    print(json.dumps(seen))


main()
