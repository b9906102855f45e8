"""Deleting, pruning and copying threads.

What is deleted is found inside the transaction that deletes it, and the thread's record moves to a new version. So a
checkpoint that somebody writes meanwhile is either seen here or finds that it must begin again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from langgraph.checkpoint.serde.base import SerializerProtocol

from recollectd.adapters.langgraph import names
from recollectd.adapters.langgraph.names import Namespace
from recollectd.adapters.langgraph.reading import Reader, as_row
from recollectd.adapters.langgraph.steps import Calls, Commit, Listing, Steps
from recollectd.adapters.langgraph.threads import Row
from recollectd.client.results import LogInfo
from recollectd.protocol import errors

DELETES_MAX: Final = 4_000
"""So many records go in one commit; a larger thread goes in several, and what is left can be deleted again."""
COPIED_BYTES_MAX: Final = 16 * 1024 * 1024
_ATTEMPTS: Final = 10


def delete_thread(reader: Reader, thread_id: str) -> Steps[None]:
    """Delete all of a thread."""
    label = names.token(thread_id)
    yield from _reduce(reader, label, lambda rows: set())


def delete_for_runs(reader: Reader, run_ids: Sequence[str]) -> Steps[None]:
    """Delete the checkpoints that these runs wrote, in whatever threads, and what was written beside them."""
    wanted = {str(run_id) for run_id in run_ids}
    runs = names.runs_namespace(reader.base)
    for run_id in wanted:
        prefix = names.run_key(run_id)
        (records,) = yield Listing([partial(_scan, namespace=runs, prefix=prefix, values=False)])
        for record in records:
            label = record.key.removeprefix(prefix)
            yield from _reduce(
                reader, label, lambda rows: {key for key, row in rows.items() if row.run_id not in wanted}
            )
            yield Calls([partial(_delete, namespace=runs, key=record.key)])


def prune(reader: Reader, thread_ids: Sequence[str], strategy: str, serde: SerializerProtocol) -> Steps[None]:
    """Delete all of some threads (`delete`), or all but what the latest checkpoint of each namespace needs."""
    if strategy not in ("keep_latest", "delete"):
        raise ValueError(f"a strategy is 'keep_latest' or 'delete', not {strategy!r}")
    for thread_id in thread_ids:
        if strategy == "delete":
            yield from delete_thread(reader, str(thread_id))
        else:
            yield from _reduce(reader, names.token(str(thread_id)), lambda rows: _needed(rows, serde))


def _needed(rows: Mapping[str, Row], serde: SerializerProtocol) -> set[str]:
    """Return the latest checkpoint of each namespace, and the ancestors that its delta channels are rebuilt from."""
    latest: dict[str, tuple[str, str]] = {}
    for key in rows:
        ns_token, checkpoint_id = names.split_checkpoint_key(key)
        latest[ns_token] = max(latest.get(ns_token, ("", "")), (checkpoint_id, key))
    kept: set[str] = set()
    for ns_token, (_, key) in latest.items():
        beginning = key[: len(f"c/{ns_token}/")]
        kept.add(key)
        open_channels = _rebuilt(rows, key, beginning, serde)
        seen = {key}
        while open_channels:
            parent = rows[key].parent
            key = "" if parent is None else beginning + parent
            if key not in rows or key in seen:
                break
            seen.add(key)
            kept.add(key)
            open_channels -= set(rows[key].values)
    return kept


def _rebuilt(rows: Mapping[str, Row], key: str, beginning: str, serde: SerializerProtocol) -> set[str]:
    """Return the channels that have no value in a checkpoint because earlier ones and their writes make it up."""
    row = rows[key]
    counters = (serde.loads_typed(row.metadata) or {}).get("counters_since_delta_snapshot") or {}
    snapshots = {
        channel
        for other, each in rows.items()
        if other.startswith(beginning)
        for channel, reference in each.values.items()
        if reference.snapshot
    }
    versions = serde.loads_typed(row.checkpoint).get("channel_versions", {})
    return ((set(counters) | snapshots) & set(versions)) - set(row.values)


def _reduce(reader: Reader, label: str, choose: Any) -> Steps[None]:
    """Delete the checkpoints of a thread but those that are chosen, with all that only they needed."""
    namespace = names.thread_namespace(reader.base, label)
    runs = names.runs_namespace(reader.base)

    def write(transaction: Any, walked: list[list[Any]], read: list[Any]) -> bool:
        checkpoints, writes, logs = walked
        rows = {record.key: as_row(record.value) for record in checkpoints}
        kept = choose(rows)
        beside = tuple(names.writes_prefix(key) for key in kept)
        doomed = [key for key in rows if key not in kept]
        doomed += [record.key for record in writes if not (beside and record.key.startswith(beside))]
        view = transaction.with_namespace(*namespace)
        for key in doomed[:DELETES_MAX]:
            view.state.delete(key)
        more = len(doomed) > DELETES_MAX
        if kept or more:
            freed = not more and _free(view, logs, [(key, rows[key]) for key in kept])
            if (doomed or freed) and read[0] is not None:
                view.state.put(names.THREAD, read[0].value)
            return more
        for log in logs:
            view.logs.delete(log.log_id)
        if read[0] is not None:
            view.state.delete(names.THREAD)
        for run_id in {row.run_id for row in rows.values() if row.run_id is not None}:
            transaction.with_namespace(*runs).state.delete(names.run_key(run_id, label))
        return False

    walks = [
        partial(_scan, namespace=namespace, prefix="c/", values=True),
        partial(_scan, namespace=namespace, prefix="w/", values=False),
        partial(_logs, namespace=namespace),
    ]
    more = True
    while more:
        more = yield Commit(walks, [partial(_get, namespace=namespace, key=names.THREAD)], write)
    reader.threads.forget(label)


def _free(view: Any, logs: Collection[Any], rows: Sequence[tuple[str, Row]]) -> bool:
    """Drop the pieces in front of every log that no checkpoint refers to any more; return whether there were any."""
    needed: dict[str, int] = {}
    for key, row in rows:
        ns_token, _ = names.split_checkpoint_key(key)
        for reference in row.values.values():
            for channel, first, _ in reference.runs:
                log = names.values_log(ns_token, channel)
                needed[log] = min(needed.get(log, first), first)
    freed = False
    for log in logs:
        first = needed.get(log.log_id, log.next)
        if first > log.first:
            view.logs.truncate(log.log_id, before=first)
            freed = True
    return freed


def copy_thread(reader: Reader, source_id: str, target_id: str) -> Steps[None]:
    """Copy all of a thread to one that has no checkpoints yet. Raises ValueError if it has."""
    source, target = names.token(source_id), names.token(target_id)
    conflict: errors.RecollectdError | None = None
    for _ in range(_ATTEMPTS):
        try:
            copied = yield from _copy_logs(reader, source, target, target_id)
            yield from _copy_rows(reader, source, target, target_id, copied)
        except errors.TransactionConflict as error:
            conflict = error
            continue
        reader.threads.forget(target)
        return
    raise errors.TransactionConflict(f"the thread changed {_ATTEMPTS} times while it was copied") from conflict


def _copy_logs(reader: Reader, source: str, target: str, target_id: str) -> Steps[dict[str, int]]:
    """Copy the pieces of values; return where each log ended. What an interrupted copy left goes first."""
    there, here = names.thread_namespace(reader.base, target), names.thread_namespace(reader.base, source)
    present, logs = yield Listing(
        [
            lambda face: face.with_namespace(*there).state.scan("c/", limit=1, values=False),
            partial(_logs, namespace=here),
        ]
    )
    if present:
        raise ValueError(f"thread {target_id!r} has checkpoints; delete it first, or copy to another")
    yield from _reduce(reader, target, lambda rows: set(rows))
    (left,) = yield Listing([partial(_logs, namespace=there)])
    yield Calls([partial(_delete_log, namespace=there, log=log.log_id) for log in left])
    ends: dict[str, int] = {}
    for log in logs:
        try:
            (copied,) = yield Calls([partial(_copy, namespace=here, log=log.log_id, there=there)])
            ends[log.log_id] = copied.next
        except errors.TooLarge:
            ends[log.log_id] = yield from _copy_by_pages(here, there, log)
    return ends


def _copy_by_pages(here: Namespace, there: Namespace, log: LogInfo) -> Steps[int]:
    """Copy a log that is more than one commit may carry, positions kept; return where the copy ends."""
    for start in range(0, log.first, DELETES_MAX):
        nothing = [b""] * min(DELETES_MAX, log.first - start)
        yield Calls([partial(_append, namespace=there, log=log.log_id, items=nothing, position=start)])
    position = log.first
    while position < log.next:
        (page,) = yield Calls([partial(_read, namespace=here, log=log.log_id, position=position)])
        if not page.items or page.items[0].position != position:
            raise errors.TransactionConflict("the thread was pruned while it was copied")
        items = [item.value for item in page.items]
        yield Calls([partial(_append, namespace=there, log=log.log_id, items=items, position=position)])
        position += len(items)
    if log.first:
        yield Calls([partial(_truncate, namespace=there, log=log.log_id, position=log.first)])
    return position


def _copy_rows(reader: Reader, source: str, target: str, target_id: str, copied: Mapping[str, int]) -> Steps[None]:
    there, here = names.thread_namespace(reader.base, target), names.thread_namespace(reader.base, source)
    runs = names.runs_namespace(reader.base)

    def write(transaction: Any, walked: list[list[Any]], read: list[Any]) -> None:
        checkpoints, writes, logs, present = walked
        if present:
            raise ValueError(f"thread {target_id!r} was begun by somebody else; delete it first, or copy to another")
        if any(copied.get(log.log_id, 0) < log.next for log in logs):
            raise errors.TransactionConflict("the thread has grown since its values were copied")
        if not checkpoints:
            return
        view = transaction.with_namespace(*there)
        view.state.put(names.THREAD, target_id)
        run_ids = [as_row(record.value).run_id for record in checkpoints]
        for record in (*checkpoints, *writes):
            view.state.put(record.key, record.value)
        for run_id in {run_id for run_id in run_ids if run_id is not None}:
            transaction.with_namespace(*runs).state.put(names.run_key(run_id, target), run_id)

    walks = [
        partial(_scan, namespace=here, prefix="c/", values=True),
        partial(_scan, namespace=here, prefix="w/", values=True),
        partial(_logs, namespace=here),
        partial(_scan, namespace=there, prefix="c/", values=False),
    ]
    yield Commit(walks, (), write, 1)


def _scan(face: Any, *, namespace: Namespace, prefix: str, values: bool) -> Any:
    return face.with_namespace(*namespace).state.scan(prefix, values=values)


def _logs(face: Any, *, namespace: Namespace) -> Any:
    return face.with_namespace(*namespace).logs.list()


def _get(face: Any, *, namespace: Namespace, key: str) -> Any:
    return face.with_namespace(*namespace).state.get(key)


def _delete(face: Any, *, namespace: Namespace, key: str) -> Any:
    return face.with_namespace(*namespace).state.delete(key)


def _copy(face: Any, *, namespace: Namespace, log: str, there: Namespace) -> Any:
    return face.with_namespace(*namespace).logs.copy(log, log, target_namespace=there)


def _read(face: Any, *, namespace: Namespace, log: str, position: int) -> Any:
    return face.with_namespace(*namespace).logs.read(log, start=position, limit=DELETES_MAX)


def _append(face: Any, *, namespace: Namespace, log: str, items: list[bytes], position: int) -> Any:
    return face.with_namespace(*namespace).logs.append(log, items, if_next=position)


def _truncate(face: Any, *, namespace: Namespace, log: str, position: int) -> Any:
    return face.with_namespace(*namespace).logs.truncate(log, before=position)


def _delete_log(face: Any, *, namespace: Namespace, log: str) -> Any:
    return face.with_namespace(*namespace).logs.delete(log)
