"""Messages as a buffer holds them, and the calls that carry blocks of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from msgspec import Raw, Struct

from recollectd.client import arguments
from recollectd.client.arguments import plain
from recollectd.client.calls import Call, Calls, Style, ask, operation, query
from recollectd.client.times import Moment, iso_time, optional_time_us
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import conversations as messages

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
BLOCK_MESSAGES_MAX: Final = 1_000
BLOCK_BYTES_MAX: Final = limits.COMMIT_BYTES_MAX // 4
"""Of content: UTF-8 has at most 4 bytes a character, and a block is one commit."""


class Entry(Struct):
    """One message; metadata as msgpack, so that nobody changes it from outside."""

    role: str
    content: str
    time_us: int
    metadata: Raw | bytes | None
    timestamp: str = ""

    def shown(self) -> dict[str, Any]:
        """Return the message as callers get it."""
        if not self.timestamp:  # a text for each message that is ever shown, made once: most of what showing costs
            self.timestamp = iso_time(self.time_us)
        message: dict[str, Any] = {"role": self.role, "content": self.content, "timestamp": self.timestamp}
        if self.metadata is not None:
            message["metadata"] = plain(self.metadata)
        return message

    @property
    def size(self) -> int:
        """About how many bytes it takes, never too few by more than the content's non-ASCII characters."""
        return len(self.content) + (0 if self.metadata is None else memoryview(self.metadata).nbytes)


def checked(
    role: str, content: str, timestamp: Moment | None, metadata: Mapping[str, object] | None, after_us: int
) -> Entry:
    """Return a message whose time is given, or now and behind `after_us`. Raises InvalidArgument naming the field."""
    given_us = optional_time_us(timestamp, "timestamp")
    if given_us is None:
        elapsed = datetime.now(UTC) - _EPOCH
        now_us = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
        given_us = max(now_us, after_us + 1)
    return Entry(arguments.role(role), arguments.content(content), given_us, arguments.metadata(metadata))


def block_of(entries: Iterable[Entry]) -> list[Entry]:
    """Return as many entries from the first on as one commit takes."""
    block: list[Entry] = []
    size = 0
    for entry in entries:
        size += entry.size
        if block and (len(block) == BLOCK_MESSAGES_MAX or size > BLOCK_BYTES_MAX):
            break
        block.append(entry)
    return block


class Tail(NamedTuple):
    """The newest messages of a history: the first of them lies at position `first`, the next will lie at `next`."""

    first: int
    entries: list[Entry]
    next: int


class BlockCalls(Calls[Style]):
    """Calls about a conversation by positions, which the calls of `conversations` leave out."""

    @operation
    def append(self, conversation_id: str, entries: Sequence[Entry]) -> Call[int]:
        """Append messages, all or none; return the position of the first. Raises NotFound."""
        request = messages.ConversationAppend(self.namespace, conversation_id, tuple(map(_new, entries)))
        return ask(request, _first_position)

    @query
    def tail(self, conversation_id: str, last: int, before: int | None = None) -> Call[Tail]:
        """Return up to `last` newest messages, or those before a position; fewer where they are large.

        Raises NotFound.
        """
        limit = min(last, limits.PAGE_ITEMS_MAX)
        request = messages.ConversationHistory(
            self.namespace, conversation_id, limit if before is None else None, before, limit=limit
        )
        return ask(request, _tail)

    @query
    def page(self, conversation_id: str, start: int) -> Call[Tail]:
        """Return messages from a position on. Raises NotFound."""
        after = start - 1 if start else None
        request = messages.ConversationHistory(
            self.namespace, conversation_id, after=after, limit=limits.PAGE_ITEMS_MAX
        )
        return ask(request, _tail)


def _new(entry: Entry) -> messages.NewMessage:
    return messages.NewMessage(arguments.role(entry.role), entry.content, None, entry.time_us, _raw(entry.metadata))


def _raw(metadata: Raw | bytes | None) -> Raw | None:
    return metadata if metadata is None or isinstance(metadata, Raw) else Raw(metadata)


def _first_position(reply: messages.MessagesStored) -> int:
    return reply.messages[0].position


def _tail(reply: messages.History) -> Tail:
    first = reply.messages[0].position if reply.messages else reply.total_messages
    return Tail(first, [_entry(each) for each in reply.messages], reply.total_messages)


def _entry(wire: messages.Message) -> Entry:
    time_us = wire.timestamp if wire.valid_at is None else wire.valid_at
    # A copy: the buffer would keep the whole frame that the reply came in.
    return Entry(wire.role, wire.content, time_us, None if wire.metadata is None else wire.metadata.copy())


def find_run(calls: BlockCalls[Any], conversation_id: str, run: Sequence[Entry], start: int) -> int | None:
    """Return where these messages lie one after the other, from a position on, or None.

    Times are microseconds and never the same twice in one buffer: equal role, content and time are the same message.
    """
    position = start
    while True:
        try:
            page: Tail = calls.page(conversation_id, position)
        except errors.NotFound:
            return None
        wanted = [(entry.role, entry.content, entry.time_us) for entry in run]
        found = [(entry.role, entry.content, entry.time_us) for entry in page.entries]
        for index, message in enumerate(found):
            if message == wanted[0] and found[index : index + len(wanted)] == wanted[: len(found) - index]:
                return page.first + index
        position = page.first + len(found)
        if not found or position >= page.next:
            return None
