"""Messages about agent state. Tags 16-31 (requests), 16-31 (replies)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from recollectd.protocol import limits
from recollectd.protocol.messages.fields import (
    Cursor,
    Key,
    Namespace,
    OptionalTime,
    OptionalTtl,
    OptionalVersion,
    PageLimit,
    Part,
    RawOrNil,
    Reply,
    Request,
    Revision,
    Time,
    Value,
    Version,
    Write,
    nil_to_none,
)


class StatePut(Write, frozen=True, tag=16):
    """Writes a state record. Answered by `StateStored`; a guard that fails is `VERSION_CONFLICT`."""

    namespace: Namespace
    key: Key
    value: Value
    ttl_us: OptionalTtl = None
    sliding: Annotated[bool, Meta(description="each read extends the time to live")] = False
    if_version: OptionalVersion = None
    if_absent: Annotated[bool, Meta(description="only if there is no such record")] = False


class StateStored(Reply, frozen=True, tag=16):
    """Answers `StatePut`."""

    version: Version
    created_at: Time
    updated_at: Time
    expires_at: OptionalTime


class StateGet(Request, frozen=True, tag=17):
    """Reads a state record, now, at a version, or as of a time. Answered by `StateRecord` or `Absent`."""

    namespace: Namespace
    key: Key
    version: OptionalVersion = None
    as_of: OptionalTime = None


class StateRecord(Reply, frozen=True, tag=17):
    """One state record."""

    key: Key
    value: Value
    version: Version
    created_at: Time
    updated_at: Time
    expires_at: OptionalTime
    revision: Revision


class Absent(Reply, frozen=True, tag=18):
    """There is no such record."""


class StateDelete(Write, frozen=True, tag=18):
    """Deletes a state record; its history is kept like any version's. Answered by `Deleted`."""

    namespace: Namespace
    key: Key
    if_version: OptionalVersion = None


class StateGetMany(Request, frozen=True, tag=19):
    """Reads many state records; each is consistent, together they are no snapshot. Answered by `StateRecords`."""

    namespace: Namespace
    keys: Annotated[tuple[str, ...], Meta(description=f"up to {limits.OPERATIONS_PER_FRAME_MAX} keys")]


class StateRecords(Reply, frozen=True, tag=19):
    """Answers `StateGetMany`, in the order asked, nil where absent.

    Ends early after `page_bytes_max` bytes: ask again for the keys that are missing at the end.
    """

    records: Annotated[tuple[StateRecord | None, ...], Meta(description="one for each key asked, or fewer")]


class StateItem(Part, frozen=True):
    """One record to put."""

    key: Key
    value: Value


class StatePutMany(Write, frozen=True, tag=20):
    """Writes many state records of one namespace, all or none. Answered by `StateStoredMany`."""

    namespace: Namespace
    items: Annotated[tuple[StateItem, ...], Meta(description="each key at most once")]
    ttl_us: OptionalTtl = None
    sliding: Annotated[bool, Meta(description="each read extends the time to live")] = False


class StateStoredMany(Reply, frozen=True, tag=20):
    """Answers `StatePutMany`, in the order sent."""

    stored: Annotated[tuple[StateStored, ...], Meta(description="one for each item sent")]


class StateHistory(Request, frozen=True, tag=21):
    """Reads a record's versions, newest first. Answered by `StateVersions`."""

    namespace: Namespace
    key: Key
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    before_version: OptionalVersion = None


class StateVersion(Part, frozen=True):
    """One version of a record."""

    version: Version
    value: Annotated[
        RawOrNil,
        Meta(description="the value, or nil where the version is a deletion or an expiry", extra={"nil": True}),
    ]
    updated_at: Time
    expires_at: OptionalTime
    deleted: Annotated[bool, Meta(description="true: from this version on the record was absent")]

    def __post_init__(self) -> None:
        if self.deleted:
            nil_to_none(self, "value")


class StateVersions(Reply, frozen=True, tag=21):
    """Answers `StateHistory`."""

    versions: Annotated[tuple[StateVersion, ...], Meta(description="newest first")]
    next_before: Annotated[int, Meta(ge=0, description="before_version for the next page; 0: no more")]
    first_version: Annotated[int, Meta(ge=0, description="the oldest version still kept; 0: no such record")]


class StateTouch(Write, frozen=True, tag=22):
    """Sets a record's time to live anew without a new version. Answered by `StateTouched`."""

    namespace: Namespace
    key: Key
    ttl_us: OptionalTtl = None


class StateTouched(Reply, frozen=True, tag=22):
    """Answers `StateTouch`."""

    version: Version
    expires_at: OptionalTime


class StateScan(Request, frozen=True, tag=23):
    """Walks a namespace's state records in the order of their keys' bytes. Answered by `StatePage`.

    A page may be empty and still have a cursor: the walk examines a bounded number of keys a step.
    """

    namespace: Namespace
    prefix: Annotated[str, Meta(description="only keys beginning with this")] = ""
    pattern: Annotated[str, Meta(description="only keys matching this glob (* ? [seq] [!seq]); empty: all")] = ""
    reverse: Annotated[bool, Meta(description="from the last key backwards")] = False
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    cursor: Cursor = b""
    values: Annotated[bool, Meta(description="false: values are nil")] = True


class StatePage(Reply, frozen=True, tag=23):
    """Answers `StateScan`."""

    records: Annotated[tuple[StateRecord, ...], Meta(description="in the order of the walk")]
    cursor: Cursor
    valid_until: Annotated[int, Meta(description="the earliest expiry among what was seen: for a range guard")]


class StateCount(Request, frozen=True, tag=24):
    """Counts records by prefix and pattern, in bounded steps. Answered by `Counted`."""

    namespace: Namespace
    prefix: Annotated[str, Meta(description="only keys beginning with this")] = ""
    pattern: Annotated[str, Meta(description="only keys matching this glob; empty: all")] = ""
    cursor: Cursor = b""


class StateDeletePrefix(Write, frozen=True, tag=25):
    """Deletes up to `limit` records by prefix; repeat with the reply's cursor until done. Answered by `Deleted`."""

    namespace: Namespace
    prefix: Annotated[str, Meta(description="only keys beginning with this; empty: all of the namespace")]
    limit: PageLimit = 1_000
    cursor: Cursor = b""


class StateGetValues(Request, frozen=True, tag=26):
    """Reads the values of many state records and nothing else of them. Answered by `StateValues`.

    Like `StateGetMany`: each is consistent, together they are no snapshot.
    """

    namespace: Namespace
    keys: Annotated[tuple[str, ...], Meta(description=f"up to {limits.OPERATIONS_PER_FRAME_MAX} keys")]


class StateValues(Reply, frozen=True, tag=24):
    """Answers `StateGetValues`, in the order asked.

    Ends early after `page_bytes_max` bytes: ask again for the keys that are missing at the end.
    """

    values: Annotated[tuple[Value, ...], Meta(description="one for each key asked, or fewer; nil where absent")]
    absent: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...],
        Meta(description="which of `values`, from 0 and ascending, stand for absent records"),
    ]
