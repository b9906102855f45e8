"""The entry of the daemon process: from options to an exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import sys

import uvloop

from recollectd.config.tree import Config
from recollectd.journal.interface import JournalError
from recollectd.memory.recovery import ViewAheadError
from recollectd.server.daemon import EXIT_FATAL, Daemon
from recollectd.server.hot import NativeMissing, way_of_reads
from recollectd.server.listener import ListenError
from recollectd.server.logs import start_logging
from recollectd.server.opening import OpenStore, open_store
from recollectd.storage.engine_errors import EngineError
from recollectd.storage.folder_errors import FolderError

log = logging.getLogger("recollectd")

# Whoever waits for the interpreter gets it after so long from one who computes. Python's 5 ms are too many where the
# event loop waits for a thread that tells the views, and a search waits several times.
SWITCH_INTERVAL_S = 0.0005
EXIT_CANNOT_LISTEN = 69
EXIT_OPTIONS = 78
_COLLECT_THRESHOLDS = (20_000, 50, 1_000_000)


def run(config: Config) -> int:
    """Run a daemon until it is asked to stop; return the exit code.

    Everything that keeps it from starting is said in one line of the log: nothing is made over data it cannot read.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    start_logging(config.server.log_level, config.server.log_format)
    _raise_open_files_limit()
    try:
        way_of_reads()
        store = open_store(config)
    except ValueError as error:
        log.critical("cannot start with these options: %s", error)
        return EXIT_OPTIONS
    except (NativeMissing, FolderError, JournalError, EngineError, ViewAheadError, OSError) as error:
        log.critical("cannot start: %s", error)
        return EXIT_FATAL
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, store))


def _raise_open_files_limit() -> None:
    """Connections and RocksDB's files need more descriptors than the customary soft limit of 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _collect_the_young_only() -> None:
    """Take what is there out of the garbage collector's sight and let it walk what is new: what lives as long as the
    daemon would be walked over and over, and everybody wait. A chore looks through the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_THRESHOLDS)


async def _serve(config: Config, store: OpenStore) -> int:
    _collect_the_young_only()
    try:
        return await Daemon(asyncio.get_running_loop(), config, store).serve()
    except ListenError as error:
        log.critical("cannot listen: %s", error)
        return EXIT_CANNOT_LISTEN
    except (JournalError, EngineError) as error:
        log.critical("did not stop cleanly: %s; the next start recovers", error)
        return EXIT_FATAL
