"""Msgpack in every spelling a client may choose: each number, text and array in any width that holds it."""

from __future__ import annotations

import random
import struct
from typing import Final

import msgspec

_UNSIGNED: Final = ((0xCC, "B"), (0xCD, "H"), (0xCE, "I"), (0xCF, "Q"))
_SIGNED: Final = ((0xD0, "b"), (0xD1, "h"), (0xD2, "i"), (0xD3, "q"))


def spell(value: object, noise: random.Random, wide: float) -> bytes:
    """Return the msgpack of a value; of its parts, this share is not written the shortest way."""
    if noise.random() >= wide or not isinstance(value, int | str | list | tuple):
        if isinstance(value, list | tuple):
            return _head(len(value), 0x90, 16, ((0xDC, "H"), (0xDD, "I")), 0) + _all(value, noise, wide)
        return msgspec.msgpack.encode(value)
    if isinstance(value, bool):
        return msgspec.msgpack.encode(value)
    if isinstance(value, int):
        return _number(value, noise)
    if isinstance(value, str):
        data = value.encode()
        return _head(len(data), 0xA0, 32, ((0xD9, "B"), (0xDA, "H"), (0xDB, "I")), noise.randint(1, 3)) + data
    return _head(len(value), 0x90, 16, ((0xDC, "H"), (0xDD, "I")), noise.randint(1, 2)) + _all(value, noise, wide)


def _all(values: list[object] | tuple[object, ...], noise: random.Random, wide: float) -> bytes:
    return b"".join(spell(each, noise, wide) for each in values)


def _number(value: int, noise: random.Random) -> bytes:
    forms = [*(_UNSIGNED if value >= 0 else ()), *_SIGNED]
    noise.shuffle(forms)
    for first, layout in forms:
        try:
            return bytes((first,)) + struct.pack(">" + layout, value)
        except struct.error:
            continue
    return msgspec.msgpack.encode(float(value))


def _head(count: int, fixed: int, below: int, forms: tuple[tuple[int, str], ...], wider: int) -> bytes:
    """Return the head of a text or array, in at least the `wider`-th of its forms; 0: the shortest."""
    if not wider and count < below:
        return bytes((fixed | count,))
    for first, layout in forms[max(0, wider - 1) :]:
        if count < 1 << 8 * struct.calcsize(">" + layout):
            return bytes((first,)) + struct.pack(">" + layout, count)
    raise AssertionError(f"nothing has {count} parts")
