"""The head, the entries and the events of conversations."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from recollectd.memory.kind import Description, Event, EventFunctions, Mark
from recollectd.memory.logs.events import LogHead, drop_entries
from recollectd.protocol import table
from recollectd.protocol.messages.conversations import Role
from recollectd.protocol.messages.fields import RawOrNil, nil_to_none
from recollectd.storage.keyspace import (
    DELETE,
    DELETE_RANGE,
    PUT,
    Family,
    Write,
    after_prefix,
    change_key,
    last_use_key,
    message_id_prefix,
    messages_key,
    pack_number,
    path,
    row_key,
)

_SECOND_US: Final = 1_000_000


class ConversationHead(LogHead, frozen=True):
    """Where a conversation stands; metadata is the creator's; named: some message's id was given by a caller."""

    metadata: RawOrNil = None
    named: bool = False

    def __post_init__(self) -> None:
        nil_to_none(self, "metadata")

    @property
    def used_second(self) -> int:
        """The second of last use: where the last-use index holds the conversation."""
        return self.updated_at // _SECOND_US


class MessageEntry(Struct, frozen=True, array_like=True, gc=False):
    """One message on disk and in events. Fields are only ever appended, with a default."""

    message_id: str
    role: Role
    content: str
    stored_at: int
    valid_at: int | None = None
    metadata: RawOrNil = None

    def __post_init__(self) -> None:
        nil_to_none(self, "metadata")


decode_head: Final = msgspec.msgpack.Decoder(ConversationHead).decode
decode_entry: Final = msgspec.msgpack.Decoder(MessageEntry).decode


class Created(Event, frozen=True, tag=32):
    """The conversation was created."""

    head: ConversationHead


class MessagesAppended(Event, frozen=True, tag=33):
    """Messages were appended at first ...; caller_ids are the indexes of those whose id the caller gave."""

    head: ConversationHead
    first: int
    messages: tuple[MessageEntry, ...]
    caller_ids: tuple[int, ...]
    previous_used_second: int


class ConversationDeleted(Event, frozen=True, tag=34):
    """The conversation was deleted. searched: its messages may be in the keyword view."""

    first: int
    next: int
    incarnation: int
    used_second: int
    named: bool
    searched: bool = False


def apply_created(event: Created, mark: Mark, writes: list[Write]) -> None:
    """Write the head and the index of last use."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    writes.append((PUT, Family.INDEX, last_use_key(event.key, event.head.used_second), b""))


def apply_messages_appended(event: MessagesAppended, mark: Mark, writes: list[Write]) -> None:
    """Write head, entries and the ids that callers gave; move the last use."""
    key, head = event.key, event.head
    below = path(key)
    writes.append((PUT, Family.HEADS, key, table.encode(head)))
    for index, message in enumerate(event.messages):
        writes.append((PUT, Family.ENTRIES, row_key(below, event.first + index), table.encode(message)))
    ids = message_id_prefix(below, head.incarnation)
    for index in event.caller_ids:
        message = event.messages[index]
        place = pack_number(event.first + index) + pack_number(message.stored_at)
        writes.append((PUT, Family.INDEX, ids + message.message_id.encode(), place))
    if head.used_second != event.previous_used_second:
        writes.append((DELETE, Family.INDEX, last_use_key(key, event.previous_used_second), b""))
        writes.append((PUT, Family.INDEX, last_use_key(key, head.used_second), b""))


def apply_conversation_deleted(event: ConversationDeleted, mark: Mark, writes: list[Write]) -> None:
    """Drop everything of the conversation."""
    below = path(event.key)
    ids = message_id_prefix(below, event.incarnation)
    writes.append((DELETE, Family.HEADS, event.key, b""))
    drop_entries(below, event.first, event.next, writes)
    if event.named:  # ranges of nothing would slow down reads all the same
        writes.append((DELETE_RANGE, Family.INDEX, ids, after_prefix(ids)))
    writes.append((DELETE, Family.INDEX, last_use_key(event.key, event.used_second), b""))
    if event.searched:  # appends are found by heads that are newer than the view; what is gone has no head
        noted = messages_key(event.key, event.first, event.next)
        writes.append((PUT, Family.INDEX, change_key(mark.seq, noted), b""))


def describe_created(event: Created) -> Description:
    """Say what happened."""
    return Description("create", 0)


def describe_messages_appended(event: MessagesAppended) -> Description:
    """Say what happened."""
    return Description("append", event.head.next, table.encode(event.messages))


def describe_conversation_deleted(event: ConversationDeleted) -> Description:
    """Say what happened."""
    return Description("delete", event.next)


EVENTS: Final[dict[type[Event], EventFunctions]] = {
    Created: (apply_created, describe_created),
    MessagesAppended: (apply_messages_appended, describe_messages_appended),
    ConversationDeleted: (apply_conversation_deleted, describe_conversation_deleted),
}
