"""Kept-alive connections to a bridge.

A call takes an idle connection or opens one, and gives it back; so threads do not wait for each other, and one thread
keeps using the same one. A bridge closes what was idle for a while, so a connection is used again only if it was idle
for a few seconds at most and nothing has come on it. No request is ever sent twice: whether a command whose answer was
lost was accepted is a question for `fetch_jobs` and the like, not for a guess.

Everything is the standard library's `http.client`. It releases the interpreter while it waits, so other threads run.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from openportal.client.config import Config
from openportal.client.errors import BridgeError
from openportal.client.exchange import (
    ANSWER_MAX_BYTES,
    RETRY_AFTER_SECONDS,
    TIMEOUT_SECONDS,
    TOO_MANY_REQUESTS,
    Request,
    answer,
)

IDLE_MAX_CONNECTIONS: Final = 16
IDLE_MAX_SECONDS: Final = 15.0  # of the 30 that a bridge of ours allows


class Connections:
    """The connections to one bridge; safe for threads."""

    def __init__(
        self,
        config: Config,
        timeout_seconds: float = TIMEOUT_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.config = config
        self._timeout, self._sleep = timeout_seconds, sleep
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._lock = threading.Lock()

    def call(self, request: Request, patience_seconds: float = 0.0) -> bytes:
        """The JSON of the answer. `patience_seconds` is how long the bridge was asked to wait itself."""
        for pause in (*RETRY_AFTER_SECONDS, None):
            status, body = self._ask(request, self._timeout + patience_seconds)
            if status != TOO_MANY_REQUESTS or pause is None:
                break
            self._sleep(pause)
        return answer(request, status, body)

    def close(self) -> None:
        """Close what is idle; a call afterwards opens another."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _ask(self, request: Request, timeout_seconds: float) -> tuple[int, bytes]:
        connection = self._take() or self._open()
        try:
            return self._exchange(connection, request, timeout_seconds)
        except (OSError, HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error

    def _exchange(self, connection: HTTPConnection, request: Request, timeout_seconds: float) -> tuple[int, bytes]:
        connection.timeout = timeout_seconds
        if connection.sock is not None:
            connection.sock.settimeout(timeout_seconds)
        body = request.body.encode() or None
        connection.request(request.method, request.target(self.config), body, request.headers(self.config))
        response = connection.getresponse()
        read = response.read(ANSWER_MAX_BYTES + 1)
        if len(read) > ANSWER_MAX_BYTES:
            raise OSError(f"the answer is longer than {ANSWER_MAX_BYTES} bytes")
        if response.will_close:
            connection.close()
        else:
            self._give_back(connection)
        return response.status, read

    def _take(self) -> HTTPConnection | None:
        """The connection that was used last, if it is still good."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since < IDLE_MAX_SECONDS and not _has_ended(connection.sock):
                return connection
            connection.close()

    def _give_back(self, connection: HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < IDLE_MAX_CONNECTIONS:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()

    def _open(self) -> HTTPConnection:
        parts = urlsplit(self.config.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=self._timeout)

    def _unreachable(self, error: Exception) -> BridgeError:
        why = "it did not answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return BridgeError(f"the bridge at {self.config.url} cannot be reached: {why}")


def _has_ended(opened: socket.socket) -> bool:
    """Whether there is something to read where nothing was asked for: the end, then."""
    ready = select.poll()
    ready.register(opened, select.POLLIN)
    return bool(ready.poll(0))
