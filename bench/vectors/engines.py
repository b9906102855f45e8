"""Ours and the peers', each asked one query at a time in this process on one thread."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import faiss
import hnswlib  # type: ignore[import-untyped]
import numpy as np

from bench.vectors.data import NEAREST, Data, Floats, recall
from recollectd.storage.vectors.changes import Change, Create, Put
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.spec import Spec
from recollectd.storage.vectors.view import VectorView

CONNECTIVITY: Final = 16
EXPANSION_ADD: Final = 128
PUTS_PER_COMMIT: Final = 500
SCOPE: Final = b"bench"
SPACE: Final = "texts"


class Engine(Protocol):
    """Something that finds the nearest rows."""

    name: str

    def set_effort(self, effort: int) -> None:
        """Choose how far the graph is searched."""

    def find(self, query: Floats) -> Sequence[int]:
        """Return the rows nearest to a query of shape (dimensions,)."""

    def index_bytes(self) -> int:
        """Return what must stay in memory for searches at speed."""


class Ours:
    """The daemon's vector view."""

    name = "recollectd"

    def __init__(self, view: VectorView) -> None:
        self.view = view

    def set_effort(self, effort: int) -> None:
        """The view's options are frozen; a bench may change them all the same."""
        object.__setattr__(self.view.options, "expansion_search", effort)

    def find(self, query: Floats) -> Sequence[int]:
        """Search the view."""
        return [int(record_id) for record_id, _ in self.view.search(SCOPE, SPACE, query, NEAREST)]

    def index_bytes(self) -> int:
        """Graphs and tombstones."""
        figures = self.view.statistics()
        return int(figures["graph_bytes"] or 0) + int(figures["tombstone_bytes"] or 0)


class Hnswlib:
    """hnswlib with f32 vectors."""

    name = "hnswlib"

    def __init__(self, base: Floats) -> None:
        self._index = hnswlib.Index("ip", base.shape[1])
        self._index.init_index(len(base), M=CONNECTIVITY, ef_construction=EXPANSION_ADD)
        self._index.set_num_threads(1)
        self._index.add_items(base, num_threads=1)

    def set_effort(self, effort: int) -> None:
        """Set ef."""
        self._index.set_ef(effort)

    def find(self, query: Floats) -> Sequence[int]:
        """Search."""
        rows: list[int] = self._index.knn_query(query, NEAREST, num_threads=1)[0][0].tolist()
        return rows

    def index_bytes(self) -> int:
        """The size of its file, which is a copy of its memory."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "index")
            self._index.save_index(path)
            return os.path.getsize(path)


class FaissHnsw:
    """faiss's HNSW with f32 vectors."""

    name = "faiss HNSW"

    def __init__(self, base: Floats) -> None:
        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexHNSWFlat(base.shape[1], CONNECTIVITY, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = EXPANSION_ADD
        self._index.add(base)

    def set_effort(self, effort: int) -> None:
        """Set efSearch."""
        self._index.hnsw.efSearch = effort

    def find(self, query: Floats) -> Sequence[int]:
        """Search."""
        rows: list[int] = self._index.search(query[None], NEAREST)[1][0].tolist()
        return rows

    def index_bytes(self) -> int:
        """The size of its serialised form."""
        return len(faiss.serialize_index(self._index))


def open_view(folder: Path, **options: int) -> VectorView:
    """Open a view with the default options but for these."""
    return VectorView(folder, VectorOptions(**options))


def load(view: VectorView, base: Floats) -> None:
    """Create the space and put all rows, waiting whenever the view asks for it."""
    seq = view.applied_seq + 1
    view.apply(seq, [Create(SCOPE, SPACE, Spec(base.shape[1]))])
    for start in range(0, len(base), PUTS_PER_COMMIT):
        rows = range(start, min(start + PUTS_PER_COMMIT, len(base)))
        while (pressure := view.pressure(SCOPE, SPACE, len(rows))) is not None:
            time.sleep(pressure.retry_after_ms / 1000)
        seq += 1
        view.apply(seq, puts(base, rows))


def puts(base: Floats, rows: range) -> list[Change]:
    """Return the changes that put these rows, their numbers being the record ids."""
    return [Put(SCOPE, SPACE, str(row).encode(), base[row].tobytes()) for row in rows]


def settle(view: VectorView, delta_rows_max: int = 0) -> None:
    """Merge until no more rows than this are in no segment."""
    while int(view.statistics()["delta_rows"] or 0) > delta_rows_max:
        view.merge(SCOPE, SPACE)


def effort_for(engine: Engine, data: Data, demanded: float) -> tuple[int, float]:
    """Return the least effort with which an engine's recall is what is demanded, and its recall."""
    low, high = NEAREST, 512
    while low < high:
        middle = (low + high) // 2
        engine.set_effort(middle)
        if recall([engine.find(query) for query in data.queries], data.truth) >= demanded:
            high = middle
        else:
            low = middle + 1
    engine.set_effort(low)
    return low, recall([engine.find(query) for query in data.queries], data.truth)


def cpu_us(engine: Engine, queries: Floats) -> list[float]:
    """Return the CPU time of each query in microseconds, of this thread."""
    spent = []
    for query in queries:
        started = time.thread_time_ns()
        engine.find(query)
        spent.append((time.thread_time_ns() - started) / 1000)
    return spent


def wall_us(engine: Engine, queries: Floats) -> list[float]:
    """Return the time each query took in microseconds."""
    spent = []
    for query in queries:
        started = time.perf_counter_ns()
        engine.find(query)
        spent.append((time.perf_counter_ns() - started) / 1000)
    return spent


def as_floats(values: Sequence[float]) -> Floats:
    """Return numbers as an array."""
    return np.array(values, np.float32)
