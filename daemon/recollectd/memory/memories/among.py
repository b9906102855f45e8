"""A search among memories, among the messages of conversations, or both in one ranking."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

from msgspec import structs

from recollectd.memory.kind import Fetch, Rows, View
from recollectd.memory.memories import filters, fusion, said
from recollectd.memory.memories.documents import FIELDS
from recollectd.memory.memories.fetching import Found
from recollectd.memory.memories.fusion import Arm, Candidate
from recollectd.memory.memories.searching import KEYWORD, Hits, Search, ask_space, expand, is_plain
from recollectd.memory.settings.search import MEMORIES, MESSAGES, SearchHead
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.memories import BOTH, KEYWORD_WEIGHT_DEFAULT, MemorySearch
from recollectd.storage.keyspace import namespace_bytes

AMONG: Final = (MEMORIES, MESSAGES, BOTH)
_HELPING_GROWTH: Final = 4
_HELPING_MAX: Final = 100_000
_BUSY_MS: Final = 100

Ranked = list[tuple[bytes, Candidate]]


def check_among(request: MemorySearch) -> None:
    """Refuse what messages cannot be asked for."""
    if request.among not in AMONG:
        raise errors.InvalidArgument(f"must be {', '.join(AMONG)}", field="among")
    if request.among != MEMORIES and not request.records:
        raise errors.InvalidArgument("messages have no ids to rank: ask with records", field="records")


class SearchAmong:
    """One search under way."""

    def __init__(self, request: MemorySearch, view: View) -> None:
        assert view.memories is not None
        self._request = request
        self._view = view
        self._views = view.memories
        self._scope = namespace_bytes(request.namespace)
        self._memories = Search(request, view)

    def run(self, wanted: int) -> Generator[Fetch, Rows, Ranked]:
        """Return results in order, best first."""
        request = self._request
        self._views.catch_up()
        settings = self._ready()
        if request.among == MEMORIES:
            ranked = yield from self._memories.run(wanted)
        elif request.among == MESSAGES:
            ranked = yield from self._messages(request, wanted)
        else:
            apart = structs.replace(request, diversity=0.0)
            memories = yield from Search(apart, self._view).run(wanted)
            messages = yield from self._messages(apart, wanted)
            ranked = fusion.ordered(dict((*memories, *messages)), request, wanted)
        if self._views.scopes.of(self._scope) is not settings:
            self._busy()  # words may have been looked for as texts were not analysed
        return ranked

    def _ready(self) -> SearchHead:
        """Return the settings. Refuses while what is searched is being indexed anew."""
        request, settings = self._request, self._views.scopes.of(self._scope)
        if request.among != MEMORIES and not settings.messages:
            raise errors.InvalidArgument("messages are not searched in this namespace: configure_search", field="among")
        by_words, messages = bool(request.text) and request.mode != "vector", request.among != MEMORIES
        stages = (MEMORIES, MESSAGES) if messages else (MEMORIES,)
        outdated = (by_words and settings.stage in stages) or (messages and settings.vectors_due)
        # Settings are known a moment before the views know what came with them.
        if outdated or ((by_words or messages) and self._views.told_seq < settings.revision):
            self._busy()
        return settings

    def _busy(self) -> None:
        raise errors.Busy("the namespace is being indexed anew", field="namespace", retry_after_ms=_BUSY_MS)

    def _messages(self, request: MemorySearch, wanted: int) -> Generator[Fetch, Rows, Ranked]:
        found: dict[bytes, Found] = {}
        if is_plain(request):
            (arm,) = yield from self._arms(request, wanted + 1, found)
            return fusion.as_they_are(arm, found, request.min_score)
        # Where messages have no vectors, words decide alone, as they do where nobody asks for vectors.
        arms = [arm for arm in (yield from self._arms(request, fusion.LOOKED_AT, found)) if arm.hits]
        candidates = fusion.fuse(arms, found)
        fusion.apply_factors(candidates, request, self._view.time if request.as_of is None else request.as_of)
        if request.expansion and request.text and request.mode != "vector":
            scope = said.scope_of(self._scope)
            expand(self._views, scope, scope, request, candidates)
        ranked = fusion.ordered(candidates, request, wanted)
        if fusion.ends_early(ranked, arms, request, wanted):
            names = {arm.name for arm in arms}
            looked_at = yield from self._arms(request, limits.SEARCH_RESULTS_MAX, found)
            further = [arm for arm in looked_at if arm.name in names]
            ranked += fusion.behind(arms, further, found, candidates)
        return ranked

    def _arms(
        self, request: MemorySearch, looked_at: int, found: dict[bytes, Found]
    ) -> Generator[Fetch, Rows, list[Arm]]:
        """Return what each arm finds among messages, so many of its best."""
        arms: list[Arm] = []
        weights, scope = request.weights or {}, said.scope_of(self._scope)
        if request.text and request.mode != "vector":
            weight = weights.get(KEYWORD, KEYWORD_WEIGHT_DEFAULT)
            arms.append(Arm(KEYWORD, weight, (yield from self._look(self._keywords, looked_at, found))))
        if request.vectors and request.mode != KEYWORD:
            for name, vector in request.vectors.items():
                ask = yield from ask_space(self._views, request, scope, name, vector, _all)
                arms.append(Arm(name, weights.get(name, 1.0), (yield from self._look(ask, looked_at, found))))
        return arms

    def _keywords(self, limit: int) -> Hits:
        weights = dict.fromkeys(FIELDS, 1.0)
        return self._views.keywords.search(said.scope_of(self._scope), self._request.text, weights=weights, limit=limit)

    def _look(
        self, ask: Callable[[int], Hits], enough: int, found: dict[bytes, Found]
    ) -> Generator[Fetch, Rows, list[tuple[bytes, float]]]:
        """Return an arm's best messages that count, in ever larger helpings until there are enough."""
        request, scope = self._request, said.scope_of(self._scope)
        predicate = filters.parse(request.filter)
        limit = enough
        seen: set[bytes] = set(found)
        while True:
            hits = [(scope + record_id, score) for record_id, score in ask(limit)]
            new = [key for key, _ in hits if key not in seen]
            seen.update(new)
            for key, each in (yield from said.found_messages(new)).items():
                late = request.as_of is not None and (each.subject.body.valid_at or 0) > request.as_of
                if not late and (predicate is None or predicate(each.subject)):
                    found[key] = each
            counting = [(key, score) for key, score in hits if key in found]
            if len(counting) >= enough or len(hits) < limit or limit >= _HELPING_MAX:
                return counting[:enough]
            limit = min(_HELPING_MAX, limit * _HELPING_GROWTH)

    def highlights(self, found: Found) -> tuple[tuple[int, int], ...]:
        """Return where a text has words of the query."""
        return self._memories.highlights(found)


def _all() -> None:
    """Allow every message."""
