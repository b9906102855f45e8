"""What message fields are made of: base classes and the types several messages share.

Messages are msgspec Structs written as arrays: the tag first, then the fields in the order declared. Fields are only
ever appended, with a default; a tag is never given twice. Do not change tags or the order of fields.

Times are integers: microseconds since 1970-01-01T00:00:00Z. Durations end in `_us`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Raw, Struct
from msgspec.structs import force_setattr

from recollectd.protocol import limits


class Kind(IntEnum):
    """The kinds of record. Do not change: keys on disk begin with them."""

    STATE = 1
    LOG = 2
    CONVERSATION = 3
    MEMORY = 4
    MEMORY_THREAD = 5
    MEMORY_TEXT = 6
    VECTOR_SPACE = 7
    VECTOR_SPACE_DROPPED = 8
    MESSAGE_VECTORS = 9
    SETTINGS = 16
    SEARCH_SETTINGS = 17


class Message(Struct, frozen=True, array_like=True, gc=False):
    """Base of everything that travels in a frame."""


class Request(Message, frozen=True):
    """Base of what a client sends; reads carry number 0."""


class Write(Request, frozen=True):
    """Base of requests that change something: they carry a number and are executed exactly once."""


class Reply(Message, frozen=True):
    """Base of what the daemon sends."""


class Part(Struct, frozen=True, array_like=True, gc=False):
    """Base of structures inside messages: arrays without a tag."""


Namespace = Annotated[
    tuple[str, ...],
    Meta(
        description=f"1 to {limits.NAMESPACE_LABELS_MAX} labels of 1 to {limits.LABEL_BYTES_MAX} bytes of UTF-8 each",
    ),
]
Key = Annotated[str, Meta(description=f"0 < bytes of UTF-8 <= {limits.KEY_BYTES_MAX}")]
LogId = Annotated[str, Meta(description=f"the log's name, 0 < bytes of UTF-8 <= {limits.KEY_BYTES_MAX}")]
ConversationId = Annotated[str, Meta(description=f"0 < bytes of UTF-8 <= {limits.KEY_BYTES_MAX}")]
MessageId = Annotated[str, Meta(description=f"0 < bytes of UTF-8 <= {limits.MESSAGE_ID_BYTES_MAX}")]
Value = Annotated[
    Raw,
    Meta(description=f"any msgpack value, at most {limits.VALUE_BYTES_MAX} bytes and {limits.VALUE_DEPTH_MAX} deep"),
]
# msgspec takes `Raw | None` for nil alone. So a field that is raw or nil is decoded as raw, and its structure turns nil
# into None with `nil_to_none` in `__post_init__`.
if TYPE_CHECKING:
    RawOrNil = Raw | None
else:
    RawOrNil = Raw
NIL: Final = Raw(b"\xc0")


def nil_to_none(structure: Struct, field: str) -> None:
    """Replace a raw nil in this field, as decoding leaves it, by None."""
    if getattr(structure, field) == NIL:
        force_setattr(structure, field, None)


Metadata = Annotated[
    RawOrNil,
    Meta(
        description=f"a msgpack map with text keys, at most {limits.METADATA_BYTES_MAX} bytes, or nil",
        extra={"nil": True},
    ),
]
Vectors = Annotated[
    dict[str, bytes] | None,
    Meta(description="by vector space, or alias: little-endian float32 components; nil: none told"),
]
Time = Annotated[int, Meta(ge=0, le=limits.TIME_US_MAX, description="microseconds since 1970-01-01T00:00:00Z")]
OptionalTime = Annotated[
    Annotated[int, Meta(ge=0, le=limits.TIME_US_MAX)] | None,
    Meta(description="microseconds since 1970-01-01T00:00:00Z, or nil"),
]
OptionalMoment = Annotated[
    Annotated[int, Meta(ge=limits.VALID_AT_US_MIN, le=limits.TIME_US_MAX)] | None,
    Meta(description="microseconds since 1970-01-01T00:00:00Z, less than 0 before it, or nil"),
]
OptionalTtl = Annotated[
    Annotated[int, Meta(ge=1, le=limits.TTL_US_MAX)] | None,
    Meta(description="time to live in microseconds, or nil for ever"),
]
Version = Annotated[int, Meta(ge=0, description="the record's version, from 1; 0 stands for absent")]
OptionalVersion = Annotated[Annotated[int, Meta(ge=0)] | None, Meta(description="a version, or nil for any")]
Position = Annotated[int, Meta(ge=0, description="a position in a log, from 0")]
OptionalPosition = Annotated[Annotated[int, Meta(ge=0)] | None, Meta(description="a position in a log, or nil")]
JournalPosition = Annotated[int, Meta(ge=0, description="a journal sequence number; 0 stands for nothing yet")]
Revision = Annotated[
    int, Meta(ge=0, description="the journal sequence number of the record's last change; 0 stands for absent")
]
PageLimit = Annotated[
    int, Meta(ge=1, le=limits.PAGE_ITEMS_MAX, description=f"at most so many, up to {limits.PAGE_ITEMS_MAX}")
]
Cursor = Annotated[bytes, Meta(description="empty to begin; then what the last page gave. Opaque, survives restarts")]
Count = Annotated[int, Meta(ge=0, description="how many")]
