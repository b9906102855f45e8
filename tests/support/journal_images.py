"""Journal files made by hand: an encoder of its own, so that a mistake in the product's cannot hide here.

The checksum is written out in Python from the published description of XXH64, independent of the native one.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from recollectd.journal.interface import Journal, JournalOptions
from recollectd.journal.local import LocalJournal, open_journal

STORE_ID: Final = bytes(range(16))
SECRET: Final = 0x0123456789ABCDEF
OPTIONS: Final = JournalOptions(segment_bytes=16 * 1024, compress_bytes_min=2048)
BATCHES_OFFSET: Final = 4096
BATCH_HEADER_BYTES: Final = 72

_MASK: Final = 2**64 - 1
_P1, _P2, _P3, _P4, _P5 = (
    11400714785074694791,
    14029467366897019727,
    1609587929392839161,
    9650029242287828579,
    2870177450012600261,
)


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _round(accumulator: int, lane: int) -> int:
    return _rotate((accumulator + lane * _P2) & _MASK, 31) * _P1 & _MASK


def slow_xxh64(data: bytes, seed: int = 0) -> int:
    """Return the XXH64 of data, step by step as published."""
    accumulators = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed, (seed - _P1) & _MASK]
    stripes = len(data) // 32
    for stripe in range(stripes):
        lanes = struct.unpack_from("<4Q", data, stripe * 32)
        accumulators = [_round(*pair) for pair in zip(accumulators, lanes, strict=True)]
    value = (seed + _P5) & _MASK
    if stripes:
        value = sum(_rotate(each, bits) for each, bits in zip(accumulators, (1, 7, 12, 18), strict=True)) & _MASK
        for each in accumulators:
            value = ((value ^ _round(0, each)) * _P1 + _P4) & _MASK
    value = (value + len(data)) & _MASK
    rest = data[stripes * 32 :]
    while len(rest) >= 8:
        value = (_rotate(value ^ _round(0, int.from_bytes(rest[:8], "little")), 27) * _P1 + _P4) & _MASK
        rest = rest[8:]
    if len(rest) >= 4:
        value = (_rotate(value ^ (int.from_bytes(rest[:4], "little") * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        rest = rest[4:]
    for byte in rest:
        value = _rotate(value ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    for shift, prime in ((33, _P2), (29, _P3), (32, 1)):
        value = (value ^ (value >> shift)) * prime & _MASK
    return value


def segment_header_image(
    *,
    epoch: int,
    first_seq: int,
    previous: int,
    secret: int,
    store_id: bytes = STORE_ID,
    created_us: int = 1,
    number: int = 1,
) -> bytes:
    """Return the 80 bytes of a segment header; number is the format's."""
    head = b"RCLDSEG1" + struct.pack("<HHIQQQ", number, 0, 0, epoch, first_seq, created_us)
    head += store_id + struct.pack("<QQ", previous, secret)
    return head + struct.pack("<Q", slow_xxh64(head))


def batch_image(
    entries: Sequence[bytes],
    *,
    epoch: int,
    first_seq: int,
    time_us: int,
    synced_seq: int,
    previous: int,
    secret: int,
    number: int = 1,
) -> bytes:
    """Return a batch of uncompressed entries, a sealing one if there are none; number is the format's."""
    payload = b"".join(struct.pack("<IB", len(entry), 0) + entry for entry in entries)
    head = b"RCLB" + struct.pack("<HHII", number, not entries, len(payload), len(entries))
    head += struct.pack("<QQQQQ", epoch, first_seq, time_us, synced_seq, previous)
    header_checksum = slow_xxh64(head, secret)
    padded = payload + bytes(-(BATCH_HEADER_BYTES + len(payload)) % 8)
    return head + struct.pack("<QQ", header_checksum, slow_xxh64(padded, header_checksum)) + padded


class SegmentImage:
    """A segment in memory, batch after batch; `offsets` tells where each begins, `end` where the next would."""

    def __init__(
        self, first_seq: int = 1, *, epoch: int = 1, previous: int = 0, secret: int = SECRET, store_id: bytes = STORE_ID
    ) -> None:
        self.first_seq = first_seq
        self.next_seq = first_seq
        self.epoch = epoch
        self.secret = secret
        self.previous = previous
        self.header = segment_header_image(
            epoch=epoch, first_seq=first_seq, previous=previous, secret=secret, store_id=store_id
        )
        self.batches: list[bytes] = []
        self.offsets: list[int] = []
        self.end = BATCHES_OFFSET

    def add(self, *entries: bytes, synced: int, epoch: int | None = None, number: int = 1) -> SegmentImage:
        """Add a batch, or without entries a sealing one."""
        image = batch_image(
            entries,
            epoch=self.epoch if epoch is None else epoch,
            first_seq=self.next_seq,
            time_us=self.next_seq,
            synced_seq=synced,
            previous=self.previous,
            secret=self.secret,
            number=number,
        )
        self.offsets.append(self.end)
        self.batches.append(image)
        self.end += len(image)
        self.next_seq += len(entries)
        (self.previous,) = struct.unpack_from("<Q", image, 64)
        return self

    def data(self, file_bytes: int = OPTIONS.segment_bytes) -> bytearray:
        """Return the whole file."""
        body = self.header + bytes(BATCHES_OFFSET - len(self.header)) + b"".join(self.batches)
        return bytearray(body + bytes(file_bytes - len(body)))

    def successor(self, **changes: int) -> SegmentImage:
        """Return the segment that continues this one."""
        return SegmentImage(
            self.next_seq,
            epoch=changes.get("epoch", self.epoch),
            previous=changes.get("previous", self.previous),
            secret=self.secret + 1,
        )

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.first_seq:020d}.segment"


def lay_out(directory: Path, *images: SegmentImage) -> Path:
    """Write the segments to the directory and return it."""
    directory.mkdir(exist_ok=True)
    for image in images:
        (directory / image.name).write_bytes(image.data())
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    """Return every file's bytes by its name."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def begin(directory: Path, options: JournalOptions = OPTIONS) -> LocalJournal:
    """Make a journal where there is none."""
    return open_journal(directory, store_id=STORE_ID, options=options, fresh=True)


def reopen(directory: Path, options: JournalOptions = OPTIONS) -> LocalJournal:
    """Open the journal that is there."""
    return open_journal(directory, store_id=STORE_ID, options=options)


def settle(journal: Journal) -> None:
    """Wait until everything appended is synced, the way an event loop does."""
    while journal.progress().synced_seq < journal.last_seq:
        ready, _, _ = select.select([journal.fileno()], [], [], 30)
        assert ready, "the journal makes no progress"


def until(condition: Callable[[], object]) -> None:
    """Wait for a state that another thread brings about."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.001)


def everything(journal: Journal) -> list[bytes]:
    """Return all retained entries, making sure that their seqs are contiguous."""
    entries: list[bytes] = []
    for batch in journal.read(journal.first_seq):
        assert batch.first_seq == journal.first_seq + len(entries)
        entries += batch.entries
    return entries


def descriptor_of(path: Path) -> int:
    """Return the descriptor by which this process has the file open for writing."""
    for name in os.listdir("/proc/self/fd"):
        try:
            flags = int(Path(f"/proc/self/fdinfo/{name}").read_text().split("flags:")[1].split()[0], 8)
            if os.readlink(f"/proc/self/fd/{name}") == str(path.resolve()) and flags & (os.O_WRONLY | os.O_RDWR):
                return int(name)
        except FileNotFoundError:
            continue
    raise AssertionError(f"{path} is not open")
