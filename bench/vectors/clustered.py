"""As many vectors as wanted that lie as embeddings of sentences do; the same for a seed, made where they are used,
a few at a time.

Topics have topics below them, four levels of 20, 20, 20 and 5; each is what it is below and something of its own. A
vector is that of one of the 40,000 lowest, and something of its own, brought to norm 1. What is somebody's own is
normal, and its components fall off by a power of their place, as the principal components of embeddings do: few
directions say much, many a little; the directions are random, as theirs are, so that no component is larger than the
others. Powers and weights were chosen so that 100,000 of them lie, and are found by graphs, as those of
all-MiniLM-L6-v2 over 100,000 sentences:

                                                          sentences     these
    similarity of a query to the nearest                       .71       .71
    to the tenth                                                .58       .61
    to the hundredth                                            .46       .53
    local intrinsic dimension (maximum likelihood, 100)          21        25
    recall@10 of hnswlib, M 16, efConstruction 128, ef 32       .93       .95
    ef 64                                                      .972      .980
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from bench.vectors.data import NEAREST, Floats, Rows

CHUNK_ROWS: Final = 4096
BRANCHES: Final = (20, 20, 20, 5)
TOPIC_WEIGHTS: Final = (0.5, 0.5, 0.5, 0.4)
TOPIC_POWER: Final = 0.5
OWN_WEIGHT: Final = 0.8
OWN_POWER: Final = 0.6
QUERIES_SEED: Final = 1


class Clustered:
    """See the module."""

    def __init__(self, dimensions: int = 384, seed: int = 5) -> None:
        self.dimensions = dimensions
        self._seed = seed
        rng = np.random.default_rng((seed, 0))
        topics = np.zeros((1, dimensions), np.float32)
        for branches, weight in zip(BRANCHES, TOPIC_WEIGHTS, strict=True):
            topics = np.repeat(topics, branches, axis=0)
            topics += weight * _falling(rng, len(topics), dimensions, TOPIC_POWER)
        self._directions, _ = np.linalg.qr(rng.standard_normal((dimensions, dimensions), np.float32))
        self._topics: Floats = topics @ self._directions
        self._made: tuple[int, Floats] = (-1, np.empty((0, dimensions), np.float32))

    def rows(self, start: int, stop: int) -> Floats:
        """Return some rows, one behind the other; quick where they follow those asked for before."""
        numbers = range(start // CHUNK_ROWS, -(-stop // CHUNK_ROWS))
        first = numbers.start * CHUNK_ROWS
        return np.concatenate([self._chunk(number) for number in numbers])[start - first : stop - first]

    def queries(self, count: int) -> Floats:
        """Return queries, of the same topics, that are none of the rows."""
        return self._draw(np.random.default_rng((self._seed, QUERIES_SEED)), count)

    def _chunk(self, number: int) -> Floats:
        if self._made[0] != number:
            rng = np.random.default_rng((self._seed, QUERIES_SEED + 1 + number))
            self._made = number, self._draw(rng, CHUNK_ROWS)
        return self._made[1]

    def _draw(self, rng: np.random.Generator, count: int) -> Floats:
        drawn = self._topics[rng.integers(0, len(self._topics), count)]
        drawn += OWN_WEIGHT * (_falling(rng, count, self.dimensions, OWN_POWER) @ self._directions)
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        return drawn


def _falling(rng: np.random.Generator, count: int, dimensions: int, power: float) -> Floats:
    """Return normal vectors of mean norm 1 whose components fall off by a power."""
    share = np.arange(1, dimensions + 1, dtype=np.float32) ** -power
    drawn = rng.standard_normal((count, dimensions), np.float32)
    drawn *= share / np.linalg.norm(share)
    return drawn


class Truth:
    """The rows nearest to each query among the first so many, by scoring all of them."""

    def __init__(self, vectors: Clustered, queries: Floats) -> None:
        self._vectors = vectors
        self._queries = queries
        self._scored = 0
        self._rows = np.full((len(queries), NEAREST), -1, np.intp)
        self._scores = np.full((len(queries), NEAREST), -2, np.float32)

    def among(self, count: int) -> Rows:
        """Return the nearest among the first rows; count: no less than in the call before."""
        assert count >= self._scored
        for start, stop in _steps(self._scored, count):
            scores = np.hstack([self._scores, self._queries @ self._vectors.rows(start, stop).T])
            numbers = np.hstack([self._rows, np.broadcast_to(np.arange(start, stop), (len(scores), stop - start))])
            best = np.argsort(-scores, axis=1)[:, :NEAREST]
            self._scores = np.take_along_axis(scores, best, axis=1)
            self._rows = np.take_along_axis(numbers, best, axis=1)
        self._scored = count
        return self._rows


def _steps(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for first in range(start, stop, CHUNK_ROWS):
        yield first, min(first + CHUNK_ROWS, stop)
