"""The manifest: which segments the view consists of, and up to which commit. Do not change: it is on disk.

    manifest   "RKWMANI1", content (msgpack array), XXH64 of both u64 little-endian

A view is what its manifest says and nothing else; a segment that no manifest names was never finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from recollectd._native.checksum import xxh64
from recollectd.storage.keywords.errors import KeywordsDamaged

MANIFEST_NAME: Final = "MANIFEST"
MAGIC: Final = b"RKWMANI1"
_CHECKSUM_BYTES: Final = 8


class SegmentEntry(msgspec.Struct, array_like=True, frozen=True):
    """One segment. dead: (block u32, row u32) little-endian of each document that is no longer there, in order."""

    number: int
    file_bytes: int
    checksum: int
    documents: int
    dead: bytes

    @property
    def name(self) -> str:
        """The file's name."""
        return segment_name(self.number)

    @property
    def dead_documents(self) -> int:
        """How many of the documents are no longer there."""
        return len(self.dead) // 8


class Manifest(msgspec.Struct, array_like=True, frozen=True):
    """The view as of the commit covered_seq. fields and analysis: what it was made with; next_number: not used yet."""

    covered_seq: int
    next_number: int
    fields: tuple[str, ...]
    analysis: str
    segments: tuple[SegmentEntry, ...]


def segment_name(number: int) -> str:
    """Return the file name of a segment."""
    return f"{number:010d}.postings"


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the file's content."""
    content = MAGIC + msgspec.msgpack.encode(manifest)
    return content + xxh64(content).to_bytes(_CHECKSUM_BYTES, "little")


def read_manifest(path: Path) -> Manifest | None:
    """Return what the file says, None if there is none. Raises KeywordsDamaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeywordsDamaged(f"{path} cannot be read: {error}") from error
    body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if not body.startswith(MAGIC) or xxh64(body) != int.from_bytes(checksum, "little"):
        raise KeywordsDamaged(f"{path} is altered or cut short")
    try:
        return msgspec.msgpack.decode(body[len(MAGIC) :], type=Manifest)
    except msgspec.DecodeError as error:
        raise KeywordsDamaged(f"{path} cannot be read: {error}") from error
