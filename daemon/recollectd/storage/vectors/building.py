"""Building a segment: the work of a process of its own, from files to files.

Two ways. *Anew*: the live rows of all sources one behind the other, and a graph over them from scratch. *Extend*: the
first source keeps its row numbers and its graph; rows that died become holes, new rows take the holes first and then
what follows. Extending costs what the new rows cost, and recall stays; after much of it a graph is built anew.

A row that died is overwritten or zeroed in `rows`. usearch puts a new node where a removed one was, so its bytes go
when as many come; how many remain is told as the residue.

The graph holds copies of lower precision. For the cosine metric i8, scaled so that all but one in ten thousand
components fit: the resolution decides recall, and components of unit vectors are small. Otherwise bf16.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from usearch.compiled import MetricKind, ScalarKind
from usearch.index import Index

from recollectd._native import vector_scan
from recollectd._native.vector_ids import IdTable, pack
from recollectd.storage.durable import FILE_MODE, sync_file, sync_folder
from recollectd.storage.vectors.files import FileMark, map_file, mark_of, write_parts
from recollectd.storage.vectors.manifest import GRAPH_NAME, IDS_NAME, ROWS_NAME
from recollectd.storage.vectors.spec import Floats, Metric, Spec

CHUNK_ROWS: Final = 2048
SAMPLE_ROWS: Final = 10_000
CLIPPED_PERCENT: Final = 0.01

Progress = Callable[[int, int], None]
Rows = npt.NDArray[np.uint8]


class Source(msgspec.Struct, frozen=True):
    """Rows to take. table: whether ids are a table as segments have it, or a msgpack list.

    dead: path of a file with a bit per row, or empty when all live.
    """

    rows: str
    ids: str
    count: int
    table: bool
    dead: str = ""


class Job(msgspec.Struct, frozen=True):
    """A segment to build in a folder that is there. graph: whether it gets one; extend: path of the first source's."""

    folder: str
    spec: Spec
    seq: int
    sources: tuple[Source, ...]
    graph: bool
    connectivity: int
    expansion_add: int
    threads: int
    extend: str = ""
    scale: float = 1.0
    churn: int = 0
    residue: int = 0


class Built(msgspec.Struct, frozen=True):
    """What a SegmentEntry says, of a segment whose files are durable."""

    rows: int
    files: dict[str, FileMark]
    scale: float
    churn: int
    residue: int
    dead: str
    dead_mark: FileMark | None


class _Opened:
    """A source, mapped."""

    def __init__(self, source: Source, spec: Spec) -> None:
        self.count = source.count
        self.rows: Rows = np.frombuffer(map_file(Path(source.rows)), np.uint8).reshape(source.count, spec.row_bytes)
        content = map_file(Path(source.ids))
        self._table = IdTable(content) if source.table else None
        self._list: list[bytes] = [] if source.table else msgspec.msgpack.decode(content, type=list[bytes])
        self.dead = np.zeros(source.count, bool)
        if source.dead:
            bits = np.frombuffer(map_file(Path(source.dead)), np.uint8)
            self.dead = np.unpackbits(bits, count=source.count, bitorder="little").astype(bool)

    def record_id(self, row: int) -> bytes:
        """Return the id of a row."""
        return self._table[row] if self._table is not None else self._list[row]


def build(job: Job, progress: Progress) -> Built:
    """Build a segment; what is returned is durable. progress: vectors entered into the graph, and how many in all."""
    folder = Path(job.folder)
    sources = [_Opened(source, job.spec) for source in job.sources]
    kept, fresh = (sources[0], sources[1:]) if job.extend else (None, sources)
    places, total = _places(kept, fresh)
    ids = [b""] * total
    # Nearly all of a rebuilt segment is written through this; the kernel writes it back while the graph is built.
    rows: Rows = np.memmap(folder / ROWS_NAME, np.uint8, "w+", shape=(max(total, 1), job.spec.row_bytes))
    if kept is not None:
        _keep(kept, rows, ids)
    for source, alive, targets in places:
        _copy(source, alive, targets, rows, ids)
    entered = np.concatenate([targets for _, _, targets in places]) if places else np.empty(0, np.uint64)
    removed = np.flatnonzero(kept.dead) if kept is not None else np.empty(0, np.intp)
    names = [ROWS_NAME, IDS_NAME]
    scale, residue = job.scale, 0
    if job.graph and total:
        scale = job.scale if job.extend else _scale(job.spec, rows, total)
        residue = _build_graph(job, rows, scale, removed, entered, folder / GRAPH_NAME, progress)
        names.append(GRAPH_NAME)
    _close(rows, folder / ROWS_NAME, total * job.spec.row_bytes)
    write_parts(folder / IDS_NAME, [pack(ids)])
    dead, dead_mark = _write_holes(folder, job.seq, ids)
    for name in names:
        (folder / name).chmod(FILE_MODE)
    sync_folder(folder)
    churn = job.churn + len(removed) if job.extend else 0
    files = {name: mark_of(folder / name) for name in names}
    return Built(total, files, scale, churn, residue, dead, dead_mark)


def _places(
    kept: _Opened | None, fresh: list[_Opened]
) -> tuple[list[tuple[_Opened, npt.NDArray[np.intp], npt.NDArray[np.uint64]]], int]:
    """Return for each fresh source its live rows and where they go, and how many rows there will be."""
    holes = np.flatnonzero(kept.dead) if kept is not None else np.empty(0, np.intp)
    total = kept.count if kept is not None else 0
    found = []
    for source in fresh:
        alive = np.flatnonzero(~source.dead)
        into_holes, holes = holes[: len(alive)], holes[len(alive) :]
        appended = len(alive) - len(into_holes)
        targets = np.concatenate([into_holes, np.arange(total, total + appended)]).astype(np.uint64)
        total += appended
        found.append((source, alive, targets))
    return found, total


def _keep(kept: _Opened, rows: Rows, ids: list[bytes]) -> None:
    for start in range(0, kept.count, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, kept.count)
        rows[start:stop] = kept.rows[start:stop]
        rows[start:stop][kept.dead[start:stop]] = 0
    for row in np.flatnonzero(~kept.dead).tolist():
        ids[row] = kept.record_id(row)


def _copy(
    source: _Opened, alive: npt.NDArray[np.intp], targets: npt.NDArray[np.uint64], rows: Rows, ids: list[bytes]
) -> None:
    for start in range(0, len(alive), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        rows[targets[chunk]] = source.rows[alive[chunk]]
    for row, target in zip(alive.tolist(), targets.tolist(), strict=True):
        ids[target] = source.record_id(row)


def _scale(spec: Spec, rows: Rows, total: int) -> float:
    """Return what components are multiplied with to become i8, from a sample of the rows."""
    if spec.metric is not Metric.COSINE:
        return 1.0
    step = max(1, total // SAMPLE_ROWS)
    sample = np.ascontiguousarray(rows[:total:step])
    largest = float(np.percentile(np.abs(_floats(spec, sample)), 100 - CLIPPED_PERCENT))
    return 127 / largest if largest > 0 else 1.0


def _floats(spec: Spec, rows: Rows) -> Floats:
    floats = np.empty((len(rows), spec.dimensions), np.float32)
    vector_scan.load(spec.native_precision, spec.dimensions, rows, 0, len(rows), floats)
    return floats


def graph_metric(spec: Spec) -> MetricKind:
    """Return what graphs measure. With norm 1 the inner product is the cosine, at two thirds of its cost."""
    return MetricKind.L2sq if spec.metric is Metric.L2 else MetricKind.IP


def graph_kind(spec: Spec) -> ScalarKind:
    """Return what graphs keep of a component."""
    return ScalarKind.I8 if spec.metric is Metric.COSINE else ScalarKind.BF16


def new_graph(spec: Spec, *, connectivity: int = 16, expansion_add: int = 128, lookups: bool = False) -> Index:
    """Return an empty graph for a space. lookups: whether rows can be removed; they cost memory."""
    return Index(
        ndim=spec.dimensions,
        metric=graph_metric(spec),
        dtype=graph_kind(spec),
        connectivity=connectivity,
        expansion_add=expansion_add,
        enable_key_lookups=lookups,
    )


def _build_graph(
    job: Job,
    rows: Rows,
    scale: float,
    removed: npt.NDArray[np.intp],
    entered: npt.NDArray[np.uint64],
    path: Path,
    progress: Progress,
) -> int:
    """Write the graph and return its residue."""
    graph = new_graph(
        job.spec, connectivity=job.connectivity, expansion_add=job.expansion_add, lookups=bool(job.extend)
    )
    freed = 0
    if job.extend:
        graph.load(job.extend)
        gone = [row for row in removed.tolist() if graph.contains(row)]
        if gone:
            graph.remove(np.array(gone, np.uint64))
        freed = job.residue + len(gone)
    for done, chunk in _chunks(entered):
        vectors = _floats(job.spec, np.ascontiguousarray(rows[chunk]))
        if job.spec.metric is Metric.COSINE:
            graph.add(chunk, np.clip(np.rint(vectors * scale), -127, 127).astype(np.int8), threads=job.threads)
        else:
            graph.add(chunk, vectors, threads=job.threads)
        progress(done, len(entered))
    graph.save(os.fspath(path))
    sync_file(path)
    return max(0, freed - len(entered))


def _chunks(entered: npt.NDArray[np.uint64]) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
    for start in range(0, len(entered), CHUNK_ROWS):
        chunk = entered[start : start + CHUNK_ROWS]
        yield start + len(chunk), chunk


def _write_holes(folder: Path, seq: int, ids: list[bytes]) -> tuple[str, FileMark | None]:
    holes = np.array([not one for one in ids], bool)
    if not holes.any():
        return "", None
    return write_dead(folder, seq, holes)


def write_dead(folder: Path, seq: int, dead: npt.NDArray[np.bool_]) -> tuple[str, FileMark]:
    """Write which rows of a segment are dead as of a seq; return the file's name and mark."""
    name = f"dead-{seq}"
    write_parts(folder / name, [np.packbits(dead, bitorder="little").tobytes()])
    return name, mark_of(folder / name)


def _close(rows: Rows, path: Path, length: int) -> None:
    assert isinstance(rows, np.memmap)
    rows.flush()
    os.truncate(path, length)  # a segment without rows is an empty file, which cannot be mapped
    sync_file(path)
