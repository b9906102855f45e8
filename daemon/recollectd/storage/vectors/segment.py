"""One immutable segment of a space, mapped; what changes is only which of its rows are dead.

Its files are checked before they are mapped for use. A graph is written by usearch and walked by `vector_scan`, where
it is mapped, by any number of threads at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from recollectd._native import regions
from recollectd._native.vector_ids import IdTable
from recollectd._native.vector_scan import Graph
from recollectd.storage.vectors.errors import FileDamaged
from recollectd.storage.vectors.files import map_checked, room_for
from recollectd.storage.vectors.manifest import GRAPH_NAME, IDS_NAME, ROWS_NAME, SegmentEntry
from recollectd.storage.vectors.spec import Spec

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
        rows = mapped[ROWS_NAME]
        if isinstance(rows, memoryview):
            # Checked to the last byte, and read here and there from now on.
            regions.leave_to_cache(rows)
        self.stored: npt.NDArray[np.uint8] = np.frombuffer(rows, np.uint8)
        try:
            self.ids = IdTable(mapped[IDS_NAME])
        except ValueError as error:
            raise FileDamaged(f"{folder.name}/{IDS_NAME}: {error}") from error
        file = mapped.get(GRAPH_NAME)
        self._graph_bytes = len(file) if file is not None else 0
        if random_access and isinstance(file, memoryview):
            regions.expect_random(file)
        self.graph = self._open_graph(file) if file is not None else None
        # Untouched pages of zeros cost nothing: most segments have few dead rows.
        self.died = room_for((entry.rows,), np.uint64)
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

    def _open_graph(self, file: memoryview | bytes) -> Graph:
        spec = self.spec
        try:
            return Graph(file, spec.dimensions, spec.measure, spec.graph_precision)
        except ValueError as error:
            raise FileDamaged(f"{self.folder.name}/{GRAPH_NAME}: {error}") from error

    @property
    def has_graph(self) -> bool:
        """Whether it can be searched approximately."""
        return self.graph is not None

    @property
    def graph_bytes(self) -> int:
        """Bytes of the graph: of its file, all of which are in memory when it is searched at speed, and beside it."""
        return self._graph_bytes + (self.graph.table_bytes if self.graph is not None else 0)

    def kill_many(self, record_ids: list[bytes], seq: int) -> list[bytes]:
        """Let records' rows die; return who had a live one here."""
        killed = self.ids.kill_many(record_ids, self.died, seq)
        self.dead += len(killed)
        return killed

    def dead_at(self, seq: int) -> npt.NDArray[np.bool_]:
        """Return which rows were dead as of a seq."""
        died = self.died
        dead: npt.NDArray[np.bool_] = (died != 0) & (died <= seq)
        return dead
