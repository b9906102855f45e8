"""State records in the value cache: what it learns of events and of cold reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recollectd.memory.kind import Event, Fill, Follow
from recollectd.memory.state.events import Purged, Removed, StateHead, Touched, Written

if TYPE_CHECKING:
    from recollectd._native.value_cache import ValueCache


def follow_written(cache: ValueCache, seq: int, event: Written) -> None:
    """The new value takes the place of the old one."""
    head = event.head
    cache.put(
        seq,
        event.key,
        event.value,
        head.version,
        head.created_at,
        head.updated_at,
        head.expires_at,
        head.revision,
        head.sliding,
    )


def follow_removed(cache: ValueCache, seq: int, event: Removed | Purged) -> None:
    """The record is absent."""
    cache.put_absent(seq, event.key)


def follow_touched(cache: ValueCache, seq: int, event: Touched) -> None:
    """The value stays, the expiry is another."""
    head = event.head
    cache.touch(seq, event.key, head.expires_at, head.revision, head.sliding)


# Pruned is not among them: what it drops lies before the version that is cached.
FOLLOWS: Final[dict[type[Event], Follow]] = {
    Written: follow_written,
    Removed: follow_removed,
    Touched: follow_touched,
    Purged: follow_removed,
}


def fill_record(key: bytes, head: StateHead, value: bytes) -> Fill:
    """Return what fills in the record of a head and the value of its version."""
    return lambda cache, read_at: cache.fill(
        read_at,
        key,
        value,
        head.version,
        head.created_at,
        head.updated_at,
        head.expires_at,
        head.revision,
        head.sliding,
    )


def fill_absent(key: bytes) -> Fill:
    """Return what fills in that there is no such record."""
    return lambda cache, read_at: cache.fill_absent(read_at, key)
