"""The .npz file of an export, made of the rows put aside when all of them are there.

    OUT.npz.rows      the blocks so far
    OUT.npz.partial   the arrays, while they are written

Rows are copied a block at a time. What is held in memory is a description of each block of up to 200 rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from recollectd.cli.transfer import separate_vectors as separate
from recollectd.cli.transfer.failures import DataError
from recollectd.cli.transfer.files import partial_of, sync_folder
from recollectd.cli.transfer.lines import Labels
from recollectd.cli.transfer.separate_vectors import BlockAt

ROWS: Final = ".rows"

Shape = tuple[int, ...]


def rows_of(out: Path) -> Path:
    """Return where an export's rows are until it is whole."""
    return out.with_name(out.name + ROWS)


class VectorsOut:
    """An `Aside` of `write_pages` that becomes an .npz file. total: rows of all its arrays, when it is finished.

    Raises DataError when what is there of an interrupted export is damaged.
    """

    def __init__(self, out: Path) -> None:
        self.total = 0
        self.file = out
        self._rows: BinaryIO | None = None

    def begin(self, size: int) -> None:
        """Begin, behind this many bytes of an interrupted export. Raises DataError when they are not there."""
        path = rows_of(self.file)
        if size and (not path.exists() or path.stat().st_size < size):
            raise DataError(0, f"{path} has lost its end; export without --resume")
        self._rows = open(path, "r+b" if size else "w+b")  # noqa: SIM115 - closed by close()
        self._rows.truncate(size)
        self._rows.seek(size)

    def write(self, content: bytes) -> None:
        """Append blocks."""
        self._blocks.write(content)

    def flush(self) -> int:
        """Return how many bytes there are, all of them in the file."""
        self._blocks.flush()
        return self._blocks.tell()

    def finish(self) -> None:
        """Make the .npz file, durably. Raises DataError when a space became another one meanwhile."""
        self._blocks.flush()
        partial = partial_of(self.file)
        with open(partial, "wb") as file:
            with ZipFile(file, "w", ZIP_STORED) as archive:
                with _array(archive, separate.FORMAT_ARRAY, "<i8", ()) as entry:
                    entry.write(separate.FORMAT.to_bytes(8, "little"))
                for (namespace, space, what), blocks in self._arrays().items():
                    self._write_vectors(archive, separate.array_name(namespace, space, what), blocks)
                    self._write_ids(archive, separate.array_name(namespace, space, separate.IDS_OF[what]), blocks)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.file)
        sync_folder(self.file)

    def close(self, *, whole: bool) -> None:
        """Close the rows, and remove them if the export is whole."""
        if self._rows is not None:
            self._rows.close()
            if whole:
                rows_of(self.file).unlink(missing_ok=True)

    @property
    def _blocks(self) -> BinaryIO:
        assert self._rows is not None, "begin comes first"
        return self._rows

    def _arrays(self) -> dict[tuple[Labels, str, str], list[BlockAt]]:
        found: dict[tuple[Labels, str, str], list[BlockAt]] = {}
        for each in separate.blocks_of(self._blocks):
            blocks = found.setdefault((each.block.namespace, each.block.space, each.block.what), [])
            if blocks and blocks[0].block.dimensions != each.block.dimensions:
                raise DataError(0, f"the vector space {each.block.space} became another one meanwhile; export anew")
            blocks.append(each)
        return found

    def _write_vectors(self, archive: ZipFile, name: str, blocks: list[BlockAt]) -> None:
        rows = sum(each.block.rows for each in blocks)
        with _array(archive, name, "<f4", (rows, blocks[0].block.dimensions)) as entry:
            for each in blocks:
                self._blocks.seek(each.vectors_at)
                entry.write(self._blocks.read(each.block.vectors_bytes))
        self.total += rows

    def _write_ids(self, archive: ZipFile, name: str, blocks: list[BlockAt]) -> None:
        kind = f"<U{max(1, *(each.block.id_characters for each in blocks))}"
        with _array(archive, name, kind, (sum(each.block.rows for each in blocks),)) as entry:
            for each in blocks:
                entry.write(np.array(separate.ids_of(self._blocks, each), dtype=kind).tobytes())


@contextmanager
def _array(archive: ZipFile, name: str, kind: str, shape: Shape) -> Iterator[IO[bytes]]:
    """Open an array of the archive for its elements."""
    with archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
        npy.write_array_header_1_0(entry, {"descr": kind, "fortran_order": False, "shape": shape})
        yield entry
