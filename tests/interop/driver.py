"""Runs inside the environment of a published client: reads one request a line, writes one answer a line, both JSON.

driver.py <client file>      {"do": "run", "command": "brics.aip1 …", "ms": 1000} -> {"id": …, "state": …, "result": …}
"""

from __future__ import annotations

import json
import sys
from typing import Any

import openportal as op  # the published one


def told(job: Any) -> dict[str, Any]:
    state = "Open"
    if job.is_finished:
        state = "Error" if job.is_error else "Complete"
    said = job.error_message if job.is_error else job.result if job.is_finished else None
    result = [str(item) for item in said] if isinstance(said, list) else said
    return {"id": str(job.id), "state": state, "result": result}


def run(command: str, ms: int) -> dict[str, Any]:
    return told(op.run(command, ms) if ms else op.run(command))


def get(id: str, ms: int) -> dict[str, Any]:
    job = op.get(id)
    job.wait(ms)
    return told(job)


def health(path: list[str]) -> dict[str, Any]:
    """The agents seen, walking down `path`."""
    node: Any = op.health()
    names = []
    for name in path:
        node = node[name]
        names.append(node.name)
    return {"state": "Complete", "result": names}


def diagnostics(destination: str) -> dict[str, Any]:
    return {"state": "Complete", "result": op.diagnostics(destination).detail.agent_name}


def restart(kind: str, destination: str) -> dict[str, Any]:
    answer = op.restart(kind, destination)
    return {"state": "Complete" if answer.is_ok() else "Error", "result": answer.message}


def notification(id: str) -> dict[str, Any]:
    return {"state": "Complete", "result": str(op.fetch_notification(id).event)}


def answer(id: str) -> dict[str, Any]:
    """What the portal's software says to a job about an award: it grants all but those that have to wait."""
    job = op.fetch_job(id)
    project = str(job.instruction).split(" ")[1]
    name = project.partition(".")[0]
    if name.startswith("wait"):
        op.send_result(job.errored("ManagedProjectPendingError: a person has to look at it"))
    else:
        op.send_result(job.completed(op.ProjectMapping(f"{project}:{name}.brics")))
    return {"state": "Complete", "result": project}


def answer_all() -> dict[str, Any]:
    ids = [str(job.id) for job in op.fetch_jobs()]
    return {"state": "Complete", "result": [answer(id)["result"] for id in ids]}


def notify(command: str) -> dict[str, Any]:
    op.notify(command)
    return {"state": "Complete", "result": None}


def offerings(sync: list[str] | None) -> dict[str, Any]:
    """Replace the offerings, or read them."""
    got = op.get_offerings() if sync is None else op.sync_offerings([op.Destination(text) for text in sync])
    return {"state": "Complete", "result": sorted(str(each) for each in got)}


CALLS = {
    function.__name__: function
    for function in (run, get, health, diagnostics, restart, notification, answer, answer_all, notify, offerings)
}


def main() -> None:
    op.load_config(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = CALLS[request.pop("do")](**request)
        except Exception as error:
            answer = {"state": "Raised", "result": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=str), flush=True)


main()
