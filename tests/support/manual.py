"""What a daemon waits for, in a test's hands: the event loop's time, worker threads, the journal's disk, RocksDB.

Nothing happens by itself and nothing in another thread, so that every order of events can be had, every time.
"""

from __future__ import annotations

import asyncio
import heapq
import os
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Final, NamedTuple, TypeVar

from recollectd.journal.interface import (
    Batch,
    JournalFailed,
    JournalFull,
    JournalStatistics,
    JournalTrimmed,
    Progress,
)
from recollectd.storage.engine_errors import EngineError
from recollectd.storage.keyspace import APPLIED_KEY, DELETE, PUT, Family, Write, pack_number

T = TypeVar("T")

STORE_ID: Final = bytes(range(16))
_TURNS_MAX: Final = 100_000


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes when the test says so, and that runs until there is nothing left to do."""

    def __init__(self) -> None:
        self._now_s = 1_000.0
        self._activity = 0
        self._due: list[float] = []
        self.held: list[tuple[Callable[..., object], tuple[Any, ...]]] | None = None
        self.failures: list[dict[str, Any]] = []
        super().__init__()
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    def time(self) -> float:
        return self._now_s

    def call_soon(  # type: ignore[override]  # the parameters' types are those of any callback
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        self._activity += 1
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """Deliver what a worker found; while `held` is a list, it is kept there instead."""
        if self.held is not None:
            self.held.append((callback, args))
            return asyncio.Handle(callback, args, self, context)
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        heapq.heappush(self._due, when)
        return super().call_at(when, callback, *args, context=context)

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        def counted() -> None:
            self._activity += 1
            callback(*args)

        super().add_reader(fd, counted)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run in the pool given, without one at once."""
        return super().run_in_executor(ManualPool() if executor is None else executor, func, *args)

    def settle(self) -> None:
        """Run until nothing is left to do at this moment."""
        quiet = turns = 0
        while quiet < 2:
            before = self._activity
            self.stop()
            self.run_forever()
            quiet = quiet + 1 if self._activity == before else 0
            turns += 1
            assert turns < _TURNS_MAX, "the loop does not come to rest"

    def advance(self, seconds: float) -> None:
        """Let time pass; every timer runs at its time."""
        until = self._now_s + seconds
        self.settle()
        while self._due and self._due[0] <= until:
            self._now_s = max(self._now_s, heapq.heappop(self._due))
            self.settle()
        self._now_s = until
        self.settle()

    def release(self, index: int = 0) -> None:
        """Deliver one of the things held."""
        assert self.held is not None
        callback, args = self.held.pop(index)
        self.call_soon(callback, *args)
        self.settle()


class Job(NamedTuple):
    """Something given to a worker thread."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: Future[Any]


class ManualPool(Executor):
    """A thread pool without threads: what is submitted runs at once, or while `held` when the test says so."""

    def __init__(self, *_: object, **__: object) -> None:
        self.held = False
        self.jobs: list[Job] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        assert not kwargs
        job = Job(fn, args, Future())
        self.jobs.append(job)
        if not self.held:
            self.run()
        return job.future

    def run(self, index: int = 0) -> None:
        """Run one of the jobs that wait."""
        job = self.jobs.pop(index)
        try:
            job.future.set_result(job.function(*job.arguments))
        except BaseException as error:
            job.future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.jobs.clear()

    close = shutdown  # as the threads that read are ended


class ManualJournal:
    """A journal in memory. While `held`, batches wait in the file's queue until `write` and `sync` are called."""

    store_id = STORE_ID
    epoch = 1

    def __init__(self) -> None:
        self.held = False
        self.full = False
        self.failure: JournalFailed | None = None
        self.batches: list[Batch] = []
        self.first_seq = 1
        self.last_seq = 0
        self.last_time = 0
        self.written_seq = 0
        self.synced_seq = 0
        self.seals = 0
        self.appends_refused = 0
        self.reading: Exception | None = None
        self._event = os.eventfd(0, os.EFD_NONBLOCK)
        self._tells_written = False

    def append(self, entries: Sequence[bytes], time: int, *, tell_written: bool = True) -> int:
        if self.full:
            self.appends_refused += 1
            raise JournalFull("the test's disk is full")
        assert entries
        assert time >= self.last_time
        assert self.synced_seq == self.last_seq, "one unsynced batch at a time"
        self.batches.append(Batch(self.epoch, self.last_seq + 1, time, self.synced_seq, tuple(entries)))
        self.last_seq += len(entries)
        self.last_time = time
        self._tells_written = tell_written
        if not self.held:
            self.sync()
        return self.last_seq

    def write(self) -> None:
        """Everything appended is in the file now."""
        self.written_seq = self.last_seq
        if self._tells_written:
            os.eventfd_write(self._event, 1)

    def sync(self) -> None:
        """Everything appended is on the disk now."""
        self.written_seq = self.synced_seq = self.last_seq
        os.eventfd_write(self._event, 1)

    def fail(self) -> None:
        """The sync under way fails."""
        self.failure = JournalFailed(5, "sync")
        os.eventfd_write(self._event, 1)

    def seal(self) -> None:
        if self.full:
            raise JournalFull("the test's disk is full")
        self.seals += 1

    def fileno(self) -> int:
        return self._event

    def progress(self) -> Progress:
        os.eventfd_read(self._event)
        if self.failure is not None:
            raise self.failure
        return Progress(self.written_seq, self.synced_seq)

    def read(self, from_seq: int) -> Iterator[Batch]:
        if self.reading is not None:
            raise self.reading
        if from_seq < self.first_seq:
            raise JournalTrimmed(from_seq, self.first_seq)
        synced = [batch for batch in self.batches if batch.last_seq <= self.synced_seq]
        return iter([batch for batch in synced if batch.last_seq >= from_seq])

    def trim(self, to_seq: int) -> int:
        kept = [batch for batch in self.batches if batch.last_seq > to_seq]
        freed = len(self.batches) - len(kept)
        self.batches = kept
        self.first_seq = kept[0].first_seq if kept else self.last_seq + 1
        return freed

    def statistics(self) -> JournalStatistics:
        size = sum(len(entry) for batch in self.batches for entry in batch.entries)
        count = len(self.batches)
        ends = (self.first_seq, self.last_seq, self.synced_seq, self.epoch)
        return JournalStatistics(1, size, 0, "", *ends, count, self.last_seq, 0, 0, size, count, 1, count, (count,))

    def close(self) -> None:
        os.close(self._event)


class ManualEngine:
    """RocksDB in dictionaries. `refusals` are raised, one each, by the writes to come."""

    def __init__(self) -> None:
        self.families: dict[Family, dict[bytes, bytes]] = {family: {} for family in Family}
        self.refusals: list[EngineError] = []
        self.attempts = 0
        self.applied_seq = 0
        self.reading: Exception | None = None
        self._order: dict[Family, list[bytes]] = {family: [] for family in Family}

    def get_many(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        if self.reading is not None:
            raise self.reading
        return [self.families[family].get(key) for key in keys]

    def walk(
        self, family: Family, start: bytes, stop: bytes, *, reverse: bool = False, keys_max: int
    ) -> list[tuple[bytes, bytes]]:
        order = self._order[family]
        keys = order[bisect_left(order, start) : bisect_left(order, stop)]
        if reverse:
            keys.reverse()
        return [(key, self.families[family][key]) for key in keys[:keys_max]]

    def write(self, writes: Sequence[Write], applied_seq: int) -> None:
        self.attempts += 1
        if self.refusals:
            raise self.refusals.pop(0)
        assert applied_seq >= self.applied_seq
        for kind, family, key, value in writes:
            rows, order = self.families[family], self._order[family]
            if kind == PUT:
                if key not in rows:
                    insort(order, key)
                rows[key] = value
                continue
            stop = key + b"\0" if kind == DELETE else value
            for gone in order[bisect_left(order, key) : bisect_left(order, stop)]:
                order.remove(gone)
                del rows[gone]
        self.applied_seq = applied_seq
        self.families[Family.META][APPLIED_KEY] = pack_number(applied_seq)

    def flush(self) -> int:
        return self.applied_seq

    def statistics(self) -> dict[str, int | float]:
        return {"applied_seq": self.applied_seq}

    def close(self) -> None:
        """There is nothing to close."""
