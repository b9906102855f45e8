"""The protocol by hand: frames with every header field at will, and a blocking socket that speaks them.

What the client library keeps from happening (a number given twice, half a frame, replies that nobody takes) is what
tests of the daemon are about, so they do not use it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from recollectd.protocol import frames, limits, table
from recollectd.protocol.frames import RequestHeader
from recollectd.protocol.messages import connection, state
from recollectd.protocol.messages.fields import Message, Reply, Write

TIMEOUT_S: Final = 30.0
NAMESPACE: Final = ("acme", "assistant-7")
HELLO: Final = connection.Hello(limits.PROTOCOL_VERSION, limits.PROTOCOL_VERSION, "wire")
RECEIVE_BYTES: Final = 256 * 1024

ReplyT = TypeVar("ReplyT", bound=Reply)


class Answer(NamedTuple):
    """A reply as it came."""

    request_id: int
    position: int
    reply: Reply
    body: bytes


def raw(value: object) -> msgspec.Raw:
    """Return a value as it travels."""
    return msgspec.Raw(msgspec.msgpack.encode(value))


def plain(value: msgspec.Raw) -> Any:
    """Return what a value says."""
    return msgspec.msgpack.decode(value)


def put(key: str, value: object = 1, **fields: Any) -> state.StatePut:
    """Return the most common write."""
    return state.StatePut(fields.pop("namespace", NAMESPACE), key, raw(value), **fields)


def get(key: str, **fields: Any) -> state.StateGet:
    """Return the most common read."""
    return state.StateGet(fields.pop("namespace", NAMESPACE), key, **fields)


def span_of_all(number: int) -> int:
    """Return the span with which a write forgets nothing, as far as one can say so."""
    return min(max(number - 1, 0), 0xFFFF)


def frame(request: Message | bytes, request_id: int = 0, **header: int) -> bytes:
    """Return a request frame; header: number, after, deadline_ms, flags, span. A body in bytes goes as it is."""
    body = request if isinstance(request, bytes) else table.encode(request)
    return frames.pack_request(RequestHeader(request_id, **header), body)


def answer_in(whole: bytes) -> Answer:
    """Return what a reply frame says."""
    request_id, position, body = frames.unpack_reply(whole)
    return Answer(request_id, position, table.decode_reply(body), bytes(body))


def expect(kind: type[ReplyT], reply: Reply) -> ReplyT:
    """Return the reply if it is of this kind; fail saying what it is."""
    assert isinstance(reply, kind), reply
    return reply


def refusal(reply: Reply) -> tuple[int, str]:
    """Return code and field of an error."""
    error = expect(connection.ErrorReply, reply)
    return error.code, error.field


class Wire:
    """One connection of one session. Unless they are given, numbers of writes count by themselves, and spans forget
    nothing.
    """

    def __init__(self, address: Path | tuple[str, int], *, hello: connection.Hello | None = HELLO) -> None:
        family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(str(address) if isinstance(address, Path) else address)
        self.number = 0
        self._request_id = 0
        self._splitter = frames.FrameSplitter(frames.REPLY_HEADER.size)
        self._arrived: list[Answer] = []
        if hello is not None:
            self.socket.sendall(frames.PREAMBLE)
            self.welcome = expect(connection.Welcome, self.ask(hello))

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: Message | bytes, *, request_id: int | None = None, **header: int) -> int:
        """Send a request and return its id; a write gets the next number."""
        whole, request_id = self.prepare(request, request_id=request_id, **header)
        self.socket.sendall(whole)
        return request_id

    def prepare(self, request: Message | bytes, *, request_id: int | None = None, **header: int) -> tuple[bytes, int]:
        """Return the frame that `send` would send, and its id."""
        if request_id is None:
            self._request_id += 1
            request_id = self._request_id
        if isinstance(request, Write):
            if "number" not in header:
                self.number += 1
            number = header.setdefault("number", self.number)
            header.setdefault("span", span_of_all(number))
        return frame(request, request_id, **header), request_id

    def receive(self) -> Answer:
        """Return the next reply, whichever it is. Raises EOFError when the daemon has ended the connection."""
        while not self._arrived:
            self._arrived += self._take()
        return self._arrived.pop(0)

    def wait(self, request_id: int) -> Answer:
        """Return the reply to a request; others stay for later."""
        while True:
            for index, answer in enumerate(self._arrived):
                if answer.request_id == request_id:
                    return self._arrived.pop(index)
            self._arrived += self._take()

    def ask(self, request: Message | bytes, **header: int) -> Reply:
        """Send a request and return its reply."""
        return self.wait(self.send(request, **header)).reply

    def rest(self) -> list[Answer]:
        """Return everything that comes until the daemon ends the connection."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self._arrived += self._take()
        arrived, self._arrived = self._arrived, []
        return arrived

    def _take(self) -> list[Answer]:
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise EOFError("the daemon ended the connection")
        return [answer_in(whole) for whole in self._splitter.feed(data)]


@contextlib.contextmanager
def alive(address: Path) -> Iterator[None]:
    """Hold that a daemon answers others after what is done inside."""
    yield
    with Wire(address) as other:
        expect(connection.Pong, other.ask(connection.Ping()))
