"""Cursors: where a walk stopped, bound to the store and the query it belongs to.

A cursor is msgpack: [format, store, query, place, checksum]. It survives restarts, and it is refused when it is
damaged or was given by another query or another store. It carries no authority: the query's namespace does.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from recollectd.protocol import errors, limits

_FORMAT: Final = 1


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    format: int
    store: bytes
    query: bytes
    place: bytes
    checksum: bytes


_DECODE: Final = msgspec.msgpack.Decoder(_Cursor).decode


def query_digest(*parts: object) -> bytes:
    """Return what names a query: its message and every field that decides which rows it walks, in which order."""
    return blake2b(repr(parts).encode(), digest_size=8).digest()


def pack(store_id: bytes, query: bytes, place: bytes) -> bytes:
    """Return a cursor. place: the key behind which (or before which, backwards) to go on."""
    store = store_id[:8]
    return msgspec.msgpack.encode(_Cursor(_FORMAT, store, query, place, _checksum(store, query, place)))


def unpack(cursor: bytes, store_id: bytes, query: bytes) -> bytes:
    """Return the place in a cursor, empty for an empty one. Raises InvalidCursor."""
    if not cursor:
        return b""
    if len(cursor) > limits.CURSOR_BYTES_MAX:
        raise errors.InvalidCursor("the cursor is longer than any this daemon gives", field="cursor")
    try:
        found = _DECODE(cursor)
    except (msgspec.DecodeError, RecursionError):
        raise errors.InvalidCursor("the cursor is damaged", field="cursor") from None
    if found.format != _FORMAT or found.checksum != _checksum(found.store, found.query, found.place):
        raise errors.InvalidCursor("the cursor is damaged or from another version", field="cursor")
    if found.store != store_id[:8]:
        raise errors.InvalidCursor("the cursor belongs to another store", field="cursor")
    if found.query != query:
        raise errors.InvalidCursor("the cursor belongs to another query", field="cursor")
    return found.place


def _checksum(store: bytes, query: bytes, place: bytes) -> bytes:
    return blake2b(b"\0".join((store, query, place)), digest_size=8).digest()
