"""A client that asks a bridge for jobs, remembers every 200, and goes on when the bridge is away."""

from __future__ import annotations

import asyncio
import json
import time
import tomllib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx

from openportal.cli.facility import CHAIN
from openportal.signing import signed_headers

TERMINAL = ("Complete", "Error")


@dataclass
class Load:
    """What was asked and what became of it; `accepted` is command by job id, for every 200 of /run."""

    client_file: Path
    accepted: dict[str, str] = field(default_factory=dict)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: int = 0
    clock: Callable[[], float] = time.time  # by which requests are dated

    def __post_init__(self) -> None:
        config = tomllib.loads(self.client_file.read_text())
        self._key = bytes.fromhex(config["key"]["data"])
        self._http = httpx.AsyncClient(base_url=config["url"], timeout=10)

    async def call(self, function: str, body: Any = None) -> httpx.Response:
        method, text = ("get", "") if body is None else ("post", json.dumps(body))
        signed = signed_headers(
            self._key, method, function, text, formatdate(self.clock(), usegmt=True), str(uuid.uuid4())
        )
        headers = {**signed, "content-type": "application/json"}
        return await self._http.request(method.upper(), f"/{function}", content=text, headers=headers)

    async def run(self, instruction: str) -> None:
        """Ask once; a bridge that does not answer has not accepted."""
        try:
            response = await self.call("run", {"command": f"{CHAIN} {instruction}"})
        except httpx.HTTPError:
            self.refused += 1
            return
        if response.status_code == 200:
            self._note(response.json(), instruction)
        else:
            self.refused += 1

    def _note(self, job: dict[str, Any], instruction: str) -> None:
        self.accepted[job["id"]] = instruction
        if job["state"] in TERMINAL:
            self.ended[job["id"]] = job

    async def wait_for_all(self, seconds: float) -> None:
        """Poll until every accepted job has ended, or time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while open_ids := [id for id in self.accepted if id not in self.ended]:
            if loop.time() > deadline:
                return
            await asyncio.gather(*(self._look(id) for id in open_ids[:32]))
            await asyncio.sleep(0.05)

    async def _look(self, id: str) -> None:
        try:
            response = await self.call("status", {"job": id})
        except httpx.HTTPError:
            return
        if response.status_code == 200 and response.json()["state"] in TERMINAL:
            self.ended[id] = response.json()

    async def close(self) -> None:
        await self._http.aclose()
