"""Reading segments: batches at an offset, batches of a running journal, and the search behind damage."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import zstandard

from recollectd.journal.format import (
    BATCH_ALIGN,
    BATCH_HEADER,
    BATCH_MAGIC,
    BATCHES_OFFSET,
    SEGMENT_HEADER,
    BatchHeader,
    Damaged,
    Newer,
    SegmentHeader,
    check_payload,
    split_entries,
    unpack_batch_header,
    unpack_segment_header,
)
from recollectd.journal.interface import Batch, JournalCorrupt, JournalTrimmed, JournalUnsupported
from recollectd.journal.segments import ZEROS, Segment, is_zero

WINDOW_BYTES: Final = len(ZEROS)


class SegmentReader:
    """A segment file opened for reading, with a window of what was read last.

    Methods raise Damaged or Newer about what they find, and leave it to the caller to say what that means. Not for
    several threads at once. A running journal may write behind what is synced; nothing of that stays in the window if
    a reader is made after asking what is synced, and goes no further.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.file_bytes = os.fstat(self._fd).st_size
        self._window = b""
        self._window_offset = 0
        self._secret = 0
        self._decompressor: zstandard.ZstdDecompressor | None = None

    def __enter__(self) -> SegmentReader:
        """Return the reader; leaving closes the file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        os.close(self._fd)

    def bytes_at(self, offset: int, size: int) -> memoryview:
        """Return these bytes, fewer at the file's end."""
        start = offset - self._window_offset
        if start < 0 or start + size > len(self._window):
            try:
                self._window = os.pread(self._fd, max(size, WINDOW_BYTES), offset)
            except OSError as error:
                error.filename = str(self.path)  # pread knows none, and somebody will have to look at this disk
                raise
            self._window_offset, start = offset, 0
        return memoryview(self._window)[start : start + size]

    def forget(self) -> None:
        """Read anew what is asked for next: a running daemon may have written it meanwhile."""
        self._window = b""

    def header(self) -> SegmentHeader:
        """Return the segment's header; must be asked for before any batch."""
        data = self.bytes_at(0, SEGMENT_HEADER.size)
        if len(data) == SEGMENT_HEADER.size:
            # Known even when the rest of the header is damaged: batches that match it prove it right.
            self._secret = SEGMENT_HEADER.unpack(data)[-2]
        return unpack_segment_header(data)

    def batch_header_at(self, offset: int) -> BatchHeader:
        """Return the authentic header of the batch at this offset; its entries are not looked at."""
        return unpack_batch_header(self.bytes_at(offset, BATCH_HEADER.size), self._secret)

    def payload_at(self, offset: int, header: BatchHeader) -> memoryview:
        """Return the checked entries and padding of the batch with this header at this offset."""
        payload = self.bytes_at(offset + BATCH_HEADER.size, header.size - BATCH_HEADER.size)
        check_payload(header, payload)
        return payload

    def entries(self, header: BatchHeader, payload: memoryview) -> Iterator[bytes]:
        """Iterate over the entries of a checked payload, decompressed."""
        for compressed, stored in split_entries(header, payload):
            yield self.decompress(stored) if compressed else bytes(stored)

    def decompress(self, stored: memoryview) -> bytes:
        """Return the entry behind its compressed form."""
        if self._decompressor is None:
            self._decompressor = zstandard.ZstdDecompressor()
        try:
            return self._decompressor.decompress(stored)
        except zstandard.ZstdError as error:
            raise Damaged(f"an entry cannot be decompressed: {error}") from error

    def find_header(self, offset: int) -> tuple[int, BatchHeader] | None:
        """Return the first authentic batch header at or behind this offset, and its offset.

        Only headers count: whoever wrote one knew what it says, whether or not the entries behind it arrived.
        """
        offset = -offset % BATCH_ALIGN + offset
        while offset < self.file_bytes:
            data = bytes(self.bytes_at(offset, WINDOW_BYTES))
            if not data:
                return None
            at = -1 if is_zero(data) else data.find(BATCH_MAGIC)
            while at >= 0:
                if at % BATCH_ALIGN == 0:
                    try:
                        return offset + at, self.batch_header_at(offset + at)
                    except Damaged:
                        pass
                at = data.find(BATCH_MAGIC, at + 1)
            offset += len(data)
        return None

    def used_bytes(self, offset: int) -> int:
        """Return where the last byte behind this offset that is not zero ends; the offset itself if there is none."""
        end = offset
        while offset < self.file_bytes:
            data = bytes(self.bytes_at(offset, WINDOW_BYTES))
            if not data:
                break
            if not is_zero(data):
                end = offset + len(data.rstrip(b"\0"))
            offset += len(data)
        return end


def read_batches(
    from_seq: int, segments: Callable[[], list[Segment]], synced_seq: Callable[[], int]
) -> Iterator[Batch]:
    """Iterate over the batches of a running journal that are synced when the iterator gets to them.

    segments returns the retained segments, oldest first. Raises JournalTrimmed, JournalCorrupt, JournalUnsupported.
    """
    seq = from_seq
    while seq <= (limit := synced_seq()):
        known = segments()
        if seq < known[0].first_seq:
            raise JournalTrimmed(seq, known[0].first_seq)
        at = max(i for i, segment in enumerate(known) if segment.first_seq <= seq)
        if at + 1 < len(known):
            limit = min(limit, known[at + 1].first_seq - 1)
        try:
            reader = SegmentReader(known[at].path)
        except FileNotFoundError:
            raise JournalTrimmed(seq, segments()[0].first_seq) from None
        with reader:
            for batch in _batches(reader, known[at].locate(seq), seq, limit):
                yield batch
                seq = batch.last_seq + 1


def _batches(reader: SegmentReader, offset: int, seq: int, limit: int) -> Iterator[Batch]:
    """Iterate over the batches of one segment that hold seqs from seq to limit, beginning the search at offset."""
    try:
        first = reader.header()
        previous_checksum = first.previous_checksum if offset == BATCHES_OFFSET else None
        while seq <= limit:
            header = reader.batch_header_at(offset)
            if previous_checksum is not None and header.previous_checksum != previous_checksum:
                raise Damaged("the batch does not follow the one before it")
            if header.last_seq >= seq:
                if header.first_seq > seq:
                    raise Damaged(f"the batch begins with {header.first_seq} where {seq} is due")
                entries = tuple(reader.entries(header, reader.payload_at(offset, header)))
                yield Batch(header.epoch, header.first_seq, header.time_us, header.synced_seq, entries)
                seq = header.last_seq + 1
            previous_checksum = header.checksum
            offset += header.size
    except Damaged as damage:
        raise JournalCorrupt(reader.path.name, offset, str(damage)) from None
    except Newer as newer:
        raise JournalUnsupported(reader.path.name, str(newer)) from None
