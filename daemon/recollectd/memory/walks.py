"""Walking record heads of one kind in one namespace, in bounded steps with a cursor; shared by all kinds."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from typing import Final, NamedTuple

from recollectd.memory import cursors
from recollectd.memory.kind import View
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import Family, after_prefix, kind_prefix, namespace_end, text_bytes

_STEP_KEYS: Final = 1_000
_GLOB_SPECIAL: Final = re.compile(r"[*?\[]")


class Walk(NamedTuple):
    """Which heads to walk: those of a kind and namespace whose key begins with prefix and matches pattern."""

    prefix: bytes
    matches: Callable[[str], object] | None
    reverse: bool
    query: bytes


class Walked(NamedTuple):
    """One page: heads as (record key, row), the cursor behind them (empty: no more)."""

    heads: list[tuple[bytes, bytes]]
    cursor: bytes


def plan(kind: Kind, namespace: tuple[str, ...], prefix: str, pattern: str = "", *, reverse: bool = False) -> Walk:
    """Return the walk, refusing names out of bounds. A pattern's literal beginning narrows the walk like a prefix."""
    text_bytes(pattern, "pattern", limits.PATTERN_BYTES_MAX, empty=True)
    matches: Callable[[str], object] | None = None
    start = prefix
    if pattern:
        matches = re.compile(translate(pattern)).match
        special = _GLOB_SPECIAL.search(pattern)
        literal = pattern[: special.start()] if special else pattern
        if literal.startswith(prefix):
            start = literal
        elif not prefix.startswith(literal):
            start, matches = prefix, _nothing
    query = cursors.query_digest(int(kind), namespace, prefix, pattern, reverse)
    return Walk(kind_prefix(kind, namespace, start), matches, reverse, query)


def _nothing(key: str) -> None:
    return None


def page(view: View, walk: Walk, cursor: bytes, limit: int, wanted: Callable[[bytes], bool]) -> Walked:
    """Return the next heads that match and whose row is wanted.

    Examines at most SCAN_KEYS_EXAMINED_MAX heads; a page may be short, or empty, and still have a cursor.
    """
    place = cursors.unpack(cursor, view.store_id, walk.query)
    start, stop = walk.prefix, after_prefix(walk.prefix)
    if place:
        if not start <= place < stop:
            raise errors.InvalidCursor("the cursor points outside its query", field="cursor")
        start, stop = (start, place) if walk.reverse else (place + b"\0", stop)
    key_at = namespace_end(walk.prefix)
    found: list[tuple[bytes, bytes]] = []
    examined = 0
    while examined < limits.SCAN_KEYS_EXAMINED_MAX:
        keys_max = min(_STEP_KEYS, limit + 16, limits.SCAN_KEYS_EXAMINED_MAX - examined)
        step = view.walk(Family.HEADS, start, stop, reverse=walk.reverse, keys_max=keys_max)
        for key, row in step:
            examined += 1
            if wanted(row) and (walk.matches is None or walk.matches(key[key_at:].decode())):
                found.append((key, row))
                if len(found) == limit:
                    return Walked(found, cursors.pack(view.store_id, walk.query, key))
        if len(step) < keys_max:
            return Walked(found, b"")
        last = step[-1][0]
        start, stop = (start, last) if walk.reverse else (last + b"\0", stop)
    return Walked(found, cursors.pack(view.store_id, walk.query, last))


def cursor_at(view: View, walk: Walk, key: bytes) -> bytes:
    """Return the cursor that goes on behind a record key (backwards: before it)."""
    return cursors.pack(view.store_id, walk.query, key)
