"""Requests that change logs, turned into events."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from msgspec import Raw, structs

from recollectd.memory.kind import Draft, Facts, Fetch, Rows, Stale, View, WriteOperation
from recollectd.memory.logs import entries
from recollectd.memory.logs.events import Appended, Deleted, LogHead, Truncated, unpack_item
from recollectd.memory.logs.reads import fetch_head, fetch_items, info
from recollectd.memory.shards import check_one_shard
from recollectd.memory.values import check_value
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import connection
from recollectd.protocol.messages import logs as messages
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import namespace_bytes, record_key


def new_head(draft: Draft) -> LogHead:
    """Return the head of a log created by this commit."""
    return LogHead(0, 0, draft.seq, draft.seq, draft.seq, draft.time, draft.time, 0)


def cut(draft: Draft, key: bytes, head: LogHead, first: int, to: int) -> LogHead:
    """Keep the positions first ... to - 1; return the new head."""
    kept = structs.replace(head, first=first, next=to, revision=draft.seq, rewritten=draft.seq, updated_at=draft.time)
    draft.put(key, kept)
    draft.emit(Truncated(key, kept, head.first, head.next))
    return kept


class Append(WriteOperation[messages.LogAppend]):
    """Appends items."""

    __slots__ = ("_key",)

    def __init__(self, request: messages.LogAppend) -> None:
        super().__init__(request)
        self._key = record_key(Kind.LOG, request.namespace, request.log_id, "log_id")
        self.keys = (self._key,)
        if not 1 <= len(request.items) <= limits.OPERATIONS_PER_FRAME_MAX:
            raise errors.InvalidArgument(
                f"must be 1 to {limits.OPERATIONS_PER_FRAME_MAX} items, not {len(request.items)}", field="items"
            )
        for index, item in enumerate(request.items):
            check_value(item, f"items[{index}]", limits.VALUE_BYTES_MAX)

    def write(self, draft: Draft) -> messages.LogAppended:
        """Check the guard, append."""
        request = self.request
        head: LogHead = draft.get(self._key) or new_head(draft)
        if request.if_next is not None and request.if_next != head.next:
            raise errors.VersionConflict(
                f"expected {request.if_next}, the next position is {head.next}", field="if_next"
            )
        first = head.next
        largest = max(head.largest, *(memoryview(item).nbytes for item in request.items))
        head = structs.replace(
            head, next=first + len(request.items), revision=draft.seq, updated_at=draft.time, largest=largest
        )
        draft.put(self._key, head)
        draft.emit(Appended(self._key, head, first, request.items))
        return messages.LogAppended(first, head.next, head.updated_at)


class Truncate(WriteOperation[messages.LogTruncate]):
    """Drops items on either side."""

    __slots__ = ("_key",)
    frees = True

    def __init__(self, request: messages.LogTruncate) -> None:
        super().__init__(request)
        self._key = record_key(Kind.LOG, request.namespace, request.log_id, "log_id")
        self.keys = (self._key,)
        if request.before is None and request.after is None:
            raise errors.InvalidArgument("give before, after, or both", field="before")
        if request.before is not None and request.after is not None and request.before > request.after:
            raise errors.InvalidArgument(f"must not lie before {request.before}", field="after")

    def write(self, draft: Draft) -> messages.LogInfo:
        """Keep what lies between."""
        request = self.request
        head: LogHead | None = draft.get(self._key)
        if head is None:
            raise errors.NotFound("there is no such log", field="log_id")
        first = head.first if request.before is None else min(max(request.before, head.first), head.next)
        to = head.next if request.after is None else max(min(request.after, head.next), first)
        if (first, to) != (head.first, head.next):
            head = cut(draft, self._key, head, first, to)
        return info(request.log_id, head)


class Delete(WriteOperation[messages.LogDelete]):
    """Deletes a log."""

    __slots__ = ("_key",)
    frees = True

    def __init__(self, request: messages.LogDelete) -> None:
        super().__init__(request)
        self._key = record_key(Kind.LOG, request.namespace, request.log_id, "log_id")
        self.keys = (self._key,)

    def write(self, draft: Draft) -> connection.Deleted:
        """Delete if there is one."""
        head: LogHead | None = draft.get(self._key)
        if head is None:
            return connection.Deleted(0)
        draft.put(self._key, None)
        draft.emit(Deleted(self._key, head.first, head.next))
        return connection.Deleted(1)


class PopLast(WriteOperation[messages.LogPopLast]):
    """Takes the newest items off and returns them."""

    __slots__ = ("_head", "_items", "_key")
    frees = True

    def __init__(self, request: messages.LogPopLast) -> None:
        super().__init__(request)
        self._key = record_key(Kind.LOG, request.namespace, request.log_id, "log_id")
        self.keys = (self._key,)
        self._head: LogHead | None = None
        self._items: tuple[messages.LogItem, ...] = ()

    @property
    def prepares(self) -> bool:
        """It returns the items."""
        return True

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Read the items that will go; a page holds what fits, and only that goes."""
        self._head = yield from fetch_head(self._key)
        self._items = ()
        if self._head is not None:
            span = entries.span_of(self._head, self.request.count, last=self.request.count)
            self._items = (yield from fetch_items(self._key, self._head, span)) or ()

    def write(self, draft: Draft) -> messages.LogPage:
        """Cut off what was read, if the log is still as it was."""
        head: LogHead | None = draft.get(self._key)
        if (head.revision if head else 0) != (self._head.revision if self._head else 0):
            raise Stale
        if head is None:
            return messages.LogPage((), 0, 0, 0)
        if not self._items and head.next > head.first:
            raise Stale  # the items were taken away while they were read
        if self._items:
            head = cut(draft, self._key, head, head.first, self._items[0].position)
        return messages.LogPage(self._items, head.first, head.next, head.revision)


class Copy(WriteOperation[messages.LogCopy]):
    """Copies a log into a new one."""

    __slots__ = ("_head", "_items", "_key", "_target")

    def __init__(self, request: messages.LogCopy) -> None:
        super().__init__(request)
        self._key = record_key(Kind.LOG, request.namespace, request.log_id, "log_id")
        namespace_bytes(request.target_namespace, "target_namespace")
        self._target = record_key(Kind.LOG, request.target_namespace, request.target_id, "target_id")
        self.keys = (self._key, self._target)
        self._head: LogHead | None = None
        self._items: list[tuple[int, Raw]] = []

    @property
    def prepares(self) -> bool:
        """It reads all items."""
        return True

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Read all items, up to what one commit holds."""
        self._items = []
        self._head = head = yield from fetch_head(self._key)
        if head is None:
            return
        position, size = head.first, 0
        while position < head.next:
            found = yield from entries.fetch(self._key, entries.Span(position, head.next), head.largest)
            if found is None:
                self._head = None  # changed meanwhile: write will find it stale
                return
            size += sum(len(row) for _, row in found)
            if size > limits.COMMIT_BYTES_MAX:
                raise errors.TooLarge(
                    f"the log has more than commit_bytes_max ({limits.COMMIT_BYTES_MAX}) bytes; copy it in pages",
                    field="log_id",
                )
            self._items += [unpack_item(row) for _, row in found]
            position = found[-1][0] + 1

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return both heads."""
        return (self._key, self._target)

    def write(self, draft: Draft) -> messages.LogInfo:
        """Create the target with what was read, if the source is still as it was."""
        head: LogHead | None = draft.get(self._key)
        check_one_shard((self.request.namespace, self.request.target_namespace), draft.shard_labels)
        if (head.revision if head else 0) != (self._head.revision if self._head else 0):
            raise Stale
        if head is None:
            raise errors.NotFound("there is no such log", field="log_id")
        if draft.get(self._target) is not None:
            raise errors.AlreadyExists("there is a log with this id", field="target_id")
        copied = structs.replace(new_head(draft), first=head.first, next=head.next, largest=head.largest)
        draft.put(self._target, copied)
        stored = tuple(stored_at for stored_at, _ in self._items)
        draft.emit(Appended(self._target, copied, head.first, tuple(value for _, value in self._items), stored))
        return info(self.request.target_id, copied)
