"""Deltas on disk: what of each space is in no segment, or was deleted since, in files that are never changed.

    for each space: u64 length, msgpack of Section     do not change

A section's deletions come before its puts: a record that was deleted and put again is there. Changes that a segment
already covers are passed over when a dump is loaded, so that dumps need not be rewritten with each merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from recollectd.storage.vectors.files import FileMark, map_checked

_BIN_32: Final = b"\xc6"
_BIN_BYTES_MAX: Final = 0xFFFFFFFF
_NO_BYTES: Final = msgspec.msgpack.encode(b"")


class Section(msgspec.Struct, frozen=True, array_like=True):
    """Changes of one space. born: u64 seqs of the puts; rows: their stored rows, one after the other."""

    space: int
    deleted: list[tuple[int, bytes]]
    ids: list[bytes]
    born: bytes
    rows: bytes


class Puts(NamedTuple):
    """The puts of a section that count."""

    ids: list[bytes]
    born: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.uint8]


def encode_section(section: Section, parts: Iterable[memoryview], parts_bytes: int) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a section as it stands in a file; its rows are the parts, one after the other.

    In parts, because a copy of all rows at once would hold up every thread for tens of milliseconds.
    """
    assert not section.rows
    assert parts_bytes <= _BIN_BYTES_MAX, parts_bytes
    head = msgspec.msgpack.encode(section)[: -len(_NO_BYTES)] + _BIN_32 + parts_bytes.to_bytes(4, "big")
    yield (len(head) + parts_bytes).to_bytes(8, "little") + head
    yield from parts


def read_dump(path: Path, mark: FileMark) -> Iterator[Section]:
    """Yield the sections of a file. Raises FileDamaged before the first when it is not what its mark says."""
    content = memoryview(map_checked(path, mark))
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 8], "little")
        yield msgspec.msgpack.decode(content[at + 8 : at + 8 + length], type=Section)
        at += 8 + length


def puts_after(section: Section, seq: int, row_bytes: int) -> Puts:
    """Return the puts of a section that came after a seq."""
    born = np.frombuffer(section.born, np.uint64)
    rows = np.frombuffer(section.rows, np.uint8).reshape(len(section.ids), row_bytes)
    if not len(born) or int(born.min()) > seq:
        return Puts(section.ids, born, rows)
    kept = np.flatnonzero(born > seq)
    return Puts([section.ids[at] for at in kept.tolist()], born[kept], rows[kept])
