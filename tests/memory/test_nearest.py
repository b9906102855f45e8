"""Searches that are answered together say what the ordinary way says, and leave to it what they must."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memory.asking import NS, add, memory, space, vector
from memory.test_memory_searching import Searched
from recollectd.memory.memories.nearest import answer_together, is_nearest
from recollectd.memory.memories.searches import SearchMemories
from recollectd.memory.memories.view_options import ViewOptions
from recollectd.protocol import table
from recollectd.protocol.messages import memories as messages
from recollectd.storage.keyspace import namespace_bytes
from recollectd.storage.vectors.options import VectorOptions

SCOPE = namespace_bytes(NS)
OPTIONS = VectorOptions(exact_rows_max=30, flush_rows=1 << 20, quiet_rows_min=1 << 20, recall_interval=0)


@pytest.fixture
def searched(tmp_path: Path) -> Iterator[Searched]:
    made = Searched(tmp_path, ViewOptions(1 << 20, vectors=OPTIONS))
    made.write(space("mini"))
    yield made
    made.views.close()


def request(rng: random.Random, **told: Any) -> messages.MemorySearch:
    told = {"limit": rng.choice((1, 3, 10)), "neighbours": 0.0, "turns": 0.0, "records": False, **told}
    query = {"mini": vector(rng.uniform(0.1, 1), rng.uniform(0.1, 1))}
    return messages.MemorySearch(NS, vectors=told.pop("vectors", query), **told)


def filled(searched: Searched, rng: random.Random, count: int = 150) -> list[str]:
    names = [f"m{number:03}" for number in range(count)]
    for name in names:
        told: dict[str, Any] = {"vectors": {"mini": vector(rng.uniform(0.1, 1), rng.uniform(0.1, 1))}}
        told |= {"ttl_us": 1_000_000} if rng.random() < 0.1 else {}
        searched.write(add(memory("tea", name, **told)))
    searched.views.vectors.merge(SCOPE, "mini")
    return names


def both(searched: Searched, asked: list[messages.MemorySearch]) -> tuple[list[bytes | None], list[bytes]]:
    """Return what both ways answer, the quick one first: what it does not know, the other must not have taught it."""
    view = searched.store.view()
    view.memories = searched.views
    quick = answer_together(asked, view)
    ordinary = [table.encode(searched.store.read(each, view=view)) for each in asked]
    return quick, ordinary


@pytest.mark.parametrize("seed", range(4))
def test_both_ways_answer_the_same_through_changes(searched: Searched, seed: int) -> None:
    rng = random.Random(seed)
    names = filled(searched, rng)
    answered = {False: 0, True: 0}
    for step in range(60):
        for name in rng.sample(names, rng.randrange(4)):
            kind = rng.random()
            there = searched.store.read(messages.MemoryGet(NS, (name,), False)).memories[0] is not None
            if not there:
                query = {"mini": vector(rng.uniform(0.1, 1), rng.uniform(0.1, 1))}
                searched.write(add(memory("tea", name, vectors=query)))
            elif kind < 0.3:
                searched.write(messages.MemoryDelete(NS, name))
            elif kind < 0.8:
                searched.write(messages.MemoryForget(NS, name, undo=rng.random() < 0.4))
            else:
                searched.store.now += 200_000
        if step % 20 == 19:
            searched.views.vectors.merge(SCOPE, "mini")
        effort = rng.choice((0, 16, 200))
        records = [rng.random() < 0.5 for _ in range(rng.choice((1, 5)))]
        quick, ordinary = both(searched, [request(rng, effort=effort, records=each) for each in records])
        for each, one, other in zip(records, quick, ordinary, strict=True):
            assert one in (None, other)
            answered[each] += one is not None
    assert min(answered.values()) > 15


@pytest.mark.parametrize(
    "told",
    [
        {"records": True, "explain": True},
        {"records": True, "cursor": b"x"},
        {"limit": 400},
        {"filter": "pinned == true"},
        {"as_of": 5},
        {"hidden": True},
        {"exact": True},
        {"min_score": 0.5},
        {"neighbours": 0.1},
        {"turns": 0.1},
        {"mode": "keyword", "text": "tea"},
        {"text": "tea"},
        {"text": "tea", "vectors": {}, "speaker": 0.0, "expansion": 0.0},
        {"diversity": 0.5},
        {"vectors": {"mini": vector(1, 1), "other": vector(1, 1)}},
        {"among": "both"},
    ],
)
def test_anything_more_goes_the_ordinary_way(told: dict[str, Any]) -> None:
    assert is_nearest(request(random.Random(1)))
    assert not is_nearest(request(random.Random(1), **told))


def test_what_cannot_be_answered_quickly_is_left(searched: Searched) -> None:
    rng = random.Random(9)
    filled(searched, rng)
    view = searched.store.view()
    view.memories = searched.views
    known = request(rng, limit=3)
    assert answer_together([known], view) == [None]  # nothing is known of the space yet
    searched.store.read(known, view=view)
    (reply,) = answer_together([known], view)
    assert reply is not None
    nearest = table.decode_reply(reply).memory_ids[0]  # type: ignore[attr-defined]
    searched.write(messages.MemoryForget(NS, nearest))
    assert answer_together([known], view) == [None]  # one of those found is not in sight
    searched.write(messages.MemoryForget(NS, nearest, undo=True))
    strange = [request(rng, vectors={"nowhere": vector(1, 1)}), request(rng, vectors={"mini": vector(1, 1, 1)})]
    replies = answer_together([strange[0], known, strange[1]], view)
    assert [reply is None for reply in replies] == [True, False, True]
    assert SearchMemories(known).joins


def test_few_vectors_are_searched_exactly(searched: Searched) -> None:
    rng = random.Random(3)
    filled(searched, rng, 20)
    quick, ordinary = both(searched, [request(rng, limit=3)])
    assert quick == [None]
    assert len(table.decode_reply(ordinary[0]).memory_ids) == 3  # type: ignore[attr-defined]


def test_records_are_answered_once_they_are_known(searched: Searched) -> None:
    rng = random.Random(5)
    names = filled(searched, rng)
    asked = [request(rng, limit=limit, records=True) for limit in (1, 10, 149, 150, 399)]
    both(searched, asked[:1])
    quick, ordinary = both(searched, asked)
    assert quick[1] is None  # nothing is known of most
    quick, ordinary = both(searched, asked)
    assert quick == ordinary
    pages = [table.decode_reply(reply) for reply in ordinary]
    assert [bool(page.cursor) for page in pages] == [True, True, True, False, False]  # type: ignore[attr-defined]
    first = pages[1].results[0].memory.memory_id  # type: ignore[attr-defined]
    assert first in names
    searched.write(messages.MemoryReplace(NS, memory("tea", first, pinned=True)))
    quick, _ = both(searched, asked[1:2])
    assert quick == [None]  # it says something else now
    quick, ordinary = both(searched, asked[1:2])
    assert quick == ordinary


def test_a_page_that_would_be_too_large_is_left(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(6)
    filled(searched, rng)
    asked = [request(rng, limit=10, records=True)]
    both(searched, asked)
    monkeypatch.setattr("recollectd.protocol.limits.PAGE_BYTES_MAX", 500)
    quick, ordinary = both(searched, asked)
    assert quick == [None]
    assert len(table.decode_reply(ordinary[0]).results) < 10  # type: ignore[attr-defined]


def test_memories_that_nobody_has_told_of_are_looked_at(searched: Searched) -> None:
    rng = random.Random(11)
    filled(searched, rng)
    asked = [request(rng) for _ in range(10)]
    both(searched, asked[:1])  # the space is known after this
    searched.views.known.clear()
    assert not len(searched.views.known.visible)
    quick, ordinary = both(searched, asked)
    assert quick == ordinary
    assert 0 < len(searched.views.known.visible) <= 10 * 11
