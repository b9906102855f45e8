"""Packing of journal batches, and the native thread that writes and syncs them without the GIL."""

from collections.abc import Callable, Sequence
from typing import Final, TypedDict, final, type_check_only

BATCH_BYTES_MAX: Final[int]
"""No batch is larger, header and padding included."""

@type_check_only
class WriterStatistics(TypedDict):
    """What a writer has done since it was started; times in microseconds."""

    written_bytes: int
    batches: int
    syncs: int
    sync_us_last: int
    sync_us_total: int
    sync_us_histogram: tuple[int, ...]

@final
class Packed:
    """A batch in its on-disk form, but for the fields only the writer knows. Made by `pack`, used up by `append`."""

    @property
    def size(self) -> int:
        """Bytes on disk: header, entries, padding."""
    @property
    def count(self) -> int:
        """Entries; 0 makes it a sealing batch."""
    @property
    def compressed(self) -> int:
        """How many entries are stored compressed."""
    @property
    def saved_bytes(self) -> int:
        """How much shorter compression made them in all."""

def packed_bytes_max(entries: Sequence[bytes]) -> int:
    """Return the size the batch has at most: the one without compression.

    Raises TypeError for an entry that is not bytes, ValueError for more than BATCH_BYTES_MAX.
    """

def pack(entries: Sequence[bytes], compress_bytes_min: int, compress: Callable[[bytes], bytes]) -> Packed:
    """Copy the entries into a batch.

    Those of at least compress_bytes_min bytes go through `compress` and stay so if that made them shorter; 0
    compresses nothing. Copies of long entries run without the GIL. Raises what packed_bytes_max and `compress` raise.
    """

@final
class Writer:
    """The thread. Thread-safe, except that `stop` must be the last call besides reading numbers.

    `append` and `rotate` raise OSError once anything failed: the failure is final.
    """

    def __new__(cls, fd: int, directory_fd: int, *, secret: int, checksum: int, synced_seq: int) -> Writer:
        """Start writing to a segment opened for writing.

        fd belongs to the writer from here on; directory_fd stays the caller's until after `stop`. secret is the
        segment's, checksum the last batch's, synced_seq the last durable seq.
        """
    def append(
        self, batch: Packed, *, offset: int, epoch: int, first_seq: int, time_us: int, tell_written: bool = True
    ) -> None:
        """Queue a batch to be written at this offset of the newest segment. Waits only while 64 jobs are queued."""
    def rotate(self, fd: int, *, header: bytes, spare_name: bytes, name: bytes) -> None:
        """Queue the change to the next segment: fd belongs to the writer from here on, whatever happens.

        header is the segment's, without checksums; the file is renamed within the directory.
        """
    def fail(self, error: int) -> None:
        """Record that a batch could not be packed: what follows it must not be written."""
    def fileno(self) -> int:
        """Return the eventfd: readable when there was progress or a failure; -1 after `stop`."""
    def progress(self) -> tuple[int, int]:
        """Clear the eventfd; return written_seq and synced_seq."""
    @property
    def written_seq(self) -> int:
        """The last seq in the file, which a kill of the process does not take back."""
    @property
    def synced_seq(self) -> int:
        """The last seq on the disk."""
    @property
    def failure(self) -> tuple[int, str] | None:
        """The errno and the step that failed, if one did."""
    def drain(self) -> None:
        """Wait until everything queued is durable, or the writer has failed."""
    def stop(self) -> None:
        """Finish what is queued, end the thread, close the segment. Again: nothing."""
    def statistics(self) -> WriterStatistics:
        """Return the numbers so far."""
