"""Listing checkpoints, newest first: keys of all that may match, then rows and values by the page as they are taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from recollectd.adapters.langgraph import names
from recollectd.adapters.langgraph.filters import field
from recollectd.adapters.langgraph.reading import ROWS_AT_ONCE, Reader, Target, target_of
from recollectd.adapters.langgraph.steps import Calls, Listing, Steps
from recollectd.adapters.langgraph.threads import Row, Thread
from recollectd.protocol import errors

_THREADS_AT_ONCE: Final = 256


class Left:
    """How many more are wanted; None: all."""

    def __init__(self, limit: int | None) -> None:
        self._left = limit

    def __bool__(self) -> bool:
        return self._left is None or self._left > 0

    def at_most(self, count: int) -> int:
        """Return how many of `count` are wanted."""
        return count if self._left is None else min(count, self._left)

    def take(self, found: Iterable[CheckpointTuple]) -> Iterator[CheckpointTuple]:
        """Yield as many as are wanted."""
        for each in found:
            if not self:
                return
            if self._left is not None:
                self._left -= 1
            yield each


def wanted(
    reader: Reader, config: Mapping[str, Any] | None, before: Mapping[str, Any] | None
) -> Steps[list[tuple[str, str]]]:
    """Return (thread id, key) of the checkpoints of a config's thread, or of all threads; the newest come last."""
    limit_id = str(((before or {}).get("configurable") or {}).get("checkpoint_id") or "")
    if config is not None and (config.get("configurable") or {}).get("thread_id") is not None:
        targets = [target_of(config)]
    else:
        targets = yield from _all_threads(reader, config)
    found: list[tuple[str, str]] = []
    for target in targets:
        keys = yield from reader.keys(target, limit_id)
        found += [(target.thread_id, key) for key in keys]
    if len(targets) > 1:
        found.sort(key=lambda each: names.split_checkpoint_key(each[1])[1], reverse=True)
    return found[::-1]


def _all_threads(reader: Reader, config: Mapping[str, Any] | None) -> Steps[list[Target]]:
    configurable = (config or {}).get("configurable") or {}
    (labels,) = yield Listing([lambda face: face.namespaces((*reader.base, "threads"))])
    targets: list[Target] = []
    for start in range(0, len(labels), _THREADS_AT_ONCE):
        some = labels[start : start + _THREADS_AT_ONCE]
        records = yield Calls([partial(_thread_record, namespace=namespace) for namespace in some])
        targets += [
            Target(record.value, configurable.get("checkpoint_ns"), configurable.get("checkpoint_id") or "")
            for record in records
            if record is not None
        ]
    return targets


def _thread_record(face: Any, *, namespace: tuple[str, ...]) -> Any:
    return face.with_namespace(*namespace).state.get(names.THREAD)


def next_page(
    reader: Reader,
    wanted: list[tuple[str, str]],
    filter: Mapping[str, Any] | None,
    left: Left,
    serde: SerializerProtocol,
) -> Steps[list[CheckpointTuple]]:
    """Return the next checkpoints that match, taking the keys looked at off `wanted`; perhaps none."""
    thread_id, _ = wanted[-1]
    keys: list[str] = []
    most = ROWS_AT_ONCE if filter else left.at_most(ROWS_AT_ONCE)
    while wanted and len(keys) < most and wanted[-1][0] == thread_id:
        keys.append(wanted.pop()[1])
    rows = yield from reader.rows(names.token(thread_id), keys)
    matching = [(key, row) for key, row in rows if _matches(serde.loads_typed(row.metadata), filter)]
    return (yield from _complete(reader, thread_id, matching[: left.at_most(len(matching))], serde))


def _complete(
    reader: Reader, thread_id: str, rows: list[tuple[str, Row]], serde: SerializerProtocol
) -> Steps[list[CheckpointTuple]]:
    thread = reader.threads.get(names.token(thread_id)) or Thread(0)
    try:
        return (yield from reader.complete(thread_id, rows, thread, serde))
    except errors.NotFound:
        # Pruned since the rows were read: those that are still there, one by one.
        found = []
        for key, row in rows:
            _, checkpoint_id = names.split_checkpoint_key(key)
            loaded = yield from reader.load(Target(thread_id, row.ns, checkpoint_id), serde)
            found += [loaded] if loaded is not None else []
        return found


def _matches(metadata: Mapping[str, Any], filter: Mapping[str, Any] | None) -> bool:
    return all(field(metadata, name) == value for name, value in (filter or {}).items())
