"""Tails of logs in the value cache: what it learns of events and of cold reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recollectd.memory.kind import Event, Fill, Follow
from recollectd.memory.logs.events import Appended, Deleted, LogHead, Truncated
from recollectd.protocol import table
from recollectd.protocol.messages.logs import LogItem

if TYPE_CHECKING:
    from recollectd._native.value_cache import ValueCache


def follow_appended(cache: ValueCache, seq: int, event: Appended) -> None:
    """The tail goes on with the items, or begins with them."""
    head = event.head
    items = []
    for index in range(max(0, len(event.items) - cache.tail_items_max), len(event.items)):
        stored_at = head.updated_at if event.stored_at is None else event.stored_at[index]
        items.append(table.encode(LogItem(event.first + index, stored_at, event.items[index])))
    cache.append(seq, event.key, head.first, head.next, head.revision, event.first, tuple(items))


def follow_truncated(cache: ValueCache, seq: int, event: Truncated) -> None:
    """The tail is cut down with the log."""
    cache.cut(seq, event.key, event.head.first, event.head.next, event.head.revision)


def follow_deleted(cache: ValueCache, seq: int, event: Deleted) -> None:
    """A log that is not there reads like an empty one."""
    cache.append(seq, event.key, 0, 0, 0, 0, ())


FOLLOWS: Final[dict[type[Event], Follow]] = {
    Appended: follow_appended,
    Truncated: follow_truncated,
    Deleted: follow_deleted,
}


def fill_tail(key: bytes, head: LogHead | None, items: tuple[bytes, ...]) -> Fill:
    """Return what fills in the newest items of a log, encoded as they go out. head: None where there is no log."""
    first, end, revision = (0, 0, 0) if head is None else (head.first, head.next, head.revision)
    return lambda cache, read_at: cache.fill_tail(read_at, key, first, end, revision, items)
