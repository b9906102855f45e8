"""Random operations on few memories, so that they meet. Their texts are words by which each can be found alone."""

from __future__ import annotations

import random
import struct
from typing import Final

from recollectd.protocol.messages import memories, vector_spaces
from recollectd.protocol.messages.fields import Write

Namespace = tuple[str, ...]

MEMORY_IDS: Final = (*(f"m{number}" for number in range(8)), "m\x00", "mä")
WORDS: Final = ("zebra", "piano", "violet", "harbour", "lantern", "copper")
SPACE: Final = "vectors"
DIMENSIONS: Final = 4


class MemoryWorkload:
    """Writes of memories in a namespace that is given."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def vector(self) -> bytes:
        """Return a vector with a length."""
        return struct.pack(f"<{DIMENSIONS}f", *(self._rng.uniform(0.1, 1.0) for _ in range(DIMENSIONS)))

    def _new(self, memory_id: str | None) -> memories.NewMemory:
        text = " ".join(self._rng.sample(WORDS, self._rng.randint(1, 3)))
        vectors = {SPACE: self.vector()} if self._rng.random() < 0.4 else None
        return memories.NewMemory(text, memory_id, vectors=vectors)

    def _version(self) -> int | None:
        return self._rng.choice((None, None, None, 1, 2))

    def add(self, namespace: Namespace) -> Write:
        """Return an addition of one or more."""
        ids: list[str | None] = [*self._rng.sample(MEMORY_IDS, self._rng.choice((1, 1, 1, 3)))]
        if self._rng.random() < 0.1:
            ids.append(None)
        return memories.MemoryAdd(namespace, tuple(map(self._new, ids)), self._rng.random() < 0.4)

    def replace(self, namespace: Namespace) -> Write:
        """Return a next version."""
        return memories.MemoryReplace(namespace, self._new(self._rng.choice(MEMORY_IDS)), self._version())

    def mark(self, namespace: Namespace) -> Write:
        """Return what hides a memory, or shows it again."""
        one, other = self._rng.sample(MEMORY_IDS, 2)
        if self._rng.random() < 0.6:
            return memories.MemoryForget(namespace, one, self._version(), self._rng.random() < 0.5)
        return memories.MemorySupersede(namespace, one, other, self._version())

    def delete(self, namespace: Namespace) -> Write:
        """Return a deletion."""
        return memories.MemoryDelete(namespace, self._rng.choice(MEMORY_IDS), self._version())

    def create_space(self, namespace: Namespace) -> Write:
        """Return a creation of the one vector space."""
        return vector_spaces.SpaceCreate(namespace, SPACE, DIMENSIONS, precision="f32")
