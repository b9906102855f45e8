"""What searches find, compared with the records themselves: words by splitting texts, vectors by their being there."""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator

from bench.crash.memory_workload import DIMENSIONS, SPACE, WORDS
from bench.wire import AsyncConnection
from recollectd.protocol.messages import memories

Namespace = tuple[str, ...]
_RESULTS = 1_000
_TOLERANCE = 1e-5


async def listed(connection: AsyncConnection, namespace: Namespace, limit: int) -> AsyncIterator[memories.Memory]:
    """Yield all memories, hidden ones too, with their vectors."""
    cursor = b""
    while True:
        page = await connection.call(memories.MemoryList(namespace, "", True, limit, cursor, True))
        assert isinstance(page, memories.MemoryPage)
        for memory in page.memories:
            yield memory
        if not (cursor := page.cursor):
            return


async def check_arms(connection: AsyncConnection, found: list[memories.Memory], namespace: Namespace) -> list[str]:
    """Return where an arm finds another set of memories than there is."""
    trouble: list[str] = []
    for word in WORDS:
        wanted = {memory.memory_id for memory in found if word in memory.text.split()}
        request = memories.MemorySearch(namespace, word, limit=_RESULTS, mode="keyword", hidden=True)
        trouble += await _compare(connection, request, wanted, f"{namespace}: {word!r}")
    wanted = {memory.memory_id for memory in found if SPACE in (memory.vectors or {})}
    if wanted:
        vector = struct.pack(f"<{DIMENSIONS}f", *(1.0 for _ in range(DIMENSIONS)))
        request = memories.MemorySearch(
            namespace, "", {SPACE: vector}, limit=_RESULTS, hidden=True, exact=True, neighbours=0.0
        )
        trouble += await _compare(connection, request, wanted, f"{namespace}: vectors")
        trouble += await _compare_scores(connection, request, found)
    return trouble


async def _compare_scores(
    connection: AsyncConnection, request: memories.MemorySearch, found: list[memories.Memory]
) -> list[str]:
    """Return which vectors are scored otherwise than the records have them."""
    reply = await connection.call(request)
    assert isinstance(reply, memories.MemoryResults), reply
    vectors = {memory.memory_id: (memory.vectors or {}).get(SPACE, b"") for memory in found}
    return [
        f"{request.namespace}: {result.memory.memory_id!r} has the score {result.score}, its record {wanted}"
        for result in reply.results
        if abs(result.score - (wanted := _cosine(vectors.get(result.memory.memory_id, b"")))) > _TOLERANCE
        or math.isnan(wanted)
    ]


def _cosine(components: bytes) -> float:
    """Return the cosine of a vector and the one of ones."""
    floats = struct.unpack(f"<{len(components) // 4}f", components)
    return sum(floats) / (math.hypot(*floats) * math.sqrt(DIMENSIONS)) if floats else math.nan


async def _compare(
    connection: AsyncConnection, request: memories.MemorySearch, wanted: set[str], where: str
) -> list[str]:
    reply = await connection.call(request)
    assert isinstance(reply, memories.MemoryResults), reply
    answered = [result.memory.memory_id for result in reply.results]
    if len(set(answered)) == len(answered) and set(answered) == wanted:
        return []
    return [f"search in {where} found {sorted(answered)}, there are {sorted(wanted)}"]
