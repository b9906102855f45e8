"""Requests that read conversations."""

from __future__ import annotations

from collections.abc import Generator

from recollectd.memory import cursors
from recollectd.memory.conversations import ids
from recollectd.memory.conversations.events import ConversationHead, decode_entry, decode_head
from recollectd.memory.kind import Fetch, Reading, ReadOperation, Rows, View
from recollectd.memory.logs import entries
from recollectd.memory.logs.reads import TRIES
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import conversations as messages
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.state import Absent
from recollectd.storage.keyspace import (
    INDEX_LAST_USE,
    Family,
    after_prefix,
    namespace_bytes,
    record_key,
    split_last_use_key,
    text_bytes,
)


def fetch_head(key: bytes) -> Generator[Fetch, Rows, ConversationHead | None]:
    """Fetch one head."""
    row = (yield Fetch(Family.HEADS, (key,)))[0]
    return None if row is None else decode_head(row)


def _message(position: int, row: bytes) -> messages.Message:
    entry = decode_entry(row)
    return messages.Message(
        entry.message_id, entry.role, entry.content, entry.stored_at, position, entry.valid_at, entry.metadata
    )


def _info(conversation_id: str, head: ConversationHead) -> messages.ConversationInfo:
    return messages.ConversationInfo(
        conversation_id, head.created_at, head.updated_at, head.next - head.first, head.metadata, head.revision
    )


class History(ReadOperation[messages.ConversationHistory]):
    """Reads a page of messages."""

    __slots__ = ("_key",)

    def __init__(self, request: messages.ConversationHistory) -> None:
        super().__init__(request)
        self._key = record_key(Kind.CONVERSATION, request.namespace, request.conversation_id, "conversation_id")
        self.keys = (self._key,)
        names = ("last", "before", "after", "before_id", "after_id")
        given = [name for name in names if getattr(request, name) is not None]
        if len(given) > 1:
            raise errors.InvalidArgument(f"cannot go with {given[0]}", field=given[1])
        for name in ("before_id", "after_id"):
            if (message_id := getattr(request, name)) is not None:
                text_bytes(message_id, name, limits.MESSAGE_ID_BYTES_MAX)

    def read(self, view: View) -> Reading:
        """Fetch the head, then the entries, then the head again if it may have been rewritten."""
        request = self.request
        for _ in range(TRIES):
            head = yield from fetch_head(self._key)
            if head is None:
                raise errors.NotFound("there is no such conversation", field="conversation_id")
            before, after = request.before, request.after
            if request.before_id is not None:
                before = yield from self._position(head, request.before_id, "before_id")
            if request.after_id is not None:
                after = yield from self._position(head, request.after_id, "after_id")
            start = None if after is None else after + 1
            span = entries.span_of(head, request.limit, start=start, before=before, last=request.last)
            found = yield from entries.fetch(self._key, span)
            if found is not None and entries.unchanged(head, (yield from fetch_head(self._key))):
                page = tuple(_message(position, row) for position, row in found)
                return messages.History(request.conversation_id, page, head.next - head.first, head.revision)
        raise errors.Busy("the conversation changes faster than it can be read", retry_after_ms=10)

    def _position(self, head: ConversationHead, message_id: str, field: str) -> Generator[Fetch, Rows, int]:
        place = (yield from ids.find(self._key, head.incarnation, (message_id,)))[0]
        if place is not None:
            return place.position
        if entries.unchanged(head, (yield from fetch_head(self._key))):
            raise errors.NotFound(f"the conversation has no message {message_id!r}", field=field)
        return 0  # in a conversation that is no more: what is read by it will be thrown away


class ReadHead(ReadOperation[messages.ConversationHead]):
    """Reads times and size."""

    __slots__ = ("_key",)

    def __init__(self, request: messages.ConversationHead) -> None:
        super().__init__(request)
        self._key = record_key(Kind.CONVERSATION, request.namespace, request.conversation_id, "conversation_id")
        self.keys = (self._key,)

    def read(self, view: View) -> Reading:
        """Fetch the head."""
        head = yield from fetch_head(self._key)
        return Absent() if head is None else _info(self.request.conversation_id, head)


class ListConversations(ReadOperation[messages.ConversationList]):
    """Walks conversations by last use."""

    __slots__ = ("_prefix", "_query")

    def __init__(self, request: messages.ConversationList) -> None:
        super().__init__(request)
        self.keys = None
        self._prefix = INDEX_LAST_USE + namespace_bytes(request.namespace)
        self._query = cursors.query_digest(int(Kind.CONVERSATION), request.namespace, "last use")

    def read(self, view: View) -> Reading:
        """Walk the index, then fetch heads; what was deleted in between is left out."""
        request = self.request
        place = cursors.unpack(request.cursor, view.store_id, self._query)
        stop = after_prefix(self._prefix)
        start = place + b"\0" if place else self._prefix
        if not self._prefix <= start < stop:
            raise errors.InvalidCursor("the cursor points outside its query", field="cursor")
        rows = view.walk(Family.INDEX, start, stop, keys_max=request.limit)
        names = [split_last_use_key(key)[1] for key, _ in rows]
        heads = yield Fetch(Family.HEADS, [record_key(Kind.CONVERSATION, request.namespace, name) for name in names])
        found: list[messages.ConversationInfo] = []
        size, taken = 0, len(rows)
        for index, (name, row) in enumerate(zip(names, heads, strict=True)):
            if row is not None:
                found.append(_info(name, decode_head(row)))
                size += len(row)
            if size >= limits.PAGE_BYTES_MAX:
                taken = index + 1
                break
        more = taken < len(rows) or taken == request.limit
        cursor = cursors.pack(view.store_id, self._query, rows[taken - 1][0]) if more else b""
        return messages.ConversationPage(tuple(found), cursor)
