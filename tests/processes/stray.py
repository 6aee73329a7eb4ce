"""A neighbour that speaks by hand: a member of the facility whose process is not started."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from openportal.paddington.config import load
from openportal.paddington.exchange import Exchange
from openportal.paddington.peer import Peer
from tests.processes.waiting import until_async

Wire = dict[str, Any]


class Stray:
    """What it hears is kept as it came; what it says is said as given."""

    def __init__(self, config: Path, to: str, zone: str = "default") -> None:
        self.name = load(config).service.name
        self.to = Peer(to, zone)
        self.heard: list[Wire] = []
        self.links_lost = 0
        self.exchange = Exchange(load(config).service, self)

    # --- what the exchange tells ----------------------------------------------------------------------------------

    def connected(self, peer: Peer) -> None:
        pass

    def received(self, peer: Peer, text: str) -> None:
        if peer == self.to:
            self.heard.append(json.loads(text))

    def disconnected(self, peer: Peer, reason: str) -> None:
        if peer == self.to:
            self.links_lost += 1

    # --- what it says -------------------------------------------------------------------------------------------------

    def say(self, command: Wire | str) -> None:
        """A command; a text goes as it is."""
        self.exchange.send(self.to, command if isinstance(command, str) else json.dumps(command))

    def say_raw(self, frame: bytes) -> None:
        """A websocket frame with this content, sealed or not."""
        self.exchange._linked[self.to].write(frame)

    def seal(self, plaintext: bytes) -> bytes:
        """A frame that opens to a message with this payload, which need not be JSON."""
        session = self.exchange._linked[self.to]._session
        assert session is not None
        return session._numbered(b'{"nonce":%d,"payload":%b}', plaintext)

    def job(self, command: str, **changes: Any) -> Wire:
        now = int(time.time())
        times = {"created": now, "changed": now, "expires": now + 60}
        return {"id": str(uuid.uuid4()), **times, "version": 2, "command": command, "state": "Pending"} | changes

    async def answer(self, id: str) -> Wire:
        """The finished job that comes back in an Update."""

        def look() -> Wire | None:
            jobs = [command["Update"]["job"] for command in self.heard if "Update" in command]
            return next((job for job in jobs if job["id"] == id and job["state"] in ("Complete", "Error")), None)

        found = await until_async(look, f"job {id} is answered")
        assert found is not None
        return found

    async def ask(self, instruction: str) -> Wire:
        """A job for the agent at the other end, and its outcome."""
        job = self.job(f"{self.name}.{self.to.name} {instruction}")
        self.say({"Put": {"job": job}})
        return await self.answer(job["id"])


@asynccontextmanager
async def linked(config: Path, to: str, agent: str) -> AsyncIterator[Stray]:
    """A stray that is linked and registered as an agent of this type."""
    stray = Stray(config, to)
    await stray.exchange.start()
    try:
        await until_async(lambda: stray.to in stray.exchange.connected_peers(), f"the link to {to}")
        register = {"agent": agent, "engine": "templemeads", "version": "0.94.0", "domain": "greatwestern"}
        stray.say({"Register": register | {"domain_version": "0.94.0", "supports_structured_errors": True}})
        stray.say({"Sync": {"state": {"jobs": []}}})
        yield stray
    finally:
        await stray.exchange.stop()
