"""A conversation store of Pydantic AI: records by key, entries in logs, each save one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import msgspec
from pydantic import TypeAdapter
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_core import PydanticSerializationError

from recollectd.adapters.failures import translated
from recollectd.adapters.newest import Rewritten, backwards
from recollectd.adapters.pydantic_ai.trunks import (
    ENTRIES,
    Entry,
    Place,
    entry_of,
    grow,
    pin,
    places_of,
    unpin,
)
from recollectd.adapters.waiting import read, write
from recollectd.client import Client, Transaction, arguments
from recollectd.client.results import LogItem, Record

LABEL: Final = "pydantic-ai"
RECORDS: Final = "r/"
BY_TIME: Final = "l/"
BY_SCOPE: Final = "s/"
"""Keys of records; and those of lists, which end with the time and hold the conversation's id. Do not change."""

Entries: TypeAlias = list[ConversationEntry]
_BATCH: Final = 1_000
_records: Final = TypeAdapter(ConversationRecord)


class Stored(msgspec.Struct):
    """A conversation's record as it is stored: the record as JSON, its keys in lists, its trunk and those it pins."""

    record: str
    revision: str
    listed: list[str]
    trunk: str = ""
    pinned: list[str] = msgspec.field(default_factory=list)


class RecollectdConversationStore(ConversationStore):
    """Conversations with their branches and forks, kept by a recollectd daemon.

        store = RecollectdConversationStore(client)
        conversation = await store.load("ada") or Conversation(conversation_id="ada")
        await store.save(await agent.run("Hello", conversation=conversation))

    A save is whole or not at all, and raises ConversationConflict if the conversation has changed since it was loaded,
    by whichever process. Deleting a conversation deletes its messages, except those that a fork of it still needs and
    what was added between them: they go with the last fork. Ids that cannot be (empty, or over some 900 bytes of
    UTF-8), messages that are not JSON, more than some 8,000 messages or 24 MiB in one save raise UserError. A daemon
    that does not answer raises AgentRunError; what was being saved may then be stored: load the conversation again.
    """

    def __init__(self, client: Client) -> None:
        """Use a client, which stays the caller's to close."""
        with translated(UserError, AgentRunError):
            self._client = client.with_namespace(*client.namespace, LABEL)

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return a conversation's record, or None."""
        with translated(UserError, AgentRunError):
            record = await read(self._client.state.get, RECORDS + arguments.name(conversation_id, "conversation_id"))
        return None if record is None else _records.validate_json(_stored(record).record)

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """Return the records there are, or those of a scope, the one saved last first."""
        with translated(UserError, AgentRunError):
            return await read(self._read_records, scope, limit)

    def _read_records(self, scope: str | None, limit: int | None) -> list[ConversationRecord]:
        if limit == 0:
            return []
        prefix = BY_TIME if scope is None else _scope_prefix(scope)
        listed = [record.value for record in self._client.state.scan(prefix, reverse=True, limit=limit)]
        found = self._client.state.get_many([RECORDS + conversation_id for conversation_id in listed])
        stored = [_stored(found[key]) for key in (RECORDS + each for each in dict.fromkeys(listed)) if key in found]
        return [_records.validate_json(each.record) for each in stored]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store a record and its new entries together. Raises ConversationConflict."""
        with translated(UserError, AgentRunError):
            who = RECORDS + arguments.name(record.conversation_id, "conversation_id")
            try:
                packed = _records.dump_json(record).decode()
                entries = [_packed(entry) for entry in new_entries]
            except (PydanticSerializationError, ValueError) as error:
                raise UserError(f"the conversation cannot be written as JSON: {error}") from error

            def save(transaction: Transaction) -> None:
                stored = _expected(transaction, record.conversation_id, expected_revision)
                places = places_of(transaction, _needed(record, entries))
                if places is None:
                    raise ConversationConflict(record.conversation_id)
                trunk, pinned = stored.trunk, list(stored.pinned)
                for place in places.values():
                    if place[0] != trunk:
                        pin(transaction, place, who)
                        pinned = sorted({*pinned, place[0]})
                if entries:
                    root = places.get(entries[0].parent_id or "")
                    trunk = trunk or entries[0].id
                    grow(transaction, trunk, who, root, entries)
                listed = _listed(record)
                for key in set(stored.listed) - set(listed):
                    transaction.state.delete(key)
                after = Stored(packed, record.revision, listed, trunk, pinned)
                transaction.state.put_many(
                    {who: msgspec.to_builtins(after), **dict.fromkeys(listed, record.conversation_id)}
                )

            await write(self._client.transact, save)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a conversation's record, and the entries that no other conversation needs.

        Raises ConversationConflict.
        """
        with translated(UserError, AgentRunError):
            await write(self._delete, conversation_id, expected_revision)

    def _delete(self, conversation_id: str, expected_revision: str) -> None:
        who = RECORDS + arguments.name(conversation_id, "conversation_id")

        def delete(transaction: Transaction) -> list[str]:
            stored = _expected(transaction, conversation_id, expected_revision)
            for key in (who, *stored.listed):
                transaction.state.delete(key)
            return unpin(transaction, {stored.trunk, *stored.pinned} - {""}, who)

        gone = self._client.transact(delete)
        # Rows without content, too many for one transaction if the conversation was long.
        for start in range(0, len(gone), _BATCH):
            with self._client.batch() as batch:
                for entry_id in gone[start : start + _BATCH]:
                    batch.state.delete(ENTRIES + entry_id)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Return an entry. Raises KeyError."""
        with translated(UserError, AgentRunError):
            found = await read(self._history, entry_id, 1)
        return _unpacked(found[0])

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> Entries:
        """Return the entries up to one, in order, or the last `limit` of them. Raises KeyError."""
        if head_id is None or limit == 0:
            return []
        with translated(UserError, AgentRunError):
            found = await read(self._history, head_id, limit)
        return [_unpacked(entry) for entry in reversed(found)]

    def _history(self, head_id: str, limit: int | None) -> list[Entry]:
        """Return the entries from one back to the first, or so many."""
        found: list[Entry] = []
        wanted: str | None = head_id
        while wanted is not None and len(found) != limit:
            known = len(found)
            for item in self._back_from(self._place(wanted), None if limit is None else limit - known):
                entry = entry_of(item.value)
                if entry.id == wanted:  # the others are those of branches it left
                    found.append(entry)
                    wanted = entry.parent_id
                if wanted is None or len(found) == limit:
                    break
            if len(found) == known:
                raise KeyError(wanted)
        return found

    def _place(self, entry_id: str) -> Place:
        record = self._client.state.get(ENTRIES + arguments.name(entry_id, "entry_id"))
        if record is None:
            raise KeyError(entry_id)
        trunk, position = record.value
        return trunk, position

    def _back_from(self, place: Place, count: int | None) -> Iterator[LogItem]:
        trunk, position = place
        page_items = _BATCH if count is None else min(count, _BATCH)
        try:
            yield from backwards(self._client.logs, trunk, before=position + 1, page_items=page_items)
        except Rewritten as error:  # deleted while it was read: the caller finds out by the record
            raise KeyError(trunk) from error


def _expected(transaction: Transaction, conversation_id: str, revision: str | None) -> Stored:
    record = transaction.state.get(RECORDS + conversation_id)
    stored = None if record is None else _stored(record)
    if (None if stored is None else stored.revision) != revision:
        raise ConversationConflict(conversation_id)
    return stored or Stored("", "", [])


def _needed(record: ConversationRecord, entries: list[Entry]) -> list[str]:
    """Return the entries that must be stored already: the head, and what the new ones stand on."""
    new = {entry.id for entry in entries}
    standing_on = [entry.parent_id for entry in entries]
    return [each for each in dict.fromkeys((*standing_on, record.head_id)) if each is not None and each not in new]


def _listed(record: ConversationRecord) -> list[str]:
    """Return the keys under which a record is found by its time, in all and in its scope."""
    behind = f"{max(0, round(record.updated_at.timestamp() * 1_000_000)):020}/{record.conversation_id}"
    return [BY_TIME + behind] + ([] if record.scope is None else [_scope_prefix(record.scope) + behind])


def _scope_prefix(scope: str) -> str:
    # The length keeps the scope "a" and a scope that begins with "a" apart.
    return f"{BY_SCOPE}{len(scope)}/{scope}/"


def _stored(record: Record) -> Stored:
    return msgspec.convert(record.value, Stored)


def _packed(entry: ConversationEntry) -> Entry:
    message = ModelMessagesTypeAdapter.dump_json([entry.message]).decode()
    return Entry(entry.id, entry.parent_id, entry.kind, message)


def _unpacked(entry: Entry) -> ConversationEntry:
    (message,) = ModelMessagesTypeAdapter.validate_json(entry.message)
    return ConversationEntry(id=entry.id, parent_id=entry.parent_id, message=message)
