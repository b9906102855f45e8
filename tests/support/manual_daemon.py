"""The daemon's own parts, wired as they always are, over what `manual` holds; and clients without sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from recollectd.config.tree import Config
from recollectd.memory.memories.erasing import Erasing
from recollectd.memory.memories.scopes import SearchScopes
from recollectd.memory.recovery import Recovered
from recollectd.memory.sessions import Sessions
from recollectd.memory.settings.events import HistoryPolicy
from recollectd.memory.settings.policies import Policies
from recollectd.protocol import errors, frames
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages.fields import Message, Reply, Write
from recollectd.server import chores, daemon, reads
from recollectd.server.clock import Clock
from recollectd.server.connection import Connection
from recollectd.server.daemon import Daemon
from recollectd.server.opening import OpenStore
from recollectd.storage.disk import DiskGuard
from support.manual import STORE_ID, ManualEngine, ManualJournal, ManualLoop, ManualPool
from support.wire import HELLO, Answer, answer_in, expect, frame, span_of_all

START_US: Final = 1_800_000_000_000_000
DEFAULT_UID: Final = 1_000


class _Watched(Daemon):
    """A daemon that keeps what it would have ended the process for."""

    def __init__(self, *arguments: Any) -> None:
        self.failures: list[BaseException] = []
        super().__init__(*arguments)

    def fatal(self, error: BaseException) -> None:
        self.failures.append(error)


class NoViews:
    """In place of the views over memories, whose threads no test could hold."""

    fatal: Any = None
    follows_messages = False

    def __init__(self) -> None:
        self.scopes = SearchScopes()
        self.erasing = Erasing(self.start, lambda: 0, 0)

    def pending(self) -> None:
        """Nothing is indexed anew."""

    def follow(self, applied: Any) -> None:
        """Nothing follows."""

    def refuse(self, operation: Any) -> None:
        """Nothing is refused."""

    def catch_up(self) -> None:
        """There is nothing to search."""
        raise errors.Busy("there are no views", retry_after_ms=1)

    def trim(self) -> list[Any]:
        """Nothing is dropped."""
        return []

    def start(self) -> None:
        """There are no threads."""

    checkpoint = close = start

    def status(self) -> dict[str, Any]:
        """There are no figures."""
        return {}


class ManualDaemon:
    """A daemon on a loop, a journal, an engine and a clock of the test's."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        config: Config,
        *,
        journal: ManualJournal | None = None,
        engine: ManualEngine | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self.loop = ManualLoop()
        self.journal = journal or ManualJournal()
        self.engine = engine or ManualEngine()
        self.free_bytes = 2 * config.records.disk_low_bytes
        self.disk = DiskGuard(
            config.directory / "ballast",
            low_bytes=config.records.disk_low_bytes,
            ballast_bytes=0,
            interval_ms=0,
            free_bytes=lambda _: self.free_bytes,
        )
        self._begun_s = self.loop.time()
        self._skew_us = START_US
        for module, threads in ((daemon, "ThreadPoolExecutor"), (reads, "Workers"), (chores, "ThreadPoolExecutor")):
            monkeypatch.setattr(module, threads, ManualPool)
        clock = partial(Clock, wall_us=lambda: self.wall_us, steady_us=self._steady_us)
        monkeypatch.setattr(daemon, "Clock", clock)
        folder = SimpleNamespace(store_id=STORE_ID, store=SimpleNamespace(shard_labels=config.shards.labels))
        policies = Policies(HistoryPolicy(config.history.count, config.history.age_s * 1_000_000))
        recovered = Recovered(sessions or Sessions(), 0, policies, 0)
        parts: Any = (folder, self.disk, self.journal, self.engine, recovered, NoViews(), 0.0)
        self.daemon = _Watched(self.loop, config, OpenStore(*parts))
        self._peers: list[Peer] = []

    def _steady_us(self) -> int:
        return round((self.loop.time() - self._begun_s) * 1_000_000)

    @property
    def wall_us(self) -> int:
        """The wall clock; set it to make it leap."""
        return self._steady_us() + self._skew_us

    @wall_us.setter
    def wall_us(self, time: int) -> None:
        self._skew_us = time - self._steady_us()

    @property
    def read_pool(self) -> ManualPool:
        """The threads that read."""
        return cast(Any, self.daemon)._reads._workers  # type: ignore[no-any-return]

    @property
    def watch_pool(self) -> ManualPool:
        """The thread that reads the journal for watches."""
        return cast(Any, self.daemon)._watch_pool  # type: ignore[no-any-return]

    def forget_values(self) -> None:
        """Let the value cache hold nothing, so that reads need a thread."""
        if self.daemon.hot.cache is not None:
            self.daemon.hot.cache.clear(self.engine.applied_seq)

    def connect(self, session_id: bytes = b"", *, uid: int = DEFAULT_UID, hello: messages.Hello | None = HELLO) -> Peer:
        """Return a new client, welcomed unless `hello` is None."""
        peer = Peer(self, uid)
        self._peers.append(peer)
        if hello is not None:
            peer.feed(frames.PREAMBLE)
            said = messages.Hello(hello.protocol_min, hello.protocol_max, "manual", session_id)
            peer.welcome = expect(messages.Welcome, peer.ask(said))
        return peer

    def pass_time(self, seconds: float) -> None:
        """Let time pass on all clocks; what is due happens at its time."""
        self.loop.advance(seconds)

    def close(self) -> None:
        """End what is left; fail if an exception has ended in the loop, where nobody hears of it."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        for peer in self._peers:
            peer.connection.end()
        self.loop.settle()
        self.daemon.committer.close()
        self.loop.close()
        self.journal.close()
        assert not self.loop.failures


class Peer:
    """A client at the other end of a transport that is no socket. `replies` fills as the daemon answers."""

    welcome: messages.Welcome

    def __init__(self, owner: ManualDaemon, uid: int) -> None:
        self.owner = owner
        self.number = 0
        self.replies: list[Answer] = []
        self._request_id = 0
        self.connection = Connection(owner.daemon.dispatcher)
        self.transport = ManualTransport(owner.loop, self.connection, self.replies, uid)
        self.connection.connection_made(self.transport)
        owner.loop.settle()

    def feed(self, data: bytes) -> None:
        """Let bytes arrive and run the loop until there is nothing left to do."""
        while data:
            assert not self.transport.is_paused(), "the daemon does not read from this client now"
            buffer = memoryview(self.connection.get_buffer(-1))
            size = min(len(data), len(buffer))
            buffer[:size] = data[:size]
            data = data[size:]
            self.connection.buffer_updated(size)
        self.owner.loop.settle()

    def prepare(self, request: Message, **header: int) -> tuple[bytes, int]:
        """Return a frame and its request id; a write gets the next number."""
        request_id = header.pop("request_id", 0)
        if not request_id:
            self._request_id += 1
            request_id = self._request_id
        if isinstance(request, Write):
            if "number" not in header:
                self.number += 1
            number = header.setdefault("number", self.number)
            header.setdefault("span", span_of_all(number))
        return frame(request, request_id, **header), request_id

    def send(self, request: Message, **header: int) -> int:
        """Send a request and return its id."""
        whole, request_id = self.prepare(request, **header)
        self.feed(whole)
        return request_id

    def pipeline(self, *requests: Message) -> list[int]:
        """Send requests in one piece and return their ids."""
        prepared = [self.prepare(request) for request in requests]
        self.feed(b"".join(whole for whole, _ in prepared))
        return [request_id for _, request_id in prepared]

    def ask(self, request: Message, **header: int) -> Reply:
        """Send a request and return its reply, which must be there at once."""
        return self.answer(self.send(request, **header)).reply

    def answer(self, request_id: int) -> Answer:
        """Return the one reply to a request."""
        found = [answer for answer in self.replies if answer.request_id == request_id]
        assert len(found) == 1, f"{len(found)} replies to request {request_id}"
        return found[0]

    def answered(self) -> list[int]:
        """Return the ids of all replies so far, in the order in which they came."""
        return [answer.request_id for answer in self.replies]

    def hang_up(self) -> None:
        """End the connection from this side, as a process that dies does."""
        self.transport.abort()
        self.owner.loop.settle()


class _PeerSocket:
    """What the daemon asks a Unix socket for: who is at the other end."""

    family = socket.AF_UNIX

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def fileno(self) -> int:
        return -1

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("3i", 1, self._uid, 1)


class ManualTransport(asyncio.Transport):
    """A transport into a list of replies. While `stuck`, the client takes nothing and bytes pile up."""

    def __init__(self, loop: ManualLoop, protocol: Connection, replies: list[Answer], uid: int) -> None:
        super().__init__({"socket": _PeerSocket(uid)})
        self._loop = loop
        self._protocol = protocol
        self._replies = replies
        self._splitter = frames.FrameSplitter(frames.REPLY_HEADER.size)
        self._unsent = bytearray()
        self._high = self._low = 0
        self._writing_paused = False
        self._lost = False
        self.stuck = False
        self._paused = False
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._lost
        self._unsent += data
        if not self.stuck:
            self.take()
        elif len(self._unsent) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def take(self) -> None:
        """The client takes everything there is."""
        data, self._unsent = self._unsent, bytearray()
        self._replies += [answer_in(whole) for whole in self._splitter.feed(data)]
        if self._writing_paused:
            self._writing_paused = False
            self._protocol.resume_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high, self._low = high or 0, low or 0

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False

    def is_paused(self) -> bool:
        """Return whether the daemon does not read from this client now."""
        return self._paused

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """End once everything is taken: a client that is stuck keeps it open."""
        self._closing = True
        if not self._unsent:
            self._lose()

    def abort(self) -> None:
        self._closing = True
        self._unsent.clear()
        self._lose()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._protocol.connection_lost, None)
