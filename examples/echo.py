"""Two services and one encrypted link between them, in one command:

    python examples/echo.py

`echo` listens on a free port of this machine and makes an invite; `caller` reads the invite and dials. The caller says
three things, the echo says them back in capitals, and both are printed. Nothing is written outside a temporary folder.
In production the two are on different machines, the invite travels by a safe way, and `op-portal client --add` and
`op-provider server --add` do what `introduce` does here.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import tempfile
from pathlib import Path

from openportal.paddington.config import ClientPeer, IpRules, ServerPeer, ServiceConfig
from openportal.paddington.exchange import Exchange, Peer
from openportal.paddington.invite import Invite

ZONE = "default"
SAYINGS = ("hello", "is anybody there?", "goodbye")
PATIENCE_SECONDS = 10.0


class Echo:
    """Says back what it hears."""

    exchange: Exchange

    def connected(self, peer: Peer) -> None:
        print(f"echo:   {peer} is connected")

    def received(self, peer: Peer, text: str) -> None:
        print(f"echo:   heard {text!r}")
        self.exchange.send(peer, text.upper())

    def disconnected(self, peer: Peer, reason: str) -> None:
        print(f"echo:   {peer} has gone: {reason}")


class Caller:
    """Says SAYINGS as soon as there is a link, and is done when all of them came back."""

    exchange: Exchange

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.heard: list[str] = []

    def connected(self, peer: Peer) -> None:
        print(f"caller: {peer} is connected")
        for text in SAYINGS:
            self.exchange.send(peer, text)

    def received(self, peer: Peer, text: str) -> None:
        print(f"caller: heard {text!r}")
        self.heard.append(text)
        if len(self.heard) == len(SAYINGS):
            self.done.set()

    def disconnected(self, peer: Peer, reason: str) -> None:
        print(f"caller: {peer} has gone: {reason}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def introduce(folder: Path) -> tuple[ServiceConfig, ServiceConfig]:
    """The configurations of the two services; the second comes from the invite that the first one wrote."""
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    inner_key, outer_key = secrets.token_bytes(32), secrets.token_bytes(32)
    client = ClientPeer("caller", ZONE, IpRules.parse("127.0.0.1"), inner_key, outer_key)
    file = folder / "invite_echo_caller.toml"
    Invite("echo", url, ZONE, inner_key, outer_key).save(file)

    invite = Invite.load(file)
    server = ServerPeer(invite.name, invite.zone, invite.url, invite.inner_key, invite.outer_key)
    listening = ServiceConfig("echo", url, "127.0.0.1", port, clients=(client,))
    return listening, ServiceConfig("caller", "ws://127.0.0.1:8040", "127.0.0.1", 8040, servers=(server,))


async def main() -> list[str]:
    """What came back."""
    with tempfile.TemporaryDirectory() as folder:
        listening, dialling = introduce(Path(folder))
    echo, caller = Echo(), Caller()
    echo.exchange = Exchange(listening, echo)
    caller.exchange = Exchange(dialling, caller)
    await echo.exchange.start()
    await caller.exchange.start()
    try:
        await asyncio.wait_for(caller.done.wait(), PATIENCE_SECONDS)
    finally:
        await caller.exchange.stop()
        await echo.exchange.stop()
    return caller.heard


if __name__ == "__main__":
    asyncio.run(main())
