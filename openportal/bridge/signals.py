"""Tells the portal software that something waits for it.

    GET <signal_url>?job_id=<uuid>                      5 tries, 2 s apart
    GET <notification_url>?notification_id=<uuid>       3 tries, 2 s apart

The portal software fetches what it was told about, often before it answers the signal; so a notification has to stay
fetchable until `on_notified` is called for it. 403 means "not mine, and never will be"; any answer but 2xx is tried
again.

Jobs are signalled as they come, a bounded number at a time. Notifications wait in a queue of 500 and go out one after
the other. A queue that overflows is emptied: nobody reads there, and old news is worth less than new.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import httpx

JOB_TRIES = 5
NOTIFICATION_TRIES = 3
PAUSE_SECONDS = 2.0
BETWEEN_NOTIFICATIONS_SECONDS = 0.01
QUEUE_MAX_NOTIFICATIONS = 500
AT_ONCE_MAX_SIGNALS = 32
CONNECT_MAX_SECONDS = 5.0
ANSWER_MAX_SECONDS = 30.0  # the portal software may do the whole job before it answers
FORBIDDEN = 403

log = logging.getLogger(__name__)

GaveUp = Callable[[str, str], None]
"""(id, why): the portal software could not be told about this job."""
Notified = Callable[[str, bool], None]
"""(id, whether the portal software was told): nobody will be told about this notification any more."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what."""

    pause_seconds: float = PAUSE_SECONDS
    between_seconds: float = BETWEEN_NOTIFICATIONS_SECONDS
    connect_max_seconds: float = CONNECT_MAX_SECONDS
    answer_max_seconds: float = ANSWER_MAX_SECONDS


class Signaller:
    """Calls the two URLs of the portal software; one that is None is never called."""

    def __init__(
        self,
        signal_url: str | None,
        notification_url: str | None,
        *,
        on_gave_up: GaveUp,
        on_notified: Notified,
        patience: Patience | None = None,
    ) -> None:
        self._signal_url, self._notification_url = signal_url, notification_url
        self._on_gave_up, self._on_notified = on_gave_up, on_notified
        self._patience = patience or Patience()
        self._queue: deque[str] = deque()
        self._queued = asyncio.Event()
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX_SIGNALS)
        self._client: httpx.AsyncClient | None = None
        self._consumer: asyncio.Task[None] | None = None
        self.sent = 0
        """Notifications that the portal software was told about."""
        self.failed = 0
        """Notifications that it was not told about, those of an overflow included."""

    async def start(self) -> None:
        """Begin to signal."""
        timeout = httpx.Timeout(self._patience.answer_max_seconds, connect=self._patience.connect_max_seconds)
        self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False)
        self._consumer = asyncio.create_task(self._consume(), name="bridge-notifications")

    async def stop(self) -> None:
        """Stop at once; what is in the queue is not sent, and `on_notified` says so."""
        if self._consumer is not None:
            self._consumer.cancel()
            await asyncio.gather(self._consumer, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
        self._consumer = self._client = None
        self._drop_queue()

    async def job(self, job_id: str) -> bool:
        """Tell the portal software of a job; after the last try in vain, `on_gave_up` is called.

        Software that is told nothing (no `signal_url`) asks by itself, with /fetch_jobs.
        """
        if self._signal_url is None:
            return False
        problem = await self._signal(self._signal_url, "job_id", job_id, JOB_TRIES)
        if problem is not None:
            log.warning("gave up telling the portal software of job %s: %s", job_id, problem)
            self._on_gave_up(job_id, problem)
        return problem is None

    def notification(self, id: str) -> None:
        """Queue a notification; `on_notified` is called once it has been sent or dropped.

        Without a `notification_url` nobody is told of any, and nothing is queued.
        """
        if self._notification_url is None:
            return
        if len(self._queue) >= QUEUE_MAX_NOTIFICATIONS:
            log.error("dropped %d notifications: the portal software does not take them", len(self._queue))
            self._drop_queue()
        self._queue.append(id)
        self._queued.set()

    async def _consume(self) -> None:
        while True:
            await self._queued.wait()
            if not self._queue:
                self._queued.clear()
                continue
            id = self._queue.popleft()
            try:
                await self._send_notification(id)
            except asyncio.CancelledError:
                self._done(id, False)
                raise
            await asyncio.sleep(self._patience.between_seconds)

    async def _send_notification(self, id: str) -> None:
        assert self._notification_url is not None, "nothing is queued without it"
        problem = await self._signal(self._notification_url, "notification_id", id, NOTIFICATION_TRIES)
        if problem is not None:
            log.warning("gave up telling the portal software of notification %s: %s", id, problem)
        self._done(id, problem is None)

    def _drop_queue(self) -> None:
        dropped, self._queue = self._queue, deque()
        for id in dropped:
            self._done(id, False)

    def _done(self, id: str, sent: bool) -> None:
        if sent:
            self.sent += 1
        else:
            self.failed += 1
        self._on_notified(id, sent)

    async def _signal(self, url: str, parameter: str, id: str, tries: int) -> str | None:
        """None once it was told; else why not."""
        problem: str | None = None
        for attempt in range(tries):
            if attempt:
                await asyncio.sleep(self._patience.pause_seconds)
            async with self._at_once:
                problem, final = await self._try(url, parameter, id)
            if problem is None or final:
                break
        return problem

    async def _try(self, url: str, parameter: str, id: str) -> tuple[str | None, bool]:
        """(what went wrong, whether that is final)."""
        if self._client is None:
            return "the bridge is stopping", True
        try:
            async with asyncio.timeout(self._patience.answer_max_seconds):
                async with self._client.stream("GET", httpx.URL(url).copy_merge_params({parameter: id})) as answer:
                    status = answer.status_code
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return f"{url} is not a URL that can be called: {error}", True
        except (httpx.HTTPError, TimeoutError) as error:
            return f"{url} did not answer: {type(error).__name__} {error}".rstrip(), False
        if 200 <= status < 300:
            return None, False
        return f"{url} answered {status}", status == FORBIDDEN
