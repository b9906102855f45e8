"""Tails of conversations in the value cache: what it learns of events. Cold reads fill them in like those of logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recollectd.memory.conversations.events import (
    ConversationDeleted,
    Created,
    MessageEntry,
    MessagesAppended,
)
from recollectd.memory.kind import Event, Follow
from recollectd.protocol import table
from recollectd.protocol.messages.conversations import Message

if TYPE_CHECKING:
    from recollectd._native.value_cache import ValueCache


def message_of(position: int, entry: MessageEntry) -> Message:
    """Return an entry as it goes out."""
    return Message(
        entry.message_id, entry.role, entry.content, entry.stored_at, position, entry.valid_at, entry.metadata
    )


def follow_created(cache: ValueCache, seq: int, event: Created) -> None:
    """A tail without messages is the whole conversation."""
    head = event.head
    cache.append(seq, event.key, head.first, head.next, head.revision, head.next, ())


def follow_messages_appended(cache: ValueCache, seq: int, event: MessagesAppended) -> None:
    """The tail goes on with the messages, or begins with them."""
    head = event.head
    messages = tuple(
        table.encode(message_of(event.first + index, event.messages[index]))
        for index in range(max(0, len(event.messages) - cache.tail_items_max), len(event.messages))
    )
    cache.append(seq, event.key, head.first, head.next, head.revision, event.first, messages)


def follow_deleted(cache: ValueCache, seq: int, event: ConversationDeleted) -> None:
    """Reading a conversation that is not there is an error, which is not cached."""
    cache.drop(seq, event.key)


FOLLOWS: Final[dict[type[Event], Follow]] = {
    Created: follow_created,
    MessagesAppended: follow_messages_appended,
    ConversationDeleted: follow_deleted,
}
