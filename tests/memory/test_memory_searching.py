"""Searches with what they remember: memories read before and what filters allow, through changes of any kind.

Oracle: the order of a search without a filter, of those memories that a list with the filter tells.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from memory.asking import NS, add, memory, put, space, vector
from memory.harness import Store, TestView, operation_of
from recollectd.memory import commits
from recollectd.memory.memories import fusion, searching
from recollectd.memory.memories.heads import memory_key
from recollectd.memory.memories.known import KnownMemories
from recollectd.memory.memories.opening import open_views
from recollectd.memory.memories.view_options import ViewOptions
from recollectd.memory.memories.views import MemoryViews
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.fields import Message
from recollectd.storage.engine import Engine
from recollectd.storage.vectors.options import VectorOptions

WORDS = ("tea", "cake", "rain", "snow", "piano", "river")
FILTERS = (
    "metadata.n < 3",
    "metadata.n >= 1",
    'kind == "odd"',
    'text contains "tea"',
    "metadata.n == 77",
    "pinned == true",
)


class Searched:
    """A store whose views are told of every commit at once."""

    def __init__(self, folder: Path, options: ViewOptions) -> None:
        self.store = Store()
        self.views: MemoryViews = open_views(folder, cast("Engine", self.store.engine), options)

    def write(self, request: Message) -> Any:
        """Write, and tell the views at once what they follow of the commit."""
        before = self.store.position
        reply = self.store.write(request)
        decoded = [
            (seq, commits.decode(self.store.journal[seq - 1])) for seq in range(before + 1, self.store.position + 1)
        ]
        self.views.follow(decoded)
        self.views.tell_waiting()
        return reply

    def search(
        self, text: str = "", filter: str = "", before: Callable[[int], None] = lambda step: None, **told: Any
    ) -> list[str]:
        view: TestView = self.store.view()
        view.memories = self.views
        told = {"limit": 1_000, "neighbours": 0.0, "speaker": 0.0, "expansion": 0.0, "turns": 0.0, **told}
        request = messages.MemorySearch(NS, text, filter=filter, **told)
        found = self.store.read(request, view=view, before=before)
        return [result.memory.memory_id for result in found.results]

    def listed(self, filter: str) -> set[str]:
        page = self.store.read(messages.MemoryList(NS, filter, limit=1_000))
        return {each.memory_id for each in page.memories}


@pytest.fixture(params=[0, 12_000, 1 << 26], ids=["nothing kept", "little kept", "all kept"])
def searched(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Searched]:
    made = Searched(tmp_path, ViewOptions(request.param))
    yield made
    made.views.close()


@pytest.fixture(params=["before", "late", "helpings"])
def filtering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespaces of a few memories are small, large or very large."""
    monkeypatch.setattr(fusion, "LOOKED_AT", 4)
    monkeypatch.setattr(searching, "FILTERED_BEFORE_MAX", 1_000 if request.param == "before" else 3)
    monkeypatch.setattr(searching, "FILTERED_MAX", 3 if request.param == "helpings" else 1_000)
    monkeypatch.setattr(searching, "ALLOWED_FEW_MAX", 5)


def written(rng: random.Random, name: str) -> messages.NewMemory:
    text = " ".join(rng.choices(WORDS, k=rng.randint(1, 5)))
    kind, pinned = rng.choice(("odd", "")), rng.random() < 0.2
    vectors = {"mini": vector(rng.uniform(0.1, 1), rng.uniform(0.1, 1))}
    return memory(text, name, kind=kind, pinned=pinned, metadata={"n": rng.randrange(6)}, vectors=vectors)


def change(rng: random.Random, searched: Searched, names: list[str]) -> None:
    name = rng.choice(names)
    there = searched.store.read(messages.MemoryGet(NS, (name,), False)).memories[0] is not None
    kind = rng.random()
    if not there:
        searched.write(add(written(rng, name)))
    elif kind < 0.4:
        searched.write(messages.MemoryReplace(NS, written(rng, name)))
    elif kind < 0.6:
        searched.write(messages.MemoryForget(NS, name, undo=rng.random() < 0.5))
    else:
        searched.write(messages.MemoryDelete(NS, name))


@pytest.mark.usefixtures("filtering")
@pytest.mark.parametrize("seed", range(3))
def test_a_filtered_search_is_the_search_filtered_through_changes(searched: Searched, seed: int) -> None:
    rng = random.Random(seed)
    names = [f"m{number:02}" for number in range(40)]
    searched.write(space("mini"))
    searched.write(add(*(written(rng, name) for name in names)))
    for _ in range(60):
        for _ in range(rng.randrange(3)):
            change(rng, searched, names)
        filter, text = rng.choice(FILTERS), " ".join(rng.sample(WORDS, 2))
        wanted = searched.listed(filter)
        whole = searched.search(text, mode="keyword")
        assert searched.search(text, filter, mode="keyword") == [name for name in whole if name in wanted]
        query = {"mini": vector(rng.uniform(0.1, 1), 1.0)}
        nearest = searched.search(vectors=query, exact=True)
        assert searched.search(vectors=query, filter=filter) == [name for name in nearest if name in wanted]
        assert set(whole) <= set(nearest) == searched.listed("")


@pytest.mark.parametrize("filter", ["", "metadata.n == 1"])
def test_what_changes_while_a_search_reads_is_not_remembered_as_it_was(searched: Searched, filter: str) -> None:
    for number in range(4):
        searched.write(add(memory("tea", f"m{number}", metadata={"n": 1 + number // 3})))

    def interfere(step: int) -> None:
        if step == 1:  # the heads are read, their contents are not
            searched.write(messages.MemoryReplace(NS, memory("tea", "m0", metadata={"n": 2})))
            searched.write(messages.MemoryForget(NS, "m1"))
            searched.write(messages.MemoryDelete(NS, "m2"))
            searched.write(messages.MemoryReplace(NS, memory("tea", "m3", metadata={"n": 1})))

    searched.search("tea", filter, interfere)
    assert searched.search("tea", "metadata.n == 1") == ["m3"]
    assert searched.search("tea", "metadata.n == 2") == ["m0"]
    assert searched.search("tea") == ["m0", "m3"]


def test_a_search_reads_no_record_twice(tmp_path: Path) -> None:
    searched = Searched(tmp_path, ViewOptions(1 << 26))
    searched.write(add(*(memory("tea", f"m{number}", metadata={"n": number % 2}) for number in range(10))))
    steps: list[int] = []
    first = searched.search("tea", "metadata.n == 1", steps.append)
    assert steps
    steps.clear()
    assert searched.search("tea", "metadata.n == 1", steps.append) == first
    assert not steps
    searched.write(messages.MemoryDelete(NS, first[0]))
    assert searched.search("tea", "metadata.n == 1", steps.append) == first[1:]
    assert steps
    figures = searched.views.status()["known"]
    assert figures["memories"] >= 4
    assert figures["filters"] == 1
    searched.views.close()


def test_what_is_remembered_keeps_to_its_bytes(tmp_path: Path) -> None:
    searched = Searched(tmp_path, ViewOptions(20_000))
    names = [f"m{number}" for number in range(50)]
    searched.write(add(*(memory("tea " * 20, name) for name in names)))
    for _ in range(3):
        assert set(searched.search("tea")) == set(names)
    known: KnownMemories = searched.views.known
    assert 0 < known.memory_bytes <= known.bytes_max
    assert 0 < len(known) < len(names)
    last = next(name for name in reversed(names) if known.get(memory_key(NS, name)) is not None)
    before = known.memory_bytes
    searched.write(messages.MemoryDelete(NS, last))
    assert known.memory_bytes < before
    for number in range(200):
        searched.search("tea", f"metadata.n != {number}")
    assert searched.views.standing.memory_bytes <= searched.views.standing.bytes_max
    known.clear()
    assert (known.memory_bytes, len(known)) == (0, 0)
    searched.views.close()


def test_writes_of_memories_wait_while_too_many_vectors_do_and_no_longer(tmp_path: Path) -> None:
    vectors = VectorOptions(flush_rows=1_000, delta_rows_max=8)
    searched = Searched(tmp_path, ViewOptions(vectors=vectors))
    searched.write(space("mini"))
    adding, forgetting = operation_of(add("tea")), operation_of(messages.MemoryDelete(NS, "m0"))
    for number in range(8):
        assert searched.views.refuse(adding) is None
        searched.write(add(memory("tea", f"m{number}", vectors={"mini": vector(1.0, number)})))
    refused = searched.views.refuse(adding)
    assert refused is not None
    assert refused.retry_after_ms
    assert searched.views.refuse(operation_of(put("k", 1))) is None
    assert searched.views.refuse(forgetting) is None
    ((scope, name),) = searched.views.vectors.spaces()
    searched.views.vectors.merge(scope, name)
    assert searched.views.refuse(adding) is None
    assert searched.search(vectors={"mini": vector(1.0, 0.0)})[0] == "m0"
    searched.views.close()


@pytest.mark.parametrize("share", [50, 10, 1])
def test_filtered_searches_of_graphs_find_what_is_nearest(tmp_path: Path, share: int) -> None:
    rng = np.random.default_rng(share)
    vectors = VectorOptions(exact_rows_max=100, allowed_exact_max=150, flush_rows=4_000)
    searched = Searched(tmp_path, ViewOptions(vectors=vectors))
    searched.write(space("mini", 16, precision="f32"))
    base = rng.normal(size=(3_000, 16)).astype(np.float32)
    for start in range(0, len(base), 500):
        rows = range(start, start + 500)
        new = (
            memory("tea", f"{row}", metadata={"n": row % 100}, vectors={"mini": base[row].tobytes()}) for row in rows
        )
        searched.write(add(*new))
    ((scope, name),) = searched.views.vectors.spaces()
    searched.views.vectors.merge(scope, name)
    kept = base[np.arange(len(base)) % 100 < share]
    found = wanted = 0
    for query in rng.normal(size=(20, 16)).astype(np.float32):
        told: dict[str, Any] = {"vectors": {"mini": query.tobytes()}, "filter": f"metadata.n < {share}", "limit": 10}
        truth = searched.search(**told, exact=True)
        scores = kept @ query / np.linalg.norm(kept, axis=1)
        nearest = np.flatnonzero(np.arange(len(base)) % 100 < share)[np.argsort(-scores)[:10]]
        assert truth == [str(row) for row in nearest]
        found += len({*truth} & {*searched.search(**told)})
        wanted += len(truth)
    assert found / wanted >= (0.95 if share > 5 else 1.0)
    figures = searched.views.vectors.statistics()
    assert bool(figures["approximate_searches"]) is (share > 5)
    searched.views.close()
