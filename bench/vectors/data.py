"""The vectors that are searched, the truth, and recall by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

NEAREST: Final = 10
CHUNK: Final = 4096


class Data(NamedTuple):
    """base and queries with norm 1; truth: the rows of the NEAREST of each query, by brute force."""

    base: Floats
    queries: Floats
    truth: Rows


def read(path: Path, rows: int | None = None) -> Data:
    """Read arrays `base` and `query` of an npz file; rows: only the first so many."""
    with np.load(path) as file:
        base, queries = _unit(file["base"][:rows]), _unit(file["query"])
    return Data(base, queries, nearest(base, queries))


def synthetic(base: Floats, count: int, seed: int = 5) -> Floats:
    """Return as many vectors as wanted: mixtures of two of the base with noise. For size, not for recall."""
    rng = np.random.default_rng(seed)
    made = np.empty((count, base.shape[1]), np.float32)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        one, other = (base[rng.integers(0, len(base), size)] for _ in range(2))
        share = rng.uniform(0.2, 0.8, (size, 1)).astype(np.float32)
        noise = rng.normal(0, 0.015, (size, base.shape[1])).astype(np.float32)
        made[start : start + size] = _unit(share * one + (1 - share) * other + noise)
    return made


def nearest(base: Floats, queries: Floats, allowed: npt.NDArray[np.bool_] | None = None) -> Rows:
    """Return the rows nearest to each query, by scoring all."""
    scores = queries @ base.T
    if allowed is not None:
        scores[:, ~allowed] = -2
    top = np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]
    order = np.argsort(np.take_along_axis(-scores, top, axis=1), axis=1)
    found: Rows = np.take_along_axis(top, order, axis=1)
    return found


def recall(found: Sequence[Sequence[int]], truth: Rows) -> float:
    """Return the share of the truth that was found."""
    pairs = zip(found, truth.tolist(), strict=True)
    return sum(len(set(one) & set(true)) for one, true in pairs) / truth.size


def _unit(vectors: npt.NDArray[np.generic]) -> Floats:
    floats = vectors.astype(np.float32)
    unit: Floats = floats / np.maximum(np.linalg.norm(floats, axis=1, keepdims=True), 1e-12)
    return unit
