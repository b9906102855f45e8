"""The Pydantic AI conversation store, where random lives do not look: others at work, long conversations, bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationRecord
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelRequest, UserPromptPart

from recollectd.adapters.pydantic_ai import RecollectdConversationStore
from recollectd.client import Client
from recollectd.testing import Daemon


def messages(count: int, word: str = "message") -> list[ModelMessage]:
    return [ModelRequest(parts=[UserPromptPart(content=f"{word} {number}")]) for number in range(count)]


def rows(client: Client) -> list[Any]:
    view = client.with_namespace(*client.namespace, "pydantic-ai")
    return [*view.state.scan(values=False), *view.logs.list()]


@pytest.fixture
def store(client: Client) -> RecollectdConversationStore:
    return RecollectdConversationStore(client)


async def outcome(call: Any) -> Any:
    try:
        return await call
    except UserError as error:
        return type(error)


async def test_of_those_who_continue_a_conversation_one_succeeds(daemon: Daemon, client: Client) -> None:
    with daemon.client(namespace=client.namespace) as second:
        stores = [RecollectdConversationStore(client), RecollectdConversationStore(second)]
        await stores[0].save(Conversation(conversation_id="c", messages=messages(2)))
        loaded = [await store.load("c") for store in stores * 4]
        for number, conversation in enumerate(loaded):
            assert conversation is not None
            conversation.messages += messages(1, f"from {number}")
        saved = await asyncio.gather(
            *(outcome(store.save(each)) for store, each in zip(stores * 4, loaded, strict=True) if each is not None)
        )
        assert saved.count(ConversationConflict) == 7
        (winner,) = [number for number, entries in enumerate(saved) if entries is not ConversationConflict]
        final = await stores[0].load("c")
        assert final is not None
        assert final.messages == loaded[winner].messages  # type: ignore[union-attr]


async def test_forks_of_what_is_deleted_meanwhile_are_whole_or_refused(daemon: Daemon, client: Client) -> None:
    with daemon.client(namespace=client.namespace) as second:
        stores = [RecollectdConversationStore(client), RecollectdConversationStore(second)]
        whole = 0
        for turn in range(5):
            await stores[0].save(Conversation(conversation_id="c", messages=messages(6)))
            forks = [
                outcome(stores[number % 2].fork("c", at=number, new_conversation_id=f"fork {turn} {number}"))
                for number in range(1, 7)
            ]
            await asyncio.gather(*forks[:3], stores[0].delete("c"), *forks[3:])
            assert await stores[1].load("c") is None
            for number in range(1, 7):
                fork = await stores[0].load(f"fork {turn} {number}")
                assert fork is None or len(fork.messages) == number
                whole += fork is not None
        for record in await stores[0].list_conversations():
            await stores[0].delete(record.conversation_id)
        assert rows(client) == []
        assert 0 <= whole <= 30


async def test_a_fork_keeps_what_it_needs_and_no_more(store: RecollectdConversationStore, client: Client) -> None:
    kept = messages(6)
    entries = await store.save(Conversation(conversation_id="c", messages=kept))
    await store.fork("c", at=2, new_conversation_id="fork")
    await store.fork("fork", at=1, new_conversation_id="fork of the fork")
    await store.delete("c")
    fork = await store.load("fork")
    assert fork is not None
    assert fork.messages == kept[:2]
    for entry in entries[2:]:
        with pytest.raises(KeyError):
            await store.read_entry(entry.id)
    await store.delete("fork")
    assert (await store.read_entry(entries[0].id)).message == kept[0]
    with pytest.raises(KeyError):
        await store.read_entry(entries[1].id)
    await store.delete("fork of the fork")
    assert rows(client) == []


async def test_long_conversations_are_read_over_pages(store: RecollectdConversationStore, client: Client) -> None:
    first, second = messages(1_500, "first"), messages(1_500, "second")
    conversation = Conversation(conversation_id="c", messages=list(first))
    await store.save(conversation)
    conversation.messages += second
    await store.save(conversation)
    loaded = await store.load("c")
    assert loaded is not None
    assert loaded.messages == first + second
    window = await store.load("c", limit=1_600)
    assert window is not None
    assert window.messages == [*first, *second][-1_600:]
    await store.branch("c", at=3, expected_revision=str(window.revision))
    branched = await store.load("c")
    assert branched is not None
    assert branched.messages == first[:3]
    await store.delete("c")
    assert rows(client) == []


async def test_a_save_over_a_bound_is_refused_whole(store: RecollectdConversationStore, client: Client) -> None:
    with pytest.raises(UserError):
        await store.save(Conversation(conversation_id="c", messages=messages(8_193)))
    huge = ModelRequest(parts=[UserPromptPart(content="x" * 9_000_000)])
    with pytest.raises(UserError):
        await store.save(Conversation(conversation_id="c", messages=[*messages(1), huge]))
    with pytest.raises(UserError):
        await store.save(Conversation(conversation_id="c", messages=messages(1)), scope="x" * 1_100)
    assert rows(client) == []
    assert await store.load("c") is None


async def test_an_entry_that_is_not_there_is_a_key_error(store: RecollectdConversationStore) -> None:
    with pytest.raises(KeyError):
        await store.read_entry("nowhere")
    with pytest.raises(KeyError):
        await store.read_history("nowhere")
    assert await store.read_history(None) == []


async def test_a_trunk_keeps_the_one_it_grows_from(store: RecollectdConversationStore, client: Client) -> None:
    await store.save(Conversation(conversation_id="c", messages=messages(4)))
    for source, new in (("c", "fork"), ("fork", "fork of the fork")):
        fork = await store.fork(source, new_conversation_id=new)
        fork.messages += messages(2, new)
        await store.save(fork)
    for name in ("c", "fork"):
        await store.delete(name)
        left = await store.load("fork of the fork")
        assert left is not None
        assert len(left.messages) == 8
    await store.delete("fork of the fork")
    assert rows(client) == []


@pytest.mark.parametrize("forked", [False, True])
async def test_a_row_that_outlived_its_entry_is_not_relied_on(
    store: RecollectdConversationStore, client: Client, forked: bool
) -> None:
    """A crash between a deletion and the clearing away of its index rows leaves them behind."""
    view = client.with_namespace(*client.namespace, "pydantic-ai")
    entries = await store.save(Conversation(conversation_id="c", messages=messages(4)))
    if forked:
        await store.fork("c", at=1, new_conversation_id="fork")
    row = view.state.get(f"e/{entries[2].id}")
    await store.delete("c")
    assert row is not None
    assert view.state.get(row.key) is None
    view.state.put(row.key, row.value)
    record = ConversationRecord(conversation_id="new", head_id=entries[2].id)
    with pytest.raises(ConversationConflict):
        await store.write_record(record, expected_revision=None)
    with pytest.raises(KeyError):
        await store.read_entry(entries[2].id)
