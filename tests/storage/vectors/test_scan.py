"""The native loops against numpy: precisions, measures, sizes beside the lanes, who counts."""

from __future__ import annotations

import numpy as np
import pytest

from recollectd._native import vector_scan
from recollectd.storage.vectors.spec import Floats

ROWS = 50


def stored(precision: int, vectors: Floats, *, to_unit: bool = False) -> np.ndarray:
    rows, dimensions = vectors.shape
    out = np.zeros((rows, vector_scan.row_bytes(precision, dimensions)), np.uint8)
    vector_scan.store(precision, dimensions, vectors, rows, to_unit, 0, out)
    return out


def widened(precision: int, rows: np.ndarray, dimensions: int) -> Floats:
    out = np.empty((len(rows), dimensions), np.float32)
    vector_scan.load(precision, dimensions, rows, 0, len(rows), out)
    return out


def scan(measure: int, precision: int, dimensions: int, seq: int = 1) -> vector_scan.Scan:
    return vector_scan.Scan(measure, precision, dimensions, False, seq)


@pytest.mark.parametrize("dimensions", [1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 384, 700])
@pytest.mark.parametrize("precision", [vector_scan.F32, vector_scan.BF16, vector_scan.I8])
@pytest.mark.parametrize("measure", [vector_scan.DOT, vector_scan.L2])
def test_scores_are_those_of_numpy(measure: int, precision: int, dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    vectors = rng.normal(size=(ROWS, dimensions)).astype(np.float32)
    query = rng.normal(size=dimensions).astype(np.float32)
    rows = stored(precision, vectors)
    kept = widened(precision, rows, dimensions).astype(np.float64)
    truth = kept @ query if measure == vector_scan.DOT else -((kept - query) ** 2).sum(axis=1)
    one = scan(measure, precision, dimensions)
    one.add_range(rows, ROWS)
    hits, _ = one.run(query, ROWS, 0)
    assert sorted(row for _, _, row in hits) == list(range(ROWS))
    assert [score for score, _, _ in hits] == sorted((score for score, _, _ in hits), reverse=True)
    assert all(abs(score - truth[row]) < 1e-5 * dimensions for score, _, row in hits)


@pytest.mark.parametrize(("precision", "error"), [(vector_scan.F32, 0), (vector_scan.BF16, 1 / 256)])
def test_precisions_lose_what_they_say(precision: int, error: float) -> None:
    vectors = np.random.default_rng(1).normal(size=(ROWS, 40)).astype(np.float32)
    kept = widened(precision, stored(precision, vectors), 40)
    assert (np.abs(kept - vectors) <= np.abs(vectors) * error).all()


def test_i8_loses_half_a_step() -> None:
    vectors = np.random.default_rng(2).normal(size=(ROWS, 40)).astype(np.float32)
    kept = widened(vector_scan.I8, stored(vector_scan.I8, vectors), 40)
    step = np.abs(vectors).max(axis=1, keepdims=True) / 127
    assert (np.abs(kept - vectors) <= step * 0.501).all()


def test_vectors_are_brought_to_norm_one() -> None:
    vectors = np.random.default_rng(3).normal(size=(ROWS, 40)).astype(np.float32) * 1e-3
    kept = widened(vector_scan.F32, stored(vector_scan.F32, vectors, to_unit=True), 40)
    assert np.allclose(np.linalg.norm(kept, axis=1), 1, atol=1e-6)


def test_who_died_by_the_readers_seq_does_not_count() -> None:
    rows = stored(vector_scan.F32, np.eye(4, dtype=np.float32))
    died = np.array([0, 5, 6, 7], np.uint64)
    one = scan(vector_scan.DOT, vector_scan.F32, 4, seq=6)
    one.add_range(rows, 4, died)
    hits, accepted = one.run(np.ones(4, np.float32), 10, 0)
    assert {row for _, _, row in hits} == {0, 3}
    assert accepted == [2]


def test_masks_and_lists_of_rows_choose() -> None:
    rows = stored(vector_scan.F32, np.eye(20, dtype=np.float32))
    mask = np.packbits(np.arange(20) % 3 == 0, bitorder="little")
    one = scan(vector_scan.DOT, vector_scan.F32, 20)
    one.add_range(rows, 20, None, mask)
    one.add_rows(rows, 20, np.array([1, 2, 3, 19], np.uint64), 4, None, mask)
    hits, accepted = one.run(np.ones(20, np.float32), 99, 0)
    assert {(part, row) for _, part, row in hits} == {(0, row) for row in range(0, 20, 3)} | {(1, 3)}
    assert accepted == [7, 1]


def test_coarse_ranges_give_exact_scores() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(500, 64)).astype(np.float32)
    rows, coarse, scales = np.zeros((500, 256), np.uint8), np.zeros((500, 64), np.int8), np.zeros(500, np.float32)
    vector_scan.store(vector_scan.F32, 64, vectors, 500, False, 0, rows, coarse, scales)
    query = rng.normal(size=64).astype(np.float32)
    one = scan(vector_scan.DOT, vector_scan.F32, 64)
    one.add_range(rows, 500, None, None, coarse, scales)
    exact = scan(vector_scan.DOT, vector_scan.F32, 64)
    exact.add_range(rows, 500)
    assert one.run(query, 10, 100) == exact.run(query, 10, 0)


def test_short_buffers_and_rows_beyond_the_end_are_refused() -> None:
    rows = stored(vector_scan.F32, np.eye(4, dtype=np.float32))
    one = scan(vector_scan.DOT, vector_scan.F32, 4)
    with pytest.raises(ValueError, match="shorter"):
        one.add_range(rows, 5)
    with pytest.raises(ValueError, match="shorter"):
        one.add_range(rows, 4, np.zeros(3, np.uint64))
    with pytest.raises(IndexError, match="row 4 of 4"):
        one.add_rows(rows, 4, np.array([4], np.uint64), 1)
    with pytest.raises(ValueError, match="shorter"):
        one.run(np.ones(3, np.float32), 9, 9)
    assert one.run(np.ones(4, np.float32), 9, 9) == ([], [])
