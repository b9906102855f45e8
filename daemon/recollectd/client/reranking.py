"""Putting results in another order by scores of the caller's: a cross-encoder, a model, rules. No I/O."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias, cast

from msgspec import Struct, structs

from recollectd.client.arguments import as_many, awaits, whole
from recollectd.client.results import MemoryHit, ScoreDetails
from recollectd.protocol import errors, limits

Reranker: TypeAlias = Callable[[str, list[MemoryHit]], Iterable[float] | Awaitable[Iterable[float]]]
"""Takes a query and results, and gives a score for each result; more is better.

The asyncio client also takes a coroutine function, and runs any other callable in a worker thread. In a pipeline it is
called where the results arrive, which a coroutine function cannot be (InvalidArgument).
"""


class Reranking(Struct, frozen=True):
    """A reranker and what it is asked."""

    reranker: Reranker
    text: str
    limit: int
    candidates: int

    def ordered(self, found: list[MemoryHit]) -> list[MemoryHit]:
        """Return the best results by the reranker's scores, equal ones as they were."""
        return self.by_scores(found, cast(Any, self.reranker)(self.text, list(found)) if found else ())

    def by_scores(self, found: list[MemoryHit], made: Iterable[Any]) -> list[MemoryHit]:
        """Return the best results by scores made of them. Raises InvalidArgument for what is not a number for each."""
        try:
            scores = list(map(float, as_many(made, len(found), "scores", "results", field="reranker")))
        except (TypeError, ValueError, OverflowError) as error:
            raise errors.InvalidArgument(f"gave a score that is no number: {error}", field="reranker") from error
        if not all(map(math.isfinite, scores)):
            raise errors.InvalidArgument("gave a score that is no number", field="reranker")
        hits = [_rescored(hit, score) for hit, score in zip(found, scores, strict=True)]
        hits.sort(key=lambda hit: -hit.score)
        return hits[: self.limit]


class Unranked(Struct, frozen=True):
    """Results to be put in order before a call is done: whoever carries it out calls the reranker."""

    reranking: Reranking
    found: list[MemoryHit]


def reranking_of(
    reranker: Reranker | None, text: str, limit: int, candidates: int, cursor: bytes, *, apart: bool
) -> Reranking | None:
    """Return what is to be done, None without a reranker. apart: see `Unranked`. Raises InvalidArgument."""
    if reranker is None:
        return None
    if not callable(reranker):
        raise errors.InvalidArgument(f"must be a callable, not {type(reranker).__name__}", field="reranker")
    if awaits(reranker) and not apart:
        raise errors.InvalidArgument(
            "is a coroutine function, which searches of the asyncio client alone await, outside pipelines",
            field="reranker",
        )
    if cursor:
        raise errors.InvalidArgument("reranked results have no pages", field="cursor")
    whole(limit, "limit", least=1, most=limits.SEARCH_RESULTS_MAX)
    whole(candidates, "candidates", least=1, most=limits.SEARCH_RESULTS_MAX)
    return Reranking(reranker, text, limit, max(limit, candidates))


def _rescored(hit: MemoryHit, score: float) -> MemoryHit:
    details = hit.score_details
    told = ScoreDetails([]) if details is None else details
    return structs.replace(hit, score=score, score_details=structs.replace(told, reranker=score, first_score=hit.score))
