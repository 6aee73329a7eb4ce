"""Whether a real job goes through: asked of a bridge as the portal's software would ask it, answered by the far end.

The instruction changes nothing (`get_projects` of the bridge's own portal), and its answer comes from the account agent
of the instance that is asked, so it walks the whole chain and back.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openportal.client.client import Client
from openportal.client.config import Config
from openportal.paddington.files import read_text

HTTP_SECONDS = 10.0
PAUSE_SECONDS = 0.5

Plan = Mapping[str, Any]


def try_jobs(plan: Plan, folder: Path, seconds: float) -> list[dict[str, Any]]:
    """One job for each path from each bridge of a plan; each with its `path`, `seconds`, and `failed`: why, or None."""
    return [
        tried(bridge_of(folder / f"{agent['name']}.toml"), path, seconds)
        for agent in plan["agents"]
        for path in agent.get("paths", [])
    ]


def bridge_of(file: Path) -> Config:
    """How to ask a bridge, by its own file."""
    table = tomllib.loads(read_text(file))["bridge"]
    host = table["ip"] if ":" not in table["ip"] else f"[{table['ip']}]"
    return Config(f"http://{host}:{table['port']}/", bytes.fromhex(table["key"]["data"]))


def tried(bridge: Config, path: str, seconds: float) -> dict[str, Any]:
    """Ask for the projects at the end of a path."""
    began = time.monotonic()
    with Client(bridge, HTTP_SECONDS) as client:
        failed = why_not(client, f"{path} get_projects {path.partition('.')[0]}", seconds)
    return {"path": path, "seconds": round(time.monotonic() - began, 3), "failed": failed}


def why_not(client: Client, command: str, seconds: float) -> str | None:
    """Why a job does not complete in time; None if it does. A bridge that has just started may take none yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            job = client.run(command, max(0, int((deadline - time.monotonic()) * 1000)))
            break
        except OSError as error:
            if time.monotonic() >= deadline:
                return f"the bridge was asked and there was no job: {error}"
            time.sleep(PAUSE_SECONDS)
    if not job.is_finished:
        return f"the job has not ended after {seconds:.0f} s: {job.progress_message or job.state}"
    return f"the job failed: {job.error_message}" if job.is_error else None
