"""Requests that change conversations, turned into events."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw, structs

from recollectd.memory.conversations import ids
from recollectd.memory.conversations.events import (
    ConversationDeleted,
    ConversationHead,
    Created,
    MessageEntry,
    MessagesAppended,
)
from recollectd.memory.kind import Draft, Facts, WriteOperation
from recollectd.memory.message_vectors import attaching
from recollectd.memory.settings.search import SearchHead, settings_key
from recollectd.memory.values import check_metadata
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import connection
from recollectd.protocol.messages import conversations as messages
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import message_id_prefix, message_vectors_key, path, record_key, text_bytes


class Create(WriteOperation[messages.ConversationCreate]):
    """Begins a conversation."""

    __slots__ = ()

    def __init__(self, request: messages.ConversationCreate) -> None:
        super().__init__(request)
        check_metadata(request.metadata, "metadata")
        probe = request.conversation_id if request.conversation_id is not None else "x"
        key = record_key(Kind.CONVERSATION, request.namespace, probe, "conversation_id")
        self.keys = () if request.conversation_id is None else (key,)

    def write(self, draft: Draft) -> messages.ConversationCreated:
        """Create it under the caller's id or a fresh one."""
        request = self.request
        conversation_id = request.conversation_id
        if conversation_id is None:
            conversation_id = draft.draw_id()
        key = record_key(Kind.CONVERSATION, request.namespace, conversation_id, "conversation_id")
        if request.conversation_id is not None and draft.get(key) is not None:
            raise errors.AlreadyExists("there is a conversation with this id", field="conversation_id")
        # A copy: the head is remembered for long, and would keep the whole frame that the request came in.
        metadata = None if request.metadata is None else request.metadata.copy()
        head = ConversationHead(0, 0, draft.seq, draft.seq, draft.seq, draft.time, draft.time, 0, metadata)
        draft.put(key, head)
        draft.emit(Created(key, head))
        return messages.ConversationCreated(conversation_id, draft.time)


class Append(WriteOperation[messages.ConversationAppend]):
    """Appends messages."""

    __slots__ = ("_ids", "_key", "_largest", "_vectors")

    def __init__(self, request: messages.ConversationAppend) -> None:
        super().__init__(request)
        self._key = record_key(Kind.CONVERSATION, request.namespace, request.conversation_id, "conversation_id")
        self.keys = (self._key,)
        if not 1 <= len(request.messages) <= limits.OPERATIONS_PER_FRAME_MAX:
            raise errors.InvalidArgument(
                f"must be 1 to {limits.OPERATIONS_PER_FRAME_MAX} messages, not {len(request.messages)}",
                field="messages",
            )
        self._ids: list[str] = []
        self._largest = 0
        for index, message in enumerate(request.messages):
            where = f"messages[{index}]"
            content = text_bytes(message.content, f"{where}.content", limits.CONTENT_BYTES_MAX)
            check_metadata(message.metadata, f"{where}.metadata")
            metadata_bytes = 0 if message.metadata is None else memoryview(message.metadata).nbytes
            self._largest = max(self._largest, len(content) + metadata_bytes)
            if message.message_id is not None:
                text_bytes(message.message_id, f"{where}.message_id", limits.MESSAGE_ID_BYTES_MAX)
                self._ids.append(message.message_id)
        self._vectors = attaching.told_of([message.vectors for message in request.messages])
        if self._vectors:
            self.keys = (self._key, message_vectors_key(self._key))

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the head and, once it is known, the rows of the ids that the caller gave."""
        needed = (self._key, *(attaching.needs(self._key, self._vectors, facts) if self._vectors else ()))
        if not self._ids or not facts.knows(self._key):
            return needed
        head: ConversationHead | None = facts.get(self._key)
        if head is None:
            return needed
        return (*needed, *(ids.fact_key(self._key, head.incarnation, each) for each in self._ids))

    def write(self, draft: Draft) -> messages.MessagesStored:
        """Append what is not a duplicate."""
        request = self.request
        head: ConversationHead | None = draft.get(self._key)
        if head is None:
            raise errors.NotFound("there is no such conversation; create it first", field="conversation_id")
        entries: list[MessageEntry] = []
        stored: list[messages.MessageStored] = []
        caller_ids: list[int] = []
        random = ""
        for index, message in enumerate(request.messages):
            position = head.next + len(entries)
            message_id = message.message_id
            if message_id is None:
                # One draw for all: the position tells them apart, and what neighbours share costs next to nothing.
                random = random or draft.draw_id()[-12:]
                message_id = ids.daemon_id(position, random)
                # Who wrote asynchronously may send the id back before it can be found in applied state.
                draft.put(ids.fact_key(self._key, head.incarnation, message_id), ids.Place(position, draft.time))
            else:
                fact = ids.fact_key(self._key, head.incarnation, message_id)
                # Of a conversation that this commit creates, only this commit can know messages.
                known: ids.Place | None = draft.get(fact) if draft.knows(fact) else None
                if known is not None:
                    if not request.skip_duplicates:
                        raise errors.AlreadyExists(
                            f"the conversation has a message {message_id!r}", field=f"messages[{index}].message_id"
                        )
                    stored.append(
                        messages.MessageStored(message_id, message.role, known.stored_at, known.position, True)
                    )
                    continue
                draft.put(fact, ids.Place(position, draft.time))
                caller_ids.append(len(entries))
            entries.append(
                MessageEntry(message_id, message.role, message.content, draft.time, message.valid_at, message.metadata)
            )
            stored.append(messages.MessageStored(message_id, message.role, draft.time, position))
        if entries:
            after = structs.replace(
                head,
                next=head.next + len(entries),
                revision=draft.seq,
                updated_at=draft.time,
                largest=max(head.largest, self._largest),
                named=head.named or bool(caller_ids),
            )
            draft.put(self._key, after)
            draft.emit(
                MessagesAppended(self._key, after, head.next, tuple(entries), tuple(caller_ids), head.used_second)
            )
        self._attach(draft, head.incarnation, stored)
        return messages.MessagesStored(request.conversation_id, tuple(stored))

    def _attach(self, draft: Draft, incarnation: int, stored: Sequence[messages.MessageStored]) -> None:
        """Write the vectors of those messages that are new."""
        rows: dict[int, Raw] = {}
        for told in self._vectors:
            row = attaching.resolved(draft, self._key, told)
            if not stored[told.place].duplicate:
                rows[stored[told.place].position] = row
        if rows:
            attaching.attach(draft, self._key, incarnation, rows)


class Delete(WriteOperation[messages.ConversationDelete]):
    """Deletes a conversation."""

    __slots__ = ("_key", "_settings_key")
    frees = True

    def __init__(self, request: messages.ConversationDelete) -> None:
        super().__init__(request)
        self._settings_key = settings_key(request.namespace)
        self._key = record_key(Kind.CONVERSATION, request.namespace, request.conversation_id, "conversation_id")
        self.keys = (self._key,)

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the heads of the conversation and of its messages' vectors, and how the namespace is searched."""
        return self._key, self._settings_key, message_vectors_key(self._key)

    def write(self, draft: Draft) -> connection.Deleted:
        """Delete if there is one."""
        settings: SearchHead | None = draft.get(self._settings_key)
        head: ConversationHead | None = draft.get(self._key)
        if head is None:
            return connection.Deleted(0)
        draft.put(self._key, None)
        attaching.drop(draft, self._key)
        if head.incarnation == draft.seq:  # as would be a life that this commit gives it after this one
            draft.withdraw(message_id_prefix(path(self._key), head.incarnation))
        draft.emit(
            ConversationDeleted(
                self._key,
                head.first,
                head.next,
                head.incarnation,
                head.used_second,
                head.named,
                settings is not None and settings.indexed,
            )
        )
        return connection.Deleted(1)
