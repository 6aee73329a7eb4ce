"""What the trials share: a facility of two kinds of agents, a published client, the portal's software, the table."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from openportal.cli.facility import CHAIN, Facility, Member
from openportal.cli.published import client_python

STEP_MS = 30_000
VOLUMES = Path("/mnt")

Answer = dict[str, Any]


@dataclass
class Mixed(Facility):
    """A facility in which the agents named in `theirs` are programs of the folder `upstream`."""

    upstream: Path = Path()
    theirs: frozenset[str] = frozenset()

    def _spawn(self, member: Member) -> subprocess.Popen[bytes]:
        if member.name not in self.theirs:
            return super()._spawn(member)
        command = [str(self.upstream / member.command), "-c", str(self.config(member.name)), "run"]
        with self.log(member.name).open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "RUST_BACKTRACE": "0"}
            )

    def lay_out_leaves(self, software: Mapping[str, str]) -> None:
        """Real accounts and directories once one of the two agents that make them is theirs; else sandboxes."""
        told = {"bridge": {"bridge": software}}
        if not self.theirs & {"acct", "fs"}:
            return self.lay_out(told)
        volumes = VOLUMES / self.folder.name
        homes, projects = volumes / "home", volumes / "projects"
        for folder in (homes, projects):
            folder.mkdir(parents=True, exist_ok=True)
        home = {"roots": [str(homes)], "subpath": "{project}/{user}", "permissions": "0755", "is_home": True}
        shared = {"roots": [str(projects)], "subpath": "{project}", "permissions": "2770"}
        real = {"sandbox": ""}
        tables = {"user_volumes": {"home": home}, "project_volumes": {"projects": shared}}
        return self.lay_out({"acct": {"extras": real}, "fs": {"extras": real, **tables}, **told})


class Client:
    """A published client in a process of its own; may be used by several threads."""

    def __init__(self, version: str, client_file: Path) -> None:
        driver = Path(__file__).with_name("driver.py")
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [client_python(version), driver, client_file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "RUST_BACKTRACE": "0"},
        )

    def ask(self, do: str, **what: Any) -> Answer:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        return json.loads(line) if line else {"state": "Ended", "result": "the client's process ended"}

    def run(self, instruction: str, ms: int = STEP_MS, chain: str = CHAIN) -> Answer:
        return self.ask("run", command=f"{chain} {instruction}", ms=ms)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Software:
    """The portal's software: what a bridge tells it of, an event or a job, it fetches while the bridge waits.

    `client` is what it fetches with; it answers jobs at once, as `answer` of the driver says, while `answers` is true.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.jobs: list[str] = []
        self.answers = True
        self.client: Client | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def table(self) -> dict[str, str]:
        """What the bridge's file says of it."""
        return {"signal_url": f"{self.url}/signal", "notification_url": f"{self.url}/notify"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        software = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                software.told(self.path)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def told(self, path: str) -> None:
        query = parse_qs(urlsplit(path).query)
        if self.client is None:
            return
        for id in query.get("notification_id", []):
            self.events.append(str(self.client.ask("notification", id=id)["result"]))
        for id in query.get("job_id", []):
            self.jobs.append(id)
            if self.answers:
                self.client.ask("answer", id=id)

    def has_seen(self, event: str, seconds: float = 5.0) -> bool:
        """Whether the event comes within that time."""
        deadline = time.monotonic() + seconds
        while event not in self.events and time.monotonic() < deadline:
            time.sleep(0.05)
        return event in self.events

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True)
class Step:
    """What is asked and what has to come of it; `expected` None means any result."""

    name: str
    ask: Callable[[Client], Answer]
    expected: object = None
    state: str = "Complete"

    def problem(self, client: Client) -> str:
        """Empty if all is well."""
        answer = self.ask(client)
        state, result = answer["state"], answer["result"]
        if callable(self.expected):
            good = bool(self.expected(result))
        else:
            good = self.expected is None or result == self.expected
        return "" if good and state == self.state else f"{state}: {result}"


@dataclass
class Row:
    """One line of the table."""

    facility: str
    client: str
    step: str
    problem: str
    seconds: float

    def __str__(self) -> str:
        what = self.problem or "ok"
        return f"{self.facility:<14} {self.client:<8} {self.step:<28} {self.seconds:6.2f} s  {what}"


@dataclass
class Table:
    """What was found; printed as it comes."""

    rows: list[Row] = field(default_factory=list)

    def add(self, facility: str, client: str, step: str, problem: str, seconds: float) -> None:
        row = Row(facility, client, step, problem, seconds)
        self.rows.append(row)
        print(row, flush=True)

    @property
    def failed(self) -> int:
        return sum(1 for row in self.rows if row.problem)
