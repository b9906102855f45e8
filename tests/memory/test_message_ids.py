"""Message ids: a caller's id is taken once, the daemon's lead to their messages, and a new conversation is new."""

from __future__ import annotations

from typing import Any

import pytest

from memory.asking import NS, chat, create, message, say
from memory.harness import SECOND, START, Store
from recollectd.protocol import errors
from recollectd.protocol.messages import conversations as messages
from recollectd.storage.keyspace import INDEX_MESSAGE_ID, Family


@pytest.fixture
def store() -> Store:
    return Store()


def contents(store: Store, conversation_id: str = "c", **fields: Any) -> list[str]:
    return [each.content for each in store.read(chat(conversation_id, **fields)).messages]


def info(store: Store, conversation_id: str = "c") -> Any:
    return store.read(messages.ConversationHead(NS, conversation_id))


def delete(conversation_id: str = "c") -> messages.ConversationDelete:
    return messages.ConversationDelete(NS, conversation_id)


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "sequenced only"])
@pytest.mark.parametrize("message_id", ["m", "\0", "m\0", "\0m", "m" * 256, "é", "0000000007-aaaaaaaaaaaa", "٠" * 10])
def test_a_callers_id_is_taken_once(store: Store, message_id: str, applied: bool) -> None:
    store.write(create("c"))
    store.sequence(say("c", message("first", message_id)))
    if applied:
        store.apply()
    for other in {message_id + "\0", "\0" + message_id, message_id[:-1]}:
        if 0 < len(other.encode()) <= 256:
            assert store.sequence(say("c", message("other", other))).commit.events
    assert not store.sequence(say("c", message("again", message_id))).commit.events
    skipped = store.sequence(say("c", "before", message("again", message_id), "after", skip_duplicates=True))
    store.apply()
    assert contents(store).count("first") == 1
    assert "again" not in contents(store)
    assert contents(store, after_id=message_id)[-2:] == ["before", "after"]
    assert len(skipped.changed) == 3  # the head, and the ids that the daemon gave
    store.check_replay()


def test_a_skipped_duplicate_says_where_the_first_one_is(store: Store) -> None:
    store.write(create("c"))
    store.write(say("c", "x", message("first", "m")))
    store.now += SECOND
    stored = store.write(
        say("c", message("again", "m"), message("new", "n"), message("twice", "n"), skip_duplicates=True)
    )
    assert stored.messages == (
        messages.MessageStored("m", "user", START, 1, True),
        messages.MessageStored("n", "user", START + SECOND, 2),
        messages.MessageStored("n", "user", START + SECOND, 2, True),
    )
    assert contents(store) == ["x", "first", "new"]
    revision = info(store).revision
    assert store.write(say("c", message("x", "m"), skip_duplicates=True)).messages[0].duplicate
    assert info(store).revision == revision, "nothing was written"


def test_a_daemons_id_given_back_is_a_duplicate(store: Store) -> None:
    """As an import of an export does."""
    store.write(create("c"))
    given = store.write(say("c", "x", "y")).messages[1].message_id
    with pytest.raises(errors.AlreadyExists):
        store.write(say("c", message("y", given)))
    stored = store.write(say("c", message("y", given), skip_duplicates=True)).messages[0]
    assert (stored.position, stored.duplicate) == (1, True)
    near = given[:-1] + ("0" if given[-1] != "0" else "1")
    assert not store.write(say("c", message("z", near), skip_duplicates=True)).messages[0].duplicate


@pytest.mark.parametrize("name", ["c", "c\0", "\0", "\0\0c", "c" * 1_024, "\0" * 1_024])
def test_any_conversation_id(store: Store, name: str) -> None:
    others = {"c", "c\0", "\0", "c\0\0", "\0c"} - {name}
    for each in (name, *others):
        store.write(create(each))
        store.write(say(each, message(each, "same id")))
    store.facts.learn({})
    store.crash()
    assert contents(store, name) == [name]
    assert not store.sequence(say(name, message("again", "same id"))).commit.events
    store.write(delete(name))
    store.write(create(name))
    store.write(say(name, message("anew", "same id")))
    assert [contents(store, each) for each in sorted(others)] == [[each] for each in sorted(others)]
    assert contents(store, name, last=1) == ["anew"]
    store.check_replay()


def test_ids_of_a_deleted_conversation_are_free_again(store: Store) -> None:
    store.write(create("c"))
    store.write(say("c", message("old", "m"), message("old", "n")))
    store.write(delete())
    assert store.engine.count(Family.INDEX) == 0
    store.write(create("c"))
    assert store.write(say("c", message("new", "m"))).messages[0].duplicate is False
    with pytest.raises(errors.NotFound):
        contents(store, after_id="n")
    assert contents(store) == ["new"]
    store.check_replay()


@pytest.mark.parametrize("waiting", [True, False], ids=["sequenced only", "applied"])
def test_deleted_and_created_again_before_anything_is_applied(store: Store, waiting: bool) -> None:
    requests: list[Any] = [create("c"), say("c", message("1", "m")), delete(), create("c"), say("c", message("2", "m"))]
    for request in requests:
        assert store.sequence(request).commit.events
        if not waiting:
            store.apply()
    store.apply()
    assert contents(store) == ["2"]
    assert store.engine.count(Family.INDEX, INDEX_MESSAGE_ID) == 1
    store.check_replay()
