"""Standard input and output on the event loop, as the streams that the SDK's server reads and writes.

The SDK's own read and write in threads and hand each message from task to task. On a busy machine each hand-over waits
for its turn; a call took ten times as long as its work.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

LINE_BYTES_MAX: Final = 64 << 20
"""A longer message ends the connection."""


class _Stream:
    """What the SDK expects of both; the descriptors are closed with the process."""

    async def aclose(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


class Messages(_Stream):
    """Messages from standard input, one a line."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        """Wait for the next message; what is none comes as the exception that says so."""
        line = await self._reader.readline()
        if not line:
            raise StopAsyncIteration
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(line.decode(errors="replace"), by_name=False))
        except ValueError as error:
            return error


class Answers(_Stream):
    """Messages to standard output, one a line."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, item: SessionMessage) -> None:
        """Write a message, and wait until the other side's pipe has taken it."""
        self._writer.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
        await self._writer.drain()


@asynccontextmanager
async def standard_streams() -> AsyncIterator[tuple[Any, Any]]:
    """Give the streams of messages; meanwhile nothing else of the process reads or writes the two descriptors.

    What is no pipe, socket or terminal is read and written as the SDK does it.
    """
    streams = await _streams()
    if streams is not None:
        yield streams
        return
    async with stdio_server() as others:
        yield others


def _is_stream(descriptor: int) -> bool:
    kind = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or os.isatty(descriptor)


async def _streams() -> tuple[Messages, Answers] | None:
    if not (_is_stream(0) and _is_stream(1)):
        return None
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    incoming, outgoing = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), incoming)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, outgoing)
    transport.set_write_buffer_limits(0)  # what is in the process when it ends is lost
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # a stray print is no message
    return Messages(reader), Answers(asyncio.StreamWriter(transport, protocol, None, loop))
