"""A full disk refuses batches and harms nothing: when there is room again, the journal goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recollectd.journal.interface import JournalFailed, JournalFull
from recollectd.journal.local import LocalJournal
from recollectd.journal.segments import SpareSegments
from support.journal_images import OPTIONS, begin, contents, everything, reopen, settle, until

ENTRY = bytes(range(250)) * 4


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def refuse_room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let every allocation fail with an errno, or succeed again with 0."""
    allocate = os.posix_fallocate
    number = 0

    def fallocate(fd: int, offset: int, length: int) -> None:
        if number:
            raise OSError(number, os.strerror(number))
        allocate(fd, offset, length)

    def decide(value: int) -> None:
        nonlocal number
        number = value

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    return decide


def let_allocation_end() -> None:
    """Wait until no thread is allocating ahead: it may hold the last room, or have a failure yet to report."""
    until(lambda: not any(thread.name == "journal-spare" for thread in threading.enumerate()))


def fill(journal: LocalJournal) -> int:
    """Append until there is no room; return the number of batches taken."""
    first_seq = journal.last_seq
    while journal.last_seq < first_seq + 1000:
        try:
            journal.append([ENTRY], 1)
        except JournalFull:
            let_allocation_end()
            with contextlib.suppress(JournalFull):
                journal.append([ENTRY], 1)
                continue
            return journal.last_seq - first_seq
    raise AssertionError("the disk never gets full")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_refused_batch_is_not_queued_and_later_ones_are(
    directory: Path, refuse_room: Callable[[int], None], number: int
) -> None:
    journal = begin(directory)
    refuse_room(number)
    taken = fill(journal)
    assert 5 < taken < 12
    assert journal.last_seq == taken
    for _ in range(3):
        with pytest.raises(JournalFull, match=os.strerror(number)):
            journal.append([ENTRY], 1)
    settle(journal)
    assert journal.last_seq == journal.synced_seq == taken
    assert os.strerror(number) in journal.statistics().spare_error
    assert not [name for name in contents(directory) if name.startswith("spare-")]
    journal.append([b"small"], 1)  # fits into what is left
    let_allocation_end()
    refuse_room(0)
    assert journal.append([ENTRY], 1) == taken + 2
    assert journal.append([ENTRY], 1) == taken + 3
    settle(journal)
    assert journal.statistics().spare_error == ""
    journal.close()
    journal = reopen(directory)
    assert everything(journal) == [ENTRY] * taken + [b"small"] + [ENTRY] * 2
    journal.close()


def test_sealing_and_opening_need_no_room(directory: Path, refuse_room: Callable[[int], None]) -> None:
    journal = begin(directory)
    refuse_room(errno.ENOSPC)
    taken = fill(journal)
    journal.seal()
    settle(journal)
    journal.close()
    for _ in range(20):
        journal = reopen(directory)
        assert journal.last_seq == taken
        with pytest.raises(JournalFull):
            journal.append([ENTRY] * 4, 1)
        journal.close()


def test_an_opening_without_room_for_its_seal_is_refused(directory: Path, refuse_room: Callable[[int], None]) -> None:
    journal = begin(directory)
    refuse_room(errno.ENOSPC)
    fill(journal)
    settle(journal)
    journal.close()

    def open_often() -> None:
        for _ in range(OPTIONS.segment_bytes // 72):
            reopen(directory).close()

    with pytest.raises(JournalFull):
        open_often()
    refuse_room(0)
    reopen(directory).close()


def test_another_failure_to_allocate_is_no_lack_of_room(directory: Path, refuse_room: Callable[[int], None]) -> None:
    journal = begin(directory)
    refuse_room(errno.EIO)
    with pytest.raises(JournalFailed, match="creation of the next segment"):
        fill(journal)
    journal.close()


def test_a_store_that_cannot_be_made_leaves_nothing(directory: Path, refuse_room: Callable[[int], None]) -> None:
    refuse_room(errno.ENOSPC)
    with pytest.raises(JournalFull):
        begin(directory)
    assert contents(directory) == {}
    refuse_room(0)
    begin(directory).close()


def test_a_segment_needed_early_is_not_the_one_being_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The background thread is held in the middle of its zeros; whoever needs a file gets one without waiting."""
    begun, go_on = threading.Event(), threading.Event()
    sync = os.fdatasync

    def fdatasync(fd: int) -> None:
        begun.set()
        assert go_on.wait(30)
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    spares = SpareSegments(tmp_path, 16 * 1024)
    spares.prepare()
    assert begun.wait(30)
    early = spares.take(0)
    assert spares.file_bytes == 0
    go_on.set()
    until(lambda: spares.file_bytes)
    filled = spares.take(0)
    assert filled.path != early.path
    assert set(contents(tmp_path)) == {filled.path.name, early.path.name}
    spares.close()
    os.close(early.fd)
    os.close(filled.fd)


def test_zeros_that_cannot_be_synced_make_no_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", fail)
    spares = SpareSegments(tmp_path, 16 * 1024)
    spares.prepare()
    until(lambda: spares.error)
    assert "broken" in spares.error
    spares.close()
    assert spares.file_bytes == 0
    assert contents(tmp_path) == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    directory = small_disk / "journal"
    journal = begin(directory)
    taken = fill(journal)
    settle(journal)
    assert taken > 100
    with pytest.raises(JournalFull):
        journal.append([ENTRY], 1)
    freed = journal.trim(taken // 2)
    assert freed >= OPTIONS.segment_bytes
    assert fill(journal) > 5
    settle(journal)
    last_seq = journal.last_seq
    journal.close()
    journal = reopen(directory)
    assert journal.last_seq == last_seq
    assert set(everything(journal)) == {ENTRY}
    journal.close()
