"""Latencies: percentiles of many samples, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Percentiles(NamedTuple):
    """What is quoted of a set of latencies, in milliseconds; samples is their number."""

    samples: int
    p50: float
    p90: float
    p99: float
    p999: float
    longest: float

    def __str__(self) -> str:
        return (
            f"p50 {self.p50:.2f}  p90 {self.p90:.2f}  p99 {self.p99:.2f}  p99.9 {self.p999:.2f}"
            f"  max {self.longest:.1f} ms  ({self.samples:,} samples)"
        )


def percentiles(samples_us: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> Percentiles:
    """Return the percentiles of samples in microseconds; all zero for none."""
    if not len(samples_us):
        return Percentiles(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    sample_ms = np.asarray(samples_us, dtype=np.float64) / 1000.0
    p50, p90, p99, p999 = (float(part) for part in np.percentile(sample_ms, (50, 90, 99, 99.9)))
    return Percentiles(len(sample_ms), p50, p90, p99, p999, float(sample_ms.max()))
