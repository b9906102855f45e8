"""Every bad request gets its own error, which names the field; nothing is written, and the connection lives on."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from recollectd.protocol import errors, limits, table
from recollectd.protocol.messages import connection, conversations, fields, logs, state, transactions
from recollectd.storage.keyspace import Family
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, expect, frame, put, raw, refusal

INVALID: Final = errors.InvalidArgument.row.code
MESSAGE: Final = errors.InvalidMessage.row.code
LARGE: Final = errors.TooLarge.row.code
MISSING: Final = errors.NotFound.row.code
CURSOR: Final = errors.InvalidCursor.row.code
SHARD: Final = errors.CrossShard.row.code
EXISTS: Final = errors.AlreadyExists.row.code

MANY: Final = limits.OPERATIONS_PER_FRAME_MAX + 1
ONE: Final[Any] = 1
DEEP: Final[Any] = reduce(lambda inner, _: [inner], range(limits.VALUE_DEPTH_MAX + 1), ONE)
NOT_UTF8: Final = b"\xa2\xc3\x28"  # a msgpack text of two bytes that are no UTF-8
SURROGATE: Final = b"\xa3\xed\xa0\x80"


class Bad(NamedTuple):
    """A request that must be refused: a message, or a body in bytes."""

    name: str
    request: fields.Message | bytes
    code: int
    field: str


def text_at(message: fields.Message, mark: str, replacement: bytes = NOT_UTF8) -> bytes:
    """Return the message's body with one text in it replaced by bytes that are no text."""
    body = table.encode(message)
    packed = msgspec.msgpack.encode(mark)
    assert body.count(packed) == 1
    return body.replace(packed, replacement)


def body(*parts: Any) -> bytes:
    return msgspec.msgpack.encode(parts)


def append(role: str = "user", content: str = "x", **more: Any) -> bytes:
    """Return an append of one message that the library's own types would not let through."""
    message = [role, content, more.get("message_id"), more.get("valid_at"), more.get("metadata")]
    return body(49, NAMESPACE, "chat", [message])


def said(content: str, chat: str = "chat") -> conversations.ConversationAppend:
    return conversations.ConversationAppend(NAMESPACE, chat, (conversations.NewMessage("user", content),))


LABELS: Final = (
    Bad("no labels", put("k", namespace=()), INVALID, "namespace"),
    Bad("an empty label", put("k", namespace=("a", "")), INVALID, "namespace[1]"),
    Bad("an overlong label", put("k", namespace=("a" * 129,)), INVALID, "namespace[0]"),
    Bad("an overlong label in bytes", put("k", namespace=("a", "é" * 65)), INVALID, "namespace[1]"),
    Bad("too many labels", put("k", namespace=("a",) * 17), INVALID, "namespace"),
    Bad("a label not UTF-8", text_at(put("k", namespace=("a", "mark")), "mark"), MESSAGE, "namespace[1]"),
    Bad("a label to copy to", logs.LogCopy(NAMESPACE, "l", ("",), "m"), INVALID, "target_namespace[0]"),
    Bad("a label to watch", transactions.Watch(("",)), INVALID, "namespace[0]"),
    Bad("a label to list", connection.NamespaceList(("",)), INVALID, "prefix[0]"),
    Bad("a label to scan", state.StateScan(("a", "")), INVALID, "namespace[1]"),
)

NAMES: Final = (
    Bad("an empty key", put(""), INVALID, "key"),
    Bad("an overlong key", put("k" * 1_025), INVALID, "key"),
    Bad("a key not UTF-8", text_at(put("mark"), "mark"), MESSAGE, "key"),
    Bad("a key with a surrogate", text_at(put("mark"), "mark", SURROGATE), MESSAGE, "key"),
    Bad("an empty key among many", state.StateGetMany(NAMESPACE, ("a", "")), INVALID, "keys[1]"),
    Bad(
        "an overlong key among items",
        state.StatePutMany(NAMESPACE, (state.StateItem("a", raw(1)), state.StateItem("b" * 1_025, raw(1)))),
        INVALID,
        "items[1].key",
    ),
    Bad("an empty log id", logs.LogAppend(NAMESPACE, "", (raw(1),)), INVALID, "log_id"),
    Bad("an empty target", logs.LogCopy(NAMESPACE, "l", NAMESPACE, ""), INVALID, "target_id"),
    Bad("an empty conversation id", conversations.ConversationCreate(NAMESPACE, ""), INVALID, "conversation_id"),
    Bad(
        "an overlong conversation id",
        conversations.ConversationHead(NAMESPACE, "c" * 1_025),
        INVALID,
        "conversation_id",
    ),
    Bad("an empty message id", append(message_id=""), INVALID, "messages[0].message_id"),
    Bad("an overlong message id", append(message_id="m" * 257), INVALID, "messages[0].message_id"),
    Bad("an overlong prefix", state.StateScan(NAMESPACE, "p" * 1_025), INVALID, "prefix"),
    Bad("an overlong pattern", state.StateScan(NAMESPACE, pattern="*" * 1_025), INVALID, "pattern"),
    Bad("a pattern not UTF-8", text_at(state.StateScan(NAMESPACE, "", "mark"), "mark"), MESSAGE, "pattern"),
    Bad("an overlong prefix to watch", transactions.Watch(NAMESPACE, "p" * 1_025), INVALID, "prefix"),
)

CONTENTS: Final = (
    Bad("an oversized value", put("k", bytes(limits.VALUE_BYTES_MAX)), LARGE, "value"),
    Bad("an oversized item", logs.LogAppend(NAMESPACE, "l", (raw(bytes(limits.VALUE_BYTES_MAX)),)), LARGE, "items[0]"),
    Bad("a value too deep", put("k", DEEP), INVALID, "value"),
    Bad("a value with text not UTF-8", text_at(put("k", ["mark"]), "mark"), INVALID, "value"),
    Bad("empty content", append(content=""), INVALID, "messages[0].content"),
    Bad("oversized content", said("x" * (limits.CONTENT_BYTES_MAX + 1)), INVALID, "messages[0].content"),
    Bad("content not UTF-8", text_at(said("mark"), "mark"), MESSAGE, "messages[0].content"),
    Bad("a bad role", append(role="system"), INVALID, "messages[0].role"),
    Bad("an empty role", append(role=""), INVALID, "messages[0].role"),
    Bad("metadata that is no map", append(metadata=[1]), INVALID, "messages[0].metadata"),
    Bad("metadata with other keys", append(metadata={1: 2}), INVALID, "messages[0].metadata"),
    Bad("oversized metadata", append(metadata={"x": "y" * limits.METADATA_BYTES_MAX}), LARGE, "messages[0].metadata"),
    Bad("oversized metadata of its own", body(48, NAMESPACE, "c", {"x": bytes(70_000)}), LARGE, "metadata"),
    Bad("no items", logs.LogAppend(NAMESPACE, "l", ()), INVALID, "items"),
    Bad("too many items", logs.LogAppend(NAMESPACE, "l", (raw(1),) * MANY), INVALID, "items"),
    Bad("no records", state.StatePutMany(NAMESPACE, ()), INVALID, "items"),
    Bad("a record twice", state.StatePutMany(NAMESPACE, (state.StateItem("a", raw(1)),) * 2), INVALID, "items"),
    Bad("no keys for values", state.StateGetValues(NAMESPACE, ()), INVALID, "keys"),
    Bad("no keys", state.StateGetMany(NAMESPACE, ()), INVALID, "keys"),
    Bad("too many keys", state.StateGetMany(NAMESPACE, ("k",) * MANY), INVALID, "keys"),
    Bad("no messages", conversations.ConversationAppend(NAMESPACE, "chat", ()), INVALID, "messages"),
)

TIMES: Final = (
    Bad("NaN as a time", body(17, NAMESPACE, "k", None, math.nan), MESSAGE, "as_of"),
    Bad("infinity as a time", body(33, NAMESPACE, "l", None, None, None, math.inf), MESSAGE, "since"),
    Bad("NaN as the time of a message", append(valid_at=math.nan), MESSAGE, "messages[0].valid_at"),
    Bad("NaN as a time to live", body(16, NAMESPACE, "k", 1, math.nan), MESSAGE, "ttl_us"),
    Bad("a negative time", body(17, NAMESPACE, "k", None, -1), INVALID, "as_of"),
    Bad("a time after the last", body(17, NAMESPACE, "k", None, limits.TIME_US_MAX + 1), INVALID, "as_of"),
    Bad("a negative time to live", body(16, NAMESPACE, "k", 1, -1), INVALID, "ttl_us"),
    Bad("no time to live", body(16, NAMESPACE, "k", 1, 0), INVALID, "ttl_us"),
    Bad("too long a time to live", body(22, NAMESPACE, "k", limits.TTL_US_MAX + 1), INVALID, "ttl_us"),
    Bad("a time as text", body(17, NAMESPACE, "k", None, "now"), MESSAGE, "as_of"),
)

CHOICES: Final = (
    Bad("sliding without a time to live", put("k", sliding=True), INVALID, "sliding"),
    Bad("absent and at a version", put("k", if_absent=True, if_version=3), INVALID, "if_absent"),
    Bad("a version and a time", state.StateGet(NAMESPACE, "k", 1, 5), INVALID, "as_of"),
    Bad("version 0", state.StateGet(NAMESPACE, "k", 0), INVALID, "version"),
    Bad("a negative version", body(18, NAMESPACE, "k", -1), INVALID, "if_version"),
    Bad("a limit of 0", state.StateScan(NAMESPACE, limit=0), INVALID, "limit"),
    Bad("a limit too high", state.StateScan(NAMESPACE, limit=10_001), INVALID, "limit"),
    Bad("a pop of none", logs.LogPopLast(NAMESPACE, "l", 0), INVALID, "count"),
    Bad("nothing to truncate", logs.LogTruncate(NAMESPACE, "l"), INVALID, "before"),
    Bad("a truncation inside out", logs.LogTruncate(NAMESPACE, "l", 5, 3), INVALID, "after"),
    Bad("no history", connection.NamespaceConfigure(NAMESPACE, 0, None), INVALID, "history_count"),
    Bad("negative history", body(4, NAMESPACE, None, -1), INVALID, "history_age_us"),
    Bad("an unknown kind to watch", transactions.Watch(NAMESPACE, kinds=(1, 9)), INVALID, "kinds"),
    Bad("a watch of the future", transactions.Watch(NAMESPACE, position=10_000), INVALID, "position"),
    Bad("an end of no watch", transactions.Unwatch(5), MISSING, "request_id"),
    Bad(
        "an unknown kind to guard",
        transactions.Transaction((transactions.RecordGuard(9, NAMESPACE, "k", 0),), ()),
        INVALID,
        "guards[0].kind",
    ),
    Bad(
        "a bad operation",
        transactions.Batch((put("k"), put("k", sliding=True))),
        INVALID,
        "operations[1].sliding",
    ),
    Bad("an operation of an unknown tag", body(65, [[4_000, NAMESPACE]]), MESSAGE, "operations[0]"),
    Bad("an operation that is none", body(65, [[17, NAMESPACE, "k"]]), MESSAGE, "operations[0]"),
    Bad("too many operations", transactions.Batch((put("k"),) * MANY), INVALID, "operations"),
    Bad("two shards", transactions.Batch((put("k"), put("k", namespace=("other",)))), SHARD, "namespace"),
    Bad("a copy to another shard", logs.LogCopy(NAMESPACE, "l", ("other",), "m"), SHARD, "namespace"),
)

ABSENT: Final = (
    Bad("a message to nobody", said("x", chat="nowhere"), MISSING, "conversation_id"),
    Bad("the history of nothing", conversations.ConversationHistory(NAMESPACE, "nowhere"), MISSING, "conversation_id"),
    Bad(
        "a message that is not there",
        conversations.ConversationHistory(NAMESPACE, "chat", before_id="m"),
        MISSING,
        "before_id",
    ),
    Bad("a touch of nothing", state.StateTouch(NAMESPACE, "nowhere", 1), MISSING, "key"),
    Bad("a copy of nothing", logs.LogCopy(NAMESPACE, "nowhere", NAMESPACE, "m"), MISSING, "log_id"),
    Bad("a conversation twice", conversations.ConversationCreate(NAMESPACE, "chat"), EXISTS, "conversation_id"),
    Bad("a copy onto another", logs.LogCopy(NAMESPACE, "l", NAMESPACE, "l"), EXISTS, "target_id"),
)

CURSORS: Final = (
    Bad("a damaged cursor", state.StateScan(NAMESPACE, cursor=b"damaged"), CURSOR, "cursor"),
    Bad("an overlong cursor", state.StateCount(NAMESPACE, cursor=bytes(limits.CURSOR_BYTES_MAX + 1)), CURSOR, "cursor"),
    Bad("a damaged cursor of a delete", state.StateDeletePrefix(NAMESPACE, "", cursor=b"\x00"), CURSOR, "cursor"),
    Bad("a damaged cursor of logs", logs.LogList(NAMESPACE, cursor=b"\x91\x01"), CURSOR, "cursor"),
    Bad("a damaged cursor of namespaces", connection.NamespaceList(cursor=b"\xc0"), CURSOR, "cursor"),
    Bad("a damaged cursor of conversations", conversations.ConversationList(NAMESPACE, cursor=b"x"), CURSOR, "cursor"),
)

ALL: Final = (*LABELS, *NAMES, *CONTENTS, *TIMES, *CHOICES, *ABSENT, *CURSORS)


def rows_of(manual: ManualDaemon) -> dict[Family, dict[bytes, bytes]]:
    """Return all rows but those that say how far the journal is applied."""
    return {family: dict(rows) for family, rows in manual.engine.families.items() if family is not Family.META}


def furnish(peer: Peer) -> None:
    peer.ask(conversations.ConversationCreate(NAMESPACE, "chat"))
    peer.ask(logs.LogAppend(NAMESPACE, "l", (raw(1),)))


@pytest.mark.parametrize("bad", ALL, ids=[bad.name for bad in ALL])
def test_bad_input_is_named_and_writes_nothing(manual: ManualDaemon, bad: Bad) -> None:
    peer = manual.connect()
    furnish(peer)
    before = rows_of(manual)
    if isinstance(bad.request, bytes):
        peer.feed(frame(bad.request, 99, number=3, span=2))
        reply = peer.answer(99).reply
    else:
        reply = peer.ask(bad.request)
    assert refusal(reply) == (bad.code, bad.field)
    assert expect(connection.ErrorReply, reply).message
    assert rows_of(manual) == before
    assert expect(state.StateStored, peer.ask(put("k"), number=9)).version == 1, "the connection lives on"


def test_the_header_is_checked(manual: ManualDaemon) -> None:
    peer = manual.connect()
    for request in (put("k"), state.StateGet(NAMESPACE, "k")):
        assert refusal(peer.ask(request, flags=0x82)) == (INVALID, "flags")
        assert refusal(peer.ask(request, deadline_ms=limits.DEADLINE_MS_MAX + 1)) == (INVALID, "deadline_ms")
    assert manual.journal.last_seq == 0


def test_a_cursor_of_another_query_is_refused(manual: ManualDaemon) -> None:
    peer = manual.connect()
    for index in range(3):
        peer.ask(put(f"k{index}"))
    cursor = expect(state.StatePage, peer.ask(state.StateScan(NAMESPACE, "k", limit=1))).cursor
    others: tuple[fields.Message, ...] = (
        state.StateScan(NAMESPACE, "k", reverse=True, limit=1, cursor=cursor),
        state.StateScan(("acme",), "k", limit=1, cursor=cursor),
        state.StateScan(NAMESPACE, "", limit=1, cursor=cursor),
        logs.LogList(NAMESPACE, "k", cursor=cursor),
    )
    for other in others:
        assert refusal(peer.ask(other)) == (CURSOR, "cursor")
    page = expect(state.StatePage, peer.ask(state.StateScan(NAMESPACE, "k", limit=5, cursor=cursor)))
    assert [record.key for record in page.records] == ["k1", "k2"]


def test_a_cursor_of_another_store_is_refused(manual: ManualDaemon) -> None:
    peer = manual.connect()
    for index in range(3):
        peer.ask(put(f"k{index}"))
    scan = state.StateScan(NAMESPACE, "k", limit=1)
    cursor = bytearray(expect(state.StatePage, peer.ask(scan)).cursor)
    parts = msgspec.msgpack.decode(bytes(cursor))
    for index in range(len(cursor)):
        damaged = bytes((*cursor[:index], cursor[index] ^ 1, *cursor[index + 1 :]))
        assert refusal(peer.ask(state.StateScan(NAMESPACE, "k", limit=1, cursor=damaged))) == (CURSOR, "cursor")
    foreign = msgspec.msgpack.encode([parts[0], bytes(8), *parts[2:]])
    assert refusal(peer.ask(state.StateScan(NAMESPACE, "k", limit=1, cursor=foreign))) == (CURSOR, "cursor")


def test_one_bad_operation_of_a_transaction_refuses_all(manual: ManualDaemon) -> None:
    peer = manual.connect()
    operations = (put("a"), logs.LogAppend(NAMESPACE, "l", (raw(1),)), put("b", if_version=7))
    reply = peer.ask(transactions.Transaction((), operations))
    assert refusal(reply) == (errors.VersionConflict.row.code, "operations[2].if_version")
    assert not any(rows_of(manual).values())
