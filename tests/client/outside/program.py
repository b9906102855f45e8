"""A program as a user writes it, for mypy and pyright to check from outside: what they must infer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, assert_type

from recollectd.client import AsyncClient, AsyncTransaction, Client, Handle, NewMessage, Transaction, errors
from recollectd.client.aio.pipeline import AsyncHandle
from recollectd.client.results import (
    Change,
    Conversation,
    History,
    LogAppended,
    LogInfo,
    LogItem,
    Message,
    Page,
    Record,
    StoredMessage,
    Version,
)


def blocking() -> None:
    """Calls return their results."""
    with Client("unix:///run/x", namespace=("acme", "a-7"), durability="async") as memory:
        assert_type(memory, Client)
        assert_type(memory.with_namespace("acme"), Client)
        assert_type(memory.state.put("k", {"any": b"value"}, ttl=5, if_version=1), int)
        assert_type(memory.state.get("k"), Record | None)
        assert_type(memory.state.get_many(["k"]), dict[str, Record])
        assert_type(memory.state.put_many({"k": 1}), dict[str, int])
        assert_type(memory.state.history("k", limit=3), list[Version])
        assert_type(memory.state.touch("k", None), str | None)
        assert_type(memory.state.scan("k", reverse=True), Iterator[Record])
        assert_type(memory.state.scan_page(cursor=b""), Page)
        assert_type(memory.state.delete_prefix("k", progress=print), int)
        assert_type(memory.logs.append("log", [1, "two"]), LogAppended)
        assert_type(memory.logs.pop_last("log"), list[LogItem])
        assert_type(memory.logs.info("log"), LogInfo | None)
        assert_type(memory.logs.list(), Iterator[LogInfo])
        assert_type(memory.conversations.create(), Conversation)
        assert_type(memory.conversations.append_many("c", [NewMessage("user", "x")]), list[StoredMessage])
        assert_type(memory.conversations.history("c", last=3), History)
        assert_type(memory.conversations.iterate("c"), Iterator[Message])
        assert_type(memory.namespaces(), Iterator[tuple[str, ...]])
        memory.configure_history(count=3, age_s=None)
        assert_type(memory.ping(), float)
        for change in memory.watch():
            assert_type(change, Change)
        with memory.pipeline() as pipeline:
            assert_type(pipeline.state.get("k"), Handle[Record | None])
            assert_type(pipeline.with_namespace("x").state.put("k", 1).result(), int)
        with memory.batch() as batch:
            assert_type(batch.logs.append("log", [1]), Handle[LogAppended])
        assert_type(memory.transact(transaction), int)
        assert_type(memory.transact(lambda tx: tx.state.get("k")), Record | None)
        try:
            memory.ping()
        except errors.RecollectdError as error:
            assert_type(error.code, int)


def transaction(transaction: Transaction) -> int:
    """Reads return their results, writes nothing."""
    record = transaction.state.get("k")
    assert_type(record, Record | None)
    assert_type(transaction.state.scan(), Iterator[Record])
    transaction.state.put("k", record.value if record else 1)
    return 1


async def awaiting() -> None:
    """Calls return awaitables of their results."""
    async with AsyncClient("tcp://127.0.0.1:7700") as memory:
        assert_type(memory, AsyncClient)
        assert_type(memory.with_options(timeout=5), AsyncClient)
        begun: Coroutine[Any, Any, Record | None] = memory.state.get("k")
        assert_type(await begun, Record | None)
        assert_type(await memory.state.put("k", 1), int)
        assert_type(memory.state.scan(), AsyncIterator[Record])
        assert_type(await memory.conversations.append("c", "user", "x"), StoredMessage)
        async with memory.pipeline() as pipeline:
            assert_type(pipeline.state.get("k"), AsyncHandle[Record | None])
            assert_type(await pipeline.state.put("k", 1), int)
        async with memory.batch() as batch:
            assert_type(batch.state.put("k", 1), Handle[int])
        assert_type(await memory.transact(async_transaction), int)
        async with memory.watch() as changes:
            async for change in changes:
                assert_type(change, Change)


async def async_transaction(transaction: AsyncTransaction) -> int:
    """Reads are awaited, writes are not."""
    record = await transaction.state.get("k")
    assert_type(record, Record | None)
    transaction.logs.append("audit", ["read"])
    return record.version if record else 0
