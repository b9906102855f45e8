"""Files of the view: written and synced, weighed by checksum, and mapped only when they are what they should be."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from recollectd._native import regions
from recollectd._native.checksum import xxh64
from recollectd.storage.durable import FILE_MODE
from recollectd.storage.vectors.errors import FileDamaged

# Smaller memory comes from the heap.
REGION_BYTES_MIN: Final = 1 << 20

_Number = TypeVar("_Number", bound=np.generic)


class FileMark(msgspec.Struct, frozen=True):
    """What a file must be: its length in bytes and the XXH64 of all of it."""

    length: int
    checksum: int


def write_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a new file and sync it; its name is durable once its folder is synced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        for part in parts:
            # Straight from where it is: to copy it into a buffer first would take the interpreter meanwhile.
            left = memoryview(part).cast("B")
            while left:
                left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def map_file(path: Path) -> memoryview | bytes:
    """Map a file read-only; an empty one is no bytes. Raises FileDamaged when it is not there."""
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            return regions.of_file(file.fileno(), length) if length else b""
    except OSError as error:
        raise FileDamaged(f"{path.name}: {error.strerror}") from error


def mark_of(path: Path) -> FileMark:
    """Return length and checksum of a file as it is. Other threads run while it is read."""
    mapped = map_file(path)
    return FileMark(len(mapped), _checksum(mapped))


def map_checked(path: Path, mark: FileMark) -> memoryview | bytes:
    """Map a file that is what its mark says. Raises FileDamaged, naming what differs; reads all of the file."""
    mapped = map_file(path)
    if len(mapped) != mark.length:
        raise FileDamaged(f"{path.parent.name}/{path.name} has {len(mapped)} bytes instead of {mark.length}")
    if _checksum(mapped) != mark.checksum:
        raise FileDamaged(f"{path.parent.name}/{path.name} does not have its checksum")
    return mapped


def room_for(shape: tuple[int, ...], kind: type[_Number]) -> npt.NDArray[_Number]:
    """Return zeros that take memory where they are touched, a small page at a time, and cost nobody time at the end."""
    length = math.prod(shape) * np.dtype(kind).itemsize
    if length < REGION_BYTES_MIN:
        return np.zeros(shape, kind)
    return np.frombuffer(regions.zeros(length), kind).reshape(shape)


def _checksum(mapped: memoryview | bytes) -> int:
    """Return the checksum of a mapped file; from the disk it is read ahead, in a quarter of the time."""
    if isinstance(mapped, bytes):
        return xxh64(mapped)
    regions.expect_in_order(mapped)
    checksum = xxh64(mapped)
    regions.expect_anything(mapped)
    return checksum
