"""Which record a request is about: what was sent about one record must not change places."""

from __future__ import annotations

from recollectd.protocol.messages import conversations, logs, memories, state
from recollectd.protocol.messages.fields import Kind, Message


def same_record(first: Message, second: Message) -> bool:
    """Tell whether two requests may be about the same record; those about several may be about any."""
    one, other = _target(first), _target(second)
    return one is None or other is None or one == other


def _target(request: Message) -> tuple[Kind, tuple[str, ...], str] | None:
    match request:
        case state.StatePut() | state.StateGet() | state.StateDelete() | state.StateTouch() | state.StateHistory():
            return Kind.STATE, request.namespace, request.key
        case logs.LogAppend() | logs.LogRead() | logs.LogPopLast() | logs.LogTruncate() | logs.LogDelete():
            return Kind.LOG, request.namespace, request.log_id
        case (
            conversations.ConversationAppend()
            | conversations.ConversationHistory()
            | conversations.ConversationHead()
            | conversations.ConversationDelete()
        ):
            return Kind.CONVERSATION, request.namespace, request.conversation_id
        case memories.MemoryForget() | memories.MemoryDelete() | memories.MemoryHistory():
            return Kind.MEMORY, request.namespace, request.memory_id
    return None
