"""From a decoded request to who carries it out: one look-up by the request's type."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from recollectd import __version__
from recollectd._native.checksum import xxh64
from recollectd.config.tree import Config
from recollectd.memory.commits import KINDS
from recollectd.memory.kind import ReadOperation, WriteOperation
from recollectd.memory.sequencer import Author
from recollectd.memory.sessions import Sessions
from recollectd.memory.transactions import WRITES as TRANSACTIONS
from recollectd.protocol import errors, limits, table
from recollectd.protocol.frames import FLAG_ASYNC, FLAGS_KNOWN, RequestHeader
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages.fields import Message, Reply, Request, Write
from recollectd.protocol.messages.transactions import Unwatch, Watch, Watching
from recollectd.server import reads
from recollectd.server.committer import Committer
from recollectd.server.connection import IN_FLIGHT_LIMITS, Connection
from recollectd.server.hot import HotPath
from recollectd.server.lanes import Reading, Ticket
from recollectd.server.single_flight import SingleFlight
from recollectd.server.slow import SlowLog
from recollectd.server.watches import Selection, Watcher, Watches
from recollectd.server.writes import WriteRouter

log = logging.getLogger("recollectd.dispatch")

FEATURES: Final = ("state", "log", "conversation", "memory", "transaction", "batch", "watch", "async")

READS: Final[dict[type[Request], type[ReadOperation[Any]]]] = {
    request: operation for kind in KINDS for request, operation in kind.reads.items()
}
WRITES: Final[dict[type[Write], type[WriteOperation[Any]]]] = {
    **{request: operation for kind in KINDS for request, operation in kind.writes.items()},
    **TRANSACTIONS,
}

_BUSY_RETRY_MS: Final = 20
# About what a request costs in memory beside its bytes, for the bound over all connections.
REQUEST_BYTES: Final = 1_024

Control = Callable[[Connection, RequestHeader, Any], Reply | None]


class Dispatcher:
    """Knows who carries out what; keeps the bounds that span connections."""

    internal_error = staticmethod(reads.internal_error)

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        *,
        store_id: bytes,
        read_executor: reads.ReadExecutor,
        writes: WriteRouter,
        committer: Committer,
        sessions: Sessions,
        watches: Watches,
        hot: HotPath,
        slow: SlowLog,
        now: Callable[[], int],
        status: Callable[[messages.StatusRequest, Callable[[int, object], None]], None],
    ) -> None:
        self.loop = loop
        self.idle_timeout_s = float(config.server.idle_timeout_s)
        self._slow = slow
        self._config = config
        self._store_id = store_id
        self._writes = writes
        self._committer = committer
        self._sessions = sessions
        self._watches = watches
        self._hot = hot
        self._flights = SingleFlight(read_executor.submit, hot.cached, lambda: self.position)
        self.make_intake = hot.make_intake
        self.make_hot_lane = hot.make_lane
        self._now = now
        self._status = status
        self.connections: set[Connection] = set()
        self.connections_total = 0
        self._bytes_in_flight = 0
        self.operations: dict[type[Message], int] = {}
        self.errors: dict[int, int] = {}
        self.stopping = False
        self._controls: dict[type[Message], Control] = {
            messages.Hello: self._hello,
            messages.Ping: self._ping,
            messages.StatusRequest: self._answer_status,
            Watch: self._watch,
            Unwatch: self._unwatch,
        }

    @property
    def bytes_in_flight(self) -> int:
        """What requests on their way hold, over all connections."""
        return self._bytes_in_flight + self._hot.bytes_in_flight

    @property
    def position(self) -> int:
        """Everything up to this commit is visible."""
        return self._committer.applied_seq

    # -- connections --------------------------------------------------------------------------------------------------

    def enter(self, connection: Connection) -> errors.RecollectdError | None:
        """Take a new connection, or return why not."""
        self.connections_total += 1
        if self.stopping:
            return errors.ShuttingDown(retry_after_ms=1_000)
        if len(self.connections) >= self._config.server.connections_max:
            return errors.TooManyConnections(
                f"there are {len(self.connections)} connections; connections_max allows no more", retry_after_ms=1_000
            )
        self.connections.add(connection)
        return None

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        for watcher in connection.watchers.values():
            self._watches.remove(watcher)
        connection.watchers.clear()

    def note_error(self, body: bytes) -> None:
        """Count an error that is told to a client, wherever it comes from."""
        reply = table.decode_reply(body)
        assert isinstance(reply, messages.ErrorReply)
        self.errors[reply.code] = self.errors.get(reply.code, 0) + 1

    def end_idle(self) -> None:
        """End connections that sent no frame for longer than they may, and are owed nothing.

        One that does not take what it was sent keeps its place for as long again, and is cut off then.
        """
        now = self.loop.time()
        for connection in tuple(self.connections):
            allowed_s = connection.idle_timeout_s
            if allowed_s and not connection.busy and now - connection.last_frame_at > allowed_s:
                connection.put_off_idling()
                if connection.ending:
                    connection.abort()
                else:
                    connection.end()

    # -- requests -----------------------------------------------------------------------------------------------------

    def dispatch(self, connection: Connection, header: RequestHeader, request: Message, body: memoryview) -> None:
        """Start carrying out a request. Raises what refuses it at once."""
        kind = type(request)
        self.operations[kind] = self.operations.get(kind, 0) + 1
        if connection.welcomed is (kind is messages.Hello):
            raise errors.HandshakeRequired()
        control = self._controls.get(kind)
        if control is not None:
            reply = control(connection, header, request)
            if reply is not None:
                connection.send(header.request_id, self.position, table.encode(reply))
            return
        self._check(connection, header, len(body))
        read = READS.get(kind)  # type: ignore[arg-type]  # any message may be asked for
        if read is not None:
            self._read(connection, header, read(request), len(body))
        else:
            self._write(connection, header, WRITES[kind](request), body)  # type: ignore[index]

    def _check(self, connection: Connection, header: RequestHeader, size: int) -> None:
        if header.flags & ~FLAGS_KNOWN:
            raise errors.InvalidArgument(f"unknown flags {header.flags:#x}", field="flags")
        if header.deadline_ms > limits.DEADLINE_MS_MAX:
            raise errors.InvalidArgument(f"must be at most {limits.DEADLINE_MS_MAX}", field="deadline_ms")
        requests_max, bytes_max = IN_FLIGHT_LIMITS
        if connection.requests_in_flight >= requests_max or connection.bytes_in_flight + size > bytes_max:
            raise errors.Busy("too much is in flight on this connection", retry_after_ms=_BUSY_RETRY_MS)
        if self.bytes_in_flight + size + REQUEST_BYTES > self._config.server.in_flight_bytes_max:
            raise errors.Busy("too much is in flight on all connections", retry_after_ms=_BUSY_RETRY_MS)

    def _hold(self, connection: Connection, size: int) -> None:
        connection.hold(size)
        self._bytes_in_flight += size + REQUEST_BYTES
        self._hot.note_in_flight(self._bytes_in_flight)

    def _release(self, connection: Connection, size: int) -> None:
        connection.release(size)
        self._bytes_in_flight -= size + REQUEST_BYTES
        self._hot.note_in_flight(self._bytes_in_flight)

    def _note_slow(self, request: Message, begun: float) -> None:
        self._slow.note(type(request).__name__, self.loop.time() - begun)

    def _deadline(self, header: RequestHeader) -> float:
        return self.loop.time() + (header.deadline_ms or limits.DEADLINE_MS_DEFAULT) / 1_000

    def _read(self, connection: Connection, header: RequestHeader, operation: ReadOperation[Any], size: int) -> None:
        """Start a read once everything it must see is applied."""
        begun = self.loop.time()
        deadline = self._deadline(header)
        lane, reading = connection.lane, Reading(operation.keys)
        self._hold(connection, size)
        lane.begin(reading)

        def done(position: int, result: object) -> None:
            body = reads.reply_bytes(result)  # first of all: it may fail
            self._release(connection, size)
            self._note_slow(operation.request, begun)
            connection.send(header.request_id, position, body)
            lane.end(reading)

        def ended(position: int, result: object) -> None:
            done(position, result)
            connection.read_ended()

        def run() -> None:
            if self.loop.time() > deadline:
                ended(self.position, reads.Failed(errors.DeadlineExceeded()))
            elif (cached := self._hot.cached(operation)) is not None:
                ended(self.position, cached)
            else:
                self._flights.start(operation, ended)

        # Nothing here names itself: a cycle for each read would be left to the garbage collector, and everybody wait.
        start = partial(self._start_when_applied, connection, header, run, done)
        if not lane.await_writes(operation.keys, start):
            start()

    def _start_when_applied(
        self,
        connection: Connection,
        header: RequestHeader,
        run: Callable[[], None],
        done: Callable[[int, object], None],
    ) -> None:
        if header.after <= self.position:
            connection.when_room(run)
        elif header.after > self._committer.last_seq:
            beyond = f"{header.after} lies beyond the journal's end"
            done(self.position, reads.Failed(errors.InvalidArgument(beyond, field="after")))
        else:
            again = partial(self._start_when_applied, connection, header, run, done)
            self._committer.when_applied(header.after, again)

    def _write(
        self, connection: Connection, header: RequestHeader, operation: WriteOperation[Any], body: memoryview
    ) -> None:
        """Hand a write on, with what makes it happen exactly once."""
        if not 0 < header.number < 2**63:
            raise errors.InvalidArgument("a write needs a number, from 1 on", field="number")
        begun, size = self.loop.time(), len(body)
        author = Author(
            connection.principal,
            connection.session_id,
            header.number,
            max(1, header.number - header.span),
            xxh64(body),
        )

        def answer(seq: int, reply: bytes | errors.RecollectdError) -> None:
            self._release(connection, size)
            self._note_slow(operation.request, begun)
            if isinstance(reply, bytes):
                connection.send(header.request_id, seq, reply)
            else:
                connection.send_error(header.request_id, reply)

        ticket = Ticket(
            connection.lane,
            operation,
            author,
            answer,
            deadline=self._deadline(header),
            size_bytes=size,
            asynchronous=bool(header.flags & FLAG_ASYNC),
        )
        self._hold(connection, size)
        try:
            self._writes.submit(ticket)
        except errors.RecollectdError as error:
            answer(0, error)

    # -- requests about the connection itself -------------------------------------------------------------------------

    def _hello(self, connection: Connection, header: RequestHeader, request: messages.Hello) -> messages.Welcome:
        if not request.protocol_min <= limits.PROTOCOL_VERSION <= request.protocol_max:
            raise errors.UnsupportedProtocol(
                f"the client speaks {request.protocol_min} to {request.protocol_max}, "
                f"this daemon {limits.PROTOCOL_VERSION}"
            )
        if len(request.client_name.encode(errors="replace")) > limits.CLIENT_NAME_BYTES_MAX:
            raise errors.InvalidArgument(f"must have at most {limits.CLIENT_NAME_BYTES_MAX} bytes", field="client_name")
        retention_us = self._config.server.session_retention_s * 1_000_000
        # By journal time, which never goes back: a session once forgotten must not be young again.
        connection.session_id = self._sessions.admit(
            request.session_id, connection.principal, self._now(), retention_us
        )
        connection.client_name = request.client_name
        if request.idle_timeout_ms is not None:
            connection.idle_timeout_s = request.idle_timeout_ms / 1_000
        connection.welcome(*IN_FLIGHT_LIMITS)
        return messages.Welcome(
            limits.PROTOCOL_VERSION,
            __version__,
            self._store_id,
            connection.session_id,
            connection.principal,
            self.position,
            {**limits.table(), "connections_max": self._config.server.connections_max},
            FEATURES,
        )

    def _ping(self, connection: Connection, header: RequestHeader, request: messages.Ping) -> messages.Pong:
        return messages.Pong(self._now())

    def _answer_status(self, connection: Connection, header: RequestHeader, request: messages.StatusRequest) -> None:
        self._check(connection, header, 0)
        self._hold(connection, 0)

        def done(position: int, result: object) -> None:
            body = reads.reply_bytes(result)
            self._release(connection, 0)
            connection.send(header.request_id, position, body)

        self._status(request, done)

    def _watch(self, connection: Connection, header: RequestHeader, request: Watch) -> Watching:
        if len(connection.watchers) >= limits.WATCHES_PER_CONNECTION_MAX:
            raise errors.Busy("this connection has as many watches as it may", retry_after_ms=1_000)
        if header.request_id in connection.watchers:
            raise errors.InvalidArgument("this request id is a watch already", field="request_id")
        position = self.position if request.position is None else request.position
        watching = Watching(position)

        def send(seq: int, reply: Reply) -> None:
            connection.send(header.request_id, seq, table.encode(reply))
            if isinstance(reply, messages.ErrorReply):
                connection.watchers.pop(header.request_id, None)

        watcher = Watcher(Selection.of(request), position, send, lambda: connection.unsent_bytes)
        self._watches.add(watcher)
        connection.watchers[header.request_id] = watcher
        return watching

    def _unwatch(self, connection: Connection, header: RequestHeader, request: Unwatch) -> messages.Done:
        watcher = connection.watchers.pop(request.request_id, None)
        if watcher is None:
            raise errors.NotFound("there is no such watch on this connection", field="request_id")
        self._watches.remove(watcher)
        return messages.Done()
