"""The portal's software, as a bridge sees it: an HTTP server that is told of jobs and notifications."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from openportal.cli.facility import HOST, Member, free_ports
from tests.processes.load import Load

ZONE = "allocator>brics"
PORTALS = (
    Member("bridge", "op-bridge", "Bridge", ("brics",)),
    Member("allocator", "op-portal", "Portal"),
    Member("office", "op-bridge", "Bridge", ("allocator",)),
    Member("brics", "op-portal", "Portal", (f"allocator@{ZONE}",)),
)
"""Our portal and another one, each with its bridge: `office` asks for awards, what is behind `bridge` grants them."""


class Software:
    """Remembers what it was told, and what it fetched of it while the bridge waited for the answer.

    GET /signal?job_id=…                    fetches the job
    GET /notification?notification_id=…     fetches the notification
    GET /seen                               every id so far, for those who are in another process
    """

    def __init__(self, client_file: Path) -> None:
        self._client_file = client_file
        self.jobs: list[dict[str, Any]] = []
        self.notifications: list[dict[str, Any]] = []
        self.told: list[str] = []
        [port] = free_ports(1)
        self.url = f"http://{HOST}:{port}"
        self._server = ThreadingHTTPServer((HOST, port), handler_of(self.heard))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def table(self) -> dict[str, str]:
        """What the bridge's file says of it."""
        return {"signal_url": f"{self.url}/signal", "notification_url": f"{self.url}/notification"}

    def heard(self, path: str, query: dict[str, list[str]]) -> object:
        if path == "/seen":
            return {"jobs": [job["id"] for job in self.jobs], "notifications": self.notifications}
        if path == "/signal":
            self.told += query["job_id"]
            self.jobs.append(self.fetch("fetch_job", query["job_id"][0]))
        elif path == "/notification":
            self.notifications.append(self.fetch("fetch_notification", query["notification_id"][0]))
        return None

    def fetch(self, function: str, id: str) -> dict[str, Any]:
        async def fetch() -> dict[str, Any]:
            load = Load(self._client_file)
            try:
                answer = await load.call(function, id)
            finally:
                await load.close()
            body: dict[str, Any] = answer.json()
            return body | {"status": answer.status_code}

        return asyncio.run(fetch())

    def __enter__(self) -> Software:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def handler_of(heard: Callable[[str, dict[str, list[str]]], object]) -> type[BaseHTTPRequestHandler]:
    """The request handler class that the server of the standard library wants."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = json.dumps(heard(url.path, parse_qs(url.query))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler
