"""A way to a server on which its answers can be kept back, so that a call is carried out and nobody is told.

What is asked always gets through. An answer is kept back while `keep()` is true; of a connection that is being opened
the server's part of the handshake gets through too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

CHUNK_BYTES = 64 * 1024
HANDSHAKE_TURNS = 1  # the client's first turn to speak; from its second on it asks


class Holding:
    """Listens on `here` and passes on to `there`; both are addresses, the port is the same."""

    def __init__(self, here: str, there: str, port: int = 443) -> None:
        self.keep: Callable[[], bool] = lambda: False
        self._here, self._there, self._port = here, there, port
        self._connections: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Holding:
        self._server = await asyncio.start_server(self._serve, self._here, self._port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End every connection, and with it what is kept back."""
        for writer in self._connections:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._there, self._port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._connections |= pair
        connection = Connection(lambda: self.keep())
        try:
            await asyncio.gather(connection.ask(reader, far_writer), connection.answer(far_reader, writer))
        finally:
            self._connections -= pair
            for one in pair:
                one.transport.abort()


class Connection:
    """One connection, both ways."""

    def __init__(self, keep: Callable[[], bool]) -> None:
        self._keep = keep
        self._turns = 0
        self._client_speaks = False

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await read(reader):
            self._turns += not self._client_speaks
            self._client_speaks = True
            writer.write(data)
        writer.transport.abort()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await read(reader):
            self._client_speaks = False
            if self._turns <= HANDSHAKE_TURNS or not self._keep():
                writer.write(data)
        writer.transport.abort()


async def read(reader: asyncio.StreamReader) -> bytes:
    """What comes next; nothing when the connection has ended, in whatever way."""
    try:
        return await reader.read(CHUNK_BYTES)
    except OSError:
        return b""
