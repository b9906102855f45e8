"""Listing the namespaces that have records, vector spaces or settings of search: what an export must find."""

from __future__ import annotations

from typing import Final

from recollectd.memory import cursors
from recollectd.memory.kind import Reading, ReadOperation, View
from recollectd.protocol import errors
from recollectd.protocol.messages.connection import NamespaceList, NamespacePage
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import Family, after_prefix, namespace_end, namespace_prefix, split_record_key

_KINDS: Final = (
    *(Kind.STATE, Kind.LOG, Kind.CONVERSATION, Kind.MEMORY),
    *(Kind.VECTOR_SPACE, Kind.SEARCH_SETTINGS),
)


class ListNamespaces(ReadOperation[NamespaceList]):
    """Walks namespaces in the order of their bytes, leaping over the records of each."""

    __slots__ = ("_prefix", "_query")

    def __init__(self, request: NamespaceList) -> None:
        super().__init__(request)
        self.keys = None
        self._prefix = namespace_prefix(request.prefix, "prefix")
        self._query = cursors.query_digest("namespaces", request.prefix)

    def read(self, view: View) -> Reading:
        """Ask each kind for its next namespace, take the smallest."""
        place = cursors.unpack(self.request.cursor, view.store_id, self._query)
        if place and not (place.startswith(self._prefix) and place.endswith(b"\0")):
            raise errors.InvalidCursor("the cursor points outside its query", field="cursor")
        start = after_prefix(place) if place else self._prefix
        found: list[tuple[str, ...]] = []
        while len(found) < self.request.limit:
            nearest: bytes | None = None
            for kind in _KINDS:
                step = view.walk(Family.HEADS, bytes((kind,)) + start, self._stop(kind), keys_max=1)
                if step:
                    namespace = step[0][0][1 : namespace_end(step[0][0])]
                    nearest = namespace if nearest is None else min(nearest, namespace)
            if nearest is None:
                return NamespacePage(tuple(found), b"")
            found.append(split_record_key(bytes((Kind.STATE,)) + nearest)[1])
            start = after_prefix(nearest)
        yield from ()
        return NamespacePage(tuple(found), cursors.pack(view.store_id, self._query, nearest or b""))

    def _stop(self, kind: Kind) -> bytes:
        return after_prefix(bytes((kind,)) + self._prefix)
