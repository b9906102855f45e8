"""The watermark and the ballast, on a disk whose room is made up and one that is real."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from recollectd.storage.disk import DiskGuard, DiskState, file_system_free_bytes
from recollectd.storage.durable import FILE_MODE

MIB = 1024 * 1024


class Disk:
    """A disk with as much room as the test says; counts how often it is asked. Its clock stands still."""

    def __init__(self, ballast: Path) -> None:
        self.ballast = ballast
        self.free = 1000 * MIB
        self.now_s = 50.0
        self.looks = 0

    def free_bytes(self, folder: Path) -> int:
        assert folder == self.ballast.parent
        self.looks += 1
        return self.free

    def guard(self, *, low_bytes: int = 100 * MIB, ballast_bytes: int = 8 * MIB, interval_ms: int = 200) -> DiskGuard:
        return DiskGuard(
            self.ballast,
            low_bytes=low_bytes,
            ballast_bytes=ballast_bytes,
            interval_ms=interval_ms,
            free_bytes=self.free_bytes,
            clock_s=lambda: self.now_s,
        )


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "ballast")


def test_low_below_the_watermark_and_well_again_only_well_above_it(disk: Disk) -> None:
    guard = disk.guard(interval_ms=0)
    for free, state in [
        (100 * MIB, DiskState.OK),
        (100 * MIB - 1, DiskState.LOW),
        (110 * MIB, DiskState.LOW),
        (125 * MIB - 1, DiskState.LOW),
        (125 * MIB, DiskState.OK),
        (110 * MIB, DiskState.OK),
        (0, DiskState.LOW),
        (1000 * MIB, DiskState.OK),
    ]:
        disk.free = free
        assert guard.state() is state, free
        assert guard.free_bytes == free


def test_the_disk_is_asked_once_an_interval(disk: Disk) -> None:
    guard = disk.guard()
    assert guard.state() is DiskState.OK
    disk.free = 0
    disk.now_s += 0.199
    assert guard.state() is DiskState.OK
    assert disk.looks == 1
    disk.now_s += 0.002
    assert guard.state() is DiskState.LOW
    assert guard.state() is DiskState.LOW
    assert disk.looks == 2


def test_the_ballast_takes_room_and_gives_it_back(disk: Disk) -> None:
    guard = disk.guard()
    assert not guard.has_ballast()
    guard.maintain()
    assert guard.has_ballast()
    status = disk.ballast.stat()
    assert status.st_size == 8 * MIB
    assert status.st_blocks * 512 >= 8 * MIB, "a hole is no ballast"
    assert status.st_mode & 0o777 == FILE_MODE
    assert guard.release_ballast() is True
    assert not guard.has_ballast()
    assert os.listdir(disk.ballast.parent) == []
    assert guard.release_ballast() is False


def test_state_looks_afresh_after_the_ballast_is_released(disk: Disk) -> None:
    guard = disk.guard()
    guard.maintain()
    disk.free = 0
    disk.now_s += 1
    assert guard.state() is DiskState.LOW
    disk.free = 200 * MIB
    guard.release_ballast()
    assert guard.state() is DiskState.OK


def test_the_ballast_returns_once_there_is_room_for_it_beside_the_watermark(disk: Disk) -> None:
    guard = disk.guard()
    for free, expected in [(0, False), (125 * MIB, False), (133 * MIB - 1, False), (133 * MIB, True), (0, True)]:
        disk.free = free
        guard.maintain()
        assert guard.has_ballast() is expected, free
    # What is left after it came back is well, and not low.
    disk.free = 125 * MIB
    assert disk.guard().state() is DiskState.OK


def test_another_size_or_none_replaces_the_ballast(disk: Disk) -> None:
    disk.guard().maintain()
    disk.guard(ballast_bytes=4 * MIB).maintain()
    assert disk.ballast.stat().st_size == 4 * MIB
    guard = disk.guard(ballast_bytes=0)
    guard.maintain()
    assert not disk.ballast.exists()
    assert guard.has_ballast()
    assert disk.guard(low_bytes=0, ballast_bytes=0).state() is DiskState.OK


def test_room_that_is_gone_meanwhile_leaves_no_half_a_ballast(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    guard = disk.guard()
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        guard.maintain()
    assert not guard.has_ballast()
    assert os.listdir(disk.ballast.parent) == []
    guard.maintain()
    assert guard.has_ballast()


def test_what_a_crash_left_of_a_ballast_goes_with_it(disk: Disk) -> None:
    aside = disk.ballast.with_name("ballast.new")
    aside.write_bytes(b"x")
    assert disk.guard().release_ballast() is True
    assert not aside.exists()


def test_the_real_disk_has_as_much_room_as_statvfs_says(tmp_path: Path) -> None:
    free = file_system_free_bytes(tmp_path)
    status = os.statvfs(tmp_path)
    assert 0 < free <= status.f_blocks * status.f_frsize
    guard = DiskGuard(tmp_path / "ballast", low_bytes=1 << 62, ballast_bytes=0)
    assert guard.state() is DiskState.LOW
    assert guard.free_bytes > 0
