"""The client for asyncio.

    async with AsyncClient("bridge-client.toml") as bridge:
        job = await bridge.run("brics.aip1.clusters.shared add_user alice.demo.brics", max_ms=10_000)
        await bridge.wait(job)

It is the other client on threads of its own: one way of speaking HTTP, TLS and proxies, which is the standard
library's, instead of a second one written here. A thread that waits for a bridge costs a stack and no time; there are
at most CALLS_MAX of them, and further calls queue. A call that is cancelled is not waited for any more, but what was
sent was sent: that a `run` was cancelled does not say that the job was not accepted.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, Self, TypeVar

from openportal.client.client import Client
from openportal.client.config import Config
from openportal.client.exchange import TIMEOUT_SECONDS
from openportal.client.identifiers import Destination, PortalIdentifier, Uuid
from openportal.client.jobs import Job
from openportal.client.notifications import Notification
from openportal.client.operations import Diagnostics, Health, RestartResponse

CALLS_MAX: Final = 64

P = ParamSpec("P")
R = TypeVar("R")


class AsyncClient:
    """The functions of one bridge, awaited. They are those of `Client`, word for word."""

    def __init__(
        self,
        config: Config | str | os.PathLike[str],
        timeout_seconds: float = TIMEOUT_SECONDS,
        calls_max: int = CALLS_MAX,
    ) -> None:
        self._client = Client(config, timeout_seconds)
        self._threads = ThreadPoolExecutor(calls_max, thread_name_prefix="openportal")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let what is under way finish, and close the connections. No call may follow."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    async def run(self, command: str, max_ms: int = 0) -> Job:
        return await self._call(self._client.run, command, max_ms)

    async def status(self, job: Job) -> Job:
        return await self._call(self._client.status, job)

    async def get(self, job_id: str | Uuid) -> Job:
        return await self._call(self._client.get, job_id)

    async def wait(self, job: Job, max_ms: int = -1) -> bool:
        """Wait until a job is finished, for ever by default; whether it is."""
        return await self._call(self._client.wait, job, max_ms)

    async def fetch_jobs(self, wait_seconds: float = 0.0) -> list[Job]:
        return await self._call(self._client.fetch_jobs, wait_seconds)

    async def fetch_job(self, job_id: str | Uuid | Job) -> Job:
        return await self._call(self._client.fetch_job, job_id)

    async def fetch_notification(self, notification_id: str | Uuid) -> Notification:
        return await self._call(self._client.fetch_notification, notification_id)

    async def send_result(self, job: Job) -> None:
        await self._call(self._client.send_result, job)

    async def get_offerings(self) -> list[Destination]:
        return await self._call(self._client.get_offerings)

    async def sync_offerings(self, offerings: Sequence[Destination]) -> list[Destination]:
        return await self._call(self._client.sync_offerings, offerings)

    async def add_offerings(self, offerings: Sequence[Destination]) -> list[Destination]:
        return await self._call(self._client.add_offerings, offerings)

    async def remove_offerings(self, offerings: Sequence[Destination]) -> list[Destination]:
        return await self._call(self._client.remove_offerings, offerings)

    async def get_portal(self) -> PortalIdentifier:
        return await self._call(self._client.get_portal)

    async def health(self) -> Health:
        return await self._call(self._client.health)

    async def diagnostics(self, destination: str) -> Diagnostics:
        return await self._call(self._client.diagnostics, destination)

    async def restart(self, restart_type: str, destination: str) -> RestartResponse:
        return await self._call(self._client.restart, restart_type, destination)

    async def notify(self, command: str) -> None:
        await self._call(self._client.notify, command)

    async def _call(self, function: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *arguments, **options))
