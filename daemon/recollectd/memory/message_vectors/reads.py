"""Requests that read messages' vectors, or which messages lack one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

from recollectd.memory import cursors
from recollectd.memory.conversations.events import ConversationHead, MessageEntry, decode_entry
from recollectd.memory.conversations.events import decode_head as decode_conversation
from recollectd.memory.holding import rows_at_once
from recollectd.memory.kind import Fetch, Reading, ReadOperation, Rows, View
from recollectd.memory.logs.entries import unchanged
from recollectd.memory.memories import spaces
from recollectd.memory.memories.heads import StoredVector
from recollectd.memory.message_vectors import rows
from recollectd.memory.message_vectors.events import MessageVectorsHead
from recollectd.memory.settings.search import decode_head as decode_settings
from recollectd.memory.settings.search import settings_key
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import conversations as messages
from recollectd.protocol.messages import vector_spaces
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import (
    Family,
    after_prefix,
    kind_prefix,
    message_vectors_key,
    namespace_end,
    pack_u64,
    path,
    record_key,
    row_key,
    row_number,
)

_STEP: Final = 64
_TRIES: Final = 100
_EXAMINED_MAX: Final = 4_096

Entries = dict[int, MessageEntry]


def _entries(key: bytes, head: ConversationHead, positions: Sequence[int]) -> Generator[Fetch, Rows, Entries]:
    """Fetch messages by position; those that are gone are left out."""
    below, step = path(key), rows_at_once(head.largest, _STEP)
    found: Entries = {}
    for start in range(0, len(positions), step):
        part = positions[start : start + step]
        fetched = yield Fetch(Family.ENTRIES, [row_key(below, position) for position in part])
        found.update(
            (position, decode_entry(row)) for position, row in zip(part, fetched, strict=True) if row is not None
        )
    return found


class ReadVectors(ReadOperation[messages.ConversationVectors]):
    """Reads the vectors of a span of messages."""

    __slots__ = ("_key",)

    def __init__(self, request: messages.ConversationVectors) -> None:
        super().__init__(request)
        self._key = record_key(Kind.CONVERSATION, request.namespace, request.conversation_id, "conversation_id")
        self.keys = (self._key,)

    def read(self, view: View) -> Reading:
        """Fetch heads, rows and ids, then the head again: the conversation may have been made anew."""
        for _ in range(_TRIES):
            row = (yield Fetch(Family.HEADS, (self._key,)))[0]
            if row is None:
                raise errors.NotFound("there is no such conversation", field="conversation_id")
            head = decode_conversation(row)
            reply = yield from self._page(view, head)
            again = (yield Fetch(Family.HEADS, (self._key,)))[0]
            if again is not None and unchanged(head, decode_conversation(again)):
                return reply
        raise errors.Busy("the conversation changes faster than it can be read", retry_after_ms=10)

    def _page(self, view: View, head: ConversationHead) -> Generator[Fetch, Rows, messages.MessageVectors]:
        request, vectors_key = self.request, message_vectors_key(self._key)
        first = max(head.first, request.first)
        span = range(first, max(first, min(head.next, request.first + request.limit)))
        vectors_head = (yield from rows.heads_of((vectors_key,))).get(vectors_key)
        alive = spaces.living(view, self._key)
        found: list[messages.VectorsOfMessage] = []
        size = 0
        if vectors_head is not None:
            positions = rows.within(vectors_head, span)
            for start in range(0, len(positions), _STEP):
                part = positions[start : start + _STEP]
                stored = yield from rows.fetch(vectors_key, vectors_head, part)
                entries = yield from _entries(self._key, head, list(stored))
                for position, entry in entries.items():
                    told = _living(stored[position], alive)
                    if told:
                        found.append(messages.VectorsOfMessage(position, entry.message_id, told))
                        size += 64 + sum(map(len, told.values()))
                if size >= limits.PAGE_BYTES_MAX:
                    return messages.MessageVectors(tuple(found), part[-1] + 1)
        return messages.MessageVectors(tuple(found), span.stop)


def _living(stored: dict[str, StoredVector], alive: dict[str, int]) -> dict[str, bytes]:
    return {name: each.components for name, each in stored.items() if alive.get(name) == each.incarnation}


class Lacking(ReadOperation[vector_spaces.SpaceLacking]):
    """Walks messages without a vector in a space."""

    __slots__ = ("_prefix", "_query")

    def __init__(self, request: vector_spaces.SpaceLacking) -> None:
        super().__init__(request)
        self.keys = None
        spaces.space_key(request.namespace, request.space, "space")
        self._prefix = kind_prefix(Kind.CONVERSATION, request.namespace)
        told = request.namespace, request.space, request.changed_since, request.counted
        self._query = cursors.query_digest("lacking messages", *told)

    def read(self, view: View) -> Reading:
        """Walk conversations that changed, from a place on; a page ends by items, bytes, or messages examined."""
        request = self.request
        name, space = yield from spaces.fetch_space(request.namespace, request.space, "space")
        settings = (yield Fetch(Family.HEADS, (settings_key(request.namespace),)))[0]
        place = cursors.unpack(request.cursor, view.store_id, self._query)
        if place and not (place.startswith(self._prefix) and len(place) >= len(self._prefix) + 8):
            raise errors.InvalidCursor("the cursor points outside its query", field="cursor")
        if settings is None or not decode_settings(settings).messages:
            return vector_spaces.LackingMessages((), b"", 0)
        page = _Page(request, (name, space.incarnation))
        start = place[:-8] or self._prefix
        walked = view.walk(Family.HEADS, start, after_prefix(self._prefix), keys_max=_STEP)
        vectors = yield from rows.heads_of([message_vectors_key(key) for key, _ in walked])
        for key, row in walked:
            head = decode_conversation(row)
            first = max(head.first, row_number(place)) if key == place[:-8] else head.first
            if head.revision > request.changed_since:
                first = yield from page.take(key, head, vectors.get(message_vectors_key(key)), first)
                if first < head.next:
                    return page.reply(self._cursor(view, key + pack_u64(first)))
        more = len(walked) == _STEP
        return page.reply(self._cursor(view, walked[-1][0] + b"\0" + pack_u64(0)) if more else b"")

    def _cursor(self, view: View, place: bytes) -> bytes:
        return cursors.pack(view.store_id, self._query, place)


class _Page:
    """What one step of a walk finds. space: name and incarnation."""

    def __init__(self, request: vector_spaces.SpaceLacking, space: tuple[str, int]) -> None:
        self._request = request
        self._space = space
        self._found: list[vector_spaces.LackingMessage] = []
        self._count = 0
        self._size = 0
        self._room = _EXAMINED_MAX

    def reply(self, cursor: bytes) -> vector_spaces.LackingMessages:
        """Return the step's reply."""
        return vector_spaces.LackingMessages(tuple(self._found), cursor, self._count)

    def take(
        self, key: bytes, head: ConversationHead, vectors: MessageVectorsHead | None, first: int
    ) -> Generator[Fetch, Rows, int]:
        """Take what lacks a vector of a conversation, from a position on; return the first not looked at."""
        while first < head.next and self._room > 0 and not self._is_full():
            part = range(first, min(head.next, first + _STEP))
            lacking = yield from self._lacking(key, vectors, part)
            self._room -= len(part)
            first = part.stop
            if self._request.counted:
                self._count += len(lacking)
                continue
            entries = yield from _entries(key, head, lacking)
            conversation_id = key[namespace_end(key) :].decode()
            for position, entry in entries.items():
                if self._is_full():
                    return position
                told = vector_spaces.LackingMessage(conversation_id, head.incarnation, position, entry.content)
                self._found.append(told)
                self._count += 1
                self._size += 64 + len(entry.content)
        return first

    def _is_full(self) -> bool:
        return len(self._found) >= self._request.limit or self._size >= limits.PAGE_BYTES_MAX

    def _lacking(
        self, key: bytes, vectors: MessageVectorsHead | None, positions: range
    ) -> Generator[Fetch, Rows, list[int]]:
        stored: dict[int, rows.Vectors] = {}
        if vectors is not None:
            stored = yield from rows.fetch(message_vectors_key(key), vectors, rows.within(vectors, positions))
        name, incarnation = self._space
        return [each for each in positions if _lacks(stored.get(each, {}).get(name), incarnation)]


def _lacks(vector: StoredVector | None, incarnation: int) -> bool:
    return vector is None or vector.incarnation != incarnation
