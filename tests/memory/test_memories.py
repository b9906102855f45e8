"""Memories and vector spaces: what writes do, what reads find, what is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from memory.asking import NS, add, configure, guard, memory, plain, put, raw, space, transaction, vector
from memory.harness import SECOND, Store
from recollectd.memory.memories.heads import SAME_TEXT_MAX
from recollectd.memory.memories.sweeps import PruneMemories
from recollectd.memory.state.sweeps import Expire
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages import vector_spaces
from recollectd.protocol.messages.connection import Deleted, Done
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import INDEX_CHANGE, Family, split_change_key


@pytest.fixture
def store() -> Store:
    return Store()


def get(store: Store, *memory_ids: str, vectors: bool = False) -> Any:
    found = store.read(messages.MemoryGet(NS, memory_ids, vectors)).memories
    return found if len(memory_ids) > 1 else found[0]


def listed(store: Store, filter: str = "", **fields: Any) -> list[str]:
    found: list[str] = []
    cursor = b""
    while True:
        page = store.read(messages.MemoryList(NS, filter, cursor=cursor, **fields))
        found += [each.memory_id for each in page.memories]
        cursor = page.cursor
        if not cursor:
            return found


def count(store: Store, filter: str = "", **fields: Any) -> int:
    number: int = store.read(messages.MemoryCount(NS, filter, **fields)).count
    return number


def test_everything_told_comes_back(store: Store) -> None:
    store.write(space("mini"))
    told = memory(
        "Grüße",
        "m",
        kind="fact",
        metadata={"n": [1, None]},
        importance=0.25,
        pinned=True,
        valid_at=7,
        place=(-33.5, 151.25),
        derived_from=("a", "b"),
        conversation_id="chat",
        vectors={"mini": vector(1, 2)},
    )
    stored = store.write(add(told)).memories[0]
    found = get(store, "m", vectors=True)
    assert (stored.memory_id, stored.version, stored.duplicate) == ("m", 1, False)
    assert found == messages.Memory(
        "m",
        "Grüße",
        1,
        store.now,
        store.now,
        2,
        "fact",
        raw({"n": [1, None]}),
        0.25,
        True,
        7,
        (-33.5, 151.25),
        ("a", "b"),
        "chat",
        vectors={"mini": vector(1, 2)},
    )
    assert get(store, "m").vectors is None


def test_ids_come_from_the_daemon_or_the_caller(store: Store) -> None:
    first, second = store.write(add("one", "two")).memories
    assert first.memory_id != second.memory_id
    assert [each.text for each in get(store, first.memory_id, second.memory_id)] == ["one", "two"]
    store.write(add(memory("mine", "m")))
    with pytest.raises(errors.AlreadyExists, match=r"memories\[1\].memory_id"):
        store.write(add("fresh", memory("again", "m")))
    assert count(store) == 3


def test_the_very_same_is_answered_as_such_on_request(store: Store) -> None:
    store.write(add(memory("Ada likes tea", "m")))
    known = store.write(add("Ada likes tea", if_new=True)).memories[0]
    assert (known.memory_id, known.duplicate) == ("m", True)
    twice = store.write(add("twice", "twice", if_new=True)).memories
    assert [each.duplicate for each in twice] == [False, True]
    assert twice[0].memory_id == twice[1].memory_id
    assert not store.write(add("Ada likes tea")).memories[0].duplicate
    assert store.write(add(memory("anything", "m"), if_new=True)).memories[0].duplicate


@pytest.mark.parametrize("way", ["delete", "replace", "expire", "forget", "supersede"])
def test_what_is_not_said_any_more_is_new_again(store: Store, way: str) -> None:
    store.write(add(memory("Ada likes tea", "m", ttl_us=SECOND if way == "expire" else None), memory("other", "o")))
    match way:
        case "delete":
            store.write(messages.MemoryDelete(NS, "m"))
        case "replace":
            store.write(messages.MemoryReplace(NS, memory("Ada likes milk", "m")))
        case "forget":
            store.write(messages.MemoryForget(NS, "m"))
        case "supersede":
            store.write(messages.MemorySupersede(NS, "m", "o"))
        case _:
            store.now += SECOND
    assert not store.write(add("Ada likes tea", if_new=True)).memories[0].duplicate
    assert store.write(add("Ada likes tea", if_new=True)).memories[0].duplicate


def test_only_so_many_of_a_text_are_remembered(store: Store) -> None:
    store.write(add(*(memory("same", f"m{number:02}") for number in range(SAME_TEXT_MAX + 3))))
    for number in range(SAME_TEXT_MAX):
        assert store.write(add("same", if_new=True)).memories[0].memory_id == f"m{number:02}"
        store.write(messages.MemoryDelete(NS, f"m{number:02}"))
    assert not store.write(add("same", if_new=True)).memories[0].duplicate


def test_replace_writes_a_version_and_keeps_what_it_should(store: Store) -> None:
    store.write(space("mini"))
    told = memory("Ada likes tea", "m", conversation_id="c", vectors={"mini": vector(1, 2)}, ttl_us=10 * SECOND)
    store.write(add(told))
    ends = get(store, "m").expires_at
    store.now += SECOND
    request = messages.MemoryReplace(NS, memory("Ada likes tea", "m", kind="fact"), 1, True)
    assert store.write(request).memories[0].version == 2
    found = get(store, "m", vectors=True)
    assert (found.kind, found.vectors, found.conversation_id) == ("fact", {"mini": vector(1, 2)}, "c")
    assert (found.expires_at, found.created_at, found.updated_at) == (ends, store.now - SECOND, store.now)
    with pytest.raises(errors.VersionConflict):
        store.write(messages.MemoryReplace(NS, memory("x", "m"), 1))
    store.write(messages.MemoryReplace(NS, memory("Ada likes milk", "m")))
    found = get(store, "m", vectors=True)
    assert (found.vectors, found.expires_at) == ({}, None)
    with pytest.raises(errors.NotFound):
        store.write(messages.MemoryReplace(NS, memory("x", "nobody")))


def test_forgetting_and_superseding_hide_and_delete_nothing(store: Store) -> None:
    store.write(add(*(memory(each, each) for each in "abc")))
    store.now += 1
    marked = store.write(messages.MemoryForget(NS, "a"))
    assert marked == messages.MemoryMarked(1, store.now, None)
    store.now += 1
    assert store.write(messages.MemoryForget(NS, "a")).forgotten_at == store.now - 1
    assert store.write(messages.MemorySupersede(NS, "b", "c")).superseded_at == store.now
    assert (listed(store), listed(store, hidden=True)) == (["c"], ["a", "b", "c"])
    assert (count(store), count(store, hidden=True)) == (1, 3)
    found = get(store, "b")
    assert (found.superseded_by, found.superseded_at, found.text) == ("c", store.now, "b")
    assert store.write(messages.MemoryForget(NS, "a", undo=True)).forgotten_at is None
    assert listed(store) == ["a", "c"]


def test_no_two_memories_take_each_others_place(store: Store) -> None:
    store.write(add(*(memory(each, each) for each in "abcd")))
    for one, other in pairwise("abc"):
        store.write(messages.MemorySupersede(NS, one, other))
    for one, other in ("ba", "ca"):
        with pytest.raises(errors.InvalidArgument, match="hide each other") as refused:
            store.write(messages.MemorySupersede(NS, one, other))
        assert refused.value.field == "superseded_by"
    store.write(messages.MemorySupersede(NS, "d", "a"))
    assert listed(store) == ["c"]
    with pytest.raises(errors.InvalidArgument):
        store.write(transaction(messages.MemorySupersede(NS, "a", "c"), messages.MemorySupersede(NS, "c", "d")))
    store.write(messages.MemoryDelete(NS, "b"))  # what is not there hides nobody
    store.write(messages.MemorySupersede(NS, "c", "a"))
    assert [get(store, each).superseded_by for each in "acd"] == ["b", "a", "a"]


def test_successors_are_followed_only_so_far(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUCCESSORS_MAX", 3)
    store.write(add(*(memory(each, each) for each in "abcdez")))
    for one, other in pairwise("abcde"):
        store.write(messages.MemorySupersede(NS, one, other))
    with pytest.raises(errors.InvalidArgument, match="name the last"):
        store.write(messages.MemorySupersede(NS, "z", "a"))
    store.write(messages.MemorySupersede(NS, "z", "c"))
    assert get(store, "z").superseded_by == "c"


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (messages.MemoryForget(NS, "no"), errors.NotFound, "memory_id"),
        (messages.MemorySupersede(NS, "m", "no"), errors.NotFound, "superseded_by"),
        (messages.MemorySupersede(NS, "no", "m"), errors.NotFound, "memory_id"),
        (messages.MemorySupersede(NS, "m", "m"), errors.InvalidArgument, "superseded_by"),
        (messages.MemoryForget(NS, "m", 7), errors.VersionConflict, "if_version"),
        (messages.MemoryDelete(NS, "m", 7), errors.VersionConflict, "if_version"),
        (messages.MemoryReplace(NS, memory("x")), errors.InvalidArgument, "memory.memory_id"),
        (messages.MemoryReplace(NS, memory("x", "m", ttl_us=1), None, True), errors.InvalidArgument, "keep_expiry"),
        (vector_spaces.SpaceCreate(NS, "keyword", 2), errors.InvalidArgument, "name"),
        (vector_spaces.SpaceAlias(NS, "expansion", "mini"), errors.InvalidArgument, "name"),
        (messages.MemoryAdd(NS, ()), errors.InvalidArgument, "memories"),
        (add(memory("x", "a"), memory("y", "a")), errors.InvalidArgument, "memories"),
        (add(memory("")), errors.InvalidArgument, "memories[0].text"),
        (add("x", memory("x", place=(91.0, 0.0))), errors.InvalidArgument, "memories[1].place[0]"),
        (add(memory("x", derived_from=("a",) * 257)), errors.InvalidArgument, "memories[0].derived_from"),
        (add(memory("x", metadata=[1])), errors.InvalidArgument, "memories[0].metadata"),
        (add(memory("x", kind="k" * 129)), errors.InvalidArgument, "memories[0].kind"),
        (add(memory("x", vectors={"no": vector(1, 2)})), errors.NotFound, "memories[0].vectors['no']"),
        (add(memory("x", vectors={"mini": vector(1)})), errors.InvalidArgument, "memories[0].vectors['mini']"),
        (add(memory("x", vectors={"mini": b"abc"})), errors.InvalidArgument, "memories[0].vectors['mini']"),
        (add(memory("x", vectors={"mini": vector(0, 0)})), errors.InvalidArgument, "memories[0].vectors['mini']"),
        (
            add(memory("x", vectors={"mini": vector(float("nan"), 1)})),
            errors.InvalidArgument,
            "memories[0].vectors['mini']",
        ),
        (
            add(memory("x", vectors={"mini": vector(1, float("inf"))})),
            errors.InvalidArgument,
            "memories[0].vectors['mini']",
        ),
        (space("mini"), errors.AlreadyExists, "name"),
        (space("other", metric="manhattan"), errors.InvalidArgument, "metric"),
        (space("other", precision="f8"), errors.InvalidArgument, "precision"),
        (vector_spaces.SpaceAlias(NS, "mini", "mini"), errors.AlreadyExists, "name"),
        (vector_spaces.SpaceAlias(NS, "new", "no"), errors.NotFound, "alias_of"),
        (messages.MemoryList(NS, "kind ="), errors.InvalidArgument, "filter"),
    ],
)
def test_refusals_name_the_field_and_change_nothing(store: Store, request_: Any, error: Any, field: str) -> None:
    store.write(space("mini"))
    store.write(add(memory("here", "m")))
    with pytest.raises(error) as refused:
        (store.read if isinstance(request_, messages.MemoryList) else store.write)(request_)
    assert refused.value.field == field
    assert (get(store, "m").version, count(store, hidden=True)) == (1, 1)


def test_deletion_takes_vectors_and_place_along(store: Store) -> None:
    store.write(space("mini"))
    store.write(add(memory("x", "m", conversation_id="c", vectors={"mini": vector(1, 2)})))
    assert store.write(messages.MemoryDelete(NS, "m")) == Deleted(1)
    assert store.write(messages.MemoryDelete(NS, "m")) == Deleted(0)
    assert (get(store, "m"), listed(store, hidden=True)) == (None, [])
    assert not store.engine.families[Family.ENTRIES]
    versions = store.read(messages.MemoryHistory(NS, "m"))
    assert [(each.version, each.memory and each.memory.text) for each in versions.versions] == [(2, None), (1, "x")]
    again = store.write(add(memory("y", "m", conversation_id="c"))).memories[0]
    assert (again.version, get(store, "m").position) == (3, 1)


def test_conversations_number_their_memories(store: Store) -> None:
    store.write(add(*(memory(each, each, conversation_id="c") for each in "abc"), memory("x", "x")))
    store.write(add(memory("d", "d", conversation_id="c"), memory("e", "e", conversation_id="other")))
    assert [get(store, each).position for each in "abcdex"] == [0, 1, 2, 3, 0, 0]


def test_expiry_is_absence_at_once_and_an_event_later(store: Store) -> None:
    store.write(add(memory("brief", "m", ttl_us=SECOND), memory("long", "n")))
    store.now += SECOND
    assert (get(store, "m"), listed(store), count(store)) == (None, ["n"], 1)
    assert store.run(Expire())
    versions = store.read(messages.MemoryHistory(NS, "m")).versions
    assert [(each.version, each.memory is None) for each in versions] == [(2, True), (1, False)]
    assert not store.run(Expire())


def test_history_is_bounded_and_pruned_like_that_of_state(store: Store) -> None:
    store.write(configure(2, 10 * SECOND))
    store.write(add(memory("0", "m")))
    for number in range(1, 5):
        store.write(messages.MemoryReplace(NS, memory(str(number), "m")))
    versions = store.read(messages.MemoryHistory(NS, "m"))
    assert [each.memory.text for each in versions.versions] == ["4", "3"]
    store.now += 11 * SECOND
    assert store.run(PruneMemories(store.sequencer.policies))
    assert len(store.read(messages.MemoryHistory(NS, "m")).versions) == 1
    store.write(messages.MemoryDelete(NS, "m"))
    store.now += 86_400 * SECOND
    assert store.run(PruneMemories(store.sequencer.policies))
    assert store.read(messages.MemoryHistory(NS, "m")).versions == ()
    store.check_replay()


def test_pages_go_on_where_they_ended(store: Store) -> None:
    names = [f"m{number:03}" for number in range(50)]
    store.write(add(*(memory(each, each, metadata={"n": n}) for n, each in enumerate(names))))
    assert listed(store, limit=7) == names
    assert listed(store, "metadata.n >= 45", limit=2) == names[45:]
    page = store.read(messages.MemoryList(NS, "metadata.n >= 45", limit=2))
    with pytest.raises(errors.InvalidCursor):
        store.read(messages.MemoryList(NS, "metadata.n >= 44", limit=2, cursor=page.cursor))


def test_memories_take_part_in_transactions(store: Store) -> None:
    store.write(transaction(space("mini"), add(memory("x", "m", vectors={"mini": vector(1, 2)})), put("k", 1)))
    revision = get(store, "m").revision
    held = guard(Kind.MEMORY, "m", revision)
    store.write(transaction(messages.MemoryForget(NS, "m"), guards=[held]))
    with pytest.raises(errors.TransactionConflict):
        store.write(transaction(put("k", 2), guards=[held]))
    with pytest.raises(errors.AlreadyExists, match=r"operations\[1\].memories\[0\].memory_id"):
        store.write(transaction(put("k", 3), add(memory("y", "m"))))
    within = transaction(add(memory("z", "z")), messages.MemoryReplace(NS, memory("zz", "z")), add("z", if_new=True))
    assert not store.write(within).results[2].memories[0].duplicate
    gone = transaction(add(memory("q", "q")), messages.MemoryDelete(NS, "q"), add("q", if_new=True))
    assert not store.write(gone).results[2].memories[0].duplicate
    store.check_replay()


def test_spaces_are_listed_aliased_and_dropped(store: Store) -> None:
    store.write(space("a", 2, model="x"))
    store.write(space("b", 3))
    assert store.write(vector_spaces.SpaceAlias(NS, "current", "a")) == Done()
    store.write(add(memory("x", "m", vectors={"current": vector(1, 2)})))
    assert get(store, "m", vectors=True).vectors == {"a": vector(1, 2)}
    with pytest.raises(errors.InvalidArgument):
        store.write(add(memory("x", vectors={"current": vector(1, 2), "a": vector(1, 2)})))
    store.write(vector_spaces.SpaceAlias(NS, "current", "b"))
    with pytest.raises(errors.InvalidArgument):
        store.write(add(memory("x", vectors={"current": vector(1, 2)})))
    spaces = store.read(vector_spaces.SpaceList(NS)).spaces
    assert [(each.name, each.alias_of, each.model) for each in spaces] == [
        ("a", "", "x"),
        ("b", "", ""),
        ("current", "b", ""),
    ]
    assert store.write(vector_spaces.SpaceDrop(NS, "b")) == Deleted(1)
    assert store.write(vector_spaces.SpaceDrop(NS, "b")) == Deleted(0)
    with pytest.raises(errors.NotFound):
        store.write(add(memory("x", vectors={"current": vector(1, 2, 3)})))


def test_every_change_is_told_to_the_views(store: Store) -> None:
    store.write(add(memory("x", "m"), memory("y", "n")))
    store.write(messages.MemoryForget(NS, "m"))
    store.write(messages.MemoryDelete(NS, "n"))
    rows = [key for key in sorted(store.engine.families[Family.INDEX]) if key.startswith(INDEX_CHANGE)]
    told = [(seq, key[-1:]) for seq, key in map(split_change_key, rows)]
    assert told == [(1, b"m"), (1, b"n"), (2, b"m"), (3, b"n")]


def test_bounds_of_names_and_texts(store: Store) -> None:
    store.write(add(memory("x" * limits.TEXT_BYTES_MAX, "i" * limits.KEY_BYTES_MAX)))
    with pytest.raises(errors.InvalidArgument):
        store.write(add(memory("x" * (limits.TEXT_BYTES_MAX + 1))))
    assert plain(get(store, "i" * limits.KEY_BYTES_MAX).metadata) is None
