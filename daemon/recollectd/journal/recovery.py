"""Opening a journal: everything retained is read and checked, then its end is put in order.

A bad batch where seq S is due is one of two things. **Corruption** if anything shows that S was durable: a segment
behind it, or a later authentic batch header that carries synced_seq >= S. Also one whose first_seq is S itself: then
only sealing batches stood in between, and nothing is written behind a sealing batch before that is synced. Otherwise
it is a **torn tail**: what a crash left of batches that nobody was told are durable. Pages reach the disk in any order,
so whole batches may stand behind a torn one.

`scan` only reads; it raises before anything is changed. `make_durable` then cuts the tear with zeros, and writes what
is not proven durable once more: after a failed sync the kernel may hold pages as clean that never reached the disk,
and only writing them again makes the next sync mean something.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recollectd.journal.format import BATCHES_OFFSET, SEGMENT_HEADER, BatchHeader, Damaged, Newer, SegmentHeader
from recollectd.journal.interface import JournalCorrupt, JournalFailed, JournalUnsupported
from recollectd.journal.reader import SegmentReader
from recollectd.journal.segments import (
    Segment,
    list_segments,
    segment_name,
    sync_directory,
    write_all,
    write_zeros,
)

COPY_BYTES: Final = 1024 * 1024

Report = Callable[[int, int], None]


@dataclass(slots=True)
class Recovered:
    """What a scan found: where the journal stands and what make_durable has to do.

    checksum and secret are what the next batch is chained and seeded with. In the newest segment, [unproven, end) is
    not proven durable and [end, torn_end) is what a crash left behind.
    """

    store_id: bytes
    segments: list[Segment] = field(default_factory=list)
    epoch: int = 0
    last_seq: int = 0
    last_time: int = 0
    checksum: int = 0
    secret: int = 0
    unproven: int = BATCHES_OFFSET
    torn_end: int = BATCHES_OFFSET
    empty: Path | None = None

    @property
    def newest(self) -> Segment:
        """The segment that is appended to."""
        return self.segments[-1]


def scan(directory: Path, store_id: bytes | None, report: Report | None = None) -> Recovered:
    """Read and check every retained segment; change nothing.

    store_id None accepts any store's journal. report is called with the bytes done and the bytes in all. Raises
    JournalCorrupt, JournalUnsupported, and JournalFailed when something cannot be read.
    """
    try:
        paths = list_segments(directory)
        empty = paths.pop() if paths and _is_empty(paths[-1]) else None
        if not paths:
            raise JournalCorrupt("", 0, "it is missing: the folder holds no segment with a header")
        found = _Scanner(store_id, paths, report).run()
    except OSError as error:
        raise JournalFailed(error.errno or errno.EIO, f"reading of {error.filename or directory}") from error
    found.empty = empty
    return found


def make_durable(directory: Path, found: Recovered) -> int:
    """Put the end of a scanned journal in order; return the newest segment's descriptor, opened for writing.

    Raises JournalFailed.
    """
    try:
        fd = os.open(found.newest.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            for offset in range(found.unproven, found.newest.end, COPY_BYTES):
                write_all(fd, os.pread(fd, min(COPY_BYTES, found.newest.end - offset), offset), offset)
            write_zeros(fd, found.newest.end, found.torn_end)
            os.fsync(fd)
            if found.empty:
                found.empty.unlink()
            sync_directory(directory)
        except OSError:
            os.close(fd)
            raise
    except OSError as error:
        raise JournalFailed(error.errno or errno.EIO, "repair of the newest segment's end") from error
    return fd


def find_proof(reader: SegmentReader, offset: int, due: int, epoch: int, seals: Container[int] = ()) -> int | None:
    """Return the offset of a header showing that the bad batch at this offset, where seq `due` belongs, was durable.

    epoch is the last whole batch's. What is found may also be a copy of earlier batches, in the data of a user who
    stored this very file. Those carry a lower synced_seq, and a lower first_seq too, but for the sealing batches right
    before this offset; their header checksums are `seals`.
    """
    at = offset + 1  # the bad batch itself proves nothing
    while later := reader.find_header(at):
        at, header = later
        follows = header.first_seq == due and header.header_checksum not in seals
        if header.epoch >= epoch and (follows or header.synced_seq >= due):
            return at
        at += 1
    return None


def _is_empty(path: Path) -> bool:
    """Whether a segment holds only zeros, as one does whose header never reached the disk."""
    with SegmentReader(path) as reader:
        return not any(reader.bytes_at(0, SEGMENT_HEADER.size)) and reader.used_bytes(0) == 0


def _read_header(path: Path) -> SegmentHeader:
    try:
        with SegmentReader(path) as reader:
            header = reader.header()
    except Damaged as damage:
        raise JournalCorrupt(path.name, 0, str(damage)) from None
    except Newer as newer:
        raise JournalUnsupported(path.name, str(newer)) from None
    if segment_name(header.first_seq) != path.name:
        raise JournalCorrupt(path.name, 0, f"its header says that it begins with seq {header.first_seq}")
    return header


class _Scanner:
    """Walks the segments in order and keeps what the next batch must fit to."""

    def __init__(self, store_id: bytes | None, paths: list[Path], report: Report | None) -> None:
        self._paths = paths
        self._headers = [_read_header(path) for path in paths]
        first = self._headers[0]
        self.found = Recovered(
            store_id=first.store_id if store_id is None else store_id,
            epoch=first.epoch,
            last_seq=first.first_seq - 1,
            checksum=first.previous_checksum,
        )
        self._report = report
        self._bytes_total = sum(path.stat().st_size for path in paths)
        self._bytes_done = 0
        # (offset, last seq) of the batches no later one has vouched for, with offsets in the segment being walked.
        self._unproven: deque[tuple[int, int]] = deque()
        self._seals: set[int] = set()  # header checksums of the sealing batches since the last entry

    def run(self) -> Recovered:
        """Walk all segments."""
        for at, (path, header) in enumerate(zip(self._paths, self._headers, strict=True)):
            self._enter(path.name, header)
            with SegmentReader(path) as reader:
                segment = Segment(path, header.first_seq, reader.file_bytes)
                self.found.segments.append(segment)
                reader.header()
                damage = self._batches(reader, segment)
                if at + 1 < len(self._paths):
                    self._joint(reader, segment, damage, self._headers[at + 1])
                else:
                    self._end(reader, segment, damage)
            self._bytes_done += segment.file_bytes
            self._progress(0)
        return self.found

    def _progress(self, offset: int) -> None:
        if self._report:
            self._report(self._bytes_done + offset, self._bytes_total)

    def _enter(self, name: str, header: SegmentHeader) -> None:
        found = self.found
        if header.store_id != found.store_id:
            raise JournalCorrupt(name, 0, f"it belongs to another store, {header.store_id.hex()}")
        if header.epoch < found.epoch:
            raise JournalCorrupt(name, 0, f"epoch {header.epoch} follows epoch {found.epoch}")
        found.epoch, found.secret = header.epoch, header.secret
        self._unproven.clear()  # a segment is synced before its successor is used

    def _batches(self, reader: SegmentReader, segment: Segment) -> str:
        """Walk the batches up to the first place without a whole one; return what is wrong there."""
        try:
            while True:
                header = reader.batch_header_at(segment.end)
                reader.payload_at(segment.end, header)
                self._link(header, reader.path.name, segment.end)
                self._follow(header, segment)
        except Damaged as damage:
            return str(damage)
        except Newer as newer:
            raise JournalUnsupported(reader.path.name, str(newer)) from None

    def _link(self, header: BatchHeader, name: str, offset: int) -> None:
        """Make sure that a whole batch continues what came before it."""
        found = self.found
        if header.first_seq != found.last_seq + 1:
            raise JournalCorrupt(name, offset, f"a gap: seq {found.last_seq} is followed by {header.first_seq}")
        if header.previous_checksum != found.checksum:
            raise JournalCorrupt(name, offset, "the chain is broken: it was written after another batch than this one")
        if header.epoch < found.epoch:
            raise JournalCorrupt(name, offset, f"epoch {header.epoch} follows epoch {found.epoch}")
        if header.synced_seq > found.last_seq:
            raise JournalCorrupt(name, offset, f"it takes seq {header.synced_seq} for durable before it was written")

    def _follow(self, header: BatchHeader, segment: Segment) -> None:
        found = self.found
        while self._unproven and self._unproven[0][1] <= header.synced_seq:
            self._unproven.popleft()
        offset = segment.place(header.first_seq, header.size)
        self._unproven.append((offset, header.last_seq))
        if header.sealing:
            self._seals.add(header.header_checksum)
        else:
            self._seals.clear()
        found.epoch, found.last_seq, found.checksum = header.epoch, header.last_seq, header.checksum
        found.last_time = header.time_us
        if segment.index[-1][1] == offset:  # as often as the index grows
            self._progress(offset)

    def _joint(self, reader: SegmentReader, segment: Segment, damage: str, successor: SegmentHeader) -> None:
        """Make sure that a segment with a successor ends where that one continues."""
        last_seq = self.found.last_seq
        if successor.first_seq == last_seq + 1 and successor.previous_checksum == self.found.checksum:
            return
        if reader.used_bytes(segment.end) == segment.end:
            damage = f"a gap: seq {last_seq} is followed by segment {segment_name(successor.first_seq)}"
        raise JournalCorrupt(reader.path.name, segment.end, f"{damage}; the next segment shows that more was durable")

    def _end(self, reader: SegmentReader, segment: Segment, damage: str) -> None:
        """Tell a torn tail from corruption where the newest segment's whole batches end."""
        due = self.found.last_seq + 1
        self.found.unproven = self._unproven[0][0] if self._unproven else segment.end
        self.found.torn_end = reader.used_bytes(segment.end)
        if self.found.torn_end == segment.end:
            return
        try:
            proof = find_proof(reader, segment.end, due, self.found.epoch, self._seals)
        except Newer as newer:
            raise JournalUnsupported(reader.path.name, str(newer)) from None
        if proof is not None:
            reason = f"{damage}; the batch at offset {proof} shows that it was durable"
            raise JournalCorrupt(reader.path.name, segment.end, reason)
