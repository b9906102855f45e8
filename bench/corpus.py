"""One valid request of every kind there is, and some more: what fuzzing starts from."""

from __future__ import annotations

from functools import cache

from msgspec import Raw

from bench.crash.hints import Hints
from bench.crash.workload import Workload
from recollectd.protocol import table
from recollectd.protocol.messages import (
    connection,
    conversations,
    erasing,
    logs,
    memories,
    search_settings,
    state,
    transactions,
    vector_spaces,
)
from recollectd.protocol.messages.fields import Message

_NAMESPACE = ("fuzz", "a")


def _memories() -> list[Message]:
    vector = b"\0\0\x80\x3f" * 4
    new = memories.NewMemory(
        *("text", "id", "kind", Raw(table.encode({"a": 1})), 0.5, True, 1, (52.5, 13.4)),
        *(("other",), "chat", {"vectors": vector}, 1_000_000),
    )
    search = memories.MemorySearch(
        *(_NAMESPACE, "words", {"vectors": vector}, {"keyword": 2.0}, 'kind == "kind"', 5, "hybrid", 1, 0.5),
        *(True, True, True, 1_000, 0.5, 0.5, 0.5, 0.5, b"cursor"),
        among="both",
        access_weight=0.5,
        access_half_life_us=1_000,
    )
    return [
        vector_spaces.SpaceCreate(_NAMESPACE, "vectors", 4, "cosine", "f32", "model"),
        vector_spaces.SpaceAlias(_NAMESPACE, "alias", "vectors"),
        vector_spaces.SpaceList(_NAMESPACE),
        memories.MemoryAdd(_NAMESPACE, (new, new), True),
        memories.MemoryReplace(_NAMESPACE, new, 1, True),
        memories.MemoryGet(_NAMESPACE, ("id", "other"), True),
        memories.MemoryForget(_NAMESPACE, "id", 1, True),
        memories.MemorySupersede(_NAMESPACE, "id", "other", 1),
        memories.MemoryDelete(_NAMESPACE, "id", 1),
        memories.MemoryList(_NAMESPACE, "not (importance < 0.5)", True, 10, b"cursor", True, "vectors", 3),
        memories.MemoryCount(_NAMESPACE, "place within [52, 13, 1e5]", True, b"cursor", "vectors", 3),
        memories.MemoryHistory(_NAMESPACE, "id", 10, 5),
        search,
        memories.MemorySearch(_NAMESPACE, "words"),
        memories.MemoryContext(search, 100, 2),
        memories.MemorySearch(_NAMESPACE, "words", among="messages"),
        search_settings.SearchConfigure(_NAMESPACE, "german", True, False, True, True),
        search_settings.SearchSettingsGet(_NAMESPACE),
        vector_spaces.SpaceEmbed(_NAMESPACE, "vectors", (vector_spaces.MemoryVector("id", 1, vector),)),
        vector_spaces.SpaceSwitch(_NAMESPACE, "alias", "vectors", 1, True),
        vector_spaces.SpaceEmbedMessages(_NAMESPACE, "vectors", (vector_spaces.MessageVector("chat", 1, 0, vector),)),
        vector_spaces.SpaceLacking(_NAMESPACE, "vectors", 10, b"cursor", 3, True),
        memories.MemorySearch(_NAMESPACE, "", {"vectors": vector}, among="messages"),
        vector_spaces.SpaceDrop(_NAMESPACE, "vectors"),
        erasing.Erase(False),
    ]


@cache
def corpus() -> list[bytes]:
    """Return the messages' bytes; every request of the protocol's table is among them."""
    value = Raw(table.encode({"a": [1, 2.5, None, True, b"\x00", "ä"]}))
    messages = [
        connection.Hello(1, 1, "fuzz", b"\x00" * 16, 1_000, ("feature",)),
        connection.Ping(),
        connection.StatusRequest(True),
        connection.NamespaceConfigure(_NAMESPACE, 3, None),
        connection.NamespaceList(("fuzz",), 10, b"cursor"),
        state.StatePut(_NAMESPACE, "key", value, 1_000_000, True, 3, False),
        state.StateGet(_NAMESPACE, "key", 1, None),
        state.StateDelete(_NAMESPACE, "key", 1),
        state.StateGetMany(_NAMESPACE, ("a", "b")),
        state.StateGetValues(_NAMESPACE, ("a", "b")),
        state.StatePutMany(_NAMESPACE, (state.StateItem("a", value), state.StateItem("b", value)), 1_000_000),
        state.StateHistory(_NAMESPACE, "key", 10, 5),
        state.StateTouch(_NAMESPACE, "key", 1_000_000),
        state.StateScan(_NAMESPACE, "k", "k*", True, 10, b"cursor", False),
        state.StateCount(_NAMESPACE, "k", "k?", b"cursor"),
        state.StateDeletePrefix(_NAMESPACE, "k", 10, b"cursor"),
        logs.LogAppend(_NAMESPACE, "log", (value, value), 3),
        logs.LogRead(_NAMESPACE, "log", 1, None, None, None, 10),
        logs.LogPopLast(_NAMESPACE, "log", 2),
        logs.LogTruncate(_NAMESPACE, "log", 1, 5),
        logs.LogCopy(_NAMESPACE, "log", _NAMESPACE, "log-2"),
        logs.LogDelete(_NAMESPACE, "log"),
        logs.LogHead(_NAMESPACE, "log"),
        logs.LogList(_NAMESPACE, "l", 10, b"cursor"),
        conversations.ConversationCreate(_NAMESPACE, "chat", Raw(table.encode({"a": 1}))),
        conversations.ConversationAppend(
            _NAMESPACE, "chat", (conversations.NewMessage("user", "hello", "id", 1, Raw(b"\x80")),), True
        ),
        conversations.ConversationAppend(
            _NAMESPACE, "chat", (conversations.NewMessage("user", "hello", vectors={"vectors": b"\0\0\x80\x3f" * 4}),)
        ),
        conversations.ConversationVectors(_NAMESPACE, "chat", 1, 10),
        conversations.ConversationHistory(_NAMESPACE, "chat", None, None, None, "id", None, 10),
        conversations.ConversationList(_NAMESPACE, 10, b"cursor"),
        conversations.ConversationHead(_NAMESPACE, "chat"),
        conversations.ConversationDelete(_NAMESPACE, "chat"),
        *_memories(),
        transactions.Transaction(
            (transactions.RecordGuard(1, _NAMESPACE, "key", 5), transactions.RangeGuard(1, _NAMESPACE, 5)),
            (state.StatePut(_NAMESPACE, "key", value), logs.LogAppend(_NAMESPACE, "log", (value,))),
        ),
        transactions.Batch((state.StateDelete(_NAMESPACE, "key"), logs.LogTruncate(_NAMESPACE, "log", 1))),
        transactions.Watch(_NAMESPACE, "k", (1, 2), 5, True),
        transactions.Unwatch(7),
    ]
    missing = {*table.REQUEST_TYPES} - {type(message) for message in messages}
    assert not missing, f"the corpus lacks {missing}"
    workload = Workload("corpus", 0, Hints())
    more = (workload.write(solo_free=True)[0] for _ in range(200))
    encoded = [table.encode(message) for message in (*messages, *more)]
    return [body for body in encoded if len(body) < 4_000]
