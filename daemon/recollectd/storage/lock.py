"""One process per data folder, and a way to learn which."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from recollectd.storage.durable import FILE_MODE
from recollectd.storage.folder_errors import FolderLocked

LOCK_NAME: Final = "lock"

# Never written shorter, so that a reader at the same moment sees the old text or the new one. One page.
_OWNER_BYTES: Final = 4096


class Owner(msgspec.Struct, frozen=True):
    """Who has the folder. started_at: ISO 8601, UTC; addresses: URLs it listens on, none before it does."""

    pid: int
    host: str
    started_at: str
    addresses: tuple[str, ...] = ()

    def __str__(self) -> str:
        listening = f", listening on {', '.join(self.addresses)}" if self.addresses else ""
        return f"process {self.pid} on {self.host}, started {self.started_at}{listening}"


class FolderLock:
    """The lock of one folder, held until `release` or the end of the process. Not handed to children."""

    def __init__(self, folder: Path) -> None:
        """Take the lock; raises FolderLocked naming the owner when another process has it.

        The file stays for good: who removed it could let two processes lock two files of one name.
        """
        path = folder / LOCK_NAME
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            owner = read_owner(folder) or "a process that is starting or stopping"
            raise FolderLocked(f"{folder} is in use by {owner}") from None
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._owner = Owner(os.getpid(), os.uname().nodename, now)
        self._write(msgspec.json.encode(self._owner))

    def announce(self, addresses: Sequence[str]) -> None:
        """Tell those who read the lock where this process listens."""
        self._owner = msgspec.structs.replace(self._owner, addresses=tuple(addresses))
        self._write(msgspec.json.encode(self._owner))

    def release(self) -> None:
        """Give the lock back. Again does nothing."""
        if self._descriptor >= 0:
            self._write(b"")
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, text: bytes) -> None:
        written = os.pwrite(self._descriptor, text.ljust(_OWNER_BYTES, b"\n"), 0)
        os.ftruncate(self._descriptor, written)


def read_owner(folder: Path) -> Owner | None:
    """Return who has, or was killed while it had, the folder; None when nobody has or it cannot be read."""
    try:
        return msgspec.json.decode((folder / LOCK_NAME).read_bytes(), type=Owner)
    except (OSError, msgspec.DecodeError):
        return None
