"""Which rows a set of record ids is, and keeping that for as long as the space does not change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recollectd.storage.vectors.delta import Delta
from recollectd.storage.vectors.segment import Segment
from recollectd.storage.vectors.space import Snapshot, Space

ATTEMPTS: Final = 3

RowNumbers = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Located:
    """Rows by part: the snapshot's segments, then its deltas; sorted, because memory is read faster in order."""

    snapshot: Snapshot
    rows: tuple[RowNumbers, ...]

    @property
    def count(self) -> int:
        """How many rows in all."""
        return sum(len(rows) for rows in self.rows)


class Selection:
    """The records that a filter allows. Made once and used for several searches, it looks rows up once a change.

    For one thread at a time.
    """

    def __init__(self, record_ids: Iterable[bytes]) -> None:
        self.record_ids = list(dict.fromkeys(record_ids))
        self._kept: tuple[Space, int, Located] | None = None

    def locate(self, space: Space) -> Located:
        """Return the rows and the snapshot they belong to. Raises SpaceRebuilding."""
        if self._kept is not None and self._kept[:2] == (space, space.version):
            return self._kept[2]
        for _ in range(ATTEMPTS):
            version = space.version
            located = self._look_up(space)
            if space.version == version and not version % 2:
                self._kept = (space, version, located)
                return located
        with space.lock:
            return self._look_up(space)

    def _look_up(self, space: Space) -> Located:
        snapshot, frozen = space.readable(), space.frozen
        deltas = (space.active,) if frozen is None else (frozen, space.active)
        parts: tuple[Segment | Delta, ...] = (*snapshot.segments, *deltas)
        return Located(snapshot, tuple(_rows(part, self.record_ids) for part in parts))


def _rows(part: Segment | Delta, record_ids: list[bytes]) -> RowNumbers:
    return np.sort(np.frombuffer(part.ids.find_many(record_ids), np.uint64))
