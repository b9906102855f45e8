"""Vectors of messages: told with an append, made by an embedder, read with the messages; over both faces."""

from __future__ import annotations

import pytest

from client.conftest import Drive
from client.fake import FakeDaemon
from recollectd.client import AsyncClient, Client, Embedding, NewMessage
from recollectd.client.vectors import unpacked_vectors
from recollectd.protocol import errors
from recollectd.protocol.messages.conversations import ConversationAppend
from recollectd.protocol.messages.memories import MemorySearch


def letters(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


def appended(daemon: FakeDaemon) -> list[dict[str, list[float]] | None]:
    """Return the vectors of all messages sent, transactions and batches taken apart."""
    operations = [each for frame in daemon.received for each in getattr(frame.request, "operations", (frame.request,))]
    appends = [each for each in operations if isinstance(each, ConversationAppend)]
    return [unpacked_vectors(message.vectors) for append in appends for message in append.messages]


def test_messages_carry_vectors_and_are_read_with_them(any_daemon: FakeDaemon, drive: Drive) -> None:
    any_daemon.store.page_items = 5
    with drive(any_daemon) as driver:
        conversations, do = driver.client.conversations, driver.do
        do(lambda: conversations.create("c"))
        do(lambda: conversations.append("c", "user", "0", vectors={"s": [0.5, 1]}))
        do(lambda: conversations.append("c", "user", "1"))
        new = [NewMessage("user", str(n), vectors={"s": [n, 1], "t": [n]} if n % 2 else None) for n in range(2, 12)]
        do(lambda: conversations.append_many("c", new))
        read = driver.all(lambda: conversations.iterate("c", vectors=True))
        assert [each.content for each in read] == [str(n) for n in range(12)]
        assert {each.content: each.vectors for each in read if each.vectors} == {
            "0": {"s": [0.5, 1.0]},
            **{str(n): {"s": [n, 1.0], "t": [n]} for n in range(3, 12, 2)},
        }
        assert all(each.vectors is None for each in driver.all(lambda: conversations.iterate("c")))
        with pytest.raises(errors.InvalidArgument) as refused:
            do(lambda: conversations.append("c", "user", "x", vectors={"s": ["no"]}))
        assert refused.value.field == "vectors['s']"


def test_an_embedder_for_messages_makes_their_vectors_in_batches(daemon: FakeDaemon) -> None:
    batches: list[list[str]] = []

    def embed(texts: list[str]) -> list[list[float]]:
        batches.append(texts)
        return letters(texts)

    with Client(daemon.url, embedder=Embedding(embed, "s", batch=2, messages=True)) as client:
        client.conversations.create("c")
        client.conversations.append("c", "user", "ab")
        client.conversations.append("c", "user", "told", vectors={"s": [9, 9]})
        client.conversations.append("c", "user", "both", vectors={"t": [7]})
        new = [NewMessage("user", "a"), NewMessage("user", "told", vectors={"s": [8, 8]})]
        client.conversations.append_many("c", [*new, NewMessage("user", "abc"), NewMessage("user", "abcd")])
        client.transact(lambda transaction: transaction.conversations.append("c", "user", "abcde"))
        with client.pipeline() as pipeline:
            pipeline.conversations.append("c", "user", "abcdef")
    assert appended(daemon) == [
        {"s": [2.0, 1.0]},
        {"s": [9.0, 9.0]},
        {"s": [4.0, 1.0], "t": [7.0]},
        {"s": [1.0, 1.0]},
        {"s": [8.0, 8.0]},
        {"s": [3.0, 1.0]},
        {"s": [4.0, 1.0]},
        {"s": [5.0, 1.0]},
        {"s": [6.0, 1.0]},
    ]
    assert batches == [["ab"], ["both"], ["a", "abc"], ["abcd"], ["abcde"], ["abcdef"]]


async def test_an_awaited_embedder_makes_them_too(daemon: FakeDaemon) -> None:
    async def embed(texts: list[str]) -> list[list[float]]:
        return letters(texts)

    async with AsyncClient(daemon.url, embedder=Embedding(embed, "s", messages=True)) as client:
        await client.conversations.create("c")
        await client.conversations.append("c", "user", "ab")
        await client.conversations.append_many("c", [NewMessage("user", "a"), NewMessage("user", "abc")])
        read = [each.vectors async for each in client.conversations.iterate("c", vectors=True)]
    assert read == appended(daemon) == [{"s": [2.0, 1.0]}, {"s": [1.0, 1.0]}, {"s": [3.0, 1.0]}]


def test_an_embedder_for_memories_alone_leaves_messages_as_they_are(daemon: FakeDaemon) -> None:
    with Client(daemon.url, embedder=Embedding(letters, "s")) as client:
        client.conversations.create("c")
        client.conversations.append("c", "user", "ab")
        client.conversations.append_many("c", [NewMessage("user", "a")])
    assert appended(daemon) == [None, None]


def test_messages_that_lack_a_vector_are_embedded_where_they_are_searched(any_daemon: FakeDaemon, drive: Drive) -> None:
    told: list[tuple[int, int]] = []
    with drive(any_daemon) as driver:
        c, do = driver.client, driver.do
        do(lambda: c.vector_spaces.create("new", 2))
        do(lambda: c.memories.add("memory"))
        do(lambda: c.conversations.create("c"))
        do(lambda: c.conversations.append_many("c", [NewMessage("user", "x" * n) for n in range(1, 6)]))
        do(lambda: c.conversations.append("c", "user", "told", vectors={"new": [9, 9]}))
        assert do(lambda: c.vector_spaces.lacking("new")) == 1
        do(lambda: c.memories.configure_search(messages=True))
        assert do(lambda: c.vector_spaces.lacking("new")) == 6
        embedded = do(
            lambda: c.vector_spaces.reembed("new", letters, alias="now", progress=lambda *so_far: told.append(so_far))
        )
        assert embedded == 6
        assert told == [(0, 6), (1, 6), (3, 6), (5, 6), (6, 6)]
        read = driver.all(lambda: c.conversations.iterate("c", vectors=True))
        assert [each.vectors for each in read] == [{"new": [n, 1.0]} for n in range(1, 6)] + [{"new": [9.0, 9.0]}]
        assert do(lambda: c.vector_spaces.lacking("new")) == 0
        assert any_daemon.store.spaces["now"].alias_of == "new"


@pytest.mark.parametrize("messages", [False, True])
def test_what_is_looked_for_among_messages_is_embedded_where_they_are(daemon: FakeDaemon, messages: bool) -> None:
    with Client(daemon.url, embedder=Embedding(letters, "s", messages=messages)) as client:
        client.memories.search("tea", among="messages")
        client.memories.search("tea", among="messages", mode="keyword")
        client.memories.search("tea", among="messages", mode="hybrid")
        client.memories.search("tea", among="both")
    asked = [each.request.vectors for each in daemon.received if isinstance(each.request, MemorySearch)]
    assert [bool(each) for each in asked] == [messages, False, True, True]
