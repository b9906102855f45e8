"""Putting results in another order by scores of the caller's: a cross-encoder, a model, rules. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

from msgspec import Struct, structs

from recollectd.client.arguments import whole
from recollectd.client.results import MemoryHit, ScoreDetails
from recollectd.protocol import errors, limits

Reranker: TypeAlias = Callable[[str, list[MemoryHit]], Iterable[float]]
"""Takes a query and results, and gives a score for each result; more is better."""


class Reranking(Struct, frozen=True):
    """A reranker and what it is asked."""

    reranker: Reranker
    text: str
    limit: int
    candidates: int

    def ordered(self, found: list[MemoryHit]) -> list[MemoryHit]:
        """Return the best results by the reranker's scores, equal ones as they were."""
        scores = [float(score) for score in self.reranker(self.text, list(found))] if found else []
        if len(scores) != len(found):
            raise errors.InvalidArgument(f"gave {len(scores)} scores for {len(found)} results", field="reranker")
        if not all(map(math.isfinite, scores)):
            raise errors.InvalidArgument("gave a score that is no number", field="reranker")
        hits = [_rescored(hit, score) for hit, score in zip(found, scores, strict=True)]
        hits.sort(key=lambda hit: -hit.score)
        return hits[: self.limit]


def reranking_of(reranker: Reranker | None, text: str, limit: int, candidates: int, cursor: bytes) -> Reranking | None:
    """Return what is to be done, None without a reranker. Raises InvalidArgument."""
    if reranker is None:
        return None
    if cursor:
        raise errors.InvalidArgument("reranked results have no pages", field="cursor")
    whole(limit, "limit", least=1, most=limits.SEARCH_RESULTS_MAX)
    whole(candidates, "candidates", least=1, most=limits.SEARCH_RESULTS_MAX)
    return Reranking(reranker, text, limit, max(limit, candidates))


def _rescored(hit: MemoryHit, score: float) -> MemoryHit:
    details = hit.score_details
    told = ScoreDetails([]) if details is None else details
    return structs.replace(hit, score=score, score_details=structs.replace(told, reranker=score, first_score=hit.score))
