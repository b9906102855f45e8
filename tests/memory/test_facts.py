"""What the sequencer knows of rows: the newest first, however late and in whatever order fetches come back."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.asking import (
    NS,
    append,
    chat,
    configure,
    create,
    delete,
    get,
    key_of,
    message,
    plain,
    put,
    say,
    transaction,
)
from memory.harness import Store, finish, operation_of
from recollectd.memory import facts
from recollectd.memory.conversations import ids
from recollectd.memory.facts import FactCache
from recollectd.memory.sequencer import THE_DAEMON, Sequenced
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.state import Absent
from recollectd.storage.keyspace import Family, kind_prefix, record_key

A, B, C, D = (b"%c" % letter for letter in b"abcd")


def test_a_fact_is_known_or_not_and_absence_is_a_fact() -> None:
    cache = FactCache(10)
    assert not cache.knows(A)
    assert cache.gather([A]) is None
    cache.learn({A: "row", B: None})
    assert (cache.get(A), cache.get(B)) == ("row", None)
    assert cache.gather([A, B]) == {A: "row", B: None}
    assert cache.gather([A, C]) is None
    assert (cache.hits, cache.misses) == (1, 2)


def test_what_is_pending_wins_until_it_is_applied() -> None:
    cache = FactCache(10)
    cache.learn({A: "old"})
    cache.pending(A, "five", 5)
    cache.pending(A, "six", 6)
    cache.pending(B, None, 6)
    assert cache.gather([A, B]) == {A: "six", B: None}
    assert (cache.pending_count, cache.pending_seq([A, C]), cache.pending_seq([C])) == (2, 6, 0)
    cache.applied([A], 5)
    assert cache.get(A) == "six"
    cache.learn({A: "late", B: "late"})
    assert cache.gather([A, B]) == {A: "six", B: None}
    cache.applied([A, B], 6)
    cache.learn({A: "late", B: "late"})
    assert cache.pending_count == 0
    assert cache.gather([A, B]) == {A: "six", B: None}


def test_what_is_taken_back_is_forgotten() -> None:
    """With what was known before it: a commit applied meanwhile may have been hidden by one that is taken back."""
    cache = FactCache(10)
    cache.learn({A: "four", C: "untouched"})
    cache.pending(A, "five", 5)
    cache.pending(A, "six", 6)
    cache.pending(B, "six", 6)
    cache.applied([A], 5)
    cache.drop_pending()
    assert cache.pending_count == 0
    assert not cache.knows(A)
    assert not cache.knows(B)
    assert cache.get(C) == "untouched"


def test_rows_stay_while_they_are_used() -> None:
    cache = FactCache(20)
    cache.learn({A: "used", B: "unused"})
    for number in range(100):
        cache.learn({b"%d" % number: number})
        assert cache.gather([A]) == {A: "used"}
        assert len(cache) <= 21
    assert not cache.knows(B)


@pytest.mark.parametrize("count_max", [1, 2, 3, 10])
def test_pinned_rows_stay_whatever_comes(count_max: int) -> None:
    cache = FactCache(count_max)
    cache.pin([A, B, A])
    cache.learn({A: "a", C: "c", B: "b"})
    for number in range(50):
        cache.learn({b"%d" % number: number})
    assert cache.gather([A, B]) == {A: "a", B: "b"}
    cache.unpin([A, B])
    for number in range(50, 100):
        cache.learn({b"%d" % number: number})
    assert cache.knows(A)
    assert not cache.knows(B)
    cache.unpin([A])
    for number in range(100, 150):
        cache.learn({b"%d" % number: number})
    assert not cache.knows(A)
    assert len(cache) <= max(2, count_max)


class PlainCache:
    """The same, that forgets nothing: what a cache may say, if it says anything."""

    def __init__(self) -> None:
        self.applied: dict[bytes, object] = {}
        self.pending: list[tuple[int, bytes, object]] = []

    def newest(self, key: bytes) -> object:
        return next((fact for _, each, fact in reversed(self.pending) if each == key), self.applied.get(key))


actions = ["put", "apply", "learn", "use", "pin", "unpin", "begin fetch", "end fetch", "roll back"]
steps = st.lists(st.tuples(st.sampled_from(actions), st.sampled_from([A, B, C, D])), max_size=60)


@given(steps, st.integers(1, 6))
def test_a_cache_never_says_anything_old(done: list[tuple[str, bytes]], count_max: int) -> None:
    """Fetches are slow: what they bring was read when they began. Their rows are pinned meanwhile, as writes do."""
    cache, plain_cache = FactCache(count_max), PlainCache()
    fetches: dict[bytes, object] = {}
    pins: list[bytes] = []
    counter = itertools.count(1)
    applied = 0
    for step, key in done:
        if step == "put" and cache.knows(key):
            seq = applied + len(plain_cache.pending) + 1
            fact = next(counter)
            cache.pending(key, fact, seq)
            plain_cache.pending.append((seq, key, fact))
        elif step == "apply" and plain_cache.pending:
            applied, changed, pending = plain_cache.pending.pop(0)
            plain_cache.applied[changed] = pending
            cache.applied([changed], applied)
        elif step == "roll back":
            plain_cache.pending.clear()
            cache.drop_pending()
        elif step == "learn":
            cache.learn({key: plain_cache.applied.get(key)})
        elif step == "begin fetch" and key not in fetches and not cache.knows(key):
            cache.pin([key])
            fetches[key] = plain_cache.applied.get(key)
        elif step == "end fetch" and key in fetches:
            cache.learn({key: fetches.pop(key)})
            cache.unpin([key])
        elif step == "use":
            cache.gather([key])
        elif step == "pin":
            cache.pin([key])
            pins.append(key)
        elif step == "unpin" and key in pins:
            pins.remove(key)
            cache.unpin([key])
        for each in (A, B, C, D):
            if cache.knows(each):
                assert cache.get(each) == plain_cache.newest(each)
                assert cache.gather([each]) == {each: plain_cache.newest(each)}


# -- with a sequencer -----------------------------------------------------------------------------------------------


def unknowing(*requests: Any, count_max: int = 10_000) -> Store:
    """A store that holds records and knows nothing of them, as after a start."""
    store = Store(facts_count_max=count_max)
    for request in requests:
        store.write(request)
    store.crash()
    assert len(store.facts) == 0
    return store


@pytest.mark.parametrize("applied", [False, True], ids=["sequenced only", "applied"])
def test_a_reader_delayed_past_a_write_changes_nothing(applied: bool) -> None:
    """Two fetches of one row began; a write got on by the first; then the second comes back, with what was before."""
    store = unknowing(put("a", 1))
    fetching = facts.load([key_of("a")])
    late = store.engine.get_many(*next(fetching))
    store.sequence(put("a", 2))
    if applied:
        store.apply()
    with pytest.raises(StopIteration) as stop:
        fetching.send(late)
    store.facts.learn(stop.value.value)
    assert store.write(put("a", 3)) != b"StateStored"
    assert store.read(get("a")).version == 3
    store.check_replay()


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "reversed"])
def test_completions_in_any_order(reverse: bool) -> None:
    """Writes wait for rows; whichever come first, each write decides by what is true when it is sequenced."""
    store = unknowing(put("a", 1), put("b", 1), create("c"), say("c", message("x", "m")))
    writes: list[Any] = [
        put("a", 2, if_version=1),
        transaction(put("a", 3, if_version=2), put("b", 2, if_version=1)),
        say("c", message("y", "m"), skip_duplicates=True),
        delete("b", if_version=2),
    ]
    operations = [operation_of(request) for request in writes]
    fetches: list[Any] = []
    for operation in operations:
        needs = store.sequencer.sequence(operation, THE_DAEMON, store.now)
        assert not isinstance(needs, Sequenced)
        store.facts.pin(needs)
        fetches.append(finish(facts.load(needs), store.engine))
    for rows in reversed(fetches) if reverse else fetches:
        store.facts.learn(rows)
    for operation in operations:
        store.sequence(operation)
    store.apply()
    assert (store.read(get("a")).version, plain(store.read(get("a")).value)) == (3, 3)
    assert [each.content for each in store.read(chat("c")).messages] == ["x"]
    assert store.read(get("b")) == Absent()
    store.check_replay()


@pytest.mark.parametrize("count_max", [1, 2, 3])
def test_a_cache_smaller_than_what_one_write_needs(count_max: int) -> None:
    store = unknowing(create("c"), say("c", message("x", "m5")), put("a", 1), count_max=count_max)
    said = [message(str(number), f"m{number}") for number in range(10)]
    store.write(transaction(put("a", 2, if_version=1), put("b", 1), say("c", *said, skip_duplicates=True)))
    assert len(store.read(chat("c")).messages) == 10
    for number in range(20):
        store.write(put(f"k{number}", 1))
    assert store.write(put("a", 3)).version == 3
    assert len(store.facts) <= 13
    store.check_replay()


@pytest.mark.parametrize("count", [1, 3])
def test_writes_taken_back_were_never_there(count: int) -> None:
    """The journal had no room: what was sequenced is refused, and the numbers are given again."""
    store = unknowing(put("a", 1), create("c"))
    store.write(put("b", 1))
    for _ in range(count):
        store.sequence(put("a", 2))
        store.sequence(put("b", 2))
        store.sequence(say("c", message("x", "m")))
        store.sequence(configure(1))
        store.sequence(append("l", 1))
    store.roll_back()
    assert store.facts.pending_count == 0
    assert store.sequence(put("a", "second", if_version=1)).seq == 4
    assert store.sequence(put("b", "second", if_version=1)).commit.events
    assert store.sequence(say("c", message("y", "m"))).commit.events
    assert store.sequence(append("l", 1, if_next=0)).commit.events
    store.apply()
    assert store.read(get("a")).version == 2
    assert [each.content for each in store.read(chat("c")).messages] == ["y"]
    assert store.sequencer.policies.of(key_of("a")).count == 0
    store.check_replay()


names = st.text(min_size=1, max_size=20)


@given(st.lists(names, min_size=1, max_size=4), names, st.integers(0, 2**63 - 1), names)
def test_a_message_ids_key_can_be_taken_apart(ns: list[str], name: str, incarnation: int, message_id: str) -> None:
    key = record_key(Kind.CONVERSATION, tuple(ns), name)
    assert ids.split_fact_key(ids.fact_key(key, incarnation, message_id)) == (key, incarnation, message_id)


def test_facts_of_every_kind_come_from_their_rows() -> None:
    store = unknowing(
        put("a", 1), append("a", 1), create("a", {"m": 1}), configure(3), say("a", message("x", "m"), "y")
    )
    given_id = store.read(chat("a")).messages[1].message_id
    conversation = key_of("a", kind=Kind.CONVERSATION)
    keys = [
        key_of("a"),
        key_of("never"),
        key_of("a", kind=Kind.LOG),
        conversation,
        kind_prefix(Kind.SETTINGS, NS),
        *(ids.fact_key(conversation, 3, each) for each in ("m", "never", given_id)),
        ids.fact_key(conversation, 2, "m"),
    ]
    known: dict[bytes, Any] = finish(facts.load(keys), store.engine)
    assert list(known) == keys
    assert [type(known[key]).__name__ for key in keys] == [
        "StateHead",
        "NoneType",
        "LogHead",
        "ConversationHead",
        "HistoryPolicy",
        "Place",
        "NoneType",
        "Place",
        "NoneType",
    ]
    assert [known[key].position for key in keys[5::2]] == [0, 1]
    assert store.engine.count(Family.HEADS) == 4
