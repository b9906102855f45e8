"""Cuts serialized values where their elements end, so that a value that grew shares what it had with its past.

A value's bytes are opaque: they are cut, never encoded anew, and put together they are the same bytes. What the
serializer wrote as msgpack is cut between the elements of arrays and maps (and of what lies in extension types, which
is how LangGraph writes messages); anything else is one piece. Small neighbours are kept together. Where a group of
them ends depends on the elements alone, so that an insertion moves no boundary but its own (content-defined chunking).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zlib import crc32

import msgspec

LARGE_BYTES: Final = 128
"""An element of this size is a piece of its own."""
GROUP_BYTES_MAX: Final = 4_096
DESCENT_BYTES_MIN: Final = 4_096
"""Elements above this are cut themselves."""
PIECE_BYTES_MAX: Final = 1024 * 1024
_DEPTH_MAX: Final = 32
_ENDS_GROUP: Final = 15
"""A group ends behind an element whose checksum has these bits clear: one of sixteen."""

_elements: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_extension: Final = msgspec.msgpack.Decoder(msgspec.msgpack.Ext)
_ARRAY_32: Final = 0xDD


def head_bytes(data: bytes) -> int:
    """Return the size of the header if the value is a msgpack array or map, else 0."""
    if not data:
        return 0
    first = data[0]
    if 0x80 <= first <= 0x9F:
        return 1
    return {0xDC: 3, 0xDE: 3, 0xDD: 5, 0xDF: 5}.get(first, 0)


def _count(head: bytes) -> int:
    """Return how many elements the header announces; keys and values of maps count each."""
    first = head[0]
    number = first & 0x0F if len(head) == 1 else int.from_bytes(head[1:])
    return number * 2 if first in (0xDE, 0xDF) or 0x80 <= first <= 0x8F else number


def _cut_elements(count: int, body: bytes) -> list[bytes] | None:
    """Return the bytes of each of `count` msgpack values; None if the body is not exactly that."""
    if count > len(body):  # each has a byte at least
        return None
    try:
        raws = _elements.decode(bytes([_ARRAY_32]) + count.to_bytes(4) + body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return [bytes(raw) for raw in raws]


def cut(kind: str, data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the value's head, which is not worth a piece, and the pieces of the rest."""
    head = data[: head_bytes(data)] if kind == "msgpack" else b""
    if head:
        elements = _cut_elements(_count(head), data[len(head) :])
        if elements is not None:
            return head, list(_grouped(elements, 0))
    return b"", list(_bounded(data))


def cut_tail(head: bytes, old_head: bytes, tail: bytes) -> list[bytes] | None:
    """Return the pieces of what was appended to a value, None if it was not whole elements."""
    elements = _cut_elements(_count(head) - _count(old_head), tail) if _count(head) >= _count(old_head) else None
    return None if elements is None else list(_grouped(elements, 0))


def _grouped(elements: list[bytes], depth: int) -> Iterator[bytes]:
    group: list[bytes] = []
    size = 0
    for element in _flat(elements, depth):
        if len(element) >= LARGE_BYTES:
            if group:
                yield b"".join(group)
                group, size = [], 0
            yield from _bounded(element)
            continue
        group.append(element)
        size += len(element)
        if size >= GROUP_BYTES_MAX or not crc32(element) & _ENDS_GROUP:
            yield b"".join(group)
            group, size = [], 0
    if group:
        yield b"".join(group)


def _flat(elements: list[bytes], depth: int) -> Iterator[bytes]:
    """Yield elements, instead of large ones their headers and elements."""
    for element in elements:
        if len(element) < DESCENT_BYTES_MIN or depth == _DEPTH_MAX:
            yield element
            continue
        head, inside = _open(element)
        if inside is None:
            yield element
        else:
            yield head
            yield from _flat(inside, depth + 1)


def _open(element: bytes) -> tuple[bytes, list[bytes] | None]:
    size = head_bytes(element)
    if size:
        return element[:size], _cut_elements(_count(element[:size]), element[size:])
    if element[0] in (0xC7, 0xC8, 0xC9):
        inner = bytes(_extension.decode(element).data)
        head = element[: len(element) - len(inner)]
        size = head_bytes(inner)
        if size:
            return head + inner[:size], _cut_elements(_count(inner[:size]), inner[size:])
    return b"", None


def _bounded(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES_MAX):
        yield data[start : start + PIECE_BYTES_MAX]
