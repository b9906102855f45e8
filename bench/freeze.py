"""The longest freeze of the event loop while the disk is at its worst: pages dropped, compactions running.

A store larger than its caches is loaded. Then, in each round, the daemon is started anew with the pages of its files
dropped, and dropped again every second; for the length of a window it gets synced puts that keep RocksDB flushing and
compacting, and gets of any record, nearly all of which must be read from the disk. The daemon measures its freezes
itself and leaves out what its thread spent in the run queue (`recollectd/server/freezes.py`); `status` names what
caused the longest. What the start itself takes of the loop counts, too. Beside it stands how long the machine itself
paused in the same seconds (`bench/pauses.py`): a guest of a busy host is stopped now and then.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.filling import fill
from bench.generator.dialects import our_get, our_put, ours
from bench.generator.plan import Outcome, Plan
from bench.generator.plan import run as generate
from bench.pauses import MachinePauses
from bench.process import DaemonProcess
from bench.report import Report
from recollectd.client import Client

VALUE_BYTES: Final = 200
_PUT_BYTES: Final = 4_096  # of the puts of a window: large ones fill the memtables quickly
MUST_MS: Final = 10.0
_PAUSE_S: Final = 1.0
_PUT_SHARE: Final = 0.5
_CONNECTIONS: Final = 8
_IN_FLIGHT: Final = 8
_DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")
_SMALL: Final = {
    "server.value_cache_bytes": 8 << 20,
    "server.head_cache_count": 10_000,
    "records.block_cache_bytes": 32 << 20,
    "records.memtable_bytes": 8 << 20,
}
"""Caches so small that reads go to the disk, memtables so small that compactions never end."""


class Window(NamedTuple):
    """One round. compacting: the share of looks at the daemon in which a compaction or flush ran."""

    longest_ms: float
    cause: str
    compacting: float
    blocks_read: int
    machine_ms: float
    real_time: bool
    outcome: Outcome


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--states", type=int, default=500_000, help="records (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each window (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Load, then measure in rounds; the longest of all counts."""
    from bench.load import throwaway_daemon

    with throwaway_daemon(arguments.folder, **_SMALL) as daemon:
        fill(daemon, arguments.states, VALUE_BYTES)
        windows = []
        for turn in range(arguments.rounds):
            print(f"round {turn + 1} of {arguments.rounds}", flush=True)
            windows.append(_window(daemon, arguments.states, arguments.seconds, turn))
    _add_rows(report, windows, f"{arguments.states:,} states, {arguments.rounds} x {arguments.seconds:g} s")


def _add_rows(report: Report, windows: list[Window], case: str) -> None:
    longest = max(windows, key=lambda window: window.longest_ms)
    report.add(f"longest freeze, by {longest.cause}", case, unit="ms", ours=longest.longest_ms, must=f"< {MUST_MS:g}")
    for number, window in enumerate(windows, 1):
        report.add(f"  of round {number}, by {window.cause}", case, unit="ms", ours=window.longest_ms)
    machine = max(windows, key=lambda window: window.machine_ms)
    how = "a real-time process" if machine.real_time else "an ordinary process, which may have waited in the run queue"
    report.add(f"  longest pause of the machine, seen by {how}", case, unit="ms", ours=machine.machine_ms)
    compacting = min(window.compacting for window in windows)
    report.add("  time with a compaction or flush running", case, unit="share", ours=compacting, must="> 0")
    read = min(window.blocks_read for window in windows)
    report.add("  blocks read from files, of a round", case, ours=read, must="> 0")
    rate = statistics.median(window.outcome.per_second for window in windows)
    report.add("  operations meanwhile", f"{case}, half puts", unit="1/s", ours=rate)
    lost = sum(window.outcome.errors + window.outcome.issued - window.outcome.answered for window in windows)
    report.add("  errors and unanswered", case, ours=lost, must="== 0")


def _window(daemon: DaemonProcess, states: int, seconds: float, turn: int) -> Window:
    daemon.terminate()
    drop_pages(daemon.data)
    daemon.start(_SMALL)
    time.sleep(_PAUSE_S)
    kinds = [our_get(1 - _PUT_SHARE), our_put(_PUT_BYTES, _PUT_SHARE)]
    plan = Plan(ours(daemon.socket), kinds, _CONNECTIONS, _IN_FLIGHT, seconds, states, seed=turn + 1)
    with Client(f"unix://{daemon.socket}") as client:
        started = client.status()
        with _looking(daemon, client) as looks, MachinePauses() as pauses:
            outcome = generate(plan)
        ended = client.status()
    freezes = ended["freezes"]
    read = ended["caches"]["blocks"]["misses"] - started["caches"]["blocks"]["misses"]
    running = [look["compactions_running"] + look["flushes_running"] > 0 for look in looks]
    return Window(
        freezes["longest_ms"],
        freezes["longest_cause"],
        sum(running) / max(len(running), 1),
        read,
        pauses.longest_ms,
        pauses.real_time,
        outcome,
    )


@contextmanager
def _looking(daemon: DaemonProcess, client: Client) -> Iterator[list[dict[str, Any]]]:
    """Drop pages and look at RocksDB's figures every second until the block ends."""
    looks: list[dict[str, Any]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(_PAUSE_S):
            drop_pages(daemon.data)
            looks.append(client.status()["records"])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        over.set()
        thread.join()


def drop_pages(folder: Path) -> None:
    """Drop the clean pages of a folder's files, and where that is allowed those of the whole machine."""
    for path in folder.rglob("*"):
        with suppress(OSError):  # a live daemon's files come and go
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
    with suppress(OSError):
        _DROP_CACHES.write_text("1")
