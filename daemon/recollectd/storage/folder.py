"""The data folder: what is in it, who has it, and how it comes to be.

    STORE            format, store id, shards (store_file)
    STORE.creating   the same, while the folder is being made
    lock             held by the process that has the folder (lock)
    ballast          released when the disk is full (disk)
    journal/         segments
    records/         RocksDB
    keywords/        the keyword view over memories; made anew from the records where it is lost
    vectors/         the vector view over memories, likewise
    before-N         kept by a migration from format N, with STORE.before-N (migrations)

A new folder becomes a store in one moment, when STORE.creating is renamed to STORE after journal and records are made.
A crash before it leaves nothing that anybody was promised, and the next start begins anew; after it, nothing that is
missing or unreadable is ever made anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from recollectd.storage.durable import FOLDER_MODE, sync_folder
from recollectd.storage.folder_errors import FolderDamaged, FolderForeign
from recollectd.storage.lock import LOCK_NAME, FolderLock
from recollectd.storage.migrations import FORMATS, Formats, migrate
from recollectd.storage.store_file import STORE_NAME, Store, new_store, read_store, write_store

# On disk: do not change.
CREATING_NAME: Final = "STORE.creating"
JOURNAL_NAME: Final = "journal"
RECORDS_NAME: Final = "records"
BALLAST_NAME: Final = "ballast"

# What a folder may hold before it is a store: what a start that was killed early leaves, and what a file system does.
# The last three belong to daemons that a client starts for a folder of its own.
_HARMLESS: Final = frozenset(
    (
        *(LOCK_NAME, CREATING_NAME, f"{CREATING_NAME}.new", BALLAST_NAME, f"{BALLAST_NAME}.new", "lost+found"),
        *("recollectd.sock", "daemon.log", ".start-lock"),
    )
)


class DataFolder:
    """A data folder that this process has. Made by `open_folder`; `close` gives it back."""

    def __init__(self, path: Path, lock: FolderLock, store: Store, *, is_new: bool) -> None:
        self.path = path
        self.store = store
        self.is_new = is_new
        self._lock = lock

    @property
    def journal(self) -> Path:
        """The journal's folder; in a new folder it is not there yet."""
        return self.path / JOURNAL_NAME

    @property
    def records(self) -> Path:
        """RocksDB's folder; in a new folder it is not there yet."""
        return self.path / RECORDS_NAME

    @property
    def ballast(self) -> Path:
        """The ballast file."""
        return self.path / BALLAST_NAME

    @property
    def store_id(self) -> bytes:
        """The store's id: 16 bytes."""
        return bytes.fromhex(self.store.store_id)

    def establish(self) -> None:
        """Make a new folder a store, once journal and records are made and before anything is promised to anybody.

        In a folder that is a store already it does nothing.
        """
        if not self.is_new:
            return
        for folder in (self.journal, self.records):
            sync_folder(folder)
        sync_folder(self.path)
        os.rename(self.path / CREATING_NAME, self.path / STORE_NAME)
        sync_folder(self.path)
        self.is_new = False

    def announce(self, addresses: Sequence[str]) -> None:
        """Tell those who look at the folder, by URLs, where this process listens."""
        self._lock.announce(addresses)

    def close(self) -> None:
        """Give the folder back, last of all. Again does nothing."""
        self._lock.release()


def open_folder(path: Path, *, shard_labels: int = 1, formats: Formats = FORMATS) -> DataFolder:
    """Take the folder at path; make it, with shard_labels, when there is none or an empty one; migrate an older one.

    Raises FolderLocked naming the owner, FolderForeign, FolderDamaged, FolderFormat and MigrationRefused; OSError when
    the file system does not let it.
    """
    _make_folder(path)
    _refuse_what_is_no_store(path)  # before the lock, which would leave a file in somebody else's folder
    lock = FolderLock(path)
    try:
        path.chmod(FOLDER_MODE)
        _refuse_what_is_no_store(path)
        if (path / STORE_NAME).exists():
            migrate(path, formats)
            return DataFolder(path, lock, _read_whole(path), is_new=False)
        return DataFolder(path, lock, _begin(path, new_store(shard_labels, formats.current)), is_new=True)
    except BaseException:
        lock.release()
        raise


def _make_folder(path: Path) -> None:
    if path.is_dir():
        return
    if path.exists():
        raise FolderForeign(f"{path} is not a folder")
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    for folder in made:
        sync_folder(folder.parent)


def _refuse_what_is_no_store(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    if STORE_NAME in names:
        return
    if CREATING_NAME not in names:
        for name in sorted(names & {JOURNAL_NAME, RECORDS_NAME}):
            raise FolderDamaged(f"{path} holds {name}/ but no {STORE_NAME}. Restore it; the store is not made anew")
    foreign = names - _HARMLESS - {JOURNAL_NAME, RECORDS_NAME}
    if foreign:
        raise FolderForeign(f"{path} is not empty and no store: it holds {min(foreign)}. Choose an empty folder")


def _read_whole(path: Path) -> Store:
    store = read_store(path / STORE_NAME)
    for name in (JOURNAL_NAME, RECORDS_NAME):
        if not (path / name).is_dir():
            raise FolderDamaged(f"{path} holds a store, but {name}/ is missing. Restore it; it is not made anew")
    return store


def _begin(path: Path, store: Store) -> Store:
    """Begin a new store; what an earlier beginning left was never a store."""
    write_store(path / CREATING_NAME, store)
    for name in (JOURNAL_NAME, RECORDS_NAME):
        shutil.rmtree(path / name, ignore_errors=True)
    sync_folder(path)
    return store
