"""Calls about conversations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import structs

from recollectd.client import arguments
from recollectd.client.arguments import name, optional_name, optional_whole, plain, several
from recollectd.client.calls import Call, Calls, Steps, Style, Turn, Walk, ask, operation, query, stepwise, walk
from recollectd.client.embedding import Embedding, embedded_first, lacking_texts, with_vectors
from recollectd.client.kinds.common import WALK_PAGE_ITEMS, any_deleted
from recollectd.client.results import Conversation, ConversationInfo, History, Message, NewMessage, StoredMessage
from recollectd.client.times import Moment, iso_time, optional_iso_time, optional_time_us
from recollectd.client.vectors import Vector, packed_vector, packed_vectors, unpacked_vectors
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import conversations as messages
from recollectd.protocol.messages.state import Absent

# Inside the class `list` is one of its methods.
StoredMessages: TypeAlias = list[StoredMessage]
Vectors: TypeAlias = dict[tuple[int, str], "Mapping[str, bytes] | None"]
"""By position and message id."""


class Conversations(Calls[Style]):
    """Conversations: messages of `user` and `assistant` in order; a conversation must be created first."""

    embedding: Embedding | None = None
    """What makes vectors of messages, from the client's `embedder` where it is for messages, too."""

    @operation
    def create(
        self, conversation_id: str | None = None, *, metadata: Mapping[str, object] | None = None
    ) -> Call[Conversation]:
        """Begin a conversation, with an id from the daemon or the caller's own (AlreadyExists if it is known)."""
        request = messages.ConversationCreate(
            self.namespace, optional_name(conversation_id, "conversation_id"), arguments.metadata(metadata)
        )
        return ask(request, _created)

    @operation
    def append(
        self,
        conversation_id: str,
        role: str,
        content: str,
        *,
        message_id: str | None = None,
        valid_at: Moment | None = None,
        metadata: Mapping[str, object] | None = None,
        vectors: Mapping[str, Vector] | None = None,
    ) -> Call[StoredMessage]:
        """Append a message; the conversation must exist (NotFound).

        role: `user` or `assistant`; content: not empty; message_id: the caller's own, unique in the conversation
        (AlreadyExists), else the daemon gives one; valid_at: when what it says was true; vectors: by vector space
        (NotFound if there is none with the name), for searches among messages.
        """
        message = messages.NewMessage(
            arguments.role(role),
            arguments.content(content),
            optional_name(message_id, "message_id", limits.MESSAGE_ID_BYTES_MAX),
            optional_time_us(valid_at, "valid_at"),
            arguments.metadata(metadata),
            None if vectors is None else packed_vectors(vectors),
        )
        name(conversation_id, "conversation_id")
        embedding = self.embedding
        if embedding is None or embedding.space in (message.vectors or {}):
            return ask(messages.ConversationAppend(self.namespace, conversation_id, (message,)), _stored_one)

        def append(made: Sequence[Vector]) -> Call[StoredMessage]:
            own = {embedding.space: packed_vector(made[0], "embedder")}
            whole = structs.replace(message, vectors={**(message.vectors or {}), **own})
            return ask(messages.ConversationAppend(self.namespace, conversation_id, (whole,)), _stored_one)

        return embedded_first(embedding, [content], append, apart=self._apart)

    @operation
    def append_many(
        self, conversation_id: str, messages: Iterable[NewMessage], *, skip_duplicates: bool = False
    ) -> Call[StoredMessages]:
        """Append messages, all or none, in order.

        skip_duplicates: a message whose id is known is left out and comes back with `duplicate`, instead of
        AlreadyExists for all.
        """
        given = several(messages, "messages")

        def append(made: Sequence[Vector]) -> Call[StoredMessages]:
            new = with_vectors(self.embedding, given, made)
            return ask(_append_many(self.namespace, conversation_id, new, skip_duplicates), _stored)

        texts = lacking_texts(self.embedding, given)
        return embedded_first(self.embedding, texts, append, apart=self._apart)

    @query
    @stepwise
    def history(
        self, conversation_id: str, *, last: int | None = None, before: str | None = None, after: str | None = None
    ) -> Steps[History]:
        """Return messages in order: all of them, or the newest `last`, which has no maximum.

        before, after: only messages before or behind the one with this id (NotFound if there is none); `before` goes
        with `last`: the newest so many before it. Raises NotFound for a conversation that is not there.
        """
        name(conversation_id, "conversation_id")
        optional_whole(last, "last", least=1)
        optional_name(before, "before", limits.MESSAGE_ID_BYTES_MAX)
        optional_name(after, "after", limits.MESSAGE_ID_BYTES_MAX)
        if after is not None and (before is not None or last is not None):
            raise errors.InvalidArgument("cannot go with before or last", field="after")
        if last is None and before is None:
            return (yield from _forward(self.namespace, conversation_id, after))
        return (yield from _backward(self.namespace, conversation_id, last, before))

    @walk
    def iterate(self, conversation_id: str, *, vectors: bool = False) -> Walk[Message]:
        """Walk all messages in order, also those appended while the walk goes on. Raises NotFound.

        vectors: with those they have.
        """
        name(conversation_id, "conversation_id")

        def page(after: int | None) -> Walk[Message]:
            def turn(reply: messages.History) -> Any:
                return beside(reply, {}, reply.messages[0].position) if vectors and reply.messages else told(reply, {})

            request = messages.ConversationHistory(self.namespace, conversation_id, after=after, limit=WALK_PAGE_ITEMS)
            return Call(request, turn)

        def beside(reply: messages.History, found: Vectors, first: int) -> Walk[Message]:
            """Ask for the vectors of a page's messages, from a position on."""
            end = reply.messages[-1].position + 1

            def turn(more: messages.MessageVectors) -> Any:
                found.update(((each.position, each.message_id), each.vectors) for each in more.messages)
                return beside(reply, found, more.next) if first < more.next < end else told(reply, found)

            request = messages.ConversationVectors(self.namespace, conversation_id, first, end - first)
            return Call(request, turn)

        def told(reply: messages.History, found: Vectors) -> Turn[Message]:
            listed = [_message(each, found.get((each.position, each.message_id))) for each in reply.messages]
            return Turn(listed, None if _is_last(reply) else page(reply.messages[-1].position))

        return page(None)

    @query
    def info(self, conversation_id: str) -> Call[ConversationInfo | None]:
        """Return a conversation's times, size and metadata, or None."""
        request = messages.ConversationHead(self.namespace, name(conversation_id, "conversation_id"))
        return ask(request, _optional_info)

    @walk
    def list(self) -> Walk[ConversationInfo]:
        """Walk the namespace's conversations, the last used first (to the second)."""

        def page(cursor: bytes) -> Walk[ConversationInfo]:
            def turn(reply: messages.ConversationPage) -> Turn[ConversationInfo]:
                found = [_info(each) for each in reply.conversations]
                return Turn(found, page(reply.cursor) if reply.cursor else None)

            return ask(messages.ConversationList(self.namespace, WALK_PAGE_ITEMS, cursor), turn)

        return page(b"")

    @operation
    def delete(self, conversation_id: str) -> Call[bool]:
        """Delete a conversation and its messages; return whether there was one."""
        request = messages.ConversationDelete(self.namespace, name(conversation_id, "conversation_id"))
        return ask(request, any_deleted)


def _append_many(
    namespace: tuple[str, ...], conversation_id: str, new: Iterable[NewMessage], skip_duplicates: bool
) -> messages.ConversationAppend:
    checked = tuple(
        messages.NewMessage(
            arguments.role(message.role, f"messages[{index}].role"),
            arguments.content(message.content, f"messages[{index}].content"),
            optional_name(message.message_id, f"messages[{index}].message_id", limits.MESSAGE_ID_BYTES_MAX),
            optional_time_us(message.valid_at, f"messages[{index}].valid_at"),
            arguments.metadata(message.metadata, f"messages[{index}].metadata"),
            packed_vectors(message.vectors, f"messages[{index}].vectors"),
        )
        for index, message in enumerate(several(new, "messages"))
    )
    return messages.ConversationAppend(namespace, name(conversation_id, "conversation_id"), checked, skip_duplicates)


def _forward(namespace: tuple[str, ...], conversation_id: str, after_id: str | None) -> Steps[History]:
    """Read from the first message, or the one behind `after_id`, to the last."""
    found: list[Message] = []
    after: int | None = None
    while True:
        reply: messages.History = yield messages.ConversationHistory(
            namespace,
            conversation_id,
            after=after,
            after_id=after_id if after is None else None,
            limit=limits.PAGE_ITEMS_MAX,
        )
        found.extend(map(_message, reply.messages))
        if _is_last(reply):
            return History(conversation_id, found, reply.total_messages)
        after = reply.messages[-1].position


def _backward(
    namespace: tuple[str, ...], conversation_id: str, last: int | None, before_id: str | None
) -> Steps[History]:
    """Read the newest messages, or those before `before_id`, page by page towards the first."""
    pages: list[list[Message]] = []
    left = last
    before: int | None = None
    total: int | None = None
    while True:
        wanted = limits.PAGE_ITEMS_MAX if left is None else min(left, limits.PAGE_ITEMS_MAX)
        reply: messages.History = yield messages.ConversationHistory(
            namespace,
            conversation_id,
            last=wanted if before is None and before_id is None else None,
            before=before,
            before_id=before_id if before is None else None,
            limit=wanted,
        )
        pages.append([_message(each) for each in reply.messages])
        # What is appended while older pages are read lies behind the answer: the first page's total belongs to it.
        total = reply.total_messages if total is None else total
        left = None if left is None else left - len(reply.messages)
        if not reply.messages or left == 0 or reply.messages[0].position == 0:
            return History(conversation_id, [message for page in reversed(pages) for message in page], total)
        before = reply.messages[0].position


def _is_last(reply: messages.History) -> bool:
    """Tell whether nothing lies behind this page: positions count from 0 without gaps."""
    return not reply.messages or reply.messages[-1].position + 1 >= reply.total_messages


def _message(wire: messages.Message, vectors: Mapping[str, bytes] | None = None) -> Message:
    metadata: dict[str, Any] | None = plain(wire.metadata)
    return Message(
        wire.message_id,
        wire.role,
        wire.content,
        iso_time(wire.timestamp),
        optional_iso_time(wire.valid_at),
        metadata,
        unpacked_vectors(vectors),
    )


def _created(reply: messages.ConversationCreated) -> Conversation:
    return Conversation(reply.conversation_id, iso_time(reply.created_at))


def _stored(reply: messages.MessagesStored) -> StoredMessages:
    return [
        StoredMessage(
            each.message_id, reply.conversation_id, each.role, iso_time(each.stored_at), duplicate=each.duplicate
        )
        for each in reply.messages
    ]


def _stored_one(reply: messages.MessagesStored) -> StoredMessage:
    return _stored(reply)[0]


def _info(wire: messages.ConversationInfo) -> ConversationInfo:
    return ConversationInfo(
        wire.conversation_id,
        iso_time(wire.created_at),
        iso_time(wire.last_used_at),
        wire.total_messages,
        plain(wire.metadata),
    )


def _optional_info(reply: messages.ConversationInfo | Absent) -> ConversationInfo | None:
    return None if isinstance(reply, Absent) else _info(reply)
