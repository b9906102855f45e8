"""The heads of memories, of what is kept beside them, and of vector spaces; and a memory's contents on disk.

A memory's versions are rows like those of state records. Its vectors are one row beside them, of the newest version
alone: they are large, and made from the text.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from recollectd.memory.kind import Head
from recollectd.memory.state.events import StateHead
from recollectd.protocol import table
from recollectd.protocol.messages.fields import Kind, RawOrNil, nil_to_none
from recollectd.protocol.messages.memories import NewMemory
from recollectd.storage.keyspace import namespace_end, pack_u64, path, record_key, row_key, row_number

# Ids remembered for one text; of more memories with the very same text, only these are found by `if_new`.
SAME_TEXT_MAX: Final = 16

_VECTORS_POSITION: Final = 0
_EMBEDDED: Final = 0x80 | Kind.MEMORY
_ACCESSED: Final = 0xC0 | Kind.MEMORY
_LEFT: Final = 0x80 | Kind.MEMORY_THREAD


class MemoryHead(StateHead, frozen=True):
    """Where a memory stands.

    thread: the conversation it was said in; position: its place there; digest: of its text; forgotten_at and
    superseded_at: 0 while it is neither; vectors: whether it has a row of vectors; access_count, last_accessed: how
    often, and when last, it was found, where the namespace counts that.
    """

    thread: str = ""
    position: int = 0
    digest: bytes = b""
    forgotten_at: int = 0
    superseded_at: int = 0
    superseded_by: str = ""
    vectors: bool = False
    access_count: int = 0
    last_accessed: int = 0

    @property
    def hidden(self) -> bool:
        """Whether lists and searches leave it out unless asked."""
        return bool(self.forgotten_at or self.superseded_at)


class ThreadHead(Head, frozen=True):
    """A conversation as its memories make it: the position of the next one."""

    next: int


class TextHead(Head, frozen=True):
    """The memories that say the very same, the oldest first."""

    memory_ids: tuple[str, ...]


class SpaceHead(Head, frozen=True):
    """A vector space, or an alias of one.

    incarnation: the commit of its creation, which tells the vectors of a dropped space from those of a later one with
    the same name. An alias has no dimensions.
    """

    dimensions: int
    metric: str
    precision: str
    model: str
    created_at: int
    incarnation: int
    revision: int
    alias_of: str = ""


class DroppedSpaceHead(Head, frozen=True):
    """A space whose vectors still lie beside memories, until a sweep has passed them all. place: how far it is."""

    name: str
    incarnation: int
    place: bytes = b""


class MemoryBody(Struct, frozen=True, array_like=True, gc=False):
    """A memory's contents on disk, without vectors. Fields are only ever appended, with a default."""

    text: str
    kind: str = ""
    metadata: RawOrNil = None
    importance: float | None = None
    pinned: bool = False
    valid_at: int | None = None
    place: tuple[float, float] | None = None
    derived_from: tuple[str, ...] = ()
    conversation_id: str | None = None

    def __post_init__(self) -> None:
        nil_to_none(self, "metadata")


class StoredVector(NamedTuple):
    """A vector on disk: the incarnation of its space, and little-endian float32 components."""

    incarnation: int
    components: bytes


decode_head: Final = msgspec.msgpack.Decoder(MemoryHead).decode
decode_body: Final = msgspec.msgpack.Decoder(MemoryBody).decode
decode_space: Final = msgspec.msgpack.Decoder(SpaceHead).decode
decode_dropped_space: Final = msgspec.msgpack.Decoder(DroppedSpaceHead).decode
_decode_vectors: Final = msgspec.msgpack.Decoder(dict[str, tuple[int, bytes]]).decode


def pack_vectors(vectors: dict[str, StoredVector]) -> Raw:
    """Return the row of a memory's vectors, by space."""
    return Raw(table.encode({name: tuple(vectors[name]) for name in sorted(vectors)}))


def unpack_vectors(row: bytes | Raw) -> dict[str, StoredVector]:
    """Return a memory's vectors, by space."""
    return {name: StoredVector(*stored) for name, stored in _decode_vectors(row).items()}


def memory_key(namespace: tuple[str, ...], memory_id: str, field: str = "memory_id") -> bytes:
    """Return a memory's record key. Raises InvalidArgument naming the field at fault."""
    return record_key(Kind.MEMORY, namespace, memory_id, field)


def embedded_key(key: bytes) -> bytes:
    """Return what is noted of a memory that was given a vector: its words are as they were. Do not change: on disk."""
    return bytes((_EMBEDDED,)) + key[1:]


def accessed_key(key: bytes) -> bytes:
    """Return what is noted of a memory whose accesses were counted: no view must be told, but who keeps heads."""
    return bytes((_ACCESSED,)) + key[1:]


def noted_memory(noted: bytes) -> bytes | None:
    """Return the record key in what is noted of a memory, None where it is of something else."""
    return bytes((Kind.MEMORY,)) + noted[1:] if noted[0] in (Kind.MEMORY, _EMBEDDED, _ACCESSED) else None


def is_changed_memory(noted: bytes) -> bool:
    """Tell whether what is noted is a memory that the views must read again."""
    return noted[0] in (Kind.MEMORY, _EMBEDDED)


def changed_memory(noted: bytes) -> tuple[bytes, bool]:
    """Return the record key in what is noted of a memory, and whether its words may have changed."""
    return bytes((Kind.MEMORY,)) + noted[1:], noted[0] == Kind.MEMORY


def left_key(key: bytes, head: MemoryHead) -> bytes:
    """Return what is noted of the place in a conversation that a memory leaves. Do not change: on disk.

    Its head may say another place when the views are told, or be gone: the id may be used again at once.
    """
    return bytes((_LEFT,)) + thread_key(key, head.thread)[1:] + pack_u64(head.position)


def left_place(noted: bytes) -> tuple[bytes, int] | None:
    """Return the key of the conversation and the position in what is noted of a place left, None where it is not."""
    if noted[0] != _LEFT:
        return None
    return bytes((Kind.MEMORY_THREAD,)) + noted[1:-8], row_number(noted)


def vectors_key(key: bytes) -> bytes:
    """Return the key of a memory's vectors among the entries."""
    return row_key(path(key), _VECTORS_POSITION)


def beside(key: bytes, kind: Kind, name: bytes) -> bytes:
    """Return the key of a head of another kind in the namespace of a record key."""
    return bytes((kind,)) + key[1 : namespace_end(key)] + name


def thread_key(key: bytes, thread: str) -> bytes:
    """Return the key of the head of a conversation in a memory's namespace."""
    return beside(key, Kind.MEMORY_THREAD, thread.encode())


def dropped_space_key(key: bytes, incarnation: int) -> bytes:
    """Return the key of what is left of a dropped space, in the namespace of a record key."""
    return beside(key, Kind.VECTOR_SPACE_DROPPED, f"{incarnation:020}".encode())


def text_digest(text: str) -> bytes:
    """Return what stands for a text, as ASCII: keys are text."""
    return blake2b(text.encode(), digest_size=16).hexdigest().encode()


def text_key(key: bytes, digest: bytes) -> bytes:
    """Return the key of the head of a text in a memory's namespace."""
    return beside(key, Kind.MEMORY_TEXT, digest)


def body_of(new: NewMemory) -> MemoryBody:
    """Return a memory as it is stored."""
    return MemoryBody(
        new.text,
        new.kind,
        new.metadata,
        new.importance,
        new.pinned,
        new.valid_at,
        new.place,
        new.derived_from,
        new.conversation_id,
    )
