"""Calls about agent state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import astuple

from recollectd.client.arguments import (
    name,
    names,
    optional_whole,
    packed,
    plain,
    range_text,
    several,
    whole,
)
from recollectd.client.calls import (
    Call,
    Calls,
    Steps,
    Style,
    Turn,
    Walk,
    ask,
    command,
    operation,
    query,
    stepwise,
    walk,
)
from recollectd.client.kinds.common import WALK_PAGE_ITEMS, any_deleted
from recollectd.client.reading import StateRecord, StateRecords, StateValues
from recollectd.client.results import Page, Record, Version
from recollectd.client.times import Moment, iso_time, optional_iso_time, time_us, ttl_us
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import state as messages
from recollectd.protocol.messages.connection import Counted, Deleted, Ping


class State(Calls[Style]):
    """Agent state: one msgpack value (or bytes) by key, with versions, guards, time to live and history.

    `ttl` is in seconds. Times come back as ISO-8601 text. Deleting or expiring leaves history behind.
    """

    @operation
    def put(
        self,
        key: str,
        value: object,
        *,
        ttl: float | None = None,
        sliding: bool = False,
        if_version: int | None = None,
        if_absent: bool = False,
    ) -> Call[int]:
        """Write a record and return its new version.

        value: None, bool, numbers, text, bytes, lists, maps, or what msgspec turns into those. ttl: seconds until the
        record is gone; with `sliding` each read begins them anew. if_version: only if the record is at this version
        (0: absent); if_absent: only if there is none; both raise VersionConflict.
        """
        request = messages.StatePut(
            self._namespace,
            name(key, "key"),
            packed(value),
            None if ttl is None else ttl_us(ttl),
            sliding,
            None if if_version is None else whole(if_version, "if_version"),
            if_absent,
        )
        return Call(request, _version)

    @query
    def get(self, key: str, *, version: int | None = None, as_of: Moment | None = None) -> Call[Record | None]:
        """Return a record or None: now, at a version, or as it was at a time.

        Raises HistoryPruned where that lies before the history that is kept.
        """
        request = messages.StateGet(
            self._namespace,
            name(key, "key"),
            None if version is None else whole(version, "version"),
            None if as_of is None else time_us(as_of, "as_of"),
        )
        return Call(request, optional_record)

    @operation
    def delete(self, key: str, *, if_version: int | None = None) -> Call[bool]:
        """Delete a record and return whether there was one. Raises VersionConflict if it is at another version."""
        request = messages.StateDelete(self.namespace, name(key, "key"), optional_whole(if_version, "if_version"))
        return ask(request, any_deleted)

    @query
    @stepwise
    def get_many(self, keys: Iterable[str]) -> Steps[dict[str, Record]]:
        """Return the records there are by key, absent ones left out. Each is consistent; together they are no snapshot.

        Any number of keys: they are asked for in as many requests as it takes.
        """
        wanted = names(_not_text(keys), "keys")
        found: dict[str, Record] = {}
        if not wanted:
            yield Ping()
        while wanted:
            asked = tuple(wanted[: limits.OPERATIONS_PER_FRAME_MAX])
            reply: messages.StateRecords = yield messages.StateGetMany(self.namespace, asked)
            found.update(_by_key(reply))
            if not reply.records:
                raise errors.InvalidMessage("the daemon answered with none of the records asked for", field="records")
            wanted = wanted[len(reply.records) :]
        return found

    @query
    def get_values(self, keys: Iterable[str], *, default: Any = None) -> Call[list[Any]]:
        """Return the values of records in the order of the keys, `default` for each that is absent.

        What `get_many` does for those who want records, at less than half its cost. Any number of keys.
        """
        wanted = names(_not_text(keys), "keys")
        return _ask_values(self._namespace, wanted, default, []) if wanted else ask(Ping(), lambda _: [])

    @operation
    def put_many(
        self, records: Mapping[str, object], *, ttl: float | None = None, sliding: bool = False
    ) -> Call[dict[str, int]]:
        """Write many records, all or none, and return their versions by key."""
        items = tuple(
            messages.StateItem(name(key, f"records[{key!r}]"), packed(content, f"records[{key!r}]"))
            for key, content in several(records.items(), "records")
        )
        request = messages.StatePutMany(self.namespace, items, ttl_us(ttl), sliding)

        def versions(reply: messages.StateStoredMany) -> dict[str, int]:
            return {item.key: stored.version for item, stored in zip(items, reply.stored, strict=True)}

        return ask(request, versions)

    @query
    @stepwise
    def history(self, key: str, *, limit: int | None = None) -> Steps[list[Version]]:
        """Return a record's versions, newest first, as many as are kept or `limit` of them."""
        optional_whole(limit, "limit", least=1)
        versions: list[Version] = []
        before: int | None = None
        while True:
            wanted = WALK_PAGE_ITEMS if limit is None else min(WALK_PAGE_ITEMS, limit - len(versions))
            reply: messages.StateVersions = yield messages.StateHistory(
                self.namespace, name(key, "key"), wanted, before
            )
            versions.extend(map(_history_entry, reply.versions))
            before = reply.next_before
            if not before or len(versions) == limit:
                return versions

    @operation
    def touch(self, key: str, ttl: float | None) -> Call[str | None]:
        """Set a record's time to live anew (None: for ever) without a new version; return when it expires.

        Raises NotFound.
        """
        request = messages.StateTouch(self.namespace, name(key, "key"), ttl_us(ttl))
        return ask(request, _touched)

    @walk
    def scan(
        self,
        prefix: str = "",
        *,
        pattern: str = "",
        reverse: bool = False,
        limit: int | None = None,
        values: bool = True,
    ) -> Walk[Record]:
        """Walk records in the order of their keys' bytes: those beginning with `prefix` and matching `pattern`.

        pattern: a glob with `*`, `?`, `[seq]` and `[!seq]`. values=False leaves the values None and is quicker. The
        walk is no snapshot: it sees changes made behind the place where it is.
        """
        optional_whole(limit, "limit", least=1)
        request = _scan(self.namespace, prefix, pattern, reverse, values)

        def page(cursor: bytes, left: int | None) -> Walk[Record]:
            def turn(reply: messages.StatePage) -> Turn[Record]:
                records = [record(each, values=values) for each in reply.records]
                remaining = None if left is None else left - len(records)
                more = reply.cursor and remaining != 0
                return Turn(records, page(reply.cursor, remaining) if more else None)

            return ask(request(WALK_PAGE_ITEMS if left is None else min(WALK_PAGE_ITEMS, left), cursor), turn)

        return page(b"", limit)

    @query
    def scan_page(
        self,
        prefix: str = "",
        *,
        pattern: str = "",
        reverse: bool = False,
        limit: int = limits.PAGE_ITEMS_DEFAULT,
        cursor: bytes = b"",
        values: bool = True,
    ) -> Call[Page]:
        """Return up to `limit` records of a scan and the cursor for the rest; see `scan`.

        A page may be short, or even empty, and still have a cursor. Cursors survive restarts of the daemon; they are
        good for the same arguments only (InvalidCursor).
        """
        whole(limit, "limit", least=1, most=limits.PAGE_ITEMS_MAX)
        request = _scan(self.namespace, prefix, pattern, reverse, values)(limit, cursor)

        def page(reply: messages.StatePage) -> Page:
            return Page([record(each, values=values) for each in reply.records], reply.cursor)

        return ask(request, page)

    @query
    @stepwise
    def count(self, prefix: str = "", *, pattern: str = "") -> Steps[int]:
        """Count records beginning with `prefix` and matching `pattern`. No snapshot, like `scan`."""
        _check_range(prefix, pattern)
        total, cursor = 0, b""
        while True:
            reply: Counted = yield messages.StateCount(self.namespace, prefix, pattern, cursor)
            total, cursor = total + reply.count, reply.cursor
            if not cursor:
                return total

    @command
    @stepwise
    def delete_prefix(self, prefix: str, *, progress: Callable[[int], object] | None = None) -> Steps[int]:
        """Delete all records beginning with `prefix` ("": all of the namespace), in many commits; return how many.

        progress: called after each step with the number deleted so far.
        """
        _check_range(prefix, "")
        total, cursor = 0, b""
        while True:
            reply: Deleted = yield messages.StateDeletePrefix(self.namespace, prefix, WALK_PAGE_ITEMS, cursor)
            total, cursor = total + reply.deleted, reply.cursor
            if progress is not None:
                progress(total)
            if reply.done:
                return total


def record(wire: messages.StateRecord, *, values: bool = True) -> Record:
    """Return a record as callers see it."""
    if type(wire) is StateRecord and values:
        return Record(wire)
    # Without its value, or written in the same transaction, or no reading of it was possible: then this says why.
    _, value, *others = astuple(wire)
    content: Any = None
    if values:
        content = value if type(wire) is StateRecord else plain(value)
    return Record(StateRecord(wire.key, content, *others))


def _by_key(reply: messages.StateRecords) -> dict[str, Record]:
    if type(reply) is StateRecords:
        return {each.key: Record(each) for each in reply.records if each is not None}
    return {each.key: record(each) for each in reply.records if each is not None}


def _ask_values(namespace: tuple[str, ...], wanted: list[str], default: Any, found: list[Any]) -> Call[list[Any]]:
    """Return the call that asks for values and adds them to those found, until none are wanted any more."""

    def add(reply: messages.StateValues | messages.StateRecords) -> Any:
        values = _values(reply, default)
        if not values:
            raise errors.InvalidMessage("the daemon answered with none of the values asked for", field="values")
        rest = wanted[len(values) :]
        if not rest and not found:
            return values
        found.extend(values)
        return _ask_values(namespace, rest, default, found) if rest else found

    asked = wanted if len(wanted) <= limits.OPERATIONS_PER_FRAME_MAX else wanted[: limits.OPERATIONS_PER_FRAME_MAX]
    return Call(messages.StateGetValues(namespace, tuple(asked)), add)


def _values(reply: messages.StateValues | messages.StateRecords, default: Any) -> list[Any]:
    if isinstance(reply, messages.StateRecords):  # in a transaction, which must know more of what it has read
        return [default if each is None else record(each).value for each in reply.records]
    # Those that no reading is possible of say why.
    values = list(reply.values if type(reply) is StateValues else map(plain, reply.values))
    try:
        for index in reply.absent:
            values[index] = default
    except IndexError:
        raise errors.InvalidMessage("the daemon named an absent record behind the last", field="absent") from None
    return values


def optional_record(wire: messages.StateRecord | messages.Absent | None) -> Record | None:
    """Return a record as callers see it, None for an absent one."""
    return None if wire is None or isinstance(wire, messages.Absent) else record(wire)


def _scan(
    namespace: tuple[str, ...], prefix: str, pattern: str, reverse: bool, values: bool
) -> Callable[[int, bytes], messages.StateScan]:
    _check_range(prefix, pattern)
    return lambda limit, cursor: messages.StateScan(namespace, prefix, pattern, reverse, limit, cursor, values)


def _check_range(prefix: str, pattern: str) -> None:
    range_text(prefix, "prefix")
    range_text(pattern, "pattern")


def _not_text(keys: Iterable[str]) -> Iterable[str]:
    # One text is an iterable of its characters: surely not what was meant.
    return several(keys, "keys") if isinstance(keys, str) else keys


def _version(reply: messages.StateStored) -> int:
    return reply.version


def _touched(reply: messages.StateTouched) -> str | None:
    return optional_iso_time(reply.expires_at)


def _history_entry(wire: messages.StateVersion) -> Version:
    content: Any = None if wire.deleted else plain(wire.value)
    return Version(wire.version, content, iso_time(wire.updated_at), optional_iso_time(wire.expires_at), wire.deleted)
