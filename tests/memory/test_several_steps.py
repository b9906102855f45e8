"""One commit that takes several steps on one record."""

from __future__ import annotations

from typing import Any

import pytest

from memory.asking import (
    NS,
    append,
    batch,
    chat,
    create,
    delete,
    log_read,
    message,
    plain,
    put,
    say,
    touch,
    transaction,
)
from memory.harness import Store
from recollectd.protocol import errors
from recollectd.protocol.messages import conversations, logs, state
from recollectd.protocol.messages.connection import Deleted
from recollectd.storage.keyspace import Family


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.mark.parametrize("make", [transaction, batch])
def test_a_conversation_created_and_filled_with_callers_ids_at_once(store: Store, make: Any) -> None:
    store.write(make(create("c"), say("c", message("1", "m")), say("c", message("again", "m"), skip_duplicates=True)))
    assert [each.content for each in store.read(chat("c")).messages] == ["1"]
    with pytest.raises(errors.AlreadyExists):
        store.write(say("c", message("x", "m")))
    store.check_replay()


@pytest.mark.parametrize("make", [transaction, batch])
@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("again", [True, False])
def test_a_conversation_replaced_at_once_forgets_the_ids_it_had(
    store: Store, make: Any, existed: bool, again: bool
) -> None:
    """In one commit: filled, deleted, created anew. What was known of the first life is not known of the second."""
    gone = conversations.ConversationDelete(NS, "c")
    if existed:
        store.write(create("c"))
        store.write(say("c", message("0", "m"), message("0", "n")))
    first = [gone] if existed else []
    last = [say("c", message("2", "m"))] if again else []
    store.write(make(*first, create("c"), say("c", message("1", "m"), message("1", "n")), gone, create("c"), *last))
    assert store.write(say("c", message("3", "n"))).messages[0].duplicate is False
    assert store.write(say("c", message("4", "m"), skip_duplicates=True)).messages[0].duplicate is again
    store.check_replay()
    before = [each.content for each in store.read(chat("c")).messages]
    store.crash()
    assert not store.sequence(say("c", message("5", "m"))).commit.events
    assert [each.content for each in store.read(chat("c")).messages] == before


def test_state_in_several_steps(store: Store) -> None:
    results = store.write(
        transaction(put("a", 1, ttl_us=5), delete("a"), put("a", 3, ttl_us=7), touch("a", 9), delete("b"), put("b", 1))
    ).results
    assert [getattr(result, "version", None) for result in results] == [1, None, 3, 3, None, 1]
    assert results[4] == Deleted(0)
    assert store.engine.count(Family.INDEX) == 1
    assert [each.deleted for each in store.read(state.StateHistory(NS, "a")).versions] == [False, True, False]
    store.check_replay()


def test_a_log_in_several_steps(store: Store) -> None:
    store.write(
        transaction(
            append("l", 1, 2, 3),
            logs.LogTruncate(NS, "l", None, 1),
            append("l", "two", if_next=1),
            logs.LogDelete(NS, "l"),
            append("l", "anew", if_next=0),
        )
    )
    assert [plain(item.value) for item in store.read(log_read("l")).items] == ["anew"]
    assert store.engine.count(Family.ENTRIES) == 1
    store.check_replay()
