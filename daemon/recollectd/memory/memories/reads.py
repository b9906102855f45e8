"""Requests that read memories by id or by filter."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from msgspec import Raw

from recollectd.memory import cursors, walks
from recollectd.memory.holding import rows_at_once
from recollectd.memory.kind import NEVER, Fetch, Reading, ReadOperation, Rows, View
from recollectd.memory.memories import filters
from recollectd.memory.memories.fetching import Found, found_among, told, told_bytes
from recollectd.memory.memories.heads import decode_body, decode_head, memory_key
from recollectd.memory.state.events import unpack_version
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import erasing
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.connection import Counted
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import Family, path, row_key

_STEP: Final = 512
_VERSIONS_STEP: Final = 64


class Get(ReadOperation[messages.MemoryGet]):
    """Reads memories by id."""

    __slots__ = ("_keys",)

    def __init__(self, request: messages.MemoryGet) -> None:
        super().__init__(request)
        if not 1 <= len(request.memory_ids) <= limits.OPERATIONS_PER_FRAME_MAX:
            raise errors.InvalidArgument(
                f"must be 1 to {limits.OPERATIONS_PER_FRAME_MAX} ids, not {len(request.memory_ids)}", field="memory_ids"
            )
        self._keys = [
            memory_key(request.namespace, memory_id, f"memory_ids[{index}]")
            for index, memory_id in enumerate(request.memory_ids)
        ]
        self.keys = tuple(self._keys)

    def read(self, view: View) -> Reading:
        """Fetch them in steps; stop early when the reply is large enough."""
        memories: list[messages.Memory | None] = []
        size = 0
        while len(memories) < len(self._keys) and size < limits.PAGE_BYTES_MAX:
            step = self._keys[len(memories) : len(memories) + _STEP]
            found = yield from found_among(step, view, vectors=self.request.vectors)
            for each in found:
                memory = None if each is None else told(each)
                memories.append(memory)
                size += 64 if memory is None else told_bytes(memory)
                if size >= limits.PAGE_BYTES_MAX:
                    break
        return messages.Memories(tuple(memories))


class _Matching:
    """Memories of a namespace that match a filter, in order."""

    def __init__(self, request: messages.MemoryList | messages.MemoryCount) -> None:
        self.predicate = filters.parse(request.filter)
        self._hidden = request.hidden
        self._cursor = request.cursor
        digest = cursors.query_digest(int(Kind.MEMORY), request.namespace, request.filter, request.hidden)
        self.walk = walks.plan(Kind.MEMORY, request.namespace, "")._replace(query=digest)
        self.valid_until = limits.TIME_US_MAX

    def heads(self, view: View, limit: int) -> walks.Walked:
        """Return the next heads of memories that are there."""

        def wanted(row: bytes) -> bool:
            head = decode_head(row)
            alive = head.alive(view.time) and (self._hidden or not head.hidden)
            if alive and head.expires_at != NEVER:
                self.valid_until = min(self.valid_until, head.expires_at)
            return alive

        return walks.page(view, self.walk, self._cursor, limit, wanted)

    def matches(self, found: Found | None) -> bool:
        """Tell whether a memory is there and matches; what was there before is absent as if the walk came later."""
        return found is not None and (self.predicate is None or self.predicate(found.subject))


class List(ReadOperation[messages.MemoryList]):
    """Walks memories."""

    __slots__ = ("_matching",)

    def __init__(self, request: messages.MemoryList) -> None:
        super().__init__(request)
        self.keys = None
        self._matching = _Matching(request)

    def read(self, view: View) -> Reading:
        """Walk heads, fetch contents, take what matches; a page ends by items, bytes, or memories examined."""
        request, matching = self.request, self._matching
        examined_max = request.limit if matching.predicate is None else limits.SCAN_KEYS_EXAMINED_MAX
        walked = matching.heads(view, examined_max)
        keys = [key for key, _ in walked.heads]
        memories: list[messages.Memory] = []
        size, at = 0, 0
        while at < len(keys):
            found = yield from found_among(keys[at : at + _STEP], view, vectors=request.vectors)
            for key, each in zip(keys[at:], found, strict=False):  # `found` is of the first keys
                if each is not None and matching.matches(each):
                    memories.append(told(each))
                    size += told_bytes(memories[-1])
                if len(memories) == request.limit or size >= limits.PAGE_BYTES_MAX:
                    cursor = walks.cursor_at(view, matching.walk, key)
                    return messages.MemoryPage(tuple(memories), cursor, matching.valid_until)
            at += len(found)
        return messages.MemoryPage(tuple(memories), walked.cursor, matching.valid_until)


class Count(ReadOperation[messages.MemoryCount]):
    """Counts memories in bounded steps."""

    __slots__ = ("_matching",)

    def __init__(self, request: messages.MemoryCount) -> None:
        super().__init__(request)
        self.keys = None
        self._matching = _Matching(request)

    def read(self, view: View) -> Reading:
        """Walk heads; fetch contents only where a filter must see them."""
        matching = self._matching
        walked = matching.heads(view, limits.SCAN_KEYS_EXAMINED_MAX)
        if matching.predicate is None:
            return Counted(len(walked.heads), walked.cursor, matching.valid_until)
        keys = [key for key, _ in walked.heads]
        count, at = 0, 0
        while at < len(keys):
            found = yield from found_among(keys[at : at + _STEP], view)
            count += sum(map(matching.matches, found))
            at += len(found)
        return Counted(count, walked.cursor, matching.valid_until)


class EraseDeleted(ReadOperation[erasing.Erase]):
    """Asks the views to erase what they know to be deleted."""

    __slots__ = ()

    def __init__(self, request: erasing.Erase) -> None:
        super().__init__(request)
        self.keys = None

    def read(self, view: View) -> Reading:
        """Ask once all that was applied before is known to the views; do not wait for it."""
        yield from ()
        assert view.memories is not None
        if not self.request.ask:
            return view.memories.erasing.state
        view.memories.catch_up()
        return view.memories.erasing.ask()


class History(ReadOperation[messages.MemoryHistory]):
    """Reads versions, newest first."""

    __slots__ = ("_key",)

    def __init__(self, request: messages.MemoryHistory) -> None:
        super().__init__(request)
        self._key = memory_key(request.namespace, request.memory_id)
        self.keys = (self._key,)

    def read(self, view: View) -> Reading:
        """Fetch the head, then versions downwards until the page is full."""
        request = self.request
        row = (yield Fetch(Family.HEADS, (self._key,)))[0]
        if row is None:
            return messages.MemoryVersions((), 0, 0)
        head = decode_head(row)
        newest = head.version if request.before_version is None else min(head.version, request.before_version - 1)
        versions: list[messages.MemoryVersion] = []
        size = 0
        while newest >= head.first_version and len(versions) < request.limit and size < limits.PAGE_BYTES_MAX:
            step = rows_at_once(head.largest, min(_VERSIONS_STEP, request.limit - len(versions)))
            rows = yield from self._rows(newest, max(head.first_version, newest - step + 1))
            for data in rows:
                if data is None:  # pruned since the head was read: nothing older is left either
                    return messages.MemoryVersions(tuple(versions), 0, newest + 1)
                versions.append(_version(request.memory_id, newest, data))
                newest -= 1
                size += len(data)
                if size >= limits.PAGE_BYTES_MAX:
                    break
        more = newest >= head.first_version
        return messages.MemoryVersions(tuple(versions), newest + 1 if more else 0, head.first_version)

    def _rows(self, newest: int, oldest: int) -> Generator[Fetch, Rows, Rows]:
        below = path(self._key)
        return (yield Fetch(Family.VALUES, [row_key(below, number) for number in range(newest, oldest - 1, -1)]))


def _version(memory_id: str, number: int, data: bytes) -> messages.MemoryVersion:
    row = unpack_version(data)
    if row.absent:
        return messages.MemoryVersion(number, row.updated_at, None)
    body = decode_body(row.value)
    metadata = None if body.metadata is None else Raw(bytes(body.metadata))
    memory = messages.NewMemory(
        body.text,
        memory_id,
        body.kind,
        metadata,
        body.importance,
        body.pinned,
        body.valid_at,
        body.place,
        body.derived_from,
        body.conversation_id,
    )
    return messages.MemoryVersion(number, row.updated_at, memory)
