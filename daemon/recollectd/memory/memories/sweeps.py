"""Pruning of memories by age, and taking the vectors of dropped spaces from beside them and beside messages."""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar, Final

from msgspec import Raw, structs

from recollectd.memory.kind import Draft, Fetch, Rows, Stale, View
from recollectd.memory.memories.events import MemoryPruned, MemoryPurged, MemoryStripped, SpaceSwept
from recollectd.memory.memories.heads import (
    DroppedSpaceHead,
    MemoryHead,
    beside,
    decode_dropped_space,
    decode_head,
    pack_vectors,
    unpack_vectors,
    vectors_key,
)
from recollectd.memory.message_vectors.stripping import Stripped, next_stripped, strip
from recollectd.memory.state.events import StateHead
from recollectd.memory.state.sweeps import Prune, Sweep
from recollectd.protocol.messages.connection import Done
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import Family, after_prefix

_STRIPPED: Final = 128


class PruneMemories(Prune):
    """Drops versions of memories older than their namespace keeps, and heads of memories deleted that long ago."""

    __slots__ = ()

    kind: ClassVar[Kind] = Kind.MEMORY
    decode = staticmethod(decode_head)

    @staticmethod
    def purged(key: bytes, head: StateHead) -> MemoryPurged:
        """Return the event that a deleted memory's rows are dropped."""
        return MemoryPurged(key, head.first_version, head.version)

    @staticmethod
    def pruned(key: bytes, head: StateHead, previous_first_version: int) -> MemoryPruned:
        """Return the event that old versions are dropped."""
        assert isinstance(head, MemoryHead)
        return MemoryPruned(key, head, previous_first_version)


class StripVectors(Sweep):
    """Takes the vectors of dropped spaces from beside memories, then messages, so many at a time.

    Nobody is told them any more; this gives their room back. How far it is stands with what is left of the space.
    """

    __slots__ = ("_messages", "_place", "_rows", "_space")

    def __init__(self) -> None:
        super().__init__()
        self._space = b""
        self._place = b""
        self._rows: dict[bytes, tuple[int, Raw | None]] = {}
        self._messages: dict[bytes, Stripped] = {}

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Look at the next memories or messages in the namespace of the first space that was dropped."""
        self._keys, self._rows, self._messages = [], {}, {}
        kind = bytes((Kind.VECTOR_SPACE_DROPPED,))
        dropped = view.walk(Family.HEADS, kind, after_prefix(kind), keys_max=1)
        if not dropped:
            return
        self._space, left = dropped[0][0], decode_dropped_space(dropped[0][1])
        of_messages = beside(self._space, Kind.MESSAGE_VECTORS, b"")
        if left.place.startswith(of_messages):
            self._messages, self._place = yield from next_stripped(view, of_messages, left)
        else:
            self._place = (yield from self._memories(view, left)) or of_messages
        self._keys = [self._space, *self._rows, *self._messages]

    def _memories(self, view: View, left: DroppedSpaceHead) -> Generator[Fetch, Rows, bytes]:
        """Find what is to be taken from beside the next memories; return the last of them, empty behind all."""
        prefix = beside(self._space, Kind.MEMORY, b"")
        start = left.place + b"\0" if left.place else prefix
        walked = view.walk(Family.HEADS, start, after_prefix(prefix), keys_max=_STRIPPED)
        heads = {key: head for key, head in ((key, decode_head(row)) for key, row in walked) if head.vectors}
        rows = yield Fetch(Family.ENTRIES, [vectors_key(key) for key in heads])
        for (key, head), row in zip(heads.items(), rows, strict=True):
            stored = {} if row is None else unpack_vectors(row)
            vector = stored.get(left.name)
            if vector is not None and vector.incarnation == left.incarnation:
                del stored[left.name]
                self._rows[key] = head.revision, pack_vectors(stored) if stored else None
        return walked[-1][0] if len(walked) == _STRIPPED else b""

    def write(self, draft: Draft) -> Done:
        """Take them away; what has changed since is looked at again."""
        left: DroppedSpaceHead | None = draft.get(self._space)
        if left is None:
            return Done()
        for key, (revision, row) in self._rows.items():
            head: MemoryHead | None = draft.get(key)
            if head is None or head.revision != revision:
                raise Stale
            stripped = structs.replace(head, vectors=row is not None)
            draft.put(key, stripped)
            draft.emit(MemoryStripped(key, stripped, row))
        strip(draft, self._messages)
        swept = structs.replace(left, place=self._place) if self._place else None
        draft.put(self._space, swept)
        draft.emit(SpaceSwept(self._space, swept))
        return Done()
