"""Requests that read conversations."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from recollectd.memory import cursors
from recollectd.memory.conversations import ids
from recollectd.memory.conversations.caching import message_of
from recollectd.memory.conversations.events import ConversationHead, decode_entry, decode_head
from recollectd.memory.holding import rows_at_once
from recollectd.memory.kind import Fetch, Reading, ReadOperation, Rows, View
from recollectd.memory.logs import entries
from recollectd.memory.logs.caching import fill_tail
from recollectd.memory.logs.reads import TRIES
from recollectd.protocol import errors, limits, table
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

if TYPE_CHECKING:
    from recollectd._native.hot_reads import HotReads

# A head may carry metadata_bytes_max of metadata.
_HEADS_STEP: Final = rows_at_once(limits.METADATA_BYTES_MAX, 128)


def fetch_head(key: bytes) -> Generator[Fetch, Rows, ConversationHead | None]:
    """Fetch one head."""
    row = (yield Fetch(Family.HEADS, (key,)))[0]
    return None if row is None else decode_head(row)


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

    def cached(self, reads: HotReads) -> bytes | None:
        """Ask for the newest messages, if it is these that are wanted."""
        last = self.request.last
        return None if last is None else reads.last(self._key, min(last, self.request.limit))

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
            found = yield from entries.fetch(self._key, span, head.largest)
            if found is not None and entries.unchanged(head, (yield from fetch_head(self._key))):
                page = tuple(message_of(position, decode_entry(row)) for position, row in found)
                if request.last is not None:
                    view.found(fill_tail(self._key, head, tuple(table.encode(message) for message in page)))
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
        found: list[messages.ConversationInfo] = []
        size, taken = 0, 0
        while taken < len(names) and size < limits.PAGE_BYTES_MAX:
            step = names[taken : taken + _HEADS_STEP]
            keys = [record_key(Kind.CONVERSATION, request.namespace, name) for name in step]
            for name, row in zip(step, (yield Fetch(Family.HEADS, keys)), strict=True):
                taken += 1
                if row is not None:
                    found.append(_info(name, decode_head(row)))
                    size += len(row)
                if size >= limits.PAGE_BYTES_MAX:
                    break
        more = taken < len(rows) or taken == request.limit
        cursor = cursors.pack(view.store_id, self._query, rows[taken - 1][0]) if more else b""
        return messages.ConversationPage(tuple(found), cursor)
