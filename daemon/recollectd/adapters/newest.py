"""The newest items of a log, however many, as the log was at one moment."""

from __future__ import annotations

from collections.abc import Iterator

from recollectd.client.calls import Blocking
from recollectd.client.kinds.logs import Logs
from recollectd.client.results import LogItem
from recollectd.protocol import limits


class Rewritten(Exception):
    """What lay before the items already given has been taken away or written anew."""


def backwards(
    logs: Logs[Blocking], log_id: str, *, before: int | None = None, page_items: int = limits.PAGE_ITEMS_MAX
) -> Iterator[LogItem]:
    """Walk a log's items from the newest, or from the one before a position, to the oldest. Raises Rewritten."""
    newer: LogItem | None = None
    while True:
        if before is None:
            page = logs.read(log_id, last=page_items, limit=page_items)
        else:
            page = logs.read(log_id, before=before, limit=page_items)
        if newer is not None and not _joins(page.items, newer):
            raise Rewritten(f"log {log_id!r} was cut or begun anew while it was read")
        yield from reversed(page.items)
        if not page.items or page.items[0].position == page.first:
            return
        newer, before = page.items[0], page.items[0].position


def newest(logs: Logs[Blocking], log_id: str, count: int | None = None) -> list[LogItem]:
    """Return a log's newest `count` items, or all, in order; none of a log that is not there."""
    while True:
        try:
            return _newest(logs, log_id, count)
        except Rewritten:
            continue


def _newest(logs: Logs[Blocking], log_id: str, count: int | None) -> list[LogItem]:
    found: list[LogItem] = []
    if count == 0:
        return found
    page_items = limits.PAGE_ITEMS_MAX if count is None else min(count, limits.PAGE_ITEMS_MAX)
    for item in backwards(logs, log_id, page_items=page_items):
        found.append(item)
        if len(found) == count:
            break
    found.reverse()
    return found


def _joins(older: list[LogItem], newer: LogItem) -> bool:
    """Tell whether a page ends where the last one began: without a gap, and not stored later (times never decrease)."""
    return bool(older) and older[-1].position == newer.position - 1 and older[-1].stored_at <= newer.stored_at
