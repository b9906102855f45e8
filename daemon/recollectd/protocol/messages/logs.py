"""Messages about ordered logs. Tags 32-47 (requests), 32-47 (replies)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from recollectd.protocol import limits
from recollectd.protocol.messages.fields import (
    Cursor,
    LogId,
    Namespace,
    OptionalPosition,
    OptionalTime,
    PageLimit,
    Part,
    Position,
    Reply,
    Request,
    Revision,
    Time,
    Value,
    Write,
)


class LogAppend(Write, frozen=True, tag=32):
    """Appends items, all or none; the log comes into being with its first. Answered by `LogAppended`."""

    namespace: Namespace
    log_id: LogId
    items: Annotated[tuple[Value, ...], Meta(description="at least one")]
    if_next: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="only if the next position is this (0: the log is new or empty at 0)"),
    ] = None


class LogAppended(Reply, frozen=True, tag=32):
    """Answers `LogAppend`: the items lie at first ... next - 1."""

    first: Position
    next: Position
    stored_at: Time


class LogRead(Request, frozen=True, tag=33):
    """Reads items in the order of their positions. Answered by `LogPage`.

    At most one of start, before, last and since. start: from there on; before: the `limit` items that lie before it;
    last: the newest so many (at most `limit`); since: from the first item stored at that time or later; none: from
    the first item.
    """

    namespace: Namespace
    log_id: LogId
    start: OptionalPosition = None
    before: OptionalPosition = None
    last: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="the newest so many")] = None
    since: OptionalTime = None
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT


class LogItem(Part, frozen=True):
    """One item."""

    position: Position
    stored_at: Time
    value: Value


class LogPage(Reply, frozen=True, tag=33):
    """Answers `LogRead`. Ends early after `page_bytes_max` bytes; for before and last it then begins late."""

    items: Annotated[tuple[LogItem, ...], Meta(description="in the order of their positions")]
    first: Annotated[int, Meta(ge=0, description="the log's first position")]
    next: Annotated[int, Meta(ge=0, description="the position the next item will get")]
    revision: Revision


class LogPopLast(Write, frozen=True, tag=34):
    """Takes the newest items off. Answered by `LogPage` with the items as they were."""

    namespace: Namespace
    log_id: LogId
    count: PageLimit = 1


class LogTruncate(Write, frozen=True, tag=35):
    """Drops the items before one position and from another on. Answered by `LogInfo`."""

    namespace: Namespace
    log_id: LogId
    before: OptionalPosition = None
    after: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="drop the items at this position and later; nil: none")
    ] = None


class LogInfo(Reply, frozen=True, tag=35):
    """What a log's head says."""

    log_id: LogId
    first: Position
    next: Position
    created_at: Time
    updated_at: Time
    revision: Revision


class LogCopy(Write, frozen=True, tag=36):
    """Copies a log's items into a log that does not exist yet, positions and times kept. Answered by `LogInfo`.

    At most `commit_bytes_max` bytes: one copy is one commit.
    """

    namespace: Namespace
    log_id: LogId
    target_namespace: Namespace
    target_id: LogId


class LogDelete(Write, frozen=True, tag=37):
    """Deletes a log and its items. Answered by `Deleted`."""

    namespace: Namespace
    log_id: LogId


class LogHead(Request, frozen=True, tag=38):
    """Asks for a log's bounds and times. Answered by `LogInfo` or `Absent`."""

    namespace: Namespace
    log_id: LogId


class LogList(Request, frozen=True, tag=39):
    """Walks a namespace's logs in the order of their ids' bytes. Answered by `LogInfos`."""

    namespace: Namespace
    prefix: Annotated[str, Meta(description="only ids beginning with this")] = ""
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    cursor: Cursor = b""


class LogInfos(Reply, frozen=True, tag=39):
    """Answers `LogList`."""

    logs: Annotated[tuple[LogInfo, ...], Meta(description="in the order of their ids")]
    cursor: Cursor
