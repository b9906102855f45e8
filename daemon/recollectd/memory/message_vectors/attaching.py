"""Vectors told with the messages of an append, and what becomes of them with the conversation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Raw, structs

from recollectd.memory.kind import Draft, Facts
from recollectd.memory.memories import spaces
from recollectd.memory.memories.checks import check_vectors
from recollectd.memory.memories.heads import beside, pack_vectors
from recollectd.memory.message_vectors.events import MessageVectorsDropped, MessageVectorsHead, MessageVectorsSet
from recollectd.memory.settings.search import SearchHead
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import message_vectors_key


class Told(NamedTuple):
    """The vectors told with one message of a request. place: of the message among them; field: for errors."""

    place: int
    field: str
    vectors: Mapping[str, bytes]


def told_of(vectors: Iterable[Mapping[str, bytes] | None]) -> list[Told]:
    """Return the vectors of an append's messages, as far as there are. Refuses those that no space could hold."""
    told: list[Told] = []
    for index, each in enumerate(vectors):
        if each:
            field = f"messages[{index}].vectors"
            check_vectors(each, field)
            told.append(Told(index, field, each))
    return told


def needs(key: bytes, told: Sequence[Told], facts: Facts) -> list[bytes]:
    """Return the rows that writing vectors takes beside the head of their conversation."""
    needed = [message_vectors_key(key), settings_key_of(key)]
    for each in told:
        needed += spaces.needs(key, each.vectors, facts)
    return needed


def settings_key_of(key: bytes) -> bytes:
    """Return the key of the settings of search of a record's namespace."""
    return beside(key, Kind.SEARCH_SETTINGS, b"")


def resolved(draft: Draft, key: bytes, told: Told) -> Raw:
    """Return the row of a message's vectors. Refuses spaces that are not there, and vectors of another size."""
    return pack_vectors(spaces.resolve(draft, key, told.vectors, told.field))


def attach(draft: Draft, key: bytes, incarnation: int, rows: Mapping[int, Raw], *, rewritten: bool = False) -> None:
    """Write the rows of messages' vectors, by position. key: of the conversation; rewritten: they were there before."""
    vectors_key = message_vectors_key(key)
    before: MessageVectorsHead | None = draft.get(vectors_key)
    largest = max(len(bytes(row)) for row in rows.values())
    first, to = min(rows), max(rows) + 1
    if before is None:
        before = MessageVectorsHead(first, to, incarnation, draft.seq, draft.seq, largest)
    assert before.incarnation == incarnation, "vectors go with their conversation"
    head = structs.replace(
        before,
        first=min(before.first, first),
        next=max(before.next, to),
        revision=draft.seq,
        rewritten=draft.seq if rewritten else before.rewritten,
        largest=max(before.largest, largest),
    )
    settings: SearchHead | None = draft.get(settings_key_of(key))
    draft.put(vectors_key, head)
    followed = settings is not None and settings.indexed
    draft.emit(MessageVectorsSet(vectors_key, head, tuple(sorted(rows.items())), followed))


def drop(draft: Draft, key: bytes) -> None:
    """Drop the vectors of a conversation that is deleted, if it has any."""
    vectors_key = message_vectors_key(key)
    head: MessageVectorsHead | None = draft.get(vectors_key)
    if head is not None:
        draft.put(vectors_key, None)
        draft.emit(MessageVectorsDropped(vectors_key, head.first, head.next))
