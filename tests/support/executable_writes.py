"""Every write once, as a daemon carries it out, and the records that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from recollectd.protocol.messages import conversations, fields, logs, state, transactions
from support.message_examples import REQUESTS
from support.wire import NAMESPACE, put, raw

# What they need, so that each changes something.
NEEDED: Final[tuple[fields.Write, ...]] = (
    put("profile", 0),
    put("coordination:a", 0),
    logs.LogAppend(NAMESPACE, "events", tuple(raw(index) for index in range(9))),
    conversations.ConversationCreate(NAMESPACE, "chat-1"),
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
        case transactions.Transaction():
            return transactions.Transaction((), (put("profile", 1), logs.LogDelete(NAMESPACE, "events")))
    return request


WRITES: Final = tuple(_executable(request) for request in REQUESTS if isinstance(request, fields.Write))
