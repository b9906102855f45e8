"""What `status` tells."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from recollectd import __version__
from recollectd.memory.kind import Fetch, Rows
from recollectd.memory.state.events import decode_head
from recollectd.protocol.errors import ERROR_BY_CODE
from recollectd.protocol.messages.fields import Kind
from recollectd.server.reads import JobView
from recollectd.sizing import HEAD_BYTES
from recollectd.storage.keyspace import Family, after_prefix, split_record_key

if TYPE_CHECKING:
    from recollectd.server.daemon import Daemon
    from recollectd.server.freezes import FreezeWatch

_STEP_ROWS = 1_000
_NAMESPACES_TOLD_MAX = 10_000
_KINDS = (Kind.STATE, Kind.LOG, Kind.CONVERSATION, Kind.MEMORY)
_EXPIRING = (Kind.STATE, Kind.MEMORY)


def status_of(daemon: Daemon) -> dict[str, Any]:
    """Return the daemon's state by section. Cheap; what is not is in `engine_status`."""
    dispatcher, committer, facts = daemon.dispatcher, daemon.committer, daemon.sequencer.facts
    applied_seq = committer.applied_seq
    return {
        "daemon": _daemon(daemon),
        "connections": {
            "open": len(dispatcher.connections),
            "total": dispatcher.connections_total,
            "max": daemon.config.server.connections_max,
            "watches": len(daemon.watches),
            "sessions": len(daemon.sessions),
            "bytes_in_flight": dispatcher.bytes_in_flight,
        },
        "operations": {kind.__name__: count for kind, count in _named(_operations(daemon))},
        "errors": {ERROR_BY_CODE[code].row.name: count for code, count in sorted(dispatcher.errors.items())},
        "journal": _journal(daemon),
        "views": {
            "records": {"applied_seq": applied_seq, "lag": daemon.journal.synced_seq - applied_seq},
            "memories": daemon.memories.status(),
            "records_durable": {"seq": daemon.chores.durable_seq, "lag": applied_seq - daemon.chores.durable_seq},
        },
        "queues": {
            "unapplied_bytes": committer.unapplied_bytes,
            "apply_stalls": committer.stalls,
            "checkpoints": daemon.chores.checkpoints,
            "disk": daemon.disk.state().name.lower(),
            "disk_free_bytes": daemon.disk.free_bytes,
        },
        "caches": {
            "heads": {"count": len(facts), "bytes": len(facts) * HEAD_BYTES, **_hits(facts.hits, facts.misses)},
            "values": daemon.hot.status(),
        },
        "freezes": _freezes(daemon.freezes),
        "process": _process(daemon),
    }


def _freezes(freezes: FreezeWatch) -> dict[str, Any]:
    """Return how long the event loop was held up at most, since the start and in the last minute or two."""
    return {
        "longest_ms": round(freezes.longest.seconds * 1_000, 3),
        "longest_cause": freezes.longest.cause,
        "recent_ms": round(freezes.recent.seconds * 1_000, 3),
        "recent_cause": freezes.recent.cause,
    }


def with_engine(status: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return the whole status: what is at hand and what `engine_status` found.

    Its `caches` has the three levels a read may have to pass: `values` (L1) counts records, `blocks` (L2) blocks of
    files, `disk` (L3) rows that are in no memtable; what is not there either is absent.
    """
    figures = found["records"]
    looked_up, there = figures.get("memtable_misses", 0), figures.get("file_hits", 0)
    levels = {
        "blocks": _hits(figures.get("block_cache_hits", 0), figures.get("block_cache_misses", 0)),
        "disk": _hits(there, max(0, looked_up - there)),
    }
    return {**status, **found, "caches": {**status["caches"], **levels}}


def _hits(hits: int, misses: int) -> dict[str, Any]:
    return {"hits": hits, "misses": misses, "hit_ratio": round(hits / (hits + misses), 4) if hits + misses else 0.0}


def _daemon(daemon: Daemon) -> dict[str, Any]:
    return {
        "version": __version__,
        "store_id": daemon.store_id.hex(),
        "pid": daemon.process.pid,
        "uptime_s": round(time.monotonic() - daemon.started_at, 3),
        "data": str(daemon.config.directory),
        "addresses": daemon.addresses,
        "recovery_s": round(daemon.recovery_s, 3),
        "recovered_commits": daemon.recovered_commits,
        "clock_stepped": daemon.clock.stepped,
    }


def _journal(daemon: Daemon) -> dict[str, Any]:
    journal = daemon.journal.statistics()
    return {
        "first_seq": journal.first_seq,
        "last_seq": journal.last_seq,
        "synced_seq": journal.synced_seq,
        "epoch": journal.epoch,
        "segments": journal.segments,
        "bytes": journal.bytes,
        "spare_bytes": journal.spare_bytes,
        "spare_error": journal.spare_error,
        "written_bytes": journal.written_bytes,
        "batches": journal.batches,
        "commits": daemon.committer.commits,
        "syncs": journal.syncs,
        "sync_us_last": journal.sync_us_last,
        "sync_us_mean": round(journal.sync_us_total / journal.syncs) if journal.syncs else 0,
        "sync_us_histogram": {f"<{2 ** (i + 1)}": n for i, n in enumerate(journal.sync_us_histogram) if n},
    }


def _process(daemon: Daemon) -> dict[str, Any]:
    process = daemon.process
    with process.oneshot():
        memory, cpu = process.memory_info(), process.cpu_times()
        return {
            "resident_bytes": memory.rss,
            "cpu_user_s": cpu.user,
            "cpu_system_s": cpu.system,
            "threads": process.num_threads(),
        }


def _operations(daemon: Daemon) -> dict[Any, int]:
    """Add up what went through Python and what was answered in native code."""
    operations: dict[Any, int] = dict(daemon.dispatcher.operations)
    for kind, count in daemon.hot.operations().items():
        operations[kind] = operations.get(kind, 0) + count
    return operations


def _named(operations: dict[Any, int]) -> list[tuple[Any, int]]:
    return sorted(operations.items(), key=lambda item: item[0].__name__)


def engine_status(view: JobView, daemon: Daemon, count: bool) -> Generator[Fetch, Rows, dict[str, Any]]:
    """Return what takes a moment to find out, on a worker thread: RocksDB's figures, records by namespace."""
    yield from ()
    found: dict[str, Any] = {"records": daemon.engine.statistics()}
    if count:
        found["namespaces"] = count_namespaces(view)
    return found


def count_namespaces(view: JobView) -> dict[str, dict[str, int]]:
    """Count live records by namespace and kind, walking every head; as many as fit a frame."""
    counts: dict[str, dict[str, int]] = {}
    for kind in _KINDS:
        start, stop = bytes((kind,)), after_prefix(bytes((kind,)))
        while step := view.walk(Family.HEADS, start, stop, keys_max=_STEP_ROWS):
            for key, row in step:
                if kind not in _EXPIRING or decode_head(row).alive(view.time):
                    name = "/".join(split_record_key(key)[1])
                    if name not in counts and len(counts) == _NAMESPACES_TOLD_MAX:
                        continue
                    by_kind = counts.setdefault(name, {})
                    by_kind[kind.name.lower()] = by_kind.get(kind.name.lower(), 0) + 1
            start = step[-1][0] + b"\0"
    return counts
