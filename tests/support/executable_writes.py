"""Every write once, as a daemon carries it out, and the records that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from recollectd.protocol.messages import conversations, fields, logs, memories, state, transactions, vector_spaces
from support.message_examples import MEMORY_NEW, REQUESTS
from support.wire import NAMESPACE, put, raw

# What they need, so that each changes something.
NEEDED: Final[tuple[fields.Write, ...]] = (
    put("profile", 0),
    put("coordination:a", 0),
    logs.LogAppend(NAMESPACE, "events", tuple(raw(index) for index in range(9))),
    conversations.ConversationCreate(NAMESPACE, "chat-1"),
    vector_spaces.SpaceCreate(NAMESPACE, "mini", 2),
    memories.MemoryAdd(NAMESPACE, (memories.NewMemory("Ada", "fact-1"), memories.NewMemory("Bob", "fact-2"))),
)


def furnish(ask: Callable[[fields.Message], object]) -> None:
    """Write what they need."""
    for request in NEEDED:
        ask(request)


def _executable(request: fields.Write) -> fields.Write:
    """Return an example without the guards that cannot hold."""
    match request:
        case state.StatePut():
            return put("profile", 1)
        case state.StateDelete():
            return state.StateDelete(NAMESPACE, "profile")
        case state.StateDeletePrefix():
            return state.StateDeletePrefix(NAMESPACE, "coordination:")
        case conversations.ConversationCreate():
            return conversations.ConversationCreate(NAMESPACE)
        case memories.MemoryAdd():
            return memories.MemoryAdd(NAMESPACE, (msgspec.structs.replace(MEMORY_NEW, memory_id="fact-3"),))
        case memories.MemoryReplace():
            return memories.MemoryReplace(NAMESPACE, memories.NewMemory("Eve", "fact-1"))
        case memories.MemoryForget():
            return memories.MemoryForget(NAMESPACE, "fact-1")
        case memories.MemorySupersede():
            return memories.MemorySupersede(NAMESPACE, "fact-1", "fact-2")
        case memories.MemoryDelete():
            return memories.MemoryDelete(NAMESPACE, "fact-2")
        case vector_spaces.SpaceCreate():
            return vector_spaces.SpaceCreate(NAMESPACE, "midi", 2)
        case transactions.Transaction():
            return transactions.Transaction((), (put("profile", 1), logs.LogDelete(NAMESPACE, "events")))
    return request


WRITES: Final = tuple(_executable(request) for request in REQUESTS if isinstance(request, fields.Write))
