"""Reading the rows of messages' vectors: for the vector view, and for what rebuilds it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Final

from recollectd.memory.holding import rows_at_once
from recollectd.memory.kind import Fetch, Rows
from recollectd.memory.memories.heads import StoredVector, unpack_vectors
from recollectd.memory.message_vectors.events import MessageVectorsHead, decode_head
from recollectd.storage.keyspace import (
    MESSAGE_VECTORS_MARK,
    MESSAGES_MARK,
    Family,
    namespace_end,
    noted_vectors_key,
    pack_u64,
    path,
    row_key,
    split_noted_vectors_key,
)
from recollectd.storage.vectors.changes import Change, Delete, Put

_STEP: Final = 256

Vectors = dict[str, StoredVector]


def are_noted(noted: bytes) -> bool:
    """Tell whether what is noted are vectors of messages."""
    return noted[:1] == MESSAGE_VECTORS_MARK


def heads_of(keys: Sequence[bytes]) -> Generator[Fetch, Rows, dict[bytes, MessageVectorsHead]]:
    """Fetch heads by key; those that are not there are left out."""
    rows = yield Fetch(Family.HEADS, keys)
    return {key: decode_head(row) for key, row in zip(keys, rows, strict=True) if row is not None}


def within(head: MessageVectorsHead | None, positions: range) -> range:
    """Return those of some positions where vectors can be."""
    if head is None:
        return range(0)
    first, to = max(head.first, positions.start), min(head.next, positions.stop)
    return range(first, max(first, to))


def fetch(key: bytes, head: MessageVectorsHead, positions: Sequence[int]) -> Generator[Fetch, Rows, dict[int, Vectors]]:
    """Fetch the vectors of messages, by position; those without any are left out. key: of the head."""
    below, step = path(key), rows_at_once(head.largest, _STEP)
    found: dict[int, Vectors] = {}
    for start in range(0, len(positions), step):
        part = positions[start : start + step]
        rows = yield Fetch(Family.ENTRIES, [row_key(below, position) for position in part])
        found.update(
            (position, unpack_vectors(row)) for position, row in zip(part, rows, strict=True) if row is not None
        )
    return found


def changes(
    noted: Iterable[bytes], spaces: Mapping[bytes, Sequence[tuple[str, int]]]
) -> Generator[Fetch, Rows, list[Change]]:
    """Return what the vector view must know of messages' vectors that have changed.

    spaces: of the view, by scope, with their incarnations.
    """
    wanted: dict[bytes, dict[int, None]] = {}
    for each in noted:
        key, first, to = split_noted_vectors_key(each)
        if spaces.get(MESSAGES_MARK + key[1 : namespace_end(key)]):
            wanted.setdefault(key, {}).update(dict.fromkeys(range(first, to)))
    heads = yield from heads_of(list(wanted))
    found: list[Change] = []
    for key, positions in wanted.items():
        end, head = namespace_end(key), heads.get(key)
        scope, conversation = MESSAGES_MARK + key[1:end], key[end:]
        there: dict[int, Vectors] = {}
        if head is not None:
            there = yield from fetch(key, head, [each for each in positions if head.first <= each < head.next])
        for position in positions:
            stored, record_id = there.get(position, {}), conversation + pack_u64(position)
            for name, incarnation in spaces[scope]:
                vector = stored.get(name)
                if vector is not None and vector.incarnation == incarnation:
                    found.append(Put(scope, name, record_id, vector.components))
                else:
                    found.append(Delete(scope, name, record_id))
    return found


def noted_within(noted_messages: Iterable[tuple[bytes, range]]) -> Generator[Fetch, Rows, list[bytes]]:
    """Return what is to be noted of messages so that the view learns all their vectors.

    noted_messages: by the key of the vectors' head, the positions.
    """
    spans = list(noted_messages)
    heads = yield from heads_of([key for key, _ in spans])
    return [
        noted_vectors_key(key, position, position + 1)
        for key, positions in spans
        for position in within(heads.get(key), positions)
    ]


def all_of(
    heads: Iterable[tuple[bytes, bytes]], name: str, incarnation: int
) -> Iterator[Generator[Fetch, Rows, list[tuple[bytes, bytes]]]]:
    """Yield readings, of some messages each, of all vectors in a space, by the view's record id."""
    for key, row in heads:
        head = decode_head(row)
        for start in range(head.first, head.next, _STEP):
            positions = range(start, min(head.next, start + _STEP))
            yield _named(key, head, positions, name, incarnation)


def _named(
    key: bytes, head: MessageVectorsHead, positions: range, name: str, incarnation: int
) -> Generator[Fetch, Rows, list[tuple[bytes, bytes]]]:
    conversation = key[namespace_end(key) :]
    found = yield from fetch(key, head, positions)
    named = ((position, vectors.get(name)) for position, vectors in found.items())
    return [
        (conversation + pack_u64(position), vector.components)
        for position, vector in named
        if vector is not None and vector.incarnation == incarnation
    ]
