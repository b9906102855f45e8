"""Our own tools: sentences that are remembered, found again by the daemon's search, and forgotten.

They are semantic memories in the namespace `(…, "memories")`, open to every other client. metadata: `tags`. Their ids
count down with time, so that a walk in the order of ids gives the newest first. Do not change: they are stored.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from recollectd.adapters.mcp.fields import GraphPart

if TYPE_CHECKING:
    from recollectd.adapters.mcp.graph import Graph
    from recollectd.client import AsyncClient
    from recollectd.client.results import Memory as Stored

NAMESPACE: Final = "memories"
LIMIT_MAX: Final = 1_000
_WORD: Final = re.compile(r"\w+")
_END_US: Final = 1 << 60
_CHARACTERS_PER_TOKEN: Final = 4

Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="How many to return at most")]
QueryText = Annotated[str, Meta(min_length=1, description="What to look for, in words or as a question")]
Tags = Annotated[list[str], Meta(description="Words to sort it by")]
Id = Annotated[str, Meta(min_length=1, description="The id that remember, recall or history gave")]


class Remember(Struct, frozen=True):
    """Arguments of remember."""

    text: Annotated[str, Meta(min_length=1, description="What to remember, in a sentence that stands by itself")]
    tags: Tags = []
    id: Annotated[str, Meta(description="The memory whose new wording this is; empty: a new memory")] = ""


class Recall(Struct, frozen=True):
    """Arguments of recall."""

    query: QueryText
    limit: Limit = 10
    tags: Annotated[list[str], Meta(description="Only memories that have all of these tags")] = []


class Forget(Struct, frozen=True):
    """Arguments of forget."""

    id: Id
    delete: Annotated[bool, Meta(description="Delete it with its older wordings, for good, instead of hiding it")] = (
        False
    )


class Context(Struct, frozen=True):
    """Arguments of context."""

    query: QueryText
    characters: Annotated[
        int, Meta(ge=100, le=1_000_000, description="About how long the text may be, in characters")
    ] = 4_000


class History(Struct, frozen=True):
    """Arguments of history."""

    id: Annotated[str, Meta(description="The memory whose wordings to list; empty: what was remembered last")] = ""
    limit: Limit = 20


class Memory(Struct, frozen=True):
    """One memory; version: 1 for its first wording."""

    id: str
    text: str
    tags: list[str]
    created_at: str
    version: int


class Memories(Struct, frozen=True):
    """Result of recall and history."""

    memories: list[Memory]


class Forgotten(Struct, frozen=True):
    """Result of forget."""

    forgotten: bool


class ContextText(Struct, frozen=True):
    """Result of context."""

    text: str


class MemoryTexts:
    """The memories below the client's namespace."""

    def __init__(self, client: AsyncClient, graph: Graph) -> None:
        self._memories = client.with_namespace(*client.namespace, NAMESPACE).memories
        self._graph = graph

    async def remember(self, arguments: Remember) -> Memory:
        """Store a text and return it with its id; the very text that is there already is that memory.

        Raises NotFound for an id that is unknown.
        """
        metadata = {"tags": arguments.tags}
        if arguments.id:
            stored = await self._memories.update(arguments.id, text=arguments.text, metadata=metadata)
        else:
            new_id = f"{_END_US - time.time_ns() // 1_000:015x}{os.urandom(4).hex()}"
            stored = await self._memories.add(arguments.text, memory_id=new_id, metadata=metadata, if_new=True)
        if stored.duplicate:
            found = await self._memories.get(stored.memory_id)
            if found is not None and (not arguments.tags or _tags(found.metadata) == arguments.tags):
                return _memory(found)
            stored = await self._memories.update(stored.memory_id, metadata=metadata)
        return Memory(stored.memory_id, arguments.text, arguments.tags, stored.created_at, stored.version)

    async def recall(self, arguments: Recall) -> Memories:
        """Return the memories that answer a query best, the best first."""
        wanted = " and ".join(f"metadata.tags contains {json.dumps(tag)}" for tag in arguments.tags)
        found = await self._memories.search(arguments.query, filter=wanted, limit=arguments.limit)
        return Memories([_memory(hit.memory) for hit in found.hits])

    async def forget(self, arguments: Forget) -> Forgotten:
        """Hide or delete a memory. Raises NotFound when hiding one that is unknown."""
        if arguments.delete:
            return Forgotten(await self._memories.delete(arguments.id))
        await self._memories.forget(arguments.id)
        return Forgotten(True)

    async def history(self, arguments: History) -> Memories:
        """Return the newest memories, the newest first; or the wordings of one, the newest first."""
        if not arguments.id:
            return Memories([_memory(found) async for found in self._memories.list(limit=arguments.limit)])
        versions = await self._memories.history(arguments.id, limit=arguments.limit)
        return Memories(
            [
                Memory(arguments.id, each.memory.text, _tags(each.memory.metadata), each.updated_at, each.version)
                for each in versions
                if each.memory is not None
            ]
        )

    async def context(self, arguments: Context) -> ContextText:
        """Return memories and what the graph knows about a query as one text within a length."""
        found = await self._memories.context(
            arguments.query, tokens=max(1, arguments.characters // _CHARACTERS_PER_TOKEN)
        )
        text = found.text
        wanted = _words(arguments.query)
        for line in _graph_lines(await self._graph.having_any(wanted), wanted):
            if len(text) + len(line) + 1 > arguments.characters:
                break
            text += f"\n{line}" if text else line
        return ContextText(text)


def _graph_lines(graph: GraphPart, wanted: set[str]) -> list[str]:
    """Return entities, those that share most words with a query first, and the relations of those that share any."""
    shared: list[tuple[int, str]] = []
    named: set[str] = set()
    for entity in graph.entities:
        score = len(wanted & _words(" ".join((entity.name, entity.entity_type, *entity.observations))))
        if score:
            named.add(entity.name)
            shared.append((score, f"- {entity.name} ({entity.entity_type}): {'; '.join(entity.observations)}"))
    shared.sort(key=lambda line: line[0], reverse=True)
    relations = [one for one in graph.relations if one.source in named or one.target in named]
    return [line for _, line in shared] + [f"- {one.source} {one.relation_type} {one.target}" for one in relations]


def _words(text: str) -> set[str]:
    """Return the words of a text, in lower case."""
    return set(_WORD.findall(text.lower()))


def _tags(metadata: dict[str, object] | None) -> list[str]:
    tags = (metadata or {}).get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _memory(stored: Stored) -> Memory:
    return Memory(stored.memory_id, stored.text, _tags(stored.metadata), stored.created_at, stored.version)
