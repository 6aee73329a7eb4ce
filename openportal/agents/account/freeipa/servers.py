"""The masters of a site: one lane for looks and one for changes to each, and the choice between them.

"There is no such user" is only believed after every master was asked: a user that was made on one arrives on the others
later. A master that cannot be asked then is named in the log as REPLICATION-RISK.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from openportal.agents.account.freeipa.calls import Answer, Call, IpaDown, IpaLogin, IpaNotFound, IpaUntrusted
from openportal.agents.account.freeipa.lane import Lane
from openportal.agents.account.freeipa.masters import Masters
from openportal.agents.account.freeipa.rpc import Session
from openportal.agents.account.freeipa.settings import Settings
from openportal.errors import JobError, Unavailable

log = logging.getLogger(__name__)

PING = Call("ping", "")


class Server:
    """One master."""

    def __init__(self, session: Session, masters: Masters, reads: int, writes: int, clock: Callable[[], float]) -> None:
        self.name = session.server
        self.session = session
        self._masters = masters
        self._clock = clock
        self._looks = Lane(self._send, reads)
        self._changes = Lane(self._send, writes)

    async def look(self, call: Call) -> dict[str, Any]:
        """The result of a call that changes nothing. Raises JobError."""
        return await self._looks.call(call)

    async def change(self, call: Call) -> dict[str, Any]:
        """The result of a call that changes something. Raises JobError."""
        return await self._changes.call(call)

    async def close(self) -> None:
        """End what is under way, and the connections."""
        await self._looks.close()
        await self._changes.close()
        await self.session.close()

    async def _send(self, calls: Sequence[Call]) -> list[Answer]:
        try:
            answers = await self.session.send(calls)
        except IpaDown as error:
            self._masters.failed(self.name, certain=error.refused)
            raise
        except (IpaLogin, IpaUntrusted):
            self._masters.failed(self.name, certain=True)
            raise
        self._masters.answered(self.name, self._clock())
        return answers


class Servers:
    """All masters."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._masters = Masters(list(settings.servers), settings.write_server, settings.window_seconds)
        self._servers = {
            name: Server(
                Session(name, settings.who, settings.trust, clock),
                self._masters,
                reads,
                settings.concurrent_writes,
                clock,
            )
            for name, reads in settings.servers.items()
        }
        self._probing: set[asyncio.Task[None]] = set()

    def writer(self) -> Server:
        """The master that changes, and the looks that decide them, go to now."""
        now = self._clock()
        chosen = self._masters.writer(now)
        for name in self._masters.probes(now):
            log.warning("%s is used and %s is away; it is asked whether it is back.", chosen, name)
            task = asyncio.create_task(self._probe(self._servers[name]))
            self._probing.add(task)
            task.add_done_callback(self._probing.discard)
        return self._servers[chosen]

    async def elsewhere(self, server: Server, call: Call) -> dict[str, Any] | None:
        """What another master says to a look that `server` answered with "no such entry"; None when none has it."""
        others = [self._servers[name] for name in self._masters.others(server.name)]
        found = await asyncio.gather(*(self._ask(other, call) for other in others))
        return next((result for result in found if result is not None), None)

    async def close(self) -> None:
        """End every request, and the connections."""
        for task in self._probing:
            task.cancel()
        for server in self._servers.values():
            await server.close()

    async def _ask(self, other: Server, call: Call) -> dict[str, Any] | None:
        if self._masters.is_down(other.name):
            log.warning("REPLICATION-RISK: %s is down and was not asked for %s.", other.name, call.name)
            return None
        try:
            return await other.look(call)
        except IpaNotFound:
            return None
        except Unavailable as error:
            log.warning("REPLICATION-RISK: %s could not be asked for %s: %s", other.name, call.name, error)
            return None

    async def _probe(self, server: Server) -> None:
        try:
            await server.look(PING)
        except JobError as error:
            log.info("%s is still away: %s", server.name, error)
