"""Reads run on worker threads, many together: their fetches of one family become one list get, which lets other threads
run while it waits for the disk. Nothing that may touch the disk runs on the event loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Generator, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Generic, NamedTuple, TypeVar

from recollectd.memory.kind import Fetch, Fill, ReadOperation, Rows
from recollectd.memory.memories.views import MemoryViews
from recollectd.memory.refusals import error_reply
from recollectd.protocol import errors, table
from recollectd.storage.engine import Engine
from recollectd.storage.keyspace import Family

log = logging.getLogger("recollectd.reads")

_TOGETHER_MAX = 64
# Of reads that join, so many are one job at most; while a job of them runs, another begins when so many wait.
_JOINED_MAX: Final = 32
_JOINED_MIN: Final = 8

T = TypeVar("T")


class JobView:
    """What one job's reads see: see `recollectd.memory.kind.View`."""

    __slots__ = ("_engine", "fills", "memories", "position", "settled", "store_id", "time", "touches")

    def __init__(
        self,
        engine: Engine,
        store_id: bytes,
        time: int,
        position: int,
        settled: int,
        memories: MemoryViews | None = None,
    ) -> None:
        self._engine = engine
        self.memories = memories
        self.store_id = store_id
        self.time = time
        self.position = position
        self.settled = settled
        self.touches: list[tuple[bytes, int]] = []
        self.fills: list[Fill] = []

    def touched(self, key: bytes, expires_at: int) -> None:
        """Note that a sliding record was read."""
        self.touches.append((key, expires_at))

    def found(self, fill: Fill) -> None:
        """Note what the value cache may take up."""
        self.fills.append(fill)

    def walk(
        self, family: Family, start: bytes, stop: bytes, *, reverse: bool = False, keys_max: int
    ) -> list[tuple[bytes, bytes]]:
        """Return one bounded step of rows in [start, stop)."""
        return self._engine.walk(family, start, stop, reverse=reverse, keys_max=keys_max)


class Failed(NamedTuple):
    """How a read ended that did not give a result."""

    error: errors.RecollectdError


class Read(NamedTuple, Generic[T]):
    """One read on its way. begin: makes the generator; done: told the position and the result, on the loop.

    alone: it walks, so it is not run together with others that would wait for it. joins: the operation, if others of
    its type may be answered with it (`ReadOperation.read_together`).
    """

    begin: Callable[[JobView], Generator[Fetch, Rows, T]]
    done: Callable[[int, T | Failed], None]
    alone: bool = False
    joins: ReadOperation[Any] | None = None


def internal_error(error: BaseException) -> errors.InternalError:
    """Log a defect of ours with an id, return the error that carries the id."""
    error_id = secrets.token_hex(6)
    log.error("internal error %s", error_id, exc_info=error)
    return errors.InternalError(f"internal error: {type(error).__name__}", error_id=error_id)


def reply_bytes(result: object) -> bytes:
    """Return a reply, or the error a read failed with, as bytes; a reply that is bytes stays."""
    if isinstance(result, bytes):
        return result
    return table.encode(error_reply(result.error) if isinstance(result, Failed) else result)


class ReadExecutor:
    """Runs reads. `position` of a result: everything up to that commit was visible to it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        *,
        threads: int,
        store_id: bytes,
        now: Callable[[], int],
        settled: Callable[[], int],
        touched: Callable[[list[tuple[bytes, int]]], None],
        fill: Callable[[int, list[Fill]], None],
        memories: MemoryViews | None = None,
    ) -> None:
        self._loop = loop
        self._engine = engine
        self._store_id = store_id
        self._now = now
        self._settled = settled
        self._touched = touched
        self._fill = fill
        self._memories = memories
        self._workers = Workers(threads, "read")
        self._threads = threads
        self._queued: list[Read[Any]] = []
        self._arrived: list[Read[Any]] = []  # in this turn of the loop, to join
        self._joining: list[Read[Any]] = []
        self._joined_lock = threading.Lock()
        self._joined_jobs = 0
        self._joined_view: JobView | None = None
        self._scheduled = False
        self.jobs = 0
        self.reads = 0

    def submit(self, read: Read[Any]) -> None:
        """Queue a read; it starts at the end of this turn of the loop, one that joins perhaps a moment later."""
        if read.joins is None:
            self._queued.append(read)
        else:
            self._arrived.append(read)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._scheduled = False
        queued, self._queued = self._queued, []
        self.reads += len(queued)
        together = [read for read in queued if not read.alone]
        for read in queued:
            if read.alone:
                self._start([read])
        for start in range(0, len(together), _TOGETHER_MAX):
            self._start(together[start : start + _TOGETHER_MAX])
        if self._arrived:
            self._start_joined()

    def _start(self, reads: list[Read[Any]]) -> None:
        self.jobs += 1
        view = self._view()
        self._workers.submit(partial(self._run, reads, view))

    def _view(self) -> JobView:
        return JobView(
            self._engine, self._store_id, self._now(), self._engine.applied_seq, self._settled(), self._memories
        )

    def _start_joined(self) -> None:
        """See that reads that join are answered: by who answers others right now, unless they are many."""
        arrived, self._arrived = self._arrived, []
        with self._joined_lock:
            # Together: none is answered as of a time, or a position, before it arrived.
            self._joining += arrived
            self._joined_view = self._view()
            if self._joined_jobs and (self._joined_jobs >= self._threads or len(self._joining) < _JOINED_MIN):
                return
            self._joined_jobs += 1
        self._workers.submit(self._run_joined)

    def _run_joined(self) -> None:
        """On a worker thread: answer what waits, and what comes meanwhile."""
        while True:
            with self._joined_lock:
                reads, self._joining = self._joining[:_JOINED_MAX], self._joining[_JOINED_MAX:]
                view = self._joined_view
                if not reads or view is None:
                    self._joined_jobs -= 1
                    return
            self._loop.call_soon_threadsafe(self._deliver_joined, reads, _read_together(reads, view), view)

    def _deliver_joined(self, reads: list[Read[Any]], results: list[bytes | Failed | None], view: JobView) -> None:
        self.jobs += 1
        self.reads += len(reads)
        for read, result in zip(reads, results, strict=True):
            if result is None:
                self._start([read])
            else:
                _tell(read, view.position, result)

    def _run(self, reads: list[Read[Any]], view: JobView) -> None:
        """On a worker thread."""
        try:
            results = run_together([read.begin for read in reads], view, self._engine.get_many)
        except BaseException as error:  # whoever waits must hear of it
            results = [Failed(internal_error(error))] * len(reads)
        self._loop.call_soon_threadsafe(self._deliver, reads, results, view)

    def _deliver(self, reads: list[Read[Any]], results: list[Any], view: JobView) -> None:
        if view.touches:
            self._touched(view.touches)
        if view.fills:
            self._fill(view.position, view.fills)
        for read, result in zip(reads, results, strict=True):
            _tell(read, view.position, result)

    def close(self) -> None:
        """Wait for what runs; what waits is dropped."""
        self._workers.close()


def _tell(read: Read[Any], position: int, result: object) -> None:
    try:
        read.done(position, result)
    except Exception as error:  # such as what cannot be encoded: whoever waits must hear of it
        read.done(position, Failed(internal_error(error)))


def _read_together(reads: list[Read[Any]], view: JobView) -> list[bytes | Failed | None]:
    operations = [read.joins for read in reads]
    try:
        kind = type(operations[0])
        assert all(type(operation) is kind for operation in operations), "reads of one type join"
        return [*kind.read_together(operations, view)]  # type: ignore[union-attr]
    except errors.RecollectdError as error:
        return [Failed(error)] * len(reads)
    except BaseException as error:
        internal_error(error)  # one of them has led into a defect of ours: alone, it harms no other
        return [None] * len(reads)


class Workers:
    """Threads that carry out jobs, which raise nothing. Leaner than an executor: nobody asks a job for its result."""

    def __init__(self, count: int, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job."""
        self._jobs.put(job)

    def _work(self) -> None:
        take = self._jobs.get
        while (job := take()) is not None:
            if not self._closing:
                job()

    def close(self) -> None:
        """Wait for what runs; what waits is dropped."""
        self._closing = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()


def run_together(
    begins: Sequence[Callable[[JobView], Generator[Fetch, Rows, Any]]],
    view: JobView,
    get_many: Callable[[Family, Sequence[bytes]], list[bytes | None]],
) -> list[Any]:
    """Run reads in step: in each round all their fetches of one family are one list get. Return results in order."""
    results: list[Any] = [None] * len(begins)
    running: list[tuple[int, Generator[Fetch, Rows, Any], Rows | None]] = []
    for index, begin in enumerate(begins):
        running.append((index, begin(view), None))
    while running:
        fetches: list[tuple[int, Generator[Fetch, Rows, Any], Fetch]] = []
        for index, reading, rows in running:
            try:
                fetches.append((index, reading, next(reading) if rows is None else reading.send(rows)))
            except StopIteration as stop:
                results[index] = stop.value
            except errors.RecollectdError as error:
                results[index] = Failed(error)
            except Exception as error:
                results[index] = Failed(internal_error(error))
        running = _fetch(fetches, get_many, results)
    return results


def _fetch(
    fetches: list[tuple[int, Generator[Fetch, Rows, Any], Fetch]],
    get_many: Callable[[Family, Sequence[bytes]], list[bytes | None]],
    results: list[Any],
) -> list[tuple[int, Generator[Fetch, Rows, Any], Rows | None]]:
    """Answer one round of fetches, a list get per family."""
    running: list[tuple[int, Generator[Fetch, Rows, Any], Rows | None]] = []
    for family in {fetch.family for _, _, fetch in fetches}:
        asked = [each for each in fetches if each[2].family == family]
        keys = [key for _, _, fetch in asked for key in fetch.keys]
        try:
            rows = get_many(family, keys) if keys else []
        except Exception as error:
            failed = Failed(internal_error(error))
            for index, reading, _ in asked:
                reading.close()
                results[index] = failed
            continue
        at = 0
        for index, reading, fetch in asked:
            running.append((index, reading, rows[at : at + len(fetch.keys)]))
            at += len(fetch.keys)
    return running
