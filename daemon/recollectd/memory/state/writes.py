"""Requests that change state records, turned into events."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from msgspec import Raw, structs

from recollectd.memory import walks
from recollectd.memory.kind import NEVER, Draft, Facts, Fetch, Rows, View, WriteOperation
from recollectd.memory.state.events import Removed, StateHead, Touched, Written, decode_head
from recollectd.memory.values import check_value
from recollectd.protocol import errors, limits
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
from recollectd.storage.keyspace import record_key


def optional_time(time: int) -> int | None:
    """Return a head's expiry as messages carry it."""
    return None if time == NEVER else time


def end_of_life(time: int, ttl_us: int | None) -> int:
    """Return when a record written now expires, NEVER without a time to live."""
    return NEVER if ttl_us is None else min(time + ttl_us, limits.TIME_US_MAX)


def settle_expiry(draft: Draft, key: bytes) -> StateHead | None:
    """Return the record's head, an expiry that has come made an event first, so that history is whole."""
    head: StateHead | None = draft.get(key)
    if head is None or head.deleted or head.alive(draft.time):
        return head
    return remove(draft, key, head, expired=True)


def remove(draft: Draft, key: bytes, head: StateHead, *, expired: bool = False) -> StateHead:
    """Add the version that says the record is gone; return the new head."""
    gone = structs.replace(
        head,
        version=head.version + 1,
        first_version=first_kept(draft, key, head),
        revision=draft.seq,
        updated_at=head.expires_at if expired else draft.time,
        expires_at=NEVER,
        ttl_us=0,
        sliding=False,
        deleted=True,
    )
    draft.put(key, gone)
    draft.emit(Removed(key, gone, expired, head.expires_at, head.first_version))
    return gone


def first_kept(draft: Draft, key: bytes, head: StateHead) -> int:
    """Return the oldest version to keep once another one is added."""
    count = draft.history_policy(key).count
    return head.first_version if count == 0 else max(head.first_version, head.version + 2 - count)


def put(draft: Draft, key: bytes, value: Raw, ttl_us: int | None, sliding: bool) -> StateStored:
    """Write one value; return what the caller is told."""
    before = settle_expiry(draft, key)
    size = memoryview(value).nbytes
    expires_at = end_of_life(draft.time, ttl_us)
    if before is None:
        head = StateHead(1, 1, draft.seq, draft.time, draft.time, expires_at, ttl_us or 0, sliding, largest=size)
        draft.emit(Written(key, head, value))
    else:
        head = StateHead(
            before.version + 1,
            first_kept(draft, key, before),
            draft.seq,
            draft.time if before.deleted else before.created_at,
            draft.time,
            expires_at,
            ttl_us or 0,
            sliding,
            largest=max(size, before.largest),
        )
        draft.emit(Written(key, head, value, before.expires_at, before.first_version))
    draft.put(key, head)
    return StateStored(head.version, head.created_at, head.updated_at, optional_time(head.expires_at))


def check_version(draft: Draft, key: bytes, if_version: int | None) -> None:
    """Refuse unless the record is at the version; 0 stands for absent, None for any."""
    if if_version is None:
        return
    head: StateHead | None = draft.get(key)
    version = head.version if head is not None and head.alive(draft.time) else 0
    if version != if_version:
        raise errors.VersionConflict(f"expected version {if_version}, found {version}", field="if_version")


class Put(WriteOperation[StatePut]):
    """Writes one value."""

    __slots__ = ("_key",)

    def __init__(self, request: StatePut) -> None:
        super().__init__(request)
        self._key = record_key(Kind.STATE, request.namespace, request.key)
        self.keys = (self._key,)
        check_value(request.value, "value", limits.VALUE_BYTES_MAX)
        if request.sliding and request.ttl_us is None:
            raise errors.InvalidArgument("needs a time to live", field="sliding")
        if request.if_absent and request.if_version:
            raise errors.InvalidArgument("contradicts if_version", field="if_absent")

    def write(self, draft: Draft) -> StateStored:
        """Check the guards, write."""
        request = self.request
        check_version(draft, self._key, 0 if request.if_absent else request.if_version)
        return put(draft, self._key, request.value, request.ttl_us, request.sliding)


class PutMany(WriteOperation[StatePutMany]):
    """Writes many values."""

    __slots__ = ()

    def __init__(self, request: StatePutMany) -> None:
        super().__init__(request)
        if not 1 <= len(request.items) <= limits.OPERATIONS_PER_FRAME_MAX:
            raise errors.InvalidArgument(
                f"must be 1 to {limits.OPERATIONS_PER_FRAME_MAX} records, not {len(request.items)}", field="items"
            )
        keys: list[bytes] = []
        for index, item in enumerate(request.items):
            keys.append(record_key(Kind.STATE, request.namespace, item.key, f"items[{index}].key"))
            check_value(item.value, f"items[{index}].value", limits.VALUE_BYTES_MAX)
        self.keys = tuple(keys)
        if len(set(keys)) < len(keys):
            raise errors.InvalidArgument("a key is there twice", field="items")
        if request.sliding and request.ttl_us is None:
            raise errors.InvalidArgument("needs a time to live", field="sliding")

    def write(self, draft: Draft) -> StateStoredMany:
        """Write all."""
        request = self.request
        assert self.keys is not None
        return StateStoredMany(
            tuple(
                put(draft, key, item.value, request.ttl_us, request.sliding)
                for key, item in zip(self.keys, request.items, strict=True)
            )
        )


class Delete(WriteOperation[StateDelete]):
    """Deletes one record."""

    __slots__ = ("_key",)
    frees = True

    def __init__(self, request: StateDelete) -> None:
        super().__init__(request)
        self._key = record_key(Kind.STATE, request.namespace, request.key)
        self.keys = (self._key,)

    def write(self, draft: Draft) -> Deleted:
        """Check the guard, delete if there is a record."""
        check_version(draft, self._key, self.request.if_version)
        head = settle_expiry(draft, self._key)
        if head is None or head.deleted:
            return Deleted(0)
        remove(draft, self._key, head)
        return Deleted(1)


class Touch(WriteOperation[StateTouch]):
    """Sets the time to live anew."""

    __slots__ = ("_key",)

    def __init__(self, request: StateTouch) -> None:
        super().__init__(request)
        self._key = record_key(Kind.STATE, request.namespace, request.key)
        self.keys = (self._key,)

    def write(self, draft: Draft) -> StateTouched:
        """Move the expiry of a record that is there."""
        head = settle_expiry(draft, self._key)
        if head is None or head.deleted:
            raise errors.NotFound("there is no such record", field="key")
        head = touch(draft, self._key, head, self.request.ttl_us)
        return StateTouched(head.version, optional_time(head.expires_at))


def touch(draft: Draft, key: bytes, head: StateHead, ttl_us: int | None, *, refresh: bool = False) -> StateHead:
    """Move the expiry to ttl_us from now, or take it away; return the new head."""
    touched = structs.replace(
        head,
        revision=head.revision if refresh else draft.seq,
        expires_at=end_of_life(draft.time, ttl_us),
        ttl_us=ttl_us or 0,
        sliding=head.sliding and ttl_us is not None,
    )
    draft.put(key, touched)
    draft.emit(Touched(key, touched, head.expires_at, refresh))
    return touched


def refresh(draft: Draft, key: bytes) -> None:
    """Extend the life of a record that was read, if it is there and sliding."""
    head: StateHead | None = draft.get(key)
    if head is not None and head.alive(draft.time) and head.sliding:
        touch(draft, key, head, head.ttl_us, refresh=True)


class DeletePrefix(WriteOperation[StateDeletePrefix]):
    """Deletes a bounded number of records by prefix."""

    __slots__ = ("_found", "_walk")
    frees = True

    def __init__(self, request: StateDeletePrefix) -> None:
        super().__init__(request)
        self.keys = None
        self._walk = walks.plan(Kind.STATE, request.namespace, request.prefix)
        self._found = walks.Walked([], b"")

    @property
    def prepares(self) -> bool:
        """It must find the records first."""
        return True

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Find the next records behind the cursor; heads of deleted ones are walked over."""
        self._found = walks.page(
            view, self._walk, self.request.cursor, self.request.limit, lambda row: not decode_head(row).deleted
        )
        yield from ()

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the records found."""
        return [key for key, _ in self._found.heads]

    def write(self, draft: Draft) -> Deleted:
        """Delete those of the records found that are still there."""
        deleted = 0
        for key, _ in self._found.heads:
            head = settle_expiry(draft, key)
            if head is not None and not head.deleted:
                remove(draft, key, head)
                deleted += 1
        return Deleted(deleted, not self._found.cursor, self._found.cursor)
