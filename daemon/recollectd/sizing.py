"""How large things are made when the configuration leaves it to the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from recollectd.topology import Topology

_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB

BLOCK_CACHE_BYTES_MIN: Final = 16 * _MIB
VALUE_CACHE_BYTES_MIN: Final = 8 * _MIB
MEMTABLE_BYTES_MIN: Final = 4 * _MIB
HEAD_CACHE_COUNT_MIN: Final = 10_000
# What a head at hand weighs in memory: its key of some 30 bytes 80, the entry 112, the head 80, its place in the table
# 25 to 50. Conversations' metadata come on top.
HEAD_BYTES: Final = 320
# More would never fill: the journal is short enough to be replayed in seconds only because the records are flushed
# every few hundred megabytes of it.
MEMTABLE_BYTES_MAX: Final = 256 * _MIB
BACKGROUND_JOBS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Profile:
    """For a process that may use up to memory_bytes_max, in percent of what it may use.

    block_cache_percent: RocksDB's cache, memtables included. memtable_percent: the memtables' part of it.
    value_cache_percent: the daemon's own cache of values as they go out. head_cache_percent: what the sequencer
    decides by. graph_percent: the part of the page cache that graphs of vectors may take for themselves.
    """

    name: str
    memory_bytes_max: int
    block_cache_percent: int
    memtable_percent: int
    value_cache_percent: int
    head_cache_percent: int
    graph_percent: int


# Beside the caches there must be room for the interpreter, for pages in flight, and for the page cache, which
# holds the compressed files and is counted by control groups too.
PROFILES: Final = (
    Profile("small", 2 * _GIB, 10, 4, 5, 3, 25),
    Profile("laptop", 16 * _GIB, 10, 2, 10, 5, 30),
    Profile("server", 128 * _GIB, 15, 2, 15, 8, 35),
    Profile("large", 1 << 63, 20, 1, 20, 8, 35),
)


@dataclass(frozen=True, slots=True)
class Sizing:
    """profile: the row of the table that was used. background_jobs: threads that flush and compact."""

    profile: str
    block_cache_bytes: int
    memtable_bytes: int
    value_cache_bytes: int
    head_cache_count: int
    background_jobs: int
    graph_bytes: int


def size(topology: Topology, *, block_cache_bytes: int = 0, memtable_bytes: int = 0) -> Sizing:
    """Return the sizes for a machine. What is given and not 0 is kept, and the rest chosen to go with it.

    Memtables are part of the block cache and never chosen larger than half of it.
    """
    memory_bytes = topology.memory_bytes
    profile = next(row for row in PROFILES if memory_bytes <= row.memory_bytes_max)
    memtable_share_bytes = memory_bytes * profile.memtable_percent // 100
    if not block_cache_bytes:
        cache_share_bytes = memory_bytes * profile.block_cache_percent // 100
        block_cache_bytes = max(BLOCK_CACHE_BYTES_MIN, 2 * memtable_bytes, cache_share_bytes)
    if not memtable_bytes:
        wanted_bytes = min(MEMTABLE_BYTES_MAX, max(MEMTABLE_BYTES_MIN, memtable_share_bytes))
        memtable_bytes = min(wanted_bytes, block_cache_bytes // 2)
    background_jobs = min(BACKGROUND_JOBS_MAX, max(2, topology.processors // 2))
    value_cache_bytes = max(VALUE_CACHE_BYTES_MIN, memory_bytes * profile.value_cache_percent // 100)
    head_cache_count = max(HEAD_CACHE_COUNT_MIN, memory_bytes * profile.head_cache_percent // 100 // HEAD_BYTES)
    graph_bytes = memory_bytes * profile.graph_percent // 100
    return Sizing(
        *(profile.name, block_cache_bytes, memtable_bytes, value_cache_bytes, head_cache_count, background_jobs),
        graph_bytes,
    )
