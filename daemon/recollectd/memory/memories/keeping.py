"""What is kept beside memories: which say the very same, what took whose place, and the order of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from recollectd.memory.kind import Draft, Facts
from recollectd.memory.memories.events import TextNoted, ThreadGrown
from recollectd.memory.memories.heads import SAME_TEXT_MAX, MemoryHead, TextHead, ThreadHead, text_key, thread_key
from recollectd.protocol import limits
from recollectd.storage.keyspace import namespace_end


def known_text(facts: Facts, key: bytes) -> Sequence[bytes]:
    """Return the row of a memory's present text, once its head is known."""
    head: MemoryHead | None = facts.get(key) if facts.knows(key) else None
    return () if head is None or head.deleted else (text_key(key, head.digest),)


def twins(facts: Facts, key: bytes, digest: bytes) -> list[bytes]:
    """Return the heads of the memories that say the same, and of their texts, once it is known which they are."""
    row = text_key(key, digest)
    found: TextHead | None = facts.get(row) if facts.knows(row) else None
    return [] if found is None else [_sibling(key, memory_id) for memory_id in found.memory_ids]


def find_twin(draft: Draft, key: bytes, digest: bytes) -> tuple[str, MemoryHead] | None:
    """Return the oldest memory in the namespace that says the same and is there, if any."""
    found: TextHead | None = draft.get(text_key(key, digest))
    for memory_id in () if found is None else found.memory_ids:
        head: MemoryHead | None = draft.get(_sibling(key, memory_id))
        if head is not None and head.alive(draft.time) and not head.hidden:
            return memory_id, head
    return None


def successors(facts: Facts, key: bytes) -> list[bytes]:
    """Return the memory, what took its place, what took the place of that, and so on, as far as heads are known."""
    found = [key]
    while len(found) <= limits.SUCCESSORS_MAX and facts.knows(found[-1]):
        head: MemoryHead | None = facts.get(found[-1])
        if head is None or head.deleted or not head.superseded_by:
            break
        found.append(_sibling(key, head.superseded_by))
    return found


def note_text(draft: Draft, key: bytes, digest: bytes) -> None:
    """Note that a memory says this."""
    row = text_key(key, digest)
    before: TextHead | None = draft.get(row)
    ids = () if before is None else before.memory_ids
    if len(ids) < SAME_TEXT_MAX:
        _put(draft, row, TextHead((*ids, _name(key))))


def drop_text(draft: Draft, key: bytes, digest: bytes) -> None:
    """Note that a memory does not say this any more."""
    row = text_key(key, digest)
    before: TextHead | None = draft.get(row)
    if before is not None and _name(key) in before.memory_ids:
        left = tuple(each for each in before.memory_ids if each != _name(key))
        _put(draft, row, structs.replace(before, memory_ids=left) if left else None)


def next_position(draft: Draft, key: bytes, thread: str) -> int:
    """Give a memory the next place in its conversation."""
    row = thread_key(key, thread)
    before: ThreadHead | None = draft.get(row)
    position = 0 if before is None else before.next
    head = ThreadHead(position + 1)
    draft.put(row, head)
    draft.emit(ThreadGrown(row, head))
    return position


def _put(draft: Draft, row: bytes, head: TextHead | None) -> None:
    draft.put(row, head)
    draft.emit(TextNoted(row, head))


def _sibling(key: bytes, memory_id: str) -> bytes:
    return key[: namespace_end(key)] + memory_id.encode()


def _name(key: bytes) -> str:
    return key[namespace_end(key) :].decode()
