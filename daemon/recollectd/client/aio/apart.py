"""What callables of the caller's make for a call, beside the event loop: vectors of texts, scores of results."""

from __future__ import annotations

import asyncio
from typing import Any

from recollectd.client.arguments import awaits
from recollectd.client.embedding import Texts, vectors_of
from recollectd.client.reranking import Unranked
from recollectd.client.results import MemoryHit
from recollectd.client.vectors import Vector


async def embed_apart(texts: Texts) -> list[Vector]:
    """Return a vector for each text: a coroutine function is awaited, any other runs in a thread."""
    embedder: Any = texts.embedding.embedder
    vectors: list[Vector] = []
    for batch in texts.batches():
        if awaits(embedder):
            made = vectors_of(await embedder(batch), batch)
        else:
            made = await asyncio.to_thread(lambda given: vectors_of(embedder(given), given), batch)
        vectors += made
    return vectors


async def rank_apart(unranked: Unranked) -> list[MemoryHit]:
    """Return results by a reranker's scores: a coroutine function is awaited, any other runs in a thread."""
    reranking, found = unranked.reranking, unranked.found
    reranker: Any = reranking.reranker
    if awaits(reranker):
        return reranking.by_scores(found, await reranker(reranking.text, list(found)))
    return await asyncio.to_thread(reranking.ordered, found)
