"""Standard input and output on the event loop: the SDK reads and writes them in threads, two hand-overs a message.

On a busy machine each hand-over waits for its turn; a call took ten times as long as its work.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Self, cast

from mcp.server.stdio import stdio_server

LINE_BYTES_MAX: Final = 64 << 20
"""A longer message ends the connection."""


class Lines:
    """Lines of text as the SDK iterates over them."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Wait for the next line."""
        line = await self._reader.readline()
        if not line:
            raise StopAsyncIteration
        return line.decode(errors="replace")


class Output:
    """A file as the SDK writes to it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, text: str) -> None:
        """Write text."""
        self._writer.write(text.encode())

    async def flush(self) -> None:
        """Wait until the other side has taken most of it."""
        await self._writer.drain()


@asynccontextmanager
async def standard_streams() -> AsyncIterator[tuple[Any, Any]]:
    """Give the streams of messages; meanwhile nothing else of the process reads or writes the two descriptors.

    What is no pipe, socket or terminal is read and written as the SDK does it.
    """
    async with await _streams() as streams:
        yield streams


async def _streams() -> AbstractAsyncContextManager[tuple[Any, Any]]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    incoming, outgoing = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), incoming)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, outgoing)
    except (ValueError, PermissionError):
        incoming.close()
        outgoing.close()
        return stdio_server()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # a stray print is no message
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    return stdio_server(cast(Any, Lines(reader)), cast(Any, Output(writer)))
