"""The writer on its own: what it packs, in which order it writes and syncs, and that a failure is the end."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from recollectd._native import journal_writer
from support.journal_images import SECRET, batch_image, segment_header_image

OFFSET: Final = 4096


def unchanged(entry: bytes) -> bytes:
    return entry


def pack(*entries: bytes) -> journal_writer.Packed:
    return journal_writer.pack(entries, 0, unchanged)


class Rig:
    """A writer on a file, placing batches one behind the other."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "newest"
        self.directory_fd = os.open(directory, os.O_RDONLY)
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT)
        os.truncate(self.fd, 64 * 1024)
        self.writer = journal_writer.Writer(self.fd, self.directory_fd, secret=SECRET, checksum=5, synced_seq=6)
        self.offset = OFFSET
        self.next_seq = 7

    def append(self, *entries: bytes, tell_written: bool = True) -> None:
        packed = pack(*entries)
        offset, first_seq = self.offset, self.next_seq
        self.offset += packed.size
        self.next_seq += len(entries)
        self.writer.append(
            packed, offset=offset, epoch=3, first_seq=first_seq, time_us=1_000_000, tell_written=tell_written
        )

    def put_underneath(self, device: str) -> None:
        """Let the writer's descriptor lead to a device."""
        fd = os.open(device, os.O_RDWR)
        os.dup2(fd, self.fd)
        os.close(fd)

    def synced_seqs(self) -> list[int]:
        """Return the field of every batch written."""
        found: list[int] = []
        data, offset = self.path.read_bytes(), OFFSET
        while data[offset : offset + 4] == b"RCLB":
            (payload_bytes,) = struct.unpack_from("<I", data, offset + 8)
            found += struct.unpack_from("<Q", data, offset + 40)
            offset += (72 + payload_bytes + 7) // 8 * 8
        return found

    def readable(self) -> bool:
        return bool(select.select([self.writer.fileno()], [], [], 0)[0])


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.writer.stop()
    os.close(rig.directory_fd)


def test_golden_batch(rig: Rig) -> None:
    """The worked example of the format's description."""
    rig.append(b"a", b"bc")
    rig.writer.drain()
    golden = bytes.fromhex(
        "52434c42 0100 0000 0d000000 02000000 0300000000000000 0700000000000000 40420f0000000000 0600000000000000"
        "0500000000000000 815178daec701b84 7cc8c96b22bd0fec 01000000 00 61 02000000 00 6263 000000"
    )
    written = rig.path.read_bytes()[OFFSET : OFFSET + 88]
    assert written.hex() == golden.hex()
    assert written == batch_image(
        [b"a", b"bc"], epoch=3, first_seq=7, time_us=1_000_000, synced_seq=6, previous=5, secret=SECRET
    )


def test_golden_segment_header(rig: Rig, tmp_path: Path) -> None:
    """The writer adds the checksum of the batch before, here the one it was started with, and the header's own."""
    spare = os.open(tmp_path / "spare", os.O_RDWR | os.O_CREAT)
    header = segment_header_image(epoch=3, first_seq=8, previous=0, secret=SECRET)
    rig.writer.rotate(spare, header=header, spare_name=b"spare", name=b"next")
    rig.writer.drain()
    golden = bytes.fromhex(
        "52434c4453454731 0100 0000 00000000 0300000000000000 0800000000000000 0100000000000000"
        "000102030405060708090a0b0c0d0e0f 0500000000000000 efcdab8967452301 3e5ca3c8eee9a7be"
    )
    written = (tmp_path / "next").read_bytes()
    assert written.hex() == golden.hex()
    assert written == segment_header_image(epoch=3, first_seq=8, previous=5, secret=SECRET)
    assert not (tmp_path / "spare").exists()


def keep_busy(rig: Rig) -> None:
    """Give the thread so much to do that what follows is queued, and then done, together."""
    rig.append(bytes(32 * 1024 * 1024))


def test_batches_after_a_rotation_use_the_new_file_and_secret(rig: Rig, tmp_path: Path) -> None:
    keep_busy(rig)
    offset = rig.offset
    rig.append(b"a")
    spare = os.open(tmp_path / "spare", os.O_RDWR | os.O_CREAT)
    header = segment_header_image(epoch=3, first_seq=9, previous=0, secret=SECRET + 1)
    rig.writer.rotate(spare, header=header, spare_name=b"spare", name=b"next")
    rig.offset = OFFSET
    rig.append(b"b")
    rig.writer.drain()
    (previous,) = struct.unpack_from("<Q", rig.path.read_bytes(), offset + 64)
    # synced_seq 8: the old segment was synced before the new one was used.
    assert (tmp_path / "next").read_bytes()[OFFSET:] == batch_image(
        [b"b"], epoch=3, first_seq=9, time_us=1_000_000, synced_seq=8, previous=previous, secret=SECRET + 1
    )


def test_batches_queued_together_share_a_sync(rig: Rig) -> None:
    keep_busy(rig)
    for _ in range(10):
        rig.append(b"a")
    rig.writer.drain()
    assert rig.writer.statistics()["syncs"] < 11


def test_a_sealing_batch_is_synced_before_another_is_written(rig: Rig) -> None:
    """Although they are queued together: recovery relies on it."""
    keep_busy(rig)
    rig.append()
    rig.append(b"a")
    rig.writer.drain()
    assert rig.writer.statistics()["syncs"] == 3


def test_progress_reaches_the_last_seq_and_clears_the_descriptor(rig: Rig) -> None:
    assert rig.writer.progress() == (6, 6)
    rig.append(b"a", b"b", b"c")
    rig.writer.drain()
    assert rig.readable()
    assert rig.writer.progress() == (9, 9)
    assert not rig.readable()


def test_written_is_announced_before_synced(rig: Rig) -> None:
    """/dev/null takes every write and no sync: what was written is known although no sync succeeds."""
    rig.put_underneath("/dev/null")
    rig.append(b"a")
    rig.writer.drain()
    assert (rig.writer.written_seq, rig.writer.synced_seq) == (7, 6)


@pytest.mark.parametrize("tell_written", [True, False])
def test_who_waits_for_the_sync_alone_is_woken_once(rig: Rig, tell_written: bool) -> None:
    """The eventfd counts its wakings."""
    rig.append(b"a", tell_written=tell_written)
    rig.writer.drain()
    assert os.eventfd_read(rig.writer.fileno()) == 1 + tell_written
    assert rig.writer.progress() == (7, 7)


def test_a_sealing_batch_vouches_for_all_before_it(rig: Rig) -> None:
    for _ in range(20):
        rig.append(b"a")
        rig.append()
    rig.writer.drain()
    seals = rig.synced_seqs()[1::2]
    assert seals == list(range(7, 27))


def test_no_batch_vouches_for_itself(rig: Rig) -> None:
    for _ in range(50):
        rig.append(b"a")
    rig.writer.drain()
    synced = rig.synced_seqs()
    assert len(synced) == 50
    assert all(value < seq for seq, value in enumerate(synced, 7))
    assert synced == sorted(synced)


def test_more_jobs_than_the_ring_holds(rig: Rig) -> None:
    for _ in range(300):
        rig.append(b"entry")
    rig.writer.drain()
    assert rig.writer.progress() == (306, 306)
    assert len(rig.synced_seqs()) == 300
    assert rig.writer.statistics()["batches"] == 300


def test_statistics_count_bytes_and_syncs(rig: Rig) -> None:
    rig.append(b"a")
    rig.writer.drain()
    statistics = rig.writer.statistics()
    assert statistics["written_bytes"] == rig.offset - OFFSET == 80
    assert statistics["syncs"] == sum(statistics["sync_us_histogram"]) == 1
    assert len(statistics["sync_us_histogram"]) == 32
    bucket = statistics["sync_us_histogram"].index(1)
    assert bucket == max(statistics["sync_us_last"].bit_length() - 1, 0)


def assert_dead(rig: Rig, expected: tuple[int, str], progress: tuple[int, int]) -> None:
    """The failure stands, nothing is taken or acknowledged any more, and whoever waits is woken."""
    assert rig.writer.failure == expected
    assert rig.readable()
    for _ in range(3):
        with pytest.raises(OSError, match=os.strerror(expected[0])):
            rig.append(b"too late")
    rig.writer.drain()
    assert rig.writer.progress() == progress
    rig.writer.fail(errno.ENOMEM)
    assert rig.writer.failure == expected


def test_a_failed_write_is_final(rig: Rig) -> None:
    rig.append(b"a")
    rig.writer.drain()
    rig.put_underneath("/dev/full")
    rig.append(b"b")
    rig.writer.drain()
    assert_dead(rig, (errno.ENOSPC, "write to the segment"), (7, 7))


def test_a_failed_sync_is_final_also_when_later_ones_would_succeed(rig: Rig) -> None:
    rig.append(b"a")
    rig.writer.drain()
    back = os.dup(rig.fd)
    rig.put_underneath("/dev/null")
    rig.append(b"b")
    rig.writer.drain()
    os.dup2(back, rig.fd)
    os.close(back)
    assert_dead(rig, (errno.EINVAL, "sync of the segment"), (8, 7))


def test_a_failed_sync_before_a_sealing_batch_writes_none(rig: Rig) -> None:
    rig.put_underneath("/dev/null")
    rig.append(b"a")
    with contextlib.suppress(OSError):  # refused already, if the writer was faster
        rig.append()
    rig.writer.drain()
    assert rig.writer.statistics()["batches"] == 1


def rotate_to(rig: Rig, directory: Path, spare_name: bytes, device: str | None = None) -> None:
    fd = os.open(device or directory / "spare", os.O_RDWR | os.O_CREAT)
    header = segment_header_image(epoch=3, first_seq=7, previous=0, secret=SECRET)
    rig.writer.rotate(fd, header=header, spare_name=spare_name, name=b"next")
    rig.writer.drain()


def test_a_rotation_that_cannot_write_is_final(rig: Rig, tmp_path: Path) -> None:
    rotate_to(rig, tmp_path, b"spare", "/dev/full")
    assert_dead(rig, (errno.ENOSPC, "write of the next segment's header"), (6, 6))


def test_a_rotation_that_cannot_sync_is_final(rig: Rig, tmp_path: Path) -> None:
    rotate_to(rig, tmp_path, b"spare", "/dev/null")
    assert_dead(rig, (errno.EINVAL, "sync of the next segment"), (6, 6))
    assert not (tmp_path / "next").exists()


def test_a_rotation_that_cannot_rename_is_final(rig: Rig, tmp_path: Path) -> None:
    rotate_to(rig, tmp_path, b"another")
    assert_dead(rig, (errno.ENOENT, "renaming of the next segment"), (6, 6))


def test_a_rotation_syncs_the_directory(tmp_path: Path) -> None:
    """A descriptor opened with O_PATH can name files but not be synced."""
    rig = Rig(tmp_path)
    rig.writer.stop()
    fd, directory_fd = os.open(rig.path, os.O_RDWR), os.open(tmp_path, os.O_PATH)
    os.close(rig.directory_fd)
    rig.writer = journal_writer.Writer(fd, directory_fd, secret=SECRET, checksum=5, synced_seq=6)
    rotate_to(rig, tmp_path, b"spare")
    assert_dead(rig, (errno.EBADF, "sync of the directory"), (6, 6))
    rig.writer.stop()
    os.close(directory_fd)


def test_a_rotation_syncs_the_old_segment_first(rig: Rig, tmp_path: Path) -> None:
    rig.put_underneath("/dev/null")
    rig.append(b"a")
    with contextlib.suppress(OSError):  # refused already, if the writer was faster
        rotate_to(rig, tmp_path, b"spare")
    assert rig.writer.failure == (errno.EINVAL, "sync of the segment")
    assert not (tmp_path / "next").exists()


def test_a_batch_that_cannot_be_packed_is_final(rig: Rig) -> None:
    rig.writer.fail(errno.ENOMEM)
    assert_dead(rig, (errno.ENOMEM, "packing of a batch"), (6, 6))


def test_stop_finishes_what_is_queued(rig: Rig) -> None:
    for _ in range(60):
        rig.append(b"a")
    rig.writer.stop()
    rig.writer.stop()
    assert rig.writer.synced_seq == 66
    assert rig.writer.fileno() == -1
    with pytest.raises(OSError, match=os.strerror(errno.ESHUTDOWN)):
        rig.append(b"b")


def test_a_batch_is_handed_over_once(rig: Rig) -> None:
    packed = pack(b"a")
    rig.writer.append(packed, offset=OFFSET, epoch=1, first_seq=7, time_us=0)
    with pytest.raises(ValueError, match="handed over"):
        rig.writer.append(packed, offset=OFFSET, epoch=1, first_seq=8, time_us=0)


def test_packing_measures_and_counts() -> None:
    entries = [b"", b"x" * 3, b"y" * 70_000]
    packed = pack(*entries)
    assert packed.size == journal_writer.packed_bytes_max(entries) == (72 + 15 + 70_003 + 7) // 8 * 8
    assert (packed.count, packed.compressed, packed.saved_bytes) == (3, 0, 0)


def test_packing_compresses_what_gets_shorter() -> None:
    def halve(entry: bytes) -> bytes:
        return entry[: len(entry) // 2] if entry.startswith(b"c") else entry + b"longer"

    packed = journal_writer.pack([b"c" * 99, b"c" * 100, b"d" * 100], 100, halve)
    assert (packed.compressed, packed.saved_bytes) == (1, 50)
    assert packed.size == (72 + 15 + 99 + 50 + 100 + 7) // 8 * 8


@pytest.mark.parametrize("entry", ["text", bytearray(b"x"), None, 3])
def test_packing_refuses_what_is_not_bytes(entry: object) -> None:
    with pytest.raises(TypeError, match="must be bytes"):
        journal_writer.pack([b"a", entry], 0, unchanged)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="must be bytes"):
        journal_writer.packed_bytes_max([entry])  # type: ignore[list-item]


def test_packing_hands_on_what_compressing_raises() -> None:
    def refuse(entry: bytes) -> bytes:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        journal_writer.pack([b"x"], 1, refuse)


def test_packing_refuses_more_than_a_batch_may_have() -> None:
    part = bytes(64 * 1024 * 1024)
    with pytest.raises(ValueError, match="at most"):
        journal_writer.packed_bytes_max([part] * 16)
