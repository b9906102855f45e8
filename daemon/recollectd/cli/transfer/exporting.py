"""Writing records out as recollectd's own lines, in pages, from any place on.

Namespaces come in the order of their labels; in each the state records by key, the logs by id, the conversations by the
time they were created. A place says how far the pages are, and the pages after it can be had again from it. Values are
never held beyond a page; the names of all namespaces are, and the ids of one namespace's conversations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from msgspec import Struct

import recollectd
from recollectd.cli.transfer.exporting_memories import memory_pages, settings_lines, space_lines
from recollectd.cli.transfer.lines import (
    FORMAT,
    ConversationLine,
    ExportLine,
    Labels,
    LogLine,
    MessageLine,
    StateLine,
    write_line,
)
from recollectd.cli.transfer.separate_vectors import messages_taken_out, space_blocks, taken_out

if TYPE_CHECKING:
    from recollectd.client import Client
    from recollectd.client.results import ConversationInfo, Message

OrderT = TypeVar("OrderT", bound=tuple[Any, ...])

PAGE_RECORDS: Final = 1_000
STATE: Final = "state"
LOG: Final = "log"
CONVERSATION: Final = "conversation"
MEMORY: Final = "memory"
KINDS: Final = (STATE, LOG, CONVERSATION, MEMORY)
WHOLE_SECOND: Final = len("2026-01-31T12:00:00")


class Place(Struct, frozen=True):
    """How far an export is: before the record or page named.

    kind: of KINDS. cursor: of a scan of states. id and position: a log's; created_at and id: a conversation's;
    conversation_id, position and id: those of the last memory told. spaces: whether the namespace's vector spaces and
    settings of search are told: they come before what has vectors.
    """

    namespace: Labels = ()
    kind: str = STATE
    cursor: bytes = b""
    created_at: str = ""
    id: str = ""
    position: int = 0
    conversation_id: str = ""
    spaces: bool = False


class Page(NamedTuple):
    """Lines, how many of them are records, the place behind them, and blocks of vectors that are not in the lines.

    place: None where there is none, as inside a conversation.
    """

    text: bytes
    records: int
    place: Place | None
    aside: bytes = b""


def export_pages(
    client: Client,
    prefix: Labels = (),
    kinds: Sequence[str] = KINDS,
    at: Place | None = None,
    *,
    vectors_aside: bool = False,
) -> Iterator[Page]:
    """Yield all records of the namespaces that begin with `prefix`, of these kinds, from a place on.

    vectors_aside: vectors are beside the lines instead of in them.

    The walk is no snapshot: what changes meanwhile is in it as it is when the walk comes by.
    """
    if at is None:
        at = Place()
        yield Page(write_line(_beginning()), 0, at)
    for namespace in sorted(client.namespaces(prefix)):
        if namespace < at.namespace:
            continue
        start = at if namespace == at.namespace else Place()
        view = client.with_namespace(*namespace)
        told = start.spaces
        for kind in KINDS[KINDS.index(start.kind) :]:
            if kind not in kinds:
                continue
            from_here = start if kind == start.kind else Place()
            if kind in WITH_VECTORS:
                if not (told or from_here.id):
                    yield from _spaces(view, namespace, vectors_aside)
                    told = True
                yield from WITH_VECTORS[kind](view, namespace, from_here, vectors_aside)
            else:
                yield from _WALKS[kind](view, namespace, from_here)


def _beginning() -> ExportLine:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return ExportLine(format=FORMAT, version=recollectd.__version__, exported_at=now)


def _states(client: Client, namespace: Labels, start: Place) -> Iterator[Page]:
    cursor = start.cursor
    while True:
        page = client.state.scan_page(limit=PAGE_RECORDS, cursor=cursor)
        lines = [
            StateLine(
                namespace=namespace,
                key=record.key,
                value=record.value,
                version=record.version,
                created_at=record.created_at,
                updated_at=record.updated_at,
                expires_at=record.expires_at,
            )
            for record in page.records
        ]
        cursor = page.cursor
        place = Place(namespace=namespace, cursor=cursor) if cursor else Place(namespace=namespace, kind=LOG)
        yield Page(b"".join(map(write_line, lines)), len(lines), place)
        if not cursor:
            return


def _logs(client: Client, namespace: Labels, start: Place) -> Iterator[Page]:
    for info in client.logs.list():
        if info.log_id < start.id:
            continue
        position = max(info.first, start.position if info.log_id == start.id else 0)
        while position < info.next:
            page = client.logs.read(info.log_id, start=position, limit=PAGE_RECORDS)
            if not page.items:
                break  # it was deleted or truncated meanwhile
            lines = [
                LogLine(
                    namespace=namespace,
                    log_id=info.log_id,
                    position=item.position,
                    value=item.value,
                    stored_at=item.stored_at,
                )
                for item in page.items
            ]
            position = page.items[-1].position + 1
            place = Place(namespace=namespace, kind=LOG, id=info.log_id, position=position)
            yield Page(b"".join(map(write_line, lines)), len(lines), place)


def _spaces(client: Client, namespace: Labels, vectors_aside: bool) -> Iterator[Page]:
    spaces, settings = space_lines(client, namespace), settings_lines(client, namespace)
    if spaces or settings:
        aside = space_blocks(spaces) if vectors_aside else b""
        text = b"".join((*map(write_line, settings), *map(write_line, spaces)))
        yield Page(text, len(settings) + len(spaces), None, aside)


def _conversations(client: Client, namespace: Labels, start: Place, vectors_aside: bool) -> Iterator[Page]:
    vectors = bool(client.vector_spaces.list())
    for created_at, conversation_id in conversations_in_order(client, _creation):
        if (created_at, conversation_id) < (start.created_at, start.id):
            continue
        info = client.conversations.info(conversation_id)
        if info is None:
            continue  # it was deleted meanwhile
        begin = ConversationLine(
            namespace=namespace,
            conversation_id=conversation_id,
            created_at=info.created_at,
            last_used_at=info.last_used_at,
            total_messages=info.total_messages,
            metadata=info.metadata,
        )
        text, pending = write_line(begin), list[MessageLine]()
        records = 1
        for message in client.conversations.iterate(conversation_id, vectors=vectors):
            if len(pending) + records > PAGE_RECORDS:
                yield _page_of_messages(text, records, pending, None, vectors_aside)
                text, pending, records = b"", [], 0
            pending.append(message_line(namespace, conversation_id, message))
        behind = Place(
            namespace=namespace, kind=CONVERSATION, created_at=created_at, id=conversation_id + "\0", spaces=True
        )
        yield _page_of_messages(text, records, pending, behind, vectors_aside)


def _page_of_messages(
    text: bytes, records: int, messages: Sequence[MessageLine], place: Place | None, vectors_aside: bool
) -> Page:
    """Return a page of messages behind a text of some records."""
    aside = b""
    if vectors_aside:
        messages, aside = messages_taken_out(messages)
    return Page(text + b"".join(map(write_line, messages)), records + len(messages), place, aside)


def _memories(client: Client, namespace: Labels, start: Place, vectors_aside: bool) -> Iterator[Page]:
    behind = (start.conversation_id, start.position, start.id) if start.id else None
    for lines, (conversation_id, position, memory_id) in memory_pages(client, namespace, behind):
        aside = b""
        if vectors_aside:
            lines, aside = taken_out(lines)
        place = Place(
            namespace=namespace, kind=MEMORY, conversation_id=conversation_id, position=position, id=memory_id
        )
        yield Page(b"".join(map(write_line, lines)), len(lines), place, aside)


def message_line(namespace: Labels | None, conversation_id: str, message: Message) -> MessageLine:
    """Return a message as its line."""
    return MessageLine(
        namespace=namespace,
        conversation_id=conversation_id,
        message_id=message.message_id,
        role=message.role,
        content=message.content,
        timestamp=message.timestamp,
        valid_at=message.valid_at,
        metadata=message.metadata,
        vectors=message.vectors or None,
    )


def conversations_in_order(client: Client, order: Callable[[ConversationInfo], OrderT]) -> list[OrderT]:
    """Return what `order` says of each conversation of a namespace, sorted.

    Conversations are listed the last used first, so one that is used during the walk moves to where the walk has been.
    The front is therefore walked again until nothing new is found there.
    """
    found: set[OrderT] = set()
    used_since = ""
    while True:
        before = len(found)
        newest = used_since
        for info in client.conversations.list():
            if info.last_used_at[:WHOLE_SECOND] < used_since[:WHOLE_SECOND]:
                break
            found.add(order(info))
            newest = max(newest, info.last_used_at)
        if len(found) == before:
            return sorted(found)
        used_since = newest


def _creation(info: ConversationInfo) -> tuple[str, str]:
    return info.created_at, info.conversation_id


_WALKS: Final = {STATE: _states, LOG: _logs}
WITH_VECTORS: Final = {CONVERSATION: _conversations, MEMORY: _memories}
