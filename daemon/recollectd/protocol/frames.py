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

RECEIVE_BYTES: Final = 256 * 1024
"""So much a client's connection receives at once."""

_REPLY_LENGTH_MIN: Final = REPLY_HEADER.size - LENGTH.size
_unpack_reply: Final = REPLY_HEADER.unpack_from

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


class FrameSplitter:
    """Cuts a stream of bytes into whole frames; keeps what is not whole yet.

    header_bytes is the least a frame may have (REQUEST_HEADER.size on the daemon's side, REPLY_HEADER.size on the
    client's). A length outside the bounds is found before anything of that size is buffered.
    """

    def __init__(self, header_bytes: int) -> None:
        self._length_min = header_bytes - LENGTH.size
        self._pending = bytearray()

    @property
    def pending_bytes(self) -> int:
        """Bytes kept for a frame that has not arrived whole."""
        return len(self._pending)

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take received bytes, return the frames now whole, in order.

        Raises FramingError when a length is impossible; the splitter is then unusable.
        """
        pending = self._pending
        pending += data
        frames: list[bytes] = []
        start, available = 0, len(pending)
        while available - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(pending, start)
            end = start + LENGTH.size + _checked(length, self._length_min)
            if end > available:
                break
            with memoryview(pending) as view:  # slicing the bytearray itself would copy twice
                frames.append(bytes(view[start:end]))
            start = end
        if start:
            del pending[:start]
        return frames


class ReplyBuffer:
    """Where a client receives: a buffer that is used again and again, and replies cut out of it without a copy.

    Receive into `room()`, then tell `take` how many bytes came. A message is a view of the buffer: it is good until
    `room` is called again.
    """

    def __init__(self) -> None:
        self._usual = memoryview(bytearray(RECEIVE_BYTES))
        self._buffer = self._usual
        self._start = self._end = 0  # what has been received and not been cut
        self._needed = LENGTH.size  # bytes from `start` before there is something to cut

    def room(self) -> memoryview:
        """Return where the next bytes go; there is always room for some, and for the rest of the frame begun."""
        rest = self._buffer[self._start : self._end]
        if self._start or len(self._buffer) < self._needed:
            if self._needed > RECEIVE_BYTES:
                self._buffer = memoryview(bytearray(self._needed))
            else:
                self._buffer = self._usual
            self._buffer[: len(rest)] = rest  # where they overlap it is done in the right order
            self._start, self._end = 0, len(rest)
        return self._buffer[self._end :]

    def take(self, size: int) -> list[tuple[int, int, memoryview]]:
        """Take so many more bytes; return request_id, position and message of the replies now whole, in order.

        Raises FramingError when a length is impossible; the buffer is then unusable.
        """
        replies: list[tuple[int, int, memoryview]] = []
        buffer, start, end = self._buffer, self._start, self._end + size
        if end - start >= self._needed:
            while end - start >= REPLY_HEADER.size:
                length, request_id, position = _unpack_reply(buffer, start)
                if not _REPLY_LENGTH_MIN <= length <= end - start - LENGTH.size:
                    break
                following = start + LENGTH.size + length
                replies.append((request_id, position, buffer[start + REPLY_HEADER.size : following]))
                start = following
            self._needed = LENGTH.size
            if end - start >= LENGTH.size:
                self._needed += _checked(LENGTH.unpack_from(buffer, start)[0], _REPLY_LENGTH_MIN)
        self._start, self._end = start, end
        return replies


def _checked(length: int, least: int) -> int:
    most = limits.FRAME_BYTES_MAX - LENGTH.size
    if not least <= length <= most:
        raise FramingError(f"a frame announces {length} bytes; between {least} and {most} are allowed")
    return length
