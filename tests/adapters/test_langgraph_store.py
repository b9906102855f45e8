"""The store over a daemon: what other suites do not ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import InvalidNamespaceError, PutOp
from langgraph.store.memory import InMemoryStore

from recollectd.adapters.langgraph import AsyncRecollectdStore, RecollectdStore
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
