"""Options drawn anew at each start: sizes so small that every boundary is crossed, and ordinary ones."""

from __future__ import annotations

import random
from typing import Final

from recollectd.config.environment import HOT_PATH, Way

KIB: Final = 1 << 10
MIB: Final = 1 << 20

# Each option with values from tiny to ordinary. What decides results (history) is drawn once per store.
_CHOICES: Final[dict[str, tuple[int, ...]]] = {
    "journal.segment_bytes": (64 * KIB, 256 * KIB, MIB, 16 * MIB),
    "journal.compress_bytes_min": (0, 100, 2_048, 100_000),
    "journal.seal_idle_ms": (10, 50, 1_000),
    "records.block_cache_bytes": (8 * MIB, 64 * MIB),
    "records.memtable_bytes": (MIB, 2 * MIB, 4 * MIB),
    "records.background_jobs": (1, 2),
    "records.checkpoint_commits_max": (100, 300, 2_000, 250_000),
    "records.checkpoint_bytes_max": (MIB, 256 * MIB),
    "records.checkpoint_interval_s": (1, 300),
    "records.ballast_bytes": (0, MIB),
    "server.read_threads": (1, 2, 4),
    "server.batch_commits_max": (1, 2, 7, 64, 4_096),
    "server.batch_bytes_max": (4 * KIB, 64 * KIB, 4 * MIB),
    "server.unapplied_bytes_max": (MIB, 64 * MIB),
    "server.head_cache_count": (0, 1, 8, 200_000),
    "server.touch_interval_ms": (1, 50, 1_000),
    "server.sweep_interval_ms": (10, 50, 200),
    "server.memory_cache_bytes": (0, 20 * KIB, 128 * MIB),
    "server.vector_exact_rows_max": (1, 3, 10_000),
    "server.vector_flush_rows": (8, 16, 16_384),
    "server.keyword_flush_bytes": (4 * KIB, 16 * KIB, 64 * MIB),
    "server.erase_interval_s": (0, 1, 86_400),
}


def draw(rng: random.Random) -> dict[str, int]:
    """Return options for one start: about half of them left at their defaults. A quick sweep is always asked for."""
    drawn = {option: rng.choice(values) for option, values in _CHOICES.items() if rng.random() < 0.55}
    drawn.setdefault("server.sweep_interval_ms", 50)
    drawn.setdefault("journal.segment_bytes", rng.choice((256 * KIB, MIB, 4 * MIB)))
    if "server.unapplied_bytes_max" in drawn:  # has to hold a batch
        drawn["server.batch_bytes_max"] = min(drawn.get("server.batch_bytes_max", MIB), MIB)
    drawn["records.disk_low_bytes"] = 16 * MIB
    return drawn


def draw_way(rng: random.Random) -> dict[str, str]:
    """Return the environment for one start: by which way its requests go, half of the time the default one."""
    return {HOT_PATH: rng.choice((Way.ON, Way.ON, Way.CACHE, Way.OFF)).value}
