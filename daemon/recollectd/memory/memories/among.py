"""A search among memories, among the messages of conversations, or both in one ranking."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from msgspec import structs

from recollectd.memory.kind import Fetch, Rows, View
from recollectd.memory.memories import filters, fusion, said
from recollectd.memory.memories.documents import FIELDS
from recollectd.memory.memories.fetching import Found
from recollectd.memory.memories.fusion import Arm, Candidate
from recollectd.memory.memories.searching import KEYWORD, Search, expand, is_plain
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
    if request.among == MESSAGES and not (request.text and request.mode in ("", KEYWORD)):
        raise errors.InvalidArgument("messages are found by their words: tell them, without another mode", field="text")
    if request.among == BOTH and not (request.text and request.mode != "vector"):
        raise errors.InvalidArgument("messages are found by words alone, which this search has none of", field="among")


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
            ranked = yield from self._messages(structs.replace(request, vectors=None), wanted)
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
        if request.text and request.mode != "vector":
            stages = (MEMORIES,) if request.among == MEMORIES else (MEMORIES, MESSAGES)
            if settings.stage in stages or self._views.told_seq < settings.revision:
                self._busy()
        if request.among != MEMORIES and not settings.messages:
            raise errors.InvalidArgument("messages are not searched in this namespace: configure_search", field="among")
        return settings

    def _busy(self) -> None:
        raise errors.Busy("the namespace is being indexed anew", field="namespace", retry_after_ms=_BUSY_MS)

    def _messages(self, request: MemorySearch, wanted: int) -> Generator[Fetch, Rows, Ranked]:
        found: dict[bytes, Found] = {}
        weight = (request.weights or {}).get(KEYWORD, KEYWORD_WEIGHT_DEFAULT)
        plain = is_plain(request)
        arm = Arm(KEYWORD, weight, (yield from self._look(request, wanted + 1 if plain else fusion.LOOKED_AT, found)))
        if plain:
            return fusion.as_they_are(arm, found, request.min_score)
        candidates = fusion.fuse([arm], found)
        fusion.apply_factors(candidates, request, self._view.time if request.as_of is None else request.as_of)
        if request.expansion:
            scope = said.scope_of(self._scope)
            expand(self._views, scope, scope, request, candidates)
        ranked = fusion.ordered(candidates, request, wanted)
        if fusion.ends_early(ranked, (arm,), request, wanted):
            further = arm._replace(hits=(yield from self._look(request, limits.SEARCH_RESULTS_MAX, found)))
            ranked += fusion.behind((arm,), (further,), found, candidates)
        return ranked

    def _look(
        self, request: MemorySearch, enough: int, found: dict[bytes, Found]
    ) -> Generator[Fetch, Rows, list[tuple[bytes, float]]]:
        """Return the best messages that count, in ever larger helpings until there are enough."""
        scope = said.scope_of(self._scope)
        predicate = filters.parse(request.filter)
        limit = enough
        seen: set[bytes] = set()
        while True:
            hits = self._views.keywords.search(scope, request.text, weights=dict.fromkeys(FIELDS, 1.0), limit=limit)
            keys = [scope + hit.record_id for hit in hits]
            new = [key for key in keys if key not in seen]
            seen.update(new)
            for key, each in (yield from said.found_messages(new)).items():
                late = request.as_of is not None and (each.subject.body.valid_at or 0) > request.as_of
                if not late and (predicate is None or predicate(each.subject)):
                    found[key] = each
            counting = [(key, hit.score) for key, hit in zip(keys, hits, strict=True) if key in found]
            if len(counting) >= enough or len(hits) < limit or limit >= _HELPING_MAX:
                return counting[:enough]
            limit = min(_HELPING_MAX, limit * _HELPING_GROWTH)

    def highlights(self, found: Found) -> tuple[tuple[int, int], ...]:
        """Return where a text has words of the query."""
        return self._memories.highlights(found)
