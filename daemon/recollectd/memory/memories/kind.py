"""Memories and vector spaces, declared. What is kept beside memories are kinds of their own, without requests."""

from __future__ import annotations

from typing import Final

from recollectd.memory.kind import KindSpec
from recollectd.memory.memories import keeping, reads, searches, spaces, writes
from recollectd.memory.memories.events import MEMORY_EVENTS, SPACE_EVENTS, TEXT_EVENTS, THREAD_EVENTS
from recollectd.memory.memories.heads import MemoryHead, SpaceHead, TextHead, ThreadHead
from recollectd.protocol.messages import erasing
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.fields import Kind

KINDS: Final[tuple[KindSpec, ...]] = (
    KindSpec(
        kind=Kind.MEMORY,
        head=MemoryHead,
        events=MEMORY_EVENTS,
        follows={},
        writes={
            messages.MemoryAdd: writes.Add,
            messages.MemoryReplace: writes.Replace,
            messages.MemoryForget: writes.Forget,
            messages.MemorySupersede: writes.Supersede,
            messages.MemoryDelete: writes.Delete,
        },
        reads={
            messages.MemoryGet: reads.Get,
            messages.MemoryList: reads.List,
            messages.MemoryCount: reads.Count,
            messages.MemoryHistory: reads.History,
            messages.MemorySearch: searches.SearchMemories,
            messages.MemoryContext: searches.AssembleContext,
            erasing.Erase: reads.EraseDeleted,
        },
        settle_expiry=writes.settle_expiry,
        expiry_needs=keeping.known_text,
    ),
    KindSpec(Kind.MEMORY_THREAD, ThreadHead, THREAD_EVENTS, {}, {}, {}),
    KindSpec(Kind.MEMORY_TEXT, TextHead, TEXT_EVENTS, {}, {}, {}),
    KindSpec(
        kind=Kind.VECTOR_SPACE,
        head=SpaceHead,
        events=SPACE_EVENTS,
        follows={},
        writes={
            messages.SpaceCreate: spaces.Create,
            messages.SpaceDrop: spaces.Drop,
            messages.SpaceAlias: spaces.Alias,
        },
        reads={messages.SpaceList: spaces.ListSpaces},
    ),
)
