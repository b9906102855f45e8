"""The options of what is kept: journal, records, history, shards."""

from __future__ import annotations

from typing import Annotated

from recollectd.config.declare import Section, option
from recollectd.config.units import DAY_S, GIB, KIB, MIB
from recollectd.protocol import limits


class JournalOptions(Section, frozen=True):
    """The journal: what makes writes durable."""

    segment_bytes: Annotated[
        int,
        option(
            "The size of a journal file, allocated ahead. The journal is trimmed by whole files.",
            unit="bytes",
            ge=16 * KIB,
            le=4 * GIB,
            raising="Fewer files and fewer changes of file; disk is given back in larger steps.",
            lowering="Disk is given back sooner; every change of file costs two extra syncs.",
            unsure="leave it.",
        ),
    ] = 64 * MIB
    compress_bytes_min: Annotated[
        int,
        option(
            "Commits of at least so many bytes are compressed in the journal (zstd). 0: none.",
            unit="bytes",
            ge=0,
            le=GIB,
            raising="Less processor time, more bytes written.",
            lowering="Fewer bytes written; below some hundred bytes compression gains nothing.",
            unsure="leave it.",
        ),
    ] = 2_048
    seal_idle_ms: Annotated[
        int,
        option(
            "After so long without writes an empty sealing batch is synced; damage to what lies before it is then "
            "noticed as corruption and not taken for an unfinished write.",
            unit="milliseconds",
            ge=10,
            le=3_600_000,
            raising="Damage to the last batch before an idle time goes unnoticed for longer.",
            lowering="More small syncs of a daemon with little to do.",
            unsure="leave it.",
        ),
    ] = 1_000


class RecordsOptions(Section, frozen=True):
    """The records' store (RocksDB), its caches and checkpoints, and the disk's low-water mark."""

    block_cache_bytes: Annotated[
        int,
        option(
            "Memory for blocks of the records' files, shared with the write buffers. 0: a share of the machine's.",
            unit="bytes",
            ge=0,
            le=1 << 44,
            raising="More reads are answered without the disk.",
            lowering="Memory for others; cold reads go to the page cache or the disk.",
            unsure="leave it at 0.",
        ),
    ] = 0
    memtable_bytes: Annotated[
        int,
        option(
            "Memory for writes that are not yet in the records' files. 0: a share of the cache.",
            unit="bytes",
            ge=0,
            le=1 << 40,
            raising="Fewer, larger files are written: less write amplification.",
            lowering="Less memory; more frequent flushes, and stalls under bursts.",
            unsure="leave it at 0.",
        ),
    ] = 0
    background_jobs: Annotated[
        int,
        option(
            "Threads that flush and compact the records.",
            unit="threads",
            ge=1,
            le=128,
            raising="Compaction keeps up with heavier writing and takes more of the processors from requests.",
            lowering="Requests keep the processors; heavy writing may stall.",
            unsure="half of the cores, at least 2.",
        ),
    ] = 2
    checkpoint_commits_max: Annotated[
        int,
        option(
            "Flush the records, so that the journal before them may go, after so many commits.",
            unit="commits",
            ge=100,
            le=1_000_000_000,
            raising="Fewer flushes; a start after a crash replays more (some 100,000 commits a second).",
            lowering="Faster recovery, more writing.",
            unsure="leave it.",
        ),
    ] = 250_000
    checkpoint_bytes_max: Annotated[
        int,
        option(
            "Flush the records after so many bytes of journal.",
            unit="bytes",
            ge=MIB,
            le=1 << 40,
            raising="Fewer flushes; a longer journal on disk and a longer recovery.",
            lowering="Less journal on disk, faster recovery, more writing.",
            unsure="leave it.",
        ),
    ] = 256 * MIB
    checkpoint_interval_s: Annotated[
        int,
        option(
            "Flush the records at least so often while there are writes.",
            unit="seconds",
            ge=1,
            le=DAY_S,
            raising="Fewer flushes of a daemon with few writes.",
            lowering="The journal is trimmed sooner; many small files to compact.",
            unsure="leave it.",
        ),
    ] = 300
    disk_low_bytes: Annotated[
        int,
        option(
            "With less than this free on the data folder's file system, only deletes are accepted (DISK_FULL).",
            unit="bytes",
            ge=16 * MIB,
            le=1 << 44,
            raising="Writes stop earlier, with more room left for compaction and repair.",
            lowering="More of the disk is used; less room to recover in.",
            unsure="leave it, or one percent of a large disk.",
        ),
    ] = 256 * MIB
    ballast_bytes: Annotated[
        int,
        option(
            "A file kept to be given up when the disk is full, so that a restart can still open the store. 0: none.",
            unit="bytes",
            ge=0,
            le=64 * GIB,
            raising="More room in an emergency, less on ordinary days.",
            lowering="A full disk may keep the daemon from starting until room is made by hand.",
            unsure="leave it.",
        ),
    ] = 64 * MIB


class HistoryOptions(Section, frozen=True):
    """How much history state records keep, where a namespace is not configured otherwise."""

    count: Annotated[
        int,
        option(
            "Versions kept of each state record, the newest included. 0: no limit.",
            unit="versions",
            ge=0,
            le=1_000_000_000,
            raising="Older versions can be read; every kept version takes disk.",
            lowering="Less disk; a read of an older version is answered HISTORY_PRUNED.",
            unsure="leave it.",
        ),
    ] = 100
    age_s: Annotated[
        int,
        option(
            "How long a version that is no longer the newest is kept. 0: no limit.",
            unit="seconds",
            ge=0,
            le=limits.TTL_US_MAX // 1_000_000,
            raising="The past can be read further back; more disk.",
            lowering="Less disk; reads of an earlier time are answered HISTORY_PRUNED.",
            unsure="leave it: thirty days.",
        ),
    ] = 30 * DAY_S


class ShardsOptions(Section, frozen=True):
    """What a transaction may span. Fixed when a store is made."""

    labels: Annotated[
        int,
        option(
            "How many leading labels of a namespace decide its shard. Operations of one transaction share them. Fixed "
            "when the store is made; a different value is refused afterwards.",
            unit="labels",
            ge=1,
            le=limits.NAMESPACE_LABELS_MAX,
            raising="Finer shards, so smaller transactions: what differs in these labels cannot change together.",
            lowering="Coarser shards, so wider transactions.",
            unsure="leave it: one shard per first label, such as one per tenant.",
        ),
    ] = 1
