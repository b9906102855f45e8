"""The nearest items to a query, by the daemon's vector search.

An item's vectors are memories in the item's own namespace: `<hash of its key>/<number>`, the key for a text, one vector
in the space `langgraph`. The item's record says how many they are: those beyond, left behind by a store that knew
nothing of vectors, are of no account. Do not change: what is stored would not be found again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from recollectd.adapters.langgraph.names import Namespace
from recollectd.adapters.langgraph.steps import Ask, Calls, Steps
from recollectd.client import NewMemory
from recollectd.client.results import MemoryHit, MemoryHits, Record
from recollectd.protocol import errors, limits

SPACE: Final = "langgraph"
HITS_MAX: Final = limits.SEARCH_RESULTS_MAX
_HITS_MIN: Final = 32
_GROWTH: Final = 4
_CALLS_AT_ONCE: Final = 64


class Place(NamedTuple):
    """Where an item lies."""

    namespace: Namespace
    key: str


class Near(NamedTuple):
    """An item that is near by its vector of this number, if it has so many."""

    place: Place
    number: int
    score: float


class Nearby(NamedTuple):
    """What is near, the nearest first; an item may be there several times.

    floor: what was not found has at most this score; None: all was found.
    """

    found: list[Near]
    floor: float | None


def helpings(wanted: int) -> Iterable[int]:
    """Yield how many vectors of each namespace to look at, more each time."""
    limit = min(HITS_MAX, max(_HITS_MIN, wanted))
    while limit < HITS_MAX:
        yield limit
        limit = min(HITS_MAX, limit * _GROWTH)
    yield HITS_MAX


def nearby(base: Namespace, namespaces: Sequence[Namespace], vector: bytes, limit: int) -> Steps[Nearby]:
    """Return the nearest items of namespaces by up to `limit` vectors of each."""
    found: list[Near] = []
    floor: float | None = None
    for start in range(0, len(namespaces), _CALLS_AT_ONCE):
        some = namespaces[start : start + _CALLS_AT_ONCE]
        asks = [partial(_search, namespace=(*base, *each), vector=vector, limit=limit) for each in some]
        answers: list[MemoryHits | None] = yield Calls(asks, tolerated=(errors.NotFound,))
        for namespace, answer in zip(some, answers, strict=True):
            hits = [] if answer is None else answer.hits
            near = [_near(namespace, hit) for hit in hits]
            found += near
            if len(hits) == limit:
                floor = near[-1].score if floor is None else max(floor, near[-1].score)
    found.sort(key=lambda each: each.score, reverse=True)
    return Nearby(found, floor)


def _search(face: Any, *, namespace: Namespace, vector: bytes, limit: int) -> Any:
    return face.with_namespace(*namespace).memories.search(
        vectors={SPACE: vector},
        mode="vector",
        limit=limit,
        min_score=-1.0,
        explain=True,
        neighbours=0.0,
        speaker=0.0,
        turns=0.0,
    )


def _near(namespace: Namespace, hit: MemoryHit) -> Near:
    assert hit.score_details is not None
    number = int(hit.memory.memory_id.rpartition("/")[2])
    return Near(Place(namespace, hit.memory.text), number, hit.score_details.arms[0].raw)


def spaces(base: Namespace, namespaces: Iterable[Namespace], dimensions: int) -> Steps[None]:
    """Have these namespaces have the vector space."""
    asks = [partial(_create, namespace=(*base, *each), dimensions=dimensions) for each in namespaces]
    if asks:
        yield Calls(asks, tolerated=(errors.AlreadyExists,))


def _create(face: Any, *, namespace: Namespace, dimensions: int) -> Any:
    # The vectors are of length 1: their products are cosines, and a vector of zeros is near to nothing.
    return face.with_namespace(*namespace).vector_spaces.create(SPACE, dimensions, metric="dot", precision="f32")


def memories_of(key: str, vectors: Sequence[bytes | None], ttl_s: float | None) -> list[NewMemory]:
    """Return the memories of an item's vectors; None: the vector stays what it is."""
    names = names_of(key, range(len(vectors)))
    return [
        NewMemory(key, name, vectors=None if vector is None else {SPACE: vector}, ttl=ttl_s)
        for name, vector in zip(names, vectors, strict=True)
    ]


def names_of(key: str, numbers: Iterable[int]) -> list[str]:
    """Return the ids of the memories of some of an item's vectors."""
    item = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    return [f"{item}/{number}" for number in numbers]


def count_of(record: Record | None) -> int:
    """Return how many vectors a record says its item has."""
    return 0 if record is None else int(record.value.get("vectors", 0))


def touches(namespace: Namespace, record: Record) -> list[Ask]:
    """Return calls that begin the time to live of an item's vectors anew."""
    memories = memories_of(record.key, [None] * count_of(record), record.value["ttl_s"])
    return [partial(_replace, namespace=namespace, memory=memory) for memory in memories]


def _replace(face: Any, *, namespace: Namespace, memory: NewMemory) -> Any:
    return face.with_namespace(*namespace).memories.replace(memory)
