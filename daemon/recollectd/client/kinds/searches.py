"""Calls that search memories; `Memories` has them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

from recollectd.client.arguments import whole
from recollectd.client.calls import Call, Calls, Style, ask, query
from recollectd.client.embedding import Embedding, embed_query
from recollectd.client.memory_records import memory_of
from recollectd.client.results import MemoryContext, MemoryHit, MemoryHits, ScoreDetail, ScoreDetails
from recollectd.client.times import Moment, duration_us, optional_time_us
from recollectd.client.vectors import Vector, packed_vectors
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories as messages

Mode: TypeAlias = Literal["keyword", "vector", "hybrid"]


class Searches(Calls[Style]):
    """Searching memories by words, by vectors, or both."""

    embedding: Embedding | None = None
    """What makes vectors of texts, from the client's `embedder`."""

    @query
    def search(
        self,
        text: str = "",
        *,
        vector: Vector | None = None,
        vectors: Mapping[str, Vector] | None = None,
        weights: Mapping[str, float] | None = None,
        filter: str = "",
        limit: int = 10,
        mode: Mode | None = None,
        as_of: Moment | None = None,
        min_score: float = 0.0,
        hidden: bool = False,
        exact: bool = False,
        explain: bool = False,
        recency_half_life: float | None = None,
        importance_weight: float = 0.0,
        diversity: float = 0.0,
        neighbours: float = messages.NEIGHBOURS_DEFAULT,
        speaker: float = messages.SPEAKER_DEFAULT,
        expansion: float = messages.EXPANSION_DEFAULT,
        cursor: bytes = b"",
    ) -> Call[MemoryHits]:
        """Return the memories that fit best, the best first.

        text: words; vector: of the only vector space used, which `vectors` names otherwise; without either, the
        client's embedder makes one of the text. weights: of `keyword` (3) and of vector spaces (1 each). filter: the
        only memories that count, in any arm. mode: without one, by what is given. as_of: what was known at a time.
        min_score: the least score, 0 for any; hidden: also what is forgotten or superseded; exact: nothing nearer may
        be missed; explain: with score_details and highlights.

        Beside the arms: recency_half_life: seconds of age that halve a score; importance_weight: 0 to 1; diversity:
        0 to 1, how much to prefer what differs from better results; neighbours: the part of its score that a memory
        gives to those next to it in its conversation; speaker: how much more counts what was said (`Name: ...`) by
        the only one whom the text names; expansion: what most of a score the other words of the first results add to a
        result that has them too; 0 turns each off. cursor: what the page before gave.
        """
        request = self._search(
            text,
            vector,
            vectors,
            weights,
            mode,
            filter=filter,
            limit=whole(limit, "limit", least=1, most=limits.SEARCH_RESULTS_MAX),
            as_of=optional_time_us(as_of, "as_of"),
            min_score=float(min_score),
            hidden=hidden,
            exact=exact,
            explain=explain,
            recency_half_life_us=duration_us(recency_half_life, "recency_half_life") or 0,
            importance_weight=float(importance_weight),
            diversity=float(diversity),
            neighbours=float(neighbours),
            speaker=float(speaker),
            cursor=cursor,
            expansion=float(expansion),
        )

        return ask(request, partial(_hits, explain=explain))

    @query
    def context(
        self,
        text: str = "",
        *,
        tokens: int,
        vector: Vector | None = None,
        vectors: Mapping[str, Vector] | None = None,
        filter: str = "",
        limit: int = 20,
        mode: Mode | None = None,
        as_of: Moment | None = None,
        min_score: float = 0.0,
        beside: int = 1,
    ) -> Call[MemoryContext]:
        """Return the best results and what was said beside them as one text of at most `tokens` tokens.

        Four characters are counted as a token. beside: how many memories before and behind each result, of its
        conversation; the other arguments are those of `search`.
        """
        request = self._search(
            text,
            vector,
            vectors,
            None,
            mode,
            filter=filter,
            limit=whole(limit, "limit", least=1, most=limits.SEARCH_RESULTS_MAX),
            as_of=optional_time_us(as_of, "as_of"),
            min_score=float(min_score),
        )
        whole(tokens, "tokens", least=1, most=limits.CONTEXT_TOKENS_MAX)
        whole(beside, "beside", most=8)
        return ask(
            messages.MemoryContext(request, tokens, beside),
            lambda reply: MemoryContext(reply.text, reply.memory_ids, reply.tokens),
        )

    def _search(
        self,
        text: str,
        vector: Vector | None,
        vectors: Mapping[str, Vector] | None,
        weights: Mapping[str, float] | None,
        mode: Mode | None,
        **told: Any,
    ) -> messages.MemorySearch:
        if not isinstance(text, str):
            raise errors.InvalidArgument(f"must be text, not {type(text).__name__}", field="text")
        embedding = self.embedding
        if vector is not None:
            if vectors is not None or embedding is None:
                raise errors.InvalidArgument("goes with an embedder's space alone; use vectors", field="vector")
            vectors = {embedding.space: vector}
        elif vectors is None and embedding is not None and text and mode != "keyword":
            vectors = embed_query(embedding, text)
        return messages.MemorySearch(
            self.namespace,
            text,
            packed_vectors(vectors),
            None if weights is None else dict(weights),
            mode=mode or "",
            **told,
        )


def _hits(reply: messages.MemoryResults, *, explain: bool) -> MemoryHits:
    return MemoryHits([_hit(each, explain=explain) for each in reply.results], reply.cursor)


def _hit(wire: messages.MemoryResult, *, explain: bool) -> MemoryHit:
    if not explain:
        return MemoryHit(memory_of(wire.memory), wire.score)
    arms = [ScoreDetail(each.arm, each.rank, each.raw, each.normalised, each.weight) for each in wire.details]
    details = ScoreDetails(arms, wire.neighbours, wire.speaker, wire.recency, wire.importance)
    return MemoryHit(memory_of(wire.memory), wire.score, details, list(wire.highlights))
