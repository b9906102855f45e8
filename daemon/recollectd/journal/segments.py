"""Segment files: their names, where batches lie in them, and the next one, allocated ahead.

A segment is born as spare-*.segment, filled with real zeros: then a sync during appending has no metadata to write.
It is given a header, synced, and only then renamed to <first seq>.segment (native/recollectd_journal_thread.h).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import threading
import time
from bisect import bisect_right
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from recollectd.journal.format import BATCHES_OFFSET, SegmentHeader, pack_segment_header
from recollectd.journal.interface import JournalFailed, JournalFull

# Do not change: these are names on disk.
SEGMENT_SUFFIX: Final = ".segment"
SPARE_PREFIX: Final = "spare-"
SEGMENT_NAME: Final = re.compile(r"[0-9]{20}\.segment")

FILE_MODE: Final = 0o600
BLOCK_BYTES: Final = 4096
ZEROS: Final = bytes(256 * 1024)
# Zeros are synced in portions, or the journal's own syncs would wait behind a whole segment of them.
ZEROS_SYNC_BYTES: Final = 1024 * 1024
# A segment of 64 MiB takes some 3 s with these pauses.
ZEROS_PAUSE_S: Final = 0.04
INDEX_STRIDE_BYTES: Final = 64 * 1024
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE})


def segment_name(first_seq: int) -> str:
    """Return the name of the segment that begins with this seq."""
    return f"{first_seq:020d}{SEGMENT_SUFFIX}"


def list_segments(directory: Path) -> list[Path]:
    """Return the paths of the segments, oldest first; none if there is no directory."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(path for path in directory.iterdir() if SEGMENT_NAME.fullmatch(path.name))
    return []


def list_spares(directory: Path) -> list[Path]:
    """Return the paths of files that are no segments yet."""
    return sorted(directory.glob(f"{SPARE_PREFIX}*{SEGMENT_SUFFIX}"))


def sync_directory(directory: Path) -> None:
    """Make names made or removed in this directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_zero(data: bytes) -> bool:
    """Whether there are only zeros in data of at most len(ZEROS) bytes; as fast as memory can be compared."""
    return data == ZEROS[: len(data)]


def write_zeros(fd: int, start: int, stop: int) -> None:
    """Overwrite [start, stop) with zeros; the caller syncs."""
    for offset in range(start, stop, len(ZEROS)):
        write_all(fd, ZEROS[: stop - offset], offset)


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it at the offset."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written


class Segment:
    """A segment in use: its file, where its next batch goes, and a sparse index of its batches.

    The index is appended to by whoever places batches and read by any thread; a list allows that.
    """

    __slots__ = ("end", "file_bytes", "first_seq", "index", "path")

    def __init__(self, path: Path, first_seq: int, file_bytes: int) -> None:
        self.path = path
        self.first_seq = first_seq
        self.file_bytes = file_bytes
        self.end = BATCHES_OFFSET
        self.index: list[tuple[int, int]] = []

    def place(self, first_seq: int, size: int) -> int:
        """Give a batch of this size the next place; return its offset."""
        offset = self.end
        self.end += size
        if not self.index or offset - self.index[-1][1] >= INDEX_STRIDE_BYTES:
            self.index.append((first_seq, offset))
        return offset

    def locate(self, seq: int) -> int:
        """Return an offset where a batch begins, at or shortly before the one with this seq."""
        at = bisect_right(self.index, seq, key=itemgetter(0))
        return self.index[at - 1][1] if at else BATCHES_OFFSET


class Spare(NamedTuple):
    """A file that is to become a segment."""

    fd: int
    path: Path
    file_bytes: int


def whole_blocks(size: int) -> int:
    """Return the next multiple of a disk block."""
    return -size % BLOCK_BYTES + size


def reserve(directory: Path, file_bytes: int) -> Spare:
    """Make a file with all its room allocated, so that writing to it cannot run out of room.

    Raises OSError; the file is then gone again.
    """
    path = directory / f"{SPARE_PREFIX}{secrets.token_hex(4)}{SEGMENT_SUFFIX}"
    file_bytes = whole_blocks(file_bytes)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        os.posix_fallocate(fd, 0, file_bytes)
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return Spare(fd, path, file_bytes)


def extend(segment: Segment, file_bytes_min: int) -> None:
    """Allocate more room at the end of the newest segment. Raises JournalFull, JournalFailed."""
    file_bytes = whole_blocks(file_bytes_min)
    try:
        fd = os.open(segment.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.posix_fallocate(fd, 0, file_bytes)
        finally:
            os.close(fd)
    except OSError as error:
        raise no_room_or_failed(error, "extension of the newest segment") from error
    segment.file_bytes = max(segment.file_bytes, file_bytes)


def new_header(epoch: int, first_seq: int, store_id: bytes) -> SegmentHeader:
    """Return the header of a new segment, with a secret of its own and no checksum of a batch before it."""
    created_us = time.time_ns() // 1000
    return SegmentHeader(epoch, first_seq, created_us, store_id, 0, int.from_bytes(os.urandom(8), "little"))


def create_first_segment(directory: Path, store_id: bytes, segment_bytes: int) -> None:
    """Begin a journal: one durable segment of epoch 0, without batches. Raises JournalFull, JournalFailed."""
    try:
        spare = reserve(directory, segment_bytes)
        try:
            write_zeros(spare.fd, 0, spare.file_bytes)
            write_all(spare.fd, pack_segment_header(new_header(0, 1, store_id)), 0)
            os.fsync(spare.fd)
        finally:
            os.close(spare.fd)
        spare.path.rename(directory / segment_name(1))
        sync_directory(directory)
        sync_directory(directory.parent)
    except OSError as error:
        raise no_room_or_failed(error, "creation of the first segment") from error


def no_room_or_failed(error: OSError, step: str) -> JournalFull | JournalFailed:
    """Return what a failed allocation means for the journal: only a lack of room may pass by."""
    if error.errno in NO_ROOM:
        return JournalFull(f"no room for a journal segment: {error.strerror}")
    return JournalFailed(error.errno or errno.EIO, step)


class SpareSegments:
    """The next segment, made by a background thread while the current one fills.

    The thread keeps a file to itself until all its zeros are synced, so they cannot meet batches. Whoever needs a
    segment before that gets another file, whose first syncs will be slower. `prepare` and `take` are for one thread;
    neither waits for the background thread, which may be held by the disk for long.
    """

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self._directory = directory
        self._segment_bytes = whole_blocks(segment_bytes)
        self._lock = threading.Lock()
        self._spare: Spare | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._hurry = threading.Event()
        self.error = ""

    @property
    def file_bytes(self) -> int:
        """The size of the spare segment, 0 if there is none."""
        spare = self._spare
        return spare.file_bytes if spare else 0

    def adopt(self) -> None:
        """Keep one spare left by an earlier process (it lets a start succeed on a full disk), delete the others."""
        for path in list_spares(self._directory):
            if self._spare is None and path.stat().st_size == self._segment_bytes:
                # It may have a header already, from a rotation that was cut short; the next one overwrites it.
                self._spare = Spare(os.open(path, os.O_RDWR | os.O_CLOEXEC), path, self._segment_bytes)
            else:
                path.unlink()

    def prepare(self, *, soon: bool = False) -> None:
        """See to it that there will be a spare segment; soon: it is wanted as fast as the disk can."""
        if soon:
            self._hurry.set()
        if self._closed or self._spare or (self._thread and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._make, name="journal-spare", daemon=True)
        self._thread.start()

    def take(self, file_bytes_min: int) -> Spare:
        """Hand out a file of at least this size; its descriptor belongs to the caller.

        Raises JournalFull when there is no room for one, JournalFailed when making one fails otherwise.
        """
        with self._lock:
            if self._spare and self._spare.file_bytes >= file_bytes_min:
                spare, self._spare = self._spare, None
                return spare
        try:
            spare = reserve(self._directory, max(self._segment_bytes, file_bytes_min))
        except OSError as error:
            self.error = str(error)
            raise no_room_or_failed(error, "creation of the next segment") from error
        self.error = ""
        return spare

    def close(self) -> None:
        """End the thread; a finished file stays for the next process."""
        with self._lock:
            self._closed = True
            self._hurry.set()
            spare, self._spare = self._spare, None
        if self._thread:
            self._thread.join()
        if spare:
            os.close(spare.fd)

    def _make(self) -> None:
        try:
            spare = reserve(self._directory, self._segment_bytes)
            try:
                finished = self._fill(spare)
            except OSError:
                self._discard(spare)
                raise
        except OSError as error:
            self.error = str(error)
            return
        self.error = ""
        with self._lock:
            if finished and not self._closed:
                self._spare = spare
                return
        self._discard(spare)

    def _fill(self, spare: Spare) -> bool:
        """Write and sync zeros; return whether all of them, or the end of the journal came first.

        Between two pieces the disk belongs to the journal: commits wait for its syncs, nobody for this.
        """
        self._hurry.clear()
        for start in range(0, spare.file_bytes, ZEROS_SYNC_BYTES):
            if self._closed:
                return False
            write_zeros(spare.fd, start, min(start + ZEROS_SYNC_BYTES, spare.file_bytes))
            os.fdatasync(spare.fd)
            self._hurry.wait(ZEROS_PAUSE_S)
        os.fsync(spare.fd)
        return True

    def _discard(self, spare: Spare) -> None:
        os.close(spare.fd)
        spare.path.unlink(missing_ok=True)
