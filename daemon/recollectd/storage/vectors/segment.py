"""One immutable segment of a space, mapped; what changes is only which of its rows are dead.

Its files are checked before they are mapped for use: a flipped bit in a graph crashes whoever walks it. A graph is
walked through views, one per thread that walks at the same time, because usearch locks each of its objects; the file's
pages are shared by all.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from usearch.compiled import Index as GraphView

from recollectd._native.vector_ids import IdTable
from recollectd.storage.vectors.building import graph_kind, graph_metric
from recollectd.storage.vectors.errors import FileDamaged
from recollectd.storage.vectors.files import map_checked
from recollectd.storage.vectors.manifest import GRAPH_NAME, IDS_NAME, ROWS_NAME, SegmentEntry
from recollectd.storage.vectors.spec import Floats, Spec

# Rows that were dead when a segment was opened died before any reader began.
LONG_AGO: Final = 1


class Segment:
    """Rows, ids and perhaps a graph. Raises FileDamaged when a file is not what the entry says."""

    def __init__(self, folder: Path, entry: SegmentEntry, spec: Spec, *, random_access: bool = False) -> None:
        self.entry = entry
        self.spec = spec
        self.folder = folder
        mapped = {name: map_checked(folder / name, mark) for name, mark in entry.files.items()}
        if len(mapped[ROWS_NAME]) != entry.rows * spec.row_bytes:
            raise FileDamaged(f"{folder.name}/{ROWS_NAME} does not have {entry.rows} rows")
        self.stored: npt.NDArray[np.uint8] = np.frombuffer(mapped[ROWS_NAME], np.uint8)
        try:
            self.ids = IdTable(mapped[IDS_NAME])
        except ValueError as error:
            raise FileDamaged(f"{folder.name}/{IDS_NAME}: {error}") from error
        self._graph = mapped.get(GRAPH_NAME)
        if random_access and isinstance(self._graph, mmap.mmap):
            self._graph.madvise(mmap.MADV_RANDOM)
        self._views: list[GraphView] = []
        self.views = 0
        # Untouched pages of zeros cost nothing: most segments have few dead rows.
        self.died = np.zeros(entry.rows, np.uint64)
        self.dead = 0
        if entry.dead and entry.dead_mark is not None:
            bits = np.frombuffer(map_checked(folder / entry.dead, entry.dead_mark), np.uint8)
            dead = np.flatnonzero(np.unpackbits(bits, count=entry.rows, bitorder="little"))
            self.died[dead] = LONG_AGO
            self.dead = len(dead)

    @property
    def rows(self) -> int:
        """How many rows, dead ones included."""
        return self.entry.rows

    @property
    def live(self) -> int:
        """How many rows have not died."""
        return self.entry.rows - self.dead

    @property
    def has_graph(self) -> bool:
        """Whether it can be searched approximately."""
        return self._graph is not None

    @property
    def graph_bytes(self) -> int:
        """Bytes of the graph's file; all of them are in memory when it is searched at speed."""
        return len(self._graph) if self._graph is not None else 0

    def kill(self, record_id: bytes, seq: int) -> bool:
        """Let a record's row die; False when it has no live one here."""
        row = self.ids.find(record_id)
        if row < 0 or self.died[row]:
            return False
        self.died[row] = seq
        self.dead += 1
        return True

    def dead_at(self, seq: int) -> npt.NDArray[np.bool_]:
        """Return which rows were dead as of a seq."""
        died = self.died
        dead: npt.NDArray[np.bool_] = (died != 0) & (died <= seq)
        return dead

    def open_views(self, count: int) -> None:
        """See that so many threads can search at once without opening anything."""
        views = [self._take_view() for _ in range(count if self.has_graph else 0)]
        self._views.extend(views)

    def walk(self, query: npt.NDArray[np.int8] | Floats, fetch: int, expansion: int) -> npt.NDArray[np.uint64]:
        """Return up to fetch rows near a query of shape (1, dimensions), nearest first, dead ones among them."""
        view = self._take_view()
        try:
            view.expansion_search = max(expansion, fetch)
            keys, _, counts, _, _ = view.search_many(query, fetch, False, 1)
            found: npt.NDArray[np.uint64] = keys[0, : counts[0]]
            return found
        finally:
            self._views.append(view)

    def _take_view(self) -> GraphView:
        try:
            return self._views.pop()
        except IndexError:
            view = GraphView(
                ndim=self.spec.dimensions,
                metric_kind=graph_metric(self.spec),
                dtype=graph_kind(self.spec),
                enable_key_lookups=False,
            )
            view.view_index_from_buffer(self._graph)
            self.views += 1
            return view

    @property
    def view_bytes(self) -> int:
        """About what the views hold in memory of this process alone: 24 bytes a row each."""
        return self.views * self.rows * 24
