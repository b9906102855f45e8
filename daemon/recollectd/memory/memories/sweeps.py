"""Pruning of memories by age."""

from __future__ import annotations

from typing import ClassVar

from recollectd.memory.memories.events import MemoryPruned, MemoryPurged
from recollectd.memory.memories.heads import MemoryHead, decode_head
from recollectd.memory.state.events import StateHead
from recollectd.memory.state.sweeps import Prune
from recollectd.protocol.messages.fields import Kind


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
