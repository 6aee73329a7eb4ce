"""How an operator on the machine speaks to a running agent: a Unix socket in the agent's own folder.

    ask     one line of JSON    {"do": "retry", "job": "<id>", "by": "alice", "why": "the disk is mended"}
                                {"do": "health"}
    answer  one line of JSON    {"ok": true, "said": …}    or    {"ok": false, "error": "<a sentence>"}

`retry`, `resolve` and `cancel` go through the core as every decision does: they are events first (`Operated`), and the
answer leaves when those are durable. Only the agent's own user and root can open the socket (mode 0600 in a folder of
mode 0700); `by` is what the operator says, the user id is what the kernel says, and both are recorded.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from openportal.errors import InvalidJob, OpenPortalError
from openportal.templemeads.agent import Agent

SOCKET_NAME = "operator"
MAX_REQUEST_BYTES = 16 * 1024
MAX_ANSWER_BYTES = 1024 * 1024
REQUEST_MAX_SECONDS = 10.0
MAX_CONNECTIONS = 8
MAX_WORDS_CHARACTERS = 500
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid

Json = dict[str, Any]


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What an operator asks for."""

    do: Literal["health", "retry", "resolve", "cancel"]
    job: str = ""
    by: str = ""
    why: str = ""


class Answer(msgspec.Struct):
    """What came of it: `said` if it was done, else `error`."""

    ok: bool
    said: Any = None
    error: str = ""


@contextmanager
def short_name(folder: Path) -> Iterator[str]:
    """A path of the socket that the kernel takes however long the folder's is (it takes 107 bytes)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


def listening(folder: Path) -> socket.socket:
    """The socket, ready to be listened on. We hold the ledger's lock, so a socket that is there is a dead agent's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_name(folder) as name:
            made.bind(name)
        (folder / SOCKET_NAME).chmod(0o600)
    except OSError:
        made.close()
        raise
    made.setblocking(False)
    return made


class Operator:
    """Serves the operators of one agent."""

    def __init__(self, agent: Agent, health: Callable[[], Json], folder: Path) -> None:
        self._agent = agent
        self._health = health
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._connections = 0

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listening(self._folder), limit=MAX_REQUEST_BYTES
        )

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()
            (self._folder / SOCKET_NAME).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections += 1
        try:
            async with asyncio.timeout(REQUEST_MAX_SECONDS):
                line = await reader.readline()
                answer = await self._answer(line, user_of(writer))
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, ValueError):
            writer.transport.abort()
        finally:
            self._connections -= 1

    async def _answer(self, line: bytes, user: int) -> Answer:
        try:
            request = msgspec.json.decode(line, type=Request)
            if request.do == "health":
                return Answer(True, self._health())
            return Answer(True, await self._operate(request, user))
        except msgspec.DecodeError as error:
            return Answer(False, error=f"this is nothing that can be asked: {error}")
        except OpenPortalError as error:
            return Answer(False, error=str(error))

    async def _operate(self, request: Request, user: int) -> str:
        agent, by = self._agent, f"{request.by[:MAX_WORDS_CHARACTERS] or 'unknown'} (uid {user})"
        peer = board_of(agent, request.do, request.job)
        agent.core.operate(request.do, peer, request.job, by, request.why[:MAX_WORDS_CHARACTERS], agent.clock())
        await agent.committed()
        return f"{request.do}: job {request.job} at {agent.name}, shared with {peer}"


def board_of(agent: Agent, action: str, id: str) -> str:
    """The board on which an operator means the job; one that was passed on ends on the far side first. InvalidJob."""
    boards = agent.core.boards.values()
    if action == "cancel":
        found = [board.peer for board in boards if id in board.open]
        found.sort(key=lambda peer: agent.core.boards[peer].open[id].inbound)
    else:
        found = [board.peer for board in boards if id in board.aside]
    if not found:
        raise InvalidJob(f"no job {id} is {'open' if action == 'cancel' else 'in quarantine'} at {agent.name}")
    return found[0]


def user_of(writer: asyncio.StreamWriter) -> int:
    """The user at the other end, as the kernel tells."""
    connection = writer.get_extra_info("socket")
    _, user, _ = CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return int(user)


def ask(folder: Path, request: Request) -> Answer:
    """Ask the agent whose folder this is, and wait for its answer. Raises OSError if it cannot be reached."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(REQUEST_MAX_SECONDS)
        with short_name(folder) as name:
            connection.connect(name)
        connection.sendall(msgspec.json.encode(request) + b"\n")
        received = b""
        while not received.endswith(b"\n") and len(received) < MAX_ANSWER_BYTES:
            piece = connection.recv(64 * 1024)
            if not piece:
                break
            received += piece
    try:
        return msgspec.json.decode(received, type=Answer)
    except msgspec.DecodeError:
        return Answer(False, error="the agent broke off: see its log")
