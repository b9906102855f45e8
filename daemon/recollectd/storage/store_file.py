"""The file STORE: which format the data folder has, and whose it is."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from recollectd.storage.durable import write_file
from recollectd.storage.folder_errors import FolderDamaged

Content = TypeVar("Content", bound=msgspec.Struct)

# On disk: do not change.
STORE_NAME: Final = "STORE"
STORE_FORMAT: Final = 1
STORE_ID_BYTES: Final = 16


class Store(msgspec.Struct, frozen=True):
    """What STORE says. Do not change the names: they are on disk.

    format: layout of everything in the folder; store_id: 32 hexadecimal digits, given once; shard_labels: how many
    leading labels of a namespace decide its shard; created_at: ISO 8601, UTC.
    """

    format: int
    store_id: str
    shard_labels: int
    created_at: str


class _Format(msgspec.Struct):
    """The one field that every format has: what else STORE holds is up to the format."""

    format: int


def new_store(shard_labels: int, store_format: int = STORE_FORMAT) -> Store:
    """Return a store with an id of its own."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Store(store_format, secrets.token_hex(STORE_ID_BYTES), shard_labels, now)


def encode_store(store: Store) -> bytes:
    """Return STORE's content."""
    return msgspec.json.format(msgspec.json.encode(store), indent=2) + b"\n"


def write_store(path: Path, store: Store) -> None:
    """Replace the file at path by what store says, durably."""
    write_file(path, encode_store(store))


def read_format(path: Path) -> int:
    """Return the format that the file at path states. Raises FolderDamaged when it cannot be read."""
    return _decode(path, _Format).format


def read_store(path: Path) -> Store:
    """Return what the file at path says, which is of a format with these fields. Raises FolderDamaged."""
    store = _decode(path, Store)
    try:
        whole = len(bytes.fromhex(store.store_id)) == STORE_ID_BYTES
    except ValueError:
        whole = False
    if not whole or store.shard_labels < 1:
        raise FolderDamaged(f"{path} cannot be read: store_id or shard_labels is not what it must be")
    return store


def _decode(path: Path, kind: type[Content]) -> Content:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise FolderDamaged(f"{path} cannot be read: {error}. Restore it from a backup; it is not made anew") from error
