"""The store over a daemon: what other suites do not ask."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from random import Random
from threading import Thread
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import InvalidNamespaceError, PutOp
from langgraph.store.memory import InMemoryStore

from recollectd.adapters.langgraph import AsyncRecollectdStore, RecollectdStore
from recollectd.adapters.langgraph.filters import matches
from recollectd.client import errors
from recollectd.testing import Daemon

Namespace = tuple[str, ...]


@pytest.fixture
def store(daemon: Daemon, namespace: Namespace) -> Iterator[RecollectdStore]:
    with RecollectdStore(daemon.url, namespace=namespace) as opened:
        yield opened


def expires_at(daemon: Daemon, namespace: Namespace, key: str) -> str | None:
    with daemon.client(namespace=(*namespace, "store", "a")) as client:
        record = client.state.get(key)
        assert record is not None
        return record.expires_at


def test_reads_begin_a_time_to_live_anew_where_that_is_wanted(daemon: Daemon, namespace: Namespace) -> None:
    with RecollectdStore(daemon.url, namespace=namespace, ttl={"refresh_on_read": True, "default_ttl": 5}) as store:
        store.put(("a",), "k", {"n": 1})
        ends = [expires_at(daemon, namespace, "k")]
        store.get(("a",), "k", refresh_ttl=False)
        assert expires_at(daemon, namespace, "k") == ends[0]
        for read in (lambda: store.get(("a",), "k"), lambda: store.search(("a",)), lambda: store.search((), filter={})):
            read()
            ends.append(expires_at(daemon, namespace, "k"))
        store.put(("a",), "for ever", {"n": 1}, ttl=None)
        assert expires_at(daemon, namespace, "for ever") is None
    assert ends == sorted(set(map(str, ends))), "each read moves the end"


def test_a_batch_is_one_transaction(store: RecollectdStore) -> None:
    puts = [PutOp(("a",), str(number), {"n": number}) for number in range(10)]
    with pytest.raises(TypeError, match="cannot be stored"):
        store.batch([*puts, PutOp(("a",), "bad", {"x": object()})])
    assert store.search(("a",)) == []
    store.batch(puts)
    assert len(store.search(("a",), limit=100)) == 10


def test_values_have_bounds(store: RecollectdStore) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"deeper": deep}
    with pytest.raises(ValueError, match="cannot be stored"):
        store.put(("a",), "deep", deep)
    with pytest.raises(errors.TooLarge):
        store.put(("a",), "large", {"text": "x" * 9_000_000})
    assert store.search(("a",)) == []


def test_put_keeps_when_it_was_created(store: RecollectdStore) -> None:
    store.put(("a",), "k", {"n": 1})
    first = store.get(("a",), "k")
    store.put(("a",), "k", {"n": 2})
    second = store.get(("a",), "k")
    assert first is not None
    assert second is not None
    assert first.created_at == second.created_at
    assert first.updated_at < second.updated_at
    assert second.value == {"n": 2}


def test_a_store_and_a_checkpointer_do_not_see_each_other(
    daemon: Daemon, store: RecollectdStore, namespace: Namespace
) -> None:
    from recollectd.adapters.langgraph import RecollectdSaver
    from support.checkpoints import Branch

    with RecollectdSaver(daemon.url, namespace=namespace) as saver:
        Branch(saver, "store").put({"n": 1})
        store.put(("threads",), "k", {"n": 1})
        assert store.list_namespaces() == [("threads",)]
        assert len(list(saver.list(None))) == 1


@pytest.mark.parametrize(
    ("labels", "key", "error"),
    [
        (("x" * 129,), "k", InvalidNamespaceError),
        (("a",) * 20, "k", InvalidNamespaceError),
        (("\ud800",), "k", InvalidNamespaceError),
        (("a",), "", ValueError),
        (("a",), "k" * 10_000, ValueError),
        (("a",), "\ud800", ValueError),
    ],
)
def test_what_does_not_fit_is_refused(
    store: RecollectdStore, labels: Namespace, key: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.put(labels, key, {"n": 1})
    with pytest.raises(error):
        store.get(labels, key)
    assert store.list_namespaces() == []


@pytest.mark.parametrize("key", ["a:b", "a/b", "*", "a\0b", "\U0001f600", " ", "x" * 1_000])
def test_hostile_keys_are_keys(store: RecollectdStore, key: str) -> None:
    store.put(("a", ":/*"), key, {"key": key})
    found = store.get(("a", ":/*"), key)
    assert found is not None
    assert found.value == {"key": key}
    assert store.get(("a",), key) is None
    store.delete(("a", ":/*"), key)
    assert store.search(("a",)) == []


def test_an_absent_daemon_is_told(tmp_path: Any) -> None:
    with (
        RecollectdStore(f"unix://{tmp_path}/none", timeout=0.2) as store,
        pytest.raises(errors.DaemonUnavailable),
    ):
        store.put(("a",), "k", {"n": 1})


def test_a_daemon_that_is_killed(recollectd_daemon: Daemon) -> None:
    with RecollectdStore(recollectd_daemon.url) as store:
        store.put(("a",), "k", {"n": 1})
        recollectd_daemon.restart(kill=True)
        store.put(("a",), "l", {"n": 2})
        assert {item.key for item in store.search(("a",))} == {"k", "l"}


def test_what_is_asked_for_together_goes_out_together(daemon: Daemon, namespace: Namespace) -> None:
    async def story() -> int:
        async with AsyncRecollectdStore(daemon.url, namespace=namespace) as store:
            await asyncio.gather(*(store.aput(("a",), str(number), {"n": number}) for number in range(100)))
            with daemon.client() as client:
                client.state.put("position", None)
                before = client.position
                await asyncio.gather(*(store.aput(("a",), str(number), {"n": 0}) for number in range(100)))
                client.state.put("position", None)
                commits = client.position - before - 1
            found = await store.asearch(("a",), limit=200)
            assert [item.value for item in found] == [{"n": 0}] * 100
            return commits

    assert asyncio.run(story()) == 1


FIELD: Final = st.sampled_from(["a", "b", "c.d", "e"])
SCALAR: Final = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["x", "y", ""]))
VALUE: Final = st.dictionaries(st.sampled_from(["a", "b", "e"]), SCALAR | st.lists(SCALAR, max_size=2), max_size=3)
FILTER: Final = st.dictionaries(
    st.sampled_from(["a", "b", "e"]),
    st.one_of(SCALAR, st.lists(SCALAR, max_size=2), st.dictionaries(st.sampled_from(["$eq", "$ne"]), SCALAR)),
    max_size=2,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(values=st.lists(VALUE, max_size=6), wanted=FILTER)
def test_filters_mean_what_they_mean_to_the_reference(
    store: RecollectdStore, values: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    reference = InMemoryStore()
    for item in store.search(("a",), limit=100):
        store.delete(("a",), item.key)
    for number, value in enumerate(values):
        reference.put(("a",), str(number), value)
        store.put(("a",), str(number), value)
    # To the reference an empty map is no operator: it asks for a map.
    asked = {name: each for name, each in wanted.items() if each != {}}
    ours = {item.key for item in store.search(("a",), filter=asked, limit=100)}
    assert ours == {item.key for item in reference.search(("a",), filter=asked, limit=100)}


LABEL: Final = st.sampled_from(["a", "b", "ab", "*x"])
PATH: Final = st.lists(LABEL | st.just("*"), min_size=1, max_size=3).map(tuple)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    namespaces=st.lists(st.lists(LABEL, min_size=1, max_size=4).map(tuple), max_size=8),
    prefix=st.none() | PATH,
    suffix=st.none() | PATH,
    depth=st.none() | st.integers(1, 4),
)
def test_namespaces_are_listed_as_by_the_reference(
    store: RecollectdStore,
    namespaces: list[Namespace],
    prefix: Namespace | None,
    suffix: Namespace | None,
    depth: int | None,
) -> None:
    reference = InMemoryStore()
    for labels in store.list_namespaces(limit=1_000):
        store.delete(labels, "k")
    for labels in namespaces:
        reference.put(labels, "k", {})
        store.put(labels, "k", {})
    asked: dict[str, Any] = {"prefix": prefix, "suffix": suffix, "max_depth": depth, "limit": 1_000}
    assert store.list_namespaces(**asked) == reference.list_namespaces(**asked)


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Return a direction for each text, always the same; equal for no two texts."""
    return [[Random(f"{text} {axis}").uniform(-1, 1) for axis in range(8)] for text in texts]


INDEX: Final[Any] = {"dims": 8, "embed": embed, "fields": ["title", "notes[*]"]}
WORDS: Final = ("oak", "elm", "ash", "yew", "fir", "bay", "box", "fig")


def random_put(rng: Random) -> PutOp:
    place = rng.choice([("a",), ("a", "b"), ("a", "b", "c"), ("z",)])
    value: dict[str, Any] = {"n": rng.randrange(4), "title": f"{rng.choice(WORDS)} {rng.random()}"}
    if rng.random() < 0.5:
        value["notes"] = [f"{rng.choice(WORDS)} {rng.random()}" for _ in range(rng.randrange(4))]
    key = str(rng.randrange(40))
    if rng.random() < 0.15:
        return PutOp(place, key, None)
    return PutOp(place, key, value, index=rng.choice((None, None, None, False, ["title"])))


def product(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


Model = dict[tuple[Namespace, str], tuple[dict[str, Any], list[str]]]
"""Items by place, each with the texts that are embedded of it."""


def put_into(model: Model, op: PutOp) -> None:
    if op.value is None:
        model.pop((op.namespace, op.key), None)
        return
    texts = [] if op.index is False else [op.value["title"], *(op.value.get("notes", ()) if op.index is None else ())]
    model[op.namespace, op.key] = dict(op.value), texts


def nearest_in(model: Model, prefix: Namespace, query: str, demanded: Any) -> list[tuple[float, Namespace, str]]:
    def cosine(one: Sequence[float], other: Sequence[float]) -> float:
        return product(one, other) / math.sqrt(product(one, one) * product(other, other))

    (asked,) = embed([query])
    found = [
        (max(cosine(asked, vector) for vector in embed(texts)), namespace, key)
        for (namespace, key), (value, texts) in model.items()
        if texts and namespace[: len(prefix)] == prefix and matches(value, demanded)
    ]
    return sorted(found, reverse=True)


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_are_those_of_a_model(daemon: Daemon, namespace: Namespace, seed: int) -> None:
    rng, model = Random(seed), Model()
    with RecollectdStore(daemon.url, namespace=namespace, index=INDEX) as store:
        for _ in range(12):
            puts = [random_put(rng) for _ in range(rng.randrange(1, 30))]
            store.batch(puts)
            for op in puts:
                put_into(model, op)
            for prefix in ((), ("a",), ("a", "b"), ("nowhere",)):
                query = " ".join(rng.choices(WORDS, k=3))
                demanded = rng.choice((None, {"n": 1}, {"n": {"$gt": 1}}))
                offset, limit = rng.choice((0, 3)), rng.choice((1, 5, 100))
                expected = nearest_in(model, prefix, query, demanded)[offset : offset + limit]
                found = store.search(prefix, query=query, filter=demanded, limit=limit, offset=offset)
                assert [(item.namespace, item.key) for item in found] == [each[1:] for each in expected]
                assert [item.score for item in found] == pytest.approx([each[0] for each in expected], abs=1e-5)
                assert all(item.value == model[item.namespace, item.key][0] for item in found)


def test_a_search_goes_on_until_enough_match(daemon: Daemon, namespace: Namespace) -> None:
    with RecollectdStore(daemon.url, namespace=namespace, index=INDEX) as store:
        texts = sorted(
            (f"text {number}" for number in range(300)),
            key=lambda text: product(*embed(["query", text])) / math.sqrt(product(*embed([text, text]))),
        )
        store.batch([PutOp(("a",), text, {"title": text, "far": rank < 5}) for rank, text in enumerate(texts)])
        found = store.search((), query="query", filter={"far": True}, limit=5)
        assert {item.key for item in found} == set(texts[:5])


def test_vectors_go_with_their_items(daemon: Daemon, namespace: Namespace) -> None:
    with (
        RecollectdStore(daemon.url, namespace=namespace, index=INDEX) as store,
        RecollectdStore(daemon.url, namespace=namespace) as other,
        daemon.client(namespace=(*namespace, "store", "a")) as client,
    ):
        store.put(("a",), "k", {"title": "oak", "notes": ["elm", "ash"]})
        assert client.memories.count() == 3
        store.put(("a",), "k", {"title": "yew"})
        assert client.memories.count() == 1
        other.put(("a",), "k", {"title": "fir"})  # knows nothing of vectors
        assert store.search(("a",), query="yew") == []
        store.put(("a",), "k", {"title": "fir"})
        assert [item.value for item in store.search(("a",), query="yew")] == [{"title": "fir"}]
        store.delete(("a",), "k")
        assert store.search(("a",), query="fir") == []


def test_a_space_that_was_dropped_is_made_again(daemon: Daemon, namespace: Namespace) -> None:
    with (
        RecollectdStore(daemon.url, namespace=namespace, index=INDEX) as store,
        daemon.client(namespace=(*namespace, "store", "a")) as client,
    ):
        store.put(("a",), "k", {"title": "oak"})
        assert client.vector_spaces.drop("langgraph")
        assert store.search(("a",), query="oak") == []
        store.put(("a",), "k", {"title": "oak"})
        assert [item.key for item in store.search(("a",), query="oak")] == ["k"]


def test_kills_lose_and_double_no_vector(recollectd_daemon: Daemon) -> None:
    with RecollectdStore(recollectd_daemon.url, index=INDEX) as store:
        for number in range(9):
            killing = Thread(target=recollectd_daemon.restart, kwargs={"kill": True}) if number % 3 == 1 else None
            if killing is not None:
                killing.start()
            store.put(("a",), str(number), {"title": f"oak {number}", "notes": [f"elm {number}"]})
            if killing is not None:
                killing.join()
        found = store.search(("a",), query="oak", limit=100)
        assert sorted(item.key for item in found) == [str(number) for number in range(9)]
        with recollectd_daemon.client(namespace=("langgraph", "store", "a")) as client:
            assert client.memories.count() == 18


def test_an_item_that_is_put_anew_meanwhile_is_found(daemon: Daemon, namespace: Namespace) -> None:
    found: list[int] = []
    with RecollectdStore(daemon.url, namespace=namespace, index=INDEX) as store:
        store.put(("a",), "k", {"title": "oak"})

        def put() -> None:
            for number in range(60):
                store.put(("a",), "k", {"title": f"oak {number}"})

        writer = Thread(target=put)
        writer.start()
        while writer.is_alive():
            found.append(len(store.search(("a",), query="oak")))
        writer.join()
    assert set(found) == {1}


def test_reads_begin_the_time_to_live_of_vectors_anew(daemon: Daemon, namespace: Namespace) -> None:
    ttl: Any = {"refresh_on_read": True, "default_ttl": 5}
    with (
        RecollectdStore(daemon.url, namespace=namespace, index=INDEX, ttl=ttl) as store,
        daemon.client(namespace=(*namespace, "store", "a")) as client,
    ):
        store.put(("a",), "k", {"title": "oak", "notes": ["elm"]})
        before = [memory.expires_at for memory in client.memories.list()]
        store.get(("a",), "k")
        after = [memory.expires_at for memory in client.memories.list(vectors=True) if memory.vectors]
        assert len(before) == len(after) == 2
        assert max(map(str, before)) < min(map(str, after))


def test_another_number_of_dimensions_is_refused(daemon: Daemon, namespace: Namespace) -> None:
    other: Any = {"dims": 2, "embed": lambda texts: [[1.0, 0.0] for _ in texts]}
    with (
        RecollectdStore(daemon.url, namespace=namespace, index=INDEX) as store,
        RecollectdStore(daemon.url, namespace=namespace, index=other) as wrong,
    ):
        store.put(("a",), "k", {"title": "oak"})
        with pytest.raises(ValueError, match="dimension"):
            wrong.put(("a",), "l", {"title": "elm"})
        with pytest.raises(ValueError, match="dimension"):
            wrong.search(("a",), query="oak")
        assert store.get(("a",), "l") is None
