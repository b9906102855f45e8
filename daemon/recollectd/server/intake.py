"""What a connection's bytes go through: received ones become frames, replies become bytes.

There are two ways, with one meaning: the native one (`recollectd._native.intake`) also answers reads that the value
cache holds; `PlainIntake` hands every frame on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from recollectd.protocol import frames

_RECEIVE_BYTES: Final = 256 * 1024
# With so many bytes of replies queued, they leave at once: the transport then says whether the client takes them.
_UNSENT_BYTES_HIGH: Final = 1024 * 1024

# One buffer serves all connections: what is received is taken out of it before the next call.
_RECEIVE_BUFFER: Final = memoryview(bytearray(_RECEIVE_BYTES))


class Marks(Protocol):
    """Where a lane says which records its writes on their way touch."""

    def mark(self, keys: tuple[bytes, ...] | None, /) -> None:
        """A write of these records (None: any) begins its way."""

    def unmark(self, keys: tuple[bytes, ...] | None, /) -> None:
        """It has ended."""


class Intake(Marks, Protocol):
    """What both ways have; see `PlainIntake`."""

    requests_in_flight: int
    bytes_in_flight: int
    last_frame_at: float
    begun: bool
    welcomed: bool
    choked: bool
    ending: bool

    def open(self, transport: asyncio.Transport, fd: int, /) -> None:
        """Begin to send."""

    def end(self) -> None:
        """Send what is queued; nothing more is carried out."""

    def close(self) -> None:
        """The connection is gone."""

    def get_buffer(self, sizehint: int, /) -> memoryview:
        """Return where to receive into."""

    def buffer_updated(self, nbytes: int, /) -> None:
        """Take received bytes; carry out the frames that are whole now."""

    def reply(self, request_id: int, position: int, message: bytes, /) -> None:
        """Queue a reply."""

    def flush(self) -> None:
        """Send what is queued."""


class PlainIntake:
    """The way without native code.

    requests_in_flight, bytes_in_flight: what is carried out and not answered. last_frame_at: loop time in seconds.
    begun: the preamble is behind us. welcomed: so is the hello. choked: the client does not take its replies. ending:
    nothing more is carried out.
    """

    def __init__(
        self,
        *,
        begin: Callable[[bytes], int],
        take: Callable[[bytes], None],
        unframed: Callable[[str], None],
        time: Callable[[], float],
    ) -> None:
        self._begin = begin
        self._take = take
        self._unframed = unframed
        self._time = time
        self._splitter = frames.FrameSplitter(frames.REQUEST_HEADER.size)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self.requests_in_flight = 0
        self.bytes_in_flight = 0
        self.last_frame_at = time()
        self.begun = False
        self.welcomed = False
        self.choked = False
        self.ending = False

    def open(self, transport: asyncio.Transport, fd: int) -> None:
        """Begin to send. fd: of the socket, or -1; not used here."""
        self._transport = transport

    def end(self) -> None:
        """Send what is queued; nothing more is carried out."""
        self.ending = True
        self.flush()

    def close(self) -> None:
        """The connection is gone."""
        self.ending = True
        self._transport = None
        self._unsent.clear()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to receive into."""
        return _RECEIVE_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take received bytes; carry out the frames that are whole now."""
        data = _RECEIVE_BUFFER[:nbytes]
        if not self.begun:
            data = data[self._begin(bytes(data)) :]
        try:
            whole = [] if self.ending else self._splitter.feed(data)
        except frames.FramingError as error:
            self._unframed(str(error))
            return
        if whole:
            self.last_frame_at = self._time()
        for frame in whole:
            self._take(frame)
            if self.ending:
                break

    def mark(self, keys: tuple[bytes, ...] | None) -> None:
        """A write begins its way: nothing to note, every read asks its lane."""

    def unmark(self, keys: tuple[bytes, ...] | None) -> None:
        """A write has ended."""

    def reply(self, request_id: int, position: int, message: bytes) -> None:
        """Queue a reply."""
        if self._transport is None:
            return
        self._unsent.append(frames.pack_reply(request_id, position, message))
        self._unsent_bytes += len(message)
        if self._unsent_bytes > _UNSENT_BYTES_HIGH:
            self.flush()

    def flush(self) -> None:
        """Send what is queued, in one piece."""
        queued, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if queued and self._transport is not None:
            self._transport.write(b"".join(queued))


def why_unframed(start: bytes) -> str:
    """Return why bytes that begin with these cannot be cut into frames."""
    try:
        frames.FrameSplitter(frames.REQUEST_HEADER.size).feed(start)
    except frames.FramingError as error:
        return str(error)
    raise AssertionError(f"{start!r} begins a frame")
