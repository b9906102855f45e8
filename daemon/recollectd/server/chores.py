"""What the daemon does by itself: expiry, refresh of sliding records, pruning, forgetting sessions, checkpoints.

Each chore is a loop of its own on the event loop; what it changes goes the way of every write.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recollectd.config.tree import Config
from recollectd.journal.interface import Journal
from recollectd.memory.commits import SessionsForgotten
from recollectd.memory.kind import Draft, WriteOperation
from recollectd.memory.memories.rebuilding import Rebuild
from recollectd.memory.memories.sweeps import PruneMemories, StripVectors
from recollectd.memory.memories.views import MemoryViews
from recollectd.memory.sequencer import THE_DAEMON
from recollectd.memory.sessions import Sessions
from recollectd.memory.settings.policies import Policies
from recollectd.memory.state.sweeps import Expire, Prune, Refresh, Sweep
from recollectd.protocol import errors
from recollectd.protocol.messages.connection import Done
from recollectd.server.clock import Clock
from recollectd.server.committer import Committer
from recollectd.server.freezes import FreezeWatch
from recollectd.server.lanes import Lane, Ticket
from recollectd.server.writes import WriteRouter
from recollectd.storage.disk import DiskGuard
from recollectd.storage.engine import Engine
from recollectd.storage.engine_errors import EngineFull, EngineStalled
from recollectd.storage.keyspace import PUT, SESSIONS_KEY, Family, pack_number

log = logging.getLogger("recollectd.chores")

_CHORE_DEADLINE_S = 60.0
_PRUNE_INTERVAL_S = 1.0
# After a refusal, or what was left by a daemon that ended; else it is asked for.
_REBUILD_INTERVAL_S = 1.0
_FORGET_INTERVAL_S = 30.0
_FORGET_MAX = 1_000
_CHECK_INTERVAL_S = 0.25
_DISK_INTERVAL_S = 5.0
_REFRESH_MAX = 4_096
_COLLECT_INTERVAL_S = 30.0
_COLLECT_PUT_OFF_MAX = 20
# Sliding records read between two refreshes; those beyond are refreshed when they are read again.
_TOUCHED_MAX = 1_000_000


class Forget(Sweep):
    """Forgets sessions without a write for longer than the retention, unless a connection still uses them."""

    __slots__ = ("_session_ids",)

    def __init__(self, session_ids: list[bytes]) -> None:
        super().__init__()
        self._session_ids = tuple(session_ids)

    @property
    def prepares(self) -> bool:
        """The sessions are given."""
        return False

    @property
    def idle(self) -> bool:
        """Whether there are none."""
        return not self._session_ids

    def write(self, draft: Draft) -> Done:
        """Say so in the journal: sessions are a function of it."""
        draft.emit(SessionsForgotten(b"", self._session_ids))
        return Done()


class Chores:
    """Runs the chores between `start` and `stop`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        *,
        engine: Engine,
        journal: Journal,
        sessions: Sessions,
        policies: Policies,
        writes: WriteRouter,
        committer: Committer,
        clock: Clock,
        disk: DiskGuard,
        memories: MemoryViews,
        freezes: FreezeWatch,
        sessions_in_use: Callable[[], set[bytes]],
        fatal: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._config = config
        self._engine = engine
        self._journal = journal
        self._sessions = sessions
        self._policies = policies
        self._writes = writes
        self._committer = committer
        self._clock = clock
        self._disk = disk
        self._memories = memories
        self._freezes = freezes
        self._sessions_in_use = sessions_in_use
        self._fatal = fatal
        self._touched: dict[bytes, None] = {}
        self._refresh_now = asyncio.Event()
        self._rebuild_now = asyncio.Event()
        memories.on_outdated = self._rebuild_now.set
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._tasks: list[asyncio.Task[None]] = []
        self._journal_bytes_noted = journal.statistics().written_bytes
        self.durable_seq = engine.applied_seq
        self.checkpoints = 0

    def start(self) -> None:
        """Begin."""
        chores: tuple[Coroutine[Any, Any, None], ...] = (
            self._expire(),
            self._refresh(),
            self._prune(),
            self._rebuild(),
            self._forget(),
            self._checkpoint_when_due(),
            self._maintain_disk(),
            self._collect_garbage(),
        )
        self._tasks = [self._loop.create_task(self._guarded(chore)) for chore in chores]

    async def stop(self) -> None:
        """End all chores, make a last checkpoint so that the next start has nothing to replay."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self.checkpoint()
        except (EngineFull, EngineStalled) as error:
            log.warning("no last checkpoint: %s; the next start replays the journal", error)
        self._pool.shutdown()

    def touched(self, touches: list[tuple[bytes, int]]) -> None:
        """Sliding records (key, expires_at) were read; one that would not live until the next refresh brings it on."""
        soon = self._clock.now() + 2_000 * self._config.server.touch_interval_ms
        for key, expires_at in touches:
            if len(self._touched) < _TOUCHED_MAX:
                self._touched[key] = None
            if expires_at < soon:
                self._refresh_now.set()

    async def _guarded(self, chore: Coroutine[Any, Any, None]) -> None:
        try:
            await chore
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fatal(error)

    async def _run(self, operation: WriteOperation[Any]) -> bool:
        """Carry out a write of the daemon's own and wait until it is applied; False when there was nothing to do."""
        done: asyncio.Future[bool] = self._loop.create_future()

        def answer(seq: int, reply: bytes | errors.RecollectdError) -> None:
            if not done.done():
                done.set_result(bool(seq))

        deadline = self._loop.time() + _CHORE_DEADLINE_S
        self._writes.submit(Ticket(Lane(), operation, THE_DAEMON, answer, deadline=deadline, size_bytes=0))
        return await done

    async def _expire(self) -> None:
        interval_s = self._config.server.sweep_interval_ms / 1_000
        sweep = Expire()
        while True:
            await asyncio.sleep(interval_s)
            while not self._clock.stepped and await self._run(sweep):
                pass

    async def _refresh(self) -> None:
        interval_s = self._config.server.touch_interval_ms / 1_000
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._refresh_now.wait(), interval_s)
            self._refresh_now.clear()
            while self._touched:
                keys = [self._touched.popitem()[0] for _ in range(min(len(self._touched), _REFRESH_MAX))]
                if not await self._run(Refresh(keys)):
                    self._touched.update(dict.fromkeys(keys))  # no room for it now: with the next ones
                    break

    async def _prune(self) -> None:
        sweeps = (Prune(self._policies), PruneMemories(self._policies))
        while True:
            await asyncio.sleep(_PRUNE_INTERVAL_S)
            for sweep in sweeps:
                await self._run(sweep)
            while await self._run(StripVectors()):
                pass

    async def _rebuild(self) -> None:
        """Index anew what a change of settings has made out of date: at once, for searches wait for it."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._rebuild_now.wait(), _REBUILD_INTERVAL_S)
            self._rebuild_now.clear()
            while await self._run(Rebuild(self._memories)):
                pass

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(_FORGET_INTERVAL_S)
            since = self._clock.now() - self._config.server.session_retention_s * 1_000_000
            in_use = self._sessions_in_use()
            idle = self._sessions.idle_since(since, _FORGET_MAX + len(in_use))
            forgotten = [session_id for session_id in idle if session_id not in in_use]
            if forgotten:
                await self._run(Forget(forgotten))

    async def _checkpoint_when_due(self) -> None:
        """Bound what a restart has to replay, by commits, bytes and time."""
        options = self._config.records
        last = self._loop.time()
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_S)
            commits = self._engine.applied_seq - self.durable_seq
            size = self._journal.statistics().written_bytes - self._journal_bytes_noted
            late = self._loop.time() - last > options.checkpoint_interval_s
            if commits and (late or commits > options.checkpoint_commits_max or size > options.checkpoint_bytes_max):
                try:
                    await self.checkpoint()
                except (EngineFull, EngineStalled) as error:
                    log.warning("the checkpoint waits: %s", error)
                last = self._loop.time()

    async def _maintain_disk(self) -> None:
        while True:
            await asyncio.sleep(_DISK_INTERVAL_S)
            await self._loop.run_in_executor(self._pool, self._disk.maintain)

    async def _collect_garbage(self) -> None:
        """Find cycles among what has lived for long: that walks everything, so preferably when nobody works."""
        put_off = commits = collected = 0
        while True:
            await asyncio.sleep(_COLLECT_INTERVAL_S)
            before, commits = commits, self._committer.commits
            if commits == collected:
                continue  # nothing has come since
            if commits == before or put_off == _COLLECT_PUT_OFF_MAX:
                gc.collect()
                collected, put_off = commits, 0
            else:
                put_off += 1

    async def checkpoint(self) -> None:
        """Make everything applied durable in the records, then trim the journal behind it."""
        self._journal_bytes_noted = self._journal.statistics().written_bytes
        seq = self._engine.applied_seq
        with self._freezes.step("checkpoint of sessions"):
            rows = self._sessions.checkpoint()
        trimmed = self._memories.trim()
        try:
            with self._freezes.step("checkpoint of sessions"):
                self._engine.write([*rows, *trimmed, (PUT, Family.META, SESSIONS_KEY, pack_number(seq))], seq)
        except (EngineFull, EngineStalled):
            self._sessions.mark_dirty(rows)
            raise
        self.durable_seq = await self._loop.run_in_executor(self._pool, self._flush_and_trim, seq)
        self.checkpoints += 1

    def _flush_and_trim(self, sessions_seq: int) -> int:
        """On a worker thread. The journal is needed from where the older of the two views stands."""
        durable_seq = self._engine.flush()
        self._memories.checkpoint()
        freed = self._journal.trim(min(durable_seq, sessions_seq))
        log.info("checkpoint at commit %d, %d bytes of journal trimmed", durable_seq, freed)
        return durable_seq
