"""A daemon with a million vectors: what it costs to fill, keep, kill and start again, and to search cold.

A real daemon with its default options and a new data folder. Memories of a few words with a vector each
(`bench/vectors/clustered.py`) are added in messages of 250, one after the other over one connection, each synced before
the next; what is answered BUSY is sent again after the time that it says. Then searches by vector alone are measured
one at a time, by the client's clock. The daemon gets SIGKILL while more is being added and merged, and is started
again: what was acknowledged must be there, and the first search is timed from the start of the process. The same once
more with nothing of the data in the page cache. Recall is by brute force over all rows that are there.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bench.latency import percentiles
from bench.load import throwaway_daemon
from bench.process import DaemonProcess, weigh
from bench.report import Report, figure
from bench.states import drop_page_cache
from bench.vectors.clustered import Clustered, Truth
from bench.vectors.data import Floats, recall
from bench.vectors.through_socket import NAMESPACE, SPACE, Asked
from bench.wire import Connection
from recollectd.client import Client
from recollectd.protocol import errors
from recollectd.protocol.messages.memories import MemoryAdd, NewMemory
from recollectd.storage.vectors.options import VectorOptions

ROWS_DEFAULT: Final = 1_000_000
BATCH: Final = 250
TOPICS: Final = 1_000
QUERIES: Final = 1_000
COLD_SEARCHES: Final = 200
START_S_MAX: Final = 10
RECALL: Final = 0.95
# Killed when so many more are acknowledged: and the merge that they bring about is under way.
ADDED_BEFORE_KILL_MIN: Final = 25_000
# In a large space merges last longer, and keep their graphs now and then: so long one that has is waited for.
PARKED_WAIT_S: Final = 180.0
LAST_ACKNOWLEDGED: Final = 500
PROGRESS_S: Final = 10.0
LATE_SHARE: Final = 0.1
CHECKED_IN_FLIGHT: Final = 8
SAMPLES_ENOUGH: Final = 64
LEARNING_ROUNDS_MAX: Final = 150


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--rows", type=int, default=ROWS_DEFAULT, help="how many vectors (default %(default)s)")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Fill, weigh, search; kill, start, search; start and search cold."""
    measure(arguments.folder, arguments.rows, report)


def measure(folder: Path, count: int, report: Report, options: Mapping[str, object] | None = None) -> None:
    """Measure a daemon of its own in a folder. options: of the daemon, where not the default ones."""
    with throwaway_daemon(folder, **(options or {})) as daemon:
        _Large(daemon, count, report, options or {}).measure()


class _Large:
    def __init__(self, daemon: DaemonProcess, count: int, report: Report, daemon_options: Mapping[str, object]) -> None:
        self._daemon = daemon
        self._count = count
        self._report = report
        self._daemon_options = daemon_options
        self._vectors = Clustered()
        self._case = f"{count:,} x {self._vectors.dimensions}, synthetic"
        self._queries = self._vectors.queries(QUERIES)
        self._truth = Truth(self._vectors, self._queries)

    def measure(self) -> None:
        """Do all of it."""
        self._fill()
        self._weigh("filled and merged")
        self._searches("as filled", self._count)
        self._learn()
        self._searches("warm", self._count, demanded=True)
        acknowledged = self._kill_while_adding()
        self._start("SIGKILL while adding and merging")
        present = self._check(acknowledged)
        self._searches("after SIGKILL", present)
        _settle(self._daemon, "merging what is left")
        saved = _vectors(self._daemon)["merged_rows_saved"]
        self._add("  not entered again after the start", "killed", unit="rows", ours=saved)
        self._daemon.terminate()
        how = drop_page_cache(self._daemon.data)
        self._start(how)
        self._searches(how, present, demanded=True)
        self._weigh("started and searched")

    def _add(self, measure: str, case: str = "", **figures: Any) -> None:
        row = self._report.add(measure, f"{self._case}{case and ', '}{case}", **figures)
        print(
            f"         {row.measure}, {case or 'filling'}: {figure(row.ours)} {row.unit}", file=sys.stderr, flush=True
        )

    def _fill(self) -> None:
        with _client(self._daemon) as client:
            client.with_namespace(NAMESPACE).vector_spaces.create(SPACE, self._vectors.dimensions, precision="f32")
        before = self._daemon.cost()
        started = time.monotonic()
        adding = _Adding(self._vectors)
        with Connection(self._daemon.socket) as connection:
            adding.add(connection, 0, self._count, _progress(self._daemon, "adding"))
        seconds, late = time.monotonic() - started, self._count - int(self._count * LATE_SHARE)
        self._add("adds until the last is acknowledged", unit="memories/s", ours=self._count / seconds)
        late_s = next(at for rows, at in adding.moments if rows >= late)
        rate = (self._count - late) / max(adding.moments[-1][1] - late_s, 1e-9)
        self._add(f"  in the last {LATE_SHARE:.0%}", unit="memories/s", ours=rate)
        self._add("  answered BUSY", unit="times", ours=adding.refused)
        self._add("  longest between two replies", unit="s", ours=adding.longest_s)
        _settle(self._daemon, "merging what was added")
        seconds = time.monotonic() - started
        self._add("adds until all are in graphs", unit="memories/s", ours=self._count / seconds)
        self._add("  seconds in all", unit="s", ours=seconds)
        after = self._daemon.cost()
        self._add("  daemon CPU per memory", unit="us", ours=(after.cpu_s - before.cpu_s) / self._count * 1e6)
        spent_s = after.children_cpu_s - before.children_cpu_s
        self._add("  CPU of merging processes per memory", unit="us", ours=spent_s / self._count * 1e6)

    def _weigh(self, case: str) -> None:
        memory, figures = self._daemon.memory(), _vectors(self._daemon)
        self._add("resident memory", case, unit="MB", ours=memory.resident / 1e6)
        self._add("  of it the process's own", case, unit="MB", ours=memory.anonymous / 1e6)
        self._add("  of it mapped files", case, unit="MB", ours=memory.mapped / 1e6)
        self._add("  the most so far", case, unit="MB", ours=memory.peak / 1e6)
        for name in ("graph_bytes", "tombstone_bytes"):
            self._add(f"  {name.removesuffix('_bytes')} that searches need", case, unit="MB", ours=figures[name] / 1e6)
        os.sync()
        for kind, size in _files(self._daemon.data).items():
            self._add(f"files: {kind}", case, unit="MB", ours=size / 1e6)

    def _learn(self) -> None:
        """Search until the daemon has sampled enough to know how far its graphs must be searched."""
        with Connection(self._daemon.socket) as connection:
            asked, rounds = Asked(connection), 0
            while _vectors(self._daemon)["recall_samples"] < SAMPLES_ENOUGH and rounds < LEARNING_ROUNDS_MAX:
                asked.ask(self._queries, CHECKED_IN_FLIGHT)
                rounds += 1
        figures = _vectors(self._daemon)
        case = f"after {rounds * QUERIES:,} searches"
        self._add("effort (ef) that the daemon has learnt", case, ours=figures["effort_max"])

    def _searches(self, case: str, present: int, *, demanded: bool = False) -> None:
        """Time searches one at a time: the first, the next, all; recall of all by brute force."""
        truth = self._truth.among(present)
        waited: list[float] = []
        found: list[list[int]] = []
        with Connection(self._daemon.socket) as connection:
            asked = Asked(connection)
            for query in self._queries:
                started = time.perf_counter()
                found += asked.ask(query[None])
                waited.append((time.perf_counter() - started) * 1e6)
        first = percentiles(waited[1 : 1 + COLD_SEARCHES])
        rest = percentiles(waited[1 + COLD_SEARCHES :])
        self._add("first search over a connection", case, unit="ms", ours=waited[0] / 1e3)
        for name, these in ((f"the next {COLD_SEARCHES} searches", first), ("searches after that", rest)):
            self._add(f"{name} p50", case, unit="ms", ours=these.p50)
            self._add(f"{name} p99", case, unit="ms", ours=these.p99)
        must = f">= {RECALL}" if demanded else None
        self._add("recall@10, the daemon's own effort", case, ours=recall(found, truth), must=must)

    def _kill_while_adding(self) -> int:
        """Send SIGKILL while adds are acknowledged and merged; return how many rows are acknowledged in all."""
        adding = _Adding(self._vectors)
        thread = threading.Thread(target=adding.add_until_killed, args=(self._daemon.socket, self._count))
        thread.start()
        patience = time.monotonic() + PARKED_WAIT_S
        while thread.is_alive():
            merging = _vectors(self._daemon)
            enough = adding.acknowledged >= self._count + ADDED_BEFORE_KILL_MIN and merging["merging_rows_done"]
            if enough and (self._is_parked() or time.monotonic() > patience):
                break
            time.sleep(0.05)
        self._daemon.kill()
        thread.join()
        case = "killed"
        self._add("rows merged, of the merge under way", case, unit="rows", ours=merging["merging_rows_done"])
        self._add("  of so many", case, unit="rows", ours=merging["merging_rows"])
        return adding.acknowledged

    def _is_parked(self) -> bool:
        """Whether a merge into another segment has lasted so long that the next one can go on with it."""
        return any(self._daemon.data.glob("vectors/parked/*-[1-9]*/state"))

    def _start(self, case: str) -> None:
        """Start the daemon; the time runs from the start of the process to the first search answered."""
        started = time.monotonic()
        hello_s = self._daemon.start(self._daemon_options)
        with Connection(self._daemon.socket) as connection:
            Asked(connection).ask(self._queries[:1])
        self._add(
            "start until the first search", case, unit="s", ours=time.monotonic() - started, must=f"< {START_S_MAX}"
        )
        self._add("  until the first hello", case, unit="s", ours=hello_s)

    def _check(self, acknowledged: int) -> int:
        """Look for what was acknowledged last; return how many rows are there."""
        last = range(acknowledged - LAST_ACKNOWLEDGED, acknowledged)
        with Connection(self._daemon.socket) as connection:
            found = Asked(connection).ask(self._vectors.rows(last.start, last.stop), CHECKED_IN_FLIGHT)
        lost = sum(row not in hits for row, hits in zip(last, found, strict=True))
        case = f"of the last {LAST_ACKNOWLEDGED} acknowledged before SIGKILL"
        self._add("not found by their vectors", case, unit="memories", ours=lost, must="== 0")
        with _client(self._daemon) as client:
            present = client.with_namespace(NAMESPACE).memories.count()
        self._add("missing of all that were acknowledged", case, unit="memories", ours=max(0, acknowledged - present))
        return present


class _Adding:
    """Adds rows over one connection. acknowledged: rows before it are; moments: how many were when."""

    def __init__(self, vectors: Clustered) -> None:
        self._vectors = vectors
        self._number = 0
        self.acknowledged = 0
        self.refused = 0
        self.longest_s = 0.0
        self.moments: list[tuple[int, float]] = []

    def add(self, connection: Connection, start: int, stop: int, told: Callable[[int], None]) -> None:
        """Add rows; told: called with how many are acknowledged."""
        since = time.monotonic()
        for first in range(start, stop, BATCH):
            self._send(connection, range(first, min(first + BATCH, stop)))
            now = time.monotonic()
            self.longest_s, since = max(self.longest_s, now - since), now
            self.moments.append((self.acknowledged, now))
            told(self.acknowledged)

    def add_until_killed(self, socket: Path, start: int) -> None:
        """Add rows until the daemon is gone."""
        with suppress(ConnectionError), Connection(socket) as connection:
            self.add(connection, start, sys.maxsize, lambda rows: None)

    def _send(self, connection: Connection, rows: range) -> None:
        made = self._vectors.rows(rows.start, rows.stop)
        message = MemoryAdd((NAMESPACE,), tuple(_memory(row, vector) for row, vector in zip(rows, made, strict=True)))
        while True:
            self._number += 1
            try:
                connection.call(message, number=self._number)
                break
            except errors.Busy as busy:
                self.refused += 1
                time.sleep((busy.retry_after_ms or 100) / 1e3)
        self.acknowledged = rows.stop


def _memory(row: int, vector: Floats) -> NewMemory:
    return NewMemory(f"entry of topic {row % TOPICS}", str(row), vectors={SPACE: vector.tobytes()})


def _client(daemon: DaemonProcess) -> Client:
    return Client(f"unix://{daemon.socket}", name="bench", timeout=120.0)


def _vectors(daemon: DaemonProcess) -> dict[str, Any]:
    with _client(daemon) as client:
        figures: dict[str, Any] = client.status()["views"]["memories"]["vectors"]
    return figures


def _settle(daemon: DaemonProcess, what: str) -> None:
    """Wait until no vector waits to be merged, but for a few."""
    told = _progress(daemon, what)
    with _client(daemon) as client:
        while True:
            figures = client.status()["views"]["memories"]
            left = figures["waiting"] + figures["vectors"]["delta_rows"]
            told(figures["vectors"]["vectors"])
            if left < VectorOptions().quiet_rows_min and not figures["vectors"]["merging_rows"]:
                return
            time.sleep(0.1)


def _progress(daemon: DaemonProcess, what: str) -> Callable[[int], None]:
    """Return a function that tells on stderr, now and then, how far things are."""
    started = due = time.monotonic()

    def tell(rows: int) -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + PROGRESS_S
        figures = _vectors(daemon)
        merging = f"{figures['merging_rows_done']:,} of {figures['merging_rows']:,}"
        print(
            f"{time.monotonic() - started:6.0f} s {what}: {rows:,} rows; {figures['delta_rows']:,} in no segment, "
            f"merging {merging}; {daemon.memory().anonymous / 1e6:,.0f} MB of memory",
            file=sys.stderr,
            flush=True,
        )

    return tell


def _files(data: Path) -> dict[str, int]:
    """Return what a data folder takes on disk in bytes, by kind."""
    weight = weigh(data)
    kinds = dict.fromkeys(("graphs", "vectors at full precision", "ids and tombstones", "deltas and manifest"), 0)
    for path in _present(data / "vectors"):
        name = {"graph": "graphs", "rows": "vectors at full precision"}.get(path.name, "")
        if not name:
            name = "ids and tombstones" if "segments" in path.parts else "deltas and manifest"
        kinds[name] += path.stat().st_blocks * 512
    kinds["keywords"] = sum(path.stat().st_blocks * 512 for path in _present(data / "keywords"))
    kinds["records"] = weight.records
    kinds["journal"] = weight.journal
    kinds["journal and ballast allocated ahead"] = weight.ahead + weight.ballast
    return kinds


def _present(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
