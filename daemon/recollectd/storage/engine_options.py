"""How RocksDB is set up: one cache for everything, five families, and why each setting is what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    WriteBufferManager,
)

from recollectd.storage.keyspace import FAMILY_NAMES, Family

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

BLOCK_BYTES: Final = 16 * _KIB
BLOOM_BITS_PER_KEY: Final = 10
# In each file of the last level: with 64 KiB, files of JSON are 3 to 6 % smaller, those of ten messages a row 3 %
# larger, and a small store several times as large.
DICTIONARY_BYTES: Final = 16 * _KIB
ZSTD_WINDOW_BITS_DEFAULT: Final = -14

# Values over this go to blob files. Inside a block, one of them would be read again by every get near it (the cache
# does not keep blocks that large); in blob files, small values would not compress, for lack of neighbours.
BLOB_BYTES_MIN: Final = 256 * _KIB
BLOB_COLLECTION_AGE: Final = 0.25
BLOB_COLLECTION_GARBAGE: Final = 0.5

# Memtables of one family, the one written to and those that wait for their flush. Together with `memtable_bytes` the
# bound of what RocksDB keeps in memory before it answers "Write stall".
FAMILY_MEMTABLES_MAX: Final = 3

# A family's memtable is flushed, and the others with it, when it is as large as this. Also the room that must be free
# before RocksDB goes on after a full disk: no more than the ballast gives back. Insertion is the dearest part of a put,
# and the less of the list the processor's caches hold, the dearer: .8 us less than with 32 MiB, half as much again with
# 64. With 8 MiB the first level has more files than is good for reads.
FAMILY_MEMTABLE_BYTES_MAX: Final = 16 * _MIB

# Files of the first level that are compacted together: four times RocksDB's default, so that as many bytes are as with
# its own larger memtables, and the same distance to where it slows writes down and stops them. A cold get asks the
# filters of that many more, some 3 us.
LEVEL_0_FILES: Final = 16
LEVEL_0_FILES_SLOW: Final = 64
LEVEL_0_FILES_STOP: Final = 96

# A file in which this share of any window of keys is deletions is compacted early: a walk pays for each (0.2 us). More
# than half: a put beyond the versions that are kept deletes one for the one it writes, and calls for nothing by that.
DELETIONS_WINDOW: Final = 1_024
DELETIONS_TRIGGER: Final = 704
DELETIONS_SHARE: Final = 0.65

MEMTABLE_BYTES_MIN: Final = 1 * _MIB
BLOCK_CACHE_BYTES_MIN: Final = 4 * _MIB

# How hard zstd tries in the last level. Versions of state records are rewritten by compactions and pruned soon.
# Messages are kept: level 3 saves 6 % more of them than level 1 and costs half as much again; level 6 saves another 2 %
# for twice the time, whenever a compaction rewrites them.
ZSTD_LEVELS: Final = {Family.VALUES: 1, Family.ENTRIES: 3}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What differs from one machine to the next. Raises ValueError when the sizes do not fit each other.

    block_cache_bytes: blocks, indexes, filters and memtables of all families together.
    memtable_bytes: what may wait in memtables before they are flushed; at most half of the block cache.
    background_jobs: threads that flush and compact.
    files_open_max: open files at most; -1: no bound.
    compaction_bytes_per_s: upper end of what flushes and compactions write; tuned downwards by RocksDB itself.
    """

    block_cache_bytes: int
    memtable_bytes: int
    background_jobs: int = 2
    files_open_max: int = -1
    compaction_bytes_per_s: int = 256 * _MIB

    def __post_init__(self) -> None:
        if self.block_cache_bytes < BLOCK_CACHE_BYTES_MIN:
            raise ValueError(f"block_cache_bytes must be at least {BLOCK_CACHE_BYTES_MIN}")
        if not MEMTABLE_BYTES_MIN <= self.memtable_bytes <= self.block_cache_bytes // 2:
            raise ValueError(
                f"memtable_bytes must be at least {MEMTABLE_BYTES_MIN} and at most half of block_cache_bytes, "
                f"because the memtables are part of it; not {self.memtable_bytes} of {self.block_cache_bytes}"
            )
        if self.background_jobs < 1:
            raise ValueError("background_jobs must be at least 1")


@dataclass(frozen=True, slots=True)
class RocksOptions:
    """RocksDB's own objects, made from EngineOptions. `families` has every family: see `rocks_options`."""

    database: Options
    families: dict[str, Options]
    cache: Cache
    memtables: WriteBufferManager


def rocks_options(options: EngineOptions, *, create: bool) -> RocksOptions:
    """Return RocksDB's options for a store that exists, or with `create` for one that does not.

    Every family is named with its options on every open: for one that is not, rocksdict silently takes what the
    OPTIONS file says, with an 8 MB cache of its own.
    """
    cache = Cache.new_hyper_clock_cache(options.block_cache_bytes, 0)
    # Without stalling by the manager: it would stop writes as soon as a flush is under way. The bound is
    # FAMILY_MEMTABLES_MAX.
    memtables = WriteBufferManager.new_write_buffer_manager_with_cache(options.memtable_bytes, False, cache)
    families = {FAMILY_NAMES[family]: _family_options(family, options, cache, memtables) for family in Family}
    database = families[FAMILY_NAMES[Family.META]]
    _set_database_options(database, options, create=create)
    return RocksOptions(database, families, cache, memtables)


def _set_database_options(database: Options, options: EngineOptions, *, create: bool) -> None:
    """Set what holds for all families. Under `create` alone may anything be made that is not there."""
    database.create_if_missing(create)
    database.create_missing_column_families(create)
    # Rule: without it the families come back from a kill at different moments.
    database.set_atomic_flush(True)
    database.set_paranoid_checks(True)
    database.enable_statistics()
    database.set_stats_persist_period_sec(0)
    database.set_max_background_jobs(options.background_jobs)
    database.set_auto_tuned_ratelimiter(options.compaction_bytes_per_s, 100_000, 10)
    database.set_bytes_per_sync(_MIB)
    database.set_max_open_files(options.files_open_max)
    database.set_max_manifest_file_size(64 * _MIB)
    database.set_max_log_file_size(8 * _MIB)
    database.set_keep_log_file_num(4)


def _family_options(family: Family, options: EngineOptions, cache: Cache, memtables: WriteBufferManager) -> Options:
    made = Options(raw_mode=True)
    made.set_block_based_table_factory(_table_options(cache))
    made.set_write_buffer_manager(memtables)
    made.set_write_buffer_size(min(FAMILY_MEMTABLE_BYTES_MAX, options.memtable_bytes))
    made.set_max_write_buffer_number(FAMILY_MEMTABLES_MAX)
    # Each family's memtable takes at least one block of its arena: with RocksDB's default of an eighth, five families
    # would fill a small budget before the first write.
    made.set_arena_block_size(min(_MIB, max(16 * _KIB, options.memtable_bytes // 64)))
    made.set_level_compaction_dynamic_level_bytes(True)
    made.set_level_zero_file_num_compaction_trigger(LEVEL_0_FILES)
    made.set_level_zero_slowdown_writes_trigger(LEVEL_0_FILES_SLOW)
    made.set_level_zero_stop_writes_trigger(LEVEL_0_FILES_STOP)
    made.add_compact_on_deletion_collector_factory(DELETIONS_WINDOW, DELETIONS_TRIGGER, DELETIONS_SHARE)
    made.set_compression_type(DBCompressionType.lz4())
    if family is Family.ENTRIES:
        # Entries are fetched by positions that exist: in the last level, where nearly all lie, a filter tells nothing.
        made.set_optimize_filters_for_hits(True)
    if family in ZSTD_LEVELS:
        made.set_bottommost_compression_type(DBCompressionType.zstd())
        level = ZSTD_LEVELS[family]
        made.set_bottommost_compression_options(ZSTD_WINDOW_BITS_DEFAULT, level, 0, DICTIONARY_BYTES, True)
        # Samples of the file as they are, not a dictionary trained on them: training took three quarters of what a put
        # of bytes that do not compress costs, half of the compaction of JSON, and saved .3 to 2 % more.
        made.set_bottommost_zstd_max_train_bytes(0, True)
        made.set_enable_blob_files(True)
        made.set_min_blob_size(BLOB_BYTES_MIN)
        made.set_blob_compression_type(DBCompressionType.zstd())
        made.set_enable_blob_gc(True)
        made.set_blob_gc_age_cutoff(BLOB_COLLECTION_AGE)
        made.set_blob_gc_force_threshold(BLOB_COLLECTION_GARBAGE)
    return made


def _table_options(cache: Cache) -> BlockBasedOptions:
    """Indexes and filters live in the cache, in partitions: memory has one bound, whatever the store's size."""
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_block_size(BLOCK_BYTES)
    # On every family: without it a get costs a block read in each of the newest files.
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_metadata_block_size(4 * _KIB)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_top_level_index_and_filter(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    return table
