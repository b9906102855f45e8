"""One connection's side of the protocol, without I/O: bytes in, answers out; requests in, bytes out.

`room` is where received bytes go; `receive` is told how many came.

States: greeting (hello sent, `welcome` is None), ready (`welcome` is there), broken (an exception was raised; the
connection must be closed, and every request in flight is in doubt).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from recollectd.client.reading import Decode, decode_any
from recollectd.client.session import HeaderFields, from_reply
from recollectd.protocol import errors, frames, limits, table
from recollectd.protocol.frames import RequestHeader
from recollectd.protocol.messages.connection import ErrorReply, Hello, Welcome
from recollectd.protocol.messages.fields import Reply
from recollectd.protocol.messages.transactions import Changes, Watching

Token = TypeVar("Token")

_HELLO_ID: Final = 0
_REQUEST_ID_MAX: Final = 0xFFFF_FFFF
_STAYS_OPEN: Final = frozenset((Watching, Changes))
"""A watch stays open behind its answers."""

_pack: Final = frames.REQUEST_HEADER.pack


class Answer(msgspec.Struct, Generic[Token], frozen=True, gc=False):
    """A reply, with what was given when its request was sent."""

    token: Token
    position: int
    reply: Reply


_Waiting: TypeAlias = tuple[Token, Decode, int]
"""A request in flight: its token, what decodes its reply, the bytes of its frame. (A plain tuple is made fastest.)"""


class Connection(Generic[Token]):
    """The state of one connection. Requests in flight are known by their tokens, which are the caller's."""

    def __init__(self) -> None:
        self.welcome: Welcome | None = None
        self._received = frames.ReplyBuffer()
        self.room = self._received.room
        self._waiting: dict[int, _Waiting[Token]] = {}
        self._bytes = 0
        self._last_id = _HELLO_ID
        self._requests_max = limits.REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX
        self._bytes_max = limits.IN_FLIGHT_BYTES_PER_CONNECTION_MAX

    @property
    def in_flight(self) -> Collection[Token]:
        """The tokens of requests sent and not answered, in the order they were sent."""
        return [token for token, _, _ in self._waiting.values()]

    @property
    def idle(self) -> bool:
        """Whether every request has been answered."""
        return not self._waiting

    def greet(self, hello: Hello) -> bytes:
        """Return the bytes a connection begins with. Nothing else may be sent before `welcome` is there."""
        return frames.PREAMBLE + frames.pack_request(RequestHeader(_HELLO_ID), table.encode(hello))

    def has_room(self, body: bytes) -> bool:
        """Tell whether a request of this size may be sent now without going over the daemon's bounds."""
        waiting = self._waiting
        size = self._bytes + frames.REQUEST_HEADER.size + len(body)
        return not waiting or (size <= self._bytes_max and len(waiting) < self._requests_max)

    def send(
        self,
        token: Token,
        body: bytes,
        fields: HeaderFields = (0, 0, 0, 0, 0),
        decode: Decode = decode_any,
    ) -> bytes:
        """Return a request's frame; its answers will carry the token.

        fields: the header's, behind the request id; decode: what decodes the replies.
        """
        assert self.welcome is not None, "a request before the welcome"
        request_id = self._last_id + 1
        if request_id > _REQUEST_ID_MAX or request_id in self._waiting:
            request_id = self._free_id()
        self._last_id = request_id
        number, after, deadline_ms, flags, span = fields
        frame_bytes = frames.REQUEST_HEADER.size + len(body)
        self._waiting[request_id] = (token, decode, frame_bytes)
        self._bytes += frame_bytes
        return _pack(frame_bytes - 4, request_id, number, after, deadline_ms, flags, 0, span) + body

    def _free_id(self) -> int:
        request_id = self._last_id
        while True:
            request_id = 1 if request_id == _REQUEST_ID_MAX else request_id + 1
            if request_id not in self._waiting:
                return request_id

    def receive(self, size: int) -> list[Answer[Token]]:
        """Take so many bytes, received into `room()`, and return the answers now complete, in the order they came.

        Raises ProtocolError for what is no answer of the protocol, and the daemon's error when it refuses the hello or
        ends the connection with one.
        """
        try:
            received = self._received.take(size)
        except frames.FramingError as error:
            raise errors.MalformedFrame(str(error)) from error
        answers: list[Answer[Token]] = []
        answered: list[tuple[int, _Waiting[Token]]] = []
        waiting = self._waiting
        try:
            for request_id, position, body in received:
                if request_id not in waiting:
                    self._process_reply_to_nobody(request_id, body)
                    continue
                token, decode, frame_bytes = entry = waiting[request_id]
                reply = decode(body)
                if type(reply) not in _STAYS_OPEN:
                    del waiting[request_id]
                    answered.append((request_id, entry))
                    self._bytes -= frame_bytes
                answers.append(Answer(token, position, reply))
        except (msgspec.DecodeError, UnicodeDecodeError, errors.RecollectdError) as error:
            # The answers in front of what broke the connection are lost with it: their requests are still in flight.
            waiting.update(answered)
            if isinstance(error, errors.RecollectdError):
                raise
            raise errors.InvalidMessage(f"the daemon sent what is no reply: {error}") from error
        return answers

    def _process_reply_to_nobody(self, request_id: int, body: memoryview) -> None:
        """Take what comes under no id in flight: the answer to the hello, or a mistake."""
        reply = decode_any(body)
        if request_id != _HELLO_ID:
            raise errors.InvalidMessage(f"the daemon answered request {request_id}, which is not in flight")
        self._process_hello_reply(reply)

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
