"""Files of the view: written and synced, weighed by checksum, and mapped only when they are what they should be."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from recollectd._native.checksum import xxh64
from recollectd.storage.durable import FILE_MODE
from recollectd.storage.vectors.errors import FileDamaged

CHUNK_BYTES: Final = 1 << 22


class FileMark(msgspec.Struct, frozen=True):
    """What a file must be: its length in bytes and the XXH64 of all of it."""

    length: int
    checksum: int


def write_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a new file and sync it; its name is durable once its folder is synced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with open(descriptor, "wb", buffering=CHUNK_BYTES) as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(descriptor)


def map_file(path: Path) -> mmap.mmap | bytes:
    """Map a file read-only; an empty one is no bytes. Raises FileDamaged when it is not there."""
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return b""
            return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    except OSError as error:
        raise FileDamaged(f"{path.name}: {error.strerror}") from error


def mark_of(path: Path) -> FileMark:
    """Return length and checksum of a file as it is. Other threads run while it is read."""
    mapped = map_file(path)
    return FileMark(len(mapped), _checksum(mapped))


def map_checked(path: Path, mark: FileMark) -> mmap.mmap | bytes:
    """Map a file that is what its mark says. Raises FileDamaged, naming what differs; reads all of the file."""
    mapped = map_file(path)
    if len(mapped) != mark.length:
        raise FileDamaged(f"{path.parent.name}/{path.name} has {len(mapped)} bytes instead of {mark.length}")
    if _checksum(mapped) != mark.checksum:
        raise FileDamaged(f"{path.parent.name}/{path.name} does not have its checksum")
    return mapped


def _checksum(mapped: mmap.mmap | bytes) -> int:
    """Return the checksum of a mapped file; from the disk it is read ahead, in a quarter of the time."""
    if isinstance(mapped, bytes):
        return xxh64(mapped)
    mapped.madvise(mmap.MADV_SEQUENTIAL)
    checksum = xxh64(memoryview(mapped))
    mapped.madvise(mmap.MADV_NORMAL)
    return checksum
