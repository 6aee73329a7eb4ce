"""Serves an ASGI app inside the event loop of the agent.

The agent handles signals itself, so the server must not; it binds its own socket so that a port in use is an error and
not the end of the process, and it bounds what a connection may do before there is a request: the head of a request may
take 10 s and 64 KiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from openportal.errors import ConfigError

HEAD_MAX_BYTES = 65_536
HEAD_MAX_SECONDS = 10
KEEP_ALIVE_SECONDS = 30
GRACE_SECONDS = 5
CONNECTIONS_MAX = 4_096
BACKLOG_CONNECTIONS = 1_024


class HttpServer:
    """One listening socket and what is served on it."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.port = 0
        """The port that is listened on, once started."""

    async def start(self, app: Any, ip: str, port: int) -> None:
        """Listen; port 0 takes any that is free. Raises `ConfigError` if the address cannot be had."""
        listener = _bind(ip, port)
        self.port = listener.getsockname()[1]
        self._server = _Server(_settings(app))
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="bridge-http")
        await self._server.settled.wait()
        if not self._server.started:
            listener.close()
            await self._task

    async def stop(self) -> None:
        """Take no more requests, let those under way finish for a few seconds, and close."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await self._task
        self._server = self._task = None


class _Server(uvicorn.Server):
    """Leaves the signals of the process alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = asyncio.Event()  # it has started, or never will

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.settled.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(HttpToolsProtocol):
    """Closes connections that do not come to the point."""

    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_begins()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_ends()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_begins()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_ends()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        unread = not self.pipeline and self.cycle.more_body
        super().on_response_complete()
        if unread:  # nobody waits for the rest of a body whose request was refused
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
                self.send_400_response(f"The head of the request is longer than {HEAD_MAX_BYTES} bytes.")

    def _head_begins(self) -> None:
        self._head_ends()
        self._head_timer = self.loop.call_later(HEAD_MAX_SECONDS, self.transport.close)

    def _head_ends(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _settings(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # the app decides whom it believes
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        limit_concurrency=CONNECTIONS_MAX,
        backlog=BACKLOG_CONNECTIONS,
    )


def _bind(ip: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    # asyncio switches Nagle's delay off only where the protocol is named; with it every answer is 40 ms late
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ip, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise ConfigError(f"The bridge cannot listen on {ip} port {port}: {reason}. Change ip or port.") from error
    listener.setblocking(False)
    return listener
