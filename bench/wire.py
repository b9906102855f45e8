"""Raw connections: frames in, frames out, with every header field in the caller's hand.

Load generation needs them because a client's comfort would be measured along; the crash oracle because it sends what
no client would: the same number twice at once, on two connections, or changed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, cast

from recollectd.protocol import errors, table
from recollectd.protocol.frames import (
    FLAG_ASYNC,
    PREAMBLE,
    REPLY_HEADER,
    FrameSplitter,
    RequestHeader,
    pack_request,
    unpack_reply,
)
from recollectd.protocol.limits import PROTOCOL_VERSION
from recollectd.protocol.messages.connection import ErrorReply, Hello, Welcome
from recollectd.protocol.messages.fields import Message, Reply

__all__ = ["FLAG_ASYNC", "AsyncConnection", "Connection", "Disconnected", "RawReply", "failure", "hello_body"]

_RECEIVE_BYTES: Final = 1 << 18
_ERROR_TAG: Final = table.tag_of(ErrorReply)


class Disconnected(ConnectionError):
    """The daemon closed the connection, or is gone."""


class RawReply(NamedTuple):
    """A reply as it lay on the wire."""

    request_id: int
    position: int
    body: bytes

    @property
    def is_error(self) -> bool:
        """Whether the message is an `ErrorReply`; costs no decoding."""
        return self.body[1] == _ERROR_TAG

    def decode(self) -> Reply:
        """Return the message."""
        return table.decode_reply(self.body)


def failure(reply: Reply) -> errors.RecollectdError | None:
    """Return the exception an `ErrorReply` stands for, None for any other reply."""
    if not isinstance(reply, ErrorReply):
        return None
    return errors.from_wire(reply.code, reply.message, reply.field, reply.retry_after_ms, reply.error_id)


def hello_body(session_id: bytes = b"", name: str = "bench") -> bytes:
    """Return a hello's message; an idle connection is never ended."""
    return table.encode(Hello(PROTOCOL_VERSION, PROTOCOL_VERSION, name, session_id, idle_timeout_ms=0))


class Connection:
    """A blocking connection. Not for several threads at once."""

    def __init__(self, path: Path, session_id: bytes = b"", *, timeout_s: float = 60.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._splitter = FrameSplitter(REPLY_HEADER.size)
        self._received: list[RawReply] = []
        self._request_id = 0
        try:
            self._socket.connect(str(path))
            self._socket.sendall(PREAMBLE)
            welcome = self.call_raw(hello_body(session_id)).decode()
        except BaseException:
            self._socket.close()
            raise
        if refused := failure(welcome):
            raise refused
        assert isinstance(welcome, Welcome)
        self.welcome = welcome
        self.session_id = welcome.session_id

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; what is in flight is lost."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def next_id(self) -> int:
        """Return a request id that was not used on this connection."""
        self._request_id += 1
        return self._request_id

    def send(self, data: bytes) -> None:
        """Send bytes as they are: whole frames, or whatever a test wants to send."""
        self._socket.sendall(data)

    @property
    def received(self) -> int:
        """How many replies have come that were not asked for yet."""
        return len(self._received)

    def receive(self) -> RawReply:
        """Return the next reply. Raises Disconnected at the stream's end, TimeoutError when none comes."""
        while not self._received:
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise Disconnected("the daemon closed the connection")
            self._received += [
                RawReply(request_id, position, bytes(body))
                for request_id, position, body in map(unpack_reply, self._splitter.feed(data))
            ]
        return self._received.pop(0)

    def call_raw(
        self, body: bytes, *, number: int = 0, after: int = 0, deadline_ms: int = 0, flags: int = 0, span: int = 0
    ) -> RawReply:
        """Send one message and return the next reply; nothing else may be in flight."""
        request_id = self.next_id()
        self.send(pack_request(RequestHeader(request_id, number, after, deadline_ms, flags, span), body))
        reply = self.receive()
        assert reply.request_id in (request_id, 0), f"reply to {reply.request_id}, expected {request_id}"
        return reply

    def call(
        self, message: Message, *, number: int = 0, after: int = 0, deadline_ms: int = 0, flags: int = 0, span: int = 0
    ) -> Reply:
        """Send one message, return the decoded reply; raises the error the daemon answered."""
        body = table.encode(message)
        raw = self.call_raw(body, number=number, after=after, deadline_ms=deadline_ms, flags=flags, span=span)
        reply = raw.decode()
        if refused := failure(reply):
            raise refused
        return reply


OnReply = Callable[[RawReply | None], None]


class AsyncConnection(asyncio.Protocol):
    """An asyncio connection: each request has a callback that gets its reply; many may be in flight.

    When the connection ends, the callbacks still waiting get None: what became of their requests is for the caller to
    find out.
    """

    def __init__(self) -> None:
        self._splitter = FrameSplitter(REPLY_HEADER.size)
        self._waiting: dict[int, OnReply] = {}
        self._request_id = 0
        self._transport: asyncio.Transport | None = None
        self._taken_over: Callable[[bytes], None] | None = None
        self.lost = False
        self.welcome: Welcome | None = None

    @classmethod
    async def open(cls, path: Path, session_id: bytes = b"", *, timeout_s: float = 30.0) -> AsyncConnection:
        """Connect and say hello. Raises OSError, Disconnected or the daemon's refusal."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(cls, str(path))
        connection.write(PREAMBLE)
        try:
            welcome = (await asyncio.wait_for(connection.call_raw(hello_body(session_id)), timeout_s)).decode()
            if refused := failure(welcome):
                raise refused
        except BaseException:
            connection.abort()
            raise
        assert isinstance(welcome, Welcome)
        connection.welcome = welcome
        return connection

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those who wait."""
        self.lost = True
        waiting, self._waiting = self._waiting, {}
        for on_reply in waiting.values():
            on_reply(None)

    def data_received(self, data: bytes) -> None:
        """Hand each whole reply to its request's callback."""
        if self._taken_over is not None:
            self._taken_over(data)
            return
        for frame in self._splitter.feed(data):
            request_id, position, body = unpack_reply(frame)
            on_reply = self._waiting.pop(request_id, None)
            if on_reply is not None:
                on_reply(RawReply(request_id, position, bytes(body)))

    # The caller's side.

    @property
    def in_flight(self) -> int:
        """How many requests have no reply yet."""
        return len(self._waiting)

    @property
    def session_id(self) -> bytes:
        """The session this connection counts in."""
        assert self.welcome is not None
        return self.welcome.session_id

    def write(self, data: bytes) -> None:
        """Send bytes as they are; dropped when the connection has ended."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def take_over(self, received: Callable[[bytes], None]) -> None:
        """From now on hand received bytes over as they come: for load generators, who count every microsecond."""
        self._taken_over = received

    def submit(
        self,
        body: bytes,
        on_reply: OnReply,
        *,
        number: int = 0,
        after: int = 0,
        deadline_ms: int = 0,
        flags: int = 0,
        span: int = 0,
    ) -> None:
        """Send a message; on_reply is called once, with the reply or with None when the connection ended before."""
        self._request_id += 1
        if self.lost:
            asyncio.get_running_loop().call_soon(on_reply, None)
            return
        self._waiting[self._request_id] = on_reply
        self.write(pack_request(RequestHeader(self._request_id, number, after, deadline_ms, flags, span), body))

    async def call_raw(
        self, body: bytes, *, number: int = 0, after: int = 0, flags: int = 0, span: int = 0
    ) -> RawReply:
        """Send a message and return its reply. Raises Disconnected when the connection ends before."""
        arrived: asyncio.Future[RawReply | None] = asyncio.get_running_loop().create_future()
        self.submit(body, _settle(arrived), number=number, after=after, flags=flags, span=span)
        reply = await arrived
        if reply is None:
            raise Disconnected("the connection ended before the reply")
        return reply

    async def call(self, message: Message, *, number: int = 0, after: int = 0, flags: int = 0, span: int = 0) -> Reply:
        """Send a message, return the decoded reply; raises the error the daemon answered, or Disconnected."""
        raw = await self.call_raw(table.encode(message), number=number, after=after, flags=flags, span=span)
        reply = raw.decode()
        if refused := failure(reply):
            raise refused
        return reply

    def abort(self) -> None:
        """End the connection at once, dropping what is not sent."""
        if self._transport is not None:
            self._transport.abort()


def _settle(arrived: asyncio.Future[RawReply | None]) -> OnReply:
    def settle(reply: RawReply | None) -> None:
        if not arrived.done():
            arrived.set_result(reply)

    return settle


def connect_patiently(path: Path, session_id: bytes = b"", *, timeout_s: float = 30.0) -> Connection:
    """Return a connection as soon as a daemon answers. Raises TimeoutError when none does in time."""
    give_up = time.monotonic() + timeout_s
    while True:
        try:
            return Connection(path, session_id)
        except OSError as error:
            if time.monotonic() > give_up:
                raise TimeoutError(f"no daemon answers at {path}") from error
            time.sleep(0.005)
