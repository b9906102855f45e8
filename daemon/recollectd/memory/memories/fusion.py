"""Putting the results of several arms together: scores normalised and added, then factors, then diversity. No I/O.

Plain reciprocal ranks lose to score sums wherever one arm is weaker than another; so each arm's scores are brought to
0 (the worst of its best _LOOKED_AT) ... 1 (its best), and added by weight. What an arm did not find counts 0 there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from recollectd.memory.memories.accesses import weigh_accesses
from recollectd.memory.memories.documents import same_sitting
from recollectd.memory.memories.fetching import Found
from recollectd.memory.memories.heads import thread_key
from recollectd.protocol.messages.memories import MemorySearch, ScoreDetail

IMPORTANCE_UNTOLD: Final = 0.5
_DIVERSIFIED: Final = 4  # times as many as are asked for take part in choosing what differs
_SPEAKER: Final = re.compile(r"\s*([^\W\d_][\w .'-]{0,63}):\s")
_WORD: Final = re.compile(r"[^\W_]+")


class Arm(NamedTuple):
    """What one arm found: keys of memories with its own scores, the best first."""

    name: str
    weight: float
    hits: Sequence[tuple[bytes, float]]


@dataclass(slots=True)
class Candidate:
    """One memory on its way to being a result."""

    found: Found
    score: float = 0.0
    details: list[ScoreDetail] = field(default_factory=list)
    neighbours: float = 0.0
    speaker: float = 1.0
    recency: float = 1.0
    importance: float = 1.0
    access: float = 1.0


def fuse(arms: Sequence[Arm], found: Mapping[bytes, Found]) -> dict[bytes, Candidate]:
    """Return candidates with the weighted mean of their normalised scores."""
    candidates: dict[bytes, Candidate] = {}
    total = sum(arm.weight for arm in arms) or 1.0
    for arm in arms:
        if not arm.hits:
            continue
        best, worst = arm.hits[0][1], arm.hits[-1][1]
        for rank, (key, raw) in enumerate(arm.hits, 1):
            normalised = (raw - worst) / (best - worst) if best > worst else 1.0
            candidate = candidates.get(key)
            if candidate is None:
                candidate = candidates[key] = Candidate(found[key])
            candidate.score += arm.weight / total * normalised
            candidate.details.append(ScoreDetail(arm.name, rank, raw, normalised, arm.weight))
    return candidates


def apply_factors(candidates: Mapping[bytes, Candidate], request: MemorySearch, now: int) -> None:
    """Bring in what beside the arms decides, as far as the request asks for it."""
    if request.neighbours:
        _share(candidates, request.neighbours)
    if request.speaker and request.text:
        _hear(candidates.values(), request.text, request.speaker)
    for candidate in candidates.values():
        subject = candidate.found.subject
        if request.recency_half_life_us:
            told = subject.body.valid_at if subject.body.valid_at is not None else subject.head.created_at
            candidate.recency = 0.5 ** (max(0, now - told) / request.recency_half_life_us)
        if request.importance_weight:
            importance = IMPORTANCE_UNTOLD if subject.body.importance is None else subject.body.importance
            candidate.importance = 1 - request.importance_weight + request.importance_weight * importance
        candidate.score += candidate.neighbours
        candidate.score *= candidate.speaker * candidate.recency * candidate.importance
    if request.access_weight:
        weigh_accesses(candidates.values(), request, now)


def _share(candidates: Mapping[bytes, Candidate], share: float) -> None:
    """Let memories said next to each other have part of each other's scores: an answer lies beside its question."""
    places = {
        (thread_key(key, candidate.found.subject.head.thread), candidate.found.subject.head.position): candidate
        for key, candidate in candidates.items()
        if candidate.found.subject.head.thread
    }
    for (thread, position), candidate in places.items():
        for beside in (position - 1, position + 1):
            other = places.get((thread, beside))
            if other is not None and same_sitting(candidate.found.subject.body, other.found.subject.body):
                candidate.neighbours += share * other.score


def speaker_of(text: str) -> str:
    """Return by whom a text says it was said, in lower case: what stands before its first colon; empty if nobody."""
    match = _SPEAKER.match(text)
    return match[1].lower() if match else ""


def _hear(candidates: Iterable[Candidate], query: str, more: float) -> None:
    """Let what was said by the one whom the query names count more; by one of several named, nothing is known."""
    words = {word.lower() for word in _WORD.findall(query)}
    said: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        speaker = speaker_of(candidate.found.subject.body.text)
        if speaker and set(_WORD.findall(speaker)) & words:
            said.setdefault(speaker, []).append(candidate)
    if len(said) == 1:
        for candidate in next(iter(said.values())):
            candidate.speaker = 1 + more


def ordered(candidates: Mapping[bytes, Candidate], request: MemorySearch, wanted: int) -> list[tuple[bytes, Candidate]]:
    """Return candidates with at least the score asked for, best first, equals by id; `wanted` of them if diverse."""
    ranked = [item for item in candidates.items() if item[1].score >= request.min_score]
    ranked.sort(key=lambda item: (-item[1].score, item[0]))
    return _diverse(ranked, request.diversity, wanted) if request.diversity else ranked


def _diverse(ranked: list[tuple[bytes, Candidate]], diversity: float, wanted: int) -> list[tuple[bytes, Candidate]]:
    """Choose one after the other the best for what it adds (maximal marginal relevance; Carbonell, Goldstein 1998)."""
    pool = ranked[: _DIVERSIFIED * wanted]
    words = {key: set(map(str.lower, _WORD.findall(candidate.found.subject.body.text))) for key, candidate in pool}
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
    return chosen
