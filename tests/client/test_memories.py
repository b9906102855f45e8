"""Memories, searches and embedders over both faces."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from client.conftest import Drive
from client.fake import FakeDaemon
from recollectd.client import AsyncClient, Client, Embedding, NewMemory
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


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"text": None}, "text"),
        ({"metadata": [1]}, "metadata"),
        ({"metadata": 5}, "metadata"),
        ({"metadata": {1: 2}}, "metadata"),
        ({"derived_from": "abc"}, "derived_from"),
        ({"derived_from": 5}, "derived_from"),
        ({"vectors": [1]}, "vectors"),
        ({"vectors": 5}, "vectors"),
        ({"importance": 10**400}, "importance"),
        ({"importance": True}, "importance"),
        ({"place": "here"}, "place"),
        ({"place": (True, 1)}, "place[0]"),
        ({"valid_at": "yesterday"}, "valid_at"),
    ],
)
def test_what_is_no_memory_is_refused_by_name_before_it_is_embedded(
    daemon: FakeDaemon, told: dict[str, Any], field: str
) -> None:
    embedded: list[str] = []

    def embedder(texts: list[str]) -> list[list[float]]:
        embedded.extend(texts)
        return [[1.0] for _ in texts]

    with Client(daemon.url, embedder=embedder) as client:
        for call in (
            lambda: client.memories.add(**{"text": "tea", **told}),
            lambda: client.memories.add_many([NewMemory(**{"text": "tea", **told})]),
        ):
            with pytest.raises(errors.InvalidArgument) as refused:
                call()
            assert refused.value.field.removeprefix("memories[0].") == field
        for given in ([{"text": "tea"}], None, 7, "tea"):
            with pytest.raises(errors.InvalidArgument) as refused:
                client.memories.add_many(given)  # type: ignore[arg-type]
            assert refused.value.field.startswith("memories")
    assert embedded == []


def test_what_can_be_looked_at_once_is_kept_beside_what_is_embedded(daemon: FakeDaemon) -> None:
    with Client(daemon.url, embedder=Embedding(lambda texts: [[1.0] for _ in texts], "made")) as client:
        client.vector_spaces.create("made", 1)
        client.vector_spaces.create("given", 2)
        told: Any = {"derived_from": iter(["a", "b"]), "vectors": {"given": (x for x in (1.0, 2.0))}}
        client.memories.add("tea", memory_id="m", **told)
        found = client.memories.get("m", vectors=True)
        assert found is not None
        assert (found.derived_from, found.vectors) == (("a", "b"), {"given": [1.0, 2.0], "made": [1.0]})


def test_an_embedder_that_makes_no_vectors_is_named(daemon: FakeDaemon) -> None:
    with Client(daemon.url, embedder=lambda texts: ["much" for _ in texts]) as client:
        for call in (lambda: client.memories.add("tea"), lambda: client.memories.search("tea")):
            with pytest.raises(errors.InvalidArgument) as refused:
                call()
            assert refused.value.field == "embedder"


@pytest.mark.parametrize(
    "field",
    [
        "min_score",
        "importance_weight",
        "diversity",
        "neighbours",
        "speaker",
        "expansion",
        "access_weight",
        "weights",
        "weights['keyword']",
    ],
)
@pytest.mark.parametrize("given", ["x", [1], 10**400])
def test_what_is_no_number_of_a_search_is_refused_by_name(daemon: FakeDaemon, field: str, given: object) -> None:
    told: Any = {"weights": {"keyword": given}} if "[" in field else {field: given}
    with Client(daemon.url) as client, pytest.raises(errors.InvalidArgument) as refused:
        client.memories.search("tea", **told)
    assert refused.value.field == field


@pytest.mark.parametrize("field", ["recency_half_life", "access_half_life"])
def test_durations_beyond_all_time_are_refused_by_name(daemon: FakeDaemon, field: str) -> None:
    told: Any = {field: 1e300}
    with Client(daemon.url) as client, pytest.raises(errors.InvalidArgument) as refused:
        client.memories.search("tea", **told)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("embedder", "field"),
    [
        ("encode", "embedder"),
        (Embedding("encode", "s"), "embedder"),  # type: ignore[arg-type]
        (Embedding(list, ""), "embedder.space"),
        (Embedding(list, 5), "embedder.space"),  # type: ignore[arg-type]
        (Embedding(list, "s", 0), "embedder.batch"),
        (Embedding(list, "s", -1), "embedder.batch"),
    ],
)
def test_what_is_no_embedder_is_refused_when_the_client_is_made(embedder: Any, field: str) -> None:
    for make in (Client, AsyncClient):
        with pytest.raises(errors.InvalidArgument) as refused:
            make("unix:///nowhere", embedder=embedder)
        assert refused.value.field == field
