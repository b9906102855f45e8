"""Opening a store: the folder and its lock, the disk's guard, the journal, RocksDB, recovery. In this order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from recollectd.config.tree import Config
from recollectd.journal.interface import Journal, JournalOptions
from recollectd.journal.local import open_journal
from recollectd.memory.recovery import Recovered, recover
from recollectd.memory.settings.events import HistoryPolicy
from recollectd.sizing import engine_sizes
from recollectd.storage.disk import DiskGuard
from recollectd.storage.engine import Engine
from recollectd.storage.engine_options import EngineOptions
from recollectd.storage.folder import DataFolder

log = logging.getLogger("recollectd.start")

JOURNAL_FOLDER = "journal"
RECORDS_FOLDER = "records"

_PROGRESS_INTERVAL_S = 1.0


class OpenStore(NamedTuple):
    """An open store, its views as of the journal's end."""

    folder: DataFolder
    disk: DiskGuard
    journal: Journal
    engine: Engine
    recovered: Recovered
    recovery_s: float

    def close(self) -> None:
        """Seal the journal, close RocksDB, let go of the folder. What is acknowledged is durable without it."""
        self.journal.close()
        self.engine.close()
        self.folder.close()
