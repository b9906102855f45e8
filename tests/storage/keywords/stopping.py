"""Files that stop before a chosen operation, and that can forget what was not synced, as a power cut would."""

from __future__ import annotations

import os
import random
from pathlib import Path

from recollectd.storage.keywords.files import ASIDE_SUFFIX, Files


class Stopped(BaseException):
    """The process ended here. Not an Exception: nothing may handle it."""


class StoppingFiles(Files):
    """operations_left: how many operations are still done, None for any number."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.operations_left: int | None = None
        self._synced: dict[int, bytes] = {}  # by inode
        found = sorted(folder.iterdir()) if folder.is_dir() else []  # what came through the last crash is durable
        self._durable_names = {path.name: path.read_bytes() for path in found}

    def _step(self) -> None:
        if self.operations_left is not None:
            if self.operations_left == 0:
                raise Stopped
            self.operations_left -= 1

    def create(self, name: str) -> int:
        self._step()
        descriptor = super().create(name)
        self._synced[os.fstat(descriptor).st_ino] = b""
        return descriptor

    def write(self, descriptor: int, content: bytes) -> None:
        self._step()
        super().write(descriptor, content)

    def sync(self, descriptor: int) -> None:
        self._step()
        super().sync(descriptor)
        status = os.fstat(descriptor)
        self._synced[status.st_ino] = os.pread(descriptor, status.st_size, 0)

    def rename(self, name: str) -> None:
        self._step()
        super().rename(name)

    def sync_names(self) -> None:
        self._step()
        super().sync_names()
        self._durable_names = {name: self._content(name) for name in self.names()}

    def remove(self, name: str) -> None:
        self._step()
        super().remove(name)

    def _content(self, name: str) -> bytes:
        path = self.folder / name
        return self._synced.get(path.stat().st_ino, path.read_bytes())

    def cut_power(self, rng: random.Random) -> None:
        """Leave of what was not synced what chance leaves: any names, any beginning of a file's bytes."""
        now = {name: (self.folder / name).read_bytes() for name in self.names()}
        synced = {name: self._content(name) for name in now}
        for name in {*now, *self._durable_names}:
            path = self.folder / name
            if name in self._durable_names and (name not in now or rng.random() < 0.5):
                path.unlink(missing_ok=True)
                if name in now or rng.random() < 0.5 or not name.endswith(ASIDE_SUFFIX):
                    path.write_bytes(self._durable_names[name])
            elif rng.random() < 0.5 and name not in self._durable_names:
                path.unlink()
            else:
                length = rng.randint(len(synced[name]), len(now[name])) if len(now[name]) > len(synced[name]) else None
                path.write_bytes(synced[name] if length is None else now[name][:length])
