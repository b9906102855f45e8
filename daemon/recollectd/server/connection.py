"""One client's connection: bytes in, frames, replies out, and the bounds a client cannot cross."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from recollectd.memory.refusals import error_reply
from recollectd.protocol import errors, frames, limits, table
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.server.lanes import Lane

if TYPE_CHECKING:
    from recollectd.protocol.messages.fields import Message
    from recollectd.server.dispatch import Dispatcher
    from recollectd.server.watches import Watcher

log = logging.getLogger("recollectd.connection")

_RECEIVE_BYTES: Final = 256 * 1024
# Above this many unsent bytes a connection is not read from: who does not take replies gets no more of them.
_UNSENT_BYTES_HIGH: Final = 4 * 1024 * 1024
_UNSENT_BYTES_LOW: Final = 1024 * 1024
# So many reads of a connection run at a time: what they find is held in memory until the client takes it.
_READS_RUNNING_MAX: Final = 64

# A reply is an array of fewer than 16 elements: its head is one byte, its tag the next.
_ERROR_TAG: Final = table.tag_of(ErrorReply)

# One buffer serves all connections: what is received is taken out of it before the next call.
_RECEIVE_BUFFER: Final = memoryview(bytearray(_RECEIVE_BYTES))


class Connection(asyncio.BufferedProtocol):
    """A connection from its preamble to its end. Lives on the event loop."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._transport: asyncio.Transport | None = None
        self._splitter = frames.FrameSplitter(frames.REQUEST_HEADER.size)
        self._preamble = b""
        self._unsent: list[bytes] = []
        self._flush_scheduled = False
        self._reading_paused = False
        self._choked = False
        self.lane = Lane()
        self.watchers: dict[int, Watcher] = {}
        self.principal = ""
        self.session_id = b""
        self.client_name = ""
        self.welcomed = False
        self.closed = False
        self.ending = False
        self._no_more_requests = False
        self._reads_waiting: deque[Callable[[], None]] = deque()
        self._reads_running = 0
        self.idle_timeout_s = dispatcher.idle_timeout_s
        self.last_frame_at = dispatcher.loop.time()
        self.requests_in_flight = 0
        self.bytes_in_flight = 0

    # -- called by the transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse when there are too many."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not registered as one
        self._transport.set_write_buffer_limits(_UNSENT_BYTES_HIGH, _UNSENT_BYTES_LOW)
        self.principal = principal_of(transport)
        refusal = self._dispatcher.enter(self)
        if refusal is not None:
            self.send_error(0, refusal)
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: what was asked for goes on, its replies go nowhere."""
        self.closed = self.ending = True
        self._unsent.clear()
        self._dispatcher.leave(self)
        self._start_reads()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to receive into."""
        return _RECEIVE_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take received bytes; carry out the frames that are whole now."""
        data = _RECEIVE_BUFFER[:nbytes]
        if len(self._preamble) < len(frames.PREAMBLE):
            missing = len(frames.PREAMBLE) - len(self._preamble)
            self._preamble += bytes(data[:missing])
            data = data[missing:]
            if self._preamble != frames.PREAMBLE[: len(self._preamble)]:
                self._lose_framing("this is no recollectd client, or one of another framing: the preamble is wrong")
                return
        try:
            whole = self._splitter.feed(data)
        except frames.FramingError as error:
            self._lose_framing(str(error))
            return
        if whole:
            self.last_frame_at = self._dispatcher.loop.time()
        for frame in whole:
            if self.ending:
                return
            self._take(frame)

    def eof_received(self) -> bool:
        """The client sends nothing more: end once what it asked for is answered."""
        self._no_more_requests = True
        return bool(self.requests_in_flight)

    def pause_writing(self) -> None:
        """Too much is unsent: do not read until the client has taken some of it."""
        self._choked = True
        self._pause_or_resume()

    def resume_writing(self) -> None:
        """The client has taken enough."""
        self._choked = False
        self._pause_or_resume()
        self._start_reads()

    def _pause_or_resume(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self._choked == self._reading_paused:
            return
        self._reading_paused = self._choked
        if self._choked:
            transport.pause_reading()
        else:
            transport.resume_reading()

    # -- frames -------------------------------------------------------------------------------------------------------

    def _take(self, frame: bytes) -> None:
        request_id = frames.LENGTH.unpack_from(frame, 4)[0]
        try:
            header, body = frames.unpack_request(frame)
            request: Message = table.decode_request(body)
            self._dispatcher.dispatch(self, header, request, body)
        except frames.FramingError as error:
            self._lose_framing(str(error))
        except errors.RecollectdError as error:
            self.send_error(request_id, error)
        except Exception as error:
            self.send_error(request_id, self._dispatcher.internal_error(error))

    def _lose_framing(self, why: str) -> None:
        self.send_error(0, errors.MalformedFrame(why))
        self.end()

    # -- replies ------------------------------------------------------------------------------------------------------

    def send(self, request_id: int, position: int, body: bytes) -> None:
        """Queue a reply; all queued in one turn of the loop leave together."""
        if self.closed:
            return
        if body[1] == _ERROR_TAG:
            self._dispatcher.note_error(body)
        self._unsent.append(frames.pack_reply(request_id, position, body))
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._dispatcher.loop.call_soon(self._flush)

    def send_error(self, request_id: int, error: errors.RecollectdError) -> None:
        """Queue an error."""
        self.send(request_id, self._dispatcher.position, table.encode(error_reply(error)))

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._unsent and self._transport is not None and not self.closed:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._start_reads()

    def when_room(self, start: Callable[[], None]) -> None:
        """Start a read, once not too many others are running and the client takes what they find."""
        self._reads_waiting.append(start)
        self._start_reads()

    def read_ended(self) -> None:
        """A read that was started has its reply queued; the next one starts when that is on its way."""
        self._reads_running -= 1
        if self.closed:
            self._start_reads()

    def _start_reads(self) -> None:
        while self._reads_waiting and self._reads_running < _READS_RUNNING_MAX and (self.closed or not self._choked):
            self._reads_running += 1
            self._reads_waiting.popleft()()

    def hold(self, size: int) -> None:
        """A request is on its way."""
        self.requests_in_flight += 1
        self.bytes_in_flight += size

    def release(self, size: int) -> None:
        """A request is answered."""
        self.requests_in_flight -= 1
        self.bytes_in_flight -= size
        if self._no_more_requests and not self.requests_in_flight:
            self._dispatcher.loop.call_soon(self.end)

    @property
    def unsent_bytes(self) -> int:
        """What the client has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def busy(self) -> bool:
        """Whether something is owed to the client."""
        return bool(self.requests_in_flight or self.watchers)

    def end(self) -> None:
        """Send what is queued and close; nothing more is carried out."""
        self.ending = True
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now, whatever the client has not taken yet."""
        if self._transport is not None:
            self._transport.abort()


def principal_of(transport: asyncio.BaseTransport) -> str:
    """Return who is at the other end: `uid:1000` on a Unix socket, `anonymous` on TCP."""
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family != socket.AF_UNIX:
        return "anonymous"
    # struct ucred: pid, uid, gid
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return f"uid:{struct.unpack('3i', credentials)[1]}"


IN_FLIGHT_LIMITS: Final = (limits.REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX, limits.IN_FLIGHT_BYTES_PER_CONNECTION_MAX)
