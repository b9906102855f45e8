"""Requests that read logs."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from recollectd.memory import walks
from recollectd.memory.kind import Fetch, Reading, ReadOperation, Rows, View
from recollectd.memory.logs import entries
from recollectd.memory.logs.caching import fill_tail
from recollectd.memory.logs.events import LogHead, decode_head, unpack_item
from recollectd.protocol import errors, table
from recollectd.protocol.messages import logs as messages
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.state import Absent
from recollectd.storage.keyspace import Family, path, record_key, row_key, split_record_key

if TYPE_CHECKING:
    from recollectd._native.hot_reads import HotReads

TRIES: Final = 100


def fetch_head(key: bytes) -> Generator[Fetch, Rows, LogHead | None]:
    """Fetch one head."""
    row = (yield Fetch(Family.HEADS, (key,)))[0]
    return None if row is None else decode_head(row)


def fetch_items(
    key: bytes, head: LogHead, span: entries.Span
) -> Generator[Fetch, Rows, tuple[messages.LogItem, ...] | None]:
    """Fetch items of a span, None when some were taken away meanwhile."""
    found = yield from entries.fetch(key, span, head.largest)
    if found is None:
        return None
    return tuple(messages.LogItem(position, *unpack_item(row)) for position, row in found)


def info(log_id: str, head: LogHead) -> messages.LogInfo:
    """Return what a head says as a message."""
    return messages.LogInfo(log_id, head.first, head.next, head.created_at, head.updated_at, head.revision)


class Read(ReadOperation[messages.LogRead]):
    """Reads a page of items."""

    __slots__ = ("_key",)

    def __init__(self, request: messages.LogRead) -> None:
        super().__init__(request)
        self._key = record_key(Kind.LOG, request.namespace, request.log_id, "log_id")
        self.keys = (self._key,)
        given = [name for name in ("start", "before", "last", "since") if getattr(request, name) is not None]
        if len(given) > 1:
            raise errors.InvalidArgument(f"cannot go with {given[0]}", field=given[1])

    def cached(self, reads: HotReads) -> bytes | None:
        """Ask for the newest items, if it is these that are wanted."""
        last = self.request.last
        return None if last is None else reads.last(self._key, min(last, self.request.limit))

    def read(self, view: View) -> Reading:
        """Fetch the head, then the entries, then the head again if it may have been rewritten."""
        request = self.request
        for _ in range(TRIES):
            head = yield from fetch_head(self._key)
            if head is None:
                view.found(fill_tail(self._key, None, ()))
                return messages.LogPage((), 0, 0, 0)
            start = request.start
            if request.since is not None:
                start = yield from self._position_since(head, request.since)
            span = entries.span_of(head, request.limit, start=start, before=request.before, last=request.last)
            items = yield from fetch_items(self._key, head, span)
            if items is not None and entries.unchanged(head, (yield from fetch_head(self._key))):
                if request.last is not None:
                    view.found(fill_tail(self._key, head, tuple(table.encode(item) for item in items)))
                return messages.LogPage(items, head.first, head.next, head.revision)
        raise errors.Busy("the log changes faster than it can be read", retry_after_ms=10)

    def _position_since(self, head: LogHead, since: int) -> Generator[Fetch, Rows, int]:
        """Return the first position stored at a time or later: times never decrease along a log."""
        low, high = head.first, head.next
        below = path(self._key)
        while low < high:
            middle = (low + high) // 2
            row = (yield Fetch(Family.ENTRIES, (row_key(below, middle),)))[0]
            if row is not None and unpack_item(row)[0] >= since:
                high = middle
            else:
                low = middle + 1
        return low


class ReadHead(ReadOperation[messages.LogHead]):
    """Reads bounds and times."""

    __slots__ = ("_key",)

    def __init__(self, request: messages.LogHead) -> None:
        super().__init__(request)
        self._key = record_key(Kind.LOG, request.namespace, request.log_id, "log_id")
        self.keys = (self._key,)

    def read(self, view: View) -> Reading:
        """Fetch the head."""
        head = yield from fetch_head(self._key)
        return Absent() if head is None else info(self.request.log_id, head)


class ListLogs(ReadOperation[messages.LogList]):
    """Walks logs by id."""

    __slots__ = ("_walk",)

    def __init__(self, request: messages.LogList) -> None:
        super().__init__(request)
        self.keys = None
        self._walk = walks.plan(Kind.LOG, request.namespace, request.prefix)

    def read(self, view: View) -> Reading:
        """Walk heads."""
        walked = walks.page(view, self._walk, self.request.cursor, self.request.limit, lambda row: True)
        found = tuple(info(split_record_key(key)[2], decode_head(row)) for key, row in walked.heads)
        yield from ()
        return messages.LogInfos(found, walked.cursor)
