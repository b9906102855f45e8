"""What a journal is to the rest of the daemon; a replicated log takes the place of local files behind this interface.

JournalError
├── JournalCorrupt      what is on disk cannot be what was written
├── JournalUnsupported  written by a newer version of this program
├── JournalFull         no room for this batch now; nothing was queued
├── JournalFailed       a write or sync failed: fatal, the process must end
└── JournalTrimmed      what was asked for has been deleted
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

SEGMENT_BYTES_MIN: Final = 16 * 1024


class Batch(NamedTuple):
    """A batch as it is read back: what one sync, or less, made durable together.

    entries[i] is commit number first_seq + i; time is journal time in microseconds UTC; synced_seq is what was known
    to be durable when the batch was written.
    """

    epoch: int
    first_seq: int
    time: int
    synced_seq: int
    entries: tuple[bytes, ...]

    @property
    def last_seq(self) -> int:
        """The seq of the last entry."""
        return self.first_seq + len(self.entries) - 1


class Progress(NamedTuple):
    """How far the writer is: in the file (survives a kill), and on the disk (survives a power cut)."""

    written_seq: int
    synced_seq: int


class JournalStatistics(NamedTuple):
    """Numbers for `status` and metrics.

    bytes is the size of the segments with their preallocated rest, spare_bytes that of the next one; written_bytes,
    batches, entries, entries_compressed, saved_bytes and the syncs count from the opening. sync_us_histogram[i] counts
    syncs that took from 2^i to 2^(i+1) microseconds. spare_error says why the last preallocation failed, or nothing.
    """

    segments: int
    bytes: int
    spare_bytes: int
    spare_error: str
    first_seq: int
    last_seq: int
    synced_seq: int
    epoch: int
    batches: int
    entries: int
    entries_compressed: int
    saved_bytes: int
    written_bytes: int
    syncs: int
    sync_us_last: int
    sync_us_total: int
    sync_us_histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """How a local journal keeps its files.

    segment_bytes: the size of a segment, allocated ahead; a larger batch gets a larger segment of its own.
    compress_bytes_min: entries from this size on are compressed when that makes them shorter; 0 compresses nothing.
    """

    segment_bytes: int = 64 * 1024 * 1024
    compress_bytes_min: int = 2048

    def __post_init__(self) -> None:
        """Refuse, with ValueError, what no journal can be made of."""
        if self.segment_bytes < SEGMENT_BYTES_MIN:
            raise ValueError(f"segment_bytes must be at least {SEGMENT_BYTES_MIN}, not {self.segment_bytes}")
        if self.compress_bytes_min < 0:
            raise ValueError(f"compress_bytes_min must not be negative, but is {self.compress_bytes_min}")


class Journal(Protocol):
    """An append-only sequence of batches.

    One thread appends, seals, asks for progress and closes; it is never held by a disk, except in `close`. Reading,
    trimming and statistics may be called from any thread. A commit's seq is its place in the journal, from 1 on.
    """

    @property
    def store_id(self) -> bytes:
        """16 bytes naming the store this journal belongs to."""

    @property
    def epoch(self) -> int:
        """Raised by one at every opening."""

    @property
    def first_seq(self) -> int:
        """The oldest retained seq; last_seq + 1 when nothing is retained."""

    @property
    def last_seq(self) -> int:
        """The last seq given to an entry, durable or not; 0 before the first."""

    @property
    def synced_seq(self) -> int:
        """Everything up to this is durable."""

    @property
    def last_time(self) -> int:
        """Journal time of the last batch, in microseconds UTC; 0 before the first."""

    def append(self, entries: Sequence[bytes], time: int, *, tell_written: bool = True) -> int:
        """Queue one batch at this journal time, not before last_time; return its last seq.

        tell_written: make the descriptor readable when the batch is in the file, not only when it is durable.

        Raises JournalFull when there is no room for it (nothing is queued, a later attempt may succeed), JournalFailed,
        ValueError for no entries or a time that runs backwards, TypeError for an entry that is not bytes.
        """

    def seal(self) -> None:
        """Queue an empty batch saying that everything before it is durable, unless the last one is such.

        Raises JournalFull, JournalFailed.
        """

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there was progress or a failure."""

    def progress(self) -> Progress:
        """Clear the descriptor and return how far the writer is.

        Raises JournalFailed if a write or sync failed. That is fatal: the process must end, and recovery decide.
        """

    def read(self, from_seq: int) -> Iterator[Batch]:
        """Iterate over the synced batches with entries of from_seq or later; the first may begin before it.

        The iterator ends where the journal was synced to when it got there. Raises JournalTrimmed (at once, or later
        if trimming overtakes the reader), JournalCorrupt.
        """

    def trim(self, to_seq: int) -> int:
        """Delete what is only about seqs up to to_seq, in large units; return the bytes freed. Waits for the disk.

        Raises JournalFailed when the directory cannot be synced.
        """

    def statistics(self) -> JournalStatistics:
        """Return the numbers so far."""

    def close(self) -> None:
        """Seal, sync and end the writer. Raises JournalFailed if that fails, unless it had failed before."""


class JournalError(Exception):
    """Base of everything a journal raises on purpose."""


class JournalCorrupt(JournalError):
    """What is on disk cannot be what was written. Nothing was changed; nothing was skipped.

    segment: the file's name, or "" where the whole journal is meant; offset: in bytes; reason: what is wrong there.
    """

    def __init__(self, segment: str, offset: int, reason: str) -> None:
        where = f"segment {segment} at offset {offset}: " if segment else ""
        super().__init__(f"the journal is damaged: {where}{reason}")
        self.segment = segment
        self.offset = offset
        self.reason = reason


class JournalUnsupported(JournalError):
    """The journal was written by a newer version of this program."""

    def __init__(self, segment: str, found: str) -> None:
        super().__init__(f"segment {segment} was written by a newer version: {found}; upgrade to open it")
        self.segment = segment


class JournalFull(JournalError):
    """There is no room for this batch now; nothing was queued."""


class JournalFailed(JournalError):
    """A write or sync failed. Nothing is retried: the kernel may have dropped what it could not write.

    errno: the system's error number; step: what failed.
    """

    def __init__(self, errno: int, step: str) -> None:
        super().__init__(f"the journal failed: {step}: {os.strerror(errno)}")
        self.errno = errno
        self.step = step


class JournalTrimmed(JournalError):
    """What was asked for is older than what is retained."""

    def __init__(self, from_seq: int, first_seq: int) -> None:
        super().__init__(f"the journal begins at {first_seq}; {from_seq} has been trimmed")
        self.from_seq = from_seq
        self.first_seq = first_seq
