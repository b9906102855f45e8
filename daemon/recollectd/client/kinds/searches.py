"""Calls that search memories; `Memories` has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from recollectd.client.arguments import free_text, number, text_map, whole
from recollectd.client.calls import Call, Calls, Style, ask, operation, query
from recollectd.client.embedding import Embedding, embedded_first
from recollectd.client.memory_records import memory_of
from recollectd.client.reranking import Reranker, Reranking, Unranked, reranking_of
from recollectd.client.results import (
    MemoryContext,
    MemoryHit,
    MemoryHits,
    MemoryRank,
    ScoreDetail,
    ScoreDetails,
    SearchSettings,
)
from recollectd.client.times import Moment, duration_us, optional_valid_at_us
from recollectd.client.vectors import Vector, packed_vector, packed_vectors
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages import search_settings as settings

if TYPE_CHECKING:
    from recollectd.protocol.messages.fields import Message

T = TypeVar("T")

Among: TypeAlias = Literal["memories", "messages", "both"]
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
        turns: float = messages.TURNS_DEFAULT,
        cursor: bytes = b"",
        among: Among = "memories",
        access_weight: float = 0.0,
        access_half_life: float | None = None,
        reranker: Reranker | None = None,
        candidates: int = 50,
        effort: int = 0,
    ) -> Call[MemoryHits]:
        """Return the memories that fit best, the best first.

        text: words; vector: of the only vector space used, which `vectors` names otherwise; without either, the
        client's embedder makes one of the text. weights: of `keyword` (3) and of vector spaces (1 each). filter: the
        only memories that count, in any arm. mode: without one, by what is given. as_of: what was so at
        a time: valid by then, hidden later if at all, as its newest version has it.
        min_score: the least score, 0 for any; hidden: also what is forgotten or superseded; exact: nothing nearer may
        be missed; effort: how far graphs of vectors are searched (`ef`), 0: as far as the daemon finds right; explain:
        with score_details and highlights. among: `messages` of the namespace's conversations, which
        have a `role`, or `both` in one ranking (see `configure_search`).

        Beside the arms: recency_half_life: seconds of age that halve a score; importance_weight: 0 to 1; diversity: 0
        to 1, how much to prefer what differs from better results; neighbours: the part of its score that a memory gives
        to those next to it in its conversation; speaker: how much more counts what was said (`Name: ...`) by the only
        one whom the text names; turns: the part of its score that a question gives to what answers it, and how much
        less counts what asks, or says little, in a conversation; access_weight: how much it decides how often a memory
        was found, halved with `access_half_life` seconds since; expansion: what most of a score the other words of the
        first results add to a result that has them too; 0 turns each off. cursor: what the page before gave.

        reranker: called with the text and the best `candidates`, gives a score for each; the best `limit` by these are
        returned, with `score_details.reranker` and `first_score`. The asyncio client does not let its loop wait for it.
        """
        reranking = reranking_of(reranker, text, limit, candidates, cursor, apart=self._apart)
        told = self._told(filter, limit if reranking is None else reranking.candidates, as_of, min_score, among)
        factors = _factors(recency_half_life, importance_weight, diversity, neighbours, speaker, expansion, turns)
        factors |= _access_factor(access_weight, access_half_life)
        told |= {"hidden": hidden, "exact": exact, "explain": explain, "cursor": cursor, **factors}
        told["effort"] = whole(effort, "effort", most=limits.VECTOR_EFFORT_MAX)
        convert = partial(_hits, explain=explain, reranking=reranking, apart=self._apart)
        return self._search(text, vector, vectors, weights, mode, told, lambda request: Call(request, convert))

    @query
    def rank(
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
        effort: int = 0,
    ) -> Call[list[MemoryRank]]:
        """Return ids and scores of the memories that fit best, the best first, and nothing of what they say.

        Scores are those of the arms alone: nothing is added for neighbours, speakers, turns or first results. For a
        vector alone this is the cheapest search there is: no record is read, and what several callers ask at once is
        answered together. The arguments are those of `search`.
        """
        told = self._told(filter, limit, as_of, min_score, "memories")
        told |= {"hidden": hidden, "exact": exact, "records": False, "neighbours": 0.0, "speaker": 0.0}
        told |= {"expansion": 0.0, "turns": 0.0, "effort": whole(effort, "effort", most=limits.VECTOR_EFFORT_MAX)}
        return self._search(text, vector, vectors, weights, mode, told, lambda request: ask(request, _ranks))

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
        among: Among = "memories",
    ) -> Call[MemoryContext]:
        """Return the best results and what was said beside them as one text of at most `tokens` tokens.

        Four characters are counted as a token. beside: how many memories before and behind each result, of its
        conversation, of which nothing is told that the search itself may not find; the other arguments are those of
        `search`.
        """
        told = self._told(filter, limit, as_of, min_score, among)
        whole(tokens, "tokens", least=1, most=limits.CONTEXT_TOKENS_MAX)
        whole(beside, "beside", most=8)

        def assemble(request: messages.MemorySearch) -> Call[MemoryContext]:
            return ask(
                messages.MemoryContext(request, tokens, beside),
                lambda reply: MemoryContext(reply.text, reply.memory_ids, reply.tokens),
            )

        return self._search(text, vector, vectors, None, mode, told, assemble)

    @operation
    def configure_search(
        self,
        *,
        language: str | None = None,
        stemming: bool | None = None,
        stop_words: bool | None = None,
        messages: bool | None = None,
        accesses: bool | None = None,
    ) -> Call[SearchSettings]:
        """Set how this namespace is searched by words, and return its settings; what is None stays as it is.

        language: that of the texts, such as `english` or `german` (Snowball's), or `none`; stemming: forms of a word
        are one; stop_words: words that say nothing are left out; messages: those of conversations are found by
        `search(among="messages")`; accesses: it is counted how often memories are found, by searches, contexts and
        `get`, once in a second at most. What was indexed otherwise is indexed anew, and searches wait for that.
        """
        request = settings.SearchConfigure(self.namespace, language, stemming, stop_words, messages, accesses)
        return ask(request, _settings)

    @query
    def search_settings(self) -> Call[SearchSettings]:
        """Return how this namespace is searched."""
        return ask(settings.SearchSettingsGet(self.namespace), _settings)

    @staticmethod
    def _told(filter: str, limit: int, as_of: Moment | None, min_score: float, among: Among) -> dict[str, Any]:
        """Return what every search tells."""
        return {
            "filter": free_text(filter, "filter"),
            "limit": whole(limit, "limit", least=1, most=limits.SEARCH_RESULTS_MAX),
            "as_of": optional_valid_at_us(as_of, "as_of"),
            "min_score": number(min_score, "min_score"),
            "among": among,
        }

    def _search(
        self,
        text: str,
        vector: Vector | None,
        vectors: Mapping[str, Vector] | None,
        weights: Mapping[str, float] | None,
        mode: Mode | None,
        told: dict[str, Any],
        then: Callable[[messages.MemorySearch], Call[T]],
    ) -> Call[T]:
        """Return the call that `then` makes of the search, after the text is embedded where that is due."""
        free_text(text, "text")
        embedding = self.embedding
        if vector is not None:
            if vectors is not None or embedding is None:
                raise errors.InvalidArgument("goes with an embedder's space alone; use vectors", field="vector")
            vectors = {embedding.space: vector}
        due = vectors is None and text and mode != "keyword"
        if told["among"] == "messages" and mode is None:
            due = due and embedding is not None and embedding.messages

        def search(made: list[Vector]) -> Call[T]:
            return then(
                messages.MemorySearch(
                    self.namespace,
                    text,
                    _packed(embedding, made, vectors),
                    None if weights is None else _weights(weights),
                    mode=mode or "",
                    **told,
                )
            )

        return embedded_first(embedding, [text] if due else [], search, apart=self._apart)


def _factors(
    recency_half_life: float | None,
    importance_weight: float,
    diversity: float,
    neighbours: float,
    speaker: float,
    expansion: float,
    turns: float,
) -> dict[str, Any]:
    return {
        "recency_half_life_us": duration_us(recency_half_life, "recency_half_life") or 0,
        "importance_weight": number(importance_weight, "importance_weight"),
        "diversity": number(diversity, "diversity"),
        "neighbours": number(neighbours, "neighbours"),
        "speaker": number(speaker, "speaker"),
        "expansion": number(expansion, "expansion"),
        "turns": number(turns, "turns"),
    }


def _access_factor(weight: float, half_life: float | None) -> dict[str, Any]:
    return {
        "access_weight": number(weight, "access_weight"),
        "access_half_life_us": duration_us(half_life, "access_half_life") or 0,
    }


def _packed(
    embedding: Embedding | None, made: list[Vector], told: Mapping[str, Vector] | None
) -> dict[str, bytes] | None:
    if embedding is None or not made:
        return packed_vectors(told)
    return {embedding.space: packed_vector(made[0], "embedder")}


def _weights(given: Mapping[str, float]) -> dict[str, float]:
    return {name: number(weight, f"weights[{name!r}]") for name, weight in text_map(given, "weights").items()}


def _hits(
    reply: messages.MemoryResults, *, explain: bool, reranking: Reranking | None, apart: bool
) -> MemoryHits | Call[MemoryHits]:
    """Return the results of a search, or the call that puts them in order."""
    found = [_hit(each, explain=explain) for each in reply.results]
    if reranking is None:
        return MemoryHits(found, reply.cursor)
    if apart and found:
        return Call(cast("Message", Unranked(reranking, found)), _reranked)
    return _reranked(reranking.ordered(found))


def _reranked(hits: list[MemoryHit]) -> MemoryHits:
    return MemoryHits(hits, b"")


def _ranks(reply: messages.MemoryRanks) -> list[MemoryRank]:
    return list(map(MemoryRank, reply.memory_ids, reply.scores))


def _settings(reply: settings.SearchSettings) -> SearchSettings:
    return SearchSettings(
        reply.language,
        stemming=reply.stemming,
        stop_words=reply.stop_words,
        messages=reply.messages,
        indexing=reply.indexing,
        accesses=reply.accesses,
    )


def _hit(wire: messages.MemoryResult, *, explain: bool) -> MemoryHit:
    if not explain:
        return MemoryHit(memory_of(wire.memory), wire.score)
    arms = [ScoreDetail(each.arm, each.rank, each.raw, each.normalised, each.weight) for each in wire.details]
    details = ScoreDetails(arms, wire.neighbours, wire.speaker, wire.recency, wire.importance, wire.access, wire.turn)
    return MemoryHit(memory_of(wire.memory), wire.score, details, list(wire.highlights))
