"""The head, the version rows and the events of state records.

A record is a head and one row per version. Versions of a record are contiguous: first_version ... version. A deletion
and an expiry are versions too, without a value; so history and reads as of a time need no other source. The head of a
deleted record stays until the sweep purges it, so that its versions go on counting when it is written again.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from recollectd.memory.kind import NEVER, Description, Event, EventFunctions, Head, Mark
from recollectd.protocol import table
from recollectd.storage.keyspace import (
    DELETE,
    DELETE_RANGE,
    INDEX_EXPIRY,
    PUT,
    Family,
    Write,
    expiry_key,
    path,
    row_key,
)

# Up to so many old versions are deleted one by one; more are cheaper as one range.
_DELETES_MAX: Final = 8


class StateHead(Head, frozen=True):
    """Where a record stands. Times in microseconds; expires_at and ttl_us are 0 for a record that does not expire.

    revision: the commit of the last change; deleted: the newest version is a deletion or an expiry; largest: no version
    has a value of more bytes, so that a reader knows how many it may hold at once.
    """

    version: int
    first_version: int
    revision: int
    created_at: int
    updated_at: int
    expires_at: int = NEVER
    ttl_us: int = 0
    sliding: bool = False
    deleted: bool = False
    largest: int = 0

    def alive(self, time: int) -> bool:
        """Return whether the record is there at a journal time: from expires_at on it is not."""
        return not self.deleted and (self.expires_at == NEVER or time < self.expires_at)


decode_head: Final = msgspec.msgpack.Decoder(StateHead).decode


class Written(Event, frozen=True, tag=1):
    """A value was written. previous_*: what the head said before, for the rows that must go."""

    head: StateHead
    value: Raw
    previous_expires_at: int = NEVER
    previous_first_version: int = 0


class Removed(Event, frozen=True, tag=2):
    """The record was deleted, or expired: head.updated_at says since when."""

    head: StateHead
    expired: bool
    previous_expires_at: int = NEVER
    previous_first_version: int = 0


class Touched(Event, frozen=True, tag=3):
    """The expiry was set anew: by request, or because a sliding record was read (refresh)."""

    head: StateHead
    previous_expires_at: int = NEVER
    refresh: bool = False

    @property
    def alters(self) -> bool:
        """A refresh must not fail the transaction whose own read caused it."""
        return not self.refresh


class Pruned(Event, frozen=True, tag=4):
    """Old versions were dropped."""

    head: StateHead
    previous_first_version: int

    @property
    def alters(self) -> bool:
        """The record stays as it is."""
        return False


class Purged(Event, frozen=True, tag=5):
    """A deleted record's head and remaining versions were dropped."""

    first_version: int
    version: int

    @property
    def alters(self) -> bool:
        """The record was absent before."""
        return False


class VersionRow(NamedTuple):
    """One version on disk: created_at u64, updated_at u64, expires_at u64, absent u8, value. Do not change."""

    created_at: int
    updated_at: int
    expires_at: int
    absent: bool
    value: bytes


_ROW: Final = struct.Struct("<QQQB")


def pack_version(row: VersionRow) -> bytes:
    """Return a version's bytes."""
    return _ROW.pack(row.created_at, row.updated_at, row.expires_at, row.absent) + row.value


def unpack_version(data: bytes) -> VersionRow:
    """Return a version from its bytes."""
    created_at, updated_at, expires_at, absent = _ROW.unpack_from(data)
    return VersionRow(created_at, updated_at, expires_at, bool(absent), data[_ROW.size :])


def apply_written(event: Written, mark: Mark, writes: list[Write]) -> None:
    """Write the head, the version and the expiry; drop the expiry before and versions past the history."""
    head = event.head
    below = path(event.key)
    writes.append((PUT, Family.HEADS, event.key, table.encode(head)))
    row = _ROW.pack(head.created_at, head.updated_at, head.expires_at, 0) + bytes(event.value)
    writes.append((PUT, Family.VALUES, row_key(below, head.version), row))
    _move_expiry(event.key, event.previous_expires_at, head.expires_at, writes)
    _drop_versions(below, event.previous_first_version, head.first_version, writes)


def apply_removed(event: Removed, mark: Mark, writes: list[Write]) -> None:
    """Write the head and a version without a value."""
    head = event.head
    below = path(event.key)
    writes.append((PUT, Family.HEADS, event.key, table.encode(head)))
    row = _ROW.pack(head.created_at, head.updated_at, NEVER, 1)
    writes.append((PUT, Family.VALUES, row_key(below, head.version), row))
    _move_expiry(event.key, event.previous_expires_at, NEVER, writes)
    _drop_versions(below, event.previous_first_version, head.first_version, writes)


def apply_touched(event: Touched, mark: Mark, writes: list[Write]) -> None:
    """Write the head, move the expiry. The version row keeps the expiry it was written with."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    _move_expiry(event.key, event.previous_expires_at, event.head.expires_at, writes)


def apply_pruned(event: Pruned, mark: Mark, writes: list[Write]) -> None:
    """Write the head, drop versions."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    _drop_versions(path(event.key), event.previous_first_version, event.head.first_version, writes)


def apply_purged(event: Purged, mark: Mark, writes: list[Write]) -> None:
    """Drop the head and what versions are left."""
    writes.append((DELETE, Family.HEADS, event.key, b""))
    _drop_versions(path(event.key), event.first_version, event.version + 1, writes)


def _move_expiry(key: bytes, before: int, now: int, writes: list[Write]) -> None:
    if before == now:
        return
    if before != NEVER:
        writes.append((DELETE, Family.INDEX, expiry_key(before, key), b""))
    if now != NEVER:
        writes.append((PUT, Family.INDEX, expiry_key(now, key), b""))


def _drop_versions(below: bytes, first: int, to: int, writes: list[Write]) -> None:
    """Drop the versions first ... to - 1; first 0 stands for none."""
    if not 0 < first < to:
        return
    if to - first <= _DELETES_MAX:
        writes.extend((DELETE, Family.VALUES, row_key(below, version), b"") for version in range(first, to))
    else:
        writes.append((DELETE_RANGE, Family.VALUES, row_key(below, first), row_key(below, to)))


def describe_written(event: Written) -> Description:
    """Say what happened."""
    return Description("put", event.head.version, bytes(event.value))


def describe_removed(event: Removed) -> Description:
    """Say what happened."""
    return Description("expire" if event.expired else "delete", event.head.version)


def describe_touched(event: Touched) -> Description:
    """Say what happened."""
    return Description("touch", event.head.version)


def describe_pruned(event: Pruned) -> Description:
    """Say what happened."""
    return Description("prune", event.head.version)


def describe_purged(event: Purged) -> Description:
    """Say what happened."""
    return Description("purge", event.version)


EVENTS: Final[dict[type[Event], EventFunctions]] = {
    Written: (apply_written, describe_written),
    Removed: (apply_removed, describe_removed),
    Touched: (apply_touched, describe_touched),
    Pruned: (apply_pruned, describe_pruned),
    Purged: (apply_purged, describe_purged),
}

# The expiry index is walked by the sweep from its beginning to the present.
EXPIRY_START: Final = INDEX_EXPIRY

# Memories are kept by version too.
move_expiry: Final = _move_expiry
drop_versions: Final = _drop_versions
