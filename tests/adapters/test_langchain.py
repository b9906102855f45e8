"""LangChain's store, cache and history, where its own suites do not look."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from langchain_core.exceptions import LangChainException
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from langchain_core.stores import InvalidKeyException

from recollectd.adapters.langchain import RecollectdByteStore, RecollectdCache, RecollectdStore
from recollectd.client import Client


def test_many_keys_go_in_steps(client: Client) -> None:
    store = RecollectdByteStore(client)
    pairs = [(f"key {number:05}", str(number).encode()) for number in range(2_500)]
    store.mset([("key 00000", b"earlier"), *pairs])
    keys = [key for key, _ in pairs]
    assert store.mget(keys) == [value for _, value in pairs]
    assert list(store.yield_keys()) == keys
    assert list(store.yield_keys(prefix="key 0249")) == keys[2_490:]

    async def walk() -> list[str]:
        return [key async for key in store.ayield_keys(prefix="key 00")]

    assert asyncio.run(walk()) == keys[:1_000]
    store.mdelete([*keys, *keys, "nowhere"])
    assert list(store.yield_keys()) == []
    store.mset([])
    store.mdelete([])
    assert store.mget([]) == []


def test_large_values_go_in_steps(client: Client) -> None:
    store = RecollectdByteStore(client)
    pairs = [(str(number), bytes([number]) * 5_000_000) for number in range(6)]
    store.mset(pairs)
    assert store.mget([key for key, _ in pairs]) == [value for _, value in pairs]
    with pytest.raises(LangChainException, match="value of 'large'"):
        store.mset([("before", b"x"), ("large", b"x" * 9_000_000)])
    assert store.mget(["before"]) == [None]


def test_stores_of_different_names_are_different(client: Client) -> None:
    first: RecollectdStore[Any] = RecollectdStore(client, "first")
    second: RecollectdStore[Any] = RecollectdStore(client, "second")
    first.mset([("key", 1)])
    assert second.mget(["key"]) == [None]
    for name in ("", "x" * 129):
        with pytest.raises(LangChainException):
            RecollectdStore(client, name)


@pytest.mark.parametrize("value", [(1, 2), {1, 2}, datetime(2026, 1, 1), object(), 2**70, AIMessage("x")])
def test_values_that_would_not_come_back_are_refused(client: Client, value: object) -> None:
    store: RecollectdStore[object] = RecollectdStore(client)
    with pytest.raises(LangChainException, match="value of 'key'"):
        store.mset([("before", 1), ("key", value)])
    assert store.mget(["before", "key"]) == [None, None]


@pytest.mark.parametrize("key", ["", "x" * 1_025, 7])
def test_keys_that_cannot_be_are_refused(client: Client, key: Any) -> None:
    store: RecollectdStore[int] = RecollectdStore(client)
    for call in (lambda: store.mget([key]), lambda: store.mset([(key, 1)]), lambda: store.mdelete([key])):
        with pytest.raises(InvalidKeyException, match="key"):
            call()


def test_values_expire(client: Client) -> None:
    store: RecollectdStore[int] = RecollectdStore(client, ttl=3_600)
    store.mset([("key", 1)])
    record = client.with_namespace(*client.namespace, "langchain", "store", "store").state.get("key")
    assert record is not None
    assert record.expires_at is not None


ANSWERS = (
    Generation(text="half an emoji: \ud83d", generation_info={"n": 2**70}),
    GenerationChunk(text="part"),
    ChatGeneration(
        message=AIMessage(
            content=[{"type": "text", "text": "hi"}],
            tool_calls=[{"name": "tool", "args": {"a": [1, None]}, "id": "1"}],
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            response_metadata={"model": "m"},
        ),
        generation_info={"finish_reason": "stop"},
    ),
    ChatGenerationChunk(message=AIMessageChunk(content="x", tool_call_chunks=[])),
)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_answers_of_every_type_come_back(client: Client, answer: Generation) -> None:
    cache = RecollectdCache(client)
    cache.update("prompt", "model", [answer, answer])
    found = cache.lookup("prompt", "model")
    assert found == [answer, answer]
    assert [type(each) for each in found or ()] == [type(answer)] * 2


def test_questions_are_told_apart(client: Client) -> None:
    cache = RecollectdCache(client)
    cache.update("ab", "c", [Generation(text="first")])
    assert cache.lookup("a", "bc") is None
    assert cache.lookup("ab" * 100_000 + "\ud83d", "c") is None


def test_an_answer_that_cannot_be_kept_is_refused(client: Client) -> None:
    class Other(Generation):
        pass

    cache = RecollectdCache(client)
    for bad in (Other(text="x"), Generation(text="x", generation_info={"bad": object()})):
        with pytest.raises(LangChainException, match="cannot be kept"):
            cache.update("prompt", "model", [bad])
    assert cache.lookup("prompt", "model") is None


def test_a_model_is_asked_once(client: Client) -> None:
    answers = iter([AIMessage("first"), AIMessage("second")])
    model = GenericFakeChatModel(messages=answers, cache=RecollectdCache(client, ttl=60))
    assert model.invoke("question").content == "first"
    assert model.invoke("question").content == "first"
    assert asyncio.run(model.ainvoke("question")).content == "first"
    assert model.invoke("another").content == "second"
