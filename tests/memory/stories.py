"""A store with a past."""

from __future__ import annotations

from typing import Any, Final

from memory.asking import (
    NS,
    add,
    append,
    batch,
    configure,
    create,
    delete,
    key_of,
    memory,
    message,
    put,
    say,
    space,
    touch,
    transaction,
    vector,
)
from memory.harness import SECOND, START, Store
from recollectd.memory.commits import SessionsForgotten
from recollectd.memory.kind import Draft
from recollectd.memory.memories.rebuilding import Rebuild
from recollectd.memory.memories.sweeps import PruneMemories, StripVectors
from recollectd.memory.sequencer import Author
from recollectd.memory.settings.events import HistoryPolicy
from recollectd.memory.state.sweeps import Expire, Prune, Refresh, Sweep
from recollectd.protocol.messages.connection import Done
from recollectd.protocol.messages.conversations import ConversationDelete
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.logs import LogCopy, LogDelete, LogPopLast, LogTruncate
from recollectd.protocol.messages.memories import (
    MemoryDelete,
    MemoryForget,
    MemoryReplace,
    MemorySupersede,
)
from recollectd.protocol.messages.search_settings import SearchConfigure
from recollectd.protocol.messages.vector_spaces import MemoryVector, SpaceDrop, SpaceEmbed
from recollectd.storage.keyspace import namespace_bytes

SESSION: Final = START.to_bytes(8, "big") + b"sessions"
REQUESTS: Final = 37
POLICY: Final = HistoryPolicy(age_us=10 * SECOND)


class ForgetAnother(Sweep):
    """Forgets a session that nobody has heard of."""

    __slots__ = ()

    prepares = False
    idle = False

    def write(self, draft: Draft) -> Done:
        draft.emit(SessionsForgotten(b"", (b"another session!",)))
        return Done()


class Unconcerned:
    """Knows what there is to index, and has no view that must be told."""

    def pending(self) -> bytes:
        return namespace_bytes(NS)

    def catch_up(self) -> None:
        pass


def eventful() -> Store:
    """A store in whose journal every sort of event, and a refusal, has its place."""
    store = Store(policy=POLICY)
    requests: list[Any] = _requests()
    assert len(requests) == REQUESTS
    for number, request in enumerate(requests, start=1):
        store.sequence(request, Author("ada", SESSION, number, max(1, number - 3), number))
        store.apply()
        store.now += SECOND // 10
    while store.run(StripVectors()):
        pass
    while store.run(Rebuild(Unconcerned())):
        pass
    store.run(Refresh([key_of("a"), key_of("p", kind=Kind.MEMORY)]))
    store.now += 7 * SECOND
    store.run(Expire())
    store.now += 86_400 * SECOND
    store.run(Prune(store.sequencer.policies))
    store.run(PruneMemories(store.sequencer.policies))
    store.run(PruneMemories(store.sequencer.policies))
    store.run(ForgetAnother())
    return store


def _requests() -> list[Any]:
    return [
        put("a", 1, ttl_us=5 * SECOND, sliding=True),
        put("b", 1),
        put("b", 2, if_version=9),
        configure(2, 10 * SECOND),
        put("b", 2),
        put("b", 3),
        delete("b"),
        touch("a", 6 * SECOND),
        append("l", *range(20)),
        LogTruncate(NS, "l", 12, 18),
        LogPopLast(NS, "l"),
        LogCopy(NS, "l", NS, "m"),
        create("c", {"x": 1}),
        say("c", message("1", "m", metadata=None), "2"),
        ConversationDelete(NS, "c"),
        LogDelete(NS, "m"),
        transaction(create("c"), say("c", message("3", "m")), put("t", 1), put("t", 2)),
        space("mini"),
        add(memory("Ada likes tea", "m", conversation_id="c", vectors={"mini": vector(1, 2)}), "It rains"),
        add(memory("Ada likes cake", "n", ttl_us=5 * SECOND), if_new=True),
        MemoryReplace(NS, memory("Ada likes milk", "m"), 1),
        MemorySupersede(NS, "m", "n"),
        MemoryForget(NS, "m"),
        MemoryReplace(NS, memory("Ada likes coffee", "m"), keep_expiry=True),
        MemoryReplace(NS, memory("Ada likes nothing", "m")),
        MemoryDelete(NS, "m"),
        add(memory("It snows", "p")),
        MemoryReplace(NS, memory("It pours", "p")),
        SpaceEmbed(NS, "mini", (MemoryVector("p", 2, vector(1, 2)),)),
        create("v"),
        say("v", message("Ada said", vectors={"mini": vector(3, 4)}), "nothing"),
        create("w"),
        say("w", message("Ada hums", vectors={"mini": vector(3, 4)})),
        ConversationDelete(NS, "w"),
        SpaceDrop(NS, "mini"),
        SearchConfigure(NS, "german", messages=True),
        batch(put("t", 3), put("t", 4, if_version=99), append("l", "x")),
    ]
