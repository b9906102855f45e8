"""Messages of conversations as searches see them: read in place, shown like memories with a role.

In the keyword view a namespace's messages are a scope of their own, beside its memories: neither moves the other's
scores. A message is named there by its conversation and position. It is indexed like a memory of a conversation, with
its date and with what was said around it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final

from recollectd.memory.conversations.events import ConversationHead, MessageEntry, decode_entry, decode_head
from recollectd.memory.holding import rows_at_once
from recollectd.memory.kind import Fetch, Rows
from recollectd.memory.logs.entries import unchanged
from recollectd.memory.memories import documents
from recollectd.memory.memories.documents import REACH, Neighbour
from recollectd.memory.memories.fetching import Found
from recollectd.memory.memories.filters import Subject
from recollectd.memory.memories.heads import MemoryBody, MemoryHead
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import (
    MESSAGES_MARK,
    Family,
    messages_key,
    namespace_end,
    pack_u64,
    path,
    row_key,
    row_number,
    split_messages_key,
)
from recollectd.storage.keywords.options import Change, Delete, Put

KIND: Final = "message"
_STEP: Final = 256
_TRIES: Final = 100


def scope_of(namespace: bytes) -> bytes:
    """Return the scope of the messages of a namespace, from its bytes."""
    return MESSAGES_MARK + namespace


def namespace_of(key: bytes) -> bytes:
    """Return the bytes of the namespace of a message, or of noted ones."""
    return key[1 : namespace_end(key)]


def message_key(key: bytes, position: int) -> bytes:
    """Return what stands for a message among candidates: its scope and record id, from its conversation's key."""
    return MESSAGES_MARK + key[1:] + pack_u64(position)


def is_message(key: bytes) -> bool:
    """Tell whether a candidate's key is a message's."""
    return key[:1] == MESSAGES_MARK


def spans(noted: bytes) -> Iterator[bytes]:
    """Split noted messages so that each part may be held at once."""
    key, first, to = split_messages_key(noted)
    for start in range(first, to, _STEP):
        yield messages_key(key, start, min(to, start + _STEP))


def changes(noted: bytes, *, searchable: bool) -> Generator[Fetch, Rows, list[Change]]:
    """Return what the keyword view must know of messages: also of those just before, whose texts reach behind them."""
    key, first, to = split_messages_key(noted)
    scope, conversation = scope_of(key[1 : namespace_end(key)]), key[namespace_end(key) :]
    entries: dict[int, MessageEntry] = {}
    if searchable:
        entries = yield from _entries(key, range(max(0, first - 2 * REACH), to + REACH))
    found: list[Change] = []
    for position in range(max(0, first - REACH), to):
        record_id = conversation + pack_u64(position)
        entry = entries.get(position)
        if entry is None:
            found.append(Delete(scope, record_id))
            continue
        near = (near for near in range(max(0, position - REACH), position + REACH + 1) if near in entries)
        around = [Neighbour(each, _body(entries[each], "")) for each in near]
        found.append(Put(scope, record_id, documents.texts_of(_body(entry, ""), position, around)))
    return found


def _entries(key: bytes, positions: range) -> Generator[Fetch, Rows, dict[int, MessageEntry]]:
    """Fetch what is there of some positions now."""
    row = (yield Fetch(Family.HEADS, (key,)))[0]
    if row is None:
        return {}
    head = decode_head(row)
    below, step = path(key), rows_at_once(head.largest, _STEP)
    wanted = [position for position in positions if head.first <= position < head.next]
    entries: dict[int, MessageEntry] = {}
    for start in range(0, len(wanted), step):
        part = wanted[start : start + step]
        rows = yield Fetch(Family.ENTRIES, [row_key(below, position) for position in part])
        entries.update(
            (position, decode_entry(each)) for position, each in zip(part, rows, strict=True) if each is not None
        )
    return entries


def _body(entry: MessageEntry, conversation_id: str) -> MemoryBody:
    valid_at = entry.stored_at if entry.valid_at is None else entry.valid_at
    return MemoryBody(entry.content, KIND, entry.metadata, None, False, valid_at, None, (), conversation_id or None)


def found_messages(keys: Sequence[bytes]) -> Generator[Fetch, Rows, dict[bytes, Found]]:
    """Fetch messages by `message_key`; those that are gone are left out."""
    found: dict[bytes, Found] = {}
    wanted: dict[bytes, list[int]] = {}
    for key in keys:
        wanted.setdefault(bytes((Kind.CONVERSATION,)) + key[1:-8], []).append(row_number(key))
    for _ in range(_TRIES):
        heads = yield from _heads(wanted)
        entries: dict[tuple[bytes, int], MessageEntry] = {}
        for key, head in heads.items():
            below, step = path(key), rows_at_once(head.largest, _STEP)
            for start in range(0, len(wanted[key]), step):
                part = wanted[key][start : start + step]
                rows = yield Fetch(Family.ENTRIES, [row_key(below, position) for position in part])
                entries.update(
                    ((key, position), decode_entry(row))
                    for position, row in zip(part, rows, strict=True)
                    if row is not None
                )
        now = yield from _heads(wanted)
        same = {key for key, head in heads.items() if unchanged(head, now.get(key))}
        for (key, position), entry in entries.items():
            if key in same:
                name = message_key(key, position)
                found[name] = Found(name, _subject(key, position, entry, heads[key]))
        wanted = {key: positions for key, positions in wanted.items() if key in heads and key not in same}
        if not wanted:
            return found
    raise AssertionError("conversations change whenever they are read")


def _heads(keys: Iterable[bytes]) -> Generator[Fetch, Rows, dict[bytes, ConversationHead]]:
    listed = list(keys)
    rows = yield Fetch(Family.HEADS, listed)
    return {key: decode_head(row) for key, row in zip(listed, rows, strict=True) if row is not None}


def _subject(key: bytes, position: int, entry: MessageEntry, head: ConversationHead) -> Subject:
    thread = key[namespace_end(key) :].decode()
    shown = MemoryHead(1, 1, head.revision, entry.stored_at, entry.stored_at, thread=thread, position=position)
    return Subject(entry.message_id, shown, _body(entry, thread), entry.role)


def beside(results: Iterable[Found], reach: int) -> Generator[Fetch, Rows, dict[bytes, list[Found]]]:
    """Return what was said beside each message, the nearest first."""
    near: dict[bytes, list[bytes]] = {}
    for found in results:
        position = found.subject.head.position
        around = (position + sign * distance for distance in range(1, reach + 1) for sign in (-1, 1))
        near[found.key] = [found.key[:-8] + pack_u64(each) for each in around if each >= 0]
    known = yield from found_messages(list(dict.fromkeys(key for keys in near.values() for key in keys)))
    return {key: [known[each] for each in keys if each in known] for key, keys in near.items()}
