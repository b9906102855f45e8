"""Clients that do one thing at a time, through any number of the daemon's deaths."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from bench.process import DaemonProcess
from bench.wire import AsyncConnection, Disconnected, failure
from recollectd.protocol import errors, table
from recollectd.protocol.messages.fields import Message, Reply, Write

_RETRIED: Final = (errors.Busy, errors.ShuttingDown)


class Client:
    """One session over one connection at a time. Writes are retried under their number until they are answered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session = b""
        self._number = 0
        self._connection: AsyncConnection | None = None
        self.position = 0

    async def call(self, message: Message) -> Reply:
        """Return the reply to a message. Raises the daemon's refusal."""
        number = 0
        if isinstance(message, Write):
            self._number = number = self._number + 1
        body = table.encode(message)
        while True:
            try:
                connection = await self._connected()
                raw = await connection.call_raw(body, number=number)
            except OSError:  # killed; the next one listens soon
                self._connection = None
                await asyncio.sleep(0)
                continue
            refused = failure(reply := raw.decode())
            if isinstance(refused, _RETRIED):
                continue
            if refused:
                raise refused
            self.position = raw.position
            return reply

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.lost:
            self._connection = await AsyncConnection.open(self._path, self._session)
            self._session = self._connection.session_id
        return self._connection

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.abort()


async def through_kills(
    daemon: DaemonProcess,
    works: Sequence[Callable[[Client], Coroutine[Any, Any, None]]],
    progress: Callable[[], int],
    kill_at: list[int],
) -> None:
    """Run each work with a client of its own; kill and restart the daemon whenever progress reaches the next mark."""
    clients = [Client(daemon.socket) for _ in works]
    tasks = [asyncio.create_task(work(client)) for work, client in zip(works, clients, strict=True)]
    try:
        for mark in kill_at:
            while progress() < mark and not all(task.done() for task in tasks):
                await asyncio.sleep(0)
            daemon.kill()
            await asyncio.to_thread(daemon.start)
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in clients:
            client.close()


assert issubclass(Disconnected, OSError), "what ends a call is caught as one kind"
