"""RocksDB behind few methods: batches in, list gets and short walks out, everything up to a number made durable.

RocksDB's own log is off: the journal is the log. What is written lives in memtables until a flush, and every flush is
atomic over all families, so that after any crash the store is one prefix of what was written: the batch whose number
the META row `applied` holds, with all before it and nothing after it.

Threads: `write` belongs to one thread. Everything else may be called by any thread at any time; `close` waits for
those inside. `get_many`, `flush`, `compact` and `close` let other threads run meanwhile; `open`, `write`, `walk` and
`checkpoint` hold the interpreter for as long as they take.

Never fork while an engine is open: the child would share its files.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from rocksdict import Checkpoint, CompactOptions, Rdict, RdictIter, ReadOptions, WriteBatch, WriteOptions

from recollectd.storage.engine_errors import (
    EngineClosed,
    EngineCorrupt,
    EngineError,
    EngineFailed,
    EngineFull,
    EngineStalled,
    engine_error,
)
from recollectd.storage.engine_options import EngineOptions, RocksOptions, rocks_options
from recollectd.storage.engine_statistics import engine_statistics, unflushed_entries
from recollectd.storage.keyspace import APPLIED_KEY, DELETE, FAMILY_NAMES, Family, Write, pack_number, unpack_number

FLUSH_ATTEMPTS: Final = 3


class _Gate:
    """Counts who is inside RocksDB: rocksdict refuses to close while another thread is, and so must we."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._shut = False

    def __enter__(self) -> None:
        with self._changed:
            if self._shut:
                raise EngineClosed("the engine is closed")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            if self._shut and not self._inside:
                self._changed.notify_all()

    def shut(self) -> bool:
        """Let nobody in any more and wait until everybody is out; False when it was shut already."""
        with self._changed:
            already, self._shut = self._shut, True
            self._changed.wait_for(lambda: not self._inside)
            return not already


class Engine:
    """The families of one store. Made by `open`.

    An engine that is not closed, or fails to close, stays open until the process ends and leaves the store as a kill
    would: see `_pin`.
    """

    def __init__(self, database: Rdict, native: RocksOptions) -> None:
        self._gate = _Gate()
        self._flushing = threading.Lock()
        self._database = database
        self._native = native
        self._families = [database, *(database.get_column_family(FAMILY_NAMES[family]) for family in Family if family)]
        self._handles = [database.get_column_family_handle(FAMILY_NAMES[family]) for family in Family]
        self._write_options = WriteOptions()
        self._write_options.disable_wal = True  # type: ignore[assignment,method-assign]  # a property; the stub errs
        # A stalled write would otherwise wait inside RocksDB with the interpreter held: 1.4 s were measured.
        self._write_options.no_slowdown = True
        self._stalls = 0
        self._failed = False
        self._applied_seq = self._read_applied()
        self._pinned: list[object] = [database, self._families, self._handles]
        _pin(self._pinned)

    @staticmethod
    def open(path: Path, options: EngineOptions, *, create: bool = False) -> Engine:
        """Open the store at path; with `create`, make it, where nothing may be yet.

        Raises EngineCorrupt when a file is damaged or missing, EngineFull when opening needs room that is not there,
        EngineFailed for anything else, such as another process holding the store. Holds the interpreter: for start-up.
        """
        if create:
            if path.exists() and any(path.iterdir()):
                raise EngineFailed(f"{path} is not empty: a new store is not made over what is there")
        elif not (path / "CURRENT").is_file():
            raise EngineCorrupt(f"{path} has no CURRENT file: the store is missing or damaged")
        native = rocks_options(options, create=create)
        try:
            database = Rdict(str(path), native.database, native.families)
        except Exception as error:
            failure = engine_error(str(error), opening=True)
        else:
            return Engine(database, native)
        raise failure

    @property
    def applied_seq(self) -> int:
        """Number of the last commit written, durable or not; 0 in a new store."""
        return self._applied_seq

    def get_many(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of keys in their order, None for keys that are not there. Lets other threads run.

        Raises EngineCorrupt when a block that holds one of them is damaged.
        """
        wanted = keys if isinstance(keys, list) else list(keys)
        with self._gate:
            try:
                return cast("list[bytes | None]", self._families[family].get(wanted))
            except Exception as error:
                failure = engine_error(str(error))
        raise failure

    def walk(
        self,
        family: Family,
        start: bytes,
        stop: bytes,
        *,
        reverse: bool = False,
        keys_max: int,
        bytes_max: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """Return the first keys_max rows of start <= key < stop, or with reverse the last, last first.

        bytes_max ends the step after the row that reaches this many bytes of keys and values: then fewer rows than
        keys_max do not mean the end, but none does. Holds the interpreter: 0.5 to 1 us a row, and 0.2 us for every
        deleted row passed over. Who walks on goes on behind the last key and not from the beginning again, which would
        pass over the rows deleted meanwhile once more.

        Raises EngineCorrupt when a block on the way is damaged: a step is never silently short.
        """
        assert keys_max > 0, keys_max
        if start >= stop:
            return []
        # Not set_iterate_lower_bound: in rocksdict 0.3.29 it sets the upper one.
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        with self._gate:
            iterator = None
            try:
                iterator = self._families[family].iter(bounds)
                return _step(iterator, None if reverse else start, start, keys_max, bytes_max)
            except Exception as error:
                failure = engine_error(str(error))
            finally:
                # RocksDB does not close while an iterator lives; neither may a traceback keep it.
                del iterator
        raise failure

    def write(self, writes: Sequence[Write], applied_seq: int) -> None:
        """Write all of writes and applied_seq, or none of it. Visible at once; durable with the next flush.

        Raises EngineStalled or EngineFull when nothing was written and the same call works later; EngineFailed when
        the process must end. Costs 1 to 2 us a write, a seventh of it for the gathering, with the interpreter held.
        """
        assert applied_seq >= self._applied_seq, (applied_seq, self._applied_seq)
        # A batch is used up by an attempt, also a failed one: each attempt gathers its own.
        batch = WriteBatch(raw_mode=True)
        put, handles = batch.put, self._handles
        for kind, family, key, value in writes:
            if not kind:
                put(key, value, handles[family])
            elif kind == DELETE:
                batch.delete(key, handles[family])
            else:
                # RocksDB would find out half-way through the batch, and never write again.
                assert key < value, (key, value)
                batch.delete_range(key, value, handles[family])
        put(APPLIED_KEY, pack_number(applied_seq))
        with self._gate:
            try:
                self._write(batch)
            except EngineStalled:
                self._stalls += 1
                raise
            self._applied_seq = applied_seq

    def flush(self) -> int:
        """Make everything written before this call durable, over all families, and return its number.

        For a worker thread: it waits for the disk and lets others run. Raises EngineFull or EngineFailed when it did
        not become durable; after EngineFull it may be called again.
        """
        with self._gate, self._flushing:
            return self._flush()

    def compact(self) -> None:
        """Flush, and compact every family down to its last level. For a worker thread: it may take minutes."""
        every = CompactOptions()
        every.set_exclusive_manual_compaction(False)
        with self._gate, self._flushing:
            self._flush()
            for family in self._families:
                family.compact_range(None, None, every)
            self._raise_background_error()  # compact_range does not say whether it failed

    def checkpoint(self, path: Path) -> int:
        """Make a copy of the store at path, which must not exist, by hard links; return the number it holds at least.

        Holds the interpreter for some milliseconds per hundred files, after a flush that does not.
        """
        with self._gate, self._flushing:
            applied_seq = self._flush()
            copier = Checkpoint(self._database)
            try:
                copier.create_checkpoint(str(path))
                return applied_seq
            except Exception as error:
                failure = engine_error(str(error))
            finally:
                del copier
        raise failure

    def statistics(self) -> dict[str, int | float]:
        """Return counts and sizes by name; bytes where the name says so. Some 2 ms, the interpreter held."""
        with self._gate:
            figures = engine_statistics(self._families, self._native)
        figures["stalled_writes"] = self._stalls
        figures["applied_seq"] = self._applied_seq
        return figures

    def close(self) -> None:
        """Flush and close, after everybody inside is out. Once closed, closing again does nothing.

        Raises what `flush` raises. The store is then left open, as a kill would leave it: rocksdict closes by flushing
        family after family, which makes the store inconsistent unless there is nothing left to flush. After
        EngineFailed nothing is flushed for the same reason.
        """
        if not self._gate.shut() or self._failed:
            return
        self._flush()
        self._handles.clear()
        try:
            for family in reversed(self._families):
                family.close()
        except Exception as error:
            raise EngineFailed(f"RocksDB does not close: {error}") from error
        self._families.clear()
        _unpin(self._pinned)

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._database.write(batch, self._write_options)
            return
        except Exception as error:
            failure = engine_error(str(error))
        self._failed |= not isinstance(failure, EngineStalled | EngineFull)
        raise failure

    def _read_applied(self) -> int:
        row = self.get_many(Family.META, [APPLIED_KEY])[0]
        if row is None:
            return 0
        if len(row) != 8:
            raise EngineCorrupt(f"the row {APPLIED_KEY!r} has {len(row)} bytes instead of 8")
        return unpack_number(row)

    def _flush(self) -> int:
        """Flush all families as one and see that it happened.

        `Rdict.flush` flushes its own family alone, atomic flush or not, and would leave that family ahead of the
        others. A compaction does begin by flushing all families as one; the range up to the empty key holds nothing to
        compact. But it does not say whether it failed, so what is left in the memtables is counted: every change has a
        sequence number of RocksDB's and is one entry of a memtable until it is flushed.
        """
        applied_seq = self._applied_seq
        before = self._database.latest_sequence_number()
        for _ in range(FLUSH_ATTEMPTS):
            # Asking for a flush again while RocksDB waits for room on the disk keeps it from ever going on.
            self._raise_background_error()
            self._database.compact_range(None, b"")
            left, sequence = unflushed_entries(self._families)
            if left <= sequence - before:
                return applied_seq
        self._raise_background_error()
        self._failed = True
        raise EngineFailed(f"RocksDB does not flush: {left} changes are still in memory alone")

    def _raise_background_error(self) -> None:
        """Raise what keeps RocksDB from flushing and compacting. It says so only to who writes."""
        with contextlib.suppress(EngineStalled):
            self._write(WriteBatch(raw_mode=True))


def _step(
    iterator: RdictIter, seek: bytes | None, lowest: bytes, keys_max: int, bytes_max: int | None
) -> list[tuple[bytes, bytes]]:
    """Walk upwards from seek, or downwards from the iterator's upper bound to lowest when seek is None."""
    if seek is None:
        iterator.seek_to_last()
        advance = iterator.prev
    else:
        iterator.seek(seek)
        advance = iterator.next
    rows: list[tuple[bytes, bytes]] = []
    bytes_left = sys.maxsize if bytes_max is None else bytes_max
    valid = iterator.valid()
    while valid and len(rows) < keys_max and bytes_left > 0:
        key: bytes = iterator.key()
        if key < lowest:
            break
        value: bytes = iterator.value()
        rows.append((key, value))
        bytes_left -= len(key) + len(value)
        advance()
        valid = iterator.valid()
    if not valid:
        iterator.status()  # raises when a damaged block, and not the bound, ended the walk
    return rows


def _pin(kept: object) -> None:
    """Keep an object alive until the process ends, also while the interpreter takes its modules apart.

    A handle of rocksdict flushes its own family when it goes away. Only `Engine.close` may let that happen.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


def _unpin(kept: object) -> None:
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(kept))


__all__ = ["Engine", "EngineClosed", "EngineCorrupt", "EngineError", "EngineFailed", "EngineFull", "EngineStalled"]
