"""Deleting by prefix, and namespaces, which never see each other."""

from __future__ import annotations

import pytest

from memory.asking import NS, configure, count, delete, put, put_many, raw, scan, space
from memory.harness import SECOND, START, Store, answered, operation_of
from recollectd.memory.state import sweeps
from recollectd.protocol import limits
from recollectd.protocol.messages import conversations, logs, state
from recollectd.protocol.messages.connection import Deleted, NamespaceList
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.search_settings import SearchConfigure
from recollectd.storage.keyspace import Family

KEYS = ("a", "a\0", "a:1", "b", "世", "\U0010ffff")


@pytest.fixture
def store() -> Store:
    store = Store()
    for ns in (NS, ("acme",), ("acme", "agent", "x"), ("acme", "agen"), ("acme", "agent-7"), ("acme", "agenu"), ("b",)):
        store.write(put_many(dict.fromkeys(KEYS, 1), ns))
    store.write(logs.LogAppend(NS, "a log", (raw(1),)))
    return store


# -- delete by prefix -----------------------------------------------------------------------------------------------


def test_deleting_by_prefix_in_steps(store: Store) -> None:
    for index in range(25):
        store.write(put(f"x:{index:02}", index))
    others = store.engine.count(Family.HEADS) - 25
    deleted, cursor, steps, done = 0, b"", 0, False
    while not done:
        reply = store.write(state.StateDeletePrefix(NS, "x:", 10, cursor))
        deleted, cursor, done, steps = deleted + reply.deleted, reply.cursor, reply.done, steps + 1
        assert done == (not cursor)
    assert (deleted, steps) == (25, 3)
    assert walked_in(store, NS, "x:") == []
    assert walked_in(store) == list(KEYS)
    assert store.engine.count(Family.HEADS) == others + 25, "their tombstones stay"
    assert store.write(state.StateDeletePrefix(NS, "x:", 10)).deleted == 0
    store.check_replay()


def test_deleting_by_prefix_walks_over_many_tombstones(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCAN_KEYS_EXAMINED_MAX", 30)
    store.write(put_many({f"x:{index:03}": index for index in range(100)}))
    for index in range(95):
        store.write(delete(f"x:{index:03}"))
    deleted, cursor = 0, b""
    replies: list[Deleted] = []
    while not replies or cursor:
        replies.append(store.write(state.StateDeletePrefix(NS, "x:", 10, cursor)))
        deleted, cursor = deleted + replies[-1].deleted, replies[-1].cursor
    assert deleted == 5
    assert [reply.deleted for reply in replies] == [0, 0, 0, 5]


def test_an_empty_prefix_is_the_namespace_and_nothing_else(store: Store) -> None:
    before = {ns: walked_in(store, ns) for ns in all_namespaces(store)}
    assert store.write(state.StateDeletePrefix(NS, "")).deleted == len(KEYS)
    after = {ns: walked_in(store, ns) for ns in before}
    assert after == before | {NS: []}


def test_what_was_found_and_changed_meanwhile(store: Store) -> None:
    """Between finding and deleting a record is deleted, one is written anew, one expires: each is dealt with once."""
    store.write(put("x:expires", 1, ttl_us=SECOND))
    for key in ("x:gone", "x:new", "x:same"):
        store.write(put(key, 1))
    operation = operation_of(state.StateDeletePrefix(NS, "x:"))
    store.prepare(operation)
    store.sequence(delete("x:gone"))
    store.sequence(put("x:new", 2))
    store.sequence(put("x:later", 2))
    store.now = START + SECOND
    sequenced = store.sequence_prepared(operation)
    store.apply()
    assert answered(sequenced.commit.reply).deleted == 2
    assert walked_in(store, NS, "x:") == ["x:later"]
    assert not store.run(sweeps.Expire())
    store.check_replay()


# -- namespaces -----------------------------------------------------------------------------------------------------


def walked_in(store: Store, ns: tuple[str, ...] = NS, prefix: str = "") -> list[str]:
    return [record.key for record in store.read(scan(ns, limit=1_000, prefix=prefix)).records]


def all_namespaces(store: Store, prefix: tuple[str, ...] = (), limit: int = 2) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    cursor = b""
    while True:
        page = store.read(NamespaceList(prefix, limit, cursor))
        assert len(page.namespaces) <= limit
        found += page.namespaces
        cursor = page.cursor
        if not cursor:
            return found


PAIRS = [
    (("tenant", "acme"), ("tenant", "acme-corp")),
    (("a",), ("a", "b")),
    (("a", "b"), ("ab",)),
    (("a",), ("a\0",)),
    (("a", "\x01b"), ("a", "\x01", "b")),
    (("\x01",), ("\x01", "\x01")),
    (("a",), ("A",)),
    (("é",), ("e\u0301",)),
    (("a" * 128,), ("a" * 127,)),
]


@pytest.mark.parametrize(("one", "other"), PAIRS + [pair[::-1] for pair in PAIRS])
def test_a_namespace_never_sees_another(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    store = Store(shard_labels=1)
    store.write(put("k", "one", one))
    store.write(logs.LogAppend(one, "k", (raw(1),)))
    store.write(conversations.ConversationCreate(one, "k"))
    for request in (
        scan(other),
        scan(other, reverse=True),
        scan(other, pattern="*"),
        state.StateScan(other, prefix="k"),
    ):
        assert store.read(request).records == ()
    assert store.read(count(other)).count == 0
    assert store.read(logs.LogList(other)).logs == ()
    assert store.read(conversations.ConversationList(other)).conversations == ()
    assert store.write(state.StateDeletePrefix(other, "")).deleted == 0
    store.write(put("k", "other", other))
    assert store.write(state.StateDeletePrefix(other, "")).deleted == 1
    assert walked_in(store, one) == ["k"]
    assert set(all_namespaces(store)) == {one, other}


def test_namespaces_in_pages_by_prefix() -> None:
    store = Store()
    namespaces = [("a",), ("a", "b"), ("a", "b", "c"), ("a", "bb"), ("ab",), ("b",), ("b", "a"), ("ü", "\U0010ffff")]
    for index, ns in enumerate(namespaces):
        for number in range(3):
            if index % 3 == 0:
                store.write(put(f"k{number}", 1, ns))
            elif index % 3 == 1:
                store.write(logs.LogAppend(ns, f"k{number}", (raw(1),)))
            else:
                store.write(conversations.ConversationCreate(ns))
    store.write(put("too", 1, ("a", "b")))
    for limit in (1, 2, 3, 100):
        assert set(all_namespaces(store, limit=limit)) == set(namespaces)
        assert len(all_namespaces(store, limit=limit)) == len(namespaces)
    assert set(all_namespaces(store, ("a",))) == {("a",), ("a", "b"), ("a", "b", "c"), ("a", "bb")}
    assert all_namespaces(store, ("a", "b")) == [("a", "b"), ("a", "b", "c")]
    assert all_namespaces(store, ("a", "b", "c", "d")) == []
    assert all_namespaces(Store()) == []


def test_settings_alone_make_no_namespace() -> None:
    store = Store()
    store.write(configure(3))
    assert all_namespaces(store) == []
    assert [key[0] for key in store.engine.families[Family.HEADS]] == [Kind.SETTINGS]


def test_what_an_export_must_find_makes_a_namespace() -> None:
    store = Store()
    store.write(space("mini", ns=("a",)))
    store.write(SearchConfigure(("b",), language="german"))
    assert all_namespaces(store) == [("a",), ("b",)]
