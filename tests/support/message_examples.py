"""One example of every message, with every field set to something else than its default."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

from recollectd.protocol.messages import (
    connection,
    conversations,
    erasing,
    fields,
    logs,
    memories,
    search_settings,
    state,
    transactions,
    vector_spaces,
)

NAMESPACE: Final = ("acme", "assistant-7")
BELOW: Final = ("acme", "assistant-8")
AT: Final = 1_800_000_000_000_000
LATER: Final = AT + 1_000_000
SESSION: Final = bytes(range(16))
STORE: Final = bytes(range(16, 32))


def raw(value: object) -> Raw:
    """Return a value as it travels."""
    return Raw(msgspec.msgpack.encode(value))


VALUE: Final = raw({"name": "Ada", "born": 1815, "tags": ["first", b"\x00\xff", None, True, 2.5]})
METADATA: Final = raw({"session": 3})

PUT: Final = state.StatePut(NAMESPACE, "profile", VALUE, 3_600_000_000, True, 4, True)
STORED: Final = state.StateStored(5, AT, LATER, LATER + 1)
RECORD: Final = state.StateRecord("profile", VALUE, 5, AT, LATER, LATER + 1, 77)
LOG_INFO: Final = logs.LogInfo("events", 2, 9, AT, LATER, 78)
CONVERSATION_INFO: Final = conversations.ConversationInfo("chat-1", AT, LATER, 2, METADATA, 79)
ERROR: Final = connection.ErrorReply(202, "the record is at version 5, not 4", "if_version", 250, "e-17")
VECTOR: Final = b"\x00\x00\x80\x3f\x00\x00\x00\xc0"
MESSAGE_NEW: Final = conversations.NewMessage("user", "Hello", "m-1", AT, METADATA, {"mini": VECTOR})
FILTER: Final = 'kind == "fact" and metadata.session >= 3'
MEMORY_NEW: Final = memories.NewMemory(
    "Ada likes tea",
    "fact-1",
    "fact",
    METADATA,
    0.5,
    True,
    AT,
    (52.5, 13.4),
    ("m-1",),
    "chat-1",
    {"mini": VECTOR},
    3_600_000_000,
)
MEMORY: Final = memories.Memory(
    "fact-1",
    "Ada likes tea",
    5,
    AT,
    LATER,
    77,
    "fact",
    METADATA,
    0.5,
    True,
    AT,
    (52.5, 13.4),
    ("m-1",),
    "chat-1",
    4,
    LATER + 1,
    LATER + 2,
    LATER + 3,
    "fact-2",
    {"mini": VECTOR},
    "user",
    9,
    LATER + 4,
)
SEARCH: Final = memories.MemorySearch(
    NAMESPACE,
    "tea",
    {"mini": VECTOR},
    {"keyword": 2.0},
    FILTER,
    7,
    "hybrid",
    AT,
    0.25,
    True,
    True,
    True,
    3_600_000_000,
    0.5,
    0.75,
    0.25,
    0.5,
    b"cursor",
    0.125,
    "both",
    0.125,
    7_200_000_000,
    False,
    96,
    0.75,
)
RECORD_GUARD: Final = transactions.RecordGuard(1, NAMESPACE, "profile", 77)
RANGE_GUARD: Final = transactions.RangeGuard(2, NAMESPACE, 70, LATER)

REQUESTS: Final[tuple[fields.Message, ...]] = (
    connection.Hello(1, 2, "example", SESSION, 60_000, ("watch",)),
    connection.Ping(),
    connection.StatusRequest(True),
    connection.NamespaceConfigure(NAMESPACE, 10, 86_400_000_000),
    connection.NamespaceList(("acme",), 5, b"cursor"),
    PUT,
    state.StateGet(NAMESPACE, "profile", 3, AT),
    state.StateDelete(NAMESPACE, "profile", 5),
    state.StateGetMany(NAMESPACE, ("profile", "plan")),
    state.StateGetValues(NAMESPACE, ("profile", "plan")),
    state.StatePutMany(NAMESPACE, (state.StateItem("a", raw(1)), state.StateItem("b", raw(b"\x02"))), 5_000_000, True),
    state.StateHistory(NAMESPACE, "profile", 3, 9),
    state.StateTouch(NAMESPACE, "profile", 60_000_000),
    state.StateScan(NAMESPACE, "coordination:", "coordination:s1:*", True, 7, b"cursor", False),
    state.StateCount(NAMESPACE, "coordination:", "coordination:s?:*", b"cursor"),
    state.StateDeletePrefix(NAMESPACE, "coordination:", 50, b"cursor"),
    logs.LogAppend(NAMESPACE, "events", (raw("first"), raw({"n": 2})), 9),
    logs.LogRead(NAMESPACE, "events", 2, 8, 3, AT, 4),
    logs.LogPopLast(NAMESPACE, "events", 2),
    logs.LogTruncate(NAMESPACE, "events", 3, 7),
    logs.LogCopy(NAMESPACE, "events", BELOW, "copied"),
    logs.LogDelete(NAMESPACE, "events"),
    logs.LogHead(NAMESPACE, "events"),
    logs.LogList(NAMESPACE, "eve", 3, b"cursor"),
    conversations.ConversationCreate(NAMESPACE, "chat-1", METADATA),
    conversations.ConversationAppend(
        NAMESPACE, "chat-1", (MESSAGE_NEW, conversations.NewMessage("assistant", "Grüße, 世界")), True
    ),
    conversations.ConversationHistory(NAMESPACE, "chat-1", 10, 8, 1, "m-8", "m-1", 5),
    conversations.ConversationList(NAMESPACE, 5, b"cursor"),
    conversations.ConversationHead(NAMESPACE, "chat-1"),
    conversations.ConversationDelete(NAMESPACE, "chat-1"),
    conversations.ConversationVectors(NAMESPACE, "chat-1", 3, 50),
    memories.MemoryAdd(NAMESPACE, (MEMORY_NEW, memories.NewMemory("Grüße")), True),
    memories.MemoryReplace(NAMESPACE, MEMORY_NEW, 3, True),
    memories.MemoryGet(NAMESPACE, ("fact-1", "fact-2"), True),
    memories.MemoryForget(NAMESPACE, "fact-1", 3, True),
    memories.MemorySupersede(NAMESPACE, "fact-1", "fact-2", 3),
    memories.MemoryDelete(NAMESPACE, "fact-1", 3),
    memories.MemoryList(NAMESPACE, FILTER, True, 7, b"cursor", True, "mini", 70),
    memories.MemoryCount(NAMESPACE, FILTER, True, b"cursor", "mini", 70),
    memories.MemoryHistory(NAMESPACE, "fact-1", 3, 9),
    SEARCH,
    memories.MemoryContext(SEARCH, 500, 2),
    search_settings.SearchConfigure(NAMESPACE, "german", False, False, True, True),
    search_settings.SearchSettingsGet(NAMESPACE),
    vector_spaces.SpaceCreate(NAMESPACE, "mini", 2, "dot", "f32", "a model"),
    vector_spaces.SpaceList(NAMESPACE),
    vector_spaces.SpaceDrop(NAMESPACE, "mini"),
    vector_spaces.SpaceAlias(NAMESPACE, "current", "mini"),
    vector_spaces.SpaceEmbed(NAMESPACE, "mini", (vector_spaces.MemoryVector("fact-1", 1, VECTOR),)),
    vector_spaces.SpaceSwitch(NAMESPACE, "current", "mini", 70, True),
    vector_spaces.SpaceEmbedMessages(NAMESPACE, "mini", (vector_spaces.MessageVector("chat-1", 70, 3, VECTOR),)),
    vector_spaces.SpaceLacking(NAMESPACE, "mini", 50, b"cursor", 70, True),
    erasing.Erase(False),
    transactions.Transaction((RECORD_GUARD, RANGE_GUARD), (PUT, logs.LogDelete(NAMESPACE, "events"))),
    transactions.Batch((state.StateDelete(NAMESPACE, "profile"), conversations.ConversationCreate(NAMESPACE))),
    transactions.Watch(NAMESPACE, "coordination:", (1, 3), 70, True),
    transactions.Unwatch(12),
)

REPLIES: Final[tuple[fields.Reply, ...]] = (
    connection.Welcome(1, "0.1.0", STORE, SESSION, "uid:1000", 70, {"frame_bytes_max": 33_554_432}, ("watch",)),
    connection.Pong(AT),
    connection.Status({"process": {"uptime_s": 12.5}}),
    connection.Done(),
    connection.NamespacePage((NAMESPACE, ("acme",)), b"cursor"),
    connection.Deleted(3, False, b"cursor"),
    connection.Counted(12, b"cursor", LATER),
    ERROR,
    STORED,
    RECORD,
    state.Absent(),
    state.StateRecords((RECORD, None)),
    state.StateValues((raw("Ada"), fields.NIL), (1,)),
    state.StateStoredMany((STORED, state.StateStored(1, AT, AT, None))),
    state.StateVersions(
        (state.StateVersion(6, None, LATER, None, True), state.StateVersion(5, VALUE, AT, LATER, False)), 4, 2
    ),
    state.StateTouched(5, LATER),
    state.StatePage((RECORD,), b"cursor", LATER),
    logs.LogAppended(9, 11, AT),
    logs.LogPage((logs.LogItem(2, AT, raw("first")), logs.LogItem(3, LATER, raw({"n": 2}))), 2, 9, 78),
    LOG_INFO,
    logs.LogInfos((LOG_INFO,), b"cursor"),
    conversations.ConversationCreated("chat-1", AT),
    conversations.MessagesStored("chat-1", (conversations.MessageStored("m-1", "user", AT, 4, True),)),
    conversations.History(
        "chat-1",
        (
            conversations.Message("m-1", "user", "Hello", AT, 0, AT - 1, METADATA),
            conversations.Message("m-2", "assistant", "Grüße, 世界", LATER, 1),
        ),
        2,
        79,
    ),
    CONVERSATION_INFO,
    conversations.ConversationPage((CONVERSATION_INFO,), b"cursor"),
    conversations.MessageVectors((conversations.VectorsOfMessage(3, "m-1", {"mini": VECTOR}),), 4),
    memories.MemoriesStored((memories.MemoryStored("fact-1", 5, AT, LATER, True),)),
    memories.Memories((MEMORY, None)),
    memories.MemoryMarked(5, AT, LATER),
    memories.MemoryPage((MEMORY,), b"cursor", LATER, 70),
    memories.MemoryVersions((memories.MemoryVersion(6, LATER, None), memories.MemoryVersion(5, AT, MEMORY_NEW)), 4, 2),
    memories.MemoryResults(
        (
            memories.MemoryResult(
                MEMORY,
                0.5,
                (memories.ScoreDetail("keyword", 2, 3.5, 0.75, 2.0),),
                0.5,
                0.25,
                1.25,
                0.125,
                ((0, 3), (10, 13)),
                0.875,
                1.125,
            ),
        ),
        b"cursor",
    ),
    memories.MemoryRanks(("fact-1", "fact-2"), (0.5, 0.25)),
    memories.ContextText("[2026-01-31] Ada likes tea", ("fact-1",), 7),
    search_settings.SearchSettings("german", False, False, True, True, True),
    vector_spaces.Embedded((True, False)),
    vector_spaces.Switched(True),
    vector_spaces.LackingMessages((vector_spaces.LackingMessage("chat-1", 70, 3, "Hello"),), b"cursor", 1),
    vector_spaces.Spaces((vector_spaces.Space("mini", 2, "dot", "f32", "a model", AT, "other"),)),
    erasing.ErasureState(70, 69, True, "no space left on the device"),
    transactions.Results((STORED, connection.Deleted(1), ERROR)),
    transactions.Watching(70),
    transactions.Changes(
        (
            transactions.Change(71, 1, "put", NAMESPACE, "profile", AT, 5, bytes(VALUE)),
            transactions.Change(72, 3, "delete", NAMESPACE, "chat-1", LATER, 0),
        ),
        75,
    ),
)
