"""The journal in local segment files.

Batches are packed on the caller's thread; one of more than PACK_INLINE_BYTES_MAX goes to a packer thread, and so does
whatever follows it until that thread has caught up, which keeps the order. Packed batches are placed (given an offset)
and queued for the native writer in one step under the lock. Whether there is room is decided before, for a batch that
is still to be packed with the size it has without compression.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import zstandard

from recollectd._native import journal_writer
from recollectd.journal.format import BATCH_HEADER, BATCHES_OFFSET, STORE_ID_BYTES, pack_segment_header
from recollectd.journal.interface import (
    Batch,
    JournalCorrupt,
    JournalFailed,
    JournalOptions,
    JournalStatistics,
    JournalTrimmed,
    Progress,
)
from recollectd.journal.reader import read_batches
from recollectd.journal.recovery import Recovered, Report, make_durable, scan
from recollectd.journal.segments import (
    Segment,
    Spare,
    SpareSegments,
    create_first_segment,
    extend,
    list_segments,
    list_spares,
    new_header,
    segment_name,
)

PACK_INLINE_BYTES_MAX: Final = 256 * 1024
COMPRESSION_LEVEL: Final = 1
# The end of every segment is kept for sealing batches, so that even on a full disk a journal can be opened and closed.
SEALS_BYTES: Final = 4096


def open_journal(
    directory: Path,
    *,
    store_id: bytes,
    options: JournalOptions | None = None,
    fresh: bool = False,
    progress: Report | None = None,
) -> LocalJournal:
    """Check everything retained, put the journal's end in order, and begin a new epoch, durably.

    fresh says that this store is being made: only then is a journal begun where there is none, and then there must be
    none that holds anything. progress is called with the bytes checked and the bytes in all. The caller sees to it that
    no other process has the folder open.

    Raises JournalCorrupt (missing, damaged, of another store; nothing was changed), JournalUnsupported, JournalFull,
    JournalFailed.
    """
    if len(store_id) != STORE_ID_BYTES:
        raise ValueError(f"a store_id has {STORE_ID_BYTES} bytes, not {len(store_id)}")
    options = options or JournalOptions()
    if fresh:
        _begin(directory, store_id, options)
    found = scan(directory, store_id, progress)
    journal = LocalJournal(directory, found, make_durable(directory, found), options)
    try:
        journal.begin_epoch()
    except BaseException:
        with contextlib.suppress(JournalFailed):
            journal.close()
        raise
    return journal


def _begin(directory: Path, store_id: bytes, options: JournalOptions) -> None:
    """Make the first segment, in place of what an attempt that got no further may have left."""
    directory.mkdir(exist_ok=True)
    paths = list_segments(directory)
    if paths and (last_seq := scan(directory, None).last_seq):
        raise JournalCorrupt("", 0, f"a new store was asked for, but the folder holds commits up to {last_seq}")
    for path in [*paths, *list_spares(directory)]:
        path.unlink()
    create_first_segment(directory, store_id, options.segment_bytes)


class LocalJournal:
    """A `Journal` in a folder of segments; made by open_journal."""

    def __init__(self, directory: Path, found: Recovered, fd: int, options: JournalOptions) -> None:
        """Take over a scanned journal and the descriptor of its newest segment."""
        self.store_id = found.store_id
        self.epoch = found.epoch + 1
        self._directory = directory
        self._options = options
        self._lock = threading.Lock()
        self._trim_lock = threading.Lock()
        self._segments = found.segments  # replaced, never changed: readers hold on to the list they got
        self._room_end = found.newest.end  # where the newest segment will be filled to, at most, by all that is queued
        self._last_seq = found.last_seq
        self._last_time = found.last_time
        self._sealed = False
        self._closed = False
        self._entries = self._compressed = self._saved_bytes = 0
        self._compress = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress
        self._packer: ThreadPoolExecutor | None = None
        self._packer_compress = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress
        self._packing = 0  # tasks the packer has not finished
        self._directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._writer = journal_writer.Writer(
            fd, self._directory_fd, secret=found.secret, checksum=found.checksum, synced_seq=found.last_seq
        )
        self._spares = SpareSegments(directory, options.segment_bytes)
        self._spares.adopt()

    def begin_epoch(self) -> None:
        """Write the epoch's first batch, a sealing one, and wait until it is durable."""
        newest = self._segments[-1]
        if newest.end + BATCH_HEADER.size > newest.file_bytes:
            extend(newest, newest.end + SEALS_BYTES)
        self.seal()
        self._writer.drain()
        self._raise_failure()

    @property
    def first_seq(self) -> int:
        """The oldest retained seq."""
        return self._segments[0].first_seq

    @property
    def last_seq(self) -> int:
        """The last seq given to an entry."""
        return self._last_seq

    @property
    def synced_seq(self) -> int:
        """Everything up to this is durable."""
        return self._writer.synced_seq

    @property
    def last_time(self) -> int:
        """Journal time of the last batch."""
        return self._last_time

    def append(self, entries: Sequence[bytes], time: int, *, tell_written: bool = True) -> int:
        """Queue one batch; see `Journal.append`."""
        if not entries:
            raise ValueError("a batch has at least one entry; `seal` writes empty ones")
        if time < self._last_time:
            raise ValueError(f"journal time runs backwards, from {self._last_time} to {time}")
        size = journal_writer.packed_bytes_max(entries)
        packed = None
        if size <= PACK_INLINE_BYTES_MAX:
            packed = journal_writer.pack(entries, self._options.compress_bytes_min, self._compress)
            size = packed.size
        with self._lock:
            self._raise_failure()
            segment = self._make_room(size)
            first_seq = self._last_seq + 1
            self._last_seq += len(entries)
            self._last_time = time
            self._sealed = False
            if packed is None:
                task = partial(self._pack_and_place, segment, tuple(entries), size, first_seq, time, tell_written)
                self._hand_over(task)
            else:
                self._in_order(partial(self._place, segment, packed, first_seq, time, tell_written))
            return self._last_seq

    def seal(self) -> None:
        """Queue a sealing batch unless the last one is such; see `Journal.seal`."""
        with self._lock:
            self._raise_failure()
            segment = self._segments[-1]
            if self._sealed or self._room_end + BATCH_HEADER.size > segment.file_bytes:
                return
            self._sealed = True
            packed = journal_writer.pack((), 0, self._compress)
            self._room_end += packed.size
            self._in_order(partial(self._place, segment, packed, self._last_seq + 1, self._last_time, False))

    def fileno(self) -> int:
        """Return the eventfd of the writer."""
        return self._writer.fileno()

    def progress(self) -> Progress:
        """Clear the eventfd; return how far the writer is, or raise JournalFailed."""
        written_seq, synced_seq = self._writer.progress()
        self._raise_failure()
        return Progress(written_seq, synced_seq)

    def read(self, from_seq: int) -> Iterator[Batch]:
        """Iterate over synced batches; see `Journal.read`."""
        if from_seq < self.first_seq:
            raise JournalTrimmed(from_seq, self.first_seq)
        return read_batches(from_seq, lambda: self._segments, lambda: self._writer.synced_seq)

    def trim(self, to_seq: int) -> int:
        """Delete whole segments; see `Journal.trim`.

        A segment goes only when an entry in a later one is synced: before, that one may not be in its place yet.
        """
        freed = 0
        with self._trim_lock:
            limit = min(to_seq + 1, self._writer.synced_seq)
            while len(self._segments) > 1 and self._segments[1].first_seq <= limit:
                with self._lock:
                    oldest, *self._segments = self._segments
                try:
                    # One by one and oldest first: whichever of these a power cut takes back, it leaves no gap.
                    oldest.path.unlink()
                    os.fsync(self._directory_fd)
                except OSError as error:
                    raise JournalFailed(error.errno or errno.EIO, "deletion of a segment") from error
                freed += oldest.file_bytes
        return freed

    def statistics(self) -> JournalStatistics:
        """Return the numbers so far."""
        with self._lock:
            segments = self._segments
            return JournalStatistics(
                segments=len(segments),
                bytes=sum(segment.file_bytes for segment in segments),
                spare_bytes=self._spares.file_bytes,
                spare_error=self._spares.error,
                first_seq=segments[0].first_seq,
                last_seq=self._last_seq,
                synced_seq=self._writer.synced_seq,
                epoch=self.epoch,
                entries=self._entries,
                entries_compressed=self._compressed,
                saved_bytes=self._saved_bytes,
                **self._writer.statistics(),
            )

    def close(self) -> None:
        """Seal, sync and end the writer; see `Journal.close`. Again: nothing."""
        if self._closed:
            return
        failed_before = self._writer.failure is not None
        try:
            if not failed_before:
                self.seal()
            self._closed = True
            if self._packer:
                self._packer.shutdown()
        finally:
            self._writer.stop()
            self._spares.close()
            os.close(self._directory_fd)
        if not failed_before and (failure := self._writer.failure):
            raise JournalFailed(*failure)

    # -- room ----------------------------------------------------------------------------------------------------------

    def _make_room(self, size: int) -> Segment:
        """Return the segment for a batch of this size and count it as filled. Raises JournalFull, JournalFailed."""
        newest = self._segments[-1]
        if self._room_end + size + SEALS_BYTES > newest.file_bytes:
            if newest.first_seq > self._last_seq:
                # It has no entries yet, so another one would get the same name. It was found at the opening: each
                # segment begun since then was begun for a batch.
                extend(newest, self._room_end + size + SEALS_BYTES)
            else:
                newest = self._begin_segment(size)
        self._room_end += size
        if self._room_end > newest.file_bytes // 4:
            self._spares.prepare(soon=self._room_end > newest.file_bytes * 3 // 4)
        return newest

    def _begin_segment(self, size: int) -> Segment:
        spare = self._spares.take(BATCHES_OFFSET + size + SEALS_BYTES)
        first_seq = self._last_seq + 1
        segment = Segment(self._directory / segment_name(first_seq), first_seq, spare.file_bytes)
        header = pack_segment_header(new_header(self.epoch, first_seq, self.store_id))
        self._in_order(partial(self._rotate, spare, header, segment.path.name))
        self._segments = [*self._segments, segment]
        self._room_end = segment.end
        return segment

    # -- what happens in the order of the seqs, under the lock ---------------------------------------------------------

    def _rotate(self, spare: Spare, header: bytes, name: str) -> None:
        self._writer.rotate(spare.fd, header=header, spare_name=spare.path.name.encode(), name=name.encode())

    def _place(
        self, segment: Segment, packed: journal_writer.Packed, first_seq: int, time: int, tell_written: bool
    ) -> None:
        self._entries += packed.count
        self._compressed += packed.compressed
        self._saved_bytes += packed.saved_bytes
        offset = segment.place(first_seq, packed.size)
        self._writer.append(
            packed, offset=offset, epoch=self.epoch, first_seq=first_seq, time_us=time, tell_written=tell_written
        )

    def _in_order(self, step: Callable[[], None]) -> None:
        """Take a step now, or after what the packer still has to do."""
        if self._packing:
            self._hand_over(partial(self._under_lock, step))
            return
        try:
            step()
        except OSError:
            self._raise_failure()
            raise

    # -- the packer's thread -------------------------------------------------------------------------------------------

    def _hand_over(self, task: Callable[[], None]) -> None:
        if self._packer is None:
            self._packer = ThreadPoolExecutor(1, "journal-packer")
        self._packing += 1
        self._packer.submit(self._packer_run, task)

    def _packer_run(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            # The seqs are given out, so nothing may be written behind this hole.
            self._writer.fail(error.errno or errno.EIO if isinstance(error, OSError) else errno.ENOMEM)
        finally:
            with self._lock:
                self._packing -= 1

    def _under_lock(self, step: Callable[[], None]) -> None:
        with self._lock:
            step()

    def _pack_and_place(
        self,
        segment: Segment,
        entries: tuple[bytes, ...],
        size_max: int,
        first_seq: int,
        time: int,
        tell_written: bool,
    ) -> None:
        packed = journal_writer.pack(entries, self._options.compress_bytes_min, self._packer_compress)
        with self._lock:
            if segment is self._segments[-1]:
                self._room_end -= size_max - packed.size
            self._place(segment, packed, first_seq, time, tell_written)

    def _raise_failure(self) -> None:
        if self._closed:
            raise ValueError("the journal is closed")
        if failure := self._writer.failure:
            raise JournalFailed(*failure)
