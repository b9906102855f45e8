"""Conversations and messages of a chunk of lines into the store; their ids say which a line is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from recollectd.cli.transfer.chunks import Numbered, Report, grouped, naming_lines
from recollectd.cli.transfer.failures import DataError
from recollectd.cli.transfer.lines import ConversationLine, MessageLine
from recollectd.protocol.errors import AlreadyExists

if TYPE_CHECKING:
    from recollectd.client import Client
    from recollectd.client.results import NewMessage

BATCH: Final = 200

Conversations = list[Numbered[ConversationLine]]
Messages = list[Numbered[MessageLine]]


def store_conversations(client: Client, conversations: Conversations, messages: Messages, report: Report) -> None:
    """Create the conversations that are not there, then append the messages that are not there, in order."""
    _create(client, conversations, messages, report)
    pending = []
    with client.pipeline(raises=False) as pipeline:
        for conversation_id, lines in grouped(messages, lambda line: line.conversation_id).items():
            distinct = _distinct(lines)
            report.skip("message", len(lines) - len(distinct))
            for part in _parts(distinct):
                with naming_lines(part):
                    new = [_new_message(numbered.line) for numbered in part]
                    handle = pipeline.conversations.append_many(conversation_id, new, skip_duplicates=True)
                pending.append((part, handle))
    for lines, handle in pending:
        with naming_lines(lines):
            stored = handle.result()
        duplicates = sum(message.duplicate for message in stored)
        report.skip("message", duplicates)
        report.add("message", len(stored) - duplicates)
        for numbered, message in zip(lines, stored, strict=True):
            if numbered.line.vectors:
                count = report.skip if message.duplicate else report.add
                count("vector", len(numbered.line.vectors))


def _parts(lines: Messages) -> Iterator[Messages]:
    """Return messages that may be one commit: with vectors some of them are as large as all the rest."""
    size = BATCH if any(numbered.line.vectors for numbered in lines) else max(1, len(lines))
    for start in range(0, len(lines), size):
        yield lines[start : start + size]


def _create(client: Client, conversations: Conversations, messages: Messages, report: Report) -> None:
    """Create what is missing, with the metadata of its line if it has one of its own in this chunk."""
    # The first mention of each: the pairs that come later win, so they are read backwards.
    mentions = [(line.conversation_id, number) for number, line in conversations]
    mentions += [(line.conversation_id, number) for number, line in messages]
    numbers = dict(sorted(mentions, key=lambda mention: mention[1], reverse=True))
    metadata: dict[str, dict[str, Any] | None] = {
        line.conversation_id: line.metadata for _, line in reversed(conversations)
    }
    in_order = sorted(numbers.items(), key=lambda item: item[1])
    lookups = []
    with client.pipeline(raises=False) as pipeline:
        for conversation_id, number in in_order:
            with naming_lines([_place(number, conversation_id)]):
                lookups.append(pipeline.conversations.info(conversation_id))
    missing = [found for found, lookup in zip(in_order, lookups, strict=True) if lookup.result() is None]
    # Only lines of conversations count, as the messages of one may lie in many chunks.
    report.skip("conversation", len(metadata.keys() - {conversation_id for conversation_id, _ in missing}))
    if not missing:
        return
    creations = []
    with client.batch(raises=False) as batch:
        for conversation_id, number in missing:
            with naming_lines([_place(number, conversation_id)]):
                creations.append(batch.conversations.create(conversation_id, metadata=metadata.get(conversation_id)))
    for (conversation_id, number), creation in zip(missing, creations, strict=True):
        error = creation.exception()
        if isinstance(error, AlreadyExists):
            report.skip("conversation", 1)  # somebody else created it a moment ago
        else:
            with naming_lines([_place(number, conversation_id)]):
                creation.result()
            report.add("conversation", 1)


def _place(number: int, conversation_id: str) -> Numbered[ConversationLine]:
    return Numbered(number, ConversationLine(conversation_id=conversation_id))


def _distinct(lines: Messages) -> Messages:
    """Return the first line of each message; a second one must say the same."""
    first: dict[str, Numbered[MessageLine]] = {}
    for numbered in lines:
        message_id = numbered.line.message_id
        assert message_id is not None, "readers give every message an id"
        before = first.setdefault(message_id, numbered)
        if before.line.content != numbered.line.content:
            raise DataError(
                numbered.number, f"message {message_id!r} says something else than it does in line {before.number}"
            )
    return list(first.values())


def _new_message(line: MessageLine) -> NewMessage:
    from recollectd.client.results import NewMessage

    return NewMessage(
        role=line.role,
        content=line.content,
        message_id=line.message_id,
        valid_at=line.valid_at,
        metadata=line.metadata,
        vectors=line.vectors,
    )
