"""A failed write or sync is the end: it is reported, nothing is acknowledged after it, and recovery decides."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from pathlib import Path

import pytest

from recollectd.journal import recovery
from recollectd.journal.interface import JournalFailed, JournalOptions
from recollectd.journal.local import PACK_INLINE_BYTES_MAX, LocalJournal
from support.journal_images import SegmentImage, begin, contents, descriptor_of, everything, lay_out, reopen, settle

NAME = "00000000000000000001.segment"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def put_underneath(directory: Path, device: str) -> None:
    """Let the journal's own descriptor lead to a device: /dev/full fails writes, /dev/null fails syncs only."""
    fd = os.open(device, os.O_RDWR)
    os.dup2(fd, descriptor_of(directory / NAME))
    os.close(fd)


def wait_for_failure(journal: LocalJournal) -> JournalFailed:
    while True:
        ready, _, _ = select.select([journal.fileno()], [], [], 30)
        assert ready, "the failure wakes nobody"
        try:
            journal.progress()
        except JournalFailed as failure:
            return failure


@pytest.mark.parametrize(
    ("device", "number", "step"),
    [("/dev/full", errno.ENOSPC, "write to the segment"), ("/dev/null", errno.EINVAL, "sync of the segment")],
)
def test_after_a_failure_nothing_is_taken_or_acknowledged(directory: Path, device: str, number: int, step: str) -> None:
    journal = begin(directory)
    journal.append([b"kept"], 1)
    settle(journal)
    put_underneath(directory, device)
    journal.append([b"lost"], 1)
    failure = wait_for_failure(journal)
    assert (failure.errno, failure.step) == (number, step)
    assert os.strerror(number) in str(failure)
    assert journal.synced_seq == 1
    for call in (journal.progress, journal.seal, lambda: journal.append([b"later"], 2)):
        with pytest.raises(JournalFailed):
            call()
    journal.close()  # the failure was known: nothing to add
    journal = reopen(directory)
    assert everything(journal) == [b"kept"]
    journal.close()


def test_a_failure_while_closing_is_raised(directory: Path) -> None:
    journal = begin(directory)
    journal.append([b"a"], 1)
    settle(journal)
    put_underneath(directory, "/dev/full")
    with pytest.raises(JournalFailed):
        journal.close()
    with pytest.raises(ValueError, match="closed"):
        journal.seal()


def test_a_batch_that_cannot_be_packed_ends_the_journal(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its seqs are given out, so nothing may be written behind the hole."""

    def refuse(entry: bytes) -> bytes:
        raise MemoryError

    journal = begin(directory)
    monkeypatch.setattr(journal, "_packer_compress", refuse)
    journal.append([bytes(PACK_INLINE_BYTES_MAX)], 1)
    failure = wait_for_failure(journal)
    assert (failure.errno, failure.step) == (errno.ENOMEM, "packing of a batch")
    with pytest.raises(JournalFailed):
        journal.append([b"behind it"], 1)
    journal.close()
    assert reopen(directory).last_seq == 0


def test_a_batch_that_cannot_be_packed_at_once_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(entry: bytes) -> bytes:
        raise MemoryError

    journal = begin(directory, JournalOptions(segment_bytes=16 * 1024, compress_bytes_min=5))
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_compress", refuse)
        with pytest.raises(MemoryError):
            journal.append([b"long enough"], 1)
    assert journal.append([b"later"], 1) == 1
    settle(journal)
    assert everything(journal) == [b"later"]
    journal.close()


def test_a_rotation_that_fails_ends_the_journal(directory: Path) -> None:
    journal = begin(directory)
    journal.append([os.urandom(6000)], 1)
    settle(journal)
    (directory / "00000000000000000002.segment").mkdir()  # in the way of the renaming
    with contextlib.suppress(JournalFailed):  # refused already, if the writer was faster
        journal.append([os.urandom(6000)], 1)
    failure = wait_for_failure(journal)
    assert (failure.errno, failure.step) == (errno.EISDIR, "renaming of the next segment")
    assert journal.synced_seq == 1
    assert journal.trim(10**9) == 0, "the only segment there is would be deleted in favour of one that is not"
    assert (directory / NAME).exists()
    journal.close()


def test_what_was_not_proven_durable_is_written_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync pages may count as clean without being on the disk: only writing them again helps."""
    image = SegmentImage().add(synced=0).add(b"proven", synced=0).add(b"perhaps", synced=1).add(b"perhaps", synced=1)
    lay_out(directory, image)
    written: list[tuple[int, bytes]] = []

    def record(fd: int, data: bytes, offset: int) -> None:
        written.append((offset, bytes(data)))

    monkeypatch.setattr(recovery, "write_all", record)
    reopen(directory).close()
    assert written == [(image.offsets[2], image.batches[2] + image.batches[3])]


def test_a_segment_with_a_successor_needs_no_writing_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was synced before that one was used, whatever the batches in it say."""
    first = SegmentImage().add(synced=0).add(b"x" * 500, synced=0).add(b"y", synced=0)
    second = first.successor().add(b"z", synced=0)
    lay_out(directory, first, second)
    written: list[tuple[int, bytes]] = []

    def record(fd: int, data: bytes, offset: int) -> None:
        written.append((offset, bytes(data)))

    monkeypatch.setattr(recovery, "write_all", record)
    reopen(directory).close()
    assert written == [(second.offsets[0], second.batches[0])]


def test_an_opening_that_cannot_sync_fails(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(directory, SegmentImage().add(synced=0).add(b"a", synced=0))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    before = contents(directory)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(JournalFailed, match="repair of the newest segment"):
            reopen(directory)
    assert contents(directory) == before


def test_a_segment_that_cannot_be_read_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(directory, SegmentImage().add(synced=0))

    def fail(fd: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        with pytest.raises(JournalFailed, match=NAME):
            reopen(directory)


def test_a_failed_deletion_is_reported(directory: Path) -> None:
    journal = begin(directory)
    for seq in range(4):
        journal.append([os.urandom(6000)], seq)
    settle(journal)
    (directory / NAME).unlink()
    with pytest.raises(JournalFailed, match="deletion of a segment"):
        journal.trim(1)
    journal.close()
