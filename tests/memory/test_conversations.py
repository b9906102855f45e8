"""Conversations: created, appended to, read in order and by id, listed by last use, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from memory.asking import NS, chat, create, key_of, message, plain, raw, say
from memory.harness import SECOND, START, Store
from recollectd.memory.conversations.writes import Create
from recollectd.protocol import errors, limits, table
from recollectd.protocol.messages import conversations as messages
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.state import Absent
from recollectd.storage.keyspace import INDEX_LAST_USE, INDEX_MESSAGE_ID, Family


@pytest.fixture
def store() -> Store:
    return Store()


def contents(store: Store, conversation_id: str = "c", **fields: Any) -> list[str]:
    return [each.content for each in store.read(chat(conversation_id, **fields)).messages]


def info(store: Store, conversation_id: str = "c") -> Any:
    return store.read(messages.ConversationHead(NS, conversation_id))


def delete(conversation_id: str = "c") -> messages.ConversationDelete:
    return messages.ConversationDelete(NS, conversation_id)


def test_a_conversation_from_beginning_to_end(store: Store) -> None:
    created = store.write(create())
    conversation_id = created.conversation_id
    assert created.created_at == START
    assert store.read(chat(conversation_id)) == messages.History(conversation_id, (), 0, 1)
    store.now += SECOND
    stored = store.write(
        say(conversation_id, message("Hello", role="user"), message("Hi", role="assistant", valid_at=START - SECOND))
    )
    ids = [each.message_id for each in stored.messages]
    assert stored == messages.MessagesStored(
        conversation_id,
        (
            messages.MessageStored(ids[0], "user", START + SECOND, 0),
            messages.MessageStored(ids[1], "assistant", START + SECOND, 1),
        ),
    )
    assert store.read(chat(conversation_id)) == messages.History(
        conversation_id,
        (
            messages.Message(ids[0], "user", "Hello", START + SECOND, 0),
            messages.Message(ids[1], "assistant", "Hi", START + SECOND, 1, START - SECOND),
        ),
        2,
        2,
    )
    assert info(store, conversation_id) == messages.ConversationInfo(conversation_id, START, START + SECOND, 2, None, 2)
    assert store.write(delete(conversation_id)) == Deleted(1)
    assert info(store, conversation_id) == Absent()
    assert {family for family, rows in store.engine.families.items() if rows} == {Family.META}, "no row is left"
    store.check_replay()


def test_metadata_comes_back_over_apply_recovery_and_cache(store: Store) -> None:
    """Of the conversation and of its messages; from rows, from the journal, and from facts fetched again."""
    metadata = {"speaker": "Ada", "tags": [1, None, b"\xff"], "nested": {}}
    store.write(create("c", metadata))
    store.write(say("c", message("x", metadata=raw(metadata)), "y"))
    assert plain(info(store).metadata) == metadata
    assert [plain(each.metadata) for each in store.read(chat("c")).messages] == [metadata, None]
    listed = store.read(messages.ConversationList(NS)).conversations
    assert [plain(each.metadata) for each in listed] == [metadata]
    store.crash()
    store.write(say("c", "z"))
    assert plain(info(store).metadata) == metadata
    assert contents(store) == ["x", "y", "z"]
    store.check_replay()


def test_empty_metadata_is_metadata(store: Store) -> None:
    store.write(create("c", {}))
    store.write(create("d"))
    assert (plain(info(store, "c").metadata), info(store, "d").metadata) == ({}, None)


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (say("never", "x"), errors.NotFound, "conversation_id"),
        (create("c"), errors.AlreadyExists, "conversation_id"),
        (create(""), errors.InvalidArgument, "conversation_id"),
        (create("x" * 1_025), errors.InvalidArgument, "conversation_id"),
        (create(ns=()), errors.InvalidArgument, "namespace"),
        (create(metadata=[1]), errors.InvalidArgument, "metadata"),
        (create(metadata={1: 2}), errors.InvalidArgument, "metadata"),
        (create(metadata={"x": "y" * limits.METADATA_BYTES_MAX}), errors.TooLarge, "metadata"),
        (say("c"), errors.InvalidArgument, "messages"),
        (say("c", "x", message("y", "")), errors.InvalidArgument, "messages[1].message_id"),
        (say("c", message("y", "m" * 257)), errors.InvalidArgument, "messages[0].message_id"),
        (say("c", "x", message("y", metadata=raw("text"))), errors.InvalidArgument, "messages[1].metadata"),
        (say("c", "x" * (limits.CONTENT_BYTES_MAX + 1)), errors.InvalidArgument, "messages[0].content"),
        (say("c", message("x", "known")), errors.AlreadyExists, "messages[0].message_id"),
        (say("c", message("x", "new"), message("x", "new")), errors.AlreadyExists, "messages[1].message_id"),
        (say("c", message("", "new")), errors.InvalidArgument, "messages[0].content"),
        (say("c", message("x", role="system")), errors.InvalidArgument, "messages[0].role"),
    ],
)
def test_refusals_name_the_field_and_leave_nothing(
    store: Store, request_: Any, error: type[errors.RecollectdError], field: str
) -> None:
    store.write(create("c"))
    store.write(say("c", message("first", "known")))
    rows = store.engine.copy().families
    with pytest.raises(error) as refused:
        store.write(request_)
    assert refused.value.field == field
    store.engine.families[Family.META] = rows[Family.META]
    assert store.engine.families == rows


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (chat("never"), errors.NotFound, "conversation_id"),
        (chat(""), errors.InvalidArgument, "conversation_id"),
        (chat("c", last=1, before=1), errors.InvalidArgument, "before"),
        (chat("c", after=1, after_id="x"), errors.InvalidArgument, "after_id"),
        (chat("c", before_id=""), errors.InvalidArgument, "before_id"),
        (chat("c", before_id="m" * 257), errors.InvalidArgument, "before_id"),
        (chat("c", before_id="never"), errors.NotFound, "before_id"),
        (chat("c", after_id="0000000000-000000000000"), errors.NotFound, "after_id"),
        (chat("c", after_id="9" * 20 + "-000000000000"), errors.NotFound, "after_id"),
    ],
)
def test_reads_that_are_refused_name_the_field(
    store: Store, request_: Any, error: type[errors.RecollectdError], field: str
) -> None:
    store.write(create("c"))
    store.write(say("c", "x"))
    with pytest.raises(error) as refused:
        store.read(request_)
    assert refused.value.field == field


# -- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, range(20)),
        ({"limit": 5}, range(5)),
        ({"last": 3}, range(17, 20)),
        ({"last": 2**62}, range(20)),
        ({"last": 8, "limit": 5}, range(15, 20)),
        ({"before": 5, "limit": 3}, range(2, 5)),
        ({"before": 0}, ()),
        ({"before": 2**62, "limit": 1}, range(19, 20)),
        ({"after": 5, "limit": 3}, range(6, 9)),
        ({"after": 19}, ()),
        ({"after": 2**62}, ()),
        ({"before_id": "m6", "limit": 2}, range(4, 6)),
        ({"after_id": "m6", "limit": 2}, range(7, 9)),
        ({"before_id": "m0"}, ()),
    ],
    ids=str,
)
def test_pages(store: Store, fields: dict[str, Any], expected: Any) -> None:
    store.write(create("c"))
    for index in range(0, 20, 4):
        store.write(say("c", *(message(str(each), f"m{each}") for each in range(index, index + 4))))
    page = store.read(chat("c", **fields))
    assert [each.content for each in page.messages] == [str(each) for each in expected]
    assert [each.position for each in page.messages] == list(expected)
    assert page.total_messages == 20


def test_a_daemons_id_leads_to_its_message(store: Store) -> None:
    store.write(create("c"))
    stored = store.write(say("c", *map(str, range(9)))).messages
    assert len({each.message_id for each in stored}) == 9
    assert contents(store, before_id=stored[4].message_id, limit=2) == ["2", "3"]
    assert contents(store, after_id=stored[4].message_id, limit=2) == ["5", "6"]
    assert store.engine.count(Family.INDEX, INDEX_MESSAGE_ID) == 0, "such ids need no row"


def test_a_long_page_ends_after_so_many_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 1_000)
    store.write(create("c"))
    store.write(say("c", *(f"{index}" + "x" * 300 for index in range(10))))
    assert [each[0] for each in contents(store)] == ["0", "1", "2"]
    assert [each[0] for each in contents(store, last=10)] == ["7", "8", "9"]
    assert [each[0] for each in contents(store, before=7)] == ["4", "5", "6"]


def test_a_very_long_conversation(store: Store) -> None:
    store.write(create("c"))
    for first in range(0, 20_000, 5_000):
        store.write(say("c", *map(str, range(first, first + 5_000))))
    pages = [store.read(chat("c", after=after, limit=limits.PAGE_ITEMS_MAX)) for after in (None, 9_999, 19_999)]
    assert [each.content for page in pages for each in page.messages] == list(map(str, range(20_000)))
    assert {page.total_messages for page in pages} == {20_000}
    assert contents(store, last=2) == ["19998", "19999"]
    assert store.write(delete()) == Deleted(1)
    assert store.engine.count(Family.ENTRIES) == 0


# -- memory ---------------------------------------------------------------------------------------------------------


def test_what_is_remembered_does_not_hold_the_frame_it_came_in(store: Store) -> None:
    """Metadata of some bytes, cached for hours, must not keep a frame of 32 MiB alive."""
    frame = bytearray(table.encode(create("c", {"some": "metadata"})))
    operation = Create(table.decode_request(frame))  # type: ignore[arg-type]
    store.sequence(operation)
    store.apply()
    del operation
    assert store.facts.get(key_of("c", kind=Kind.CONVERSATION)).metadata is not None
    frame.clear()  # raises BufferError while anybody looks into it


# -- by last use ----------------------------------------------------------------------------------------------------


def listed(store: Store, limit: int = 100) -> list[str]:
    found: list[str] = []
    cursor = b""
    while True:
        page = store.read(messages.ConversationList(NS, limit, cursor))
        found += [each.conversation_id for each in page.conversations]
        cursor = page.cursor
        if not cursor:
            return found


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_the_last_used_comes_first(store: Store, limit: int) -> None:
    assert listed(store, limit) == []
    for name in ("a", "b", "c", "d"):
        store.write(create(name))
        store.now += SECOND
    assert listed(store, limit) == ["d", "c", "b", "a"]
    store.write(say("b", "x"))
    assert listed(store, limit) == ["b", "d", "c", "a"]
    store.write(delete("d"))
    store.now += SECOND
    store.write(create("e\0"))
    assert listed(store, limit) == ["e\0", "b", "c", "a"]
    assert store.engine.count(Family.INDEX, INDEX_LAST_USE) == 4
    store.check_replay()


def test_within_a_second_the_list_goes_by_id(store: Store) -> None:
    for name in ("b", "c", "a"):
        store.write(create(name))
        store.now += SECOND // 4
    assert listed(store) == ["a", "b", "c"]
    store.write(say("c", "x"))
    assert listed(store) == ["a", "b", "c"]
    store.now += SECOND
    store.write(say("c", "x"))
    assert listed(store) == ["c", "a", "b"]


def test_a_page_of_conversations_ends_after_so_many_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may carry 64 KiB of metadata: 10,000 of them are no reply."""
    for name in "abcdef":
        store.write(create(name, {"padding": "x" * 400}))
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 1_000)
    assert listed(store) == list("abcdef")
    page = store.read(messages.ConversationList(NS))
    assert len(page.conversations) == 3


def test_what_is_deleted_while_it_is_listed_is_left_out(store: Store) -> None:
    for name in "abc":
        store.write(create(name))

    def overtake(step: int) -> None:
        store.write(delete("b"))

    page = store.read(messages.ConversationList(NS), before=overtake)
    assert [each.conversation_id for each in page.conversations] == ["a", "c"]


# -- races ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_reader_never_mixes_two_lives_of_a_conversation(store: Store, step: int) -> None:
    store.write(create("c"))
    store.write(say("c", message("old", "m"), "old", "old"))

    def overtake(at: int) -> None:
        if at == step:
            store.write(delete())
            store.write(create("c"))
            store.write(say("c", "new", message("new", "m"), "new"))

    seen = contents(store, before_id="m")
    assert seen == []
    page = store.read(chat("c", after_id="m"), before=overtake)
    assert {each.content for each in page.messages} in ({"new"}, {"old"})
    assert len(page.messages) == {"new": 1, "old": 2}[page.messages[0].content]


def test_a_conversation_deleted_while_it_is_read_is_not_found(store: Store) -> None:
    store.write(create("c"))
    store.write(say("c", "x"))

    def overtake(at: int) -> None:
        if at == 1:
            store.write(delete())

    with pytest.raises(errors.NotFound):
        store.read(chat("c"), before=overtake)
