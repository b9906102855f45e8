"""Embedders of the asyncio client: its loop goes on while they work, whatever sort of callable they are."""

from __future__ import annotations

import asyncio
import threading
from itertools import repeat
from typing import Any

import pytest

from client.fake import FakeDaemon
from recollectd.client import AsyncClient, Client, Embedding, NewMemory
from recollectd.client.embedding import Embedder
from recollectd.protocol import errors


def letters(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


async def letters_awaited(texts: list[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    return letters(texts)


class LettersAwaited:
    async def __call__(self, texts: list[str]) -> list[list[float]]:
        return await letters_awaited(texts)


def client_of(daemon: FakeDaemon, embedder: Embedder, batch: int = 64) -> AsyncClient:
    return AsyncClient(daemon.url, embedder=Embedding(embedder, "s", batch))


@pytest.mark.parametrize("embedder", [letters, letters_awaited, LettersAwaited()], ids=["plain", "coroutine", "object"])
async def test_every_call_embeds(daemon: FakeDaemon, embedder: Embedder) -> None:
    async with client_of(daemon, embedder, batch=2) as client:
        await client.vector_spaces.create("s", 2)
        await client.vector_spaces.create("later", 2)
        await client.memories.add("tea", memory_id="a")
        await client.memories.add_many([NewMemory("x" * n, f"m{n}") for n in (1, 2, 3)])
        await client.memories.add("told", memory_id="told", vectors={"s": [9, 9]})
        await client.memories.update("a", text="coffee")
        found = await client.memories.get_many(["a", "m1", "m2", "m3", "told"], vectors=True)
        assert {name: each.vectors for name, each in found.items()} == {
            "a": {"s": [6.0, 1.0]},
            "m1": {"s": [1.0, 1.0]},
            "m2": {"s": [2.0, 1.0]},
            "m3": {"s": [3.0, 1.0]},
            "told": {"s": [9.0, 9.0]},
        }
        await client.memories.search("tea")
        assert await client.vector_spaces.reembed("later", embedder) == len(found)


async def test_the_loop_goes_on_while_a_plain_callable_works(daemon: FakeDaemon) -> None:
    let_go = threading.Event()
    threads: set[int] = set()

    def slow(texts: list[str]) -> list[list[float]]:
        threads.add(threading.get_ident())
        assert let_go.wait(30)
        return letters(texts)

    async with client_of(daemon, slow) as client:
        await client.vector_spaces.create("s", 2)
        adding = asyncio.ensure_future(client.memories.add("tea"))
        await client.state.put("other", 1)  # would wait for ever behind an embedder on the loop
        assert not adding.done()
        let_go.set()
        await adding
    assert threads
    assert threading.get_ident() not in threads


async def test_what_an_embedder_raises_reaches_the_caller(daemon: FakeDaemon) -> None:
    async def failing(texts: list[str]) -> list[list[float]]:
        raise LookupError("no model")

    async with client_of(daemon, failing) as client:
        with pytest.raises(LookupError, match="no model"):
            await client.memories.add("tea")
    wrong: dict[str, Any] = {
        "gave 0 vectors for 1 texts": lambda texts: [],
        "gave more than 1 vectors for 1 texts": lambda texts: repeat([1.0, 2.0]),
        "gave no vectors, but NoneType": lambda texts: None,
    }
    for told, embedder in wrong.items():
        async with client_of(daemon, embedder) as client:
            with pytest.raises(errors.InvalidArgument, match=told) as refused:
                await client.memories.search("tea")
            assert refused.value.field == "embedder"


async def test_what_is_collected_is_embedded_at_once(daemon: FakeDaemon) -> None:
    async with client_of(daemon, letters) as client:
        await client.vector_spaces.create("s", 2)
        async with client.pipeline() as pipeline:
            await pipeline.memories.add("tea", memory_id="a")
        found = await client.memories.get("a", vectors=True)
        assert found is not None
        assert found.vectors == {"s": [3.0, 1.0]}
    async with client_of(daemon, letters_awaited) as client, client.batch() as batch:
        with pytest.raises(errors.InvalidArgument, match="coroutine function") as refused:
            batch.memories.add("tea")
        assert refused.value.field == "embedder"


def test_the_blocking_client_takes_no_coroutine_function(daemon: FakeDaemon) -> None:
    embedder: Any = letters_awaited
    with Client(daemon.url, embedder=embedder) as client, pytest.raises(errors.InvalidArgument) as refused:
        client.memories.add("tea")
    assert refused.value.field == "embedder"
