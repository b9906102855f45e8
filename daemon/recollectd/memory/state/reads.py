"""Requests that read state records."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Raw

from recollectd.memory import walks
from recollectd.memory.holding import HELD_BYTES_MAX, rows_at_once
from recollectd.memory.kind import NEVER, Fetch, Reading, ReadOperation, Rows, View
from recollectd.memory.state.caching import fill_absent, fill_record
from recollectd.memory.state.events import StateHead, VersionRow, decode_head, unpack_version
from recollectd.memory.state.writes import optional_time
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.connection import Counted
from recollectd.protocol.messages.fields import NIL, Kind
from recollectd.protocol.messages.state import (
    Absent,
    StateCount,
    StateGet,
    StateGetMany,
    StateGetValues,
    StateHistory,
    StatePage,
    StateRecord,
    StateRecords,
    StateScan,
    StateValues,
    StateVersion,
    StateVersions,
)
from recollectd.storage.keyspace import Family, path, record_key, row_key, split_record_key

if TYPE_CHECKING:
    from recollectd._native.hot_reads import HotReads

# A version can be pruned between the reads of head and value; more than a few times in a row means a lost row.
_TRIES: Final = 100
_VERSIONS_STEP: Final = 64
_RECORDS_STEP: Final = 512


def fetch_head(key: bytes) -> Generator[Fetch, Rows, StateHead | None]:
    """Fetch one head."""
    row = (yield Fetch(Family.HEADS, (key,)))[0]
    return None if row is None else decode_head(row)


def fetch_version(key: bytes, version: int) -> Generator[Fetch, Rows, VersionRow | None]:
    """Fetch one version's row."""
    row = (yield Fetch(Family.VALUES, (row_key(path(key), version),)))[0]
    return None if row is None else unpack_version(row)


def _record(key: str, head: StateHead, version: int, row: VersionRow) -> StateRecord:
    newest = version == head.version
    expires_at = head.expires_at if newest else row.expires_at
    return StateRecord(
        key, Raw(row.value), version, row.created_at, row.updated_at, optional_time(expires_at), head.revision
    )


class Get(ReadOperation[StateGet]):
    """Reads one record: now, at a version, or as of a time."""

    __slots__ = ("_key",)

    def __init__(self, request: StateGet) -> None:
        super().__init__(request)
        self._key = record_key(Kind.STATE, request.namespace, request.key)
        self.keys = (self._key,)
        if request.version is not None and request.as_of is not None:
            raise errors.InvalidArgument("cannot go with version", field="as_of")
        if request.version == 0:
            raise errors.InvalidArgument("versions count from 1", field="version")

    @property
    def _current(self) -> bool:
        """Whether it reads the record as it is now."""
        return self.request.version is None and self.request.as_of is None

    def cached(self, reads: HotReads) -> bytes | None:
        """Ask for the record as it is now."""
        return reads.get(self._key) if self._current else None

    def read(self, view: View) -> Reading:
        """Fetch the head, then the version it (or the request) names."""
        request = self.request
        for _ in range(_TRIES):
            head = yield from fetch_head(self._key)
            if head is None or (head.deleted and self._current):
                view.found(fill_absent(self._key))
                return Absent()
            if request.as_of is not None:
                version = yield from self._version_at(head, request.as_of, view.time)
            elif request.version is not None:
                version = self._version_asked(head, request.version)
            else:
                version = head.version if head.alive(view.time) else 0
            if not version:
                return Absent()
            row = yield from fetch_version(self._key, version)
            if row is not None:
                if self._current:
                    view.found(fill_record(self._key, head, row.value))
                    if head.sliding:
                        view.touched(self._key, head.expires_at)
                return Absent() if row.absent else _record(request.key, head, version, row)
        raise AssertionError(f"version {version} of a record is not on disk")

    @staticmethod
    def _version_asked(head: StateHead, version: int) -> int:
        if version < head.first_version:
            raise errors.HistoryPruned(f"versions before {head.first_version} are gone", field="version")
        return version if version <= head.version else 0

    def _version_at(self, head: StateHead, as_of: int, now: int) -> Generator[Fetch, Rows, int]:
        """Return the version that was the newest at a time; 0 where the record was absent."""
        if as_of >= head.updated_at:
            return head.version if head.alive(min(as_of, now)) else 0
        low, high = head.first_version, head.version - 1
        pruned = low > 1
        found: VersionRow | None = None  # of version low - 1: written by then
        while low <= high:
            middle = (low + high) // 2
            row = yield from fetch_version(self._key, middle)
            if row is None:  # dropped since the head was read, with all before it
                low, pruned, found = middle + 1, True, None
            elif row.updated_at <= as_of:
                low, found = middle + 1, row
            else:
                high = middle - 1
        if found is None and pruned:
            raise errors.HistoryPruned("the time lies before the history that is kept", field="as_of")
        return 0 if found is None or found.absent else low - 1


Several = TypeVar("Several", bound=StateGetMany | StateGetValues)


class _Several(ReadOperation[Several]):
    """Reads several records, as many from the first on as a page has room for."""

    __slots__ = ("_keys",)

    def __init__(self, request: Several) -> None:
        super().__init__(request)
        if not 1 <= len(request.keys) <= limits.OPERATIONS_PER_FRAME_MAX:
            raise errors.InvalidArgument(
                f"must be 1 to {limits.OPERATIONS_PER_FRAME_MAX} keys, not {len(request.keys)}", field="keys"
            )
        self._keys = tuple(
            record_key(Kind.STATE, request.namespace, key, f"keys[{index}]") for index, key in enumerate(request.keys)
        )
        self.keys = self._keys

    def _records(self, view: View) -> Generator[Fetch, Rows, list[StateRecord | None]]:
        """Fetch all heads, then all values; what was pruned in between again."""
        records: list[StateRecord | None] = []
        at, size = 0, 0
        while at < len(self._keys) and size < limits.PAGE_BYTES_MAX:
            step = range(at, min(at + _RECORDS_STEP, len(self._keys)))
            found = yield from records_of(
                [self._keys[index] for index in step], [self.request.keys[index] for index in step], view, fills=True
            )
            for record in found:
                records.append(record)
                size += 64 + (memoryview(record.value).nbytes if record is not None else 0)
                if size >= limits.PAGE_BYTES_MAX:
                    break
            at = len(records)
        return records


class GetMany(_Several[StateGetMany]):
    """Reads many records."""

    __slots__ = ()

    def cached(self, reads: HotReads) -> bytes | None:
        """Ask for all of them."""
        return reads.get_many(self._keys)

    def read(self, view: View) -> Reading:
        """Fetch them."""
        return StateRecords(tuple((yield from self._records(view))))


class GetValues(_Several[StateGetValues]):
    """Reads the values of many records."""

    __slots__ = ()

    def cached(self, reads: HotReads) -> bytes | None:
        """Ask for all of them."""
        return reads.get_values(self._keys)

    def read(self, view: View) -> Reading:
        """Fetch the records and leave all but their values."""
        records = yield from self._records(view)
        absent = tuple(index for index, record in enumerate(records) if record is None)
        return StateValues(tuple(NIL if record is None else record.value for record in records), absent)


def records_of(
    keys: list[bytes], names: list[str], view: View, *, fills: bool = False
) -> Generator[Fetch, Rows, list[StateRecord | None]]:
    """Fetch records by key, None where absent, in order: the first of them, as many as may be held at once.

    fills: what is found may go into the value cache."""
    found: dict[bytes, StateRecord] = {}
    missing = dict(zip(keys, names, strict=True))
    for _ in range(_TRIES):
        rows = yield Fetch(Family.HEADS, tuple(missing))
        heads = {key: decode_head(row) for key, row in zip(missing, rows, strict=True) if row is not None}
        alive = {key: head for key, head in heads.items() if head.alive(view.time)}
        keys, alive = _held_at_once(keys, alive)
        if fills:
            for key in missing:
                if key not in heads or heads[key].deleted:
                    view.found(fill_absent(key))
        values = yield Fetch(Family.VALUES, [row_key(path(key), head.version) for key, head in alive.items()])
        again: dict[bytes, str] = {}
        for (key, head), value in zip(alive.items(), values, strict=True):
            if value is None:
                again[key] = missing[key]
            else:
                row = unpack_version(value)
                found[key] = _record(missing[key], head, head.version, row)
                if fills:
                    view.found(fill_record(key, head, row.value))
                if head.sliding:
                    view.touched(key, head.expires_at)
        if not again:
            return [found.get(key) for key in keys]
        missing = again
    raise AssertionError("versions of records are not on disk")


def _held_at_once(keys: list[bytes], heads: dict[bytes, StateHead]) -> tuple[list[bytes], dict[bytes, StateHead]]:
    """Return as many of the first keys, at least one, as have values that may be held at once, and their heads."""
    room = HELD_BYTES_MAX
    for index, key in enumerate(keys):
        room -= heads[key].largest if key in heads else 0
        if room < 0 and index:
            kept = keys[:index]
            return kept, {key: heads[key] for key in kept if key in heads}
    return keys, heads


class History(ReadOperation[StateHistory]):
    """Reads versions, newest first."""

    __slots__ = ("_key",)

    def __init__(self, request: StateHistory) -> None:
        super().__init__(request)
        self._key = record_key(Kind.STATE, request.namespace, request.key)
        self.keys = (self._key,)

    def read(self, view: View) -> Reading:
        """Fetch the head, then versions downwards until the page is full."""
        request = self.request
        head = yield from fetch_head(self._key)
        if head is None:
            return StateVersions((), 0, 0)
        versions: list[StateVersion] = []
        newest = head.version if request.before_version is None else min(head.version, request.before_version - 1)
        size = 0
        while newest >= head.first_version and len(versions) < request.limit and size < limits.PAGE_BYTES_MAX:
            step = rows_at_once(head.largest, min(_VERSIONS_STEP, request.limit - len(versions)))
            oldest = max(head.first_version, newest - step + 1)
            numbers = range(newest, oldest - 1, -1)
            rows = yield Fetch(Family.VALUES, [row_key(path(self._key), number) for number in numbers])
            for number, data in zip(numbers, rows, strict=True):
                if data is None:  # pruned since the head was read: nothing older is left either
                    return StateVersions(tuple(versions), 0, number + 1)
                versions.append(_version(number, unpack_version(data)))
                newest = number - 1
                size += len(data)
                if size >= limits.PAGE_BYTES_MAX:
                    break
        more = newest >= head.first_version
        return StateVersions(tuple(versions), newest + 1 if more else 0, head.first_version)


def _version(number: int, row: VersionRow) -> StateVersion:
    value = None if row.absent else Raw(row.value)
    return StateVersion(number, value, row.updated_at, optional_time(row.expires_at), row.absent)


class Scan(ReadOperation[StateScan]):
    """Walks records in order."""

    __slots__ = ("_walk",)

    def __init__(self, request: StateScan) -> None:
        super().__init__(request)
        self.keys = None
        self._walk = walks.plan(Kind.STATE, request.namespace, request.prefix, request.pattern, reverse=request.reverse)

    def read(self, view: View) -> Reading:
        """Walk heads, then fetch their values; stop early when the page is large enough."""
        request = self.request
        walked = walks.page(
            view, self._walk, request.cursor, request.limit, lambda row: decode_head(row).alive(view.time)
        )
        valid_until = min(
            (head.expires_at for _, row in walked.heads if (head := decode_head(row)).expires_at != NEVER),
            default=limits.TIME_US_MAX,
        )
        records: list[StateRecord] = []
        if not request.values:
            for key, row in walked.heads:
                head = decode_head(row)
                empty = VersionRow(head.created_at, head.updated_at, head.expires_at, False, b"\xc0")
                records.append(_record(split_record_key(key)[2], head, head.version, empty))
            return StatePage(tuple(records), walked.cursor, valid_until)
        size, at = 0, 0
        while at < len(walked.heads):
            keys = [key for key, _ in walked.heads[at : at + _RECORDS_STEP]]
            found = yield from records_of(keys, [split_record_key(key)[2] for key in keys], view)
            at += len(found)
            for key, record in zip(keys, found, strict=False):  # `found` is of the first keys
                if record is not None:  # deleted since the walk: as if the walk had come later
                    records.append(record)
                    size += memoryview(record.value).nbytes
                if size >= limits.PAGE_BYTES_MAX:
                    return StatePage(tuple(records), walks.cursor_at(view, self._walk, key), valid_until)
        return StatePage(tuple(records), walked.cursor, valid_until)


class Count(ReadOperation[StateCount]):
    """Counts records in bounded steps."""

    __slots__ = ("_walk",)

    def __init__(self, request: StateCount) -> None:
        super().__init__(request)
        self.keys = None
        self._walk = walks.plan(Kind.STATE, request.namespace, request.prefix, request.pattern)

    def read(self, view: View) -> Reading:
        """Walk heads."""
        earliest = [limits.TIME_US_MAX]

        def alive(row: bytes) -> bool:
            head = decode_head(row)
            if head.expires_at != NEVER and head.alive(view.time):
                earliest[0] = min(earliest[0], head.expires_at)
            return head.alive(view.time)

        walked = walks.page(view, self._walk, self.request.cursor, limits.SCAN_KEYS_EXAMINED_MAX, alive)
        yield from ()
        return Counted(len(walked.heads), walked.cursor, earliest[0])
