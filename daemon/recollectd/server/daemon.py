"""The daemon's life: start, serve, stop, in short named steps.

Start goes from the bottom up: folder and lock, journal, records, recovery, then everything that needs the loop, then
the sockets; "ready" is said only after that. Stop goes the other way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from recollectd.config.addresses import parse_address
from recollectd.config.tree import Config
from recollectd.journal.interface import Journal
from recollectd.memory.facts import FactCache
from recollectd.memory.memories.views import MemoryViews
from recollectd.memory.sequencer import Sequencer
from recollectd.memory.sessions import Sessions
from recollectd.protocol.messages.connection import Status, StatusRequest
from recollectd.protocol.messages.fields import Kind
from recollectd.server import opening
from recollectd.server.chores import Chores
from recollectd.server.clock import Clock
from recollectd.server.committer import Committer
from recollectd.server.connection import Connection
from recollectd.server.dispatch import REQUEST_BYTES, Dispatcher
from recollectd.server.freezes import FreezeWatch
from recollectd.server.hot import HotPath, HotWays, way_of_reads
from recollectd.server.listener import listen_tcp, listen_unix
from recollectd.server.pending import Pending
from recollectd.server.reads import Failed, Read, ReadExecutor, internal_error
from recollectd.server.slow import SlowLog
from recollectd.server.status import engine_status, status_of, with_engine
from recollectd.server.watches import Watches
from recollectd.server.writes import WriteRouter
from recollectd.sizing import size
from recollectd.storage.disk import DiskGuard
from recollectd.storage.engine import Engine
from recollectd.topology import read_topology

log = logging.getLogger("recollectd")

EXIT_OK = 0
EXIT_FATAL = 70

_IDLE_CHECK_S = 1.0
_END_S_MAX = 1.0


class Daemon:
    """One daemon over one data folder, from `start` to `stop`."""

    clock: Clock
    dispatcher: Dispatcher
    committer: Committer
    chores: Chores
    sequencer: Sequencer
    watches: Watches
    engine: Engine
    journal: Journal
    sessions: Sessions
    memories: MemoryViews
    disk: DiskGuard
    store_id: bytes

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config, store: opening.OpenStore) -> None:
        self.loop = loop
        self.config = config
        self.started_at = time.monotonic()
        self.process = psutil.Process()
        self.addresses: list[str] = []
        self._servers: list[asyncio.Server] = []
        self._own_socket: Path | None = None
        self._stop_asked = asyncio.Event()
        self._watch_pool = ThreadPoolExecutor(1, thread_name_prefix="watch")
        self._store = store
        self.engine, self.journal, self.disk, self.store_id = (
            store.engine,
            store.journal,
            store.disk,
            store.folder.store_id,
        )
        self.sessions = store.recovered.sessions
        self.memories = store.memories
        self.recovered_commits = store.recovered.replayed
        self.recovery_s = store.recovery_s
        self._assemble()

    def _assemble(self) -> None:
        """Make the parts, from those that need nothing to those that need all."""
        config, loop, policies = self.config, self.loop, self._store.recovered.policies
        self.clock = Clock(config.server.clock_step_s_max * 1_000_000)
        self.freezes = FreezeWatch(loop)
        self.sequencer = Sequencer(
            last_seq=self.journal.last_seq,
            last_time=self.journal.last_time,
            facts=FactCache(config.server.head_cache_count or size(read_topology()).head_cache_count),
            policies=policies,
            shard_labels=self._store.folder.store.shard_labels,
        )
        self.committer = Committer(
            loop,
            config,
            sequencer=self.sequencer,
            journal=self.journal,
            engine=self.engine,
            sessions=self.sessions,
            disk=self.disk,
            freezes=self.freezes,
            fatal=self.fatal,
        )
        self.hot = self._make_hot_path()
        self.committer.on_applied.append(self.hot.on_applied)  # the first to hear of it
        self._reads = ReadExecutor(
            loop,
            self.engine,
            threads=config.server.read_threads,
            store_id=self.store_id,
            now=self._journal_time,
            settled=lambda: self.committer.applied_time,
            touched=lambda touches: self.chores.touched(touches),
            fill=self.hot.fill,
            memories=self.memories,
        )
        self.memories.fatal = self.fatal  # it ends the process at once, from any thread
        self.committer.on_applied.append(self._follow_with_memories)
        self._writes = WriteRouter(
            loop,
            sequencer=self.sequencer,
            sessions=self.sessions,
            committer=self.committer,
            reads=self._reads,
            clock=self.clock,
            disk=self.disk,
            unapplied_bytes_max=config.server.unapplied_bytes_max,
            sessions_max=config.server.sessions_max,
            refuse=self.memories.refuse,
        )
        self._assemble_outside()

    def _follow_with_memories(self, last_seq: int, applied: list[Pending]) -> None:
        # What native code wrote changes no memory: of that, messages alone are decoded, where they are searched.
        kinds = (0, Kind.CONVERSATION) if self.memories.follows_messages else (0,)
        told = [(item.seq, item.commit) for item in applied if item.kind in kinds]
        if told:
            self.memories.follow(told)

    def _make_hot_path(self) -> HotPath:
        options = self.config.server
        return HotPath(
            way_of_reads(),
            cache_bytes=options.value_cache_bytes or size(read_topology()).value_cache_bytes,
            position=self.engine.applied_seq,
            now=self._journal_time,
            time=self.loop.time,
            touched=lambda touches: self.chores.touched(touches),
            bytes_in_flight_max=options.in_flight_bytes_max,
            request_bytes=REQUEST_BYTES,
        )

    def _assemble_outside(self) -> None:
        """Make what clients and the clock set in motion."""
        config, loop = self.config, self.loop
        self.watches = Watches(
            self.journal,
            self._watch_pool,
            loop.call_soon_threadsafe,
            loop.call_later,
            lambda: self.committer.applied_seq,
        )
        self.committer.on_applied.append(self.watches.on_applied)
        slow = SlowLog(loop.time, config.server.slow_log_ms)
        ways = HotWays(loop, self.sequencer, self.sessions, self.committer, self._writes, self.clock, slow)
        self.hot.begin_writes(ways, self.committer)
        self.dispatcher = Dispatcher(
            loop,
            config,
            store_id=self.store_id,
            read_executor=self._reads,
            writes=self._writes,
            committer=self.committer,
            sessions=self.sessions,
            watches=self.watches,
            hot=self.hot,
            slow=slow,
            now=self._journal_time,
            status=self._answer_status,
        )
        self.chores = Chores(
            loop,
            config,
            engine=self.engine,
            journal=self.journal,
            sessions=self.sessions,
            policies=self._store.recovered.policies,
            writes=self._writes,
            committer=self.committer,
            clock=self.clock,
            disk=self.disk,
            memories=self.memories,
            freezes=self.freezes,
            sessions_in_use=lambda: {connection.session_id for connection in self.dispatcher.connections},
            fatal=self.fatal,
        )

    def _journal_time(self) -> int:
        return max(self.clock.now(), self.sequencer.last_time)

    # -- life -------------------------------------------------------------------------------------------------------

    async def serve(self) -> int:
        """Listen, serve until asked to stop, stop; return the exit code. Raises ListenError."""
        self.loop.set_exception_handler(_log_unexpected)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self._on_signal)
        try:
            await self._listen()
            self.memories.start()
            self.chores.start()
            self.freezes.start()
            log.info("ready on %s", ", ".join(self.addresses))
            await self._until_asked_to_stop()
        finally:
            await self._stop()
        return EXIT_OK

    async def _listen(self) -> None:
        options = self.config.listen

        def connection() -> Connection:
            return Connection(self.dispatcher)

        path = self.config.socket_path
        self._servers.append(await listen_unix(self.loop, connection, path, options.socket_permissions))
        self._own_socket = path
        self.addresses.append(f"unix://{path.absolute()}")
        for text in options.tcp:
            server = await listen_tcp(self.loop, connection, *parse_address(text))
            self._servers.append(server)
            for listening in server.sockets:
                host, port = listening.getsockname()[:2]
                self.addresses.append(f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}")
        self._store.folder.announce(self.addresses)

    def _on_signal(self) -> None:
        if self._stop_asked.is_set():
            log.warning("asked a second time: ending at once")
            os._exit(EXIT_OK)
        self._stop_asked.set()

    async def _until_asked_to_stop(self) -> None:
        """Wait for a signal; meanwhile end idle connections, and the daemon itself if it shall not idle."""
        idle_s_max = self.config.server.exit_when_idle_s
        last_used = self.loop.time()
        while not self._stop_asked.is_set():
            try:
                await asyncio.wait_for(self._stop_asked.wait(), _IDLE_CHECK_S)
            except TimeoutError:
                self.dispatcher.end_idle()
                if self.dispatcher.connections:
                    last_used = self.loop.time()
                elif idle_s_max and self.loop.time() - last_used > idle_s_max:
                    log.info("nobody is connected for %g s: stopping", idle_s_max)
                    return

    async def _stop(self) -> None:
        """Accept nothing more, finish what is under way, make everything durable."""
        log.info("stopping")
        if self._own_socket is not None:
            self._own_socket.unlink(missing_ok=True)  # once it is closed another daemon may replace it by its own
        for server in self._servers:
            server.close()
        self.dispatcher.stopping = self._writes.stopping = True
        try:
            await asyncio.wait_for(self._drained(), self.config.server.drain_timeout_s)
        except TimeoutError:
            log.warning("requests were still under way after %g s", self.config.server.drain_timeout_s)
        await self._end_connections()
        self.freezes.stop()
        await self.chores.stop()
        self._reads.close()
        self._watch_pool.shutdown(wait=True, cancel_futures=True)
        self.committer.close()
        self._store.close()
        log.info("stopped")

    async def _end_connections(self) -> None:
        """Send what is owed; who does not take it soon is cut off."""
        for connection in tuple(self.dispatcher.connections):
            connection.end()
        until = self.loop.time() + _END_S_MAX
        while self.dispatcher.connections and self.loop.time() < until:
            await asyncio.sleep(0.005)

    async def _drained(self) -> None:
        await self.committer.drained()
        while any(connection.requests_in_flight for connection in self.dispatcher.connections):
            await asyncio.sleep(0.01)

    def fatal(self, error: BaseException) -> None:
        """Something durability rests on has failed: end at once, leave the rest to the next start's recovery."""
        log.critical("fatal: %s", error, exc_info=error)
        logging.shutdown()
        os._exit(EXIT_FATAL)

    # -- status -----------------------------------------------------------------------------------------------------

    def _answer_status(self, request: StatusRequest, answer: Callable[[int, object], None]) -> None:
        def done(position: int, found: dict[str, Any] | Failed) -> None:
            answer(position, found if isinstance(found, Failed) else Status(with_engine(status_of(self), found)))

        self._reads.submit(Read(lambda view: engine_status(view, self, request.namespaces), done, alone=True))


def _log_unexpected(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what went wrong in a callback of the loop, without its arguments, which the loop's own handler would log."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        internal_error(error)
    else:
        log.error("the event loop says: %s", context.get("message"))
