"""Mapped memory: what is in it, and that it is given back behind the last who looks at it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recollectd._native import regions
from recollectd.storage.vectors.files import REGION_BYTES_MIN, room_for

MIB = 1 << 20


def mapped(start: int) -> bool:
    """Tell whether an address is in a mapping of this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, end = (int(number, 16) for number in line.split()[0].split("-"))
        if first <= start < end:
            return True
    return False


def test_zeros_are_written_and_given_back_behind_the_last_reader() -> None:
    array = np.frombuffer(regions.zeros(16 * MIB), np.uint8)
    start = array.__array_interface__["data"][0]
    assert array.size == 16 * MIB
    assert not array.any()
    array[:] = 7
    part = array[5:9]
    del array
    regions.settle()
    assert part.tolist() == [7] * 4
    assert mapped(start)
    del part
    regions.settle()
    assert not mapped(start)
    assert regions.waiting_bytes() == 0


def test_a_file_is_read_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"what it says")
    with path.open("rb") as file:
        region = regions.of_file(file.fileno(), 12)
    for advise in (regions.expect_in_order, regions.leave_to_cache, regions.expect_anything, regions.expect_random):
        advise(region)
    path.unlink()
    assert bytes(region) == b"what it says"
    assert region.readonly
    with pytest.raises(TypeError, match="read-only"):
        region[0] = 1


def test_what_is_no_files_is_not_let_go_of() -> None:
    region = regions.zeros(MIB)
    region[7] = 3
    with pytest.raises(ValueError, match="would be lost"):
        regions.leave_to_cache(region)
    assert region[7] == 3


def test_what_cannot_be_mapped_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        regions.of_file(-1, 10)
    with pytest.raises(MemoryError):
        regions.zeros(1 << 60)
    with pytest.raises(ValueError, match="a byte or more"):
        regions.zeros(0)
    with pytest.raises(ValueError, match="a byte or more"):
        regions.of_file(0, 0)


@pytest.mark.parametrize("count", [0, 3, REGION_BYTES_MIN // 8])
def test_room_is_zeros_of_a_shape(count: int) -> None:
    room = room_for((count, 2), np.float32)
    assert room.shape == (count, 2)
    assert room.dtype == np.float32
    assert not room.any()
    room[:] = 1.5
    assert room.sum() == count * 3
