"""Reading entries by position: pages forwards and backwards, shared by logs and conversations."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, TypeVar

from recollectd.memory.holding import rows_at_once
from recollectd.memory.kind import Fetch, Rows
from recollectd.memory.logs.events import LogHead
from recollectd.protocol import limits
from recollectd.storage.keyspace import Family, path, row_key

_STEP: int = 256

HeadT = TypeVar("HeadT", bound=LogHead)


class Span(NamedTuple):
    """Positions first ... to - 1 of a log; from_end: when the page cannot hold all, the newest stay."""

    first: int
    to: int
    from_end: bool = False


def span_of(
    head: LogHead, limit: int, *, start: int | None = None, before: int | None = None, last: int | None = None
) -> Span:
    """Return which positions a page covers; at most one of start, before and last is given."""
    if last is not None:
        return Span(max(head.first, head.next - min(last, limit)), head.next, True)
    if before is not None:
        to = min(before, head.next)
        return Span(max(head.first, to - limit), max(to, head.first), True)
    first = head.first if start is None else max(start, head.first)
    return Span(first, max(first, min(first + limit, head.next)))


def fetch(key: bytes, span: Span, largest: int) -> Generator[Fetch, Rows, list[tuple[int, bytes]] | None]:
    """Fetch entries as (position, row) in order; None when one is missing: it was taken away meanwhile.

    largest: what the head says. Ends after PAGE_BYTES_MAX bytes, on the side the span says.
    """
    below = path(key)
    rows_max = rows_at_once(largest, _STEP)
    found: list[tuple[int, bytes]] = []
    size = 0
    first, to = span.first, span.to
    while first < to and size < limits.PAGE_BYTES_MAX:
        step = range(max(first, to - rows_max), to) if span.from_end else range(first, min(to, first + rows_max))
        rows = yield Fetch(Family.ENTRIES, [row_key(below, position) for position in step])
        pairs = list(zip(step, rows, strict=True))
        if span.from_end:
            pairs.reverse()
            to = step.start
        else:
            first = step.stop
        for position, row in pairs:
            if row is None:
                return None
            found.append((position, row))
            size += len(row)
            if size >= limits.PAGE_BYTES_MAX:
                break
    if span.from_end:
        found.reverse()
    return found


def unchanged(before: LogHead, now: LogHead | None) -> bool:
    """Return whether entries fetched after reading `before` are those it spoke of: only appends came in between."""
    return now is not None and now.incarnation == before.incarnation and now.rewritten == before.rewritten
