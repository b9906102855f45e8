"""Memories, searches and embedders over both faces."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from client.conftest import Drive
from client.fake import FakeDaemon
from recollectd.client import Client, Embedding, NewMemory
from recollectd.client.embedding import Texts, as_embedding, embed, openai_like
from recollectd.client.vectors import packed_vector, unpacked_vectors
from recollectd.protocol import errors
from recollectd.protocol.messages.memories import MemoryAdd, MemoryReplace, MemorySearch


def test_memory_calls(any_daemon: FakeDaemon, drive: Drive) -> None:
    with drive(any_daemon) as driver:
        m, do = driver.client.memories, driver.do
        stored = do(
            lambda: m.add("Ada likes tea", memory_id="m", kind="fact", metadata={"n": 1}, vectors={"s": [1, 2]})
        )
        assert (stored.memory_id, stored.version, stored.duplicate) == ("m", 1, False)
        found = do(lambda: m.get("m"))
        assert (found.text, found.kind, found.metadata, found.vectors) == (
            "Ada likes tea",
            "fact",
            {"n": 1},
            {"s": [1.0, 2.0]},
        )
        assert do(lambda: m.get("nobody")) is None
        assert set(do(lambda: m.get_many(["m", "n"]))) == {"m"}
        assert do(lambda: m.update("m", importance=1)).version == 2
        updated = any_daemon.received[-1].request
        assert isinstance(updated, MemoryReplace)
        assert (updated.if_version, updated.keep_expiry, updated.memory.kind, updated.memory.importance) == (
            1,
            True,
            "fact",
            1.0,
        )
        with pytest.raises(errors.VersionConflict):
            do(lambda: m.update("m", text="x", if_version=1))
        with pytest.raises(errors.NotFound):
            do(lambda: m.update("n", text="x"))
        assert do(lambda: m.forget("m")).startswith("2023")
        assert do(lambda: m.remember("m")) is None
        assert do(lambda: m.supersede("m", "n")).startswith("2023")
        assert [each.memory is None for each in do(lambda: m.history("m"))] == [True, False]
        assert do(lambda: m.count()) == 1
        assert [each.memory_id for each in driver.all(m.list)] == ["m"]
        assert do(lambda: m.delete("m")) is True


def test_searches_say_how_scores_came_to_be(any_daemon: FakeDaemon, drive: Drive) -> None:
    with drive(any_daemon) as driver:
        m, do = driver.client.memories, driver.do
        do(lambda: m.add("Ada likes tea", memory_id="m"))
        (hit,) = do(lambda: m.search("tea", explain=True)).hits
        assert hit.score_details.arms[0].arm == "keyword"
        (hit,) = do(lambda: m.search("tea", filter="pinned == false", vectors={"s": [1]}, weights={"s": 2})).hits
        assert hit.score_details is None
        asked = any_daemon.received[-1].request
        assert isinstance(asked, MemorySearch)
        assert (asked.filter, asked.weights, asked.vectors) == ("pinned == false", {"s": 2}, {"s": b"\0\0\x80\x3f"})
        assert do(lambda: m.context("tea", tokens=10)).memory_ids == ("m",)
        assert do(lambda: m.rank("tea", vectors={"s": [1]}, effort=96)) == [("m", 0.5)]
        asked = any_daemon.received[-1].request
        assert isinstance(asked, MemorySearch)
        assert (asked.records, asked.effort, asked.neighbours, asked.speaker, asked.expansion) == (False, 96, 0, 0, 0)
        with pytest.raises(errors.InvalidArgument, match="vector"):
            do(lambda: m.search("tea", vector=[1]))
        with pytest.raises(errors.InvalidArgument, match="effort"):
            do(lambda: m.rank("tea", effort=1_025))


def test_an_embedder_makes_vectors_of_what_is_added_and_asked(daemon: FakeDaemon) -> None:
    batches: list[list[str]] = []

    def count_letters(texts: list[str]) -> list[list[float]]:
        batches.append(texts)
        return [[float(len(text)), 1.0] for text in texts]

    with Client(daemon.url, embedder=Embedding(count_letters, "letters", batch=2)) as client:
        memories = [NewMemory("a"), NewMemory("bb", vectors={"letters": [9, 9]}), NewMemory("ccc"), NewMemory("dddd")]
        client.with_namespace("x").memories.add_many(memories)
        added = daemon.received[-1].request
        assert isinstance(added, MemoryAdd)
        assert [unpacked_vectors(each.vectors) for each in added.memories] == [
            {"letters": [1.0, 1.0]},
            {"letters": [9.0, 9.0]},
            {"letters": [3.0, 1.0]},
            {"letters": [4.0, 1.0]},
        ]
        assert batches == [["a", "ccc"], ["dddd"]]
        client.memories.search("tea")
        asked = daemon.received[-1].request
        assert isinstance(asked, MemorySearch)
        assert unpacked_vectors(asked.vectors) == {"letters": [3.0, 1.0]}
        client.memories.search("tea", mode="keyword")
        asked = daemon.received[-1].request
        assert isinstance(asked, MemorySearch)
        assert asked.vectors is None


def test_embedders_of_other_shapes() -> None:
    made = SimpleNamespace(data=[SimpleNamespace(embedding=[1.0]), SimpleNamespace(embedding=[2.0])])
    api: Any = SimpleNamespace(embeddings=SimpleNamespace(create=lambda model, input: made))
    embedding = as_embedding(openai_like(api, "model"))
    assert embedding is not None
    assert embed(Texts(embedding, ["a", "b"])) == [[1.0], [2.0]]
    with pytest.raises(errors.InvalidArgument, match="embedder"):
        embed(Texts(embedding, ["a"]))
    assert as_embedding(None) is None


@pytest.mark.parametrize("vector", [["a"], 7, [None]])
def test_what_is_no_vector_is_refused_by_name(vector: Any) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        packed_vector(vector, "vectors['s']")
    assert refused.value.field == "vectors['s']"
