"""Calls about ordered logs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from recollectd.client.arguments import (
    label_tuple,
    name,
    optional_whole,
    packed,
    plain,
    range_text,
    several,
    whole,
)
from recollectd.client.calls import Call, Calls, Style, Turn, Walk, ask, command, operation, query, walk
from recollectd.client.kinds.common import WALK_PAGE_ITEMS, any_deleted
from recollectd.client.results import LogAppended, LogInfo, LogItem, LogPage
from recollectd.client.times import Moment, iso_time, optional_time_us
from recollectd.protocol import limits
from recollectd.protocol.messages import logs as messages
from recollectd.protocol.messages.state import Absent

# Inside the class `list` is one of its methods.
LogItems: TypeAlias = list[LogItem]


class Logs(Calls[Style]):
    """Ordered logs: items (any msgpack value) at contiguous positions, from 0 on."""

    @operation
    def append(self, log_id: str, items: Iterable[object], *, if_next: int | None = None) -> Call[LogAppended]:
        """Append items, all or none; the log comes into being with its first.

        if_next: only if the next position is this (0: the log is new), else VersionConflict.
        """
        encoded = tuple(packed(item, f"items[{index}]") for index, item in enumerate(several(items, "items")))
        request = messages.LogAppend(
            self.namespace, name(log_id, "log_id"), encoded, optional_whole(if_next, "if_next")
        )
        return ask(request, _appended)

    @query
    def read(
        self,
        log_id: str,
        *,
        start: int | None = None,
        before: int | None = None,
        last: int | None = None,
        since: Moment | None = None,
        limit: int = limits.PAGE_ITEMS_DEFAULT,
    ) -> Call[LogPage]:
        """Return up to `limit` items in order, fewer where they are large; a log that is not there has none.

        At most one of: start, from this position on; before, those that lie before it; last, the newest so many;
        since, from the first stored at that time or later. None of them: from the first.
        """
        request = messages.LogRead(
            self.namespace,
            name(log_id, "log_id"),
            optional_whole(start, "start"),
            optional_whole(before, "before"),
            optional_whole(last, "last", least=1),
            optional_time_us(since, "since"),
            whole(limit, "limit", least=1, most=limits.PAGE_ITEMS_MAX),
        )
        return ask(request, _page)

    @walk
    def iterate(self, log_id: str, start: int = 0) -> Walk[LogItem]:
        """Walk all items from a position on, also those appended while the walk goes on."""
        name(log_id, "log_id")

        def page(position: int) -> Walk[LogItem]:
            def turn(reply: messages.LogPage) -> Turn[LogItem]:
                items = _items(reply.items)
                following = items[-1].position + 1 if items else reply.next
                return Turn(items, page(following) if items and following < reply.next else None)

            request = messages.LogRead(self.namespace, log_id, start=position, limit=WALK_PAGE_ITEMS)
            return ask(request, turn)

        return page(whole(start, "start"))

    @command
    def pop_last(self, log_id: str, count: int = 1) -> Call[LogItems]:
        """Take the newest `count` items off and return them in order, fewer if there were fewer."""
        request = messages.LogPopLast(
            self.namespace, name(log_id, "log_id"), whole(count, "count", least=1, most=limits.PAGE_ITEMS_MAX)
        )
        return ask(request, _popped)

    @operation
    def truncate(self, log_id: str, *, before: int | None = None, after: int | None = None) -> Call[LogInfo]:
        """Drop the items before a position, and those at another and later. Raises NotFound.

        Positions are never given anew to items in front; what is dropped behind is written again from there.
        """
        request = messages.LogTruncate(
            self.namespace, name(log_id, "log_id"), optional_whole(before, "before"), optional_whole(after, "after")
        )
        return ask(request, _info)

    @command
    def copy(self, log_id: str, target_id: str, *, target_namespace: Sequence[str] | None = None) -> Call[LogInfo]:
        """Copy a log, positions and times kept, to an id that is not there yet (AlreadyExists).

        target_namespace: another namespace with the same first label. One copy is one commit: TooLarge over its limit.
        """
        target = self.namespace if target_namespace is None else label_tuple(target_namespace, "target_namespace")
        request = messages.LogCopy(self.namespace, name(log_id, "log_id"), target, name(target_id, "target_id"))
        return ask(request, _info)

    @operation
    def delete(self, log_id: str) -> Call[bool]:
        """Delete a log and its items; return whether there was one."""
        return ask(messages.LogDelete(self.namespace, name(log_id, "log_id")), any_deleted)

    @query
    def info(self, log_id: str) -> Call[LogInfo | None]:
        """Return a log's bounds and times, or None."""
        return ask(messages.LogHead(self.namespace, name(log_id, "log_id")), _optional_info)

    @walk
    def list(self, prefix: str = "") -> Walk[LogInfo]:
        """Walk the namespace's logs in the order of their ids' bytes."""
        range_text(prefix, "prefix")

        def page(cursor: bytes) -> Walk[LogInfo]:
            def turn(reply: messages.LogInfos) -> Turn[LogInfo]:
                return Turn([_info(each) for each in reply.logs], page(reply.cursor) if reply.cursor else None)

            return ask(messages.LogList(self.namespace, prefix, WALK_PAGE_ITEMS, cursor), turn)

        return page(b"")


def _items(wire: Sequence[messages.LogItem]) -> LogItems:
    return [LogItem(item.position, iso_time(item.stored_at), plain(item.value)) for item in wire]


def _appended(reply: messages.LogAppended) -> LogAppended:
    return LogAppended(reply.first, reply.next, iso_time(reply.stored_at))


def _page(reply: messages.LogPage) -> LogPage:
    return LogPage(_items(reply.items), reply.first, reply.next)


def _popped(reply: messages.LogPage) -> LogItems:
    return _items(reply.items)


def _info(reply: messages.LogInfo) -> LogInfo:
    return LogInfo(reply.log_id, reply.first, reply.next, iso_time(reply.created_at), iso_time(reply.updated_at))


def _optional_info(reply: messages.LogInfo | Absent) -> LogInfo | None:
    return None if isinstance(reply, Absent) else _info(reply)
