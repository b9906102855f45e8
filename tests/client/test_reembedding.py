"""Moving memories into another vector space, over both faces."""

from __future__ import annotations

import pytest

from client.conftest import Drive
from client.fake import FakeDaemon
from recollectd.client import Client, Embedding, NewMemory
from recollectd.client.vectors import unpacked_vectors
from recollectd.protocol import errors
from recollectd.protocol.limits import EMBEDDED_MAX
from recollectd.protocol.messages.memories import MemoryAdd
from recollectd.protocol.messages.vector_spaces import SpaceEmbed


def count_letters(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


def test_every_memory_without_a_vector_gets_one(any_daemon: FakeDaemon, drive: Drive) -> None:
    told: list[tuple[int, int]] = []
    with drive(any_daemon) as driver:
        spaces, memories, do = driver.client.vector_spaces, driver.client.memories, driver.do
        do(lambda: spaces.create("new", 2))
        count = EMBEDDED_MAX + 3
        do(lambda: memories.add_many([NewMemory("x" * n, f"m{n}") for n in range(1, count + 1)]))
        do(lambda: memories.add("there", memory_id="there", vectors={"new": [7, 7]}))
        embedded = do(
            lambda: spaces.reembed("new", count_letters, alias="now", progress=lambda *so_far: told.append(so_far))
        )
        assert embedded == count
        assert told == [(0, count), (EMBEDDED_MAX, count), (count, count)]
        assert do(lambda: memories.get("m5", vectors=True)).vectors == {"new": [5.0, 1.0]}
        assert do(lambda: memories.get("there", vectors=True)).vectors == {"new": [7.0, 7.0]}
        assert any_daemon.store.spaces["now"].alias_of == "new"
        assert do(lambda: spaces.reembed("new", count_letters)) == 0
        assert do(lambda: memories.count(lacking="new")) == 0
        assert driver.all(lambda: memories.list(lacking="new")) == []


def test_what_is_added_meanwhile_is_embedded_before_the_alias_is_switched(daemon: FakeDaemon) -> None:
    waiting = ["second", "third"]
    with Client(daemon.url) as client:

        def embed(texts: list[str]) -> list[list[float]]:
            if waiting:
                assert "now" not in daemon.store.spaces
                client.memories.add(waiting.pop())
            return count_letters(texts)

        client.vector_spaces.create("new", 2)
        client.memories.add("first")
        assert client.vector_spaces.reembed("new", embed, alias="now") == 3
        assert daemon.store.spaces["now"].alias_of == "new"
        assert client.memories.count(lacking="new") == 0


def test_it_goes_on_where_it_was_broken_off(daemon: FakeDaemon) -> None:
    calls = 0

    def failing(texts: list[str]) -> list[list[float]]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("the model is gone")
        return count_letters(texts)

    with Client(daemon.url, embedder=Embedding(failing, "unused", batch=1_000)) as client:
        client.vector_spaces.create("new", 2)
        with Client(daemon.url) as other:
            other.memories.add_many([NewMemory("x", f"m{n:03}") for n in range(2 * EMBEDDED_MAX)])
        with pytest.raises(OSError, match="the model is gone"):
            client.vector_spaces.reembed("new")
        assert client.vector_spaces.reembed("new") == EMBEDDED_MAX
        sent = [each.request for each in daemon.received if isinstance(each.request, SpaceEmbed)]
        names = [vector.memory_id for request in sent for vector in request.vectors]
        assert sorted(names) == [f"m{n:03}" for n in range(2 * EMBEDDED_MAX)]


def test_without_an_embedder_nothing_can_be_embedded(daemon: FakeDaemon) -> None:
    with Client(daemon.url) as client, pytest.raises(errors.InvalidArgument) as refused:
        client.vector_spaces.reembed("new")
    assert refused.value.field == "embedder"


def test_an_embedder_works_in_transactions_batches_and_pipelines(daemon: FakeDaemon, drive: Drive) -> None:
    with Client(daemon.url, embedder=Embedding(count_letters, "letters")) as client:
        client.transact(lambda transaction: transaction.memories.add("ab", memory_id="t"))
        with client.batch() as batch:
            batch.with_namespace("other").memories.add("abc", memory_id="b")
        with client.pipeline() as pipeline:
            pipeline.memories.add("abcd", memory_id="p")
    added = []
    for each in daemon.received:
        operations = getattr(each.request, "operations", (each.request,))
        added += [new for operation in operations if isinstance(operation, MemoryAdd) for new in operation.memories]
    assert [(each.memory_id, unpacked_vectors(each.vectors)) for each in added] == [
        ("t", {"letters": [2.0, 1.0]}),
        ("b", {"letters": [3.0, 1.0]}),
        ("p", {"letters": [4.0, 1.0]}),
    ]
