"""Writing records of one namespace out as the lines of another program, by the mapping that read them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from recollectd.cli.tagging import to_plain_json
from recollectd.cli.transfer.exporting import conversations_in_order, message_line
from recollectd.cli.transfer.foreign import IMPORTED, ConversationMapping, ValueMapping
from recollectd.cli.transfer.lines import MessageLine

if TYPE_CHECKING:
    from recollectd.client import Client
    from recollectd.client.results import ConversationInfo

LINE_UNKNOWN: Final = 1 << 62


class _Order(NamedTuple):
    """Conversations that were imported come in the order of their source, others as they were created."""

    source: str
    line: int
    created_at: str
    conversation_id: str


def mapped_messages(client: Client, mapping: ConversationMapping) -> Iterator[bytes]:
    """Yield a line for each message: conversation by conversation, in the order in which their source began them.

    Where the mapping keeps the line's number, all lines come in the order of their numbers, from all conversations at
    once.
    """
    conversations = [_messages(client, place.conversation_id) for place in conversations_in_order(client, _order)]
    name = mapping.line_number
    messages: Iterable[MessageLine] = (message for conversation in conversations for message in conversation)
    if name is not None:
        messages = heapq.merge(*conversations, key=lambda message: _number((message.metadata or {}).get(name)))
    for message in messages:
        yield line_text(mapping.write(message))


def _order(info: ConversationInfo) -> _Order:
    about = (info.metadata or {}).get(IMPORTED)
    if not isinstance(about, dict):
        about = {}
    return _Order(str(about.get("source", "")), _number(about.get("line")), info.created_at, info.conversation_id)


def _number(line: Any) -> int:
    return line if isinstance(line, int) else LINE_UNKNOWN


def _messages(client: Client, conversation_id: str) -> Iterator[MessageLine]:
    for message in client.conversations.iterate(conversation_id):
        yield message_line(None, conversation_id, message)


def mapped_values(client: Client, mapping: ValueMapping) -> Iterator[bytes]:
    """Yield a line for each state record in the order of keys, or for each item of each log."""
    if mapping.kind == "state":
        for record in client.state.scan():
            yield line_text(mapping.write(record.key, record.value))
        return
    for info in client.logs.list():
        for item in client.logs.iterate(info.log_id, start=info.first):
            yield line_text(mapping.write(info.log_id, item.value))


def line_text(line: Any) -> bytes:
    """Return a line as it stands in the file, its end included."""
    return msgspec.json.encode(to_plain_json(line)) + b"\n"
