"""State records in the model: each operation as the protocol's words have it."""

from __future__ import annotations

from typing import Final

from bench.crash.records import Context, Key, Operations, Refused, State, Version
from recollectd.protocol import errors
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.state import (
    StateDelete,
    StateDeletePrefix,
    StatePut,
    StatePutMany,
    StateStored,
    StateStoredMany,
    StateTouch,
    StateTouched,
)


def state_of(context: Context, key: Key) -> State | None:
    """Return a state record, or None where there never was one."""
    record = context.get(key)
    assert record is None or isinstance(record, State)
    return record


def kept(context: Context, key: Key, versions: tuple[Version, ...]) -> tuple[Version, ...]:
    """Return what the namespace's history keeps of versions."""
    count = context.history_count(key[1])
    return versions[-count:] if count else versions


def settle(context: Context, key: Key) -> State | None:
    """Return the record, its expiry made a version if it has come."""
    record = state_of(context, key)
    if record is None or record.newest.value is None or record.alive(context.time):
        return record
    assert record.expires_at is not None
    gone = expired(record, context.history_count(key[1]))._replace(revision=context.seq)
    context.put(key, gone)
    return gone


def expired(record: State, history_count: int) -> State:
    """Return what an expiry makes of a record."""
    assert record.expires_at is not None
    versions = (*record.versions, Version(record.newest.version + 1, None, record.expires_at, None))
    return record._replace(
        versions=versions[-history_count:] if history_count else versions, expires_at=None, sliding=False
    )


def write(context: Context, key: Key, value: bytes, ttl_us: int | None, sliding: bool) -> StateStored:
    """Add a version with a value."""
    before = settle(context, key)
    expires_at = None if ttl_us is None else context.time + ttl_us
    version = Version(1 if before is None else before.newest.version + 1, value, context.time, expires_at)
    if before is None:
        record = State((version,), context.time, expires_at, sliding, context.seq)
    else:
        created_at = context.time if before.newest.value is None else before.created_at
        versions = kept(context, key, (*before.versions, version))
        record = State(versions, created_at, expires_at, sliding, context.seq)
    context.put(key, record)
    return StateStored(version.version, record.created_at, context.time, expires_at)


def remove(context: Context, key: Key, record: State) -> None:
    """Add a version without a value."""
    versions = (*record.versions, Version(record.newest.version + 1, None, context.stamp, None))
    context.put(
        key,
        record._replace(versions=kept(context, key, versions), expires_at=None, sliding=False, revision=context.seq),
    )


def check_version(context: Context, key: Key, if_version: int | None) -> None:
    """Refuse unless the record is at the version."""
    if if_version is None:
        return
    record = state_of(context, key)
    version = record.newest.version if record is not None and record.alive(context.time) else 0
    if version != if_version:
        raise Refused(errors.VersionConflict, "if_version")


def put(context: Context, message: StatePut, _: object) -> StateStored:
    """Write one record."""
    key = (int(Kind.STATE), message.namespace, message.key)
    check_version(context, key, 0 if message.if_absent else message.if_version)
    return write(context, key, bytes(message.value), message.ttl_us, message.sliding)


def put_many(context: Context, message: StatePutMany, _: object) -> StateStoredMany:
    """Write many."""
    keys = [(int(Kind.STATE), message.namespace, item.key) for item in message.items]
    return StateStoredMany(
        tuple(
            write(context, key, bytes(item.value), message.ttl_us, message.sliding)
            for key, item in zip(keys, message.items, strict=True)
        )
    )


def delete(context: Context, message: StateDelete, _: object) -> Deleted:
    """Delete one record."""
    key = (int(Kind.STATE), message.namespace, message.key)
    check_version(context, key, message.if_version)
    record = settle(context, key)
    if record is None or record.newest.value is None:
        return Deleted(0)
    remove(context, key, record)
    return Deleted(1)


def touch(context: Context, message: StateTouch, _: object) -> StateTouched:
    """Move an expiry."""
    key = (int(Kind.STATE), message.namespace, message.key)
    record = settle(context, key)
    if record is None or record.newest.value is None:
        raise Refused(errors.NotFound, "key")
    expires_at = None if message.ttl_us is None else context.time + message.ttl_us
    sliding = record.sliding and message.ttl_us is not None
    context.put(key, record._replace(expires_at=expires_at, sliding=sliding, revision=context.seq))
    return StateTouched(record.newest.version, expires_at)


def delete_prefix(context: Context, message: StateDeletePrefix, reply: object) -> Deleted:
    """Delete by prefix.

    Which records the daemon finds is exact only where nobody else writes meanwhile: the workload sees to that. What a
    cursor looks like is the daemon's affair; where it stands is kept here.
    """
    place = context.places.get(message.cursor, "")
    names = sorted(
        (key[2] for key in context.everything() if key[:2] == (int(Kind.STATE), message.namespace)), key=str.encode
    )
    found: list[str] = []
    for name in names:
        record = state_of(context, (int(Kind.STATE), message.namespace, name))
        inside = name.startswith(message.prefix) and name.encode() > place.encode()
        if inside and record is not None and record.newest.value is not None and len(found) < message.limit:
            found.append(name)
            remove(context, (int(Kind.STATE), message.namespace, name), record)
    full = len(found) == message.limit
    cursor = b""
    if full:
        cursor = reply.cursor if isinstance(reply, Deleted) and reply.cursor else b"any"
        context.places[cursor] = found[-1]
    return Deleted(len(found), not full, cursor)


OPERATIONS: Final[Operations] = {
    StatePut: put,
    StatePutMany: put_many,
    StateDelete: delete,
    StateTouch: touch,
    StateDeletePrefix: delete_prefix,
}
