"""Opens the connections of an asyncio client, in one session, and closes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from recollectd.client.address import Address
from recollectd.client.aio.channel import Channel
from recollectd.client.core import Answer
from recollectd.client.session import Session
from recollectd.protocol import errors

Token = TypeVar("Token")

CONNECT_S_MAX: Final = 10.0
"""One attempt to connect takes no longer; calls wait over as many attempts as their timeout allows."""


class Connector:
    """The session of a client and its open connections.

    rescue: awaited when no daemon answers, before one more attempt; it may start one.
    """

    def __init__(self, address: Address, client_name: str, connections_max: int) -> None:
        self.session = Session()
        self.rescue: Callable[[], Awaitable[None]] | None = None
        self._address = address
        self._client_name = client_name
        self._connections_max = connections_max
        self._watches: set[Callable[[], None]] = set()
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._first = asyncio.Lock()
        self._channels: set[Channel[Any]] = set()

    def check_usable(self) -> None:
        """Raise UsedAfterFork in a child process, ClientClosed after close, RuntimeError in another event loop."""
        if os.getpid() != self._process:
            raise errors.UsedAfterFork()
        if self._closed:
            raise errors.ClientClosed()
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise RuntimeError("an AsyncClient belongs to the event loop in which it was first used")
            self._loop = loop

    async def connect(
        self,
        on_answers: Callable[[list[Answer[Token]]], None],
        on_lost: Callable[[errors.RecollectdError], None],
        on_room: Callable[[], None] = lambda: None,
    ) -> Channel[Token]:
        """Open a connection in this client's session; the functions are Channel's. `disconnect` ends it."""

        def make() -> Channel[Token]:
            channel = Channel(self._address, on_answers, lost, on_room)
            self._channels.add(channel)
            return channel

        def lost(failure: errors.RecollectdError) -> None:
            self._channels = {channel for channel in self._channels if channel.is_open}
            on_lost(failure)

        if self.session.session_id:
            return await self._introduce(make)
        # The first connection brings the session that the others go on with: they wait for it.
        async with self._first:
            return await self._introduce(make)

    async def _introduce(self, make: Callable[[], Channel[Token]]) -> Channel[Token]:
        rescue = self.rescue
        while True:
            self.check_usable()
            channel = make()
            hello = self.session.hello(self._client_name)
            try:
                self.session.welcome(await channel.open(hello, CONNECT_S_MAX))
                return channel
            except errors.SessionForeign:
                self._channels.discard(channel)
                if not hello.session_id:
                    raise
                self.session.forget()
            except errors.DaemonUnavailable:
                self._channels.discard(channel)
                if rescue is None:
                    raise
                await rescue()
                rescue = None
            except BaseException:
                self._channels.discard(channel)
                raise

    def begin_watch(self, wake: Callable[[], None]) -> None:
        """Count a connection for a watch, which `close` will wake. Raises TooManyConnections."""
        if wake not in self._watches and len(self._watches) >= self._connections_max - 1:
            raise errors.TooManyConnections(
                f"this client has {len(self._watches)} watches open and may have {self._connections_max} connections, "
                "one of them for its calls: close a watch or raise connections_max"
            )
        self._watches.add(wake)

    def end_watch(self, wake: Callable[[], None]) -> None:
        """Take back what `begin_watch` counted."""
        self._watches.discard(wake)

    async def disconnect(self, channel: Channel[Any]) -> None:
        """Close a connection."""
        self._channels.discard(channel)
        await channel.close()

    async def close(self) -> None:
        """Close all connections; none is opened any more."""
        self._closed = True
        if os.getpid() == self._process:
            for channel in list(self._channels):
                await self.disconnect(channel)
            for wake in self._watches:
                wake()
