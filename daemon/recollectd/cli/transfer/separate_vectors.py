"""Vectors beside the lines: what the arrays of an .npz file are called, and the rows that an export puts aside.

An .npz file is a zip of numpy's arrays. For each vector space of each namespace it has two, their rows in step:

    acme/eu/mini/vectors      float32, rows x dimensions
    acme/eu/mini/memory_ids   text, rows

and two more where messages of conversations have vectors:

    acme/eu/mini/message_vectors
    acme/eu/mini/message_ids   CONVERSATION/MESSAGE, escaped like the names of arrays

The names are the namespace's labels and the space, each with its own `/` as %2F, `%` as %25 and NUL as %00. `format` is
a number. Do not change: files hold them.

An array begins with its number of rows, which is known at the end, so an export appends blocks to a file of its own
first. A block is a length (4 bytes, little-endian), that much MessagePack of `Block`, the ids as MessagePack, and the
rows. That file is gone when the .npz file is whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, TypeVar

import msgspec
from msgspec import Struct

from recollectd.cli.transfer.failures import DataError
from recollectd.cli.transfer.lines import Labels, MemoryLine, MessageLine, VectorSpaceLine
from recollectd.client.vectors import packed_vector

LineT = TypeVar("LineT", MemoryLine, MessageLine)

FORMAT: Final = 1
FORMAT_ARRAY: Final = "format"
VECTORS: Final = "vectors"
MEMORY_IDS: Final = "memory_ids"
MESSAGE_VECTORS: Final = "message_vectors"
MESSAGE_IDS: Final = "message_ids"
IDS_OF: Final = {VECTORS: MEMORY_IDS, MESSAGE_VECTORS: MESSAGE_IDS}
"""What the array of ids is called beside one of vectors."""
COMPONENT_BYTES: Final = 4

_LENGTH: Final = struct.Struct("<I")
_ESCAPES: Final = (("%", "%25"), ("/", "%2F"), ("\0", "%00"))


class Block(Struct, frozen=True, array_like=True):
    """Rows of one space. id_characters: of the longest id; ids_bytes: how long the ids are; what: the array."""

    namespace: Labels
    space: str
    dimensions: int
    rows: int
    id_characters: int
    ids_bytes: int
    what: str = VECTORS

    @property
    def vectors_bytes(self) -> int:
        """How long the rows are."""
        return self.rows * self.dimensions * COMPONENT_BYTES


class BlockAt(Struct, frozen=True):
    """A block and where its ids begin; its rows are behind them."""

    block: Block
    ids_at: int

    @property
    def vectors_at(self) -> int:
        """Where its rows begin."""
        return self.ids_at + self.block.ids_bytes


def array_name(namespace: Labels, space: str, what: str) -> str:
    """Return what an array is called. what: of IDS_OF, or its ids."""
    return "/".join([*map(_escaped, (*namespace, space)), what])


def array_subject(name: str) -> tuple[Labels, str, str] | None:
    """Return namespace (empty if the name has none), space and what of an array's name; None for another name."""
    *labels, what = name.split("/")
    if not all(labels) or not labels or what not in {*IDS_OF, *IDS_OF.values()}:
        return None
    *namespace, space = map(_unescaped, labels)
    return tuple(namespace), space, what


def _escaped(label: str) -> str:
    for character, escape in _ESCAPES:
        label = label.replace(character, escape)
    return label


def _unescaped(label: str) -> str:
    for character, escape in reversed(_ESCAPES):
        label = label.replace(escape, character)
    return label


def space_blocks(spaces: Sequence[VectorSpaceLine]) -> bytes:
    """Return blocks without rows, which give spaces without vectors an array, too."""
    return b"".join(
        _packed(space.namespace or (), space.name, space.dimensions, [], b"") for space in spaces if not space.alias_of
    )


def message_name(line: MessageLine) -> str:
    """Return what a message is called among the ids of an array."""
    return f"{_escaped(line.conversation_id)}/{_escaped(line.message_id or '')}"


def taken_out(lines: Sequence[MemoryLine]) -> tuple[list[MemoryLine], bytes]:
    """Return memories of one namespace without their vectors, and blocks of these.

    Raises DataError for an id that ends with NUL, which text in numpy's arrays cannot.
    """
    for line in lines:
        if line.vectors and line.memory_id.endswith("\0"):
            raise DataError(
                0, f"memory {line.memory_id!r}: no array holds an id that ends with NUL; leave its vectors in"
            )
    return _taken_out(lines, [line.memory_id for line in lines], VECTORS)


def messages_taken_out(lines: Sequence[MessageLine]) -> tuple[list[MessageLine], bytes]:
    """Return messages of one namespace without their vectors, and blocks of these."""
    return _taken_out(lines, [message_name(line) for line in lines], MESSAGE_VECTORS)


def _taken_out(lines: Sequence[LineT], names: Sequence[str], what: str) -> tuple[list[LineT], bytes]:
    ids: dict[tuple[str, int], list[str]] = {}
    rows: dict[tuple[str, int], list[bytes]] = {}
    for name, line in zip(names, lines, strict=True):
        for space, vector in (line.vectors or {}).items():
            ids.setdefault((space, len(vector)), []).append(name)
            rows.setdefault((space, len(vector)), []).append(packed_vector(vector, "vectors"))
    namespace = lines[0].namespace or () if lines else ()
    blocks = [_packed(namespace, *subject, ids[subject], b"".join(rows[subject]), what) for subject in sorted(ids)]
    return [msgspec.structs.replace(line, vectors=None) for line in lines], b"".join(blocks)


def _packed(namespace: Labels, space: str, dimensions: int, ids: list[str], rows: bytes, what: str = VECTORS) -> bytes:
    packed_ids = msgspec.msgpack.encode(ids)
    characters = max(map(len, ids), default=0)
    header = msgspec.msgpack.encode(Block(namespace, space, dimensions, len(ids), characters, len(packed_ids), what))
    return _LENGTH.pack(len(header)) + header + packed_ids + rows


def blocks_of(file: BinaryIO) -> Iterator[BlockAt]:
    """Yield all blocks of a file, from its beginning. Raises DataError for one that is cut off or damaged."""
    at = 0
    end = file.seek(0, 2)
    while at < end:
        file.seek(at)
        try:
            (size,) = _LENGTH.unpack(file.read(_LENGTH.size))
            block = msgspec.msgpack.decode(file.read(size), type=Block)
        except (struct.error, msgspec.DecodeError) as error:
            raise DataError(0, f"{file.name} is damaged at byte {at} ({error}); export without --resume") from None
        found = BlockAt(block, at + _LENGTH.size + size)
        at = found.vectors_at + block.vectors_bytes
        if at > end:
            raise DataError(0, f"{file.name} has lost its end; export without --resume")
        yield found


def ids_of(file: BinaryIO, found: BlockAt) -> list[str]:
    """Return the ids of a block."""
    file.seek(found.ids_at)
    return msgspec.msgpack.decode(file.read(found.block.ids_bytes), type=list[str])
