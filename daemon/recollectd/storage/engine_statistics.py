"""Figures of RocksDB, gathered from its properties and counters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rocksdict import Rdict

from recollectd.storage.engine_options import RocksOptions

LEVELS: Final = 7

# Figure by the property whose values are added up over the families.
_PER_FAMILY: Final = {
    "memtable_bytes": "rocksdb.size-all-mem-tables",
    "live_data_bytes": "rocksdb.estimate-live-data-size",
    "files_bytes": "rocksdb.total-sst-files-size",
    "large_values_bytes": "rocksdb.total-blob-file-size",
    "large_values_garbage_bytes": "rocksdb.live-blob-file-garbage-size",
    "keys_estimated": "rocksdb.estimate-num-keys",
    "pending_compaction_bytes": "rocksdb.estimate-pending-compaction-bytes",
}
# The same for what belongs to the whole database.
_PER_DATABASE: Final = {
    "block_cache_bytes": "rocksdb.block-cache-usage",
    "block_cache_capacity_bytes": "rocksdb.block-cache-capacity",
    "block_cache_pinned_bytes": "rocksdb.block-cache-pinned-usage",
    "compactions_running": "rocksdb.num-running-compactions",
    "flushes_running": "rocksdb.num-running-flushes",
    "background_errors": "rocksdb.background-errors",
    "writes_stopped": "rocksdb.is-write-stopped",
}
# Figure by counter; counted since the store was opened.
_COUNTERS: Final = {
    "block_cache_hits": "rocksdb.block.cache.hit",
    "block_cache_misses": "rocksdb.block.cache.miss",
    "memtable_hits": "rocksdb.memtable.hit",
    "memtable_misses": "rocksdb.memtable.miss",
    "bloom_filter_useful": "rocksdb.bloom.filter.useful",
    "flushed_bytes": "rocksdb.flush.write.bytes",
    "compaction_read_bytes": "rocksdb.compact.read.bytes",
    "compaction_written_bytes": "rocksdb.compact.write.bytes",
}
# Rows that were found in a file, by its level.
_FILE_HITS: Final = ("rocksdb.l0.hit", "rocksdb.l1.hit", "rocksdb.l2andup.hit")


def engine_statistics(families: Sequence[Rdict], native: RocksOptions) -> dict[str, int | float]:
    """Return the figures by name; the first family is the default one."""
    figures: dict[str, int | float] = {name: _property(families[0], key) for name, key in _PER_DATABASE.items()}
    for name, key in _PER_FAMILY.items():
        figures[name] = sum(_property(family, key) for family in families)
    for level in range(LEVELS):
        key = f"rocksdb.num-files-at-level{level}"
        figures[f"files_level_{level}"] = sum(_property(family, key) for family in families)
    counters = _read_counters(native.database.get_statistics() or "")
    for name, counter in _COUNTERS.items():
        figures[name] = counters.get(counter, 0)
    figures["file_hits"] = sum(counters.get(counter, 0) for counter in _FILE_HITS)
    reads = figures["block_cache_hits"] + figures["block_cache_misses"]
    figures["block_cache_hit_ratio"] = figures["block_cache_hits"] / reads if reads else 0.0
    return figures


def unflushed_entries(families: Sequence[Rdict]) -> tuple[int, int]:
    """Return how many changes are in memtables alone, and RocksDB's sequence number at that very moment."""
    while True:
        sequence = families[0].latest_sequence_number()
        entries = sum(
            _property(family, "rocksdb.num-entries-active-mem-table")
            + _property(family, "rocksdb.num-entries-imm-mem-tables")
            for family in families
        )
        if families[0].latest_sequence_number() == sequence:
            return entries, sequence


def _property(family: Rdict, name: str) -> int:
    return family.property_int_value(name) or 0


def _read_counters(text: str) -> dict[str, int]:
    """Read lines of the form `rocksdb.block.cache.hit COUNT : 12`; histograms have more words and are left out."""
    lines = (line.split() for line in text.splitlines())
    return {words[0]: int(words[3]) for words in lines if len(words) == 4 and words[1] == "COUNT"}
