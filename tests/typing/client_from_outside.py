"""A program of somebody else's: what the client tells type checkers. Checked by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, assert_type

from recollectd.client import AsyncClient, Client, NewMessage, RecollectdError, Transaction, errors
from recollectd.client.results import (
    Change,
    Conversation,
    ConversationInfo,
    History,
    LogAppended,
    LogInfo,
    LogItem,
    LogPage,
    Page,
    Record,
    StoredMessage,
    Version,
)


def state(client: Client) -> None:
    memory = client.state
    assert_type(memory.put("profile", {"name": "Ada"}, ttl=3600, sliding=True), int)
    assert_type(memory.put("profile", b"bytes", if_version=4), int)
    assert_type(memory.get("profile"), Record | None)
    assert_type(memory.get("profile", as_of=datetime.now(UTC)), Record | None)
    assert_type(memory.delete("profile", if_version=5), bool)
    assert_type(memory.get_many(["a", "b"]), dict[str, Record])
    assert_type(memory.get_values(["a", "b"], default=0), list[Any])
    assert_type(memory.put_many({"a": 1, "b": [2]}, ttl=1.5), dict[str, int])
    assert_type(memory.history("profile", limit=3), list[Version])
    assert_type(memory.touch("profile", 60), str | None)
    assert_type(memory.scan("coordination:", pattern="*:s1:*", reverse=True), Iterator[Record])
    assert_type(memory.scan_page(limit=10, cursor=b""), Page)
    assert_type(memory.count("coordination:"), int)
    assert_type(memory.delete_prefix("coordination:", progress=print), int)
    record = memory.get("profile", version=3)
    if record is not None:
        assert_type(record.version, int)
        assert_type(record.expires_at, str | None)
        datetime.fromisoformat(record.updated_at)


def logs(client: Client) -> None:
    memory = client.logs
    assert_type(memory.append("events", ["first", {"n": 2}], if_next=0), LogAppended)
    assert_type(memory.read("events", start=0, limit=10), LogPage)
    assert_type(memory.iterate("events"), Iterator[LogItem])
    assert_type(memory.pop_last("events", 2), list[LogItem])
    assert_type(memory.truncate("events", before=3), LogInfo)
    assert_type(memory.copy("events", "copied", target_namespace=("acme", "other")), LogInfo)
    assert_type(memory.delete("events"), bool)
    assert_type(memory.info("events"), LogInfo | None)
    assert_type(memory.list("eve"), Iterator[LogInfo])


def conversations(client: Client) -> None:
    memory = client.conversations
    chat = memory.create("chat-1", metadata={"topic": "engines"})
    assert_type(chat, Conversation)
    assert_type(memory.append(chat.conversation_id, "user", "Hello", valid_at="2026-01-31T12:00:00Z"), StoredMessage)
    messages = [NewMessage("user", "Hello"), NewMessage("assistant", "Good day", message_id="m-2")]
    assert_type(memory.append_many("chat-1", messages, skip_duplicates=True), list[StoredMessage])
    history = memory.history("chat-1", last=10)
    assert_type(history, History)
    assert_type(history.messages[0].metadata, dict[str, Any] | None)
    assert_type(memory.info("chat-1"), ConversationInfo | None)
    assert_type(memory.list(), Iterator[ConversationInfo])
    assert_type(memory.delete("chat-1"), bool)


def transfer(transaction: Transaction) -> int:
    record = transaction.state.get("balance")
    assert_type(record, Record | None)
    balance = 0 if record is None else int(record.value)
    assert_type(transaction.state.put("balance", balance + 1), None)
    assert_type(transaction.logs.append("events", [balance]), None)
    return balance


def together(client: Client) -> None:
    assert_type(client.transact(transfer, attempts=3), int)
    with client.pipeline() as pipeline:
        later = pipeline.state.put("a", 1)
        assert_type(later.result(), int)
    with client.batch() as batch:
        batch.state.put("a", 1)
        batch.logs.append("events", ["x"])
    for change in client.watch("coordination:", kinds=("state",), values=True):
        assert_type(change, Change)


def about(client: Client) -> None:
    view = client.with_namespace("acme", "other")
    assert_type(view, Client)
    assert_type(client.namespaces(("acme",)), Iterator[tuple[str, ...]])
    assert_type(client.configure_history(count=10, age_s=None, namespace=("acme",)), None)
    assert_type(client.ping(), float)
    assert_type(client.status(namespaces=True), dict[str, Any])
    assert_type(client.position, int)


async def asynchronous() -> None:
    async with AsyncClient("tcp://127.0.0.1:7700", namespace=("acme",), timeout=5.0, durability="async") as client:
        assert_type(await client.state.put("profile", {"name": "Ada"}), int)
        assert_type(await client.state.get("profile"), Record | None)
        assert_type(await client.logs.append("events", ["x"]), LogAppended)
        assert_type(client.state.scan(), AsyncIterator[Record])
        async for record in client.state.scan("a"):
            assert_type(record.key, str)
        assert_type(await client.conversations.history("chat-1"), History)
        versions = await asyncio.gather(*(client.state.put(f"k{n}", n) for n in range(10)))
        assert_type(versions, list[int])
        async for change in client.watch():
            assert_type(change, Change)


def main() -> None:
    with Client("unix:///run/recollectd/recollectd.sock", namespace=("acme", "assistant-7"), name="example") as client:
        for use in (state, logs, conversations, together, about):
            try:
                use(client)
            except errors.VersionConflict as conflict:
                assert_type(conflict.field, str)
            except RecollectdError as error:
                assert_type(error.code, int)
                assert_type(error.hint, str)
    with Client.local("./memory") as local:
        assert_type(local, Client)
    asyncio.run(asynchronous())


if __name__ == "__main__":
    main()
