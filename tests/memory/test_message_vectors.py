"""Vectors beside messages: told with an append or given later, read, listed where they lack, gone with their like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from memory.asking import NS, add, chat, create, memory, message, say, space, transaction, vector
from memory.harness import Store, operation_of
from recollectd.memory.conversations.events import decode_head
from recollectd.memory.kind import Stale
from recollectd.memory.memories.heads import unpack_vectors
from recollectd.memory.memories.sweeps import StripVectors
from recollectd.memory.message_vectors import stripping
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.conversations import ConversationDelete, ConversationVectors, NewMessage
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.search_settings import SearchConfigure
from recollectd.protocol.messages.vector_spaces import (
    Embedded,
    MessageVector,
    SpaceAlias,
    SpaceDrop,
    SpaceEmbedMessages,
    SpaceLacking,
    SpaceSwitch,
    Switched,
)
from recollectd.storage.keyspace import Family, message_vectors_key, record_key

NAN: Final = float("nan")
INFINITY: Final = float("inf")


@pytest.fixture
def store() -> Store:
    made = Store()
    made.write(SearchConfigure(NS, messages=True))
    made.write(space("old"))
    made.write(space("new"))
    made.write(create("c"))
    made.write(say("c", with_vector("tea", 1, 2), "cake", "rain"))
    return made


def with_vector(content: str, *components: float, into: str = "old", message_id: str | None = None) -> NewMessage:
    return message(content, message_id, vectors={into: vector(*components)})


def vectors_of(store: Store, conversation_id: str = "c") -> dict[int, Mapping[str, bytes] | None]:
    """Read all vectors, page by page."""
    found: dict[int, Mapping[str, bytes] | None] = {}
    ids = {each.position: each.message_id for each in store.read(chat(conversation_id)).messages}
    first = 0
    while True:
        page = store.read(ConversationVectors(NS, conversation_id, first, 2))
        for each in page.messages:
            assert each.message_id == ids[each.position]
            assert first <= each.position < page.next
            found[each.position] = each.vectors
        if page.next == first:
            return found
        first = page.next


def incarnation(store: Store, conversation_id: str = "c") -> int:
    row = store.engine.families[Family.HEADS][record_key(Kind.CONVERSATION, NS, conversation_id)]
    return decode_head(row).incarnation


def embed(
    store: Store, *given: tuple[int, bytes], into: str = "new", made: int | None = None, conversation_id: str = "c"
) -> SpaceEmbedMessages:
    number = incarnation(store, conversation_id) if made is None else made
    return SpaceEmbedMessages(
        NS, into, tuple(MessageVector(conversation_id, number, position, each) for position, each in given)
    )


def lacking(store: Store, name: str = "new", limit: int = 1_000, **fields: Any) -> list[tuple[str, int]]:
    """Walk what lacks a vector, and count it."""
    found: list[tuple[str, int]] = []
    cursor = b""
    while True:
        page = store.read(SpaceLacking(NS, name, limit, cursor, **fields))
        found += [(each.conversation_id, each.position) for each in page.messages]
        assert len(page.messages) == page.count <= limit
        if not (cursor := page.cursor):
            break
    counted = 0
    while True:
        page = store.read(SpaceLacking(NS, name, 1, cursor, counted=True, **fields))
        assert page.messages == ()
        counted += page.count
        if not (cursor := page.cursor):
            break
    assert counted == len(found)
    return found


def rows(store: Store) -> dict[bytes, bytes]:
    """Return everything on disk of vectors of messages."""
    kind = bytes((Kind.MESSAGE_VECTORS,))
    families = (store.engine.families[Family.HEADS], store.engine.families[Family.ENTRIES])
    return {key: row for family in families for key, row in family.items() if key[:1] == kind}


def test_they_come_with_the_messages_and_are_read_by_position(store: Store) -> None:
    assert vectors_of(store) == {0: {"old": vector(1, 2)}}
    store.write(SpaceAlias(NS, "now", "new"))
    both = message("snow", vectors={"old": vector(3, 4), "now": vector(5, 6)})
    store.write(say("c", "wind", both, with_vector("hail", 7, 8)))
    assert vectors_of(store) == {
        0: {"old": vector(1, 2)},
        4: {"old": vector(3, 4), "new": vector(5, 6)},
        5: {"old": vector(7, 8)},
    }
    store.write(create("none"))
    assert vectors_of(store, "none") == {}
    with pytest.raises(errors.NotFound):
        store.read(ConversationVectors(NS, "gone"))
    store.check_replay()


def test_appends_without_any_write_nothing_of_them(store: Store) -> None:
    before = rows(store)
    store.write(say("c", "more", message("and more", vectors={})))
    assert rows(store) == before


def test_a_message_left_out_as_a_duplicate_keeps_what_it_has(store: Store) -> None:
    store.write(say("c", with_vector("a", 1, 1, message_id="m")))
    again = (with_vector("a", 9, 9, message_id="m"), with_vector("b", 2, 2, message_id="n"))
    store.write(say("c", *again, skip_duplicates=True))
    assert vectors_of(store) == {0: {"old": vector(1, 2)}, 3: {"old": vector(1, 1)}, 4: {"old": vector(2, 2)}}


@pytest.mark.parametrize(
    ("given", "error", "field"),
    [
        ({"no": vector(1, 2)}, errors.NotFound, "messages[1].vectors['no']"),
        ({"old": vector(1, 2, 3)}, errors.InvalidArgument, "messages[1].vectors['old']"),
        ({"old": vector(1, NAN)}, errors.InvalidArgument, "messages[1].vectors['old']"),
        ({"old": vector(1, INFINITY)}, errors.InvalidArgument, "messages[1].vectors['old']"),
        ({"old": vector(0, 0)}, errors.InvalidArgument, "messages[1].vectors['old']"),
        ({"old": b"abc"}, errors.InvalidArgument, "messages[1].vectors['old']"),
        ({"old": b""}, errors.InvalidArgument, "messages[1].vectors['old']"),
        ({f"s{n}": vector(1, 2) for n in range(17)}, errors.InvalidArgument, "messages[1].vectors"),
    ],
)
def test_what_no_space_could_hold_is_refused_by_name(
    store: Store, given: dict[str, bytes], error: type[errors.RecollectdError], field: str
) -> None:
    with pytest.raises(error) as refused:
        store.write(say("c", "before", message("x", vectors=given)))
    assert refused.value.field == field
    assert store.read(chat("c")).total_messages == 3
    assert vectors_of(store) == {0: {"old": vector(1, 2)}}


def test_they_go_with_their_conversation(store: Store) -> None:
    store.write(say("c", *(with_vector(f"m{n}", n, 1) for n in range(20))))
    store.write(ConversationDelete(NS, "c"))
    assert rows(store) == {}
    store.write(create("c"))
    store.write(say("c", "new life"))
    assert vectors_of(store) == {}
    store.check_replay()


def test_a_life_within_one_commit_leaves_nothing(store: Store) -> None:
    life = (create("d"), say("d", with_vector("x", 1, 1)), ConversationDelete(NS, "d"))
    store.write(transaction(*life, create("d"), say("d", "y", with_vector("z", 2, 2))))
    assert vectors_of(store, "d") == {1: {"old": vector(2, 2)}}
    store.write(transaction(ConversationDelete(NS, "d"), *life))
    assert {key for key in rows(store) if b"d" in key[-10:-8]} == set()
    store.check_replay()


def test_given_later_they_lie_beside_the_others(store: Store) -> None:
    given = embed(store, (0, vector(3, 4)), (2, vector(5, 6)))
    assert store.write(given) == Embedded((True, True))
    assert vectors_of(store) == {0: {"old": vector(1, 2), "new": vector(3, 4)}, 2: {"new": vector(5, 6)}}
    before = rows(store)
    assert store.write(given) == Embedded((True, True))
    assert rows(store) == before, "again it changes nothing"
    store.check_replay()


def test_what_is_gone_or_was_made_anew_is_left_alone(store: Store) -> None:
    first = incarnation(store)
    assert store.write(embed(store, (3, vector(1, 1)), (1, vector(1, 1)))) == Embedded((False, True))
    store.write(ConversationDelete(NS, "c"))
    assert store.write(embed(store, (0, vector(1, 1)), made=first)) == Embedded((False,))
    store.write(create("c"))
    store.write(say("c", "another"))
    assert store.write(embed(store, (0, vector(1, 1)), made=first)) == Embedded((False,))
    assert vectors_of(store) == {}


def test_what_was_read_before_may_not_be_outdated(store: Store) -> None:
    operation = operation_of(embed(store, (0, vector(3, 4))))
    store.prepare(operation)
    store.write(embed(store, (0, vector(7, 8)), into="old"))
    with pytest.raises(Stale):
        store.sequence_prepared(operation)
    store.prepare(operation)
    store.write(say("c", with_vector("later", 1, 1)))  # an append stands in nobody's way
    store.sequence_prepared(operation)
    store.apply()
    assert vectors_of(store)[0] == {"old": vector(7, 8), "new": vector(3, 4)}
    late = operation_of(embed(store, (5, vector(1, 1))))
    store.prepare(late)
    store.write(say("c", "four", with_vector("five", 2, 2)))
    assert store.sequence_prepared(late).commit.events == (), "what came since was not read"
    store.apply()
    dropped = operation_of(embed(store, (0, vector(9, 9))))
    store.prepare(dropped)
    store.write(SpaceDrop(NS, "old"))
    with pytest.raises(Stale):
        store.sequence_prepared(dropped)


@pytest.mark.parametrize(
    ("given", "into", "error", "field"),
    [
        ([(0, vector(3, 4))], "no", errors.NotFound, "space"),
        ([(0, vector(3, 4, 5))], "new", errors.InvalidArgument, "vectors[0].components"),
        ([(0, vector(3, 4)), (1, vector(0, 0))], "new", errors.InvalidArgument, "vectors[1]['new']"),
        ([(0, vector(3, 4)), (0, vector(3, 4))], "new", errors.InvalidArgument, "vectors"),
        ([], "new", errors.InvalidArgument, "vectors"),
        ([(n, vector(1, 1)) for n in range(limits.EMBEDDED_MAX + 1)], "new", errors.InvalidArgument, "vectors"),
    ],
)
def test_refusals(
    store: Store, given: Sequence[tuple[int, bytes]], into: str, error: type[errors.RecollectdError], field: str
) -> None:
    with pytest.raises(error) as refused:
        store.write(embed(store, *given, into=into))
    assert refused.value.field == field
    assert vectors_of(store) == {0: {"old": vector(1, 2)}}


def test_only_so_many_spaces_for_a_message(store: Store) -> None:
    names = [f"s{n:02}" for n in range(limits.VECTORS_PER_MEMORY_MAX)]
    for name in names:
        store.write(space(name))
    store.write(say("c", message("x", vectors=dict.fromkeys(names, vector(1, 2)))))
    with pytest.raises(errors.InvalidArgument, match="drop one"):
        store.write(embed(store, (3, vector(3, 4))))
    store.write(SpaceDrop(NS, names[0]))
    assert store.write(embed(store, (3, vector(3, 4)))) == Embedded((True,))


def test_what_lacks_a_vector_is_walked_in_bounded_steps(store: Store) -> None:
    store.write(SpaceAlias(NS, "now", "new"))
    assert lacking(store, "now") == [("c", 0), ("c", 1), ("c", 2)]
    for name in ("a", "b", "empty"):
        store.write(create(name))
    store.write(say("b", *(with_vector("x", 1, 1) if n % 3 else message("y") for n in range(200))))
    wanted = [("b", n) for n in range(0, 200, 3)] + [("c", 1), ("c", 2)]
    for limit in (1, 7, 64, 1_000):
        assert lacking(store, "old", limit) == wanted
    seen = store.position
    store.write(say("a", "z"))
    assert lacking(store, "old", changed_since=seen) == [("a", 0)]
    with pytest.raises(errors.NotFound):
        lacking(store, "no")
    store.write(SearchConfigure(NS, messages=False))
    assert lacking(store, "old") == []


def test_a_walk_is_bounded_by_bytes_and_goes_on_where_it_was(store: Store) -> None:
    long = "x" * (limits.PAGE_BYTES_MAX // 3)
    for name in ("d", "e"):
        store.write(create(name))
        for _ in range(3):
            store.write(say(name, long, long))
    page = store.read(SpaceLacking(NS, "new", 1_000))
    assert 3 < len(page.messages) < 8
    assert [at for at in lacking(store) if at[0] != "c"] == [(name, n) for name in ("d", "e") for n in range(6)]
    assert [each.content for each in page.messages[:3]] == ["tea", "cake", "rain"]


def test_a_name_is_switched_only_if_no_message_that_is_searched_has_changed(store: Store) -> None:
    store.write(create("other"))
    seen = store.position
    assert store.write(SpaceSwitch(NS, "now", "new", seen, messages=True)) == Switched(True)
    store.write(say("c", "later"))
    assert store.write(SpaceSwitch(NS, "now", "new", seen, messages=True)) == Switched(False)
    assert store.write(SpaceSwitch(NS, "now", "new", seen)) == Switched(True)
    store.write(SearchConfigure(NS, messages=False))
    assert store.write(SpaceSwitch(NS, "now", "new", seen, messages=True)) == Switched(False), "the settings are others"
    assert store.write(SpaceSwitch(NS, "now", "new", store.position, messages=True)) == Switched(True)
    seen = store.position
    store.write(say("c", "nobody looks for"))
    assert store.write(SpaceSwitch(NS, "now", "new", seen, messages=True)) == Switched(True)
    store.write(add(memory("x")))
    assert store.write(SpaceSwitch(NS, "now", "new", seen, messages=True)) == Switched(False)


@pytest.mark.parametrize("step", [1, 3, 128])
@pytest.mark.parametrize("conversations", [1, 64])
def test_a_dropped_space_is_swept_in_steps_across_crashes(
    store: Store, step: int, conversations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripping, "_STEP", step)
    monkeypatch.setattr(stripping, "_CONVERSATIONS", conversations)
    both = {"old": vector(1, 2), "new": vector(1, 1)}
    for name in ("a", "d"):
        store.write(create(name))
        store.write(say(name, *(message("x", vectors=both if n % 2 else {"old": vector(1, 2)}) for n in range(7))))
    store.write(add(memory("m", "m", vectors=both)))
    store.write(SpaceDrop(NS, "old"))
    store.write(space("old"))
    assert vectors_of(store) == {}
    store.write(embed(store, (1, vector(9, 9)), into="old"))
    while store.run(StripVectors()):
        store.crash()
    for name in ("a", "d"):
        assert vectors_of(store, name) == {n: {"new": vector(1, 1)} for n in (1, 3, 5)}
    assert vectors_of(store) == {1: {"old": vector(9, 9)}}
    stored = [unpack_vectors(row) for key, row in rows(store).items() if key in store.engine.families[Family.ENTRIES]]
    assert sorted(name for each in stored for name in each) == ["new"] * 6 + ["old"]
    assert Kind.VECTOR_SPACE_DROPPED not in {key[0] for key in store.engine.families[Family.HEADS]}
    store.check_replay()


def test_a_sweep_does_not_undo_what_came_since(store: Store) -> None:
    store.write(SpaceDrop(NS, "old"))
    sweep = StripVectors()
    store.run(sweep)
    sweep = StripVectors()
    store.prepare(sweep)
    store.write(embed(store, (0, vector(5, 5))))
    with pytest.raises(Stale):
        store.sequence_prepared(sweep)
    while store.run(StripVectors()):
        pass
    assert vectors_of(store) == {0: {"new": vector(5, 5)}}
    assert message_vectors_key(record_key(Kind.CONVERSATION, NS, "c")) in rows(store)
