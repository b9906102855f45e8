"""Writing checkpoints: one transaction each, with what changed and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from recollectd.adapters.langgraph import names
from recollectd.adapters.langgraph.names import Namespace
from recollectd.adapters.langgraph.reading import Reader, Target, Task, Write, fetch
from recollectd.adapters.langgraph.steps import Calls, Commit, Steps
from recollectd.adapters.langgraph.threads import Latest, Row, Thread
from recollectd.adapters.langgraph.values import Known, Plan, Reference
from recollectd.protocol import errors, limits

FORMAT: Final = 1
_ATTEMPTS: Final = 50
_APPENDED_BYTES_MAX: Final = limits.COMMIT_BYTES_MAX // 2
_APPENDED_ITEMS_MAX: Final = limits.OPERATIONS_PER_FRAME_MAX // 2


Appended: TypeAlias = tuple[str, int, list[bytes]]
"""A channel, the position of the first item, and the items."""


class New(NamedTuple):
    """A checkpoint about to be written."""

    target: Target
    checkpoint: Mapping[str, Any]
    new_versions: Mapping[str, Any]
    metadata: tuple[str, bytes]
    run_id: str | None

    @property
    def ns_token(self) -> str:
        """The token of its checkpoint namespace."""
        return names.token(self.target.ns)


def put(reader: Reader, new: New, serde: SerializerProtocol) -> Steps[None]:
    """Write a checkpoint; target.checkpoint_id is its parent's. What cannot be serialized is told before any write."""
    label, checkpoint_id = new.target.label, str(new.checkpoint["id"])
    key = names.checkpoint_key(new.target.ns, checkpoint_id)
    bare = serde.dumps_typed({name: each for name, each in new.checkpoint.items() if name != "channel_values"})
    serialized: dict[str, tuple[str, bytes]] = {}
    conflict: errors.RecollectdError | None = None
    for _ in range(_ATTEMPTS):
        thread = yield from _thread(reader, new)
        known = thread.known.setdefault(new.ns_token, Known())
        fresh = _changed(new, thread)
        for channel in fresh:
            if channel not in serialized:
                serialized[channel] = serde.dumps_typed(new.checkpoint["channel_values"][channel])
        try:
            yield from _know_logs(reader, new, known, fresh)
            plan, values = _planned(new, thread, known, {channel: serialized[channel] for channel in fresh})
            row = Row(FORMAT, new.target.ns, new.target.checkpoint_id or None, new.run_id, bare, new.metadata, values)
            yield from _commit(reader.base, new, key, row, thread, plan)
        except (errors.TransactionConflict, errors.VersionConflict, errors.NotFound) as error:
            reader.threads.forget(label)
            conflict = error
            continue
        known.settle(plan)
        thread.latest[new.ns_token] = Latest(checkpoint_id, dict(new.checkpoint["channel_versions"]), values)
        reader.threads.keep(label, thread)
        return
    raise errors.TransactionConflict(f"still in conflict after {_ATTEMPTS} attempts: {conflict}") from conflict


def _thread(reader: Reader, new: New) -> Steps[Thread]:
    """Return what is known of the thread; where nothing is, read its record and the parent's values."""
    thread = reader.threads.get(new.target.label)
    if thread is not None and (new.ns_token in thread.known or not new.target.checkpoint_id):
        return thread
    found = yield from reader.find(new.target)
    thread = reader.threads.get(new.target.label) or Thread(0)
    if found is not None and new.target.checkpoint_id:
        _, row, thread = found
        known = thread.known.setdefault(new.ns_token, Known())
        namespace = names.thread_namespace(reader.base, new.target.label)
        yield from fetch(namespace, new.ns_token, known, row.values, remember=True)
    return thread


def _changed(new: New, thread: Thread) -> list[str]:
    """Return the channels whose values are not those of the parent, as far as that is known."""
    latest, values = thread.latest.get(new.ns_token), new.checkpoint["channel_values"]
    if latest is None or latest.checkpoint_id != new.target.checkpoint_id:
        return list(values)
    versions = new.checkpoint["channel_versions"]
    return [
        channel
        for channel in values
        if channel in new.new_versions
        or channel not in latest.values
        or channel not in versions
        or versions[channel] != latest.versions.get(channel)
    ]


def _know_logs(reader: Reader, new: New, known: Known, channels: Sequence[str]) -> Steps[None]:
    """Learn where the logs of these channels end."""
    unknown = [channel for channel in channels if channel not in known.following]
    if not unknown:
        return
    namespace = names.thread_namespace(reader.base, new.target.label)
    logs = [names.values_log(new.ns_token, channel) for channel in unknown]
    found = yield Calls([partial(_info, namespace=namespace, log=log) for log in logs])
    for channel, info in zip(unknown, found, strict=True):
        known.following[channel] = 0 if info is None else info.next


def _planned(
    new: New, thread: Thread, known: Known, serialized: Mapping[str, tuple[str, bytes]]
) -> tuple[Plan, dict[str, Reference]]:
    plan, values = Plan(known), {}
    for channel, value in new.checkpoint["channel_values"].items():
        if channel in serialized:
            kind, data = serialized[channel]
            values[channel] = plan.refer(channel, kind, data, snapshot=isinstance(value, _DeltaSnapshot))
        else:
            values[channel] = thread.latest[new.ns_token].values[channel]
    return plan, values


def _commit(base: Namespace, new: New, key: str, row: Row, thread: Thread, plan: Plan) -> Steps[None]:
    """Append the pieces and write the row, in one transaction unless the pieces are more than one can carry.

    Then those that do not fit go ahead. Nothing refers to them until the row is there.
    """
    label = new.target.label
    *ahead, last = list(_portions(plan))
    for portion in ahead:
        yield from _guarded(base, new, thread, portion, None)
    namespace = names.thread_namespace(base, label)

    def write_row(transaction: Any) -> None:
        transaction.with_namespace(*namespace).state.put(key, row)
        if new.run_id is not None and new.run_id not in thread.runs:
            runs = transaction.with_namespace(*names.runs_namespace(base))
            runs.state.put(names.run_key(new.run_id, label), new.run_id)

    yield from _guarded(base, new, thread, last, write_row)
    if new.run_id is not None:
        thread.runs.add(new.run_id)


def _guarded(
    base: Namespace, new: New, thread: Thread, portion: Sequence[Appended], more: Callable[[Any], None] | None
) -> Steps[None]:
    """Append, and write more, in one transaction that fails where what is known of the thread no longer holds."""
    namespace = names.thread_namespace(base, new.target.label)
    begun: list[Any] = []

    def write(transaction: Any, _: list[list[Any]], read: list[Any]) -> None:
        (record,) = read
        view = transaction.with_namespace(*namespace)
        if (0 if record is None else record.version) != thread.generation:
            raise errors.TransactionConflict(f"thread {new.target.thread_id!r} has been pruned, deleted or made anew")
        if record is None:
            begun.append(transaction)
            view.state.put(names.THREAD, new.target.thread_id)
        for channel, first, items in portion:
            view.logs.append(names.values_log(new.ns_token, channel), items, if_next=first)
        if more is not None:
            more(transaction)

    yield Commit((), [partial(_get_thread, namespace=namespace)], write, 1)
    if begun:
        # The first write was the thread's record.
        thread.generation = begun[-1].results[0]


def _portions(plan: Plan) -> Iterator[list[Appended]]:
    """Yield what one transaction appends; at least one portion, perhaps of nothing."""
    portion: list[Appended] = []
    size = count = 0
    for channel, items in plan.new_items.items():
        start = 0
        for end, item in enumerate(items, start=1):
            size, count = size + len(item), count + 1
            if size >= _APPENDED_BYTES_MAX or count >= _APPENDED_ITEMS_MAX:
                portion.append((channel, plan.first[channel] + start, items[start:end]))
                yield portion
                portion, size, count, start = [], 0, 0, end
        if start < len(items):
            portion.append((channel, plan.first[channel] + start, items[start:]))
    yield portion


def put_writes(
    reader: Reader,
    target: Target,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
    serde: SerializerProtocol,
) -> Steps[None]:
    """Write what a task wrote. What is there stays, except what may be written again, such as an error."""
    if not target.checkpoint_id:
        raise ValueError("the config must name the checkpoint that the writes belong to")
    if not writes:
        return
    namespace = names.thread_namespace(reader.base, target.label)
    key = names.writes_prefix(names.checkpoint_key(target.ns, target.checkpoint_id)) + names.token(task_id)
    new = [
        Write(WRITES_IDX_MAP.get(channel, index), channel, *serde.dumps_typed(value), task_path)
        for index, (channel, value) in enumerate(writes)
    ]

    def write(transaction: Any, _: list[list[Any]], read: list[Any]) -> None:
        (record,) = read
        old = [] if record is None else as_writes(record.value)
        merged = _merged(old, new)
        if merged != old:
            transaction.with_namespace(*namespace).state.put(key, Task(task_id, merged))

    try:
        # Nearly always the first write of this task.
        task = Task(task_id, _merged([], new))
        yield Calls([lambda face: face.with_namespace(*namespace).state.put(key, task, if_absent=True)])
    except errors.VersionConflict:
        yield Commit((), [lambda transaction: transaction.with_namespace(*namespace).state.get(key)], write)


def as_writes(value: Any) -> list[Write]:
    """Return the writes of a stored task."""
    return msgspec.convert(value, Task).writes


def _merged(old: Sequence[Write], new: Sequence[Write]) -> list[Write]:
    by_index = {write.idx: write for write in old}
    for write in new:
        if write.idx < 0 or write.idx not in by_index:
            by_index[write.idx] = write
    return list(by_index.values())


def _get_thread(face: Any, *, namespace: Namespace) -> Any:
    return face.with_namespace(*namespace).state.get(names.THREAD)


def _info(face: Any, *, namespace: Namespace, log: str) -> Any:
    return face.with_namespace(*namespace).logs.info(log)
