"""Every key layout of the store, declared once. Do not change: keys are on disk, and golden-tested.

    namespace   (label length u8, label bytes)*, 0x00           no label is empty, so 0x00 ends the list
    record key  kind u8, namespace, key bytes                   a walk is in the order of the keys' bytes
    path        kind u8, namespace, key bytes with 0x00 as 0x00 0xFF, 0x00    for rows that hang below a record

    family    row                          value
    META      name                         what the name says; ROWS lists them
    HEADS     record key                   the record's head (msgpack array, declared by its kind)
    VALUES    path, version u64            one version of a state record or a memory
    ENTRIES   path, position u64           one item of a log, one message of a conversation, a memory's vectors (0),
                                           a message's vectors (kind 9; else the path of its conversation)
    INDEX     0x81, time u64, record key   expiry: nothing
              0x82, namespace, ~second u64, conversation id    conversations by last use: nothing
              0x83, path, incarnation u64, message id          position u64, stored_at u64
              0x84, session id             what a session remembers
              0x85, path, position u64     memory id: the memory at this place of a conversation
              0x86, seq u64, record key    a commit changed this memory or vector space, or what a mark says: nothing

Integers in keys are big-endian so that their order is the order of the bytes; in values they are little-endian. The
escape cannot be confused with the end of a path: what follows the end is a u64 below 2^63, never 0xFF.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from recollectd.protocol import errors, limits
from recollectd.protocol.messages.fields import Kind

PUT: Final = 0
DELETE: Final = 1
DELETE_RANGE: Final = 2


class Family(IntEnum):
    """RocksDB's column families. Do not change."""

    META = 0
    HEADS = 1
    VALUES = 2
    ENTRIES = 3
    INDEX = 4


FAMILY_NAMES: Final = {
    Family.META: "default",
    Family.HEADS: "heads",
    Family.VALUES: "values",
    Family.ENTRIES: "entries",
    Family.INDEX: "index",
}

# One change to the engine: (PUT | DELETE | DELETE_RANGE, family, key, value or end of the range).
Write = tuple[int, Family, bytes, bytes]

APPLIED_KEY: Final = b"applied"  # u64: every commit up to this one is in the families
SESSIONS_KEY: Final = b"sessions"  # u64: the sessions' rows are as of this commit
CHANGES_TRIMMED_KEY: Final = b"changes"  # u64: change rows of commits up to this one are gone
META_KEYS: Final = (APPLIED_KEY, SESSIONS_KEY, CHANGES_TRIMMED_KEY)

INDEX_EXPIRY: Final = b"\x81"
INDEX_LAST_USE: Final = b"\x82"
INDEX_MESSAGE_ID: Final = b"\x83"
INDEX_SESSION: Final = b"\x84"
INDEX_THREAD: Final = b"\x85"
INDEX_CHANGE: Final = b"\x86"

# No label of a namespace is so long as these: they are apart from record keys and from namespaces.
MESSAGES_MARK: Final = b"\x83"
MESSAGE_VECTORS_MARK: Final = b"\x89"

_U64: Final = struct.Struct(">Q")
_U64_LITTLE: Final = struct.Struct("<Q")
_U64_MAX: Final = 2**64 - 1
pack_u64 = _U64.pack
pack_number = _U64_LITTLE.pack


def unpack_number(row: bytes) -> int:
    """Return the u64 a META or message-id row holds."""
    number: int = _U64_LITTLE.unpack(row)[0]
    return number


def text_bytes(text: str, field: str, bytes_max: int, *, empty: bool = False) -> bytes:
    """Return text as UTF-8 within 1 (or 0 if `empty`) ... bytes_max bytes; raises InvalidArgument naming the field."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise errors.InvalidArgument("must be valid Unicode, without lone surrogates", field=field) from None
    if len(encoded) > bytes_max or not (encoded or empty):
        least = 0 if empty else 1
        raise errors.InvalidArgument(
            f"must have {least} to {bytes_max} bytes of UTF-8, not {len(encoded)}", field=field
        )
    return encoded


def namespace_prefix(namespace: tuple[str, ...], field: str = "namespace") -> bytes:
    """Return a namespace's labels without the end: the prefix of the namespace and of all below it.

    Raises InvalidArgument naming the label at fault.
    """
    if len(namespace) > limits.NAMESPACE_LABELS_MAX:
        raise errors.InvalidArgument(
            f"has {len(namespace)} labels; at most {limits.NAMESPACE_LABELS_MAX} are allowed", field=field
        )
    parts: list[bytes] = []
    for index, label in enumerate(namespace):
        encoded = text_bytes(label, f"{field}[{index}]", limits.LABEL_BYTES_MAX)
        parts += (bytes((len(encoded),)), encoded)
    return b"".join(parts)


# Programs use few namespaces very often: remembering their bytes is worth more than any faster encoding. Emptied
# when full; a namespace costs at most 2 KiB here.
_NAMESPACES: Final[dict[tuple[str, ...], bytes]] = {}
_NAMESPACES_MAX: Final = 10_000


def namespace_bytes(namespace: tuple[str, ...], field: str = "namespace") -> bytes:
    """Return a namespace's bytes in a key. Raises InvalidArgument naming the label at fault."""
    known = _NAMESPACES.get(namespace)
    if known is None:
        if not namespace:
            raise errors.InvalidArgument("must have at least one label", field=field)
        known = namespace_prefix(namespace, field) + b"\0"
        if len(_NAMESPACES) >= _NAMESPACES_MAX:
            _NAMESPACES.clear()
        _NAMESPACES[namespace] = known
    return known


def record_key(kind: Kind, namespace: tuple[str, ...], key: str, field: str = "key") -> bytes:
    """Return the key of a record's head. Raises InvalidArgument naming the field at fault."""
    return bytes((kind,)) + namespace_bytes(namespace) + text_bytes(key, field, limits.KEY_BYTES_MAX)


def kind_prefix(kind: Kind, namespace: tuple[str, ...], prefix: str = "") -> bytes:
    """Return what the record keys of one kind in one namespace, with this beginning of the key, begin with."""
    start = text_bytes(prefix, "prefix", limits.KEY_BYTES_MAX, empty=True)
    return bytes((kind,)) + namespace_bytes(namespace) + start


def after_prefix(prefix: bytes) -> bytes:
    """Return the first key behind all keys that begin with prefix."""
    end = prefix.rstrip(b"\xff")
    assert end, "a prefix of 0xFF bytes has no end"
    return end[:-1] + bytes((end[-1] + 1,))


def namespace_end(key: bytes) -> int:
    """Return the offset behind the namespace in a record key."""
    at = 1
    while key[at]:
        at += 1 + key[at]
    return at + 1


def split_record_key(key: bytes) -> tuple[int, tuple[str, ...], str]:
    """Return kind, namespace and key of a record key."""
    labels: list[str] = []
    at = 1
    while key[at]:
        labels.append(key[at + 1 : at + 1 + key[at]].decode())
        at += 1 + key[at]
    return key[0], tuple(labels), key[at + 1 :].decode()


def path(key: bytes) -> bytes:
    """Return the path of the rows that hang below a record, from its record key."""
    end = namespace_end(key)
    return key[:end] + key[end:].replace(b"\0", b"\0\xff") + b"\0"


def row_key(record_path: bytes, number: int) -> bytes:
    """Return the key of a version or an entry below a record's path."""
    return record_path + _U64.pack(number)


def row_number(key: bytes) -> int:
    """Return the version or position at the end of a row key."""
    number: int = _U64.unpack(key[-8:])[0]
    return number


def expiry_key(expires_at: int, key: bytes) -> bytes:
    """Return the expiry index's key for a record."""
    return INDEX_EXPIRY + _U64.pack(expires_at) + key


def split_expiry_key(key: bytes) -> tuple[int, bytes]:
    """Return the expiry time and the record key of an expiry index row."""
    time: int = _U64.unpack(key[1:9])[0]
    return time, key[9:]


def last_use_key(key: bytes, second: int) -> bytes:
    """Return the last-use index's key for a conversation: the last used comes first."""
    end = namespace_end(key)
    return INDEX_LAST_USE + key[1:end] + _U64.pack(_U64_MAX - second) + key[end:]


def split_last_use_key(key: bytes) -> tuple[int, str]:
    """Return second of last use and conversation id of a last-use index row."""
    end = namespace_end(key)
    inverted: int = _U64.unpack(key[end : end + 8])[0]
    return _U64_MAX - inverted, key[end + 8 :].decode()


def message_id_prefix(record_path: bytes, incarnation: int) -> bytes:
    """Return what the message-id rows of one conversation begin with.

    incarnation is the conversation's creation: rows of a deleted conversation never answer for one created later.
    """
    return INDEX_MESSAGE_ID + record_path + _U64.pack(incarnation)


def session_key(session_id: bytes) -> bytes:
    """Return the key of a session's row."""
    return INDEX_SESSION + session_id


def thread_row_key(record_path: bytes, position: int) -> bytes:
    """Return the key that says which memory is at a place of a conversation, from the path of the conversation."""
    return INDEX_THREAD + record_path + _U64.pack(position)


def change_key(seq: int, key: bytes) -> bytes:
    """Return the key that says that a commit changed a record which the views over memories follow."""
    return INDEX_CHANGE + _U64.pack(seq) + key


def messages_key(key: bytes, first: int, to: int) -> bytes:
    """Return what stands in a change row for messages first ... to - 1 of a conversation, from its record key."""
    return MESSAGES_MARK + key[1:] + _U64.pack(first) + _U64.pack(to)


def split_messages_key(noted: bytes) -> tuple[bytes, int, int]:
    """Return the record key of a conversation, and which of its messages are meant."""
    first: int = _U64.unpack(noted[-16:-8])[0]
    to: int = _U64.unpack(noted[-8:])[0]
    return bytes((Kind.CONVERSATION,)) + noted[1:-16], first, to


def message_vectors_key(key: bytes) -> bytes:
    """Return the record key of the vectors of a conversation's messages, from that of the conversation."""
    return bytes((Kind.MESSAGE_VECTORS,)) + key[1:]


def noted_vectors_key(key: bytes, first: int, to: int) -> bytes:
    """Return what stands in a change row for the vectors of messages first ... to - 1, from their record key."""
    return MESSAGE_VECTORS_MARK + key[1:] + _U64.pack(first) + _U64.pack(to)


def split_noted_vectors_key(noted: bytes) -> tuple[bytes, int, int]:
    """Return the record key of the vectors of a conversation's messages, and which messages are meant."""
    first: int = _U64.unpack(noted[-16:-8])[0]
    to: int = _U64.unpack(noted[-8:])[0]
    return bytes((Kind.MESSAGE_VECTORS,)) + noted[1:-16], first, to


def split_change_key(key: bytes) -> tuple[int, bytes]:
    """Return commit and record key of a change row."""
    seq: int = _U64.unpack(key[1:9])[0]
    return seq, key[9:]
