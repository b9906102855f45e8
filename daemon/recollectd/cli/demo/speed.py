"""How fast the demo's daemon is here: a glance, not a benchmark."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from recollectd.client import Client

VALUE: Final = "v" * 200
SECONDS: Final = 1.0
TOGETHER: Final = 500
KEYS: Final = 1_000
SYNCS: Final = 50


class Speed(NamedTuple):
    """Operations per second and latencies in milliseconds one at a time; operations per second many at once."""

    per_second: float
    p50_ms: float
    p99_ms: float
    together_per_second: float


def measure_puts(client: Client, seconds: float = SECONDS) -> Speed:
    """Measure synced puts of 200-byte values."""

    def together() -> int:
        with client.pipeline() as pipeline:
            for number in range(TOGETHER):
                pipeline.state.put(f"speed/{number}", VALUE)
        return TOGETHER

    return _measure(lambda number: client.state.put(f"speed/{number % KEYS}", VALUE), together, seconds)


def measure_gets(client: Client, seconds: float = SECONDS) -> Speed:
    """Measure gets of what `measure_puts` wrote."""

    def together() -> int:
        with client.pipeline() as pipeline:
            for number in range(TOGETHER):
                pipeline.state.get(f"speed/{number}")
        return TOGETHER

    return _measure(lambda number: client.state.get(f"speed/{number % TOGETHER}"), together, seconds)


def _measure(one: Callable[[int], Any], together: Callable[[], int], seconds: float) -> Speed:
    latencies_ms: list[float] = []
    began = time.perf_counter()
    end = began + seconds
    while (before := time.perf_counter()) < end:
        one(len(latencies_ms))
        latencies_ms.append((time.perf_counter() - before) * 1_000)
    alone = len(latencies_ms) / (time.perf_counter() - began)
    began = time.perf_counter()
    done = 0
    while time.perf_counter() < began + seconds:
        done += together()
    p50_ms, p99_ms = percentile(latencies_ms, 50), percentile(latencies_ms, 99)
    return Speed(alone, p50_ms, p99_ms, done / (time.perf_counter() - began))


def percentile(values: list[float], percent: int) -> float:
    """Return the smallest value that at least so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]


def raw_sync_ms(folder: Path) -> float:
    """Return the median of writing 4 KiB and syncing it in this folder: what no durable write can be quicker than."""
    times_ms: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            before = time.perf_counter()
            os.pwrite(file.fileno(), bytes(4096), 0)
            os.fdatasync(file.fileno())
            times_ms.append((time.perf_counter() - before) * 1_000)
    return percentile(times_ms, 50)
