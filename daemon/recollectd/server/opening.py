"""Opening a store: the folder and its lock, the disk's guard, the journal, RocksDB, recovery. In this order."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from recollectd.config.tree import Config
from recollectd.journal.interface import Journal, JournalOptions
from recollectd.journal.local import open_journal
from recollectd.memory.memories.opening import open_views
from recollectd.memory.memories.view_options import ViewOptions
from recollectd.memory.memories.views import MemoryViews
from recollectd.memory.recovery import Progress, Recovered, recover
from recollectd.memory.settings.events import HistoryPolicy
from recollectd.sizing import size
from recollectd.storage.disk import DiskGuard, DiskState
from recollectd.storage.engine import Engine
from recollectd.storage.engine_errors import EngineError
from recollectd.storage.engine_options import EngineOptions
from recollectd.storage.folder import DataFolder, open_folder
from recollectd.storage.vectors.options import VectorOptions
from recollectd.topology import read_topology

log = logging.getLogger("recollectd.start")

_PROGRESS_INTERVAL_S = 1.0


class OpenStore(NamedTuple):
    """An open store, its views as of the journal's end."""

    folder: DataFolder
    disk: DiskGuard
    journal: Journal
    engine: Engine
    recovered: Recovered
    memories: MemoryViews
    recovery_s: float

    def close(self) -> None:
        """Seal the journal, close RocksDB, let go of the folder. What is acknowledged is durable without it."""
        self.memories.close()
        self.journal.close()
        try:
            self.engine.close()
        except EngineError as error:
            log.warning("RocksDB was left as a kill would leave it: %s; the next start replays the journal", error)
        self.folder.close()


def open_store(config: Config) -> OpenStore:
    """Open the configured store, or make it; bring its views up to the journal's end.

    Raises FolderError, JournalError, EngineError, ViewAheadError; nothing is made over data that cannot be read.
    """
    begun = time.monotonic()
    folder = open_folder(config.directory, shard_labels=config.shards.labels)
    try:
        records = config.records
        disk = DiskGuard(folder.ballast, low_bytes=records.disk_low_bytes, ballast_bytes=records.ballast_bytes)
        if disk.state() is DiskState.LOW and disk.release_ballast():
            log.warning("the disk is nearly full: the ballast is thrown off to start nonetheless")
        journal, engine, recovered = _open_views(folder, config)
        memories = open_views(folder.path, engine, _view_options(config))
        folder.establish()
        disk.maintain()
    except BaseException:
        folder.close()
        raise
    recovery_s = time.monotonic() - begun
    log.info(
        "opened store %s at commit %d in %.2f s, %d commits replayed",
        folder.store_id.hex(),
        journal.last_seq,
        recovery_s,
        recovered.replayed,
    )
    return OpenStore(folder, disk, journal, engine, recovered, memories, recovery_s)


def _open_views(folder: DataFolder, config: Config) -> tuple[Journal, Engine, Recovered]:
    options = JournalOptions(config.journal.segment_bytes, config.journal.compress_bytes_min)
    journal = open_journal(
        folder.journal,
        store_id=folder.store_id,
        options=options,
        fresh=folder.is_new,
        progress=_reporter("journal checked", "bytes"),
    )
    try:
        engine = Engine.open(folder.records, _engine_options(config), create=folder.is_new)
        history = config.history
        default = HistoryPolicy(history.count, history.age_s * 1_000_000)
        return journal, engine, recover(engine, journal, default, _reporter("journal replayed", "commits"))
    except BaseException:
        journal.close()
        raise


def _engine_options(config: Config) -> EngineOptions:
    records = config.records
    sizes = size(read_topology(), block_cache_bytes=records.block_cache_bytes, memtable_bytes=records.memtable_bytes)
    return EngineOptions(sizes.block_cache_bytes, sizes.memtable_bytes, records.background_jobs)


def _view_options(config: Config) -> ViewOptions:
    options = config.server
    vectors = VectorOptions(
        flush_rows=options.vector_flush_rows,
        exact_rows_max=options.vector_exact_rows_max,
        expansion_search=options.vector_effort,
        recall=options.vector_recall_percent / 100,
        graph_bytes_max=size(read_topology()).graph_bytes,
    )
    return ViewOptions(
        options.memory_cache_bytes, options.erase_interval_s, options.keyword_flush_bytes, vectors=vectors
    )


def _reporter(what: str, unit: str) -> Progress:
    """Return a progress callback that logs once a second: silent where it is quick."""
    due = time.monotonic() + _PROGRESS_INTERVAL_S

    def report(done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _PROGRESS_INTERVAL_S
            log.info("%s: %d of %d %s (%d %%)", what, done, total, unit, 100 * done // max(1, total))

    return report
