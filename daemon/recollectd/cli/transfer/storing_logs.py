"""Items of logs of a chunk of lines into the store; a log and a position say which item a line is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recollectd.cli.transfer.chunks import Numbered, Report, grouped, naming_lines, same_value
from recollectd.cli.transfer.failures import DataError
from recollectd.cli.transfer.lines import LogLine
from recollectd.protocol import limits

if TYPE_CHECKING:
    from recollectd.client import Client, Transaction
    from recollectd.client.results import LogInfo

Items = list[Numbered[LogLine]]

FILL_ITEMS: Final = limits.OPERATIONS_PER_FRAME_MAX
FILL_POSITIONS_MAX: Final = 10_000_000


def store_logs(client: Client, chunk: Items, report: Report) -> None:
    """Append the items behind each log's end; those before it must be what is there."""
    for log_id, items in grouped(chunk, lambda line: line.log_id).items():
        _store_log(client, log_id, items, report)


def _store_log(client: Client, log_id: str, items: Items, report: Report) -> None:
    with naming_lines(items):
        info = client.logs.info(log_id)
    end = info.next if info is not None else 0
    there = [numbered for numbered in items if numbered.line.position < end]
    if there:
        assert info is not None
        _compare(client, info, there)
        report.skip("log", len(there))
    fresh = [numbered for numbered in items if numbered.line.position >= end]
    if not fresh:
        return
    first = fresh[0].line.position
    if first > end:
        if info is not None and info.first < info.next:
            raise _gap(fresh[0], end)
        _skip_positions(client, log_id, end, fresh[0])
    for expected, numbered in enumerate(fresh, first):
        if numbered.line.position != expected:
            raise _gap(numbered, expected)
    with naming_lines(fresh):
        client.logs.append(log_id, [numbered.line.value for numbered in fresh], if_next=first)
    report.add("log", len(fresh))


def _gap(numbered: Numbered[LogLine], expected: int) -> DataError:
    line = numbered.line
    return DataError(
        numbered.number, f"item {line.position} of log {line.log_id!r} is out of place: the next one is {expected}"
    )


def _compare(client: Client, info: LogInfo, there: Items) -> None:
    """Refuse lines whose positions hold something else: a position alone does not say that it is the same log."""
    positions = [numbered.line.position for numbered in there if numbered.line.position >= info.first]
    if not positions:
        return
    stored: dict[int, object] = {}
    start, end = min(positions), max(positions) + 1
    while start < end:
        page = client.logs.read(info.log_id, start=start, limit=min(end - start, limits.PAGE_ITEMS_MAX))
        if not page.items:
            break
        stored.update((item.position, item.value) for item in page.items)
        start = page.items[-1].position + 1
    for number, line in there:
        if line.position in stored and not same_value(stored[line.position], line.value):
            raise DataError(number, f"log {line.log_id!r} holds something else at position {line.position}")


def _skip_positions(client: Client, log_id: str, start: int, numbered: Numbered[LogLine]) -> None:
    """Let an empty log go on at the position of this line: the source's log had lost its first items.

    Filling and dropping are one commit, so that a crash in between leaves an empty log to go on with.
    """
    target = numbered.line.position
    if target - start > FILL_POSITIONS_MAX:
        raise DataError(
            numbered.number, f"log {log_id!r} begins at position {target}; at most {FILL_POSITIONS_MAX} can be skipped"
        )
    while start < target:
        following = min(start + FILL_ITEMS, target)

        def skip(transaction: Transaction, start: int = start, following: int = following) -> None:
            transaction.logs.append(log_id, [None] * (following - start), if_next=start)
            transaction.logs.truncate(log_id, before=following)

        with naming_lines([numbered]):
            client.transact(skip)
        start = following
