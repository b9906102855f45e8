"""Vectors of messages in the model: told with an append, given later, gone with the conversation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from bench.crash import space_model
from bench.crash.records import Context, Conversation, Key, MessageVectors, Operations, Refused, Space, Vector
from bench.crash.space_model import message_vectors_key
from recollectd.protocol import errors
from recollectd.protocol.messages import conversations as messages
from recollectd.protocol.messages import vector_spaces
from recollectd.protocol.messages.fields import Kind


def attach(context: Context, message: messages.ConversationAppend, stored: Sequence[messages.MessageStored]) -> None:
    """Keep the vectors of those messages that are new."""
    given: dict[int, dict[str, Vector]] = {}
    for index, (new, place) in enumerate(zip(message.messages, stored, strict=True)):
        if new.vectors:
            vectors = space_model.resolved(context, message.namespace, new.vectors, f"messages[{index}].vectors")
            if not place.duplicate:
                given[place.position] = vectors
    _put(context, message_vectors_key(message.namespace, message.conversation_id), given)


def _put(context: Context, key: Key, given: Mapping[int, Mapping[str, Vector]]) -> None:
    if given:
        before = cast(MessageVectors | None, context.get(key))
        there = {} if before is None else before.by_position
        context.put(key, MessageVectors({**there, **given}, context.seq))


def drop(context: Context, message: messages.ConversationDelete) -> None:
    """Drop them all."""
    key = message_vectors_key(message.namespace, message.conversation_id)
    if context.get(key) is not None:
        context.put(key, None)


def embed(context: Context, message: vector_spaces.SpaceEmbedMessages, _: object) -> vector_spaces.Embedded:
    """Give messages a vector; those that are gone are left alone."""
    name, space = space_model.resolve(context, message.namespace, message.space, "space")
    embedded: list[bool] = []
    for index, told in enumerate(message.vectors):
        if len(told.components) != space_model.COMPONENT_BYTES * space.dimensions:
            raise Refused(errors.InvalidArgument, f"vectors[{index}].components")
        conversation = context.get((int(Kind.CONVERSATION), message.namespace, told.conversation_id))
        embedded.append(
            isinstance(conversation, Conversation)
            and conversation.incarnation == told.incarnation
            and told.position < len(conversation.items)
        )
        if embedded[-1]:
            key = message_vectors_key(message.namespace, told.conversation_id)
            before = cast(MessageVectors | None, context.get(key))
            beside = {} if before is None else before.by_position.get(told.position, {})
            vector = Vector(space.revision, told.components)
            if beside.get(name) != vector:
                _put(context, key, {told.position: {**beside, name: vector}})
    return vector_spaces.Embedded(tuple(embedded))


def told(
    record: MessageVectors | None, conversation: Conversation, spaces: Mapping[str, Space]
) -> tuple[messages.VectorsOfMessage, ...]:
    """Return what the daemon says of a conversation's vectors. spaces: of its namespace."""
    return tuple(_told(record, conversation, spaces)) if record is not None else ()


def _told(
    record: MessageVectors, conversation: Conversation, spaces: Mapping[str, Space]
) -> Iterator[messages.VectorsOfMessage]:
    for position, vectors in sorted(record.by_position.items()):
        alive = {
            name: vector.components
            for name, vector in sorted(vectors.items())
            if name in spaces and spaces[name].revision == vector.incarnation
        }
        if alive:
            yield messages.VectorsOfMessage(position, conversation.items[position].value[0], alive)


OPERATIONS: Final[Operations] = {vector_spaces.SpaceEmbedMessages: embed}
