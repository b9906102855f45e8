"""One search over both views: which memories the arms find, which of them count, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final

from recollectd.memory.kind import Fetch, Rows, View
from recollectd.memory.memories import filters, fusion, spaces
from recollectd.memory.memories.checks import OTHER_ARMS, check_dimensions, check_vectors
from recollectd.memory.memories.documents import FIELDS, OWN
from recollectd.memory.memories.fetching import Found, found_among
from recollectd.memory.memories.filters import Predicate
from recollectd.memory.memories.fusion import Arm, Candidate
from recollectd.memory.memories.standing import Allowed
from recollectd.memory.memories.views import MemoryViews
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.memories import KEYWORD_WEIGHT_DEFAULT, MemorySearch
from recollectd.storage.keyspace import kind_prefix, namespace_bytes, text_bytes
from recollectd.storage.vectors.errors import SpaceRebuilding, SpaceUnknown
from recollectd.storage.vectors.selection import Selection

KEYWORD: Final = OTHER_ARMS[0]
MODES: Final = ("", KEYWORD, "vector", "hybrid")
EXPANSION: Final = OTHER_ARMS[1]
# Of so many first results the words are looked for in the others.
EXPANDED_FROM: Final = 5
# In namespaces up to this size a filter is asked of all memories before the search. In larger ones up to the second
# size that is done as soon as an arm's best are not allowed by it often enough; in still larger ones results are
# filtered, in ever larger helpings.
FILTERED_BEFORE_MAX: Final = 20_000
FILTERED_MAX: Final = 250_000
# Keywords look at the allowed alone where they are so few; else results are held against them.
ALLOWED_FEW_MAX: Final = 5_000
_HELPING_GROWTH: Final = 4
_HELPING_MAX: Final = 100_000
_STEP: Final = 512
_WEIGHT_MAX: Final = 1_000.0

Hits = Sequence[tuple[bytes, float]]


def check_search(request: MemorySearch) -> None:
    """Refuse a search that is out of bounds, naming the field."""
    namespace_bytes(request.namespace)
    text_bytes(request.text, "text", limits.QUERY_BYTES_MAX, empty=True)
    if request.mode not in MODES:
        raise errors.InvalidArgument("must be keyword, vector or hybrid", field="mode")
    if request.vectors is not None:
        check_vectors(request.vectors, "vectors")
    if request.mode in (KEYWORD, "hybrid") and not request.text:
        raise errors.InvalidArgument("must be told for this mode", field="text")
    if request.mode in ("vector", "hybrid") and not request.vectors:
        raise errors.InvalidArgument("must be told for this mode", field="vectors")
    if not request.text and not request.vectors:
        raise errors.InvalidArgument("there is nothing to search for: neither text nor vectors", field="text")
    if not request.records and (request.cursor or request.explain):
        field = "cursor" if request.cursor else "explain"
        raise errors.InvalidArgument("goes with records alone", field=field)
    for name, weight in (request.weights or {}).items():
        if name != KEYWORD and name not in (request.vectors or {}):
            raise errors.InvalidArgument(f"there is no arm {name[:40]!r} in this search", field="weights")
        if not (math.isfinite(weight) and 0 < weight <= _WEIGHT_MAX):
            raise errors.InvalidArgument(f"must be more than 0 and at most {_WEIGHT_MAX:g}", field=f"weights[{name!r}]")
    for number, field in ((request.min_score, "min_score"), (request.diversity, "diversity")):
        if not math.isfinite(number):
            raise errors.InvalidArgument("must be a number", field=field)


def is_plain(request: MemorySearch) -> bool:
    """Tell whether one arm alone decides, so that its best are the results, with its own scores."""
    keywords = bool(request.text) and request.mode != "vector"
    spaces_asked = len(request.vectors or {}) if request.mode != KEYWORD else 0
    factors = request.recency_half_life_us or request.importance_weight or request.access_weight or request.diversity
    beside = request.neighbours or request.turns or ((request.speaker or request.expansion) and request.text)
    return keywords + spaces_asked == 1 and not factors and not beside


def expand(
    views: MemoryViews, scope: bytes, prefix: bytes, request: MemorySearch, candidates: Mapping[bytes, Candidate]
) -> None:
    """Let results count more that share words with the first ones.

    What a question is about is said in several places, in words that the question does not have (pseudo relevance
    feedback; Rocchio 1971). scope: of the keyword view; prefix: of the candidates' keys.
    """
    first = fusion.best_of(candidates, EXPANDED_FROM)
    hits = views.keywords.search_alike(
        scope,
        [candidate.found.subject.said for _, candidate in first],
        query=request.text,
        weights={OWN: 1.0},
        among=[key[len(prefix) :] for key in candidates],
    )
    arm = Arm(EXPANSION, request.expansion, [(prefix + record_id, score) for record_id, score in hits])
    fusion.expand(candidates, arm)


def counts(request: MemorySearch, predicate: Predicate | None, found: Found) -> bool:
    """Tell whether a search may tell of a memory that is there. predicate: what the request's filter asks."""
    head, body, as_of = found.subject.head, found.subject.body, request.as_of
    if as_of is not None:
        began = head.created_at if body.valid_at is None else body.valid_at
        ended = any(0 < end <= as_of for end in (head.forgotten_at, head.superseded_at))
        if began > as_of or (ended and not request.hidden):
            return False
    elif head.hidden and not request.hidden:
        return False
    return predicate is None or predicate(found.subject)


def ask_space(
    views: MemoryViews,
    request: MemorySearch,
    scope: bytes,
    name: str,
    vector: bytes,
    allowed: Callable[[], Selection | None],
) -> Generator[Fetch, Rows, Callable[[int], Hits]]:
    """Return what asks the vector view for the nearest in a space, which an alias may name.

    scope: of the view, of memories or of messages; allowed: gives the only records that count, None for all.
    """
    field = f"vectors[{name!r}]"
    known = views.known_spaces
    place, since = (namespace_bytes(request.namespace), name), known.changes
    told = known.get(place)
    if told is None:
        told = yield from spaces.fetch_space(request.namespace, name, field)
        known.keep(place, told, since)
    space, head = told
    check_dimensions(vector, head, field)

    def ask(limit: int) -> Hits:
        exact = request.exact or limit > fusion.LOOKED_AT
        try:
            return views.vectors.search(scope, space, vector, limit, allowed(), exact, request.effort)
        except SpaceUnknown:
            return ()  # dropped a moment ago
        except SpaceRebuilding as error:
            raise errors.Busy(str(error), field=field, retry_after_ms=1_000) from None

    return ask


class Search:
    """One search under way."""

    def __init__(self, request: MemorySearch, view: View) -> None:
        assert view.memories is not None
        self._request = request
        self._view = view
        self._views: MemoryViews = view.memories
        self._predicate = filters.parse(request.filter)
        self._scope = namespace_bytes(request.namespace)
        self._prefix = kind_prefix(Kind.MEMORY, request.namespace)
        self._found: dict[bytes, Found | None] = {}
        self._allowed: Allowed | None = None

    def run(self, wanted: int) -> Generator[Fetch, Rows, list[tuple[bytes, Candidate]]]:
        """Return results in order, best first: more than are wanted, if there are."""
        request = self._request
        self._views.catch_up()
        if self._predicate is not None:
            yield from self._filter_before(self._predicate)
        if is_plain(request):
            (arm,) = yield from self._arms(wanted + 1)
            return fusion.as_they_are(arm, self._found, request.min_score)
        arms = yield from self._arms(fusion.LOOKED_AT)
        candidates = fusion.fuse(arms, self._found)
        fusion.apply_factors(candidates, request, self._view.time if request.as_of is None else request.as_of)
        if request.expansion and request.text and request.mode != "vector":
            expand(self._views, self._scope, self._prefix, request, candidates)
        ranked = fusion.ordered(candidates, request, wanted)
        if fusion.ends_early(ranked, arms, request, wanted):
            further = yield from self._arms(limits.SEARCH_RESULTS_MAX)
            ranked += fusion.behind(arms, further, self._found, candidates)
        return ranked

    def _arms(self, looked_at: int) -> Generator[Fetch, Rows, list[Arm]]:
        """Return what each arm finds, so many of its best."""
        request = self._request
        arms: list[Arm] = []
        weights = request.weights or {}
        if request.text and request.mode != "vector":
            weight = weights.get(KEYWORD, KEYWORD_WEIGHT_DEFAULT)
            arms.append(Arm(KEYWORD, weight, (yield from self._look(self._keywords, looked_at))))
        if request.vectors and request.mode != KEYWORD:
            for name, vector in request.vectors.items():
                ask = yield from self._vectors(name, vector)
                arms.append(Arm(name, weights.get(name, 1.0), (yield from self._look(ask, looked_at))))
        return arms

    def _keywords(self, limit: int) -> Hits:
        allowed = None if self._allowed is None else self._allowed.record_ids
        if allowed is not None and len(allowed) > ALLOWED_FEW_MAX:
            allowed = None  # `_look` holds the results against them: cheaper than telling the index of so many
        weights = dict.fromkeys(FIELDS, 1.0)
        return self._views.keywords.search(
            self._scope, self._request.text, weights=weights, limit=limit, allowed=allowed
        )

    def _vectors(self, name: str, vector: bytes) -> Generator[Fetch, Rows, Callable[[int], Hits]]:
        """Return what asks the vector view for the nearest in a space, which an alias may name."""
        return (yield from ask_space(self._views, self._request, self._scope, name, vector, self._selection))

    def _selection(self) -> Selection | None:
        return None if self._allowed is None else self._allowed.selection

    def _look(self, ask: Callable[[int], Hits], enough: int) -> Generator[Fetch, Rows, Hits]:
        """Return an arm's best among the memories that count, in ever larger helpings until there are enough."""
        limit = enough
        prefix, found = self._prefix, self._found
        while True:
            hits = ask(limit)
            keyed = [(prefix + record_id, score) for record_id, score in hits if self._may_count(record_id)]
            yield from self._learn([key for key, _ in keyed if key not in found])
            counting = [hit for hit in keyed if found[hit[0]] is not None]
            if len(counting) >= enough or len(hits) < limit or limit >= _HELPING_MAX:
                return counting[:enough]
            if not (yield from self._filter_late()):
                limit = min(_HELPING_MAX, limit * _HELPING_GROWTH)

    def _may_count(self, record_id: bytes) -> bool:
        return self._allowed is None or record_id in self._allowed.record_ids

    def _learn(self, keys: list[bytes]) -> Generator[Fetch, Rows, None]:
        """Learn of memories whether they count: of those that searches know already at once, of others from rows."""
        known, time = self._views.known, self._view.time
        missing: list[bytes] = []
        for key in keys:
            each = known.get(key)
            if each is None:
                missing.append(key)
            else:
                self._found[key] = each if each.subject.head.alive(time) and self._counts(each) else None
        known.count(len(keys) - len(missing), len(missing))
        if not missing:
            return
        with known.learning() as learnt:
            at = 0
            while at < len(missing):
                found = yield from found_among(missing[at : at + _STEP], self._view)
                for key, each in zip(missing[at:], found, strict=False):  # `found` is of the first keys
                    self._found[key] = each if each is not None and self._counts(each) else None
                    if each is not None:
                        learnt.append(each)
                at += len(found)

    def _counts(self, found: Found) -> bool:
        return counts(self._request, self._predicate, found)

    def _filter_before(self, predicate: Predicate) -> Generator[Fetch, Rows, None]:
        """Let the arms look at the allowed memories alone, if those are known, or quickly learnt."""
        standing, text = self._views.standing, self._request.filter
        self._allowed = yield from standing.find(self._prefix, text, self._view)
        if self._allowed is None and self._views.keywords.count(self._scope) <= FILTERED_BEFORE_MAX:
            self._allowed = yield from standing.make(self._prefix, text, predicate, self._view)

    def _filter_late(self) -> Generator[Fetch, Rows, bool]:
        """Learn which memories are allowed after all, where a filter turns out to be strict; whether that is new."""
        if self._predicate is None or self._allowed is not None:
            return False
        if self._views.keywords.count(self._scope) > FILTERED_MAX:
            return False
        request = self._request
        self._allowed = yield from self._views.standing.make(self._prefix, request.filter, self._predicate, self._view)
        return True

    def highlights(self, found: Found) -> tuple[tuple[int, int], ...]:
        """Return where a memory's text has words of the query."""
        text = self._request.text
        if not text or self._request.mode == "vector":
            return ()
        return tuple(map(tuple, self._views.keywords.highlights(self._scope, text, found.subject.body.text)))  # type: ignore[arg-type]
