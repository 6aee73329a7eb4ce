"""A whole facility in one folder on this machine: for the demonstration, for training, for tests and measurements.

    bridge ──> brics <── aip1 <── clusters <── shared <──┬─ acct
    (an arrow points to the side that listens)           ├─ fs
                                                         └─ slurm

Every agent is a process of its own with its own file, event log and port on 127.0.0.1; leaves are sandboxes unless told
otherwise. `Facility` starts, kills and stops them by pid.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import tomlkit

from openportal.client import BridgeError, Client
from openportal.errors import ConfigError
from openportal.paddington.files import write_private
from openportal.paddington.peer import LEAF_TYPES

START_SECONDS = 60.0
STOP_SECONDS = 10.0
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.02
HOST = "127.0.0.1"
PORTS = range(10_000, 32_768)  # below those that the kernel gives to sockets that dial
DEFAULT_ZONE = "default"


@dataclass(frozen=True)
class Member:
    """One agent of the facility: its name, its command, the type in its file, and whom it dials (`name[@zone]`)."""

    name: str
    command: str
    agent: str
    dials: tuple[str, ...] = ()

    def links(self) -> list[tuple[str, str]]:
        """Whom it dials, as name and zone."""
        parts = [text.partition("@") for text in self.dials]
        return [(name, zone or DEFAULT_ZONE) for name, _, zone in parts]


MEMBERS = (
    Member("bridge", "op-bridge", "Bridge", ("brics",)),
    Member("brics", "op-portal", "Portal"),
    Member("aip1", "op-provider", "Provider", ("brics",)),
    Member("clusters", "op-clusters", "Platform", ("aip1",)),
    Member("shared", "op-cluster", "Instance", ("clusters",)),
    Member("acct", "op-localaccount", "Account", ("shared",)),
    Member("fs", "op-filesystem", "Filesystem", ("shared",)),
    Member("slurm", "op-slurm", "Scheduler", ("shared",)),
)
CHAIN = "brics.aip1.clusters.shared"


@dataclass
class Facility:
    """The files and processes of a facility."""

    folder: Path
    members: tuple[Member, ...] = MEMBERS
    environment: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by agent name, over `environment`
    log_level: str = "info"
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    http_ports: dict[str, int] = field(default_factory=dict)

    @property
    def sandbox(self) -> Path:
        """The folder of the sandboxed leaf systems."""
        return self.folder / "sandbox"

    @property
    def bridge(self) -> str:
        """The name of the bridge; of the first, if there are several."""
        return next(member.name for member in self.members if member.agent == "Bridge")

    @property
    def http_port(self) -> int:
        """Where the bridge answers."""
        return self.http_ports[self.bridge]

    @property
    def client_file(self) -> Path:
        """What a client of the bridge loads."""
        return self.client_file_of(self.bridge)

    def client_file_of(self, bridge: str) -> Path:
        return self.folder / f"{bridge}-client.toml"

    def config(self, name: str) -> Path:
        return self.folder / f"{name}.toml"

    def ledger(self, name: str) -> Path:
        return self.folder / f"{name}.ledger"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def lay_out(self, tables: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Write every agent's file, with new keys and free ports; `tables` add to, or change, those by agent name."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = [member.name for member in self.members]
        bridges = [member.name for member in self.members if member.agent == "Bridge"]
        free = free_ports(len(names) + len(bridges))
        ports = dict(zip(names, free, strict=False))
        self.http_ports = dict(zip(bridges, free[len(names) :], strict=True))
        keys = {(m.name, *link): (new_key(), new_key()) for m in self.members for link in m.links()}
        for member in self.members:
            document = self._document(member, ports, keys)
            for name, table in (tables or {}).get(member.name, {}).items():
                document[name] = {**document.get(name, {}), **table}
            write_private(self.config(member.name), tomlkit.dumps(document).encode())

    def _document(
        self, member: Member, ports: Mapping[str, int], keys: Mapping[tuple[str, str, str], tuple[str, str]]
    ) -> dict[str, Any]:
        clients = [
            {"name": dialler, "zone": zone, "ip": {"IP": HOST}, **key_tables(pair)}
            for (dialler, listener, zone), pair in keys.items()
            if listener == member.name
        ]
        servers = [
            {
                "name": other,
                "url": f"ws://{HOST}:{ports[other]}/",
                "zone": zone,
                **key_tables(keys[member.name, other, zone]),
            }
            for other, zone in member.links()
        ]
        port = ports[member.name]
        service = {"name": member.name, "url": f"ws://{HOST}:{port}/", "ip": HOST, "port": port}
        document: dict[str, Any] = {
            "agent": member.agent,
            "service": {**service, "servers": servers, "clients": clients},
            "ledger": {"path": str(self.ledger(member.name))},
        }
        if member.agent in LEAF_TYPES:
            document["extras"] = {"sandbox": str(self.sandbox)}
        if member.agent == "Bridge":
            document["bridge"] = self._bridge_table(member.name)
        return document

    def _bridge_table(self, bridge: str) -> dict[str, Any]:
        key, port = new_key(), self.http_ports[bridge]
        url = f"http://{HOST}:{port}"
        write_private(self.client_file_of(bridge), tomlkit.dumps({"url": url, "key": {"data": key}}).encode())
        return {"url": url, "ip": HOST, "port": port, "key": {"data": key}}

    # --- processes ----------------------------------------------------------------------------------------------------

    def start(self, names: Iterable[str] | None = None) -> None:
        """Start these agents, or all; returns at once."""
        for member in self.members:
            if (names is None or member.name in names) and member.name not in self.processes:
                self.processes[member.name] = self._spawn(member)

    def _spawn(self, member: Member) -> subprocess.Popen[bytes]:
        command, own = self.command(member), self.environments.get(member.name, {})
        environment = {**os.environ, **self.environment, **own}
        with self.log(member.name).open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def command(self, member: Member) -> list[str]:
        """What is run for an agent; its process must become that agent's."""
        program = Path(sys.executable).parent / member.command
        return [str(program), "-c", str(self.config(member.name)), "run", "--log-level", self.log_level]

    def kill(self, names: Iterable[str]) -> None:
        """kill -9, and wait until they are gone."""
        self._signal(names, signal.SIGKILL)

    def stop(self, names: Iterable[str] | None = None) -> None:
        """Ask them to stop in good order; whoever does not is killed."""
        self._signal(list(self.processes) if names is None else names, signal.SIGTERM)

    def _signal(self, names: Iterable[str], number: signal.Signals) -> None:
        found = [(name, self.processes.pop(name)) for name in list(names) if name in self.processes]
        for _, process in found:
            process.send_signal(number)
        for _, process in found:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def revive(self) -> None:
        """Start again whoever ended in good order: it was asked to restart."""
        ended = [name for name, process in self.processes.items() if process.poll() == 0]
        for name in ended:
            del self.processes[name]
        self.start(ended)

    def check(self) -> None:
        """Raises ConfigError if an agent has ended by itself, with the end of its log."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                tail = self.log(name).read_text(errors="replace")[-2000:]
                raise ConfigError(f"{name} ended with code {process.returncode}:\n{tail}")

    def wait_ready(self, seconds: float = START_SECONDS) -> float:
        """Wait until every bridge takes jobs, its portal being linked; returns how long it took in seconds."""
        begin = time.monotonic()
        waiting = set(self.http_ports)
        while time.monotonic() < begin + seconds:
            self.check()
            waiting = {name for name in waiting if not takes_jobs(self.client_file_of(name))}
            if not waiting:
                return time.monotonic() - begin
            time.sleep(POLL_SECONDS)
        raise ConfigError(f"no job could be handed to {', '.join(sorted(waiting))} within {seconds:.0f} s")

    def __enter__(self) -> Facility:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(list(self.processes))


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on now; no socket that dials is ever given one of them."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    return found


def is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind((HOST, port))
        except OSError:
            return False
        return True


def takes_jobs(client_file: Path) -> bool:
    """Whether a bridge answers, and not that it has no portal now. A bridge that refuses the caller does answer."""
    try:
        with Client(client_file, ANSWER_SECONDS) as bridge:
            bridge.get_portal()
    except BridgeError as error:
        return error.status is not None and error.status != HTTPStatus.SERVICE_UNAVAILABLE
    except OSError:
        return False
    return True


def new_key() -> str:
    return secrets.token_hex(32)


def key_tables(pair: tuple[str, str]) -> dict[str, Any]:
    inner, outer = pair
    return {"inner_key": {"data": inner}, "outer_key": {"data": outer}}
