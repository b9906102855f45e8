"""Conversations in the model: each operation as the protocol's words have it.

Ids that the daemon chooses are taken from its reply; that none is chosen twice is checked.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from bench.crash import message_vector_model
from bench.crash.records import Context, Conversation, Entry, Key, Operations, Refused
from recollectd.protocol import errors
from recollectd.protocol.messages import conversations as messages
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.fields import Kind

MESSAGE_ID: Final = 0  # place in an entry's value


def key_of(namespace: tuple[str, ...], conversation_id: str) -> Key:
    """Return a conversation's key."""
    return (int(Kind.CONVERSATION), namespace, conversation_id)


def conversation_of(context: Context, key: Key) -> Conversation | None:
    """Return a conversation, or None where there is none."""
    record = context.get(key)
    assert record is None or isinstance(record, Conversation)
    return record


def plain(raw: Raw | None) -> bytes | None:
    """Return raw msgpack as bytes."""
    return None if raw is None else bytes(raw)


def create(context: Context, message: messages.ConversationCreate, reply: object) -> messages.ConversationCreated:
    """Begin a conversation."""
    conversation_id = message.conversation_id
    if conversation_id is None:
        # Without a reply the commit is refused for another operation's sake: any id will do.
        conversation_id = (
            reply.conversation_id if isinstance(reply, messages.ConversationCreated) else f"?{len(context.changes)}"
        )
    key = key_of(message.namespace, conversation_id)
    if context.get(key) is not None:
        raise Refused(errors.AlreadyExists, "conversation_id")
    context.put(key, Conversation((), context.time, context.time, plain(message.metadata), context.seq, context.seq))
    return messages.ConversationCreated(conversation_id, context.time)


def append(context: Context, message: messages.ConversationAppend, reply: object) -> messages.MessagesStored:
    """Append messages, all or none."""
    key = key_of(message.namespace, message.conversation_id)
    conversation = conversation_of(context, key)
    if conversation is None:
        raise Refused(errors.NotFound, "conversation_id")
    given = reply.messages if isinstance(reply, messages.MessagesStored) else ()
    known = {entry.value[MESSAGE_ID]: position for position, entry in enumerate(conversation.items)}
    items = list(conversation.items)
    stored: list[messages.MessageStored] = []
    for index, new in enumerate(message.messages):
        message_id = new.message_id
        if message_id is None:
            message_id = given[index].message_id if index < len(given) else f"?{len(items)}"
            if message_id in known:
                raise AssertionError(f"the daemon gave the message id {message_id!r} twice")
        elif message_id in known:
            if not message.skip_duplicates:
                raise Refused(errors.AlreadyExists, f"messages[{index}].message_id")
            first = items[known[message_id]]
            stored.append(messages.MessageStored(message_id, new.role, first.stored_at, known[message_id], True))
            continue
        known[message_id] = len(items)
        stored.append(messages.MessageStored(message_id, new.role, context.time, len(items)))
        items.append(Entry(context.time, (message_id, new.role, new.content, new.valid_at, plain(new.metadata))))
    if len(items) > len(conversation.items):
        context.put(key, conversation._replace(items=tuple(items), updated_at=context.time, revision=context.seq))
    message_vector_model.attach(context, message, stored)
    return messages.MessagesStored(message.conversation_id, tuple(stored))


def delete(context: Context, message: messages.ConversationDelete, _: object) -> Deleted:
    """Delete a conversation."""
    key = key_of(message.namespace, message.conversation_id)
    if context.get(key) is None:
        return Deleted(0)
    context.put(key, None)
    message_vector_model.drop(context, message)
    return Deleted(1)


OPERATIONS: Final[Operations] = {
    messages.ConversationCreate: create,
    messages.ConversationAppend: append,
    messages.ConversationDelete: delete,
}
