"""Where the microseconds of an operation go: the daemon under a closed loop, sampled by `perf`, by function.

`perf` comes with Debian's package linux-perf. It needs kernel.perf_event_paranoid <= 2 or root.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from bench.load import Measured, measure, throwaway_daemon
from bench.load_worker import Task
from bench.process import DaemonProcess
from bench.report import Report

WARM_SECONDS: Final = 8.0
SECONDS: Final = 8.0
SAMPLES_PER_S: Final = 499
FUNCTIONS_TOLD: Final = 25

# What the shared objects are to us; the rest keeps its name.
ROOMS: Final = {
    "[kernel.kallsyms]": "kernel",
    "libpython": "interpreter",
    "rocksdict": "RocksDB",
    "hot_": "native ways",
    "intake": "native ways",
    "value_cache": "native ways",
    "facts.": "native ways",
    "session.": "native ways",
    "journal_writer": "journal writer",
    "loop": "uvloop",
    "_core": "msgspec",
    "libc": "libc",
}


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--connections", type=int, default=16, help="default %(default)s")
    parser.add_argument("--depth", type=int, default=16, help="requests in flight on each (default %(default)s)")
    parser.add_argument("--reads", type=float, default=0.0, help="share of gets (default %(default)s: puts alone)")
    parser.add_argument("--keys", type=int, default=100_000, help="default %(default)s")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Warm up, sample, and tell shares as microseconds of an operation."""
    case = f"{arguments.connections} x {arguments.depth}, {arguments.reads:.0%} gets"
    if shutil.which("perf") is None:
        report.add("CPU per operation", case, unit="us", must="> 0")
        print("there is no perf here: install the Debian package linux-perf")
        return
    with throwaway_daemon(arguments.folder) as daemon, tempfile.TemporaryDirectory() as name:
        _load(daemon, arguments, WARM_SECONDS, read_share=0.0)
        samples = Path(name, "perf.data")
        sampling = subprocess.Popen(
            [
                *("perf", "record", "-q", "-F", str(SAMPLES_PER_S), "-o", str(samples)),
                *("-p", str(daemon.pid), "--", "sleep", f"{SECONDS - 1:g}"),
            ],
            stderr=subprocess.DEVNULL,
        )
        measured = _load(daemon, arguments, SECONDS, read_share=arguments.reads)
        sampling.wait()
        report.add("CPU per operation", case, unit="us", ours=measured.cpu_us)
        report.add("operations", case, unit="1/s", ours=measured.per_second)
        for room, share in _rooms(samples):
            report.add(f"  {room}", case, unit="us", ours=share * measured.cpu_us)
        for function, share in _shares(samples, "dso,symbol")[:FUNCTIONS_TOLD]:
            report.add(f"    {function}", case, unit="us", ours=share * measured.cpu_us)


def _load(daemon: DaemonProcess, arguments: argparse.Namespace, seconds: float, *, read_share: float) -> Measured:
    task = Task(
        str(daemon.socket),
        arguments.connections,
        seconds,
        1,
        in_flight=arguments.depth,
        read_share=read_share,
        keys=arguments.keys,
    )
    return measure(daemon, task)


def _rooms(samples: Path) -> list[tuple[str, float]]:
    """Return the share of each room, the largest first."""
    found: dict[str, float] = {}
    for dso, share in _shares(samples, "dso"):
        room = next((name for part, name in ROOMS.items() if part in dso), dso)
        found[room] = found.get(room, 0.0) + share
    return sorted(found.items(), key=lambda each: -each[1])


def _shares(samples: Path, by: str) -> list[tuple[str, float]]:
    """Return what `perf report` says, name and share of the samples, the largest first."""
    told = subprocess.run(
        [
            *("perf", "report", "-i", str(samples), "--stdio", "--no-children", "-g", "none"),
            *("--percent-limit", "0.1", "--sort", by, "-F", f"overhead,{by}", "-t", "|"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    shares: list[tuple[str, float]] = []
    for line in told.splitlines():
        if "%" not in line or line.startswith("#"):
            continue
        overhead, *name = (part.strip() for part in line.split("|"))
        shares.append((" ".join(name).rstrip(" -")[:90], float(overhead.rstrip("%")) / 100))
    return sorted(shares, key=lambda each: -each[1])
