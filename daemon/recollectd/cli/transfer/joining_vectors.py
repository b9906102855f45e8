"""Vectors of an .npz file back into the lines of their memories and messages.

All of the file is looked at before the first line is stored: its checksums, the arrays' shapes, every number. Rows stay
on the disk, mapped; an array of a compressed file is held in memory, as the ids of all rows are. Nothing is unpickled.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeAlias
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import msgspec
import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from recollectd.cli.transfer import separate_vectors as separate
from recollectd.cli.transfer.failures import DataError, VectorsError
from recollectd.cli.transfer.lines import Labels, MemoryLine, MessageLine, RecordLine, VectorSpaceLine

Array: TypeAlias = npt.NDArray[Any]
Dimensions: TypeAlias = Callable[[Labels], Mapping[str, int]]

_VECTORS_OF: Final = {ids: what for what, ids in separate.IDS_OF.items()}
CHECKED_BYTES: Final = 4 << 20
ENTRY_HEADER_BYTES: Final = 30
SUFFIX: Final = ".npy"
DAMAGE: Final = (BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, struct.error)


class Rows:
    """The rows of one vector space; `taken` says which of them a line has asked for."""

    def __init__(self, name: str, vectors: Array, ids: list[str]) -> None:
        self.name = name
        self.vectors = vectors
        self.row_by_id = {each: row for row, each in enumerate(ids)}
        self.taken = bytearray(len(ids))

    @property
    def dimensions(self) -> int:
        """How many numbers a row has."""
        return int(self.vectors.shape[1])


class VectorsIn:
    """A file of vectors, joined with lines by namespace, space and id.

    own: the namespace of lines and arrays that name none. dimensions: those of the vector spaces of a namespace that
    are there already. Raises VectorsError naming file and array.
    """

    def __init__(self, path: Path, own: Labels, dimensions: Dimensions) -> None:
        self._path = path
        self._own = own
        with open(path, "rb") as file:
            try:
                with ZipFile(file) as archive:
                    self._rows = self._read(archive, file)
            except DAMAGE as error:
                raise VectorsError(f"{path} is damaged, or no .npz file: {error}") from None
        self._dimensions = {namespace: dict(dimensions(namespace)) for namespace, _ in self._rows}
        for (namespace, _), spaces in self._rows.items():
            for space, rows in spaces.items():
                self._check_dimensions(rows, self._dimensions[namespace].get(space))

    def join(self, number: int, line: RecordLine) -> RecordLine:
        """Return a line with its rows, one that has none as it is. Raises DataError for what does not fit."""
        namespace = self._own if line.namespace is None else line.namespace
        if isinstance(line, VectorSpaceLine):
            self._know(number, namespace, line)
        if isinstance(line, MemoryLine):
            what, name = separate.VECTORS, line.memory_id
        elif isinstance(line, MessageLine):
            what, name = separate.MESSAGE_VECTORS, separate.message_name(line)
        else:
            return line
        vectors: dict[str, Any] = dict(line.vectors or {})
        for space, rows in self._rows.get((namespace, what), {}).items():
            row = rows.row_by_id.get(name)
            if row is None:
                continue
            where = f"{self._path}: {rows.name}"
            if space not in self._dimensions[namespace]:
                raise DataError(number, f"{where}: there is no vector space {space!r}")
            if space in vectors and not _same(vectors[space], rows.vectors[row]):
                raise DataError(number, f"{where}: row {row} is another vector than the line's")
            vectors[space] = rows.vectors[row].tobytes()
            rows.taken[row] = True
        return msgspec.structs.replace(line, vectors=vectors) if vectors else line

    def check_all_taken(self) -> None:
        """Raise VectorsError when a row belongs to no line that came by."""
        for (_, what), spaces in self._rows.items():
            for rows in spaces.values():
                row = rows.taken.find(0)
                if row >= 0:
                    name = next(each for each, at in rows.row_by_id.items() if at == row)
                    record = "memory" if what == separate.VECTORS else "message"
                    raise VectorsError(
                        f"{self._path}: {rows.name}: row {row} is of {record} {name!r}, which no line is of "
                        f"({rows.taken.count(0)} such rows)",
                        stored=True,
                    )

    def _know(self, number: int, namespace: Labels, line: VectorSpaceLine) -> None:
        if namespace not in self._dimensions:
            return
        self._dimensions[namespace].setdefault(line.name, line.dimensions)
        for what in separate.IDS_OF:
            rows = self._rows.get((namespace, what), {}).get(line.name)
            if rows is not None:
                try:
                    self._check_dimensions(rows, self._dimensions[namespace][line.name])
                except VectorsError as error:
                    raise DataError(number, str(error)) from None

    def _check_dimensions(self, rows: Rows, dimensions: int | None) -> None:
        if dimensions is not None and rows.dimensions != dimensions:
            message = f"{self._path}: {rows.name}: rows have {rows.dimensions} numbers; the space has {dimensions}"
            raise VectorsError(message)

    def _read(self, archive: ZipFile, file: IO[bytes]) -> dict[tuple[Labels, str], dict[str, Rows]]:
        bad = archive.testzip()
        if bad is not None:
            raise VectorsError(f"{self._path}: {bad.removesuffix(SUFFIX)}: damaged, its checksum is wrong")
        entries = {info.filename.removesuffix(SUFFIX): info for info in archive.infolist()}
        found: dict[tuple[Labels, str], dict[str, Rows]] = {}
        for name, info in entries.items():
            subject = separate.array_subject(name)
            if name == separate.FORMAT_ARRAY:
                self._check_format(_array(self._path, archive, file, name, info))
            elif subject is None:
                raise VectorsError(f"{self._path}: {name}: no name of an array that belongs here")
            elif (what := subject[2]) in separate.IDS_OF:
                namespace, space = subject[0] or self._own, subject[1]
                if space in found.setdefault((namespace, what), {}):
                    raise VectorsError(f"{self._path}: {name}: the space has two arrays")
                found[namespace, what][space] = self._rows_of(archive, file, name, entries, what)
            elif name.removesuffix(what) + _VECTORS_OF[what] not in entries:
                raise VectorsError(f"{self._path}: {name}: there are no vectors beside it")
        return found

    def _check_format(self, number: Array) -> None:
        if number.shape or number.dtype.kind not in "iu" or int(number) > separate.FORMAT:
            raise VectorsError(f"{self._path}: {separate.FORMAT_ARRAY}: this version reads up to {separate.FORMAT}")

    def _rows_of(self, archive: ZipFile, file: IO[bytes], name: str, entries: dict[str, ZipInfo], what: str) -> Rows:
        ids_name = name.removesuffix(what) + separate.IDS_OF[what]
        if ids_name not in entries:
            raise VectorsError(f"{self._path}: {name}: there is no {ids_name} beside it")
        vectors = _array(self._path, archive, file, name, entries[name])
        if vectors.dtype != np.float32 or vectors.ndim != 2:
            raise VectorsError(f"{self._path}: {name}: must be float32 of rows and dimensions, not {_told(vectors)}")
        ids = _array(self._path, archive, file, ids_name, entries[ids_name])
        if ids.dtype.kind != "U" or ids.shape != vectors.shape[:1]:
            message = f"must be text, {len(vectors)} of them, not {_told(ids)}"
            raise VectorsError(f"{self._path}: {ids_name}: {message}")
        rows = Rows(name, vectors, ids.tolist())
        if len(rows.row_by_id) != len(vectors):
            ((twice, _),) = Counter(ids.tolist()).most_common(1)
            raise VectorsError(f"{self._path}: {ids_name}: {twice!r} is there twice")
        self._check_finite(name, vectors)
        return rows

    def _check_finite(self, name: str, vectors: Array) -> None:
        step = max(1, CHECKED_BYTES // max(1, vectors.shape[1] * separate.COMPONENT_BYTES))
        for start in range(0, len(vectors), step):
            finite = np.isfinite(vectors[start : start + step]).all(axis=1)
            if not finite.all():
                row = start + int(finite.argmin())
                raise VectorsError(f"{self._path}: {name}: row {row} has a number that is NaN or infinite")


def _same(numbers: list[float], row: Array) -> bool:
    with np.errstate(over="ignore"):  # a number beyond float32 is another one than the row's
        return np.array_equal(np.array(numbers, dtype=np.float32), row)


def _told(array: Array) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _array(path: Path, archive: ZipFile, file: IO[bytes], name: str, info: ZipInfo) -> Array:
    """Return an array, mapped where it is stored as it is. Raises VectorsError."""
    try:
        with archive.open(info) as entry:
            shape, fortran_order, kind = _header(entry)
            begins = entry.tell()
        if kind.hasobject:
            raise VectorsError(f"{path}: {name}: holds pickled objects, which are not read")
        size = math.prod(shape, start=1) * kind.itemsize
        if begins + size != info.file_size:
            raise VectorsError(f"{path}: {name}: damaged, it has not the size that its header says")
        if info.compress_type == ZIP_STORED and size and kind.kind == "f":
            at = _contents_at(file, info) + begins
            order: Any = "F" if fortran_order else "C"
            return np.memmap(path, kind, "r", at, shape, order)
        with archive.open(info) as entry:
            array: Array = npy.read_array(entry, allow_pickle=False)
            return array
    except DAMAGE as error:
        raise VectorsError(f"{path}: {name}: damaged, or no array: {error}") from None


def _header(entry: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(entry)
    if version == (1, 0):
        return npy.read_array_header_1_0(entry)
    if version == (2, 0):
        return npy.read_array_header_2_0(entry)
    raise ValueError(f"version {version} of numpy's format")


def _contents_at(file: IO[bytes], info: ZipInfo) -> int:
    """Return where an entry's contents begin: behind a header of its own with two lengths at its end."""
    file.seek(info.header_offset + ENTRY_HEADER_BYTES - 4)
    name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
    return info.header_offset + ENTRY_HEADER_BYTES + int(name_bytes) + int(extra_bytes)
