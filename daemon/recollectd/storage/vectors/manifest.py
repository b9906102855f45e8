"""What the view's files are, which of them count, and up to which commit: one small file, replaced as a whole.

    b"RVM1", msgpack of Manifest, u64 XXH64 of both, little-endian     do not change

Layout of the folder:

    MANIFEST
    dumps/<number>              rows of deltas, of all spaces (dumps.py)
    segments/<number>/rows      vectors in the space's precision, row after row
                      ids       record ids both ways (native/vector_ids.pyx)
                      graph     usearch over i8 or bf16 copies, keyed by row; not in small segments
                      dead-<seq>  a bit per row: dead as of that commit
    parked/                     graphs of builds that were cut off (parking.py); the manifest knows nothing of them
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from recollectd._native.checksum import xxh64
from recollectd.storage.durable import write_file
from recollectd.storage.vectors.errors import FileDamaged
from recollectd.storage.vectors.files import FileMark
from recollectd.storage.vectors.spec import Spec

# On disk: do not change.
MAGIC: Final = b"RVM1"
MANIFEST_NAME: Final = "MANIFEST"
DUMPS_NAME: Final = "dumps"
SEGMENTS_NAME: Final = "segments"
PARKED_NAME: Final = "parked"
ROWS_NAME: Final = "rows"
IDS_NAME: Final = "ids"
GRAPH_NAME: Final = "graph"


class SegmentEntry(msgspec.Struct, frozen=True):
    """One segment. files: marks of rows, ids and, if there is one, graph, by name.

    rows: how many, holes included. scale: what components are multiplied with for the graph's i8 copies.
    churn: rows of the graph that died or were replaced since it was built from scratch. residue: rows that died and
    whose bytes may still be in the graph. dead: name of the file of dead rows, or empty.
    """

    number: int
    rows: int
    files: dict[str, FileMark]
    scale: float = 1.0
    churn: int = 0
    residue: int = 0
    dead: str = ""
    dead_mark: FileMark | None = None


class SpaceEntry(msgspec.Struct, frozen=True):
    """One space: its segments, the largest first, hold it as of covered_seq; later changes are in dumps.

    damaged: why it must be rebuilt, or empty. effort: how far its graphs were searched, 0: not known.
    """

    number: int
    scope: bytes
    name: str
    spec: Spec
    created_seq: int
    covered_seq: int
    segments: tuple[SegmentEntry, ...] = ()
    damaged: str = ""
    effort: int = 0


class DumpEntry(msgspec.Struct, frozen=True):
    """One file of deltas, and the numbers of the spaces in it. seq: nothing in it is newer; 0: not known."""

    number: int
    mark: FileMark
    spaces: tuple[int, ...]
    seq: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """seq: every change up to it is in what the manifest names. next_number: of spaces, segments and dumps."""

    seq: int = 0
    next_number: int = 1
    spaces: tuple[SpaceEntry, ...] = ()
    dumps: tuple[DumpEntry, ...] = ()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest; what it names must be durable, names included."""
    body = MAGIC + msgspec.msgpack.encode(manifest)
    write_file(folder / MANIFEST_NAME, body + xxh64(body).to_bytes(8, "little"))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest. Raises FileDamaged."""
    try:
        content = (folder / MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise FileDamaged(f"{MANIFEST_NAME}: {error.strerror}") from error
    body, checksum = content[:-8], content[-8:]
    if xxh64(body).to_bytes(8, "little") != checksum or not body.startswith(MAGIC):
        raise FileDamaged(f"{MANIFEST_NAME} does not have its checksum")
    try:
        return msgspec.msgpack.decode(body[len(MAGIC) :], type=Manifest)
    except msgspec.MsgspecError as error:
        raise FileDamaged(f"{MANIFEST_NAME} is not understood: {error}") from error
