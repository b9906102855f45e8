"""One connection's side of the protocol, without I/O: bytes in, answers out; requests in, bytes out.

States: greeting (hello sent, `welcome` is None), ready (`welcome` is there), broken (an exception was raised; the
connection must be closed, and every request in flight is in doubt).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from recollectd.client.session import HeaderFields, from_reply
from recollectd.protocol import errors, frames, limits, table
from recollectd.protocol.frames import RequestHeader
from recollectd.protocol.messages.connection import ErrorReply, Hello, Welcome
from recollectd.protocol.messages.fields import Reply
from recollectd.protocol.messages.transactions import Changes, Watching

Token = TypeVar("Token")

_HELLO_ID: Final = 0
_REQUEST_ID_MAX: Final = 0xFFFF_FFFF


class Answer(NamedTuple, Generic[Token]):
    """A reply, with what was given when its request was sent."""

    token: Token
    position: int
    reply: Reply


class _Waiting(NamedTuple, Generic[Token]):
    token: Token
    frame_bytes: int


class Connection(Generic[Token]):
    """The state of one connection. Requests in flight are known by their tokens, which are the caller's."""

    def __init__(self) -> None:
        self.welcome: Welcome | None = None
        self._splitter = frames.FrameSplitter(frames.REPLY_HEADER.size)
        self._waiting: dict[int, _Waiting[Token]] = {}
        self._bytes = 0
        self._last_id = _HELLO_ID
        self._requests_max = limits.REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX
        self._bytes_max = limits.IN_FLIGHT_BYTES_PER_CONNECTION_MAX

    @property
    def in_flight(self) -> Collection[Token]:
        """The tokens of requests sent and not answered, in the order they were sent."""
        return [waiting.token for waiting in self._waiting.values()]

    @property
    def idle(self) -> bool:
        """Whether every request has been answered."""
        return not self._waiting

    def greet(self, hello: Hello) -> bytes:
        """Return the bytes a connection begins with. Nothing else may be sent before `welcome` is there."""
        return frames.PREAMBLE + frames.pack_request(RequestHeader(_HELLO_ID), table.encode(hello))

    def has_room(self, body: bytes) -> bool:
        """Tell whether a request of this size may be sent now without going over the daemon's bounds."""
        if not self._waiting:
            return True
        size = frames.REQUEST_HEADER.size + len(body)
        return len(self._waiting) < self._requests_max and self._bytes + size <= self._bytes_max

    def send(self, token: Token, body: bytes, fields: HeaderFields = (0, 0, 0, 0, 0)) -> bytes:
        """Return a request's frame; its answers will carry the token. fields: the header's, behind the request id."""
        assert self.welcome is not None, "a request before the welcome"
        request_id = self._free_id()
        frame = frames.pack_request(RequestHeader(request_id, *fields), body)
        self._waiting[request_id] = _Waiting(token, len(frame))
        self._bytes += len(frame)
        return frame

    def _free_id(self) -> int:
        request_id = self._last_id
        while True:
            request_id = 1 if request_id == _REQUEST_ID_MAX else request_id + 1
            if request_id not in self._waiting:
                self._last_id = request_id
                return request_id

    def receive(self, data: bytes | bytearray | memoryview) -> list[Answer[Token]]:
        """Take received bytes and return the answers now complete, in the order they came.

        Raises ProtocolError for what is no answer of the protocol, and the daemon's error when it refuses the hello or
        ends the connection with one.
        """
        try:
            received = self._splitter.feed(data)
        except frames.FramingError as error:
            raise errors.MalformedFrame(str(error)) from error
        answers: list[Answer[Token]] = []
        answered: dict[int, _Waiting[Token]] = {}
        try:
            for frame in received:
                request_id, position, body = frames.unpack_reply(frame)
                reply = _decoded(body)
                if request_id == _HELLO_ID:
                    self._process_hello_reply(reply)
                    continue
                waiting = self._waiting.get(request_id)
                if waiting is None:
                    raise errors.InvalidMessage(f"the daemon answered request {request_id}, which is not in flight")
                if not isinstance(reply, (Watching, Changes)):  # a watch stays open behind its answers
                    answered[request_id] = self._waiting.pop(request_id)
                answers.append(Answer(waiting.token, position, reply))
        except errors.RecollectdError:
            # The answers in front of what broke the connection are lost with it: their requests are still in flight.
            self._waiting.update(answered)
            raise
        self._bytes -= sum(waiting.frame_bytes for waiting in answered.values())
        return answers

    def _process_hello_reply(self, reply: Reply) -> None:
        """Take what came under the hello's id: the welcome, or what ends the connection."""
        if isinstance(reply, ErrorReply):
            raise from_reply(reply)
        if not isinstance(reply, Welcome) or self.welcome is not None:
            raise errors.InvalidMessage(f"the daemon sent {type(reply).__name__} in place of a welcome")
        self.welcome = reply
        in_force = reply.limits.get
        self._requests_max = in_force("requests_in_flight_per_connection_max", self._requests_max)
        self._bytes_max = in_force("in_flight_bytes_per_connection_max", self._bytes_max)


def _decoded(body: memoryview) -> Reply:
    try:
        return table.decode_reply(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.InvalidMessage(f"the daemon sent what is no reply: {error}") from error
