"""Memories, vector spaces and settings of search of a namespace as lines, in an order that an import can keep."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recollectd.cli.transfer.lines import Labels, MemoryLine, SearchSettingsLine, VectorSpaceLine

if TYPE_CHECKING:
    from recollectd.client import Client
    from recollectd.client.results import Memory

PAGE_MEMORIES = 200

Order = tuple[str, int, str]
"""A memory's place in an export: its conversation, its position there, its id."""


def space_lines(client: Client, namespace: Labels) -> list[VectorSpaceLine]:
    """Return the namespace's vector spaces, and behind them the aliases that stand for one of them."""
    listed = client.vector_spaces.list()
    own = {space.name for space in listed if not space.alias_of}
    there = [space for space in listed if not space.alias_of or space.alias_of in own]
    spaces = sorted(there, key=lambda space: (bool(space.alias_of), space.name))
    return [
        VectorSpaceLine(
            namespace=namespace,
            name=space.name,
            dimensions=space.dimensions,
            metric=space.metric,
            precision=space.precision,
            model=space.model,
            created_at=space.created_at,
            alias_of=space.alias_of,
        )
        for space in spaces
    ]


def settings_lines(client: Client, namespace: Labels) -> list[SearchSettingsLine]:
    """Return how the namespace is searched, nothing where that is as in any other."""
    settings = client.memories.search_settings()
    line = SearchSettingsLine(
        namespace=namespace,
        language=settings.language,
        stemming=settings.stemming,
        stop_words=settings.stop_words,
        messages=settings.messages,
        accesses=settings.accesses,
    )
    return [] if line == SearchSettingsLine(namespace=namespace) else [line]


def memory_pages(client: Client, namespace: Labels, behind: Order | None) -> Iterator[tuple[list[MemoryLine], Order]]:
    """Yield memories in the order of their conversations, those behind one of them, and which one was the last.

    The order of adding is what gives a memory its place in a conversation. The ids of all are held in memory.
    """
    order = sorted(
        (each.conversation_id or "", each.position, each.memory_id) for each in client.memories.list(hidden=True)
    )
    for start in range(bisect_right(order, behind) if behind else 0, len(order), PAGE_MEMORIES):
        page = order[start : start + PAGE_MEMORIES]
        ids = [memory_id for _, _, memory_id in page]
        found = client.memories.get_many(ids, vectors=True)
        yield [memory_line(namespace, found[memory_id]) for memory_id in ids if memory_id in found], page[-1]


def memory_line(namespace: Labels, memory: Memory) -> MemoryLine:
    """Return a memory as its line."""
    return MemoryLine(
        namespace=namespace,
        memory_id=memory.memory_id,
        text=memory.text,
        memory_kind=memory.kind,
        metadata=memory.metadata,
        importance=memory.importance,
        pinned=memory.pinned,
        valid_at=memory.valid_at,
        place=memory.place,
        derived_from=memory.derived_from,
        conversation_id=memory.conversation_id,
        vectors=memory.vectors or None,
        version=memory.version,
        created_at=memory.created_at,
        updated_at=memory.updated_at,
        expires_at=memory.expires_at,
        forgotten_at=memory.forgotten_at,
        superseded_at=memory.superseded_at,
        superseded_by=memory.superseded_by,
    )
