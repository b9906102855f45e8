"""The head, the entries and the events of logs.

A log is a head and one entry per item, at positions first ... next - 1. Conversations have the same shape: their head
extends LogHead, their entries lie in the same family.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec
from msgspec import Raw

from recollectd.memory.kind import Description, Event, EventFunctions, Head, Mark
from recollectd.protocol import table
from recollectd.storage.keyspace import DELETE, DELETE_RANGE, PUT, Family, Write, path, row_key

_DELETES_MAX: Final = 8
_STORED_AT: Final = struct.Struct("<Q")


class LogHead(Head, frozen=True):
    """Where a log stands.

    revision: the commit of the last change; incarnation: the commit that created it; rewritten: the commit that last
    took items away, so that a reader knows whether positions it fetched still hold what its head spoke of; largest: no
    item or message has more bytes, so that a reader knows how many it may hold at once.
    """

    first: int
    next: int
    revision: int
    incarnation: int
    rewritten: int
    created_at: int
    updated_at: int
    largest: int  # nothing can be appended here any more: the fields of conversations' heads come next


decode_head: Final = msgspec.msgpack.Decoder(LogHead).decode


class Appended(Event, frozen=True, tag=16):
    """Items were appended at first ...; the head stands behind them. stored_at: theirs, or None for the head's."""

    head: LogHead
    first: int
    items: tuple[Raw, ...]
    stored_at: tuple[int, ...] | None = None


class Truncated(Event, frozen=True, tag=17):
    """Items before head.first and from head.next on were dropped."""

    head: LogHead
    previous_first: int
    previous_next: int


class Deleted(Event, frozen=True, tag=18):
    """The log was deleted."""

    first: int
    next: int


def pack_item(stored_at: int, value: bytes | Raw) -> bytes:
    """Return an entry's bytes: stored_at u64, value. Do not change."""
    return _STORED_AT.pack(stored_at) + bytes(value)


def unpack_item(data: bytes) -> tuple[int, Raw]:
    """Return stored_at and value of an entry."""
    return _STORED_AT.unpack_from(data)[0], Raw(data[_STORED_AT.size :])


def apply_appended(event: Appended, mark: Mark, writes: list[Write]) -> None:
    """Write head and entries."""
    head = event.head
    below = path(event.key)
    writes.append((PUT, Family.HEADS, event.key, table.encode(head)))
    for index, item in enumerate(event.items):
        stored_at = head.updated_at if event.stored_at is None else event.stored_at[index]
        writes.append((PUT, Family.ENTRIES, row_key(below, event.first + index), pack_item(stored_at, item)))


def apply_truncated(event: Truncated, mark: Mark, writes: list[Write]) -> None:
    """Write the head, drop entries on both sides."""
    below = path(event.key)
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    drop_entries(below, event.previous_first, event.head.first, writes)
    drop_entries(below, event.head.next, event.previous_next, writes)


def apply_deleted(event: Deleted, mark: Mark, writes: list[Write]) -> None:
    """Drop head and entries."""
    writes.append((DELETE, Family.HEADS, event.key, b""))
    drop_entries(path(event.key), event.first, event.next, writes)


def drop_entries(below: bytes, first: int, to: int, writes: list[Write]) -> None:
    """Drop the entries first ... to - 1 below a path: few one by one, many as one range."""
    if to - first <= _DELETES_MAX:
        writes.extend((DELETE, Family.ENTRIES, row_key(below, position), b"") for position in range(first, to))
    else:
        writes.append((DELETE_RANGE, Family.ENTRIES, row_key(below, first), row_key(below, to)))


def describe_appended(event: Appended) -> Description:
    """Say what happened."""
    return Description("append", event.head.next, table.encode(event.items))


def describe_truncated(event: Truncated) -> Description:
    """Say what happened."""
    return Description("truncate", event.head.next)


def describe_deleted(event: Deleted) -> Description:
    """Say what happened."""
    return Description("delete", event.next)


EVENTS: Final[dict[type[Event], EventFunctions]] = {
    Appended: (apply_appended, describe_appended),
    Truncated: (apply_truncated, describe_truncated),
    Deleted: (apply_deleted, describe_deleted),
}
