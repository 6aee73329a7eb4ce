"""Whether a real job goes through: asked of a bridge as the portal's software would ask it, answered by the far end.

The instruction changes nothing (`get_projects` of the bridge's own portal), and its answer comes from the account agent
of the instance that is asked, so it walks the whole chain and back.
"""

from __future__ import annotations

import json
import time
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from openportal.bridge.auth import canonical_v2, sign
from openportal.paddington.files import read_text

LINGER_SECONDS = 5
HTTP_SECONDS = 10.0
FINAL = ("Complete", "Error")

Plan = Mapping[str, Any]


def try_jobs(plan: Plan, folder: Path, seconds: float) -> list[dict[str, Any]]:
    """One job for each path from each bridge of a plan; each with its `path`, `seconds`, and `failed`: why, or None."""
    return [
        tried(Caller.of(folder / f"{agent['name']}.toml"), path, seconds)
        for agent in plan["agents"]
        for path in agent.get("paths", [])
    ]


def tried(caller: Caller, path: str, seconds: float) -> dict[str, Any]:
    """Ask for the projects at the end of a path."""
    began = time.monotonic()
    try:
        job = caller.finished(f"{path} get_projects {path.partition('.')[0]}", began + seconds)
        failed = None if job["state"] == "Complete" else f"the job is {job['state']}: {job['result']}"
    except (httpx.HTTPError, ValueError, KeyError) as error:
        failed = f"the bridge was asked and there was no job: {error}"
    return {"path": path, "seconds": round(time.monotonic() - began, 3), "failed": failed}


class Caller:
    """A client of a bridge that signs its requests."""

    def __init__(self, url: str, key: bytes) -> None:
        self._url, self._key = url, key

    @classmethod
    def of(cls, file: Path) -> Caller:
        """With the address and the key in the bridge's own file."""
        table = tomllib.loads(read_text(file))["bridge"]
        host = table["ip"] if ":" not in table["ip"] else f"[{table['ip']}]"
        return cls(f"http://{host}:{table['port']}/", bytes.fromhex(table["key"]["data"]))

    def finished(self, command: str, deadline: float) -> Mapping[str, Any]:
        """The job of a command when it has ended, or as it stands at the deadline. Raises httpx.HTTPError."""
        job: Mapping[str, Any] = self.post("run", {"command": command})
        for _ in self._until(deadline):
            if job["state"] in FINAL:
                break
            job = self.post(f"status?wait={LINGER_SECONDS}", {"job": job["id"]})
        return job

    @staticmethod
    def _until(deadline: float) -> Iterator[None]:
        while time.monotonic() < deadline:
            yield

    def post(self, function: str, body: Any) -> Any:
        text, date, nonce = json.dumps(body), formatdate(usegmt=True), str(uuid.uuid4())
        signed = canonical_v2("post", date, function.partition("?")[0], text, nonce)
        headers = {
            "Authorization": f"OpenPortal {sign(self._key, signed).hex()}", "Date": date, "X-Nonce": nonce,
            "X-OpenPortal-Signature-Version": "2", "Content-Type": "application/json",
        }  # fmt: skip
        answer = httpx.post(urljoin(self._url, function), content=text, headers=headers, timeout=HTTP_SECONDS)
        found: Any = answer.raise_for_status().json()
        return found
