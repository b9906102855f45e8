"""The bytes on disk: keys, rows and commits, held against a file that may only grow.

`pytest tests/memory/test_golden.py --rewrite` writes the file anew; a changed line in its diff is a store that cannot
be read any more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from memory.asking import raw
from recollectd._native.session import Outcome
from recollectd.memory import commits, cursors
from recollectd.memory.apply import writes_of
from recollectd.memory.commits import Commit, SessionsForgotten
from recollectd.memory.conversations import events as conversations
from recollectd.memory.conversations import ids
from recollectd.memory.kind import Event
from recollectd.memory.logs import events as logs
from recollectd.memory.memories import events as memories
from recollectd.memory.memories import heads
from recollectd.memory.message_vectors import events as message_vectors
from recollectd.memory.sessions import Sessions
from recollectd.memory.settings import events as settings
from recollectd.memory.settings import search as search_settings
from recollectd.memory.state import events as state
from recollectd.protocol import table
from recollectd.protocol.messages.fields import Kind
from recollectd.storage import keyspace

GOLDEN: Final = Path(__file__).parent / "golden.json"

AT: Final = 1_800_000_000_000_000
NS: Final = ("acme", "agent-7")
KEY: Final = keyspace.record_key(Kind.STATE, NS, "k\0é")
LOG: Final = keyspace.record_key(Kind.LOG, NS, "l")
CHAT: Final = keyspace.record_key(Kind.CONVERSATION, NS, "c")
SESSION: Final = bytes(range(16))

STATE_HEAD: Final = state.StateHead(5, 2, 77, AT, AT + 1, AT + 9, 8, True, True, 300)
LOG_HEAD: Final = logs.LogHead(3, 9, 78, 11, 70, AT, AT + 2, 40)
CHAT_HEAD: Final = conversations.ConversationHead(0, 2, 79, 12, 12, AT, AT + 3_000_000, 50, raw({"topic": "x"}), True)
MESSAGES: Final = (
    conversations.MessageEntry("m-1", "user", "Grüße", AT + 3_000_000, AT - 1, raw({"n": 1})),
    conversations.MessageEntry("0000000001-0123456789ab", "assistant", "Hello", AT + 3_000_000),
)

MEMORY: Final = keyspace.record_key(Kind.MEMORY, NS, "m")
MEMORY_HEAD: Final = heads.MemoryHead(
    5, 2, 77, AT, AT + 1, AT + 9, 8, True, True, 300, "c", 4, b"0" * 32, AT + 5, AT + 6, "n", True, 3, AT + 7
)
MEMORY_BODY: Final = heads.MemoryBody(
    "Ada likes tea", "fact", raw({"n": 1}), 0.5, True, AT - 1, (52.5, 13.4), ("m-1",), "c"
)
SETTINGS: Final = search_settings.settings_key(NS)
SEARCH_HEAD: Final = search_settings.SearchHead("german", False, False, True, 71, "memories", MEMORY, True, True, True)
MESSAGE_VECTORS: Final = keyspace.message_vectors_key(CHAT)
MESSAGE_VECTORS_HEAD: Final = message_vectors.MessageVectorsHead(3, 5, 12, 73, 72, 30)
VECTORS: Final = raw({"mini": [3, b"\0\0\x80\x3f"]})
SPACE_HEAD: Final = heads.SpaceHead(384, "cosine", "i8", "a model", AT, 70, 71, "other")

EVENTS: Final[tuple[Event, ...]] = (
    state.Written(KEY, STATE_HEAD, raw({"a": b"\0"}), AT + 4, 1),
    state.Removed(KEY, STATE_HEAD, True, AT + 4, 1),
    state.Touched(KEY, STATE_HEAD, AT + 4, True),
    state.Pruned(KEY, STATE_HEAD, 1),
    state.Purged(KEY, 2, 5),
    logs.Appended(LOG, LOG_HEAD, 7, (raw("x"), raw(2)), (AT, AT + 1)),
    logs.Truncated(LOG, LOG_HEAD, 1, 30),
    logs.Deleted(LOG, 3, 9),
    conversations.Created(CHAT, CHAT_HEAD),
    conversations.MessagesAppended(CHAT, CHAT_HEAD, 0, MESSAGES, (0,), AT // 1_000_000),
    conversations.ConversationDeleted(CHAT, 0, 2, 12, AT // 1_000_000, True, True),
    message_vectors.MessageVectorsSet(MESSAGE_VECTORS, MESSAGE_VECTORS_HEAD, ((3, VECTORS), (4, VECTORS)), True),
    message_vectors.MessageVectorsStripped(
        MESSAGE_VECTORS, MESSAGE_VECTORS_HEAD, ((3, VECTORS), (4, message_vectors.NO_VECTORS))
    ),
    message_vectors.MessageVectorsDropped(MESSAGE_VECTORS, 3, 5),
    memories.MemoryWritten(MEMORY, MEMORY_HEAD, raw(["text"]), raw({"mini": [3, b"\0\0\x80\x3f"]}), AT + 4, 1),
    memories.MemoryRemoved(MEMORY, MEMORY_HEAD, True, AT + 4, 1),
    memories.MemoryHidden(MEMORY, MEMORY_HEAD),
    memories.MemoryPruned(MEMORY, MEMORY_HEAD, 1),
    memories.MemoryPurged(MEMORY, 2, 5),
    memories.MemoryEmbedded(MEMORY, MEMORY_HEAD, raw({"mini": [3, b"\0\0\x80\x3f"]})),
    memories.MemoryStripped(MEMORY, MEMORY_HEAD, raw({"mini": [3, b"\0\0\x80\x3f"]})),
    memories.MemoryAccessed(MEMORY, MEMORY_HEAD),
    memories.ThreadGrown(heads.thread_key(MEMORY, "c"), heads.ThreadHead(5)),
    memories.TextNoted(heads.text_key(MEMORY, b"0" * 32), heads.TextHead(("m", "n"))),
    memories.SpaceSet(keyspace.kind_prefix(Kind.VECTOR_SPACE, NS, "mini"), SPACE_HEAD),
    memories.SpaceDropped(keyspace.kind_prefix(Kind.VECTOR_SPACE, NS, "mini")),
    memories.SpaceSwept(heads.dropped_space_key(MEMORY, 70), heads.DroppedSpaceHead("mini", 70, MEMORY)),
    settings.SettingsChanged(keyspace.kind_prefix(Kind.SETTINGS, NS), settings.HistoryPolicy(3, 4)),
    search_settings.SearchConfigured(SETTINGS, SEARCH_HEAD),
    search_settings.SearchRebuilt(SETTINGS, SEARCH_HEAD, (MEMORY, keyspace.messages_key(CHAT, 3, 4))),
    SessionsForgotten(b"", (SESSION,)),
)


def commit_of(*events: Event) -> Commit:
    return Commit(AT + 5, "uid:1000", 16, SESSION, 9, 4, 2**64 - 1, b"\x91\x04", events)


def session_row() -> bytes:
    sessions = Sessions()
    for number in (1, 2):
        sessions.apply(40 + number, Commit(AT, "uid:1000", 16, SESSION, number, 1, 99, b"\x91\x04", ()))
    ((_, family, key, row),) = sessions.checkpoint()
    assert (family, key) == (keyspace.Family.INDEX, keyspace.session_key(SESSION))
    return row


def keys() -> dict[str, bytes]:
    return {
        "namespace": keyspace.namespace_bytes(NS),
        "namespace prefix": keyspace.namespace_prefix(NS),
        "state": KEY,
        "log": LOG,
        "conversation": CHAT,
        "settings": keyspace.kind_prefix(Kind.SETTINGS, NS),
        "memory": MEMORY,
        "vectors": heads.vectors_key(MEMORY),
        "place in a conversation": keyspace.thread_row_key(keyspace.path(heads.thread_key(MEMORY, "c")), 4),
        "change": keyspace.change_key(77, MEMORY),
        "messages": keyspace.messages_key(CHAT, 3, 4),
        "vectors of messages": keyspace.row_key(keyspace.path(MESSAGE_VECTORS), 4),
        "noted vectors of messages": keyspace.noted_vectors_key(MESSAGE_VECTORS, 3, 4),
        "search settings": SETTINGS,
        "embedded": heads.embedded_key(MEMORY),
        "dropped space": heads.dropped_space_key(MEMORY, 70),
        "prefix": keyspace.kind_prefix(Kind.STATE, NS, "k\0"),
        "after prefix": keyspace.after_prefix(keyspace.kind_prefix(Kind.STATE, NS)),
        "path": keyspace.path(KEY),
        "version or entry": keyspace.row_key(keyspace.path(KEY), 0x0102030405060708),
        "expiry": keyspace.expiry_key(AT, KEY),
        "last use": keyspace.last_use_key(CHAT, AT // 1_000_000),
        "message id": ids.fact_key(CHAT, 12, "m-1"),
        "session": keyspace.session_key(SESSION),
        "applied": keyspace.APPLIED_KEY,
        "sessions": keyspace.SESSIONS_KEY,
        "changes trimmed": keyspace.CHANGES_TRIMMED_KEY,
    }


def rows() -> dict[str, bytes]:
    return {
        "state head": table.encode(STATE_HEAD),
        "log head": table.encode(LOG_HEAD),
        "conversation head": table.encode(CHAT_HEAD),
        "memory head": table.encode(MEMORY_HEAD),
        "memory": table.encode(MEMORY_BODY),
        "vectors": bytes(heads.pack_vectors({"mini": heads.StoredVector(3, b"\0\0\x80\x3f")})),
        "search settings": table.encode(SEARCH_HEAD),
        "dropped space": table.encode(heads.DroppedSpaceHead("mini", 70, MEMORY)),
        "conversation of memories": table.encode(heads.ThreadHead(5)),
        "memories of a text": table.encode(heads.TextHead(("m", "n"))),
        "space head": table.encode(SPACE_HEAD),
        "head of vectors of messages": table.encode(MESSAGE_VECTORS_HEAD),
        "settings head": table.encode(settings.HistoryPolicy(3, 4)),
        "version": state.pack_version(state.VersionRow(AT, AT + 1, AT + 2, False, bytes(raw("value")))),
        "deletion": state.pack_version(state.VersionRow(AT, AT + 1, 0, True, b"")),
        "item": logs.pack_item(AT, raw({"n": 1})),
        "message": table.encode(MESSAGES[0]),
        "message without the optional": table.encode(MESSAGES[1]),
        "number": keyspace.pack_number(0x0102030405060708),
        "session": session_row(),
        "cursor": cursors.pack(bytes(range(16)), cursors.query_digest(1, NS, "prefix", "", False), KEY),
    }


def applied(event: Event) -> list[str]:
    writes: list[keyspace.Write] = []
    writes_of(80, commit_of(event), writes)
    names = {keyspace.PUT: "put", keyspace.DELETE: "delete", keyspace.DELETE_RANGE: "delete range"}
    return [f"{names[kind]} {family.name} {key.hex()} {value.hex()}".rstrip() for kind, family, key, value in writes]


def encoded() -> dict[str, Any]:
    return {
        "families": {name: int(family) for family, name in keyspace.FAMILY_NAMES.items()},
        "kinds": {kind.name: int(kind) for kind in Kind},
        "keys": {name: key.hex() for name, key in keys().items()},
        "rows": {name: row.hex() for name, row in rows().items()},
        "commits": {type(event).__name__: commits.encode(commit_of(event)).hex() for event in EVENTS},
        "several": commits.encode(commit_of(*EVENTS[:2])).hex(),
        "applied": {type(event).__name__: applied(event) for event in EVENTS},
    }


@pytest.fixture
def golden(rewrite: bool) -> dict[str, Any]:
    if rewrite:
        GOLDEN.write_text(json.dumps(encoded(), indent=1, ensure_ascii=False) + "\n")
    held: dict[str, Any] = json.loads(GOLDEN.read_text())
    return held


@pytest.mark.parametrize("part", encoded())
def test_bytes_are_the_golden_ones(golden: dict[str, Any], part: str) -> None:
    assert encoded()[part] == golden[part]


def test_golden_commits_decode_to_their_events(golden: dict[str, Any]) -> None:
    for event in EVENTS:
        assert commits.decode(bytes.fromhex(golden["commits"][type(event).__name__])) == commit_of(event)
    assert commits.decode(bytes.fromhex(golden["several"])) == commit_of(*EVENTS[:2])


def test_golden_rows_decode(golden: dict[str, Any]) -> None:
    held = {name: bytes.fromhex(row) for name, row in golden["rows"].items()}
    assert state.decode_head(held["state head"]) == STATE_HEAD
    assert logs.decode_head(held["log head"]) == LOG_HEAD
    assert heads.decode_head(held["memory head"]) == MEMORY_HEAD
    assert heads.decode_body(held["memory"]) == MEMORY_BODY
    assert heads.decode_space(held["space head"]) == SPACE_HEAD
    assert message_vectors.decode_head(held["head of vectors of messages"]) == MESSAGE_VECTORS_HEAD
    assert search_settings.decode_head(held["search settings"]) == SEARCH_HEAD
    assert heads.decode_dropped_space(held["dropped space"]) == heads.DroppedSpaceHead("mini", 70, MEMORY)
    assert heads.unpack_vectors(held["vectors"]) == {"mini": (3, b"\0\0\x80\x3f")}
    assert conversations.decode_head(held["conversation head"]) == CHAT_HEAD
    assert state.unpack_version(held["version"]) == (AT, AT + 1, AT + 2, False, b"\xa5value")
    assert state.unpack_version(held["deletion"]) == (AT, AT + 1, 0, True, b"")
    assert logs.unpack_item(held["item"]) == (AT, raw({"n": 1}))
    assert conversations.decode_entry(held["message"]) == MESSAGES[0]
    assert conversations.decode_entry(held["message without the optional"]) == MESSAGES[1]
    assert keyspace.unpack_number(held["number"]) == 0x0102030405060708
    sessions = Sessions()
    sessions.load([(keyspace.session_key(SESSION), held["session"])])
    assert sessions.outcome(SESSION, 2, 99) == Outcome(99, 42, b"\x91\x04")
    query = cursors.query_digest(1, NS, "prefix", "", False)
    assert cursors.unpack(held["cursor"], bytes(range(16)), query) == KEY


def test_golden_keys_come_apart(golden: dict[str, Any]) -> None:
    held = {name: bytes.fromhex(key) for name, key in golden["keys"].items()}
    assert keyspace.split_record_key(held["state"]) == (Kind.STATE, NS, "k\0é")
    assert keyspace.row_number(held["version or entry"]) == 0x0102030405060708
    assert keyspace.split_expiry_key(held["expiry"]) == (AT, KEY)
    assert keyspace.split_last_use_key(held["last use"]) == (AT // 1_000_000, "c")
    assert ids.split_fact_key(held["message id"]) == (CHAT, 12, "m-1")
    assert keyspace.split_noted_vectors_key(held["noted vectors of messages"]) == (MESSAGE_VECTORS, 3, 4)


def test_every_event_and_head_has_an_example_that_sets_every_field() -> None:
    """A field left at its default could be moved or dropped without its golden bytes saying so."""
    assert {type(event) for event in EVENTS} == {*commits.APPLY, SessionsForgotten}
    examples = (
        *(STATE_HEAD, LOG_HEAD, CHAT_HEAD, MEMORY_HEAD, MEMORY_BODY, SPACE_HEAD, MESSAGE_VECTORS_HEAD),
        *(
            heads.ThreadHead(5),
            heads.TextHead(("m",)),
            heads.DroppedSpaceHead("mini", 70, MEMORY),
            SEARCH_HEAD,
            MESSAGES[0],
            settings.HistoryPolicy(3, 4),
        ),
        *(*EVENTS, commit_of()),
    )
    left = {
        (type(example).__name__, field.name)
        for example in examples
        for field in msgspec.structs.fields(example)
        if not field.required and getattr(example, field.name) == field.default
    }
    assert left == set()
    assert {type(example) for example in examples} >= {kind.head for kind in commits.KINDS}


def test_rows_of_an_older_daemon_lack_the_newest_fields_and_are_read() -> None:
    """Fields are appended with defaults; a head that ends earlier is a head."""
    short = msgspec.msgpack.encode([1, 1, 7, AT, AT])
    assert state.decode_head(short) == state.StateHead(1, 1, 7, AT, AT)
    assert conversations.decode_head(msgspec.msgpack.encode([0, 0, 1, 1, 1, AT, AT, 5])).metadata is None
    assert conversations.decode_entry(msgspec.msgpack.encode(["m", "user", "x", AT])).metadata is None


def test_tags_stay_as_they_are() -> None:
    """A tag given twice would turn one daemon's event into another's."""
    tags = {table.tag_of(type(event)): type(event).__name__ for event in EVENTS}
    assert tags == {
        1: "Written",
        2: "Removed",
        3: "Touched",
        4: "Pruned",
        5: "Purged",
        16: "Appended",
        17: "Truncated",
        18: "Deleted",
        32: "Created",
        33: "MessagesAppended",
        34: "ConversationDeleted",
        48: "MessageVectorsSet",
        49: "MessageVectorsStripped",
        50: "MessageVectorsDropped",
        64: "SettingsChanged",
        65: "SearchConfigured",
        66: "SearchRebuilt",
        96: "MemoryWritten",
        97: "MemoryRemoved",
        98: "MemoryHidden",
        99: "MemoryPruned",
        100: "MemoryPurged",
        101: "ThreadGrown",
        102: "TextNoted",
        103: "MemoryEmbedded",
        104: "MemoryStripped",
        105: "MemoryAccessed",
        112: "SpaceSet",
        113: "SpaceDropped",
        114: "SpaceSwept",
        80: "SessionsForgotten",
    }
