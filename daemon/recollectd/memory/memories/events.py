"""The events of memories and vector spaces, and the rows they become."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from recollectd.memory.kind import NEVER, Description, Event, EventFunctions, Head, Mark
from recollectd.memory.memories.heads import (
    DroppedSpaceHead,
    MemoryHead,
    SpaceHead,
    TextHead,
    ThreadHead,
    accessed_key,
    embedded_key,
    left_key,
    thread_key,
    vectors_key,
)
from recollectd.memory.state.events import VersionRow, drop_versions, move_expiry, pack_version
from recollectd.protocol import table
from recollectd.protocol.messages.fields import RawOrNil, nil_to_none
from recollectd.storage.keyspace import (
    DELETE,
    PUT,
    Family,
    Write,
    change_key,
    namespace_end,
    path,
    row_key,
    thread_row_key,
)


class MemoryWritten(Event, frozen=True, tag=96):
    """A version was written. vectors: the row beside it, None where it stays; previous_*: what the head said before."""

    head: MemoryHead
    body: Raw
    vectors: RawOrNil = None
    previous_expires_at: int = NEVER
    previous_first_version: int = 0

    def __post_init__(self) -> None:
        nil_to_none(self, "vectors")


class MemoryRemoved(Event, frozen=True, tag=97):
    """The memory was deleted, or expired."""

    head: MemoryHead
    expired: bool
    previous_expires_at: int = NEVER
    previous_first_version: int = 0


class MemoryHidden(Event, frozen=True, tag=98):
    """The memory was forgotten, remembered again, or superseded: head says."""

    head: MemoryHead


class MemoryPruned(Event, frozen=True, tag=99):
    """Old versions were dropped."""

    head: MemoryHead
    previous_first_version: int

    @property
    def alters(self) -> bool:
        """The memory stays as it is."""
        return False


class MemoryPurged(Event, frozen=True, tag=100):
    """A deleted memory's head and remaining versions were dropped."""

    first_version: int
    version: int

    @property
    def alters(self) -> bool:
        """The memory was absent before."""
        return False


class MemoryEmbedded(Event, frozen=True, tag=103):
    """The memory was given a vector. vectors: the row of all it has now."""

    head: MemoryHead
    vectors: Raw


class MemoryStripped(Event, frozen=True, tag=104):
    """Vectors of a dropped space were taken from beside the memory; vectors: the row of those left, None for none."""

    head: MemoryHead
    vectors: RawOrNil = None

    def __post_init__(self) -> None:
        nil_to_none(self, "vectors")

    @property
    def alters(self) -> bool:
        """Nobody saw them any more."""
        return False


class MemoryAccessed(Event, frozen=True, tag=105):
    """The memory was found, once or more often since this was last noted; its revision stays."""

    head: MemoryHead

    @property
    def alters(self) -> bool:
        """A reader must not disturb a transaction."""
        return False


class ThreadGrown(Event, frozen=True, tag=101):
    """A conversation has one more memory."""

    head: ThreadHead

    @property
    def alters(self) -> bool:
        """The memory's own event says so."""
        return False


class TextNoted(Event, frozen=True, tag=102):
    """Which memories say the very same; None: none any more."""

    head: TextHead | None

    @property
    def alters(self) -> bool:
        """The memory's own event says so."""
        return False


class SpaceSet(Event, frozen=True, tag=112):
    """A vector space, or an alias, was created or now stands for another one."""

    head: SpaceHead


class SpaceDropped(Event, frozen=True, tag=113):
    """A vector space, or an alias, was dropped."""


class SpaceSwept(Event, frozen=True, tag=114):
    """How far the vectors of a dropped space are taken from beside memories; None: all are."""

    head: DroppedSpaceHead | None

    @property
    def alters(self) -> bool:
        """The space was gone before."""
        return False


def apply_written(event: MemoryWritten, mark: Mark, writes: list[Write]) -> None:
    """Write head, version, vectors and the place in the conversation; drop what they replace."""
    key, head = event.key, event.head
    below = path(key)
    writes.append((PUT, Family.HEADS, key, table.encode(head)))
    row = VersionRow(head.created_at, head.updated_at, head.expires_at, False, bytes(event.body))
    writes.append((PUT, Family.VALUES, row_key(below, head.version), pack_version(row)))
    if event.vectors is not None:
        writes.append((PUT, Family.ENTRIES, vectors_key(key), bytes(event.vectors)))
    elif not head.vectors:
        writes.append((DELETE, Family.ENTRIES, vectors_key(key), b""))
    if head.thread:
        writes.append((PUT, Family.INDEX, _thread_row(key, head), key[namespace_end(key) :]))
    _note_change(key, mark, writes)
    move_expiry(key, event.previous_expires_at, head.expires_at, writes)
    drop_versions(below, event.previous_first_version, head.first_version, writes)


def apply_removed(event: MemoryRemoved, mark: Mark, writes: list[Write]) -> None:
    """Write head and a version without contents; drop vectors and place."""
    key, head = event.key, event.head
    below = path(key)
    writes.append((PUT, Family.HEADS, key, table.encode(head)))
    row = VersionRow(head.created_at, head.updated_at, NEVER, True, b"")
    writes.append((PUT, Family.VALUES, row_key(below, head.version), pack_version(row)))
    writes.append((DELETE, Family.ENTRIES, vectors_key(key), b""))
    if head.thread:
        writes.append((DELETE, Family.INDEX, _thread_row(key, head), b""))
        _note_change(left_key(key, head), mark, writes)
    _note_change(key, mark, writes)
    move_expiry(key, event.previous_expires_at, NEVER, writes)
    drop_versions(below, event.previous_first_version, head.first_version, writes)


def apply_hidden(event: MemoryHidden, mark: Mark, writes: list[Write]) -> None:
    """Write the head."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    _note_change(event.key, mark, writes)


def apply_pruned(event: MemoryPruned, mark: Mark, writes: list[Write]) -> None:
    """Write the head, drop versions."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    drop_versions(path(event.key), event.previous_first_version, event.head.first_version, writes)


def apply_purged(event: MemoryPurged, mark: Mark, writes: list[Write]) -> None:
    """Drop the head and what versions are left."""
    writes.append((DELETE, Family.HEADS, event.key, b""))
    drop_versions(path(event.key), event.first_version, event.version + 1, writes)


def apply_embedded(event: MemoryEmbedded, mark: Mark, writes: list[Write]) -> None:
    """Write the head and the row of vectors."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    writes.append((PUT, Family.ENTRIES, vectors_key(event.key), bytes(event.vectors)))
    _note_change(embedded_key(event.key), mark, writes)


def apply_stripped(event: MemoryStripped, mark: Mark, writes: list[Write]) -> None:
    """Write the head and the row of vectors that are left; the views have let go of the others."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    if event.vectors is None:
        writes.append((DELETE, Family.ENTRIES, vectors_key(event.key), b""))
    else:
        writes.append((PUT, Family.ENTRIES, vectors_key(event.key), bytes(event.vectors)))


def apply_accessed(event: MemoryAccessed, mark: Mark, writes: list[Write]) -> None:
    """Write the head."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))


def apply_head(event: ThreadGrown | TextNoted | SpaceSet | SpaceSwept, mark: Mark, writes: list[Write]) -> None:
    """Write a head, or drop it."""
    head: Head | None = event.head
    if head is None:
        writes.append((DELETE, Family.HEADS, event.key, b""))
    else:
        writes.append((PUT, Family.HEADS, event.key, table.encode(head)))


def apply_space(event: SpaceSet, mark: Mark, writes: list[Write]) -> None:
    """Write the head of a space."""
    apply_head(event, mark, writes)
    _note_change(event.key, mark, writes)


def apply_space_dropped(event: SpaceDropped, mark: Mark, writes: list[Write]) -> None:
    """Drop the head of a space; a sweep takes its vectors from beside memories."""
    writes.append((DELETE, Family.HEADS, event.key, b""))
    _note_change(event.key, mark, writes)


def _thread_row(key: bytes, head: MemoryHead) -> bytes:
    return thread_row_key(path(thread_key(key, head.thread)), head.position)


def noted(event: Event) -> tuple[bytes, ...]:
    """Return what the views over memories are told of an event of a memory or a space."""
    if isinstance(event, MemoryEmbedded):
        return (embedded_key(event.key),)
    if isinstance(event, MemoryAccessed):
        return (accessed_key(event.key),)
    if isinstance(event, MemoryRemoved) and event.head.thread:
        return event.key, left_key(event.key, event.head)
    return (event.key,) if event.alters else ()


def _note_change(key: bytes, mark: Mark, writes: list[Write]) -> None:
    """Say to the views over memories which record a commit has changed."""
    writes.append((PUT, Family.INDEX, change_key(mark.seq, key), b""))


def describe_written(event: MemoryWritten) -> Description:
    """Say what happened."""
    return Description("put", event.head.version, bytes(event.body))


def describe_removed(event: MemoryRemoved) -> Description:
    """Say what happened."""
    return Description("expire" if event.expired else "delete", event.head.version)


def describe_hidden(event: MemoryHidden) -> Description:
    """Say what happened."""
    head = event.head
    operation = "supersede" if head.superseded_at == head.updated_at else "forget" if head.forgotten_at else "remember"
    return Description(operation, head.version)


def describe_pruned(event: MemoryPruned) -> Description:
    """Say what happened."""
    return Description("prune", event.head.version)


def describe_purged(event: MemoryPurged) -> Description:
    """Say what happened."""
    return Description("purge", event.version)


def describe_embedded(event: MemoryEmbedded) -> Description:
    """Say what happened."""
    return Description("embed", event.head.version)


def describe_stripped(event: MemoryStripped) -> Description:
    """Say what happened."""
    return Description("strip", event.head.version)


def describe_accessed(event: MemoryAccessed) -> Description:
    """Say what happened."""
    return Description("access", event.head.version)


def describe_kept(event: ThreadGrown | TextNoted | SpaceSwept) -> Description:
    """Say what happened."""
    return Description("note", 0)


def describe_space(event: SpaceSet) -> Description:
    """Say what happened."""
    return Description("alias" if event.head.alias_of else "create", 0)


def describe_space_dropped(event: SpaceDropped) -> Description:
    """Say what happened."""
    return Description("drop", 0)


MEMORY_EVENTS: Final[dict[type[Event], EventFunctions]] = {
    MemoryWritten: (apply_written, describe_written),
    MemoryRemoved: (apply_removed, describe_removed),
    MemoryHidden: (apply_hidden, describe_hidden),
    MemoryPruned: (apply_pruned, describe_pruned),
    MemoryPurged: (apply_purged, describe_purged),
    MemoryEmbedded: (apply_embedded, describe_embedded),
    MemoryStripped: (apply_stripped, describe_stripped),
    MemoryAccessed: (apply_accessed, describe_accessed),
}
THREAD_EVENTS: Final[dict[type[Event], EventFunctions]] = {ThreadGrown: (apply_head, describe_kept)}
TEXT_EVENTS: Final[dict[type[Event], EventFunctions]] = {TextNoted: (apply_head, describe_kept)}
DROPPED_SPACE_EVENTS: Final[dict[type[Event], EventFunctions]] = {SpaceSwept: (apply_head, describe_kept)}
SPACE_EVENTS: Final[dict[type[Event], EventFunctions]] = {
    SpaceSet: (apply_space, describe_space),
    SpaceDropped: (apply_space_dropped, describe_space_dropped),
}
