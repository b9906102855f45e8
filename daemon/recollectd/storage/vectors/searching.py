"""Finding the nearest records of a snapshot: what is asked exactly, what by graph, and how much of it.

Exactly: every row, or every allowed row, is scored. Approximately: each graph gives the rows it finds near the query
among those that live and are allowed, and the best of these are scored by the stored vectors; the deltas are scored
beside them, large ones by their i8 copies first. When they are too few, graphs are asked for four times as many, and
where that is no cheaper than scoring everything, everything is scored.

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
from recollectd.storage.vectors.spec import Floats, Spec

# Rows of one score at the end of a page are told apart by id, so some more are asked for than are wanted.
SLACK: Final = 8
GROWTH: Final = 4
# A graph that must give more than this part of its rows costs more than scoring them all.
WALK_SHARE_MAX: Final = 1 / 8
COARSE_FACTOR: Final = 4
# Of what a walk finds, so many times what is wanted is scored by the stored vectors.
FETCH_FACTOR: Final = 1.1

Hit = tuple[bytes, float]
# As native code tells it: score, part, row.
Scored = tuple[float, int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """hits: record ids and similarities, nearest first. exact: whether nothing nearer can have been missed."""

    hits: list[Hit]
    exact: bool


class Query:
    """A vector to search for, prepared for one spec. effort: how many rows a walk through a graph keeps in view."""

    def __init__(self, spec: Spec, vector: Floats, options: VectorOptions, effort: int) -> None:
        self.spec = spec
        self.options = options
        self.floats = vector
        self.effort = effort

    def with_effort(self, effort: int) -> Query:
        """Return the same with another effort."""
        return Query(self.spec, self.floats, self.options, effort)


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


class Standing:
    """What searches of one snapshot by graph share: made once, used by any number of threads."""

    def __init__(self, spec: Spec, snapshot: Snapshot, limit: int, options: VectorOptions, effort: int) -> None:
        self.snapshot = snapshot
        self._spec = spec
        self._options = options
        self._limit = limit
        self._effort = effort
        self._wanted = limit + SLACK
        self._scan = new_scan(spec, snapshot.seq)
        fetches = [_fetch(segment, self._wanted, None, 0) for segment in snapshot.segments]
        _add_parts(self._scan, snapshot, options, effort, fetches, None)
        self._names = [segment.ids for segment in snapshot.segments]
        self._names += [delta.ids for delta in _asked_deltas(snapshot)]  # type: ignore[misc]

    @staticmethod
    def possible(snapshot: Snapshot, options: VectorOptions) -> bool:
        """Whether a search without a filter goes by graphs."""
        return snapshot.live > options.exact_rows_max and any(segment.has_graph for segment in snapshot.segments)

    def fits(self, snapshot: Snapshot, limit: int, effort: int) -> bool:
        """Whether it is of this snapshot, and for such searches."""
        return self.snapshot is snapshot and self._limit == limit and self._effort == effort

    def search(self, vectors: list[Floats]) -> list[Found]:
        """Return what `search` finds for each query."""
        named = self._scan.run_many(vectors, self._limit, self._wanted, _coarse_limit(self._wanted), self._names)
        return [
            Found(self._spec.similarities(hits), exact=False) if hits is not None else self._alone(vector)
            for vector, hits in zip(vectors, named, strict=True)
        ]

    def _alone(self, vector: Floats) -> Found:
        query = Query(self._spec, vector, self._options, self._effort)
        return search(query, self.snapshot, self._limit, located=None, exact=False)


def new_scan(spec: Spec, seq: int) -> vector_scan.Scan:
    """Return a scan without parts."""
    return vector_scan.Scan(spec.measure, spec.native_precision, spec.dimensions, spec.to_unit, seq)


def _exactly(query: Query, snapshot: Snapshot, wanted: int, located: Located | None) -> list[Scored]:
    scan = new_scan(query.spec, snapshot.seq)
    parts: tuple[Segment | DeltaRows, ...] = (*snapshot.segments, *snapshot.deltas)
    for number, part in enumerate(parts):
        count = part.rows if isinstance(part, Segment) else part.count
        if located is None:
            scan.add_range(part.stored, count, part.died)
        else:
            _add_rows(scan, part, located.rows[number])
    return scan.run(query.floats, wanted, 0)[0]


def _by_graph(query: Query, snapshot: Snapshot, wanted: int, located: Located | None) -> list[Scored]:
    fetches = [_fetch(segment, wanted, located, number) for number, segment in enumerate(snapshot.segments)]
    while True:
        scan = new_scan(query.spec, snapshot.seq)
        _add_parts(scan, snapshot, query.options, query.effort, fetches, located)
        hits, accepted = scan.run(query.floats, wanted, _coarse_limit(wanted))
        short = [
            number
            for number, segment in enumerate(snapshot.segments)
            if accepted[number] < wanted and _walks(segment, fetches[number], _share(segment, number, located))
        ]
        if not short:
            return hits
        for number in short:
            fetches[number] *= GROWTH


def _coarse_limit(wanted: int) -> int:
    return max(COARSE_FACTOR * wanted, 64)


def _fetch(segment: Segment, wanted: int, located: Located | None, number: int) -> int:
    """Return how many of the rows that a graph finds are scored; 0 where none counts."""
    return math.ceil(wanted * FETCH_FACTOR) if _share(segment, number, located) else 0


def _share(segment: Segment, number: int, located: Located | None) -> float:
    """Return about which part of a segment's rows counts."""
    if not segment.rows:
        return 0.0
    return (len(located.rows[number]) if located is not None else segment.live) / segment.rows


def _walks(segment: Segment, fetch: int, share: float) -> bool:
    """Whether a graph of which such a part counts is asked at all for so many rows."""
    return segment.has_graph and 0 < fetch <= segment.rows * share * WALK_SHARE_MAX


def _asked_deltas(snapshot: Snapshot) -> tuple[DeltaRows, ...]:
    return snapshot.deltas if snapshot.deltas[-1].count else snapshot.deltas[:-1]


def _add_parts(
    scan: vector_scan.Scan,
    snapshot: Snapshot,
    options: VectorOptions,
    effort: int,
    fetches: list[int],
    located: Located | None,
) -> None:
    for number, segment in enumerate(snapshot.segments):
        allowed = located.rows[number] if located is not None else None
        if segment.graph is not None and _walks(segment, fetches[number], _share(segment, number, located)):
            mask = _mask(allowed, segment.rows) if allowed is not None else None
            # Whoever dies from here on lives in this snapshot.
            died = segment.died if segment.dead else None
            scan.add_graph(segment.graph, segment.stored, segment.rows, effort, fetches[number], died, mask)
        elif allowed is not None:
            _add_rows(scan, segment, allowed)
        else:
            scan.add_range(segment.stored, segment.rows, segment.died)
    for at, delta in enumerate(_asked_deltas(snapshot), len(snapshot.segments)):
        _add_delta(scan, delta, options, located.rows[at] if located is not None else None)


def _add_delta(scan: vector_scan.Scan, delta: DeltaRows, options: VectorOptions, allowed: RowNumbers | None) -> None:
    if allowed is not None:
        _add_rows(scan, delta, allowed)
    elif delta.coarse is not None and delta.count > options.coarse_rows_min:
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
            named.append((segments[part].ids[row], score))
        else:
            named.append((snapshot.deltas[part - len(segments)].ids[row], score))
    named.sort(key=lambda hit: (-hit[1], hit[0]))
    return named[:limit]
