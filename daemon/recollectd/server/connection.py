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

# Above this many unsent bytes a connection is not read from: who does not take replies gets no more of them.
_UNSENT_BYTES_HIGH: Final = 4 * 1024 * 1024
_UNSENT_BYTES_LOW: Final = 1024 * 1024
# So many reads of a connection run at a time: what they find is held in memory until the client takes it.
_READS_RUNNING_MAX: Final = 64

# A reply is an array of fewer than 16 elements: its head is one byte, its tag the next.
_ERROR_TAG: Final = table.tag_of(ErrorReply)


class Connection(asyncio.BufferedProtocol):
    """A connection from its preamble to its end. Lives on the event loop."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._transport: asyncio.Transport | None = None
        self.hot_lane = dispatcher.make_hot_lane(self)
        self._intake = dispatcher.make_intake(self)
        # The transport asks for these two once and calls them for every read.
        self.get_buffer = self._intake.get_buffer  # type: ignore[assignment,method-assign]
        self.buffer_updated = self._intake.buffer_updated  # type: ignore[assignment,method-assign]
        self._preamble = b""
        self._flush_scheduled = False
        self._reading_paused = False
        self.lane = Lane(self._intake)
        self.watchers: dict[int, Watcher] = {}
        self.principal = ""
        self.session_id = b""
        self.client_name = ""
        self.closed = False
        self._no_more_requests = False
        self._reads_waiting: deque[Callable[[], None]] = deque()
        self._reads_running = 0
        self.idle_timeout_s = dispatcher.idle_timeout_s

    # -- called by the transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse when there are too many."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not registered as one
        self._transport.set_write_buffer_limits(_UNSENT_BYTES_HIGH, _UNSENT_BYTES_LOW)
        peer = transport.get_extra_info("socket")
        self.principal = principal_of(peer)
        self._intake.open(self._transport, peer.fileno() if peer is not None else -1)
        refusal = self._dispatcher.enter(self)
        if refusal is not None:
            self.send_error(0, refusal)
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: what was asked for goes on, its replies go nowhere."""
        self.closed = True
        self._intake.close()
        self._dispatcher.leave(self)
        self._start_reads()

    def eof_received(self) -> bool:
        """The client sends nothing more: end once what it asked for is answered."""
        self._no_more_requests = True
        self._flush()
        return bool(self.requests_in_flight)

    def pause_writing(self) -> None:
        """Too much is unsent: do not read until the client has taken some of it."""
        self._intake.choked = True
        self._pause_or_resume()

    def resume_writing(self) -> None:
        """The client has taken enough."""
        self._intake.choked = False
        self._pause_or_resume()
        self._start_reads()

    def _pause_or_resume(self) -> None:
        transport, choked = self._transport, self._intake.choked
        if transport is None or transport.is_closing() or choked == self._reading_paused:
            return
        self._reading_paused = choked
        if choked:
            transport.pause_reading()
        else:
            transport.resume_reading()

    # -- called by the intake ------------------------------------------------------------------------------------------

    def begin(self, data: bytes) -> int:
        """Take what has come of the preamble; return how many bytes that is."""
        taken = data[: len(frames.PREAMBLE) - len(self._preamble)]
        self._preamble += taken
        if self._preamble != frames.PREAMBLE[: len(self._preamble)]:
            self.lose_framing("this is no recollectd client, or one of another framing: the preamble is wrong")
        self._intake.begun = len(self._preamble) == len(frames.PREAMBLE)
        return len(taken)

    def take(self, frame: bytes) -> None:
        """Carry out a frame, or answer why not."""
        request_id = frames.LENGTH.unpack_from(frame, 4)[0]
        try:
            header, body = frames.unpack_request(frame)
            request: Message = table.decode_request(body)
            self._dispatcher.dispatch(self, header, request, body)
        except frames.FramingError as error:
            self.lose_framing(str(error))
        except errors.RecollectdError as error:
            self.send_error(request_id, error)
        except Exception as error:
            self.send_error(request_id, self._dispatcher.internal_error(error))

    def lose_framing(self, why: str) -> None:
        """The bytes cannot be cut into frames any more: say so and end."""
        self.send_error(0, errors.MalformedFrame(why))
        self.end()

    # -- replies ------------------------------------------------------------------------------------------------------

    def send(self, request_id: int, position: int, body: bytes) -> None:
        """Queue a reply; all queued in one turn of the loop leave together."""
        if self.closed:
            return
        if body[1] == _ERROR_TAG:
            self._dispatcher.note_error(body)
        self._intake.reply(request_id, position, body)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._dispatcher.loop.call_soon(self._flush)

    def send_error(self, request_id: int, error: errors.RecollectdError) -> None:
        """Queue an error."""
        self.send(request_id, self._dispatcher.position, table.encode(error_reply(error)))

    def flush_replies(self) -> None:
        """Send what the short way of puts has queued; end if that was the last that was owed."""
        self._flush()
        if self._no_more_requests and not self.requests_in_flight:
            self._dispatcher.loop.call_soon(self.end)

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._intake.flush()
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
        intake = self._intake
        while self._reads_waiting and self._reads_running < _READS_RUNNING_MAX and (self.closed or not intake.choked):
            self._reads_running += 1
            self._reads_waiting.popleft()()

    def hold(self, size: int) -> None:
        """A request is on its way."""
        self._intake.requests_in_flight += 1
        self._intake.bytes_in_flight += size

    def release(self, size: int) -> None:
        """A request is answered."""
        self._intake.requests_in_flight -= 1
        self._intake.bytes_in_flight -= size
        if self._no_more_requests and not self.requests_in_flight:
            self._dispatcher.loop.call_soon(self.end)

    @property
    def requests_in_flight(self) -> int:
        """Requests on their way."""
        hot = self.hot_lane
        return self._intake.requests_in_flight + (hot.requests_in_flight if hot is not None else 0)

    @property
    def bytes_in_flight(self) -> int:
        """The bytes of their messages."""
        hot = self.hot_lane
        return self._intake.bytes_in_flight + (hot.bytes_in_flight if hot is not None else 0)

    @property
    def last_frame_at(self) -> float:
        """Loop time in seconds."""
        return self._intake.last_frame_at

    @property
    def welcomed(self) -> bool:
        """Whether the hello is behind us."""
        return self._intake.welcomed

    def welcome(self, requests_max: int, bytes_max: int) -> None:
        """The hello was answered: other requests may come, so many at a time."""
        self._intake.welcomed = True
        if self.hot_lane is not None:
            self.hot_lane.welcome(self.lane, self._intake, self.session_id, self.principal, requests_max, bytes_max)

    @property
    def ending(self) -> bool:
        """Whether nothing more is carried out."""
        return self._intake.ending

    def put_off_idling(self) -> None:
        """Begin to count the time without a frame anew."""
        self._intake.last_frame_at = self._dispatcher.loop.time()

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
        self._intake.end()
        self._flush()
        if self._transport is not None:
            self._transport.close()
            self._intake.close()  # what is answered or watched from now on goes nowhere

    def abort(self) -> None:
        """Close now, whatever the client has not taken yet."""
        if self._transport is not None:
            self._transport.abort()


def principal_of(peer: socket.socket | None) -> str:
    """Return who is at the other end: `uid:1000` on a Unix socket, `anonymous` on TCP."""
    if peer is None or peer.family != socket.AF_UNIX:
        return "anonymous"
    # struct ucred: pid, uid, gid
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return f"uid:{struct.unpack('3i', credentials)[1]}"


IN_FLIGHT_LIMITS: Final = (limits.REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX, limits.IN_FLIGHT_BYTES_PER_CONNECTION_MAX)
