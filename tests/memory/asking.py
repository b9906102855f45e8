"""Requests with their usual fields filled in, and a look into replies."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from recollectd.protocol.messages import connection, conversations, logs, memories, state, transactions, vector_spaces
from recollectd.protocol.messages.fields import Kind, Write
from recollectd.storage.keyspace import record_key

NS: Final = ("acme", "agent")


def raw(value: object) -> Raw:
    """Return a value as it travels."""
    return Raw(msgspec.msgpack.encode(value))


def plain(value: Raw | None) -> Any:
    """Return what a value is."""
    return None if value is None else msgspec.msgpack.decode(value)


def key_of(key: str, ns: tuple[str, ...] = NS, kind: Kind = Kind.STATE) -> bytes:
    """Return the record key."""
    return record_key(kind, ns, key)


# -- state ----------------------------------------------------------------------------------------------------------


def put(key: str, value: object = None, ns: tuple[str, ...] = NS, **fields: Any) -> state.StatePut:
    return state.StatePut(ns, key, raw(value), **fields)


def put_many(values: dict[str, object], ns: tuple[str, ...] = NS, **fields: Any) -> state.StatePutMany:
    return state.StatePutMany(ns, tuple(state.StateItem(key, raw(value)) for key, value in values.items()), **fields)


def get(key: str, ns: tuple[str, ...] = NS, **fields: Any) -> state.StateGet:
    return state.StateGet(ns, key, **fields)


def delete(key: str, ns: tuple[str, ...] = NS, if_version: int | None = None) -> state.StateDelete:
    return state.StateDelete(ns, key, if_version)


def touch(key: str, ttl_us: int | None = None, ns: tuple[str, ...] = NS) -> state.StateTouch:
    return state.StateTouch(ns, key, ttl_us)


def history(key: str, ns: tuple[str, ...] = NS, **fields: Any) -> state.StateHistory:
    return state.StateHistory(ns, key, **fields)


def scan(ns: tuple[str, ...] = NS, **fields: Any) -> state.StateScan:
    return state.StateScan(ns, **fields)


def count(ns: tuple[str, ...] = NS, **fields: Any) -> state.StateCount:
    return state.StateCount(ns, **fields)


# -- logs -----------------------------------------------------------------------------------------------------------


def append(log_id: str, *items: object, ns: tuple[str, ...] = NS, if_next: int | None = None) -> logs.LogAppend:
    return logs.LogAppend(ns, log_id, tuple(raw(item) for item in items), if_next)


def log_read(log_id: str, ns: tuple[str, ...] = NS, **fields: Any) -> logs.LogRead:
    return logs.LogRead(ns, log_id, **fields)


# -- conversations --------------------------------------------------------------------------------------------------


def create(
    conversation_id: str | None = None, metadata: object = None, ns: tuple[str, ...] = NS
) -> conversations.ConversationCreate:
    return conversations.ConversationCreate(ns, conversation_id, None if metadata is None else raw(metadata))


def message(content: str, message_id: str | None = None, role: Any = "user", **fields: Any) -> conversations.NewMessage:
    return conversations.NewMessage(role, content, message_id, **fields)


def say(
    conversation_id: str,
    *messages: conversations.NewMessage | str,
    ns: tuple[str, ...] = NS,
    skip_duplicates: bool = False,
) -> conversations.ConversationAppend:
    made = tuple(message(each) if isinstance(each, str) else each for each in messages)
    return conversations.ConversationAppend(ns, conversation_id, made, skip_duplicates)


def chat(conversation_id: str, ns: tuple[str, ...] = NS, **fields: Any) -> conversations.ConversationHistory:
    return conversations.ConversationHistory(ns, conversation_id, **fields)


# -- memories -------------------------------------------------------------------------------------------------------


def vector(*components: float) -> bytes:
    return struct.pack(f"<{len(components)}f", *components)


def memory(text: str, memory_id: str | None = None, **fields: Any) -> memories.NewMemory:
    metadata = fields.pop("metadata", None)
    return memories.NewMemory(text, memory_id, metadata=None if metadata is None else raw(metadata), **fields)


def add(*added: memories.NewMemory | str, ns: tuple[str, ...] = NS, if_new: bool = False) -> memories.MemoryAdd:
    made = tuple(memory(each) if isinstance(each, str) else each for each in added)
    return memories.MemoryAdd(ns, made, if_new)


def space(name: str, dimensions: int = 2, ns: tuple[str, ...] = NS, **fields: Any) -> vector_spaces.SpaceCreate:
    return vector_spaces.SpaceCreate(ns, name, dimensions, **fields)


# -- several at once ------------------------------------------------------------------------------------------------


def transaction(*operations: Write, guards: Sequence[transactions.Guard] = ()) -> transactions.Transaction:
    return transactions.Transaction(tuple(guards), operations)  # type: ignore[arg-type]  # any write, to be refused


def batch(*operations: Write) -> transactions.Batch:
    return transactions.Batch(operations)  # type: ignore[arg-type]  # any write, to be refused


def guard(kind: Kind, key: str, revision: int, ns: tuple[str, ...] = NS) -> transactions.RecordGuard:
    return transactions.RecordGuard(int(kind), ns, key, revision)


def configure(
    history_count: int | None, history_age_us: int | None = None, ns: tuple[str, ...] = NS
) -> connection.NamespaceConfigure:
    return connection.NamespaceConfigure(ns, history_count, history_age_us)
