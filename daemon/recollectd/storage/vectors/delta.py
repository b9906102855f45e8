"""The newest rows of a space: in memory, in order of arrival, searched one by one.

One thread appends and kills at a time (the space's lock); readers take `rows()` and see nothing of what comes later:
a row is born by the count they took, and died by the seq they read at. Arrays are never shortened or moved: one that
is too small is replaced by a copy, and readers keep theirs.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recollectd._native import vector_scan
from recollectd._native.vector_ids import IdLog
from recollectd.storage.vectors.files import room_for
from recollectd.storage.vectors.spec import Floats, Metric, Spec

# Memory is touched only where rows are written, so after some steps the whole room is reserved at once: copying a
# large delta would hold up everybody for tens of milliseconds.
ROOM_STEPS: Final = (64, 512, 4096)

_SEED: Final = secrets.randbits(64)


@dataclass(frozen=True, slots=True)
class DeltaRows:
    """What a reader sees. coarse and coarse_scales: i8 copies, for the cosine metric alone."""

    stored: npt.NDArray[np.uint8]
    coarse: npt.NDArray[np.int8] | None
    coarse_scales: Floats | None
    died: npt.NDArray[np.uint64]
    ids: IdLog
    count: int


class Delta:
    """Rows and where the live record of each id is. rows_expected: room for as many is kept from the beginning."""

    def __init__(self, spec: Spec, rows_max: int, rows_expected: int = 0) -> None:
        self._spec = spec
        self._rows_max = rows_max
        self.count = 0
        self.dead = 0
        self.ids = IdLog(_SEED, rows_expected)
        self.stored: npt.NDArray[np.uint8]
        self.coarse: npt.NDArray[np.int8] | None
        self.coarse_scales: Floats | None
        self.died: npt.NDArray[np.uint64]
        self.born: npt.NDArray[np.uint64]
        self._reserve(0)
        if rows_expected > ROOM_STEPS[-1]:
            self._make_room(rows_expected)

    @property
    def live(self) -> int:
        """How many rows have not died."""
        return self.count - self.dead

    @property
    def bytes_used(self) -> int:
        """Memory that rows fill, what their ids cost about included."""
        coarse = self._spec.dimensions + 4 if self.coarse is not None else 0
        return self.count * (self._spec.row_bytes + coarse + 16 + 250)

    def rows(self) -> DeltaRows:
        """Return what a reader may see from now on."""
        return DeltaRows(self.stored, self.coarse, self.coarse_scales, self.died, self.ids, self.count)

    def append(self, seq: int, ids: Sequence[bytes], vectors: Floats) -> None:
        """Add rows; vectors: one after the other. The ids have no live row here."""
        first, count = self.count, len(ids)
        self._make_room(first + count)
        vector_scan.store(
            *(self._spec.native_precision, self._spec.dimensions, vectors, count, self._spec.to_unit),
            *(first, self.stored, self.coarse, self.coarse_scales),
        )
        self._enter(first, ids, seq)

    def append_stored(self, born: npt.NDArray[np.uint64], ids: Sequence[bytes], rows: npt.NDArray[np.uint8]) -> None:
        """Add rows as they were stored, to the bit."""
        first, count = self.count, len(ids)
        self._make_room(first + count)
        floats = np.empty((count, self._spec.dimensions), np.float32)
        precision, dimensions = self._spec.native_precision, self._spec.dimensions
        vector_scan.load(precision, dimensions, rows, 0, count, floats)
        vector_scan.store(
            precision, dimensions, floats, count, False, first, self.stored, self.coarse, self.coarse_scales
        )
        self.stored[first : first + count] = rows
        self._enter(first, ids, born)

    def kill_many(self, record_ids: list[bytes], seq: int) -> list[bytes]:
        """Let records' rows die; return who had one here."""
        killed = self.ids.kill_many(record_ids, self.died, seq)
        self.dead += len(killed)
        return killed

    def alive_at(self, seq: int, after: int = 0) -> npt.NDArray[np.intp]:
        """Return the rows born after one seq that live at another."""
        count = self.count
        born, died = self.born[:count], self.died[:count]
        return np.flatnonzero((born > after) & (born <= seq) & ((died == 0) | (died > seq)))

    def parts(self, rows: npt.NDArray[np.intp], rows_step: int) -> Iterator[memoryview]:
        """Yield the bytes of rows, in steps that let others run; those that lie side by side are not copied."""
        for start in range(0, len(rows), rows_step):
            step = rows[start : start + rows_step]
            first, end = int(step[0]), int(step[-1]) + 1
            found = self.stored[first:end] if end - first == len(step) else self.stored[step]
            yield found.data.cast("B")

    def _enter(self, first: int, ids: Sequence[bytes], born: int | npt.NDArray[np.uint64]) -> None:
        self.born[first : first + len(ids)] = born
        self.ids.append(list(ids))
        self.count = first + len(ids)

    def _make_room(self, count: int) -> None:
        if count > len(self.died):
            steps = [step for step in ROOM_STEPS if step >= count]
            self._reserve(steps[0] if steps else max(self._rows_max, 2 * count))

    def _reserve(self, room: int) -> None:
        dimensions, kept = self._spec.dimensions, self.count
        stored = room_for((room, self._spec.row_bytes), np.uint8)
        died, born = room_for((room,), np.uint64), room_for((room,), np.uint64)
        coarse: npt.NDArray[np.int8] | None = None
        scales: Floats | None = None
        if self._spec.metric is Metric.COSINE:
            coarse, scales = room_for((room, dimensions), np.int8), room_for((room,), np.float32)
        if kept:
            stored[:kept], died[:kept], born[:kept] = self.stored[:kept], self.died[:kept], self.born[:kept]
            if coarse is not None and scales is not None and self.coarse is not None and self.coarse_scales is not None:
                coarse[:kept], scales[:kept] = self.coarse[:kept], self.coarse_scales[:kept]
        self.stored, self.died, self.born, self.coarse, self.coarse_scales = stored, died, born, coarse, scales
