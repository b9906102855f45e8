"""Group commit: sequenced writes go to the journal in batches, become durable, are applied, and then answered.

Whatever was sequenced while the last batch was being synced is the next batch (linger 0). One batch is unsynced at a
time. The order is the promise: durable, then applied, then the reply. An asynchronous write alone is answered earlier,
when its batch is in the journal's file.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from recollectd.config.tree import Config
from recollectd.journal.interface import Journal, JournalFull
from recollectd.memory.sequencer import Sequenced, Sequencer
from recollectd.memory.sessions import Sessions
from recollectd.protocol import errors
from recollectd.server.freezes import FreezeWatch
from recollectd.server.lanes import Ticket
from recollectd.server.pending import Pending, PendingTicket
from recollectd.storage.disk import DiskGuard
from recollectd.storage.engine import Engine
from recollectd.storage.engine_errors import EngineFull, EngineStalled
from recollectd.storage.keyspace import Write

if TYPE_CHECKING:
    from recollectd._native.hot_writes import HotWrites

log = logging.getLogger("recollectd.commit")

_TakeRows = Callable[[deque[Pending], list[Pending], list[Write], int], int]

# A batch that begins with a small write does not grow beyond this, so that it is not delayed by large ones
# (LevelDB, DBImpl::BuildBatchGroup).
_SMALL_BYTES = 128 * 1024
_SMALL_GROUP_BYTES_MAX = 1024 * 1024

# 1,000 rows hold the interpreter for some 1.5 ms.
_STEP_WRITES = 1_000

_STALL_DELAY_S_MIN = 0.001
_STALL_DELAY_S_MAX = 0.1
_FULL_DELAY_S = 0.05


class _Step(NamedTuple):
    """Rows on their way into RocksDB, and the commits they belong to."""

    items: list[Pending]
    writes: list[Write]


class Committer:
    """Takes sequenced writes to their end. Lives on the event loop; the disk is waited for elsewhere."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        *,
        sequencer: Sequencer,
        journal: Journal,
        engine: Engine,
        sessions: Sessions,
        disk: DiskGuard,
        freezes: FreezeWatch,
        fatal: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._sequencer = sequencer
        self._journal = journal
        self._engine = engine
        self._sessions = sessions
        self._disk = disk
        self._freezes = freezes
        self._fatal = fatal
        self._batch_commits_max = config.server.batch_commits_max
        self._batch_bytes_max = config.server.batch_bytes_max
        self._seal_idle_s = config.journal.seal_idle_ms / 1_000
        self.ready: deque[Pending] = deque()
        self._written: list[Pending] = []  # one batch: in the journal's file or on its way there, not durable yet
        self._to_apply: deque[Pending] = deque()
        self._asynchronous_seq = 0  # of the last write that is answered when it is in the file
        self.hot: HotWrites | None = None  # who puts into `ready`, too
        self.take_rows: _TakeRows | None = None  # takes what came the short way off `_to_apply`
        self._step: _Step | None = None
        self._stall_delay_s = _STALL_DELAY_S_MIN
        self._stall_timer: asyncio.TimerHandle | None = None
        self._flush_scheduled = False
        self._seal_timer: asyncio.TimerHandle | None = None
        self._sealed_seq = journal.last_seq
        self._when_applied: list[tuple[int, int, Callable[[], None]]] = []  # a heap by seq, then order of asking
        self._asked = itertools.count()
        self._idle_waiters: list[asyncio.Future[None]] = []
        self.applied_time = journal.last_time  # of the last commit applied
        self._taken_bytes = 0
        self._applied_bytes = 0  # refused ones, too
        self.commits = 0
        self.stalls = 0
        self.on_applied: list[Callable[[int, list[Pending]], None]] = []
        loop.add_reader(journal.fileno(), self._on_progress)

    @property
    def applied_seq(self) -> int:
        """Everything up to this commit is visible."""
        return self._engine.applied_seq

    @property
    def last_seq(self) -> int:
        """The last commit sequenced."""
        return self._sequencer.last_seq

    def add(self, ticket: Ticket, sequenced: Sequenced) -> None:
        """Take a sequenced write; it will be answered."""
        self._taken_bytes += len(sequenced.payload)
        if ticket.asynchronous:
            self._asynchronous_seq = sequenced.seq
        self.ready.append(PendingTicket(ticket, sequenced, self._sequencer, self._sessions))
        self.wake()

    @property
    def unapplied_bytes(self) -> int:
        """Of the commits that are not applied yet."""
        hot_bytes = self.hot.taken_bytes if self.hot is not None else 0
        return self._taken_bytes + hot_bytes - self._applied_bytes

    def wake(self) -> None:
        """Something is ready, or will be by the end of this turn of the loop."""
        if not self._flush_scheduled and not self._written:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def when_applied(self, seq: int, callback: Callable[[], None]) -> None:
        """Call back when the commit is applied; at once when it is. Also when it was taken back: ask again then."""
        if seq <= self.applied_seq:
            callback()
        else:
            heapq.heappush(self._when_applied, (seq, next(self._asked), callback))

    def _call_back(self, seq: int) -> None:
        waiting = self._when_applied
        while waiting and waiting[0][0] <= seq:
            heapq.heappop(waiting)[2]()

    def _flush(self) -> None:
        """Give the journal its next batch, if it has none."""
        self._flush_scheduled = False
        if self._written or not self.ready:
            return
        size, count, size_max = 0, 0, self._batch_bytes_max
        for item in self.ready:
            length = len(item.payload)
            if count == 0 and length <= _SMALL_BYTES:
                size_max = min(size_max, _SMALL_GROUP_BYTES_MAX)
            if count and (size + length > size_max or count == self._batch_commits_max):
                break
            size, count = size + length, count + 1
        items = [self.ready.popleft() for _ in range(count)]
        try:
            with self._freezes.step("handing a batch to the journal"):
                last_seq = self._journal.append(
                    [item.payload for item in items],
                    items[-1].time,
                    tell_written=self._asynchronous_seq >= items[0].seq,
                )
        except JournalFull:
            self.ready.extendleft(reversed(items))
            self._no_room()
            return
        except BaseException as error:
            self._fatal(error)
            return
        assert last_seq == items[-1].seq, (last_seq, items[-1].seq)
        self._written = items

    def _no_room(self) -> None:
        """The journal cannot take a batch. Once nothing else is under way, take back what waits for it and say so."""
        if self._to_apply or self._step:
            self._flush_scheduled = True
            self._loop.call_later(_FULL_DELAY_S, self._flush)
            return
        log.error("no room for the journal; %d writes are refused", len(self.ready))
        refused = tuple(self.ready)
        self.ready.clear()
        self._sequencer.roll_back(self._journal.last_seq)
        for item in refused:
            self._applied_bytes += len(item.payload)
            item.refuse(errors.DiskFull("the journal has no room on its disk", retry_after_ms=1_000))
        if refused:
            self._call_back(refused[-1].seq)
        self._send()
        self._note_idle()

    def _on_progress(self) -> None:
        """The journal's writer got on: answer what need not wait, apply what is durable."""
        try:
            progress = self._journal.progress()
        except BaseException as error:
            self._fatal(error)
            return
        written = self._written
        if written and written[-1].seq <= progress.synced_seq:
            self._written = []
            self._to_apply.extend(written)
        elif written and written[-1].seq <= progress.written_seq:
            for item in written:
                item.written()
        if not self._written:
            self._flush()  # the disk goes on while this batch is applied
        self._apply()

    def _apply(self) -> None:
        """Make durable commits visible and answer them, a step at a time: RocksDB holds the interpreter."""
        if self._step is None:
            if not self._to_apply:
                return
            self._step = self._next_step()
        elif self._stall_timer is not None:
            return
        items, writes = self._step
        try:
            with self._freezes.step("apply"):
                self._engine.write(writes, items[-1].seq)
        except (EngineStalled, EngineFull) as error:
            self.stalls += 1
            if isinstance(error, EngineFull):
                log.error("apply waits for room: %s", error)
                self._loop.run_in_executor(None, self._disk.release_ballast)  # what RocksDB needs to go on
            self._stall_timer = self._loop.call_later(self._stall_delay_s, self._apply_again)
            self._stall_delay_s = min(self._stall_delay_s * 2, _STALL_DELAY_S_MAX)
            return
        except BaseException as error:
            self._fatal(error)
            return
        self._step = None
        self._stall_delay_s = _STALL_DELAY_S_MIN
        with self._freezes.step("answering"):
            self._finish(items)
        if self._to_apply:
            self._loop.call_soon(self._apply)

    def _next_step(self) -> _Step:
        """Take the next durable commits, about as many as make _STEP_WRITES rows."""
        items: list[Pending] = []
        writes: list[Write] = []
        while self._to_apply and len(writes) < _STEP_WRITES:
            if self.take_rows is not None and self.take_rows(self._to_apply, items, writes, _STEP_WRITES):
                continue
            item = self._to_apply.popleft()
            items.append(item)
            item.add_rows(writes)
        return _Step(items, writes)

    def _apply_again(self) -> None:
        self._stall_timer = None
        self._apply()

    def _finish(self, items: list[Pending]) -> None:
        """Commits are applied: bring the views in memory along, then reply."""
        self.commits += len(items)
        self.applied_time = items[-1].time
        for item in items:
            item.applied()
        self._applied_bytes += sum([len(item.payload) for item in items])
        for listener in self.on_applied:
            listener(items[-1].seq, items)
        for item in items:
            item.finish()
        self._call_back(items[-1].seq)
        self._send()
        self._note_idle()

    def _send(self) -> None:
        if self.hot is not None:
            self.hot.flush()

    def _note_idle(self) -> None:
        """Tell who waits for it when everything is done."""
        if self.idle:
            for waiter in self._idle_waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle_waiters.clear()
            self._schedule_seal()

    @property
    def idle(self) -> bool:
        """Whether every write taken is applied and answered."""
        return not (self.ready or self._written or self._to_apply or self._step)

    async def drained(self) -> None:
        """Wait until every write taken is applied and answered."""
        if not self.idle:
            waiter = self._loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def _schedule_seal(self) -> None:
        """When nothing comes for a while, seal: a flipped bit in acknowledged data is then told from a torn tail."""
        if self._seal_timer is None:
            self._seal_timer = self._loop.call_later(self._seal_idle_s, self._seal)

    def _seal(self) -> None:
        self._seal_timer = None
        if not self.idle or self._journal.last_seq == self._sealed_seq:
            return
        try:
            self._journal.seal()
        except JournalFull:
            return  # the next write is refused with the same reason; nothing is lost without a seal
        except BaseException as error:
            self._fatal(error)
            return
        self._sealed_seq = self._journal.last_seq

    def close(self) -> None:
        """Stop listening to the journal."""
        if self._seal_timer is not None:
            self._seal_timer.cancel()
        self._loop.remove_reader(self._journal.fileno())
