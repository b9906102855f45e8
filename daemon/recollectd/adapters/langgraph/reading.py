"""Reading checkpoints: rows by key, then what tasks wrote and the pieces of values, all in flight together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, writes_sort_key
from langgraph.checkpoint.serde.base import SerializerProtocol

from recollectd.adapters.langgraph import names
from recollectd.adapters.langgraph.names import Namespace
from recollectd.adapters.langgraph.steps import Calls, Listing, Steps
from recollectd.adapters.langgraph.threads import Latest, Row, Thread, Threads
from recollectd.adapters.langgraph.values import Held, Known, Reference
from recollectd.protocol import errors, limits

ROWS_AT_ONCE: Final = 32
_ATTEMPTS: Final = 5


class Target(NamedTuple):
    """What a config names; checkpoint_id is "" for the latest."""

    thread_id: str
    checkpoint_ns: str | None
    checkpoint_id: str

    @property
    def ns(self) -> str:
        """The checkpoint namespace, the graph's own if the config names none."""
        return self.checkpoint_ns or ""

    @property
    def label(self) -> str:
        """The thread's token."""
        return names.token(self.thread_id)

    def config(self, checkpoint_id: str) -> RunnableConfig:
        """Return the config of a checkpoint of this thread and namespace."""
        named = {"thread_id": self.thread_id, "checkpoint_ns": self.ns, "checkpoint_id": checkpoint_id}
        return {"configurable": named}


def target_of(config: Mapping[str, Any]) -> Target:
    """Return what a config names. Raises ValueError if it names no thread."""
    configurable = config.get("configurable") or {}
    if configurable.get("thread_id") is None:
        raise ValueError("the config must name a thread: {'configurable': {'thread_id': ...}}")
    ns = configurable.get("checkpoint_ns")
    return Target(
        str(configurable["thread_id"]),
        None if ns is None else str(ns),
        str(configurable.get("checkpoint_id") or ""),
    )


class Write(msgspec.Struct, array_like=True, frozen=True):
    """One write of a task as it is stored: idx counts from 0, and is below for what may be written again."""

    idx: int
    channel: str
    kind: str
    data: bytes
    task_path: str


class Task(msgspec.Struct, array_like=True, frozen=True):
    """What a task wrote beside a checkpoint."""

    task_id: str
    writes: list[Write]


class Reader:
    """Reads the checkpoints below one namespace."""

    def __init__(self, base: Namespace, threads: Threads) -> None:
        self.base = base
        self.threads = threads

    def find(self, target: Target) -> Steps[tuple[str, Row, Thread] | None]:
        """Return the key and row that a target names, and its thread; None if it is not there."""
        namespace = names.thread_namespace(self.base, target.label)
        key = names.checkpoint_key(target.ns, target.checkpoint_id)
        if target.checkpoint_id:
            ask = partial(_get, namespace=namespace, key=key)
        else:
            ask = partial(_newest, namespace=namespace, prefix=key)
        found, record = yield Calls([ask, partial(_get, namespace=namespace, key=names.THREAD)])
        if not target.checkpoint_id:
            found = found.records[0] if found.records else None
        generation = record.version if record is not None else 0
        thread = self.threads.get(target.label)
        if thread is None or thread.generation != generation:
            thread = Thread(generation)
            self.threads.keep(target.label, thread)
        return None if found is None else (found.key, as_row(found.value), thread)

    def load(self, target: Target, serde: SerializerProtocol) -> Steps[CheckpointTuple | None]:
        """Return the checkpoint that a target names, None if it is not there."""
        for _ in range(_ATTEMPTS):
            found = yield from self.find(target)
            if found is None:
                return None
            key, row, thread = found
            try:
                (loaded,) = yield from self.complete(target.thread_id, [(key, row)], thread, serde, remember=True)
            except errors.NotFound:
                continue  # pruned since the row was read: look again what there is
            self._remember(target.label, key, row, thread, loaded)
            return loaded
        raise errors.TransactionConflict(f"thread {target.thread_id!r} was pruned again and again while it was read")

    def _remember(self, label: str, key: str, row: Row, thread: Thread, loaded: CheckpointTuple) -> None:
        ns_token, checkpoint_id = names.split_checkpoint_key(key)
        thread.latest[ns_token] = Latest(checkpoint_id, loaded.checkpoint["channel_versions"], row.values)
        self.threads.keep(label, thread)

    def complete(
        self,
        thread_id: str,
        rows: Sequence[tuple[str, Row]],
        thread: Thread,
        serde: SerializerProtocol,
        *,
        remember: bool = False,
    ) -> Steps[list[CheckpointTuple]]:
        """Return checkpoints with values and writes, for (key, row) each. Raises NotFound when pruned."""
        namespace = names.thread_namespace(self.base, names.token(thread_id))
        tasks = yield from self.tasks(namespace, [key for key, _ in rows])
        loaded = []
        for (key, row), found in zip(rows, tasks, strict=True):
            ns_token, checkpoint_id = names.split_checkpoint_key(key)
            known = thread.known.setdefault(ns_token, Known())
            data = yield from fetch(namespace, ns_token, known, row.values, remember=remember)
            checkpoint = serde.loads_typed(row.checkpoint)
            checkpoint["channel_values"] = {
                channel: serde.loads_typed((row.values[channel].kind, value)) for channel, value in data.items()
            }
            target = Target(thread_id, row.ns, checkpoint_id)
            loaded.append(
                CheckpointTuple(
                    config=target.config(checkpoint_id),
                    checkpoint=checkpoint,
                    metadata=serde.loads_typed(row.metadata),
                    parent_config=target.config(row.parent) if row.parent else None,
                    pending_writes=[
                        (task_id, write.channel, serde.loads_typed((write.kind, write.data)))
                        for task_id, write in ordered(found)
                    ],
                )
            )
        return loaded

    def tasks(self, namespace: Namespace, keys: Sequence[str]) -> Steps[list[list[Any]]]:
        """Return what was written beside each of these checkpoints."""
        found: list[list[Any]] = [[] for _ in keys]
        wanted = [(index, b"") for index in range(len(keys))]
        while wanted:
            pages = yield Calls(
                [partial(_writes, namespace=namespace, key=keys[index], cursor=cursor) for index, cursor in wanted]
            )
            for (index, _), page in zip(wanted, pages, strict=True):
                found[index] += [record.value for record in page.records]
            wanted = [(index, page.cursor) for (index, _), page in zip(wanted, pages, strict=True) if page.cursor]
        return found

    def keys(self, target: Target, before: str) -> Steps[list[str]]:
        """Return the keys of a thread's checkpoints, newest first: of one namespace, or of all if none is named."""
        namespace = names.thread_namespace(self.base, target.label)
        prefix = "c/" if target.checkpoint_ns is None else names.checkpoint_key(target.checkpoint_ns)
        (records,) = yield Listing([partial(_keys, namespace=namespace, prefix=prefix)])
        found = sorted(((names.split_checkpoint_key(record.key)[1], record.key) for record in records), reverse=True)
        return [
            key
            for checkpoint_id, key in found
            if (not before or checkpoint_id < before) and target.checkpoint_id in ("", checkpoint_id)
        ]

    def rows(self, label: str, keys: Sequence[str]) -> Steps[list[tuple[str, Row]]]:
        """Return the rows of these keys that are there, in the same order."""
        namespace = names.thread_namespace(self.base, label)
        (records,) = yield Calls([lambda face: face.with_namespace(*namespace).state.get_many(list(keys))])
        return [(key, as_row(records[key].value)) for key in keys if key in records]


def as_row(value: Any) -> Row:
    """Return a stored checkpoint."""
    return msgspec.convert(value, Row)


def ordered(values: Iterable[Any]) -> list[tuple[str, Write]]:
    """Return the writes of stored tasks in the order in which a run applies them."""
    tasks = [msgspec.convert(value, Task) for value in values]
    writes = [(task.task_id, write) for task in tasks for write in task.writes]
    return sorted(writes, key=lambda each: writes_sort_key(each[1].task_path, each[0], each[1].idx))


def fetch(
    namespace: Namespace, ns_token: str, known: Known, references: Mapping[str, Reference], *, remember: bool
) -> Steps[dict[str, bytes]]:
    """Return the bytes of values, in the order of the references. Raises NotFound when pieces have been pruned.

    remember: hold them as the channels' last values, which the next checkpoint will most likely build on.
    """
    ready = {channel: _ready(known, channel, reference) for channel, reference in references.items()}
    lacking = {channel: reference for channel, reference in references.items() if ready[channel] is None}
    items: dict[str, list[bytes]] = {channel: [] for channel in lacking}
    wanted = [
        (channel, names.values_log(ns_token, run[0]), run[1], run[1] + run[2])
        for channel, reference in lacking.items()
        for run in reference.runs
    ]
    while wanted:
        batch, wanted = wanted[:ROWS_AT_ONCE], wanted[ROWS_AT_ONCE:]
        pages = yield Calls([partial(_read, namespace=namespace, log=log, a=a, b=b) for _, log, a, b in batch])
        for index, ((channel, log, start, end), page) in enumerate(zip(batch, pages, strict=True)):
            if not page.items or page.items[0].position != start:
                raise errors.NotFound("pieces of the checkpoint's values are no longer there", field="checkpoint_id")
            items[channel] += [item.value for item in page.items]
            start += len(page.items)
            if start < end:
                # The rest of this run, and then the others: each value's items come in order.
                wanted = [(channel, log, start, end), *batch[index + 1 :], *wanted]
                break
    if remember and lacking:
        known.index()  # what these take the place of
    for channel, reference in lacking.items():
        data = ready[channel] = b"".join((reference.head, *items[channel]))
        if remember:
            known.held[channel] = Held(reference, data, tuple(map(len, items[channel])))
    return {channel: data for channel, data in ready.items() if data is not None}


def _ready(known: Known, channel: str, reference: Reference) -> bytes | None:
    """Return a value's bytes if they need not be asked for."""
    if not reference.runs:
        return reference.head
    held = known.held.get(channel)
    return held.data if held is not None and held.reference == reference else None


def _get(face: Any, *, namespace: Namespace, key: str) -> Any:
    return face.with_namespace(*namespace).state.get(key)


def _newest(face: Any, *, namespace: Namespace, prefix: str) -> Any:
    return face.with_namespace(*namespace).state.scan_page(prefix, reverse=True, limit=1)


def _keys(face: Any, *, namespace: Namespace, prefix: str) -> Any:
    return face.with_namespace(*namespace).state.scan(prefix, values=False)


def _writes(face: Any, *, namespace: Namespace, key: str, cursor: bytes) -> Any:
    return face.with_namespace(*namespace).state.scan_page(names.writes_prefix(key), cursor=cursor)


def _read(face: Any, *, namespace: Namespace, log: str, a: int, b: int) -> Any:
    limit = min(b - a, limits.PAGE_ITEMS_MAX)
    return face.with_namespace(*namespace).logs.read(log, start=a, limit=limit)
