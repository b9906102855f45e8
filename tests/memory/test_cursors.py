"""Cursors: they go on where a page ended, over restarts, and are refused when damaged or out of place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from memory.asking import NS, append, count, create, delete, key_of, put, scan
from memory.harness import SECOND, STORE_ID, Store
from recollectd.memory import cursors
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.connection import NamespaceList
from recollectd.protocol.messages.conversations import ConversationList
from recollectd.protocol.messages.fields import Request, Write
from recollectd.protocol.messages.logs import LogList
from recollectd.protocol.messages.state import StateDeletePrefix

OTHER = ("acme", "other")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(limits, "SCAN_KEYS_EXAMINED_MAX", 3)
    store = Store()
    for ns in (NS, OTHER):
        for index in range(6):
            store.write(put(f"k{index}", index, ns))
            store.write(append(f"k{index}", index, ns=ns))
            store.write(create(f"k{index}", ns=ns))
            store.now += SECOND
    return store


def queries(cursor: bytes = b"") -> dict[str, Request]:
    """One query of each sort, and variants of it that walk other rows or another way."""
    return {
        "scan": scan(limit=2, cursor=cursor),
        "scan backwards": scan(limit=2, cursor=cursor, reverse=True),
        "scan a prefix": scan(limit=2, cursor=cursor, prefix="k"),
        "scan a pattern": scan(limit=2, cursor=cursor, pattern="k*"),
        "scan another namespace": scan(OTHER, limit=2, cursor=cursor),
        "delete": StateDeletePrefix(NS, "k", 1, cursor),
        "logs": LogList(NS, limit=2, cursor=cursor),
        "logs by prefix": LogList(NS, "k", limit=2, cursor=cursor),
        "conversations": ConversationList(NS, limit=2, cursor=cursor),
        "other conversations": ConversationList(OTHER, limit=2, cursor=cursor),
        "namespaces": NamespaceList(limit=1, cursor=cursor),
        "namespaces below": NamespaceList(("acme",), limit=1, cursor=cursor),
    }


def ask(store: Store, request: Request) -> Any:
    return store.write(request) if isinstance(request, Write) else store.read(request)


@pytest.mark.parametrize("one", queries())
@pytest.mark.parametrize("other", queries())
def test_a_cursor_belongs_to_its_query(store: Store, one: str, other: str) -> None:
    cursor = ask(store, queries()[one]).cursor
    assert cursor
    same = one == other or {one, other} == {"scan a prefix", "delete"}
    if same:
        ask(store, queries(cursor)[other])
        return
    with pytest.raises(errors.InvalidCursor) as refused:
        ask(store, queries(cursor)[other])
    assert refused.value.field == "cursor"


def test_a_count_goes_on_where_it_stopped(store: Store) -> None:
    first = store.read(count())
    assert first.count == 3
    assert store.read(count(cursor=first.cursor)).count == 3


def test_a_cursor_survives_a_restart_and_its_record(store: Store) -> None:
    page = store.read(scan(limit=2))
    store.write(delete("k1"))
    store.checkpoint()
    store.crash()
    after = store.read(scan(limit=2, cursor=page.cursor))
    assert [record.key for record in after.records] == ["k2", "k3"]


def test_a_stale_cursor_is_one_whose_store_is_another(store: Store) -> None:
    query = cursors.query_digest("anything")
    cursor = cursors.pack(b"another store's id", query, b"place")
    with pytest.raises(errors.InvalidCursor, match="another store"):
        cursors.unpack(cursor, STORE_ID, query)
    with pytest.raises(errors.InvalidCursor, match="another query"):
        cursors.unpack(cursors.pack(STORE_ID, query, b"place"), STORE_ID, cursors.query_digest("anything", 1))


def damaged(cursor: bytes) -> Iterable[bytes]:
    for at in range(len(cursor)):
        for bit in (1, 0x10, 0x80):
            yield cursor[:at] + bytes((cursor[at] ^ bit,)) + cursor[at + 1 :]
        yield cursor[:at] or b"\x90"
    yield cursor + b"\0"
    yield b"text"
    yield b"\xc0"
    yield b"\x95" + b"\xc4\x00" * 5
    yield b"\x00" * (limits.CURSOR_BYTES_MAX + 1)
    # A sixth field, as a later version may have one, nested so deep that skipping it is refused by the decoder.
    yield b"\x96" + cursor[1:] + b"\x91" * 3_500 + b"\xc0"
    yield b"\x91" * limits.CURSOR_BYTES_MAX


def test_every_damage_is_found(store: Store) -> None:
    cursor = store.read(scan(limit=2)).cursor
    for broken in damaged(cursor):
        with pytest.raises(errors.InvalidCursor) as refused:
            store.read(scan(limit=2, cursor=broken))
        assert refused.value.field == "cursor"


@pytest.mark.parametrize("place", [b"\x01", key_of("k3", OTHER), key_of("k3") + b"\xff", b"\xff", key_of("a")])
def test_a_place_outside_the_query_is_refused(store: Store, place: bytes) -> None:
    """Who makes cursors up gets no further than a refusal: the namespace of the query binds."""
    request = scan(prefix="k", limit=2)
    good = msgspec.msgpack.decode(store.read(request).cursor)
    cursor = cursors.pack(STORE_ID, good[2], place)
    inside = place == key_of("k3") + b"\xff"
    if inside:
        assert [record.key for record in store.read(scan(prefix="k", limit=2, cursor=cursor)).records] == ["k4", "k5"]
        return
    with pytest.raises(errors.InvalidCursor, match="outside"):
        store.read(scan(prefix="k", limit=2, cursor=cursor))


def test_a_place_outside_the_conversations_is_refused(store: Store) -> None:
    good = msgspec.msgpack.decode(store.read(ConversationList(NS, limit=2)).cursor)
    for place in (b"\x81", b"\x83", b"\x82\x01a\0"):
        with pytest.raises(errors.InvalidCursor, match="outside"):
            store.read(ConversationList(NS, limit=2, cursor=cursors.pack(STORE_ID, good[2], place)))


def test_a_place_outside_the_namespaces_is_refused(store: Store) -> None:
    for prefix, place in (((), b"\xff"), (("acme",), b"\x01a\0"), (("acme", "other"), key_of("k", NS)[1:-1])):
        query = cursors.query_digest("namespaces", prefix)
        with pytest.raises(errors.InvalidCursor, match="outside"):
            store.read(NamespaceList(prefix, cursor=cursors.pack(STORE_ID, query, place)))


def test_the_longest_key_fits_in_a_cursor() -> None:
    store = Store()
    longest = ("x" * limits.LABEL_BYTES_MAX,) * limits.NAMESPACE_LABELS_MAX
    for index in range(3):
        store.write(put("k" * (limits.KEY_BYTES_MAX - 1) + str(index), 1, longest))
        store.write(create("k" * (limits.KEY_BYTES_MAX - 1) + str(index), ns=longest))
    for request in (scan(longest, limit=1), ConversationList(longest, limit=1)):
        page = store.read(request)
        assert len(page.cursor) <= limits.CURSOR_BYTES_MAX
        store.read(msgspec.structs.replace(request, cursor=page.cursor))
