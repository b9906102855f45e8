"""The head, the rows and the events of the vectors of a conversation's messages.

Messages never change, so vectors lie beside them: one row a message that has some, at its position, below a head of
their own. A conversation without vectors has neither, and its messages are appended as if there were none anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw

from recollectd.memory.kind import Description, Event, EventFunctions, Head, Mark
from recollectd.memory.logs.events import drop_entries
from recollectd.protocol import table
from recollectd.storage.keyspace import (
    DELETE,
    PUT,
    Family,
    Write,
    change_key,
    noted_vectors_key,
    path,
    row_key,
)

NO_VECTORS: Final = Raw(b"\x80")
"""A row without any: it is dropped."""

Rows = tuple[tuple[int, Raw], ...]
"""By position: the row of a message's vectors, as that of a memory's."""


class MessageVectorsHead(Head, frozen=True):
    """Where the vectors of a conversation's messages stand.

    first, next: they are of messages at first ... next - 1, though not of each; incarnation: of the conversation;
    rewritten: the commit that last changed those of messages that were there before; largest: no row has more bytes.
    """

    first: int
    next: int
    incarnation: int
    revision: int
    rewritten: int
    largest: int


decode_head: Final = msgspec.msgpack.Decoder(MessageVectorsHead).decode


class MessageVectorsSet(Event, frozen=True, tag=48):
    """Messages were given vectors, with their append or later. followed: the views must be told of it."""

    head: MessageVectorsHead
    rows: Rows
    followed: bool


class MessageVectorsStripped(Event, frozen=True, tag=49):
    """Vectors of a dropped space were taken away; rows: those left."""

    head: MessageVectorsHead
    rows: Rows

    @property
    def alters(self) -> bool:
        """Nobody saw them any more."""
        return False


class MessageVectorsDropped(Event, frozen=True, tag=50):
    """The conversation was deleted."""

    first: int
    next: int


def apply_set(event: MessageVectorsSet, mark: Mark, writes: list[Write]) -> None:
    """Write head and rows."""
    _write(event.key, event.head, event.rows, writes)
    writes.extend((PUT, Family.INDEX, change_key(mark.seq, noted), b"") for noted in noted_of(event))


def apply_stripped(event: MessageVectorsStripped, mark: Mark, writes: list[Write]) -> None:
    """Write head and rows; the views have let go of the space."""
    _write(event.key, event.head, event.rows, writes)


def apply_dropped(event: MessageVectorsDropped, mark: Mark, writes: list[Write]) -> None:
    """Drop everything."""
    writes.append((DELETE, Family.HEADS, event.key, b""))
    drop_entries(path(event.key), event.first, event.next, writes)
    writes.extend((PUT, Family.INDEX, change_key(mark.seq, noted), b"") for noted in noted_of(event))


def _write(key: bytes, head: MessageVectorsHead, rows: Rows, writes: list[Write]) -> None:
    below = path(key)
    writes.append((PUT, Family.HEADS, key, table.encode(head)))
    for position, row in rows:
        if row == NO_VECTORS:
            writes.append((DELETE, Family.ENTRIES, row_key(below, position), b""))
        else:
            writes.append((PUT, Family.ENTRIES, row_key(below, position), bytes(row)))


def noted_of(event: Event) -> Iterable[bytes]:
    """Return what the vector view is told of an event.

    Of vectors given, message by message, so that what is read at once is bounded. What is gone is told whatever the
    settings are: they may say something else when the view is told.
    """
    match event:
        case MessageVectorsSet(key, _, rows, True):
            return [noted_vectors_key(key, position, position + 1) for position, _ in rows]
        case MessageVectorsDropped(key, first, to):
            return [noted_vectors_key(key, first, to)]
    return ()


def describe_set(event: MessageVectorsSet) -> Description:
    """Say what happened."""
    return Description("embed", event.head.next)


def describe_stripped(event: MessageVectorsStripped) -> Description:
    """Say what happened."""
    return Description("strip", event.head.next)


def describe_dropped(event: MessageVectorsDropped) -> Description:
    """Say what happened."""
    return Description("delete", event.next)


EVENTS: Final[dict[type[Event], EventFunctions]] = {
    MessageVectorsSet: (apply_set, describe_set),
    MessageVectorsStripped: (apply_stripped, describe_stripped),
    MessageVectorsDropped: (apply_dropped, describe_dropped),
}
