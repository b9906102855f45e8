"""Memories out of their rows."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from recollectd.memory.holding import HELD_BYTES_MAX
from recollectd.memory.kind import Fetch, Rows
from recollectd.memory.memories.filters import Subject
from recollectd.memory.memories.heads import (
    MemoryHead,
    StoredVector,
    decode_body,
    decode_head,
    unpack_vectors,
    vectors_key,
)
from recollectd.memory.state.events import unpack_version
from recollectd.memory.state.writes import optional_time
from recollectd.protocol.messages.memories import Memory
from recollectd.storage.keyspace import Family, namespace_end, path, row_key

# A version can be pruned, vectors be replaced, between the reads of head and rows; more often in a row is a defect.
_TRIES: Final = 100


class Timed(Protocol):
    """Says as of when memories are there."""

    @property
    def time(self) -> int:
        """Journal time in microseconds."""


class Found(NamedTuple):
    """A memory that is there. vectors: None if they were not asked for."""

    key: bytes
    subject: Subject
    vectors: dict[str, StoredVector] | None = None


def found_among(
    keys: Sequence[bytes], view: Timed, *, vectors: bool = False
) -> Generator[Fetch, Rows, list[Found | None]]:
    """Fetch memories by record key, None where absent, in order: the first of them, as many as may be held at once."""
    found: dict[bytes, Found] = {}
    wanted, missing = list(keys), list(dict.fromkeys(keys))
    for _ in range(_TRIES):
        rows = yield Fetch(Family.HEADS, missing)
        stored = {key: row for key, row in zip(missing, rows, strict=True) if row is not None}
        heads = {key: decode_head(row) for key, row in stored.items()}
        alive = {key: head for key, head in heads.items() if head.alive(view.time)}
        wanted, alive = _held_at_once(wanted, alive)
        missing = []
        values = yield Fetch(Family.VALUES, [row_key(path(key), head.version) for key, head in alive.items()])
        beside = yield from _vectors_of(alive, stored) if vectors else _none_of(alive)
        for (key, head), value in zip(alive.items(), values, strict=True):
            row = None if value is None else unpack_version(value)
            if row is None or (vectors and beside[key] is None):
                missing.append(key)  # the head has moved on
            elif not row.absent:
                subject = Subject(key[namespace_end(key) :].decode(), head, decode_body(row.value))
                found[key] = Found(key, subject, beside[key])
        if not missing:
            return [found.get(key) for key in wanted]
    raise AssertionError("versions of memories are not on disk")


def _none_of(heads: dict[bytes, MemoryHead]) -> Generator[Fetch, Rows, dict[bytes, dict[str, StoredVector] | None]]:
    yield from ()
    return dict.fromkeys(heads)


def _vectors_of(
    heads: dict[bytes, MemoryHead], stored: dict[bytes, bytes]
) -> Generator[Fetch, Rows, dict[bytes, dict[str, StoredVector] | None]]:
    """Fetch vectors, and the heads once more: None where a head has changed meanwhile. stored: the heads' rows."""
    rows = yield Fetch(Family.ENTRIES, [vectors_key(key) for key in heads])
    again = yield Fetch(Family.HEADS, list(heads))
    found: dict[bytes, dict[str, StoredVector] | None] = {}
    for (key, head), row, now in zip(heads.items(), rows, again, strict=True):
        same = now == stored[key] or (now is not None and decode_head(now).revision == head.revision)
        found[key] = (unpack_vectors(row) if row is not None else {}) if same else None
    return found


def _held_at_once(keys: list[bytes], heads: dict[bytes, MemoryHead]) -> tuple[list[bytes], dict[bytes, MemoryHead]]:
    """Return as many of the first keys, at least one, as have contents that may be held at once, and their heads."""
    room = HELD_BYTES_MAX
    for index, key in enumerate(keys):
        room -= heads[key].largest if key in heads else 0
        if room < 0 and index:
            kept = keys[:index]
            return kept, {key: heads[key] for key in kept if key in heads}
    return keys, heads


def told(found: Found, alive: Mapping[str, int] | None = None) -> Memory:
    """Return a memory as messages carry it; without vectors it is made once.

    alive: spaces whose vectors are told, by incarnation; None: no vectors.
    """
    subject = found.subject
    if alive is not None:
        return _told(found, alive)
    if subject.told is None:
        subject.told = _told(found, None)
    return subject.told


def _told(found: Found, alive: Mapping[str, int] | None) -> Memory:
    subject = found.subject
    head, body = subject.head, subject.body
    vectors = None
    if alive is not None:
        beside = found.vectors or {}
        vectors = {name: each.components for name, each in beside.items() if alive.get(name) == each.incarnation}
    return Memory(
        subject.memory_id,
        body.text,
        head.version,
        head.created_at,
        head.updated_at,
        head.revision,
        body.kind,
        body.metadata,
        body.importance,
        body.pinned,
        body.valid_at,
        body.place,
        body.derived_from,
        body.conversation_id,
        head.position,
        optional_time(head.expires_at),
        optional_time(head.forgotten_at),
        optional_time(head.superseded_at),
        head.superseded_by or None,
        vectors,
        subject.role,
        head.access_count,
        optional_time(head.last_accessed),
    )


def told_bytes(memory: Memory) -> int:
    """Return about how many bytes a memory takes in a reply."""
    size = 128 + len(memory.text) + sum(len(components) for components in (memory.vectors or {}).values())
    return size + (0 if memory.metadata is None else memoryview(memory.metadata).nbytes)
