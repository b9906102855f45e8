"""One connection under asyncio and its protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from time import monotonic
from typing import Final, Generic, TypeVar, cast

from recollectd.client.address import Address, reachable
from recollectd.client.core import Answer, Connection
from recollectd.protocol import errors
from recollectd.protocol.messages.connection import Hello, Welcome

Token = TypeVar("Token")

_SEND_BYTES: Final = 1024 * 1024
"""With so much waiting to be sent there is no room for more: what waits in the client's queue can still be given up."""


class Channel(asyncio.BufferedProtocol, Generic[Token]):
    """A connection to the daemon. Frames written in one turn of the loop leave in one system call.

    on_answers: called with the answers of each arrival. on_lost: called once when an open connection ends, unless
    `close` ended it. on_room: called when there is room again. received_at: monotonic seconds of the last
    arrival.
    """

    def __init__(
        self,
        address: Address,
        on_answers: Callable[[list[Answer[Token]]], None],
        on_lost: Callable[[errors.RecollectdError], None],
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.core: Connection[Token] = Connection()
        self.received_at = 0.0
        self._address = address
        self._on_answers = on_answers
        self._on_lost = on_lost
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._paused = False
        self._welcomed: asyncio.Future[Welcome] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._failure: errors.RecollectdError | None = None
        self._closing = False

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and the connection has not ended."""
        return self.core.welcome is not None and not self._ended.done()

    @property
    def has_room(self) -> bool:
        """Whether frames may be written; `on_room` tells when they may be again."""
        return not self._paused and self._outgoing_bytes < _SEND_BYTES

    async def open(self, hello: Hello, timeout: float) -> Welcome:
        """Connect and shake hands. Raises DaemonUnavailable, or what the daemon answers to the hello."""
        try:
            async with asyncio.timeout(timeout):
                await self._connect()
                self.write(self.core.greet(hello))
                return await self._welcomed
        except (OSError, errors.ConnectionLost) as error:
            await self.close()
            reason = str(error) or "no answer in time"
            raise errors.DaemonUnavailable(f"no daemon answers at {self._address}: {reason}") from error
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> None:
        address = self._address
        if address.path:
            with reachable(address.path) as path:
                await self._loop.create_unix_connection(lambda: self, path)
            return
        transport, _ = await self._loop.create_connection(lambda: self, address.host, address.port)
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def write(self, frame: bytes) -> None:
        """Send a frame at the end of this turn of the loop."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(frame)
        self._outgoing_bytes += len(frame)

    def _flush(self) -> None:
        was_full = not self.has_room
        outgoing, self._outgoing, self._outgoing_bytes = self._outgoing, [], 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))
            if was_full and self.has_room:
                self._on_room()

    def pause_reading(self) -> None:
        """Let what the daemon sends wait in the socket."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take again what the daemon sends."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def fail(self, failure: errors.RecollectdError) -> None:
        """End a connection that is of no more use; `on_lost` gets the reason."""
        self._failure = self._failure or failure
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End the connection and wait until it has ended."""
        self._closing = True
        self._welcomed.cancel()
        if self._transport is not None:
            self._transport.abort()
            await self._ended

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where received bytes go."""
        return self.core.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Take received bytes."""
        self.received_at = monotonic()
        try:
            answers = self.core.receive(nbytes)
        except errors.RecollectdError as error:
            if self._welcomed.done():
                self.fail(error)
            else:
                self._welcomed.set_exception(error)
            return
        if self.core.welcome is not None and not self._welcomed.done():
            self._welcomed.set_result(self.core.welcome)
        if answers:
            self._on_answers(answers)

    def eof_received(self) -> bool:
        """Let the transport close itself."""
        return False

    def pause_writing(self) -> None:
        """Stop the writing: the daemon does not take what was written."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let the writing go on."""
        self._paused = False
        if self.has_room:
            self._on_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is concerned."""
        self._ended.set_result(None)
        failure = self._failure or errors.ConnectionLost(
            f"the connection to {self._address} broke: {exc}" if exc else f"the daemon at {self._address} closed it"
        )
        if not self._welcomed.done():
            self._welcomed.set_exception(failure)
        elif not self._closing:
            self._on_lost(failure)
