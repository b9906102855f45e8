"""Every operation on the view's files, one method each, so that a test can stop between any two of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from recollectd._native.checksum import xxh64
from recollectd._native.keyword_index import CHECKSUM_BLOCK_BYTES
from recollectd.storage.durable import FILE_MODE, FOLDER_MODE, sync_folder

ASIDE_SUFFIX: Final = ".new"


class Files:
    """The files of one folder, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make_folder(self) -> None:
        """Make the folder, durably, if it is not there."""
        if not self.folder.is_dir():
            self.folder.mkdir(mode=FOLDER_MODE, parents=True)
            sync_folder(self.folder.parent)

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(path.name for path in self.folder.iterdir())

    def create(self, name: str) -> int:
        """Return the descriptor of a new, empty file beside the one of that name."""
        path = self.folder / (name + ASIDE_SUFFIX)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)

    def open(self, name: str) -> int:
        """Return a descriptor for reading. Raises OSError."""
        return os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC)

    def write(self, descriptor: int, content: bytes) -> None:
        """Write all of it."""
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)

    def sync(self, descriptor: int) -> None:
        """Make what was written durable."""
        os.fsync(descriptor)

    def rename(self, name: str) -> None:
        """Give what was made aside its name."""
        os.rename(self.folder / (name + ASIDE_SUFFIX), self.folder / name)

    def sync_names(self) -> None:
        """Make names given and removed durable."""
        sync_folder(self.folder)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.folder / name).unlink(missing_ok=True)


def replace(files: Files, name: str, content: bytes) -> None:
    """Write a file: after a crash it is the old one or the new one."""
    descriptor = files.create(name)
    try:
        files.write(descriptor, content)
        files.sync(descriptor)
    finally:
        os.close(descriptor)
    files.rename(name)
    files.sync_names()


def checksum_of(descriptor: int) -> tuple[int, int]:
    """Return a file's size and checksum, read and not mapped: a page that cannot be read is an OSError here."""
    size = checksum = 0
    while block := os.pread(descriptor, CHECKSUM_BLOCK_BYTES, size):
        while len(block) < CHECKSUM_BLOCK_BYTES and (
            more := os.pread(descriptor, CHECKSUM_BLOCK_BYTES - len(block), size + len(block))
        ):
            block += more
        checksum = xxh64(block, checksum)
        size += len(block)
    return size, checksum
