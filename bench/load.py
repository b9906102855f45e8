"""Synced puts per second, the latencies of a mixed load at half of it beside the raw disk's; then YCSB's mixes.

Generators run in processes of their own and share the machine with the daemon: their share of the processors is
printed. The raw sync histogram is taken by another process during the very same seconds on the same file system.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench import mixes
from bench.latency import percentiles
from bench.load_worker import Result, Task
from bench.machine import ROOT, RawSync, environment
from bench.process import DaemonProcess
from bench.report import Report

CONNECTIONS: Final = 16
IN_FLIGHT: Final = 16
GENERATORS: Final = 2
CLOSED_SECONDS: Final = 8.0
CLOSED_TURNS: Final = 3
OPEN_SECONDS: Final = 60.0
PUTS_MIN: Final = 10_000
RAW_QUICK_MS: Final = 4.0


class Measured(NamedTuple):
    """One run over all generators. cpu_us: of the daemon per request; generators: their processors in use."""

    per_second: float
    write_us: list[float]
    read_us: list[float]
    lag_us: list[float]
    errors: int
    unanswered: int
    cpu_us: float
    generators: float
    daemon: float
    raw_us: list[float]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--seconds", type=float, default=OPEN_SECONDS, help="of the open loop (default %(default)s)")
    parser.add_argument("--only-mixes", action="store_true", help="leave out what comes before the mixes")
    mixes.options(parser)


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Closed loop a few times, then the open loop at half the median; the mixes on a daemon of their own."""
    if not arguments.only_mixes:
        _synced(arguments, report)
    with throwaway_daemon(arguments.folder) as daemon:
        mixes.add_rows(arguments, report, daemon)


def _synced(arguments: argparse.Namespace, report: Report) -> None:
    with throwaway_daemon(arguments.folder) as daemon:
        turns = [_closed(daemon, turn) for turn in range(CLOSED_TURNS * (3 if arguments.long else 1))]
        closed = sorted(turns, key=lambda each: each.per_second)[len(turns) // 2]
        raw_p50 = statistics.median([percentiles(each.raw_us).p50 for each in turns])
        case = f"{CONNECTIONS} connections x {IN_FLIGHT} in flight"
        report.add("synced puts", case, unit="1/s", ours=closed.per_second, must=f">= {PUTS_MIN}")
        report.add("  raw sync p50 meanwhile", f"demand holds below {RAW_QUICK_MS:g}", unit="ms", ours=raw_p50)
        _latency_rows(report, "  put", case, closed.write_us)
        _cost_rows(report, case, closed)
        rate = closed.per_second / 2
        mixed = measure(daemon, Task(str(daemon.socket), CONNECTIONS, arguments.seconds, 99, rate=rate, read_share=0.5))
        _open_rows(report, mixed, rate)


def _closed(daemon: DaemonProcess, turn: int) -> Measured:
    return measure(daemon, Task(str(daemon.socket), CONNECTIONS, CLOSED_SECONDS, turn, in_flight=IN_FLIGHT))


def _open_rows(report: Report, mixed: Measured, rate: float) -> None:
    case = f"{CONNECTIONS} clients, open loop at {rate:,.0f}/s, half reads"
    raw = percentiles(mixed.raw_us)
    report.add("throughput", case, unit="1/s", ours=mixed.per_second, theirs=rate, peer="asked for")
    both = percentiles(mixed.write_us + mixed.read_us)
    must = "< 10" if raw.p99 < RAW_QUICK_MS else f"<= {2 * raw.p99 + 2:.2f}"
    peer = "raw fdatasync, same minute"
    report.add("all p50", case, unit="ms", ours=both.p50, theirs=raw.p50, peer=peer)
    report.add("all p99", case, unit="ms", ours=both.p99, theirs=raw.p99, peer=peer, must=must)
    report.add("all p99.9", case, unit="ms", ours=both.p999, theirs=raw.p999, peer=peer)
    _latency_rows(report, "  write", case, mixed.write_us)
    _latency_rows(report, "  read", case, mixed.read_us)
    lag = percentiles(mixed.lag_us)
    report.add("  generators' own lag p99", case, unit="ms", ours=lag.p99)
    _cost_rows(report, case, mixed)
    report.add("errors and unanswered", case, ours=mixed.errors + mixed.unanswered, must="== 0")


def _latency_rows(report: Report, name: str, case: str, samples_us: list[float]) -> None:
    found = percentiles(samples_us)
    for label, value in (("p50", found.p50), ("p99", found.p99), ("p99.9", found.p999), ("max", found.longest)):
        report.add(f"{name} {label}", case, unit="ms", ours=value)


def _cost_rows(report: Report, case: str, measured: Measured) -> None:
    report.add("  daemon CPU per request", case, unit="us", ours=measured.cpu_us)
    report.add("  daemon's processors", case, unit="cores", ours=measured.daemon)
    report.add("  generators' processors", case, unit="cores", ours=measured.generators)


@contextmanager
def throwaway_daemon(parent: Path, **start_options: object) -> Iterator[DaemonProcess]:
    """A daemon with default options in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as name, DaemonProcess(Path(name)) as daemon:
        daemon.start(start_options)
        yield daemon


def measure(daemon: DaemonProcess, task: Task, generators: int = GENERATORS) -> Measured:
    """Run one task spread over generators, the raw sync beside it."""
    parts = [
        msgspec.structs.replace(
            task,
            connections=task.connections // generators,
            rate=task.rate / generators,
            seed=task.seed * 100 + part,
        )
        for part in range(generators)
    ]
    workers = [_start(part, _output(daemon, index)) for index, part in enumerate(parts)]
    try:
        for worker in workers:
            _line(worker)
        with RawSync(daemon.folder) as raw:
            before = daemon.cost()
            for worker in workers:
                _say_go(worker)
            results = [_result(worker, _output(daemon, index)) for index, worker in enumerate(workers)]
            after = daemon.cost()
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    count = sum(len(each.write_us) + len(each.read_us) for each in results)
    seconds = max(each.seconds for each in results)
    cpu_s = after.cpu_s - before.cpu_s
    return Measured(
        count / seconds,
        [value for each in results for value in each.write_us],
        [value for each in results for value in each.read_us],
        [value for each in results for value in each.lag_us],
        sum(each.errors for each in results),
        sum(each.unanswered for each in results),
        cpu_s / max(count, 1) * 1e6,
        sum(each.cpu_s for each in results) / seconds,
        cpu_s / seconds,
        raw.samples_us,
    )


def _output(daemon: DaemonProcess, index: int) -> Path:
    return daemon.folder / f"generator-{index}"


def _start(task: Task, output: Path) -> subprocess.Popen[bytes]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "bench.load_worker", str(output)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    )
    assert worker.stdin is not None
    worker.stdin.write(msgspec.json.encode(task) + b"\n")
    worker.stdin.flush()
    return worker


def _line(worker: subprocess.Popen[bytes]) -> bytes:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a load generator ended early; its error stands above")
    return line


def _say_go(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdin is not None
    worker.stdin.write(b"\n")
    worker.stdin.flush()


def _result(worker: subprocess.Popen[bytes], output: Path) -> Result:
    if worker.wait() != 0:
        raise RuntimeError("a load generator failed; its error stands above")
    return msgspec.json.decode(output.read_bytes(), type=Result)
