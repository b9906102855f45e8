"""The journal on disk: layouts, names and the rules that tell whole from damaged. Do not change: golden-tested.

All integers are little-endian, all times microseconds UTC. A journal is a folder of segments, in the order of their
names; each segment's name is its first seq in 20 digits.

    journal        = segment+
    segment        = segment-header zeros* batch* zeros*         batches begin at byte 4096
    batch          = batch-header entry* padding                 begins at a multiple of 8; padding is 0 to 7 zeros
    entry          = length u32 | flags u8 | payload             flags 1: the payload is one zstd frame

    segment-header = "RCLDSEG1" | format u16 | flags u16 | zero u32 | epoch u64 | first_seq u64 | created_us u64
                   | store_id 16 bytes | previous_checksum u64 | secret u64 | checksum u64                 80 bytes
    batch-header   = "RCLB" | format u16 | flags u16 | payload_bytes u32 | entry_count u32 | epoch u64 | first_seq u64
                   | time_us u64 | synced_seq u64 | previous_checksum u64 | header_checksum u64 | checksum u64
                                                                                                           72 bytes

Checksums are XXH64. A segment header's covers its 72 bytes before it (seed 0). A batch's header_checksum covers the 56
bytes before it and is seeded with its segment's `secret`, 64 random bits: bytes a user stored can never be taken for a
batch, however they were chosen. Its checksum covers entries and padding and is seeded with header_checksum, so it
vouches for the whole batch; it is the link of the chain. `previous_checksum` is the checksum of the batch before, also
across segments; 0 before the first batch of all.

`first_seq` is the seq of the first entry, entries count up from there. A batch without entries is a sealing batch
(flags 1): its first_seq is the next seq to come. `synced_seq` is the last seq known durable when the header was made.

Worked example: a batch of two commits, b"a" and b"bc", as numbers 7 and 8.

    52434c42 0100 0000          "RCLB", format 1, no flags
    0d000000 02000000           13 bytes of entries, 2 of them
    0300000000000000            epoch 3
    0700000000000000            first_seq 7
    40420f0000000000            time: one second after the epoch of 1970
    0600000000000000            synced_seq 6: all before was durable
    ................ (3 times)  previous_checksum, header_checksum, checksum
    01000000 00 61              the entry "a"
    02000000 00 6263            the entry "bc"
    000000                      padding: 72 + 13 = 85 is filled up to 88
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from recollectd._native import checksum

# Do not change: these lie on disk.
FORMAT: Final = 1
SEGMENT_MAGIC: Final = b"RCLDSEG1"
BATCH_MAGIC: Final = b"RCLB"
SEALING: Final = 0x0001
ENTRY_ZSTD: Final = 0x01
SEGMENT_HEADER: Final = struct.Struct("<8sHHIQQQ16sQQQ")
BATCH_HEADER: Final = struct.Struct("<4sHHIIQQQQQQQ")
ENTRY_HEAD: Final = struct.Struct("<IB")
BATCHES_OFFSET: Final = 4096  # the header's block is never written again, so no torn write reaches it
BATCH_ALIGN: Final = 8
STORE_ID_BYTES: Final = 16

_CHECKSUM_BYTES: Final = 8
_SEGMENT_CHECKED_BYTES: Final = SEGMENT_HEADER.size - _CHECKSUM_BYTES
_BATCH_CHECKED_BYTES: Final = BATCH_HEADER.size - 2 * _CHECKSUM_BYTES

assert SEGMENT_HEADER.size == 80
assert BATCH_HEADER.size == 72
assert BATCHES_OFFSET % BATCH_ALIGN == 0
assert SEGMENT_HEADER.size <= BATCHES_OFFSET


class Damaged(Exception):
    """These bytes are not what was written; the text says what is wrong with them."""


class Newer(Exception):
    """These bytes are whole, and of a format this program does not know."""


class SegmentHeader(NamedTuple):
    """The head of a segment; created_us is the clock's, for people only."""

    epoch: int
    first_seq: int
    created_us: int
    store_id: bytes
    previous_checksum: int
    secret: int


class BatchHeader(NamedTuple):
    """The head of a batch, in the order of its fields on disk."""

    sealing: bool
    payload_bytes: int
    entry_count: int
    epoch: int
    first_seq: int
    time_us: int
    synced_seq: int
    previous_checksum: int
    header_checksum: int
    checksum: int

    @property
    def last_seq(self) -> int:
        """The seq of the last entry; for a sealing batch the one before it."""
        return self.first_seq + self.entry_count - 1

    @property
    def size(self) -> int:
        """Bytes of the whole batch with its padding."""
        return align(BATCH_HEADER.size + self.payload_bytes)


def align(size: int) -> int:
    """Return the next multiple of BATCH_ALIGN."""
    return -size % BATCH_ALIGN + size


def pack_segment_header(header: SegmentHeader) -> bytes:
    """Return the 80 bytes that begin a segment."""
    epoch, first_seq, created_us, store_id, previous_checksum, secret = header
    fields = (SEGMENT_MAGIC, FORMAT, 0, 0, epoch, first_seq, created_us, store_id, previous_checksum, secret)
    head = SEGMENT_HEADER.pack(*fields, 0)[:_SEGMENT_CHECKED_BYTES]
    return head + checksum.xxh64(head).to_bytes(_CHECKSUM_BYTES, "little")


def unpack_segment_header(data: bytes | memoryview) -> SegmentHeader:
    """Read what pack_segment_header returned.

    Raises Damaged, or Newer: magic and checksum keep their places in every format, so that the two can be told apart.
    """
    if len(data) < SEGMENT_HEADER.size:
        raise Damaged("the file is too short for a segment header")
    fields = SEGMENT_HEADER.unpack_from(data)
    magic, format_number, flags, zero, epoch, first_seq, created_us, store_id, previous, secret, stored = fields
    if magic != SEGMENT_MAGIC:
        raise Damaged("this is not a segment header")
    if checksum.xxh64(memoryview(data)[:_SEGMENT_CHECKED_BYTES]) != stored:
        raise Damaged("the segment header's checksum does not match")
    if format_number != FORMAT or flags or zero:
        raise Newer(f"segment format {format_number}, flags {flags:#x}")
    return SegmentHeader(epoch, first_seq, created_us, store_id, previous, secret)


def unpack_batch_header(data: bytes | memoryview, secret: int) -> BatchHeader:
    """Read the head of a batch and make sure that it was written to this segment. Raises Damaged, Newer."""
    if len(data) < BATCH_HEADER.size:
        raise Damaged("the segment ends within a batch header")
    magic, format_number, flags, *numbers = BATCH_HEADER.unpack_from(data)
    header = BatchHeader(bool(flags & SEALING), *numbers)
    if magic != BATCH_MAGIC:
        raise Damaged("no batch begins here")
    if checksum.xxh64(memoryview(data)[:_BATCH_CHECKED_BYTES], secret) != header.header_checksum:
        raise Damaged("the batch header's checksum does not match")
    if format_number != FORMAT or flags & ~SEALING:
        raise Newer(f"batch format {format_number}, flags {flags:#x}")
    return header


def check_payload(header: BatchHeader, payload: bytes | memoryview) -> None:
    """Make sure that these are the entries and the padding the header was written with. Raises Damaged."""
    if len(payload) != header.size - BATCH_HEADER.size:
        raise Damaged("the segment ends within a batch")
    if checksum.xxh64(payload, header.header_checksum) != header.checksum:
        raise Damaged("the batch's checksum does not match")


def split_entries(header: BatchHeader, payload: memoryview) -> Iterator[tuple[bool, memoryview]]:
    """Cut a checked payload into its entries: whether each is compressed, and its bytes. Raises Damaged, Newer."""
    position = 0
    for _ in range(header.entry_count):
        if position + ENTRY_HEAD.size > header.payload_bytes:
            raise Damaged("an entry begins behind the batch's end")
        length, flags = ENTRY_HEAD.unpack_from(payload, position)
        position += ENTRY_HEAD.size
        if flags & ~ENTRY_ZSTD:
            raise Newer(f"entry flags {flags:#x}")
        if position + length > header.payload_bytes:
            raise Damaged("an entry ends behind the batch's end")
        yield bool(flags & ENTRY_ZSTD), payload[position : position + length]
        position += length
    if position != header.payload_bytes:
        raise Damaged("the batch is longer than its entries")
