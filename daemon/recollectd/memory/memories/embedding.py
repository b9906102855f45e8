"""Vectors given to memories that are there: how a namespace moves into another vector space.

The vectors of a memory are one row, so giving it one more means to read the others first. A memory is named with the
version whose text was embedded; one that has moved on is left for the next time.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from msgspec import structs

from recollectd.memory.kind import Draft, Facts, Fetch, Rows, Stale, View, WriteOperation
from recollectd.memory.memories import spaces
from recollectd.memory.memories.checks import check_dimensions, check_vectors
from recollectd.memory.memories.events import MemoryEmbedded
from recollectd.memory.memories.heads import (
    MemoryHead,
    StoredVector,
    beside,
    decode_head,
    memory_key,
    pack_vectors,
    unpack_vectors,
    vectors_key,
)
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import vector_spaces as messages
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import Family

Vectors = dict[str, StoredVector]


class Embed(WriteOperation[messages.SpaceEmbed]):
    """Gives memories a vector each, in one space."""

    __slots__ = ("_as_of", "_beside", "_keys")

    def __init__(self, request: messages.SpaceEmbed) -> None:
        super().__init__(request)
        spaces.space_key(request.namespace, request.space, "space")
        if not 1 <= len(request.vectors) <= limits.EMBEDDED_MAX:
            raise errors.InvalidArgument(
                f"must be 1 to {limits.EMBEDDED_MAX} vectors, not {len(request.vectors)}", field="vectors"
            )
        for index, vector in enumerate(request.vectors):
            check_vectors({request.space: vector.components}, f"vectors[{index}]")
        self._keys = tuple(
            memory_key(request.namespace, vector.memory_id, f"vectors[{index}].memory_id")
            for index, vector in enumerate(request.vectors)
        )
        if len(set(self._keys)) < len(self._keys):
            raise errors.InvalidArgument("a memory_id is there twice", field="vectors")
        self.keys = self._keys
        self._beside: dict[bytes, tuple[int, Vectors]] = {}
        self._as_of = 0

    @property
    def prepares(self) -> bool:
        """It reads the vectors there are."""
        return True

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Read the vectors of spaces that are still there, and of which revision of their memories they are."""
        self._as_of = view.position
        alive = spaces.living(view, self._keys[0])
        heads = yield Fetch(Family.HEADS, self._keys)
        rows = yield Fetch(Family.ENTRIES, [vectors_key(key) for key in self._keys])
        self._beside = {}
        for key, head, row in zip(self._keys, heads, rows, strict=True):
            revision = 0 if head is None else decode_head(head).revision
            stored = {} if row is None else unpack_vectors(row)
            self._beside[key] = revision, remaining(stored, alive)

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the memories' heads and the space's."""
        return (*self._keys, *spaces.needs(self._keys[0], {self.request.space: b""}, facts))

    def write(self, draft: Draft) -> messages.Embedded:
        """Write the vectors of memories that are at the version told."""
        request = self.request
        name, space = spaces.resolve_name(draft, self._keys[0], request.space, "space")
        if draft.changed_since(beside(self._keys[0], Kind.VECTOR_SPACE, b""), self._as_of):
            raise Stale  # what was found beside the memories may be of a space dropped meanwhile
        embedded: list[bool] = []
        for index, (key, vector) in enumerate(zip(self._keys, request.vectors, strict=True)):
            check_dimensions(vector.components, space, f"vectors[{index}].components")
            made = StoredVector(space.incarnation, vector.components)
            embedded.append(self._embed(draft, key, vector.version, name, made))
        return messages.Embedded(tuple(embedded))

    def _embed(self, draft: Draft, key: bytes, version: int, name: str, vector: StoredVector) -> bool:
        head: MemoryHead | None = draft.get(key)
        if head is None or not head.alive(draft.time) or head.version != version:
            return False
        revision, stored = self._beside[key]
        if revision != head.revision:
            raise Stale
        if stored.get(name) == vector:
            return True
        together = {**stored, name: vector}
        if len(together) > limits.VECTORS_PER_MEMORY_MAX:
            raise errors.InvalidArgument(
                f"memory {key[len(beside(key, Kind.MEMORY, b'')) :].decode()!r} has vectors in"
                f" {limits.VECTORS_PER_MEMORY_MAX} spaces; drop one",
                field="space",
            )
        changed = structs.replace(head, revision=draft.seq, vectors=True)
        draft.put(key, changed)
        draft.emit(MemoryEmbedded(key, changed, pack_vectors(together)))
        return True


def remaining(stored: Vectors, alive: dict[str, int]) -> Vectors:
    """Return the vectors whose space, in its incarnation, is still there."""
    return {name: vector for name, vector in stored.items() if alive.get(name) == vector.incarnation}
