"""Building a segment: the work of a process of its own, from files to files.

Anew, or by extending the graph of the first source, or of what a build that was cut off has parked (placing.py).
Extending costs what the new rows cost, and recall stays; after much of it a graph is built anew.

A row that died is overwritten or zeroed in `rows`. usearch puts a new node where a removed one was, so its bytes go
when as many come; how many remain is told as the residue.

The graph holds copies of lower precision. For the cosine metric i8, scaled so that all but one in ten thousand
components fit: the resolution decides recall, and components of unit vectors are small. Otherwise bf16.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from usearch.compiled import MetricKind, ScalarKind
from usearch.index import Index

from recollectd._native import vector_scan
from recollectd._native.checksum import xxh64
from recollectd._native.vector_ids import pack
from recollectd.storage.durable import FILE_MODE, sync_file, sync_folder
from recollectd.storage.vectors.files import FileMark, mark_of, write_parts
from recollectd.storage.vectors.manifest import GRAPH_NAME, IDS_NAME, ROWS_NAME
from recollectd.storage.vectors.parking import ENDED_EXIT, Digests, Ending, Parker, Parking, State, take_parked
from recollectd.storage.vectors.placing import (
    Numbers,
    Opened,
    Place,
    Placing,
    Rows,
    Source,
    place_anew,
    place_extending,
    place_going_on,
)
from recollectd.storage.vectors.spec import Floats, Metric, Spec

CHUNK_ROWS: Final = 2048
SAMPLE_ROWS: Final = 10_000
CLIPPED_PERCENT: Final = 0.01

Progress = Callable[[int, int], None]


class Job(msgspec.Struct, frozen=True):
    """A segment to build in a folder that is there. graph: whether it gets one; extend: path of the first source's.

    parking: where the graph is kept while it is built, or None.
    """

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
    parking: Parking | None = None


class Built(msgspec.Struct, frozen=True):
    """What a SegmentEntry says, of a segment whose files are durable. saved: rows that a build before had entered."""

    rows: int
    files: dict[str, FileMark]
    scale: float
    churn: int
    residue: int
    dead: str
    dead_mark: FileMark | None
    saved: int = 0


def build(job: Job, progress: Progress, ending: Ending | None = None) -> Built:
    """Build a segment; what is returned is durable. progress: vectors entered into the graph, and how many in all.

    ending: tells when to park and end with SystemExit.
    """
    folder = Path(job.folder)
    sources = [Opened(source, job.spec) for source in job.sources]
    placing, parked = _place(job, sources)
    total = placing.total
    ids = [b""] * total
    # Nearly all of a rebuilt segment is written through this; the kernel writes it back while the graph is built.
    rows: Rows = np.memmap(folder / ROWS_NAME, np.uint8, "w+", shape=(max(total, 1), job.spec.row_bytes))
    for place in placing.places:
        _copy(place, rows, ids)
    names = [ROWS_NAME, IDS_NAME]
    graph = _GraphBuild(job, placing, parked, rows, ids)
    if job.graph and total:
        graph.build(progress, ending or Ending())
        graph.save(folder / GRAPH_NAME)
        names.append(GRAPH_NAME)
    _close(rows, folder / ROWS_NAME, total * job.spec.row_bytes)
    write_parts(folder / IDS_NAME, [pack(ids)])
    dead, dead_mark = _write_holes(folder, job.seq, ids)
    for name in names:
        (folder / name).chmod(FILE_MODE)
    sync_folder(folder)
    files = {name: mark_of(folder / name) for name in names}
    return Built(total, files, graph.scale, graph.churn, graph.residue, dead, dead_mark, placing.saved)


def _place(job: Job, sources: list[Opened]) -> tuple[Placing, State | None]:
    """Return where rows go, and what was parked if that is gone on with."""
    planned = place_extending(sources, job.extend) if job.extend else place_anew(sources)
    parked = take_parked(job.parking, job.spec, job.connectivity) if job.graph else None
    if parked is None or job.parking is None:
        return planned, None
    placing = place_going_on(sources, parked, planned, spotless=job.parking.spotless)
    return placing, parked.state if placing is not planned else None


def _copy(place: Place, rows: Rows, ids: list[bytes]) -> None:
    source, alive, targets = place.source, place.source.alive, place.targets
    for start in range(0, len(alive), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        rows[_slice(targets[chunk])] = source.rows[_slice(alive[chunk])]
    for row, target in zip(alive.tolist(), targets.tolist(), strict=True):
        ids[target] = source.record_id(row)


def _slice(numbers: Numbers) -> Numbers | slice:
    """Return row numbers as a slice where they follow each other: a third of the time."""
    first, last = int(numbers[0]), int(numbers[-1])
    return slice(first, last + 1) if last - first == len(numbers) - 1 and (np.diff(numbers) == 1).all() else numbers


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


class _GraphBuild:
    """The graph of a segment while it is built; scale, churn and residue as SegmentEntry has them."""

    def __init__(self, job: Job, placing: Placing, parked: State | None, rows: Rows, ids: list[bytes]) -> None:
        self._job = job
        self._placing = placing
        self._rows = rows
        self._ids = ids
        self._digests: Digests = np.zeros(len(ids), np.uint64)
        self._digested = np.zeros(len(ids), bool)
        self._graph: Index | None = None
        removed = len(placing.removed)
        if parked is not None:
            self.scale, self.churn, self._freed = parked.scale, parked.churn + removed, parked.freed
        elif placing.graph:
            self.scale, self.churn, self._freed = job.scale, job.churn + removed, job.residue
        else:
            self.scale, self.churn, self._freed = job.scale, 0, 0

    @property
    def residue(self) -> int:
        """Rows that died and whose bytes may be in the graph."""
        return self._freed

    def build(self, progress: Progress, ending: Ending) -> None:
        """Enter all rows; park when it is time, and at the end if the process is asked to end."""
        placing, parking = self._placing, self._job.parking
        self._graph = self._begin()
        parker = Parker(parking, Path(self._job.folder).name) if parking is not None else None
        done = 0
        while done < len(placing.entered):
            with ending.held():
                chunk = placing.entered[done : done + CHUNK_ROWS].astype(np.uint64)
                self._enter(self._graph, chunk)
                done += len(chunk)
                self._freed = max(0, self._freed - len(chunk))
                progress(done, len(placing.entered))
                if parker is not None and (parker.is_worth(done) if ending.asked else parker.is_due(done)):
                    parker.park(self._graph, self._state(done), done)
            if ending.asked:
                raise SystemExit(ENDED_EXIT)

    def save(self, path: Path) -> None:
        """Write the graph and sync it."""
        assert self._graph is not None
        self._graph.save(os.fspath(path))
        sync_file(path)

    def _begin(self) -> Index:
        job, placing = self._job, self._placing
        if not placing.graph:
            self.scale = _scale(job.spec, self._rows, placing.total)
        graph = new_graph(
            *(job.spec,),
            connectivity=job.connectivity,
            expansion_add=job.expansion_add,
            lookups=bool(placing.graph),
        )
        if placing.graph:
            graph.load(placing.graph)
            gone = [row for row in placing.removed.tolist() if graph.contains(row)]
            if gone:
                graph.remove(np.array(gone, np.uint64))
            self._freed += len(gone)
        return graph

    def _enter(self, graph: Index, chunk: npt.NDArray[np.uint64]) -> None:
        job = self._job
        vectors = _floats(job.spec, np.ascontiguousarray(self._rows[chunk]))
        if job.spec.metric is Metric.COSINE:
            graph.add(chunk, np.clip(np.rint(vectors * self.scale), -127, 127).astype(np.int8), threads=job.threads)
        else:
            graph.add(chunk, vectors, threads=job.threads)

    def _state(self, done: int) -> State:
        """Return what there is to say of the graph as it is; where it is parked is not said yet."""
        entered = np.array([bool(record_id) for record_id in self._ids], bool)
        entered[self._placing.entered[done:]] = False
        for row in np.flatnonzero(entered & ~self._digested).tolist():
            self._digests[row] = xxh64(self._rows[row].data)
        self._digested |= entered
        ids = [record_id if there else b"" for record_id, there in zip(self._ids, entered.tolist(), strict=True)]
        job = self._job
        return State(
            *("", FileMark(0, 0), job.spec, job.connectivity, self.scale, self.churn, self._freed),
            ids=ids,
            digests=self._digests.tobytes(),
        )


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
