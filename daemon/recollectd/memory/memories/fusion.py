"""Putting the results of several arms together: scores normalised and added, then factors, then diversity. No I/O.

Plain reciprocal ranks lose to score sums wherever one arm is weaker than another; so each arm's scores are brought to
0 (the worst of its best LOOKED_AT) ... 1 (its best), and added by weight. What an arm did not find counts 0 there.
An order is the same on whatever page it is looked at, so nothing in it depends on how many results are wanted.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from recollectd.memory.memories.accesses import weigh_accesses
from recollectd.memory.memories.documents import same_sitting
from recollectd.memory.memories.fetching import Found
from recollectd.protocol.messages.memories import MemorySearch, ScoreDetail

IMPORTANCE_UNTOLD: Final = 0.5
LOOKED_AT: Final = 400
"""So many of an arm's best are fused; the scores of its worst there count as 0."""
_DIVERSIFIED: Final = 100  # so many of the best take part in choosing what differs, on whatever page
_SUBSTANCE_MAX: Final = 3.0  # what is so many times as long as the mean says no less than what is longer
WORD: Final = re.compile(r"[^\W_]+")


class Arm(NamedTuple):
    """What one arm found: keys of memories with its own scores, the best first."""

    name: str
    weight: float
    hits: Sequence[tuple[bytes, float]]

    def normalised(self, raw: float) -> float:
        """Return a score of this arm on the scale of all."""
        best, worst = self.hits[0][1], self.hits[-1][1]
        return (raw - worst) / (best - worst) if best > worst else 1.0

    def fallen(self, raw: float) -> float:
        """Return a score behind those of this arm on the scale of all: 0 or less."""
        return min(0.0, self.normalised(raw)) if self.hits and self.hits[0][1] > self.hits[-1][1] else 0.0


class Candidate:
    """One memory on its way to being a result. places: by arm, its rank and score there."""

    __slots__ = ("access", "found", "importance", "neighbours", "places", "recency", "score", "speaker", "turn")

    def __init__(self, found: Found) -> None:
        self.found = found
        self.score = 0.0
        self.places: list[tuple[Arm, int, float]] = []
        self.neighbours = 0.0
        self.speaker = 1.0
        self.recency = 1.0
        self.importance = 1.0
        self.access = 1.0
        self.turn = 1.0

    def details(self) -> tuple[ScoreDetail, ...]:
        """Return what each arm that found it made of it."""
        return tuple(
            ScoreDetail(arm.name, rank, raw, arm.normalised(raw), arm.weight) for arm, rank, raw in self.places
        )


def as_they_are(arm: Arm, found: Mapping[bytes, Found | None], score_min: float) -> list[tuple[bytes, Candidate]]:
    """Return what a single arm found, with its own scores; score_min: 0 for any."""
    ranked: list[tuple[bytes, Candidate]] = []
    for rank, (key, raw) in enumerate(arm.hits, 1):
        each = found[key]
        assert each is not None, "an arm's hits count"
        if raw >= score_min or not score_min:
            candidate = Candidate(each)
            candidate.score = raw
            candidate.places.append((arm, rank, raw))
            ranked.append((key, candidate))
    return ranked


def fuse(arms: Sequence[Arm], found: Mapping[bytes, Found | None]) -> dict[bytes, Candidate]:
    """Return candidates with the weighted mean of their normalised scores."""
    candidates: dict[bytes, Candidate] = {}
    total = sum(arm.weight for arm in arms) or 1.0
    for arm in arms:
        if not arm.hits:
            continue
        worst, share = arm.hits[-1][1], arm.weight / total
        span = arm.hits[0][1] - worst
        for rank, (key, raw) in enumerate(arm.hits, 1):
            candidate = candidates.get(key)
            if candidate is None:
                each = found[key]
                assert each is not None, "an arm's hits count"
                candidate = candidates[key] = Candidate(each)
            candidate.score += share * ((raw - worst) / span if span > 0 else 1.0)
            candidate.places.append((arm, rank, raw))
    return candidates


def ends_early(ranked: Sequence[object], arms: Sequence[Arm], request: MemorySearch, wanted: int) -> bool:
    """Tell whether as much is wanted as the arms' best are, or more, and there may be more."""
    return len(ranked) <= wanted and request.min_score <= 0 and any(len(arm.hits) >= LOOKED_AT for arm in arms)


def behind(
    arms: Sequence[Arm],
    further: Sequence[Arm],
    found: Mapping[bytes, Found | None],
    before: Container[bytes],
) -> list[tuple[bytes, Candidate]]:
    """Return what arms find behind their best, in order: their scores, on the same scale, are 0 or less.

    further: the same arms, looked at as far as results go; before: what has a place already. An arm that did not find
    one of these has its last score for it. Nothing beside the arms counts so far down.
    """
    total = sum(arm.weight for arm in arms) or 1.0
    lowest = [arm.fallen(more.hits[-1][1]) if more.hits else 0.0 for arm, more in zip(arms, further, strict=True)]
    floor = sum(arm.weight / total * least for arm, least in zip(arms, lowest, strict=True))
    candidates: dict[bytes, Candidate] = {}
    for arm, more, least in zip(arms, further, lowest, strict=True):
        for rank, (key, raw) in enumerate(more.hits, 1):
            each = found[key]
            if key in before or each is None:
                continue
            candidate = candidates.get(key)
            if candidate is None:
                candidate = candidates[key] = Candidate(each)
                candidate.score = floor
            candidate.score += arm.weight / total * (arm.fallen(raw) - least)
            candidate.places.append((arm, rank, raw))
    return _sorted(candidates.items())


def best_of(candidates: Mapping[bytes, Candidate], count: int) -> list[tuple[bytes, Candidate]]:
    """Return the best so far, equals by id."""
    return heapq.nsmallest(count, candidates.items(), key=lambda item: (-item[1].score, item[0]))


def expand(candidates: Mapping[bytes, Candidate], arm: Arm) -> None:
    """Add what an arm says that finds nothing by itself, but scores what others have found."""
    for rank, (key, raw) in enumerate(arm.hits, 1):
        candidate = candidates[key]
        factors = candidate.recency * candidate.importance * candidate.access
        candidate.score += arm.weight * arm.normalised(raw) * factors
        candidate.places.append((arm, rank, raw))


def apply_factors(candidates: Mapping[bytes, Candidate], request: MemorySearch, now: int) -> None:
    """Bring in what beside the arms decides, as far as the request asks for it."""
    if request.neighbours or request.turns:
        _converse(candidates.values(), request.neighbours, request.turns)
    if request.speaker and request.text:
        _hear(candidates.values(), request.text, request.speaker)
    factors = bool(request.recency_half_life_us or request.importance_weight)
    for candidate in candidates.values():
        if factors:
            _weigh(candidate, request, now)
        candidate.score += candidate.neighbours
        candidate.score *= candidate.speaker * candidate.turn * candidate.recency * candidate.importance
    if request.access_weight:
        weigh_accesses(candidates.values(), request, now)


def _weigh(candidate: Candidate, request: MemorySearch, now: int) -> None:
    subject = candidate.found.subject
    if request.recency_half_life_us:
        told = subject.body.valid_at if subject.body.valid_at is not None else subject.head.created_at
        candidate.recency = 0.5 ** (max(0, now - told) / request.recency_half_life_us)
    if request.importance_weight:
        importance = IMPORTANCE_UNTOLD if subject.body.importance is None else subject.body.importance
        candidate.importance = 1 - request.importance_weight + request.importance_weight * importance


def _converse(candidates: Iterable[Candidate], share: float, turns: float) -> None:
    """Bring in what the conversation around memories tells of them.

    Those said next to each other have part of each other's scores, and what answers a question has `turns` of the
    question's besides: there lies what was asked for. A question counts half of `turns` less than what says something.
    And what says little counts less, by the power `turns` of its length over the mean: its score is of the words around
    it, which it was indexed with. A text that is kept elsewhere, so that none is here, is taken for one of that length.
    """
    places: dict[tuple[str, int], Candidate] = {}
    for candidate in candidates:
        head = candidate.found.subject.head
        if head.thread:
            places[head.thread, head.position] = candidate
    lengths = [length for candidate in places.values() if (length := len(candidate.found.subject.body.text))]
    mean = sum(lengths) / len(lengths) if lengths else 1.0
    for (thread, position), candidate in places.items():
        subject = candidate.found.subject
        before, behind = places.get((thread, position - 1)), places.get((thread, position + 1))
        if before is not None and same_sitting(subject.body, before.found.subject.body):
            answers = turns and before.found.subject.asks and not subject.same_voice(before.found.subject)
            candidate.neighbours += (share + turns if answers else share) * before.score
        if behind is not None and same_sitting(subject.body, behind.found.subject.body):
            candidate.neighbours += share * behind.score
        if turns:
            substance = min(_SUBSTANCE_MAX, len(subject.body.text) / mean) if subject.body.text else 1.0
            candidate.turn = substance**turns * (1 - turns / 2 if subject.asks else 1)


def _hear(candidates: Iterable[Candidate], query: str, more: float) -> None:
    """Let what was said by the one whom the query names count more; by one of several named, nothing is known."""
    words = {word.lower() for word in WORD.findall(query)}
    said: dict[str, list[Candidate]] = {}
    named: dict[str, bool] = {}
    for candidate in candidates:
        speaker = candidate.found.subject.speaker
        is_named = named.get(speaker)
        if is_named is None:
            is_named = named[speaker] = not words.isdisjoint(WORD.findall(speaker))
        if is_named:
            said.setdefault(speaker, []).append(candidate)
    if len(said) == 1:
        for candidate in next(iter(said.values())):
            candidate.speaker = 1 + more


def ordered(candidates: Mapping[bytes, Candidate], request: MemorySearch, wanted: int) -> list[tuple[bytes, Candidate]]:
    """Return candidates with at least the score asked for, best first, equals by id; if diverse, `wanted` chosen so."""
    least = request.min_score
    ranked = _sorted(item for item in candidates.items() if least <= 0 or item[1].score >= least)
    return _diverse(ranked, request.diversity, wanted) if request.diversity else ranked


def _sorted(items: Iterable[tuple[bytes, Candidate]]) -> list[tuple[bytes, Candidate]]:
    ranked = sorted(items, key=itemgetter(0))
    ranked.sort(key=lambda item: item[1].score, reverse=True)
    return ranked


def _diverse(ranked: list[tuple[bytes, Candidate]], diversity: float, wanted: int) -> list[tuple[bytes, Candidate]]:
    """Choose one after the other the best for what it adds (maximal marginal relevance; Carbonell, Goldstein 1998).

    Behind those that take part in it the others stay as they are.
    """
    pool = ranked[:_DIVERSIFIED]
    words = {key: set(map(str.lower, WORD.findall(candidate.found.subject.body.text))) for key, candidate in pool}
    nearest = dict.fromkeys(words, 0.0)
    worth: Callable[[tuple[bytes, Candidate]], tuple[float, bytes]] = lambda item: (  # noqa: E731
        diversity * nearest[item[0]] - (1 - diversity) * item[1].score,
        item[0],
    )
    chosen: list[tuple[bytes, Candidate]] = []
    while pool and len(chosen) < wanted:
        best = min(pool, key=worth)
        pool.remove(best)
        chosen.append(best)
        for key, _ in pool:
            union = len(words[key] | words[best[0]])
            nearest[key] = max(nearest[key], len(words[key] & words[best[0]]) / union if union else 1.0)
    return [*chosen, *pool, *ranked[_DIVERSIFIED:]]
