"""Logs in the model: each operation as the protocol's words have it."""

from __future__ import annotations

from typing import Final, cast

from bench.crash.records import Context, Entry, Key, Log, Operations, Refused
from recollectd.protocol import errors
from recollectd.protocol.messages import logs as messages
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.fields import Kind


def key_of(namespace: tuple[str, ...], log_id: str) -> Key:
    """Return a log's key."""
    return (int(Kind.LOG), namespace, log_id)


def log_of(context: Context, key: Key) -> Log | None:
    """Return a log, or None where there is none."""
    record = context.get(key)
    assert record is None or isinstance(record, Log)
    return record


def info(log_id: str, log: Log) -> messages.LogInfo:
    """Return what the daemon says of a log; a time that is not exactly known stays a `Span`."""
    return messages.LogInfo(log_id, log.first, log.next, log.created_at, cast(int, log.updated_at), log.revision)


def append(context: Context, message: messages.LogAppend, _: object) -> messages.LogAppended:
    """Append items; the first make the log."""
    key = key_of(message.namespace, message.log_id)
    log = log_of(context, key) or Log(0, (), context.time, context.time, context.seq)
    if message.if_next is not None and message.if_next != log.next:
        raise Refused(errors.VersionConflict, "if_next")
    added = tuple(Entry(context.time, bytes(item)) for item in message.items)
    after = log._replace(items=log.items + added, updated_at=context.time, revision=context.seq)
    context.put(key, after)
    return messages.LogAppended(log.next, after.next, context.time)


def cut(context: Context, key: Key, log: Log, first: int, to: int) -> Log:
    """Keep the positions first ... to - 1."""
    left = log.items[first - log.first : to - log.first]
    after = log._replace(first=first, items=left, updated_at=context.stamp, revision=context.seq)
    context.put(key, after)
    return after


def truncate(context: Context, message: messages.LogTruncate, _: object) -> messages.LogInfo:
    """Drop items on either side."""
    key = key_of(message.namespace, message.log_id)
    log = log_of(context, key)
    if log is None:
        raise Refused(errors.NotFound, "log_id")
    first = log.first if message.before is None else min(max(message.before, log.first), log.next)
    to = log.next if message.after is None else max(min(message.after, log.next), first)
    if (first, to) != (log.first, log.next):
        log = cut(context, key, log, first, to)
    return info(message.log_id, log)


def pop_last(context: Context, message: messages.LogPopLast, _: object) -> messages.LogPage:
    """Take the newest items off; the workload's items are small enough for one page."""
    key = key_of(message.namespace, message.log_id)
    log = log_of(context, key)
    if log is None:
        return messages.LogPage((), 0, 0, 0)
    to = max(log.first, log.next - message.count)
    popped = tuple(
        messages.LogItem(to + index, item.stored_at, item.value)
        for index, item in enumerate(log.items[to - log.first :])
    )
    if popped:
        log = cut(context, key, log, log.first, to)
    return messages.LogPage(popped, log.first, log.next, log.revision)


def copy(context: Context, message: messages.LogCopy, _: object) -> messages.LogInfo:
    """Copy a log into a new one."""
    log = log_of(context, key_of(message.namespace, message.log_id))
    if log is None:
        raise Refused(errors.NotFound, "log_id")
    target = key_of(message.target_namespace, message.target_id)
    if context.get(target) is not None:
        raise Refused(errors.AlreadyExists, "target_id")
    copied = log._replace(created_at=context.time, updated_at=context.time, revision=context.seq)
    context.put(target, copied)
    return info(message.target_id, copied)


def delete(context: Context, message: messages.LogDelete, _: object) -> Deleted:
    """Delete a log."""
    key = key_of(message.namespace, message.log_id)
    if context.get(key) is None:
        return Deleted(0)
    context.put(key, None)
    return Deleted(1)


OPERATIONS: Final[Operations] = {
    messages.LogAppend: append,
    messages.LogTruncate: truncate,
    messages.LogPopLast: pop_last,
    messages.LogCopy: copy,
    messages.LogDelete: delete,
}
