"""Room on the data folder's file system: a watermark, and a ballast that is thrown off when there is none left.

Below the watermark only what frees room is accepted. The ballast is a file of allocated blocks: when the disk is full
nonetheless, removing it lets a restart open the store, and RocksDB finish what it could not.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

from recollectd.storage.durable import FILE_MODE, sync_folder

# Once low, room must exceed the watermark by this share before all is well again; the ballast waits for as much more.
RETURN_SHARE: Final = 0.25
INTERVAL_MS_DEFAULT: Final = 200


class DiskState(Enum):
    """Whether there is room."""

    OK = "ok"
    LOW = "low"  # only deletes and erasures


class DiskGuard:
    """Watches the room on the file system that holds `ballast`.

    ballast: the file's path. low_bytes: the watermark; 0: none. ballast_bytes: size of the ballast; 0: none.
    interval_ms: how old the last look may be. free_bytes and clock_s are there for tests.

    `state` is for any thread and never writes; `maintain` and `release_ballast` are for one thread at a time.
    """

    def __init__(
        self,
        ballast: Path,
        *,
        low_bytes: int,
        ballast_bytes: int,
        interval_ms: int = INTERVAL_MS_DEFAULT,
        free_bytes: Callable[[Path], int] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ballast = ballast
        self._aside = ballast.with_name(ballast.name + ".new")
        self._low_bytes = low_bytes
        self._return_bytes = low_bytes + int(low_bytes * RETURN_SHARE)
        self._ballast_bytes = ballast_bytes
        self._interval_s = interval_ms / 1000
        self._free_bytes = free_bytes or file_system_free_bytes
        self._clock_s = clock_s
        self._looked_at_s = float("-inf")
        self._state = DiskState.OK
        self._free = 0

    def state(self) -> DiskState:
        """Return whether there is room, as of at most `interval_ms` ago."""
        now_s = self._clock_s()
        if now_s - self._looked_at_s >= self._interval_s:
            self._looked_at_s = now_s
            self._look()
        return self._state

    @property
    def free_bytes(self) -> int:
        """Room at the last look."""
        return self._free

    def has_ballast(self) -> bool:
        """Whether the whole ballast is in place."""
        return self._ballast_size() == self._ballast_bytes

    def maintain(self) -> None:
        """Put the ballast in place if it is not, and there is room for it beside the watermark.

        For start-up, and now and then for a worker thread: it writes and syncs. Doing nothing costs a look.
        """
        if self.has_ballast():
            return
        self.release_ballast()
        self._look()
        if self._ballast_bytes and self._free >= self._return_bytes + self._ballast_bytes:
            self._create_ballast()

    def release_ballast(self) -> bool:
        """Remove the ballast; False when there was none. The next `state` looks afresh."""
        self._looked_at_s = float("-inf")
        removed = False
        for path in (self._ballast, self._aside):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                removed = True
        if removed:
            sync_folder(self._ballast.parent)
        return removed

    def _look(self) -> None:
        self._free = self._free_bytes(self._ballast.parent)
        if self._free < self._low_bytes:
            self._state = DiskState.LOW
        elif self._free >= self._return_bytes:
            self._state = DiskState.OK

    def _ballast_size(self) -> int:
        try:
            return self._ballast.stat().st_size
        except FileNotFoundError:
            return 0

    def _create_ballast(self) -> None:
        """Allocate under another name: a ballast is whole or not there."""
        try:
            descriptor = os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
            try:
                os.posix_fallocate(descriptor, 0, self._ballast_bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(self._aside, self._ballast)
            sync_folder(self._ballast.parent)
        except OSError:
            # Others use the disk too: what was free may be gone. Without ballast all goes on, until the next attempt.
            with contextlib.suppress(FileNotFoundError):
                self._aside.unlink()


def file_system_free_bytes(folder: Path) -> int:
    """Return how many bytes an ordinary user may still write on the file system of folder."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
