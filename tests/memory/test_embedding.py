"""Vectors given to memories later, names switched to a space, and what a dropped space leaves."""

from __future__ import annotations

from typing import Any

import pytest

from memory.asking import NS, add, memory, space, transaction, vector
from memory.harness import SECOND, Store
from recollectd.memory.kind import Stale
from recollectd.memory.memories.heads import changed_memory, memory_key, unpack_vectors, vectors_key
from recollectd.memory.memories.sweeps import StripVectors
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.vector_spaces import (
    Embedded,
    MemoryVector,
    SpaceAlias,
    SpaceDrop,
    SpaceEmbed,
    SpaceList,
    SpaceSwitch,
    Switched,
)
from recollectd.storage.keyspace import INDEX_CHANGE, Family, split_change_key


@pytest.fixture
def store() -> Store:
    made = Store()
    made.write(space("old"))
    made.write(space("new"))
    made.write(add(memory("tea", "a", vectors={"old": vector(1, 2)}), memory("cake", "b"), memory("rain", "c")))
    return made


def embed(*given: tuple[str, int, bytes], into: str = "new") -> SpaceEmbed:
    return SpaceEmbed(NS, into, tuple(MemoryVector(*each) for each in given))


def found(store: Store, memory_id: str) -> Any:
    return store.read(messages.MemoryGet(NS, (memory_id,), True)).memories[0]


def lacking(store: Store, name: str = "new", **fields: Any) -> list[str]:
    request = messages.MemoryList(NS, lacking=name, limit=1_000, **fields)
    assert store.read(messages.MemoryCount(NS, lacking=name, **fields)).count == len(store.read(request).memories)
    return [each.memory_id for each in store.read(request).memories]


def test_a_vector_comes_beside_the_others_without_a_version(store: Store) -> None:
    before = found(store, "a")
    store.now += SECOND
    assert store.write(embed(("a", 1, vector(3, 4)), ("c", 1, vector(5, 6)))) == Embedded((True, True))
    after = found(store, "a")
    assert after.vectors == {"old": vector(1, 2), "new": vector(3, 4)}
    assert (after.version, after.updated_at) == (before.version, before.updated_at)
    assert after.revision > before.revision
    assert lacking(store) == ["b"]
    assert lacking(store, "old") == ["b", "c"]
    store.check_replay()


def test_again_it_changes_nothing(store: Store) -> None:
    store.write(embed(("a", 1, vector(3, 4))))
    revision = found(store, "a").revision
    assert store.write(embed(("a", 1, vector(3, 4)))) == Embedded((True,))
    assert found(store, "a").revision == revision


def test_what_is_gone_or_has_moved_on_is_left_alone(store: Store) -> None:
    store.write(messages.MemoryReplace(NS, memory("milk", "a")))
    store.write(messages.MemoryDelete(NS, "b"))
    given = embed(("a", 1, vector(3, 4)), ("b", 1, vector(3, 4)), ("c", 1, vector(3, 4)), ("d", 1, vector(3, 4)))
    assert store.write(given) == Embedded((False, False, True, False))
    assert found(store, "a").vectors == {}
    assert lacking(store) == ["a"]


def test_what_was_read_before_may_not_be_outdated(store: Store) -> None:
    from memory.harness import operation_of

    operation = operation_of(embed(("a", 1, vector(3, 4))))
    store.prepare(operation)
    store.write(embed(("a", 1, vector(7, 8)), into="old"))
    with pytest.raises(Stale):
        store.sequence_prepared(operation)
    store.prepare(operation)
    store.write(SpaceDrop(NS, "old"))
    with pytest.raises(Stale):
        store.sequence_prepared(operation)
    store.sequence(operation)
    store.apply()
    assert found(store, "a").vectors == {"new": vector(3, 4)}


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (embed(("a", 1, vector(3, 4)), into="no"), errors.NotFound, "space"),
        (embed(("a", 1, vector(3, 4, 5))), errors.InvalidArgument, "vectors[0].components"),
        (embed(("a", 1, vector(3, 4)), ("b", 1, vector(0, 0))), errors.InvalidArgument, "vectors[1]['new']"),
        (embed(("a", 1, vector(3, 4)), ("a", 1, vector(3, 4))), errors.InvalidArgument, "vectors"),
        (embed(), errors.InvalidArgument, "vectors"),
        (embed(*((f"m{n}", 1, vector(1, 1)) for n in range(limits.EMBEDDED_MAX + 1))), errors.InvalidArgument, None),
        (SpaceSwitch(NS, "old", "new", 99), errors.AlreadyExists, "name"),
        (SpaceSwitch(NS, "now", "no", 99), errors.NotFound, "alias_of"),
    ],
)
def test_refusals(store: Store, request_: Any, error: type[errors.RecollectdError], field: str | None) -> None:
    with pytest.raises(error) as refused:
        store.write(request_)
    assert field is None or refused.value.field == field
    assert lacking(store) == ["a", "b", "c"]


def test_only_so_many_spaces_for_a_memory(store: Store) -> None:
    names = [f"s{n:02}" for n in range(limits.VECTORS_PER_MEMORY_MAX)]
    for name in names:
        store.write(space(name))
    store.write(add(memory("x", "x", vectors=dict.fromkeys(names, vector(1, 2)))))
    with pytest.raises(errors.InvalidArgument, match="drop one"):
        store.write(embed(("x", 1, vector(3, 4))))
    store.write(SpaceDrop(NS, names[0]))
    assert store.write(embed(("x", 1, vector(3, 4)))) == Embedded((True,))


def test_what_lacks_a_vector_is_told_by_pages_aliases_and_changes(store: Store) -> None:
    store.write(SpaceAlias(NS, "now", "new"))
    assert lacking(store, "now") == ["a", "b", "c"]
    page = store.read(messages.MemoryList(NS, lacking="new", limit=2))
    assert page.position == store.position
    rest = store.read(messages.MemoryList(NS, lacking="new", limit=2, cursor=page.cursor))
    assert [each.memory_id for each in (*page.memories, *rest.memories)] == ["a", "b", "c"]
    store.write(messages.MemoryForget(NS, "b"))
    assert lacking(store, changed_since=page.position) == []
    assert lacking(store, changed_since=page.position, hidden=True) == ["b"]
    assert lacking(store, filter='memory_id == "a"') == ["a"]
    with pytest.raises(errors.NotFound):
        lacking(store, "no")


def test_a_name_is_switched_only_if_no_memory_has_changed(store: Store) -> None:
    seen = store.read(messages.MemoryList(NS, lacking="new")).position
    store.write(embed(("a", 1, vector(3, 4))))
    assert store.write(SpaceSwitch(NS, "now", "new", seen)) == Switched(False)
    store.write(space("unrelated"))
    assert store.write(SpaceSwitch(NS, "now", "new", seen + 1)) == Switched(True)
    assert {each.name: each.alias_of for each in store.read(SpaceList(NS)).spaces}["now"] == "new"


def test_the_views_are_told_that_words_stayed(store: Store) -> None:
    store.write(embed(("a", 1, vector(3, 4))))
    rows = [key for key in sorted(store.engine.families[Family.INDEX]) if key.startswith(INDEX_CHANGE)]
    seq, noted = split_change_key(rows[-1])
    assert (seq, changed_memory(noted)) == (store.position, (memory_key(NS, "a"), False))


def test_a_dropped_space_is_swept_in_steps_across_crashes(store: Store) -> None:
    names = [f"m{n:04}" for n in range(300)]
    store.write(add(*(memory("x", name, vectors={"old": vector(1, 2), "new": vector(1, 1)}) for name in names[::2])))
    store.write(add(*(memory("x", name, vectors={"old": vector(1, 2)}) for name in names[1::2])))
    store.write(SpaceDrop(NS, "old"))
    store.write(space("old"))
    store.write(embed(("b", 1, vector(9, 9)), into="old"))
    assert found(store, "a").vectors == {}
    assert found(store, "b").vectors == {"old": vector(9, 9)}
    steps = 0
    while store.run(StripVectors()):
        steps += 1
        store.crash()
    assert steps > 2
    beside = {}
    for name in ("a", "b", *names):
        row = store.engine.families[Family.ENTRIES].get(vectors_key(memory_key(NS, name)))
        beside[name] = {} if row is None else {space: each.components for space, each in unpack_vectors(row).items()}
    assert (beside.pop("a"), beside.pop("b")) == ({}, {"old": vector(9, 9)})
    assert beside == {name: {} if n % 2 else {"new": vector(1, 1)} for n, name in enumerate(names)}
    kinds = {key[0] for key in store.engine.families[Family.HEADS]}
    assert Kind.VECTOR_SPACE_DROPPED not in kinds
    assert lacking(store, "new") == ["a", "b", "c", *names[1::2]]
    store.check_replay()


def test_no_name_is_switched_to_a_space_made_again_since(store: Store) -> None:
    for name in ("a", "b", "c"):
        store.write(embed((name, 1, vector(1, 2))))
    seen = store.read(messages.MemoryList(NS, lacking="new")).position
    store.write(SpaceDrop(NS, "new"))
    store.write(space("new"))
    assert store.write(SpaceSwitch(NS, "now", "new", seen)) == Switched(False)
    assert lacking(store) == ["a", "b", "c"]


def test_a_name_stands_for_no_name(store: Store) -> None:
    store.write(SpaceAlias(NS, "now", "new"))
    store.write(SpaceDrop(NS, "new"))
    store.write(SpaceAlias(NS, "new", "old"))
    with pytest.raises(errors.NotFound) as refused:
        store.write(add(memory("x", "x", vectors={"now": vector(1, 2)})))
    assert refused.value.field == "memories[0].vectors['now']"


def test_a_space_is_not_dropped_by_what_created_it(store: Store) -> None:
    again = transaction(
        space("other"), add(memory("x", "x", vectors={"other": vector(1, 2)})), SpaceDrop(NS, "other"), space("other")
    )
    with pytest.raises(errors.InvalidArgument) as refused:
        store.write(again)
    assert refused.value.field == "operations[2].name"
    assert found(store, "x") is None
    store.write(
        transaction(SpaceDrop(NS, "new"), space("new", 3), add(memory("x", "x", vectors={"new": vector(1, 2, 3)})))
    )
