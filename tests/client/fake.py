"""A daemon that lives in threads of the test and does what the test's script says, for Unix sockets and TCP.

By default it executes requests on a `MemoryStore`, exactly once as the protocol demands. `script` may make it do
something else with a request: see the actions.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from client.memory_store import NOW, MemoryStore, error_reply
from recollectd.client.address import reachable
from recollectd.protocol import errors, frames, limits, table
from recollectd.protocol.frames import RequestHeader
from recollectd.protocol.messages.connection import ErrorReply, Hello, Welcome
from recollectd.protocol.messages.fields import Message, Reply, Write
from recollectd.protocol.messages.transactions import Change, Changes, Unwatch, Watch, Watching

PATIENCE_S = 20.0


@dataclass
class Received:
    """A request as it came."""

    connection: int
    header: RequestHeader
    request: Message
    body: bytes


@dataclass
class Action:
    """What to do with a request. execute: carry it out; answer: send the reply; close: end the connection then.

    instead: the reply to send in place of the real one. withhold: keep the answer until `release`. wait: an event that
    must be set before anything is done.
    """

    execute: bool = True
    answer: bool = True
    close: bool = False
    instead: Reply | None = None
    withhold: bool = False
    wait: threading.Event | None = None


DROP = Action(execute=False, answer=False, close=True)
DROP_AFTER = Action(answer=False, close=True)
IGNORE = Action(execute=False, answer=False)
WITHHOLD = Action(withhold=True)


def refuse(error: errors.RecollectdError) -> Action:
    """Refuse a request without carrying it out."""
    return Action(execute=False, instead=error_reply(error))


Script = Callable[[Received], Action | None]


@dataclass
class SessionState:
    """What the daemon remembers of a session."""

    floor: int = 0
    outcomes: dict[int, tuple[bytes, Reply, int]] = field(default_factory=dict)


class FakeDaemon:
    """Listens from the beginning of its `with` block to the end.

    received: every request but hellos, in order. hellos: every hello. refuse_hello: gives the error for a hello, if
    any. executed: the requests carried out, in order: none twice, or exactly-once is broken.
    """

    def __init__(self, path: Path | None = None, script: Script | None = None) -> None:
        self.path = path
        self.script = script
        self.store = MemoryStore()
        self.store_id = b"S" * 16
        self.sessions: dict[bytes, SessionState] = {}
        self.received: list[Received] = []
        self.hellos: list[Hello] = []
        self.executed: list[Message] = []
        self.refuse_hello: Callable[[Hello], errors.RecollectdError | None] = lambda hello: None
        self.greet: Callable[[socket.socket], None] | None = None
        self.failures: list[BaseException] = []
        self.limits: dict[str, int] = {}
        self.changed = threading.Condition(threading.RLock())
        self._withheld: list[tuple[socket.socket, bytes]] = []
        self._watches: list[tuple[socket.socket, int]] = []
        self._sockets: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._connections = 0
        self._listener: socket.socket | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"unix://{self.path}" if self.path else f"tcp://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        if error is None:
            assert self.failures == []

    def listen(self) -> None:
        """Begin, or begin again, to accept connections."""
        if self.path:
            self.path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            with reachable(str(self.path)) as path:
                listener.bind(path)
        else:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self._port))
            self._port = listener.getsockname()[1]
        listener.listen(64)
        self._listener = listener
        self._start(self._accept, listener)

    def stop(self) -> None:
        """Stop accepting and drop every connection."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
            if self.path:
                self.path.unlink()
        self.drop_all()

    def drop_all(self) -> None:
        """End every connection."""
        with self.changed:
            for connection in self._sockets.values():
                _shut(connection)

    def forget_sessions(self) -> None:
        """Forget every session, as after a day without a word."""
        with self.changed:
            self.sessions.clear()

    def wait(self, predicate: Callable[[], bool]) -> None:
        """Wait until something is true of the daemon."""
        with self.changed:
            assert self.changed.wait_for(predicate, PATIENCE_S), "the daemon did not come to the awaited state"

    def release(self, order: Callable[[list[tuple[socket.socket, bytes]]], None] = lambda withheld: None) -> None:
        """Send the withheld answers, in the order that `order` brings them into."""
        with self.changed:
            withheld, self._withheld = self._withheld, []
            order(withheld)
            for connection, frame in withheld:
                connection.sendall(frame)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self.changed:
            return len(self._sockets)

    @property
    def withheld(self) -> int:
        """How many answers wait to be released."""
        return len(self._withheld)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    def tell(self, *changes: Change, end: errors.RecollectdError | None = None) -> None:
        """Tell every watch of changes, or that it has ended."""
        with self.changed:
            for connection, request_id in self._watches:
                reply: Reply = error_reply(end) if end else Changes(changes, changes[-1].position)
                connection.sendall(frames.pack_reply(request_id, 0, table.encode(reply)))

    def of_type(self, kind: type[Message]) -> list[Received]:
        """Return the requests of a type received so far."""
        with self.changed:
            return [received for received in self.received if isinstance(received.request, kind)]

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        def run() -> None:
            try:
                target(*arguments)
            except OSError:
                pass  # a client that went away
            except BaseException as error:
                self.failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with self.changed:
                self._connections += 1
                index = self._connections
                self._sockets[index] = connection
                self.changed.notify_all()
            self._start(self._serve, connection, index)

    def _serve(self, connection: socket.socket, index: int) -> None:
        try:
            if self.greet is not None:
                self.greet(connection)
                return
            stream = connection.makefile("rb")
            assert stream.read(len(frames.PREAMBLE)) in (frames.PREAMBLE, b"")
            session = SessionState()
            while length := stream.read(4):
                header, body = frames.unpack_request(length + stream.read(frames.LENGTH.unpack(length)[0]))
                request = table.decode_request(body)
                with self.changed:
                    if isinstance(request, Hello):
                        session = self._hello(connection, header, request)
                        continue
                    received = Received(index, header, request, bytes(body))
                    self.received.append(received)
                    self.changed.notify_all()
                    action = (self.script and self.script(received)) or Action()
                if action.wait is not None:
                    assert action.wait.wait(PATIENCE_S)
                with self.changed:
                    self._act(connection, session, received, action)
                if action.close:
                    return
        finally:
            with self.changed:
                self._sockets.pop(index, None)
                self._watches = [watch for watch in self._watches if watch[0] is not connection]
                self.changed.notify_all()
            _shut(connection)
            connection.close()

    def _hello(self, connection: socket.socket, header: RequestHeader, hello: Hello) -> SessionState:
        self.hellos.append(hello)
        reply: Reply
        session_id = hello.session_id
        if (refusal := self.refuse_hello(hello)) is not None:
            reply = error_reply(refusal)
        else:
            if session_id not in self.sessions:
                session_id = b"%016d" % len(self.hellos)
                self.sessions[session_id] = SessionState()
            in_force = {**limits.table(), **self.limits}
            reply = Welcome(1, "0", self.store_id, session_id, "test", self.store.position, in_force)
        connection.sendall(frames.pack_reply(header.request_id, 0, table.encode(reply)))
        self.changed.notify_all()
        return self.sessions.get(session_id, SessionState())

    def _act(self, connection: socket.socket, session: SessionState, received: Received, action: Action) -> None:
        reply, position = action.instead, 0
        if action.execute:
            done, position = self._execute(connection, session, received)
            reply = reply or done
        if action.answer and reply is not None:
            frame = frames.pack_reply(received.header.request_id, position, table.encode(reply))
            if action.withhold:
                self._withheld.append((connection, frame))
            else:
                connection.sendall(frame)
        self.changed.notify_all()

    def _execute(self, connection: socket.socket, session: SessionState, received: Received) -> tuple[Reply, int]:
        """Carry a request out, a write at most once."""
        header, request = received.header, received.request
        if isinstance(request, Watch):
            self._watches.append((connection, header.request_id))
            return Watching(request.position or self.store.position), self.store.position
        assert not isinstance(request, Unwatch)
        if not isinstance(request, Write):
            assert header.number == 0
            if header.after > self.store.position:
                return error_reply(errors.InvalidArgument("lies beyond the journal's end", field="after")), 0
            return self.store.execute(request), self.store.position
        assert header.number > 0
        assert header.span <= limits.CLIENT_NUMBER_SPAN_MAX
        session.floor = max(session.floor, header.number - header.span)
        if header.number in session.outcomes:
            body, reply, position = session.outcomes[header.number]
            if body != received.body:
                return error_reply(errors.NumberReused()), 0
            return reply, position
        if header.number < session.floor:
            return error_reply(errors.OutcomeUnknown()), 0
        self.executed.append(request)
        reply = self.store.execute(request)
        position = 0 if isinstance(reply, ErrorReply) else self.store.position
        session.outcomes[header.number] = (received.body, reply, position)
        return reply, position


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def each_once(action: Action, kind: type[Message]) -> Script:
    """Return a script that takes an action on the first request of a type and then none any more."""
    taken = threading.Event()

    def script(received: Received) -> Action | None:
        if isinstance(received.request, kind) and not taken.is_set():
            taken.set()
            return action
        return None

    return script


__all__ = ["DROP", "DROP_AFTER", "IGNORE", "NOW", "WITHHOLD", "Action", "FakeDaemon", "Received", "each_once", "refuse"]
