"""Finding the nearest records of a snapshot: what is asked exactly, what by graph, and how much of it.

Exactly: every row, or every allowed row, is scored. Approximately: each graph gives the rows it finds near the query,
somewhat more than are wanted because some may be dead or not allowed, and these are scored by the stored vectors; the
deltas are scored beside them, large ones by their i8 copies first. When too few remain, graphs are asked for four times
as many, and where that is no cheaper than scoring everything, everything is scored.

Scores depend on query and vector alone, and equals are ordered by record id: what else is in the space, or where a row
happens to lie, changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recollectd._native import vector_scan
from recollectd.storage.vectors.delta import DeltaRows
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.segment import Segment
from recollectd.storage.vectors.selection import Located, RowNumbers
from recollectd.storage.vectors.space import Snapshot
from recollectd.storage.vectors.spec import Floats, Metric, Spec

# Rows of one score at the end of a page are told apart by id, so some more are asked for than are wanted.
SLACK: Final = 8
GROWTH: Final = 4
# A graph that must give more than this part of its rows costs more than scoring them all.
WALK_SHARE_MAX: Final = 1 / 8
COARSE_FACTOR: Final = 4

Hit = tuple[bytes, float]
# As native code tells it: score, part, row.
Scored = tuple[float, int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """hits: record ids and similarities, nearest first. exact: whether nothing nearer can have been missed."""

    hits: list[Hit]
    exact: bool


class Query:
    """A vector to search for, prepared for one spec."""

    def __init__(self, spec: Spec, vector: Floats, options: VectorOptions) -> None:
        self.spec = spec
        self.options = options
        self.floats = np.empty((1, spec.dimensions), np.float32)
        self.coarse = np.empty((1, spec.dimensions), np.int8)
        vector_scan.prepare(vector, self.floats, self.coarse, spec.dimensions, spec.to_unit)

    def walk(self, segment: Segment, fetch: int) -> RowNumbers:
        """Return rows of a segment that its graph finds."""
        query = self.coarse if self.spec.metric is Metric.COSINE else self.floats
        return segment.walk(query, fetch, self.options.expansion_search)

    def scan(self, seq: int) -> vector_scan.Scan:
        """Return a scan without parts."""
        return vector_scan.Scan(
            self.spec.measure, self.spec.native_precision, self.spec.dimensions, self.floats, self.coarse, seq
        )


def search(query: Query, snapshot: Snapshot, limit: int, *, located: Located | None, exact: bool) -> Found:
    """Return the nearest records of a snapshot, or of the located rows of it."""
    options = query.options
    allowed = located.count if located is not None else snapshot.live
    most = options.exact_rows_max if located is None else options.allowed_exact_max
    exact = exact or allowed <= most or not any(segment.has_graph for segment in snapshot.segments)
    wanted = limit + SLACK
    while True:
        hits = _exactly(query, snapshot, wanted, located) if exact else _by_graph(query, snapshot, wanted, located)
        # Where the last that is wanted and the last that was found are equal, more equals may not have been found.
        if len(hits) < wanted or hits[limit - 1][0] > hits[-1][0] or wanted > allowed:
            return Found(query.spec.similarities(_name(hits, snapshot, limit)), exact)
        wanted *= GROWTH


def _exactly(query: Query, snapshot: Snapshot, wanted: int, located: Located | None) -> list[Scored]:
    scan = query.scan(snapshot.seq)
    parts: tuple[Segment | DeltaRows, ...] = (*snapshot.segments, *snapshot.deltas)
    for number, part in enumerate(parts):
        count = part.rows if isinstance(part, Segment) else part.count
        if located is None:
            scan.add_range(part.stored, count, part.died)
        else:
            _add_rows(scan, part, located.rows[number])
    return scan.run(wanted, 0)


def _by_graph(query: Query, snapshot: Snapshot, wanted: int, located: Located | None) -> list[Scored]:
    shares = [_share(segment, number, located) for number, segment in enumerate(snapshot.segments)]
    fetches = [math.ceil(wanted * (1.5 if located is not None else 1.1) / share) if share else 0 for share in shares]
    while True:
        scan = query.scan(snapshot.seq)
        for number, segment in enumerate(snapshot.segments):
            _add_segment(query, scan, segment, fetches[number], located.rows[number] if located is not None else None)
        deltas = snapshot.deltas if snapshot.deltas[-1].count else snapshot.deltas[:-1]
        for at, delta in enumerate(deltas, len(snapshot.segments)):
            _add_delta(query, scan, delta, located.rows[at] if located is not None else None)
        hits = scan.run(wanted, max(COARSE_FACTOR * wanted, 64))
        short = [
            number
            for number, segment in enumerate(snapshot.segments)
            if scan.accepted[number] < wanted and _walks(segment, fetches[number])
        ]
        if not short:
            return hits
        for number in short:
            fetches[number] *= GROWTH


def _share(segment: Segment, number: int, located: Located | None) -> float:
    """Return about which part of a segment's rows counts."""
    if not segment.rows:
        return 0.0
    return (len(located.rows[number]) if located is not None else segment.live) / segment.rows


def _walks(segment: Segment, fetch: int) -> bool:
    """Whether a graph that must give so many rows is asked at all."""
    return segment.has_graph and 0 < fetch <= segment.rows * WALK_SHARE_MAX


def _add_segment(
    query: Query, scan: vector_scan.Scan, segment: Segment, fetch: int, allowed: RowNumbers | None
) -> None:
    if _walks(segment, fetch):
        rows = query.walk(segment, fetch)
        mask = _mask(allowed, segment.rows) if allowed is not None else None
        scan.add_rows(segment.stored, segment.rows, rows, len(rows), segment.died, mask)
    elif allowed is not None:
        _add_rows(scan, segment, allowed)
    else:
        scan.add_range(segment.stored, segment.rows, segment.died)


def _add_delta(query: Query, scan: vector_scan.Scan, delta: DeltaRows, allowed: RowNumbers | None) -> None:
    if allowed is not None:
        _add_rows(scan, delta, allowed)
    elif delta.coarse is not None and delta.count > query.options.coarse_rows_min:
        scan.add_range(delta.stored, delta.count, delta.died, None, delta.coarse, delta.coarse_scales)
    else:
        scan.add_range(delta.stored, delta.count, delta.died)


def _add_rows(scan: vector_scan.Scan, part: Segment | DeltaRows, rows: RowNumbers) -> None:
    count = part.rows if isinstance(part, Segment) else part.count
    scan.add_rows(part.stored, count, rows, len(rows), part.died)


def _mask(rows: RowNumbers, count: int) -> npt.NDArray[np.uint8]:
    flags = np.zeros(count, bool)
    flags[rows] = True
    return np.packbits(flags, bitorder="little")


def _name(hits: list[Scored], snapshot: Snapshot, limit: int) -> list[Hit]:
    """Return record ids and scores of the first rows, equals by id. Of those behind them only equals are looked at."""
    segments, named = snapshot.segments, []
    last = hits[limit - 1][0] if len(hits) > limit else -math.inf
    for score, part, row in hits:
        if score < last:
            break
        if part < len(segments):
            named.append((segments[part].ids.get(row), score))
        else:
            named.append((snapshot.deltas[part - len(segments)].ids[row], score))
    named.sort(key=lambda hit: (-hit[1], hit[0]))
    return named[:limit]
