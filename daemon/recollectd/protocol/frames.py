"""Frames: how messages lie on the socket. Do not change: the layouts are golden-tested.

All integers are little-endian. A request frame is 32 bytes of header and a message; a reply frame is 16 bytes and a
message. A connection starts with the client's 8-byte preamble; everything after it is frames.

request: length u32, request_id u32, number u64, after u64, deadline_ms u32, flags u8, zero u8, span u16, message
reply:   length u32, request_id u32, position u64, message

`length` counts the bytes that follow it.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from recollectd.protocol import limits

PREAMBLE: Final = b"RCLD" + struct.pack("<HH", limits.PROTOCOL_VERSION, 0)

REQUEST_HEADER: Final = struct.Struct("<IIQQIBBH")
REPLY_HEADER: Final = struct.Struct("<IIQ")
LENGTH: Final = struct.Struct("<I")

_LENGTH_MAX: Final = limits.FRAME_BYTES_MAX - LENGTH.size

FLAG_ASYNC: Final = 0x01
FLAGS_KNOWN: Final = FLAG_ASYNC

assert REQUEST_HEADER.size == 32
assert REPLY_HEADER.size == 16


class RequestHeader(NamedTuple):
    """The head of a request frame.

    request_id: chosen by the client, comes back with the reply; unique among the connection's requests in flight.
    number: the write's number within the client's session, increasing from 1; 0 for a read.
    after: the journal position the answer must include (0: none).
    deadline_ms: how long from arrival the request may still be started (0: the default).
    flags: FLAG_ASYNC asks for an acknowledgement before the sync.
    span: every number below `number - span` has been answered; their outcomes may be forgotten.
    """

    request_id: int
    number: int = 0
    after: int = 0
    deadline_ms: int = 0
    flags: int = 0
    span: int = 0


class FramingError(ValueError):
    """The byte stream cannot be cut into frames any more; the connection must end."""


def pack_request(header: RequestHeader, body: bytes) -> bytes:
    """Return a whole request frame."""
    request_id, number, after, deadline_ms, flags, span = header
    length = REQUEST_HEADER.size - LENGTH.size + len(body)
    return REQUEST_HEADER.pack(length, request_id, number, after, deadline_ms, flags, 0, span) + body


def pack_reply(request_id: int, position: int, body: bytes) -> bytes:
    """Return a whole reply frame."""
    return REPLY_HEADER.pack(REPLY_HEADER.size - LENGTH.size + len(body), request_id, position) + body


def unpack_request(frame: bytes | memoryview) -> tuple[RequestHeader, memoryview]:
    """Split a whole request frame into its header and its message.

    Raises FramingError for a reserved byte that is not zero: a client speaking another layout.
    """
    _, request_id, number, after, deadline_ms, flags, zero, span = REQUEST_HEADER.unpack_from(frame)
    if zero:
        raise FramingError("the reserved byte of a request header is not zero")
    return RequestHeader(request_id, number, after, deadline_ms, flags, span), memoryview(frame)[REQUEST_HEADER.size :]


def unpack_reply(frame: bytes | memoryview) -> tuple[int, int, memoryview]:
    """Split a whole reply frame into request_id, position and its message."""
    _, request_id, position = REPLY_HEADER.unpack_from(frame)
    return request_id, position, memoryview(frame)[REPLY_HEADER.size :]


class _Splitter:
    """Keeps what has not arrived whole, until it has."""

    def __init__(self, header_bytes: int) -> None:
        self._length_min = header_bytes - LENGTH.size
        self._pending = bytearray()
        self._needed = LENGTH.size  # bytes of `pending` before there is something to cut

    @property
    def pending_bytes(self) -> int:
        """Bytes kept for a frame that has not arrived whole."""
        return len(self._pending)

    def _whole(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return the bytes that can be cut now, those kept in front; none while the first frame is not whole."""
        if not self._pending:
            return bytes(data)
        # A large frame comes in many pieces: they are put together once, when the last one is there.
        self._pending += data
        if len(self._pending) < self._needed:
            return b""
        joined = bytes(self._pending)
        self._pending.clear()
        return joined

    def _keep(self, data: bytes, start: int) -> None:
        """Keep what begins at `start`, less than a whole frame. Raises FramingError for an impossible length."""
        rest = len(data) - start
        if rest >= LENGTH.size:
            self._needed = LENGTH.size + self._checked(*LENGTH.unpack_from(data, start))
        else:
            self._needed = LENGTH.size
        if rest:
            self._pending += data[start:]

    def _checked(self, length: int) -> int:
        if not self._length_min <= length <= _LENGTH_MAX:
            raise FramingError(
                f"a frame announces {length} bytes; between {self._length_min} and {_LENGTH_MAX} are allowed"
            )
        return length


class FrameSplitter(_Splitter):
    """Cuts a stream of bytes into whole frames; keeps what is not whole yet.

    header_bytes is the least a frame may have (REQUEST_HEADER.size on the daemon's side, REPLY_HEADER.size on the
    client's). A length outside the bounds is found before anything of that size is buffered.
    """

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take received bytes, return the frames now whole, in order.

        Raises FramingError when a length is impossible; the splitter is then unusable.
        """
        frames: list[bytes] = []
        data = self._whole(data)
        start, available = 0, len(data)
        while available - start >= LENGTH.size:
            end = start + LENGTH.size + self._checked(*LENGTH.unpack_from(data, start))
            if end > available:
                break
            frames.append(data[start:end])
            start = end
        if start < available:
            self._keep(data, start)
        return frames


class ReplySplitter(_Splitter):
    """Cuts a stream of bytes into replies, as `FrameSplitter` into frames, without a detour over whole frames."""

    def __init__(self) -> None:
        super().__init__(REPLY_HEADER.size)

    def feed(self, data: bytes | bytearray | memoryview) -> list[tuple[int, int, bytes]]:
        """Take received bytes, return request_id, position and message of the replies now whole, in order.

        Raises FramingError when a length is impossible; the splitter is then unusable.
        """
        replies: list[tuple[int, int, bytes]] = []
        unpack, least = REPLY_HEADER.unpack_from, self._length_min
        data = self._whole(data)
        start, available = 0, len(data)
        while available - start >= REPLY_HEADER.size:
            length, request_id, position = unpack(data, start)
            end = start + LENGTH.size + length
            if end > available or length < least:
                break
            replies.append((request_id, position, data[start + REPLY_HEADER.size : end]))
            start = end
        if start < available:
            self._keep(data, start)
        return replies
