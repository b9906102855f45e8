"""Our own tools: texts that are remembered and found again by their words, and what happened to the graph.

A memory is a state record `memory/<time>-<random>` in the namespace `(…, "memories")`: its keys are in the order in
which the texts were remembered.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta, Struct

from recollectd.adapters.mcp.fields import GraphPart

if TYPE_CHECKING:
    from recollectd.adapters.mcp.graph import Graph
    from recollectd.client import AsyncClient
    from recollectd.client.results import Record

NAMESPACE: Final = "memories"
LIMIT_MAX: Final = 1_000
EXAMINED_MAX: Final = 20_000
"""Memories that one search looks at, the newest first."""
_WORD: Final = re.compile(r"\w+")

Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="How many to return at most")]
QueryText = Annotated[str, Meta(min_length=1, description="Words to look for")]


class Remember(Struct, frozen=True):
    """Arguments of remember."""

    text: Annotated[str, Meta(min_length=1, description="What to remember, in a sentence that stands by itself")]
    tags: Annotated[list[str], Meta(description="Words to find it by, beside its own")] = []


class Recall(Struct, frozen=True):
    """Arguments of recall."""

    query: QueryText
    limit: Limit = 10


class Forget(Struct, frozen=True):
    """Arguments of forget."""

    id: Annotated[str, Meta(min_length=1, description="The id that remember, recall or history gave")]


class Context(Struct, frozen=True):
    """Arguments of context."""

    query: QueryText
    characters: Annotated[
        int, Meta(ge=100, le=1_000_000, description="About how long the text may be, in characters")
    ] = 4_000


class History(Struct, frozen=True):
    """Arguments of history."""

    limit: Limit = 20


class Memory(Struct, frozen=True):
    """One memory."""

    id: str
    text: str
    tags: list[str]
    created_at: str


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
    """The texts below the client's namespace."""

    def __init__(self, client: AsyncClient, graph: Graph) -> None:
        self._client = client.with_namespace(*client.namespace, NAMESPACE)
        self._graph = graph

    async def remember(self, arguments: Remember) -> Memory:
        """Store a text and return it with its id."""
        id = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.urandom(4).hex()}"
        await self._client.state.put(_key(id), {"text": arguments.text, "tags": arguments.tags}, if_absent=True)
        record = await self._client.state.get(_key(id))
        return Memory(id, arguments.text, arguments.tags, "" if record is None else record.created_at)

    async def recall(self, arguments: Recall) -> Memories:
        """Return memories that have words of the query, those with most of them first, then the newest."""
        wanted = _words(arguments.query)
        scored: list[tuple[int, int, Memory]] = []
        for age, memory in enumerate(await self._newest(EXAMINED_MAX)):
            score = len(wanted & _words(f"{memory.text} {' '.join(memory.tags)}"))
            if score:
                scored.append((-score, age, memory))
        scored.sort(key=lambda one: one[:2])
        return Memories([memory for _, _, memory in scored[: arguments.limit]])

    async def forget(self, arguments: Forget) -> Forgotten:
        """Delete a memory."""
        return Forgotten(await self._client.state.delete(_key(arguments.id)))

    async def history(self, arguments: History) -> Memories:
        """Return the newest memories, the newest first."""
        return Memories(await self._newest(arguments.limit))

    async def context(self, arguments: Context) -> ContextText:
        """Return memories and entities that have words of the query as one text within a length."""
        wanted = _words(arguments.query)
        recalled = await self.recall(Recall(arguments.query, LIMIT_MAX))
        lines = [f"- {memory.text} ({memory.created_at[:10]})" for memory in recalled.memories]
        lines += _graph_lines(await self._graph.read_graph(), wanted)
        text = ""
        for line in lines:
            if len(text) + len(line) + 1 > arguments.characters:
                break
            text += line + "\n"
        return ContextText(text)

    async def _newest(self, limit: int) -> list[Memory]:
        return [_memory(record) async for record in self._client.state.scan("memory/", reverse=True, limit=limit)]


def _graph_lines(graph: GraphPart, wanted: set[str]) -> list[str]:
    lines: list[str] = []
    named: set[str] = set()
    for entity in graph.entities:
        if wanted & _words(f"{entity.name} {entity.entity_type} {' '.join(entity.observations)}"):
            named.add(entity.name)
            lines.append(f"- {entity.name} ({entity.entity_type}): {'; '.join(entity.observations)}")
    for one in graph.relations:
        if one.source in named or one.target in named:
            lines.append(f"- {one.source} {one.relation_type} {one.target}")
    return lines


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _key(id: str) -> str:
    return f"memory/{id}"


def _memory(record: Record) -> Memory:
    content: dict[str, Any] = record.value
    return Memory(record.key.partition("/")[2], content["text"], content["tags"], record.created_at)
