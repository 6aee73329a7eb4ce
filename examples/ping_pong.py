"""Two agents and the jobs they put on each other's boards, in one command:

    python examples/ping_pong.py

`pong` is an account agent with a leaf of two dozen lines; `ping` asks it two things: a look (`is_existing_project`),
which costs `pong` one commit, and a change (`add_project`), whose intent is in the log before it happens and whose
outcome is there after. Then `pong` asks `ping` back. Each has an event log of its own; at the end both are printed. The
links are real, the keys are made here (`echo.py` shows the invite), and nothing is written outside a temporary folder.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from openportal.agents.roles import LeafRole
from openportal.errors import JobError
from openportal.grammar.instructions import AddProject, Instruction, IsExistingProject, IsProtectedUser
from openportal.paddington.config import ClientPeer, IpRules, ServerPeer, ServiceConfig
from openportal.paddington.exchange import Exchange
from openportal.paddington.peer import Peer
from openportal.templemeads.agent import Agent
from openportal.templemeads.events import EVENTS
from openportal.templemeads.handlers import Handler, Run
from openportal.templemeads.ledger import Settings, open_reader
from openportal.templemeads.logs import configure

ZONE = "default"
LIFETIME_SECONDS = 60
PATIENCE_SECONDS = 10.0
WORDS = ("command", "action", "kind", "result", "target", "detail", "peer", "agent_type")  # of an event, as printed


class Projects:
    """The leaf behind `pong`: projects in a set."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def handlers(self) -> Mapping[type[Instruction], Handler]:
        return {IsExistingProject: self.is_there, AddProject: self.add}

    def is_there(self, run: Run, instruction: IsExistingProject) -> bool:
        """A look: a plain function."""
        return str(instruction.project) in self.known

    async def add(self, run: Run, instruction: AddProject) -> str:
        """A change: look first, then act through `effect`, which makes the intent durable before it happens."""
        project = str(instruction.project)
        if project not in self.known:
            await run.effect("add project", project, lambda: self._make(project))
        return f"{project}:pong.{instruction.project.project}"

    async def _make(self, project: str) -> None:
        self.known.add(project)


def nobody_is_protected(run: Run, instruction: IsProtectedUser) -> bool:
    """What `ping` answers when it is asked back."""
    return False


def agent(
    config: ServiceConfig, peer: str, agent_type: str, leaf: Mapping[type[Instruction], Handler], folder: Path
) -> Agent:
    """One agent with a real link to its peer and a log in `folder`."""
    return Agent(
        config.name,
        LeafRole(agent_type, leaf),
        leaf,
        Settings(path=folder / config.name, owner=config.name),
        [Peer(peer, ZONE)],
        lambda owner: Exchange(config, owner),
    )


def introduce() -> tuple[ServiceConfig, ServiceConfig]:
    """The configurations of `pong`, which listens, and of `ping`, which dials; `echo.py` shows the invite."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, inner, outer = f"ws://127.0.0.1:{port}", secrets.token_bytes(32), secrets.token_bytes(32)
    listening = ServiceConfig(
        "pong", url, "127.0.0.1", port, clients=(ClientPeer("ping", ZONE, IpRules.parse("127.0.0.1"), inner, outer),)
    )
    dialling = ServiceConfig(
        "ping", "ws://127.0.0.1:8040", "127.0.0.1", 8040, servers=(ServerPeer("pong", ZONE, url, inner, outer),)
    )
    return listening, dialling


async def ask(asker: Agent, other: str, instruction: str) -> None:
    """Put one job on the other's board and print its outcome."""
    peer = f"{other}@{ZONE}"
    id = await asker.submit(peer, f"{asker.name}.{other} {instruction}", "example", LIFETIME_SECONDS)
    job = await asker.finished(peer, id, PATIENCE_SECONDS)
    if job is None or not job.finished:
        raise JobError(f"{other} did not answer {instruction} in time", "expired")
    print(f"{asker.name} asks {other}: {instruction} -> {job.state.value} {job.result}")


def print_log(name: str, folder: Path) -> None:
    """Every event of one agent, oldest first."""
    print(f"\nThe log of {name}:")
    with open_reader(Settings(path=folder / name), EVENTS) as reader:
        for recorded in reader.records():
            id = getattr(recorded.event, "id", "")
            at = time.strftime("%H:%M:%S", time.localtime(recorded.at))
            words = " ".join(str(word) for name in WORDS if (word := getattr(recorded.event, name, None)) is not None)
            print(f"  {at} {recorded.stream:18} {type(recorded.event).TOPIC:12} {id[:8]:8} {words}".rstrip())


async def main() -> None:
    configure("warning", sys.stderr)
    with tempfile.TemporaryDirectory(prefix="openportal-ping-pong-") as name:
        folder, projects = Path(name), Projects()
        listening, dialling = introduce()
        pong = agent(listening, "ping", "Account", projects.handlers(), folder)
        ping = agent(dialling, "pong", "Instance", {IsProtectedUser: nobody_is_protected}, folder)
        async with AsyncExitStack() as stack:
            for one in (pong, ping):
                stack.push_async_callback(one.stop)
                await one.start()
            await ask(ping, "pong", "is_existing_project demo.brics")
            await ask(ping, "pong", "add_project demo.brics")
            await ask(ping, "pong", "is_existing_project demo.brics")
            await ask(pong, "ping", "is_protected_user alice.demo.brics")
        for one in (ping, pong):
            print_log(one.name, folder)


if __name__ == "__main__":
    asyncio.run(main())
