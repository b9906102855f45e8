"""A vector view beside what it must answer: a plain dict, searched by brute force."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from recollectd.storage.vectors.builders import Builder, HereBuilder
from recollectd.storage.vectors.changes import Change, Create, Delete, Drop, Put
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.spec import Floats, Metric, Precision, Spec
from recollectd.storage.vectors.view import VectorView

# Small, so that every path is taken by few rows.
OPTIONS: Final = VectorOptions(
    flush_rows=8,
    delta_rows_max=64,
    exact_rows_max=4,
    allowed_exact_max=4,
    coarse_rows_min=4,
    dump_files_max=3,
    parking_interval_s=0.0,
)
TOLERANCE: Final = {Precision.F32: 2e-6, Precision.BF16: 0.02, Precision.I8: 0.04}

Key = tuple[bytes, str]


def unit(vectors: Floats) -> Floats:
    """Return vectors with norm 1."""
    made: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return made


def similarity(spec: Spec, query: Floats, vector: Floats) -> float:
    """Return what the metric's documentation says."""
    if spec.metric is Metric.COSINE:
        return float(unit(query) @ unit(vector))
    if spec.metric is Metric.DOT:
        return float(query @ vector)
    return float(1 / (1 + np.linalg.norm(query - vector)))


class Journaled:
    """A view and the journal it follows, which is all that is left after a crash."""

    def __init__(
        self,
        folder: Path,
        options: VectorOptions = OPTIONS,
        builder: Builder | None = None,
        *,
        keeper: bool = False,
    ) -> None:
        self.folder = folder
        self.options = options
        self.builder = builder
        self.keeper = keeper
        self.journal: list[list[Change]] = []
        self.specs: dict[Key, Spec] = {}
        self.records: dict[Key, dict[bytes, Floats]] = {}
        self.view = self.open()

    def open(self) -> VectorView:
        """Open the view without the journal."""
        return VectorView(self.folder, self.options, builder=self.builder or HereBuilder(), keeper=self.keeper)

    def commit(self, *changes: Change) -> None:
        """Journal changes and apply them."""
        self.journal.append(list(changes))
        for change in changes:
            self._model(change)
        self.view.apply(len(self.journal), changes)

    def _model(self, change: Change) -> None:
        key = (change.scope, change.space)
        match change:
            case Create(spec=spec):
                if key not in self.specs:
                    self.specs[key], self.records[key] = spec, {}
            case Drop():
                self.specs.pop(key, None)
                self.records.pop(key, None)
            case Put(record_id=record_id, vector=vector) if key in self.records:
                self.records[key][record_id] = np.frombuffer(bytes(vector), np.float32)
            case Delete(record_id=record_id) if key in self.records:
                self.records[key].pop(record_id, None)

    def reopen(self) -> None:
        """Open anew after whatever happened, and bring what the journal has."""
        self.view = self.open()
        self.replay()

    def replay(self) -> None:
        """Apply what came after what is durable."""
        durable = self.view.durable_seq
        assert durable <= len(self.journal), "the view is ahead of the journal"
        for seq, changes in enumerate(self.journal[durable:], durable + 1):
            self.view.apply(seq, changes)

    def put(self, key: Key, vectors: dict[bytes, Floats]) -> None:
        """Commit vectors at once."""
        self.commit(*(Put(*key, record_id, vector.astype("<f4").tobytes()) for record_id, vector in vectors.items()))

    def delete(self, key: Key, record_ids: Iterable[bytes]) -> None:
        """Commit deletions at once."""
        self.commit(*(Delete(*key, record_id) for record_id in record_ids))

    def check(self, key: Key, query: Floats, limit: int, allowed: Sequence[bytes] | None = None) -> None:
        """Hold the view's answers against brute force: exact ones entirely, others in all but which are nearest."""
        spec, records = self.specs[key], self.records[key]
        tolerance = TOLERANCE[spec.precision] * (1 if spec.metric is not Metric.DOT else 20)
        counted = {one: vector for one, vector in records.items() if allowed is None or one in allowed}
        truth = {record_id: similarity(spec, query, vector) for record_id, vector in counted.items()}
        best = sorted(truth.values(), reverse=True)[:limit]
        for exact in (True, False):
            hits = self.view.search(*key, query, limit, allowed, exact)
            assert len({record_id for record_id, _ in hits}) == len(hits) == len(best)
            for record_id, score in hits:
                assert abs(truth[record_id] - score) <= tolerance, (record_id, truth[record_id], score)
            assert hits == sorted(hits, key=lambda hit: (-hit[1], hit[0]))
            if exact:
                assert np.allclose([score for _, score in hits], best, rtol=0, atol=tolerance)

    def check_all(self, query_seed: int = 0) -> None:
        """Hold spaces, counts and answers against the model."""
        assert self.view.damaged() == []
        assert self.view.spaces() == self.specs
        rng = np.random.default_rng(query_seed)
        for key, spec in self.specs.items():
            assert self.view.count(*key) == len(self.records[key])
            query = rng.normal(size=spec.dimensions).astype(np.float32)
            self.check(key, query, 5)
            self.check(key, query, 3, sorted(self.records[key])[::3])


def random_vectors(rng: np.random.Generator, count: int, dimensions: int, prefix: str = "r") -> dict[bytes, Floats]:
    """Return vectors by ids prefix0, prefix1, …"""
    vectors = rng.normal(size=(count, dimensions)).astype(np.float32)
    return {f"{prefix}{at}".encode(): vector for at, vector in enumerate(vectors)}
